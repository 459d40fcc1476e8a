import sys

import numpy as np
import pytest

from songfoundry.errors import MissingExtraError
from songfoundry.voice import world
from songfoundry.voice.syllables import syllables_of

RATE = 16000


def test_without_the_package_one_sentence_says_which_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(MissingExtraError, match=r"pip install songfoundry\[sing\]"):
        world.analyse(np.zeros(1600), RATE)


@pytest.fixture(scope="module")
def voice():
    pytest.importorskip("pyworld")
    import tiny_voices as voices

    return world.analyse(voices.speech(4), RATE)


def test_a_voice_is_taken_apart_and_put_together(voice):
    middle = np.median(voice.hertz[voice.hertz > 0])
    assert 120 < middle < 150 and 0.3 < (voice.hertz > 0).mean() < 0.8
    assert voice.envelope.shape == voice.aperiodicity.shape == (len(voice), 513)
    loud = voice.envelope.sum(1)
    blocks = list(world.synthesise(voice.hertz, RATE, lambda a, b: (voice.envelope[a:b], voice.aperiodicity[a:b]), loud))
    made = np.concatenate(blocks)
    assert len(made) == round(len(voice) * world.PERIOD * RATE)
    again = world.analyse(made, RATE)
    both = (again.hertz > 0) & (voice.hertz > 0)
    assert both.sum() > 0.8 * (voice.hertz > 0).sum()
    assert np.median(np.abs(1200 * np.log2(again.hertz[both] / voice.hertz[both]))) < 15


def test_pieces_join_without_a_click(voice, monkeypatch):
    middle = int(np.argmax(voice.hertz > 0)) + 12
    hold = np.full(600, middle)

    def frames(first, last):
        return voice.envelope[hold[first:last]], voice.aperiodicity[hold[first:last]]

    hertz = np.full(600, 150.0)
    whole = np.concatenate(list(world.synthesise(hertz, RATE, frames, np.zeros(600))))
    monkeypatch.setattr(world, "_LONGEST", 200)
    monkeypatch.setattr(world, "_SHORTEST", 100)
    pieces = list(world.synthesise(hertz, RATE, frames, np.zeros(600)))
    joined = np.concatenate(pieces)
    assert len(pieces) > 3 and len(joined) == len(whole)
    assert np.abs(np.diff(joined)).max() < 1.3 * np.abs(np.diff(whole)).max()


def test_the_analysis_of_pieces_is_that_of_the_whole(voice, monkeypatch):
    import tiny_voices as voices

    monkeypatch.setattr(world, "_PIECE", 150)
    pieces = world.analyse(voices.speech(4), RATE)
    assert len(pieces) == len(voice)
    assert np.mean((pieces.hertz > 0) == (voice.hertz > 0)) > 0.95
    both = (pieces.hertz > 0) & (voice.hertz > 0)
    assert np.median(np.abs(1200 * np.log2(pieces.hertz[both] / voice.hertz[both]))) < 5


def test_syllables_and_words_are_found(voice):
    found = syllables_of(voice)
    assert len(found) == 4 and [one.word for one in found] == [0, 0, 1, 1]
    for one in found:
        assert one.begin <= one.vowel < one.coda <= one.end
        assert (voice.hertz[one.vowel + 4 : one.coda - 4] > 0).all()
    assert all(before.end <= after.begin for before, after in zip(found, found[1:], strict=False))


def test_a_rate_that_world_was_not_made_for_is_refused():
    pytest.importorskip("pyworld")
    with pytest.raises(ValueError, match="16000 to 48000"):
        world.analyse(np.zeros(800), 8000)
