import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from midi_bytes import band, midi, part, tempo, track

from songfoundry import notes
from songfoundry.errors import InputError, MissingExtraError, OutputError

pytest.importorskip("symusic")
RATE = 44100


def hold(program: int, pitch: int, **changes) -> notes.Part:
    """One note of two seconds that begins at 0.5 s."""
    fields = dict(
        program=program, is_drum=False, name="", starts=np.array([0.5]), durations=np.array([2.0]), pitches=np.array([pitch]),
        velocities=np.array([90]), controls=np.zeros((0, 3)), bends=np.zeros((0, 2)),
    )  # fmt: skip
    return notes.Part(**(fields | changes))


def play(pieces: list, soundfont: Path, **options) -> np.ndarray:
    try:
        return notes.render(pieces, soundfont, RATE, **options)
    except MissingExtraError as error:
        pytest.skip(str(error))


def pitch_of(samples: np.ndarray) -> float:
    """MIDI pitch of a held note, by the autocorrelation of its middle."""
    middle = samples.mean(0)[round(0.75 * RATE) : round(1.5 * RATE)].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle, 2**17)) ** 2
    correlation = np.fft.irfft(spectrum)
    lags = np.arange(40, 1400)
    return 69 + 12 * np.log2(RATE / lags[np.argmax(correlation[lags])] / 440)


def onset_of(samples: np.ndarray) -> float:
    loud = np.abs(samples).max(0)
    return float(np.argmax(loud > 0.1 * loud.max())) / RATE


def test_reads_a_band_and_sorts_its_parts():
    score = notes.read_midi(band(qpm=120, beats=8))
    groups = notes.by_group(notes.parts(score))
    programs = {name: [piece.program for piece in pieces] for name, pieces in groups.items()}
    assert programs == {"drums": [0], "bass": [33], "other": [0]}
    bass = groups["bass"][0]
    assert np.allclose(bass.starts, 0.25 * np.arange(16)) and bass.pitches[0] == 33 and bass.velocities[0] == 100
    assert groups["drums"][0].is_drum and len(groups["drums"][0].starts) == 8 + 4 + 16


@pytest.mark.parametrize(("program", "group"), [(31, "other"), (32, "bass"), (39, "bass"), (52, "other"), (116, "drums")])
def test_programs_go_to_their_stem(program, group):
    assert hold(program, 60).group == group


def test_beats_follow_the_tempo_changes():
    score = notes.read_midi(midi([track([tempo(480, 60), tempo(960, 240)]), part(0, 0, [(0, 4 * 480, 60, 90)])]))
    # One quarter before the first tempo at the standard's 120, one at 60, the rest at 240 to the minute.
    assert np.allclose(notes.beat_times(score)[:5], [0, 0.5, 1.5, 1.75, 2.0])
    assert np.allclose(notes.parts(score)[0].end, 2.0)


def test_reads_controllers_and_bends():
    note = [(0, bytes([0x90, 60, 90])), (960, bytes([0x80, 60, 0]))]
    moves = [(240, bytes([0xB0, 7, 55])), (480, bytes([0xE0, 0, 96]))]
    (piece,) = notes.parts(notes.read_midi(midi([track(note + moves)])))
    assert np.allclose(piece.controls, [[0.25, 7, 55]]) and np.allclose(piece.bends, [[0.5, 4096]])


def test_notes_that_never_end_are_told(tmp_path):
    """A note that is struck twice and let go once ends once; what lasts no time, or ends by a velocity of zero, has ended."""
    whole = [(0, b"\x90\x3c\x5a"), (480, b"\x90\x3c\x00"), (480, b"\x90\x3e\x5a"), (480, b"\x80\x3e\x00")]
    assert notes.open_midi(midi([track(whole)])).said == []
    (tmp_path / "a.mid").write_bytes(midi([track(whole), track(whole + [(960, b"\x90\x40\x5a"), (960, b"\x90\x41\x5a")])]))
    opened = notes.open_midi(tmp_path / "a.mid")
    assert opened.said == ["2 of 6 notes in a.mid never end: left out"] and opened.name == "a.mid"
    assert notes.open_midi(opened.score).said == [] and opened.score.note_num() == 4


GOOD = band(beats=4)
BACKWARDS = b"\x00\x90\x3c\x5a\x60\x80\x3c\x00" + b"\xff\xff\xff\xff\x7f\x90\x3e\x5a\x60\x80\x3e\x00\x00\xff\x2f\x00"
HOSTILE = {
    "empty": b"",
    "text": b"Dear diary, this is no music.",
    "cut short": GOOD[:-20],
    "track of 4 GiB": GOOD[:18] + b"\xff\xff\xff\xff" + GOOD[22:34],
    "clock of zero": GOOD[:12] + b"\x00\x00" + GOOD[14:],
    "film clock": GOOD[:12] + b"\xe7\x28" + GOOD[14:],
    "longer header": GOOD[:4] + struct.pack(">I", 7) + GOOD[8:],
    "143 years": midi([track([tempo(0, 3.6), (0, b"\x90\x3c\x5a"), (0x0FFFFFFF, b"\x80\x3c\x00")])], division=1),
    "too large": b"MThd" + bytes(notes.MAX_BYTES),
    "patterns": GOOD[:9] + b"\x02" + GOOD[10:],
    # Here symusic takes the notes before it and says nothing.
    "negative time behind notes": GOOD[:10] + b"\x00\x01" + GOOD[12:14] + b"MTrk" + struct.pack(">I", len(BACKWARDS)) + BACKWARDS,
    "60 million beats a minute": midi([track([(0, b"\xff\x51\x03\x00\x00\x01")]), part(0, 0, [(0, 480, 60, 90)])]),
    "tempo of zero": midi([track([tempo(0, 0)]), part(0, 0, [(0, 480, 60, 90)])]),
    "metre of nothing": midi([track([(0, b"\xff\x58\x04\x00\x02\x18\x08")]), part(0, 0, [(0, 480, 60, 90)])]),
    "metre of 4/2^40": midi([track([(0, b"\xff\x58\x04\x04\x28\x18\x08")]), part(0, 0, [(0, 480, 60, 90)])]),
    # The standard has no negative times: what a writer makes of -1 is a number of five bytes and more.
    "negative time": GOOD[:14] + b"MTrk\x00\x00\x00\x0f" + b"\xff\xff\xff\xff\x7f\x90\x3c\x5a\x60\x80\x3c\x00\xff\x2f\x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_hostile_files(name, tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(InputError, match="song.mid") as caught:
        notes.read_midi(path)
    assert str(caught.value).startswith("expected ") and "\n" not in str(caught.value)


def test_refuses_a_million_notes_and_reads_three_hours():
    note = b"\x00\x3c\x5a\x01\x3c\x00"  # under the running status of the first
    swarm = b"\x00\x90\x3c\x5a\x01\x3c\x00" + note * 1_000_000 + b"\x00\xff\x2f\x00"
    with pytest.raises(InputError, match="at most 500000 notes, the MIDI data has 1000001"):
        notes.read_midi(GOOD[:10] + b"\x00\x01" + GOOD[12:14] + b"MTrk" + struct.pack(">I", len(swarm)) + swarm)
    hours = notes.read_midi(midi([track([tempo(0, 120)]), part(0, 0, [(480 * n, 400, 60 + n % 12, 90) for n in range(21_600)])]))
    assert 3 * 3600 - 1 < hours.to("Second").end() <= 3 * 3600


def test_writes_whole_files_or_none(tmp_path):
    score = notes.read_midi(band(beats=8))
    notes.write_midi(score, tmp_path / "out.mid")
    again = notes.read_midi(tmp_path / "out.mid")
    for one, other in zip(notes.parts(score), notes.parts(again), strict=True):
        assert (one.program, one.is_drum) == (other.program, other.is_drum) and np.array_equal(one.pitches, other.pitches)
        assert np.allclose(one.starts, other.starts) and np.array_equal(one.velocities, other.velocities)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mid"]
    with pytest.raises(OutputError, match="no/out.mid"):
        notes.write_midi(score, tmp_path / "no" / "out.mid")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mid"]


def test_forty_tracks_are_written_and_read():
    score = notes.read_midi(midi([part(k % 9, 3 * k, [(480 * k, 480, 40 + k, 90)]) for k in range(40)]))
    again = notes.read_midi(score.dumps_midi())
    assert [(t.program, t.notes[0].start, t.notes[0].pitch) for t in again.tracks] == [(3 * k, 480 * k, 40 + k) for k in range(40)]


def test_tracks_that_share_a_channel_are_told():
    """By the bytes: a channel that more than one program is set on plays all its tracks with one instrument."""
    for count, of in ((15, 15), (16, 16), (40, 40), (40, 1), (40, 5)):
        score = notes.read_midi(midi([part(k % 9, 3 * k % (3 * of), [(480 * k, 480, 40 + k, 90)]) for k in range(count)]))
        programs: dict[int, list[int]] = {}
        for chunk in score.dumps_midi().split(b"MTrk")[1:]:
            found = next((at for at, byte in enumerate(chunk) if byte >> 4 == 0xC), None)
            if found is not None:
                programs.setdefault(chunk[found] & 15, []).append(chunk[found + 1])
        shared = sum(len(found) for found in programs.values() if len(set(found)) > 1)
        said = notes.shared_channels(score)
        assert (said is None) == (shared == 0) and (said is None or f": {shared} tracks share theirs" in said), (count, of, programs)


def test_soundfonts_are_found_largest_first(tmp_path, monkeypatch):
    for name, size in (("small.sf2", 10), ("large.SF2", 20), ("text.txt", 30)):
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "link.sf2").symlink_to(tmp_path / "small.sf2")
    monkeypatch.setenv("SOUNDFONTS", str(tmp_path))
    found = [path for path in notes.find_soundfonts() if path.parent == tmp_path.resolve()]
    assert [path.name for path in found] == ["large.SF2", "small.sf2"]


def test_names_a_missing_file_and_a_missing_extra(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="nothing.mid"):
        notes.read_midi(tmp_path / "nothing.mid")
    monkeypatch.setitem(sys.modules, "symusic", None)
    with pytest.raises(MissingExtraError, match=r"songfoundry\[midi\]"):
        notes.read_midi(GOOD)


@pytest.mark.parametrize(("program", "pitch"), [(0, 48), (0, 72), (24, 55), (33, 40), (48, 64), (56, 69)])
def test_every_instrument_sounds_at_its_pitch(program, pitch, soundfont):
    # symusic's own synthesiser misses some of these by 2 to 12 semitones.
    sound = play([hold(program, pitch)], soundfont, seconds=2.0, wet=0.0)
    assert sound.dtype == np.float32 and sound.shape == (2, 2 * RATE)
    assert abs(pitch_of(sound) - pitch) < 0.4


def test_events_sound_when_they_should(soundfont):
    hits = hold(0, 38, is_drum=True, starts=np.array([0.5, 1.25]), durations=np.array([0.1, 0.1]),
                pitches=np.array([38, 38]), velocities=np.array([110, 110]))  # fmt: skip
    sound = play([hits], soundfont, wet=0.0)
    assert sound.shape[1] == round((1.35 + 3.0) * RATE)
    assert abs(onset_of(sound) - 0.5) < 0.01
    assert abs(onset_of(sound[:, RATE:]) + 1.0 - 1.25) < 0.01
    assert np.abs(sound[:, : round(0.49 * RATE)]).max() < 1e-3


def test_volume_pan_and_bend_are_obeyed(soundfont):
    plain = play([hold(33, 40)], soundfont, seconds=2.0, wet=0.0)
    soft = play([hold(33, 40, controls=np.array([[0.0, 7, 50]]))], soundfont, seconds=2.0, wet=0.0)
    left = play([hold(33, 40, controls=np.array([[0.0, 10, 0]]))], soundfont, seconds=2.0, wet=0.0)
    bent = play([hold(33, 40, bends=np.array([[0.0, 8191]]))], soundfont, seconds=2.0, wet=0.0)
    assert abs(20 * np.log10(soft.std() / plain.std()) - 40 * np.log10(50 / 100)) < 1.0
    assert left[0].std() > 20 * left[1].std()
    assert abs(pitch_of(bent) - 42) < 0.4


def test_playing_twice_gives_the_same_and_never_bursts(soundfont):
    pieces = notes.parts(notes.read_midi(band(beats=8)))
    first = play(pieces, soundfont)
    assert np.array_equal(first, notes.render(pieces, soundfont, RATE))
    assert np.array_equal(first, notes.render(notes.read_midi(band(beats=8)), soundfont, RATE))
    assert 0.02 < np.abs(first).max() < 3


def test_names_a_soundfont_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="none.sf2"):
        play([hold(0, 60)], tmp_path / "none.sf2")
    (tmp_path / "text.sf2").write_text("no sounds")
    with pytest.raises(InputError, match="text.sf2"):
        play([hold(0, 60)], tmp_path / "text.sf2")


def test_names_what_an_archive_lacks(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("cut.mid", GOOD[:-20])
    for member in ("none.mid", "cut.mid"):
        with pytest.raises(InputError, match=member):
            notes.read_member(tmp_path / "some.zip", member)


def test_refuses_to_play_for_days(soundfont):
    with pytest.raises(InputError, match="cut the piece"):
        play([hold(0, 60, durations=np.array([1e6]))], soundfont)


def test_real_bands_parse(shared_data):
    archive = shared_data / "midi" / "multitrack.zip"
    names = [name for name in zipfile.ZipFile(archive).namelist() if name.endswith(".mid")][::25]
    for name in names:
        score = notes.read_member(archive, name)
        groups = notes.by_group(notes.parts(score))
        assert groups["drums"] and groups["bass"] and groups["other"], name
        # The beats of the piece and its notes are on one clock, whatever the tempo map.
        assert notes.beat_times(score)[-1] >= max(piece.end for piece in notes.parts(score)) - 0.01
