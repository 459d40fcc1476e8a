import numpy as np
import pytest

from songfoundry.voice import timing
from songfoundry.voice.syllables import Syllable
from songfoundry.voice.tune import TuneNote
from songfoundry.voice.world import PERIOD

SYLLABLES = [Syllable(20 + 40 * k, 30 + 40 * k, 50 + 40 * k, 55 + 40 * k, k // 2) for k in range(4)]
"""Of 50 ms consonant, 100 ms vowel, 25 ms coda each; two a word."""


def notes(count, length=0.5, start=0.5, rest=0.0):
    return [TuneNote(start + k * (length + rest), start + k * (length + rest) + length, 60 + k % 5) for k in range(count)]


def laid(tune, mode="syllables", syllables=SYLLABLES):
    frames = round(tune[-1].end / PERIOD)
    return timing.fit(syllables, tune, frames, mode)


def test_each_vowel_begins_where_its_note_does_and_is_stretched():
    tune = notes(4)
    plan = laid(tune)
    for note, syllable in zip(tune, SYLLABLES, strict=True):
        frame = round(note.start / PERIOD)
        assert plan.source[frame] == pytest.approx(syllable.vowel, abs=1)
        assert plan.source[frame - 9] == pytest.approx(syllable.begin + 1, abs=1.5)  # the consonant keeps its length
        steady = np.diff(plan.source[frame + 10 : frame + 60])
        assert (steady > 0).all() and steady.max() < 0.5  # the vowel does not
    assert len(plan.marks) == 4 and len(plan.words) == 2 and not plan.said
    assert plan.words[1][0] == pytest.approx(tune[2].start - 10 * PERIOD, abs=PERIOD)


def test_rests_are_silent_but_for_the_consonants_before_the_next_note():
    plan = laid(notes(4, rest=0.3))
    rest = slice(round(1.02 / PERIOD), round(1.24 / PERIOD))
    assert np.isnan(plan.source[rest]).all()
    assert not np.isnan(plan.source[round(1.26 / PERIOD)])


def test_too_few_syllables_are_sung_again_and_never_break_off_amid_the_words():
    plan = laid(notes(13))
    assert plan.said == ["4 syllables for 13 notes: the words are sung 3 times"]
    last = plan.source[~np.isnan(plan.source)][-1]
    assert last == pytest.approx(SYLLABLES[-1].end, abs=1)
    assert len(plan.marks) == 12  # one syllable is held over two notes


def test_one_word_for_a_long_tune_is_repeated():
    plan = laid(notes(480), syllables=SYLLABLES[:1])
    assert "sung 480 times" in plan.said[0] and len(plan.marks) == 480


def test_too_many_syllables_share_notes_and_the_last_of_far_too_many_are_left_out():
    plan = laid(notes(2))
    assert plan.said == ["4 syllables for 2 notes: some notes carry several"] and len(plan.marks) == 4
    plan = laid(notes(1, length=0.2))
    assert plan.said == ["4 syllables for 1 note: 2 syllables found no room"] and len(plan.marks) == 2


def test_words_begin_notes_in_the_mode_of_words():
    tune = notes(2, length=1.0)
    plan = laid(tune, "words")
    assert not plan.said and len(plan.marks) == 4
    for note, syllable in zip(tune, SYLLABLES[::2], strict=True):
        assert plan.source[round(note.start / PERIOD)] == pytest.approx(syllable.vowel, abs=1)


def test_free_timing_keeps_the_rhythm_of_the_speech():
    tune = notes(4, length=0.25)
    plan = laid(tune, "free")
    sung = plan.source[round(0.5 / PERIOD) :]
    assert np.allclose(np.diff(sung), np.diff(sung)[0]) and sung[0] == SYLLABLES[0].begin
    assert "sung 4 times" in laid(notes(6, length=0.5), "free").said[0]


def test_time_never_goes_back_within_a_syllable_however_short_the_notes():
    for length in (0.03, 0.08, 0.15):
        plan = laid(notes(9, length=length))
        for first, last in plan.marks:
            part = plan.source[round(first / PERIOD) + 1 : round(last / PERIOD) - 1]
            assert (np.diff(part[~np.isnan(part)]) >= 0).all()
