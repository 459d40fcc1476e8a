"""Take tunes out of MIDI files: the right track, the top line, the range, and files that nobody sings."""

import numpy as np
import pytest
from midi_bytes import band, midi, part, tempo, track

from songfoundry.errors import InputError
from songfoundry.notes import Part
from songfoundry.singing.melodies import HIGHEST, LOWEST, melody_of, top_line


def named(name: str, channel: int, notes) -> bytes:
    """A track with a name and (tick, ticks, pitch) notes."""
    events = [(0, b"\xff\x03" + bytes([len(name)]) + name.encode())]
    for start, ticks, pitch in notes:
        events += [(start, bytes([0x90 | channel, pitch, 90])), (start + ticks, bytes([0x80 | channel, pitch, 0]))]
    return track(events)


def write(path, *tracks):
    path.write_bytes(midi([track([tempo(0, 120)]), *tracks]))
    return path


LINE = [(480 * n, 460, pitch) for n, pitch in enumerate((60, 62, 64, 65))]
HIGH = [(480 * n, 480, 80) for n in range(4)]


def pitches(tune):
    return [note.pitch for note in tune.notes]


def test_a_named_track_is_sung_though_another_is_higher(tmp_path):
    tracks = named("Flute", 0, HIGH), named("Lead Vocal", 1, LINE), named("Backing vocals", 2, HIGH)
    tune, said = melody_of(write(tmp_path / "a.mid", *tracks))
    assert pitches(tune) == [60, 62, 64, 65] and "'Lead Vocal'" in said[0] and len(said) == 1
    assert tune.notes[1].start == pytest.approx(0.5) and tune.notes[1].end == pytest.approx(0.5 + 460 / 960)


def test_without_a_name_the_highest_track_of_one_voice_is_sung(tmp_path):
    chords = [(start, 480, pitch + add) for start, _, pitch in HIGH for add in (-7, -4, 0)]
    sparse = [(0, 100, 83)]
    drums = part(9, 0, [(0, 60, 36, 90)])
    tune, said = melody_of(write(tmp_path / "a.mid", named("", 0, chords), named("", 1, LINE), named("", 2, sparse), drums))
    assert pitches(tune) == [60, 62, 64, 65] and "number 2" in said[0]


def test_of_chords_the_top_line_is_sung_and_it_is_said(tmp_path):
    chords = [(480 * n, 470, top - step) for n, top in enumerate((72, 74, 71)) for step in (12, 8, 5, 0)]
    tune, said = melody_of(write(tmp_path / "a.mid", named("Piano", 0, chords)))
    assert pitches(tune) == [72, 74, 71] and "top line is sung, 9 of 12 notes" in said[0]


def test_a_low_note_under_a_held_one_is_hidden_and_a_high_one_cuts_it():
    starts, lengths, heights = np.array([0, 0.5, 1.0, 1.96]), np.array([2.0, 0.3, 1.0, 1.0]), np.array([60, 55, 67, 64])
    found, hidden = top_line(Part(0, False, "", starts, lengths, heights, np.full(4, 90), np.zeros((0, 3)), np.zeros((0, 2))))
    assert [(note.start, note.end, note.pitch) for note in found] == [(0, 1.0, 60), (1.0, 1.96, 67), (1.96, 2.96, 64)] and hidden == 2


def test_legato_is_one_voice(tmp_path):
    legato = [(start, ticks + 60, pitch) for start, ticks, pitch in LINE]
    tune, said = melody_of(write(tmp_path / "a.mid", named("", 0, legato)))
    assert pitches(tune) == [60, 62, 64, 65] and not said and tune.notes[0].end == tune.notes[1].start


def test_what_no_voice_sings_is_moved_by_octaves_and_it_is_said(tmp_path):
    tune, said = melody_of(write(tmp_path / "a.mid", named("", 0, [(start, ticks, pitch + 36) for start, ticks, pitch in LINE])))
    assert pitches(tune) == [72, 74, 76, 77] and "C7 to F7" in said[0] and "2 octaves lower" in said[0]
    wide = [(480 * n, 400, pitch) for n, pitch in enumerate((12, 60, 62, 64, 120))]
    tune, said = melody_of(write(tmp_path / "b.mid", named("", 0, wide)))
    assert min(pitches(tune)) >= LOWEST and max(pitches(tune)) <= HIGHEST and "2 of 5 notes" in said[0]
    assert [pitch % 12 for pitch in pitches(tune)] == [0, 0, 2, 4, 0]


def test_files_that_hold_no_tune_are_refused_in_a_sentence(tmp_path):
    (tmp_path / "text.mid").write_text("la la la")
    for path, words in (
        (tmp_path / "none.mid", "cannot be read"), (tmp_path / "text.mid", "does not begin like one"),
        (write(tmp_path / "drums.mid", part(9, 0, [(0, 60, 36, 90)])), "no notes but drums"),
        (write(tmp_path / "short.mid", named("", 0, [(0, 1, 60)])), "expected notes of at least 30 ms"),
        (write(tmp_path / "long.mid", named("", 0, [(0, 480, 60), (480 * 2 * 3700, 480, 60)])), "at most 60 minutes"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            melody_of(path)


def test_a_band_sings_its_highest_single_voice_or_its_chords(tmp_path):
    (tmp_path / "band.mid").write_bytes(band())
    tune, said = melody_of(tmp_path / "band.mid")
    assert set(pitches(tune)) == {64} and any("top line" in sentence for sentence in said)
