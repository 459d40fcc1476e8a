"""The last bar: one chord on the tonic, no thicker than the music before it."""

import numpy as np
import pytest
from random_walks import begun, walk

from songfoundry.composing.ending import EndingRule
from songfoundry.composing.prompts import notes_of
from songfoundry.composing.texture import Texture
from songfoundry.notes import TokenConfig, tokenizer


@pytest.fixture(scope="module")
def tokens():
    return tokenizer(TokenConfig())


TEXTURE = Texture({0: 4, 40: 1, -1: 5}, 5, {0: 2.0, 40: 1.0, -1: 2.0}, {0: 1.0, 40: 1.0, -1: 0.5}, {0: (48, 72), 40: (60, 80)})


def last_bar(tokens, key, texture, seed, programs=(0, 40, -1), bars=3, taste=None, **options):
    """Write with a net that likes notes and never ends; the notes of the last bar, and those before it."""
    eager = np.zeros(tokens.size)
    eager[tokens.of_kind("Program")] = 5.0
    eager[[tokens.eos, tokens.ids["Bar_None"]]] = -1.0
    rule = EndingRule(tokens, bars, key, texture, (4, 4), **options)
    grammar = begun(tokens, [rule], bars=bars - 1, programs=programs)
    ids = walk(grammar, seed, 60_000, eager if taste is None else taste)
    assert grammar.done
    notes = notes_of(tokens.decode([*tokens.header("band", 0), tokens.ids["Bar_None"], tokens.ids["TimeSig_4/4"], *ids]))
    return notes.keep(notes.starts >= 4 * (bars - 1)), notes.keep(notes.starts < 4 * (bars - 1))


@pytest.mark.parametrize("seed", range(4))
def test_a_net_that_likes_notes_closes_with_one_chord(tokens, seed):
    found, before = last_bar(tokens, 9 + 12, TEXTURE, seed)
    assert set(found.starts) == {8.0} and before.ends.max() <= 8.0
    pitched = found.pitched
    assert 1 <= len(pitched) <= 5 and (found.programs == -1).sum() <= 2 and (found.programs == 40).sum() <= 1
    assert set(pitched.pitches % 12) <= {9, 0, 4} and 9 in pitched.pitches % 12 and (pitched.durations >= 1).all()


def test_a_net_that_likes_silence_and_drums_strikes_the_tonic_yet(tokens):
    taste = np.zeros(tokens.size)
    taste[tokens.of_kind("Program")] = -8.0
    taste[tokens.ids["Program_-1"]] = 8.0
    found, _ = last_bar(tokens, 2, TEXTURE, 1, taste=taste)
    assert 2 in found.pitched.pitches % 12
    drums, _ = last_bar(tokens, 2, TEXTURE, 1, programs=(-1,), pitched=False)
    assert len(drums) <= 2


def test_the_chord_is_in_the_register_heard(tokens):
    inside = Texture({0: 4}, 4, {0: 1.0}, {0: 1.0}, {0: (60, 72)})
    pitches = []
    for seed in range(8):
        rule = EndingRule(tokens, 1, 0, inside, (4, 4))
        ids = walk(begun(tokens, [rule], bars=0, programs=[0]), seed)
        pitches += [int(tokens.value(token)) for token in ids if tokens.kinds[token] == "Pitch"]
    assert len(pitches) >= 8 and np.mean([55 <= pitch <= 77 for pitch in pitches]) > 0.9


def test_without_a_key_it_is_that_of_what_was_written(tokens):
    taste = np.zeros(tokens.size)
    taste[tokens.of_kind("Pitch")] = [{4: 0, 8: -0.5, 11: -0.5}.get(int(tokens.value(token)) % 12, -9) for token in tokens.of_kind("Pitch")]
    found, before = last_bar(tokens, None, None, 1, programs=(0,), bars=12, taste=taste)
    assert set(before.pitches % 12) <= {4, 8, 11} and 4 in found.pitches % 12 and set(found.pitches % 12) <= {4, 8, 11}
    assert len(found) <= 6
