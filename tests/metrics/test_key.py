"""Tell keys of scales, cadences and of the twelve prompts."""

import json

import numpy as np
import pytest

from songfoundry.metrics import key
from songfoundry.metrics.music import Notes, join

C_MAJOR = [(60, 2), (62, 1), (64, 2), (65, 1), (67, 2), (69, 1), (71, 1), (72, 2)]
A_MINOR = [(57, 3), (59, 1), (60, 2), (62, 1), (64, 3), (65, 1), (68, 1), (69, 2)]


def line(pitches, transposed: int = 0, program: int = 0) -> Notes:
    pitch, duration = np.array(pitches, np.int64).T
    starts = np.concatenate([[0], np.cumsum(duration)[:-1]])
    count = len(pitch)
    return Notes(starts * 1.0, duration * 1.0, pitch + transposed, np.full(count, 80), np.full(count, program))


@pytest.mark.parametrize("semitones", range(12))
def test_transposition_moves_the_key_with_it(semitones):
    assert key.key_of(line(C_MAJOR, semitones)) == semitones
    assert key.key_of(line(A_MINOR, semitones)) == (9 + semitones) % 12 + 12


@pytest.mark.parametrize("semitones", range(12))
def test_the_other_judge_hears_plain_keys_alike_and_mixed_ones_its_own_way(semitones):
    assert key.key_of(line(C_MAJOR, semitones), key.TEMPERLEY) == semitones
    assert key.key_of(line(A_MINOR, semitones), key.TEMPERLEY) == (9 + semitones) % 12 + 12
    np.testing.assert_allclose(np.corrcoef(key.TEMPERLEY[0], np.roll(key.TEMPERLEY[5], -5))[0, 1], 1)
    # White notes with much D and E: G major by the one, C major by the other.
    drone = line([(60, 1), (62, 3), (64, 3), (65, 1), (67, 2), (69, 1), (71, 1)], semitones)
    assert (key.key_of(drone), key.key_of(drone, key.TEMPERLEY)) == ((7 + semitones) % 12, semitones)


def test_durations_and_not_counts_tell_the_key():
    tonic_long = line([(60, 12), (67, 6), (64, 6), (69, 0.25), (69, 0.25), (69, 0.25), (69, 0.25), (71, 0.5)])
    assert key.key_of(tonic_long) == 0


def test_drums_do_not_sway_the_key():
    drums = line([(37, 50), (42, 50), (46, 50)], program=-1)
    assert key.key_of(join([line(C_MAJOR), drums])) == 0
    assert key.key_of(drums) is None


def test_no_key_where_all_sound_alike():
    assert key.key_of(line([(60 + step, 1) for step in range(12)])) is None
    assert key.key_of(join([])) is None


def test_relations():
    c_major, a_minor, g_major, e_minor = 0, 21, 7, 16
    assert key.key_relation(c_major, c_major) == "equal"
    assert key.key_relation(c_major, a_minor) == key.key_relation(a_minor, c_major) == "relative"
    assert key.key_relation(g_major, e_minor) == "relative"
    assert key.key_relation(c_major, g_major) == key.key_relation(c_major, None) == "neither"
    assert all(key.relative(key.relative(each)) == each for each in range(24))


def test_scores_are_correlations():
    notes = line(C_MAJOR)
    sounding = np.zeros(12)
    for pitch, duration in C_MAJOR:
        sounding[pitch % 12] += duration
    assert key.key_scores(notes)[16] == pytest.approx(np.corrcoef(sounding, key.PROFILES[16])[0, 1])


def test_the_prompts_have_the_keys_that_their_list_names(shared_data):
    pytest.importorskip("symusic")
    from songfoundry import notes as midi

    names = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]
    prompts = json.loads((shared_data / "midi/prompts/prompts.json").read_text())["prompts"]
    for prompt in prompts:
        score = midi.read_midi(shared_data / "midi/prompts" / prompt["file"])
        parts = [Notes(p.starts, p.durations, p.pitches, p.velocities, np.full(len(p.starts), -1 if p.is_drum else p.program))
                 for p in midi.parts(score)]  # fmt: skip
        found = key.key_of(join(parts))
        tonic, mode = prompt["key_estimate"]["value"].split()
        expected = names.index(tonic.replace("Gb", "F#").replace("C#", "Db")) + 12 * (mode == "minor")
        assert found == expected, prompt["id"]


def test_many_histograms_are_fitted_as_each_alone():
    pieces = [line(C_MAJOR), line(A_MINOR, 3), line([(60 + step, 1) for step in range(12)]), line([(62, 4)])]
    together = key.fit(np.stack([key.sounding(piece) for piece in pieces]))
    assert together.shape == (4, 24) and not together[2].any()
    for row, piece in zip(together, pieces, strict=True):
        assert row == pytest.approx(key.key_scores(piece))
    # The correlation coefficient by its own definition.
    assert together[1, 14] == pytest.approx(np.corrcoef(key.sounding(pieces[1]), key.PROFILES[14])[0, 1])
