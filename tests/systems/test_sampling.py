"""Draw tokens as often as their probability says, and never a forbidden one."""

import numpy as np
import pytest
from pydantic import ValidationError

from songfoundry.systems.sampling import Sampling, choose, penalised

LOGITS = np.log(np.array([0.4, 0.3, 0.2, 0.1]))
FREE = np.zeros(4)


def shares(draws=4000, mask=FREE, **settings) -> np.ndarray:
    """Count how often each token is drawn."""
    uniform = np.random.default_rng(1).random(draws)
    ids = choose(np.tile(LOGITS, (draws, 1)), np.tile(mask, (draws, 1)), uniform, Sampling(**settings))
    return np.bincount(ids, minlength=4) / draws


def test_tokens_come_as_often_as_their_probability():
    assert shares() == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.03)


def test_temperature_sharpens_and_flattens():
    squares = np.array([0.16, 0.09, 0.04, 0.01])
    assert shares(temperature=0.5) == pytest.approx(squares / squares.sum(), abs=0.03)
    assert shares(temperature=100.0) == pytest.approx([0.25] * 4, abs=0.03)
    assert shares(temperature=0.0)[0] == 1


@pytest.mark.parametrize(
    ("settings", "kept"),
    [({"top_k": 2}, 2), ({"top_k": 1}, 1), ({"top_k": 9}, 4), ({"top_p": 0.6}, 2), ({"top_p": 0.71}, 3), ({"top_p": 0.0}, 1),
     ({"min_p": 0.6}, 2), ({"min_p": 1.0}, 1), ({"top_k": 3, "top_p": 0.5, "min_p": 0.1}, 2)],
)  # fmt: skip
def test_the_likeliest_are_kept(settings, kept):
    expected = np.where(np.arange(4) < kept, np.exp(LOGITS), 0)
    assert shares(**settings) == pytest.approx(expected / expected.sum(), abs=0.03)


def test_forbidden_tokens_never_come_even_where_they_are_likeliest():
    mask = np.array([-np.inf, 0, -np.inf, 0])
    for settings in ({}, {"top_k": 1}, {"top_p": 0.1}, {"min_p": 0.9}, {"temperature": 0.0}, {"temperature": 50.0}):
        found = shares(mask=mask, **settings)
        assert found[0] == found[2] == 0 and found[1] > 0
    edge = np.array([0.0, np.nextafter(1, 0)])
    assert set(choose(np.tile(LOGITS, (2, 1)), np.tile(mask, (2, 1)), edge, Sampling())) == {1, 3}


def test_a_soft_mask_weighs_the_same_at_every_temperature():
    mask = np.array([np.log(0.5), 0, 0, 0])
    assert shares(mask=mask)[0] == pytest.approx(0.2 / 0.8, abs=0.03)
    assert shares(mask=mask, temperature=100.0)[0] == pytest.approx(0.5 / 3.5, abs=0.03)


def test_rows_are_drawn_apart():
    logits = np.stack([LOGITS, LOGITS[::-1]])
    assert choose(logits, np.zeros((2, 4)), np.array([0.1, 0.1]), Sampling(top_k=1)).tolist() == [0, 3]


def test_a_penalty_makes_what_came_lately_less_likely_and_nothing_else():
    scores = penalised(LOGITS + 7, np.array([0, 0]), 1.5)
    assert scores == pytest.approx([1.5 * LOGITS[0], *LOGITS[1:]])
    assert penalised(LOGITS, np.array([], int), 2.0) == pytest.approx(LOGITS)


@pytest.mark.parametrize("settings", [{"temperature": -1}, {"top_p": 1.5}, {"min_p": -0.1}, {"top_k": -3}, {"repetition_penalty": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        Sampling(**settings)
