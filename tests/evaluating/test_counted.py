"""Let n-grams write in the place of a net."""

import numpy as np
import pytest

pytest.importorskip("miditok")

import tiny_music
import torch

from songfoundry import notes as midi
from songfoundry.composing.composer import Composer
from songfoundry.evaluating.counted import counted_system
from songfoundry.metrics.language import NGram
from songfoundry.notes.tokens import tokenizer
from songfoundry.notes.vocabulary import TokenConfig


@pytest.fixture(scope="module")
def sequences() -> list[np.ndarray]:
    coder = tokenizer()
    return [coder.encode(midi.read_midi(tiny_music.prompt(4, 4, 120.0, bars=bars))).astype(np.int64) for bars in (4, 6, 8)]


def test_logits_are_the_log_probabilities_of_the_counts(sequences):
    system = counted_system(sequences, TokenConfig(), 5)
    ids = sequences[0]
    with torch.inference_mode():
        logits, _ = system.net(torch.from_numpy(ids[None]))
    probabilities = logits[0].double().exp()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-4)
    nats = NGram(sequences, system.tokenizer.size, 5).nats([ids])[0]
    found = -np.log(probabilities[np.arange(len(ids) - 1), ids[1:]].numpy())
    np.testing.assert_allclose(found, nats[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_reading_on_is_reading_at_once(sequences, order):
    net = counted_system(sequences, TokenConfig(), order).net
    tokens = torch.from_numpy(sequences[1][None, :20])
    with torch.inference_mode():
        whole, _ = net(tokens)
        _, cache = net(tokens[:, :11])
        cache = net.select(net.repeat(cache, 3), torch.tensor([2]))
        rest, _ = net(tokens[:, 11:], cache)
    assert torch.equal(rest, whole[:, 11:])


def test_an_n_gram_composes_in_the_prompt_s_metre(sequences):
    composer = Composer(counted_system(sequences, TokenConfig(), 5), "cpu", 1)
    made = composer.compose(tiny_music.prompt(4, 4, 120.0), bars=2, variations=2)
    assert all(len(one.notes) > 2 for one in made)
    assert [(s.numerator, s.denominator) for s in made[0].score.time_signatures] == [(4, 4)]
