"""Written notes in a score: what was there stays as it was, to the tick."""

import midi_bytes
import pytest

from songfoundry.errors import InputError
from songfoundry.notes import read_midi
from songfoundry.notes.arranging import (
    Bar,
    NoteEvent,
    bars,
    fine_clock,
    insert,
    last_onset,
    mean_qpm,
    new_score,
    release,
    set_course,
    tail,
    without,
)


def note(start, pitch, length=1.0, program=0, velocity=80, track=0):
    return NoteEvent(0, start, length, pitch, velocity, program, start / 2, length / 2, track)


def score(*tracks, division=480):
    return read_midi(midi_bytes.midi(list(tracks), division))


def metre(tick, numerator, power):
    return tick, bytes([0xFF, 0x58, 4, numerator, power, 24, 8])


def notes(track):
    return sorted((n.time, n.duration, n.pitch, n.velocity) for n in track.notes)


def test_bars_follow_the_metre_and_its_changes():
    piece = score(midi_bytes.track([metre(0, 3, 2), metre(2880, 13, 4)]), midi_bytes.part(0, 0, [(0, 100, 60, 80)]))
    assert bars(piece, 4500) == [Bar(0, 1440, 3, 4), Bar(1440, 1440, 3, 4), Bar(2880, 1560, 13, 16), Bar(4440, 1560, 13, 16)]


def test_a_metre_within_a_bar_cuts_it_short_and_none_is_common_time():
    piece = score(midi_bytes.track([metre(2000, 3, 2)]))
    assert [(bar.tick, bar.ticks) for bar in bars(piece, 3000)] == [(0, 1920), (1920, 80), (2000, 1440)]


@pytest.mark.parametrize(("key", "sharps"), [(0, 0), (7, 1), (5, -1), (6, 6), (1, -5), (21, 0), (12, -3), (16, 1), (22, -5)])
def test_a_new_score_names_its_key(key, sharps):
    (found,) = new_score(3, 4, 90.0, key).key_signatures
    assert (found.time, found.key, found.tonality) == (0, sharps, int(key >= 12)) and not new_score(3, 4, 90.0).key_signatures


def test_a_coarse_clock_is_made_fine_without_moving_anything():
    events = [midi_bytes.tempo(0, 168), metre(0, 5, 2), (7, b"\xb0\x40\x7f")]
    piece = score(midi_bytes.track(events), midi_bytes.part(0, 5, [(1, 2, 60, 80), (7, 3, 64, 81)]), division=10)
    fine = fine_clock(piece)
    assert fine.ticks_per_quarter == 240
    for name in ("notes", "controls"):
        for old, new in zip(piece.tracks, fine.tracks, strict=True):
            assert [event.time * 24 for event in getattr(old, name)] == [event.time for event in getattr(new, name)]
    assert [n.duration for n in fine.tracks[-1].notes] == [48, 72] and fine.tempos[0].mspq == piece.tempos[0].mspq
    assert fine_clock(score(midi_bytes.part(0, 0, [(0, 1, 60, 80)]))).ticks_per_quarter == 480


def test_a_clock_that_cannot_be_made_fine_is_refused():
    with pytest.raises(InputError, match="expected a clock"):
        fine_clock(score(midi_bytes.part(0, 0, [(0, 1, 60, 80)]), division=997))


def test_the_mean_tempo_is_taken_over_time():
    piece = score(midi_bytes.track([midi_bytes.tempo(0, 60), midi_bytes.tempo(960, 120), midi_bytes.tempo(1920, 240)]))
    assert mean_qpm(piece, 0, 1920) == (pytest.approx(80.0), True)  # two quarters in 2 s, two in 1 s
    assert mean_qpm(piece, 960, 1920) == (pytest.approx(120.0), False)
    assert mean_qpm(piece, 5000, 6000) == (pytest.approx(240.0), False)
    assert mean_qpm(score(midi_bytes.track([])), 0, 100) == (120.0, False)


def test_what_holds_already_is_not_said_again():
    piece = score(midi_bytes.track([midi_bytes.tempo(0, 168), midi_bytes.tempo(1920, 90), metre(0, 6, 3)]))
    set_course(piece, 1440, [(0.0, 6, 8), (3.0, 6, 8), (6.0, 3, 4)], [(0.0, piece.tempos[0].qpm), (6.0, 100.0)])
    assert [(t.time, t.mspq) for t in piece.tempos] == [(0, 357143), (1440 + 2880, 600000)]
    assert [(t.time, t.numerator, t.denominator) for t in piece.time_signatures] == [(0, 6, 8), (1440 + 2880, 3, 4)]


def test_written_notes_go_to_their_tracks_and_leave_the_others_alone():
    high = midi_bytes.part(0, 52, [(0, 1920, 72, 90)])
    low = midi_bytes.part(1, 52, [(0, 1920, 48, 70)])
    drums = midi_bytes.part(9, 25, [(0, 60, 36, 100)])
    piece = score(midi_bytes.track([]), high, low, drums)
    before = [notes(track) for track in piece.tracks]
    written = [note(0, 71, track=0), note(0.5, 50, track=1), note(1, 38, program=-1, velocity=99, track=2)]
    written += [note(2, 40, program=33, track=None), note(3, 41, program=33, track=None)]
    assert insert(piece, written, 1920) == 5
    after = [notes(track) for track in piece.tracks]
    assert [(t.program, t.is_drum) for t in piece.tracks][-1] == (33, False)
    new = [sorted(set(now) - set(then)) for then, now in zip([*before, []], after, strict=True)]
    assert new[:3] == [[(1920, 480, 71, 80)], [(2160, 480, 50, 80)], [(2400, 480, 38, 99)]]
    assert new[3] == [(2880, 480, 40, 80), (3360, 480, 41, 80)]


def test_no_note_is_struck_while_its_pitch_sounds():
    piece = score(midi_bytes.part(0, 0, [(0, 2400, 60, 80), (3840, 480, 62, 80)]))
    written = [note(0.5, 60), note(1, 60), note(1, 62, length=9), note(2, 64, length=3), note(3, 64), note(3, 64, length=9)]
    assert insert(piece, written, 1920, limit=1920 + 4 * 480) == 4
    assert set(notes(piece.tracks[0])) == {
        (0, 2400, 60, 80), (2400, 480, 60, 80), (2400, 1440, 62, 80), (3840, 480, 62, 80), (2880, 480, 64, 80), (3360, 480, 64, 80),
    }  # fmt: skip


def test_pedals_and_bends_are_let_go():
    controls = [(0, b"\xb0\x40\x7f"), (10, b"\xb0\x43\x7f"), (20, b"\xb0\x43\x00"), (30, b"\xe0\x00\x50")]
    piece = score(midi_bytes.track([*controls, (40, b"\x90\x3c\x50"), (90, b"\x80\x3c\x00")]))
    release(piece, 1920)
    (track,) = piece.tracks
    assert [(c.time, c.number, c.value) for c in track.controls if c.time == 1920] == [(1920, 64, 0)]
    assert [(b.time, b.value) for b in track.pitch_bends][-1] == (1920, 0)


def test_a_gap_is_cleared_and_a_tail_is_taken():
    struck = [(480 * n + d, bytes([0x90, 60 + n, 80 * (not d)])) for n in range(6) for d in (0, 100)]
    course = midi_bytes.track([midi_bytes.tempo(0, 93), metre(0, 3, 2)])
    piece = score(course, midi_bytes.track([(0, b"\xb0\x07\x64"), *struck]))
    assert [n.time for n in without(piece, 960, 1920).tracks[-1].notes] == [0, 480, 1920, 2400]
    last = tail(piece, 1440)
    assert [(n.time, n.pitch) for n in last.tracks[0].notes] == [(0, 63), (480, 64), (960, 65)]
    assert [(c.time, c.number, c.value) for c in last.tracks[0].controls] == [(0, 7, 100)]
    assert last.tempos[0].mspq == piece.tempos[0].mspq and last.time_signatures[0].numerator == 3
    assert last_onset(last) == 960 and last_onset(new_score(3, 4, 90)) == -1
