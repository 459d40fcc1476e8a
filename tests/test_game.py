"""See that a dead side ends a training, however its figures swing, and only a dead one."""

import numpy as np
import pytest

from songfoundry.errors import TrainingError
from songfoundry.game import Game

NORMS = {"discriminator": 0.5, "generator": 0.1}


def test_a_discriminator_that_tells_nothing_apart_for_long_ends_the_training():
    game = Game(3)
    for step, gap in enumerate([0.001, -0.002, 0.4, 0.003, 0.0]):
        game.follow(step, NORMS, {"gap": gap})
    with pytest.raises(TrainingError, match=r"at step 5 the discriminator at its entropy floor for 3 steps.*: raise") as caught:
        game.follow(5, NORMS, {"gap": 0.001})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("swing", [0.005, 0.02, 0.1, 2.0])
def test_a_blind_discriminator_is_known_by_its_means_however_its_scores_swing(swing):
    draw, game = np.random.default_rng(0), Game(200)
    for step in range(300):  # healthy at first
        game.follow(step, NORMS, {"gap": draw.normal(1.8, 0.4), "right_real": 0.78, "right_made": 0.82})
    with pytest.raises(TrainingError, match="entropy floor"):
        for step in range(300, 1000):
            right = {f"right_{side}": draw.binomial(16, 0.5) / 16 for side in ("real", "made")}
            game.follow(step, NORMS, {"gap": draw.normal(0, swing), **right})
    assert step >= 450, "not before most of the patience is over"


@pytest.mark.parametrize(("gap", "swing", "right"), [(1.8, 0.5, 0.8), (0.4, 0.35, 0.58), (0.004, 0.003, 0.7), (0.2, 0.1, 0.55)])
def test_a_game_that_is_played_goes_on(gap, swing, right):
    """The second is a generator that nearly wins; the third scores that have no unit."""
    draw, game = np.random.default_rng(1), Game(100)
    for step in range(1000):
        sides = {f"right_{side}": draw.binomial(16, right) / 16 for side in ("real", "made")}
        game.follow(step, {"generator": draw.uniform(0.01, 2.4)}, {"gap": draw.normal(gap, swing), **sides})


def test_a_generator_without_a_gradient_ends_the_training():
    game = Game(2)
    game.follow(0, {"discriminator": 0.5, "generator": 0.0}, {"gap": 9.0})
    # A step at which the generator does not learn says nothing of it.
    game.follow(1, {"discriminator": 0.5}, {"gap": 9.0})
    with pytest.raises(TrainingError, match="no gradient in the generator for 2 steps"):
        game.follow(2, {"discriminator": 0.5, "generator": 1e-9}, {"gap": 9.0})


def test_a_gradient_that_vanished_is_measured_by_what_it_was():
    for first, last in ((1.0, 1e-6), (30.0, 1e-4)):
        game, draw = Game(60), np.random.default_rng(2)
        for step in range(100):
            game.follow(step, {"generator": first * draw.uniform(0.5, 2)}, {})
        with pytest.raises(TrainingError, match="no gradient in the generator for 60 steps"):
            for step in range(100, 200):
                # Now and then one example still has a gradient.
                game.follow(step, {"generator": last * draw.uniform(0.5, 2) if step % 9 else first}, {})
        assert step > 125


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
