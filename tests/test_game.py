"""See that a dead side ends a training, and only a dead one."""

import pytest

from songfoundry.errors import TrainingError
from songfoundry.game import Game

ALIVE = ({"discriminator": 0.5, "generator": 0.1}, {"gap": 0.4})


def test_a_discriminator_that_tells_nothing_apart_for_long_ends_the_training():
    game = Game(3)
    for step, gap in enumerate([0.001, -0.002, 0.4, 0.003, 0.0]):
        game.follow(step, ALIVE[0], {"gap": gap})
    with pytest.raises(TrainingError, match=r"at step 5 the discriminator at its entropy floor for 3 steps.*: raise") as caught:
        game.follow(5, ALIVE[0], {"gap": 0.001})
    assert "\n" not in str(caught.value)


def test_a_generator_without_a_gradient_ends_the_training():
    game = Game(2)
    game.follow(0, {"discriminator": 0.5, "generator": 0.0}, {"gap": 9.0})
    # A step at which the generator does not learn says nothing of it.
    game.follow(1, {"discriminator": 0.5}, {"gap": 9.0})
    with pytest.raises(TrainingError, match="no gradient in the generator for 2 steps"):
        game.follow(2, {"discriminator": 0.5, "generator": 1e-9}, {"gap": 9.0})


def test_zero_patience_never_ends_it():
    game = Game(0)
    for step in range(50):
        game.follow(step, {"generator": 0.0}, {"gap": 0.0})


def test_rows_hold_means_of_what_was_seen():
    game = Game(5)
    game.follow(0, {"discriminator": 1.0}, {"gap": 1.0})
    game.follow(1, {"discriminator": 2.0, "generator": 4.0}, {})
    assert game.row() == {"norm": {"discriminator": 1.5, "generator": 4.0}, "game": {"gap": 1.0}}
    assert game.row() == {}
