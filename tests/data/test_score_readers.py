"""Test reading collections: bars where the annotations have them, keys, tempi, and tracks told apart."""

import json
import zipfile

import numpy as np
import pytest
from midi_bytes import midi, part, tempo, track
from small_scores import metre, tune, write_archive, write_folk

from songfoundry.data.score_readers import chorale_arrays, key_of_name, key_of_signature, lay_bars, readings
from songfoundry.data.score_sets import find_collection
from songfoundry.errors import DatasetError
from songfoundry.notes import read_midi
from songfoundry.notes.quantising import apart


def onsets(track) -> list[float]:
    """Give the onsets of a track of 480 ticks a quarter, in quarters."""
    return (track.notes.numpy()["time"] / 480).tolist()


def write_pop(folder, meter: str, flags: str, beat: float = 0.625, lead: float = 0.3) -> None:
    """Write an archive named pop909 of one song: a note on every beat, a wrong metre in the file; flags: "3" is both, "2", "."."""
    seconds = lead + beat * np.arange(len(flags))
    ticks = np.round(seconds * 2 * 480).astype(int).tolist()
    song = midi([
        track([metre(0, 1, 4), tempo(0, 120)]), part(0, 0, [(t, 100, 72, 100) for t in ticks]), part(0, 0, [(ticks[2], 100, 50, 80)]),
    ])  # fmt: skip
    labels = "\n".join(f"{s} {float(f in '23')} {float(f == '3')}" for s, f in zip(seconds, flags, strict=True))
    keys = [[lead + 0.1, 9, "Gb:maj"], [lead + 8 * beat, 9, "Eb:min"]]
    items = [{"id": "001", "path": "001/001.mid", "split": "train", "meter": meter, "keys": keys}]
    write_archive(folder, "pop909", items, {"001/001.mid": song, "001/beat_midi.txt": labels})


def test_pop_is_laid_on_its_beats(tmp_path):
    write_pop(tmp_path, "4/4", "..3.2.3.2.3.2.3.2.")
    (reading,) = readings(find_collection(tmp_path / "pop909.zip"), "train")
    # Two beats of pick-up end a whole first bar; after it every bar line is a flag, in the metre of the label.
    assert onsets(reading.score.tracks[0]) == [2.0 + beat for beat in range(18)]
    assert [(m.time, m.numerator, m.denominator) for m in reading.score.time_signatures] == [(0, 4, 4)]
    assert [round(t.qpm, 2) for t in reading.score.tempos] == [96.0]
    assert [t.program for t in reading.score.tracks] == [0, 1]
    assert reading.keys == ((0, 6), (2, 15)) and not reading.free_tempo


def test_pop_in_compound_metre_has_beats_of_three_eighths(tmp_path):
    write_pop(tmp_path, "6/8", "2.2.2.2.")
    (reading,) = readings(find_collection(tmp_path / "pop909.zip"), "train")
    assert onsets(reading.score.tracks[0]) == [1.5 * beat for beat in range(8)]
    assert [(m.time, m.numerator, m.denominator) for m in reading.score.time_signatures] == [(0, 6, 8)]
    assert reading.score.tempos[0].qpm == pytest.approx(144, abs=0.01)


def test_a_bar_with_other_beats_gets_a_metre_of_its_own():
    quarters, metres, starts = lay_bars(13, np.array([0, 4, 10]), [(4, 4)] * 3)
    assert quarters.tolist() == list(range(13))
    assert metres == [(0, 4, 4), (4, 4, 4), (8, 2, 4), (10, 4, 4)] and starts.tolist() == [0, 4, 8, 10]
    quarters, metres, _ = lay_bars(9, np.array([1, 4, 7]), [(9, 8), (9, 8), (2, 4)])
    assert quarters.tolist() == [3, 4.5, 6, 7.5, 9, 10.5, 12, 13.5, 14.5]
    assert metres == [(0, 9, 8), (4.5, 9, 8), (9, 9, 8), (13.5, 2, 4)]
    # Eight beats of 24/16 are two bars of 12/16, which the tokenizer has.
    assert lay_bars(9, np.array([0, 8]), [(24, 16), (2, 4)])[1] == [(0, 12, 16), (3, 12, 16), (6, 2, 4)]


def test_maestro_gives_movements_on_beats_or_whole_recordings(tmp_path):
    beats = (10 + np.cumsum([0, *[0.5] * 4, *[0.7] * 5])).round(3)
    notes = [(2 * 480, 100, 50, 80), *((round(second * 960), 200, 60, 90) for second in beats)]
    recording = midi([track([metre(0, 4, 4), tempo(0, 120)]), part(0, 0, notes)])
    items = [{"path": f"2018/{name}.midi", "split": split} for name, split in (("a", "train"), ("b", "train"), ("c", "test"))]
    write_archive(tmp_path, "maestro", items, {item["path"]: recording for item in items}, "CC BY-NC-SA 4.0")
    with zipfile.ZipFile(tmp_path / "maestro_beats.zip", "w") as archive:
        movement = {"path": "2018/a.midi", "asap_title": "Suite", "beats": beats.tolist(), "downbeats": beats[1::3].tolist(),
                    "time_signatures": [[10.5, "3/4"]]}  # fmt: skip
        archive.writestr("asap_maestro_beats.json", json.dumps([movement]))
    found = find_collection(tmp_path / "maestro.zip")
    (reading,) = readings(found, "train")
    assert reading.piece.name == "maestro/2018/a#Suite" and reading.piece.split == "train"
    # The note of another movement, eight seconds before, is left out; the beat before the bar line ends a bar.
    assert onsets(reading.score.tracks[0]) == [2.0 + beat for beat in range(10)]
    assert [(m.numerator, m.denominator) for m in reading.score.time_signatures] == [(3, 4)]
    whole = list(readings(found, "train", bars=False))
    assert [r.piece.name for r in whole] == ["maestro/2018/a", "maestro/2018/b"] and whole[0].score.note_num() == 11


def test_chorales_are_four_voices_whose_equal_neighbours_are_held(tmp_path):
    steps = [[67, 60, -1, 48]] * 4 + [[67, 62, 55, 43]] * 16
    items = [
        {"id": "train000", "split": "train", "number": 0, "meter": "4/4", "pickup_quarters": 1.0, "key": "f#"},
        {"id": "train001", "split": "train", "number": 1},
    ]  # fmt: skip
    path = write_archive(tmp_path, "jsb", items, {"jsb_satb_16th.json": json.dumps({"train": [steps, steps], "validation": []})})
    (reading,) = readings(find_collection(path), "train")
    soprano, alto, tenor, bass = reading.score.tracks
    assert [t.program for t in reading.score.tracks] == [52, 53, 54, 55]
    assert onsets(soprano) == [3.0] and soprano.notes[0].duration == 5 * 480
    assert onsets(alto) == [3.0, 4.0] and onsets(tenor) == [4.0] and len(bass.notes) == 2
    assert reading.keys == ((0, 18),) and reading.free_tempo
    arrays = chorale_arrays(find_collection(path), "train")
    assert len(arrays) == 2 and arrays[0].shape == (20, 4) and arrays[0][0].tolist() == [67, 60, -1, 48]
    with pytest.raises(DatasetError, match="jsb_satb_16th"):
        chorale_arrays(find_collection(write_folk(tmp_path)), "train")


def test_keys_are_spelled_in_three_ways():
    names = {"C:maj": 0, "Gb:maj": 6, "Eb:min": 15, "A:min": 21, "B-": 10, "f#": 18, "a": 21, "Cb:maj": 11}
    assert {name: key_of_name(name) for name in names} == names
    assert [key_of_signature(*k) for k in ((0, False), (1, False), (-3, False), (0, True), (3, True))] == [0, 7, 3, 21, 18]


def test_folk_has_the_keys_of_the_index_and_no_tempo_of_its_own(tmp_path):
    first, second = list(readings(find_collection(write_folk(tmp_path, 2, 0, 0)), "train"))
    assert first.keys == ((0, key_of_signature(-3, True)),) and second.keys == ((0, key_of_signature(-2, False)),)
    assert first.free_tempo and [t.program for t in first.score.tracks if len(t.notes)] == [0, 1]


def test_a_damaged_file_of_a_folder_is_skipped_and_said_but_an_archive_must_be_whole(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.mid").write_bytes(tune(4, low=40 + number))
    (folder / "broken.mid").write_bytes(tune(4)[:60])
    found, skipped = find_collection(folder), []
    read = [r for split in ("train", "valid", "test") for r in readings(found, split, skipped=skipped)]
    assert len(read) == 8 and len(skipped) == 1 and "broken.mid" in skipped[0]
    lacking = write_archive(tmp_path, "groove", [{"path": "gone.mid", "split": "train"}], {})
    with pytest.raises(DatasetError, match="gone.mid"):
        list(readings(find_collection(lacking), "train"))


def test_tracks_of_one_program_are_told_apart():
    three = [part(channel, program, [(0, 480, 60, 90)]) for channel, program in ((0, 7), (1, 7), (2, 0), (3, 7))]
    score = read_midi(midi([*three, part(9, 0, [(0, 60, 36, 90)]), part(9, 0, [(60, 60, 38, 90)])]))
    copy, stood_for = apart(score)
    programs = [t.program for t in copy.tracks if not t.is_drum]
    # The family of pianos goes round from 7 to 0, which is taken, so 1 and 2 are next.
    assert programs == [7, 1, 0, 2] and stood_for == {7: 0, 1: 1, 0: 2, 2: 3}
    assert [t.program for t in score.tracks if not t.is_drum] == [7, 7, 0, 7]
    many = read_midi(midi([part(0, 5, [(0, 480, pitch, 90)]) for pitch in range(30, 80)]))
    assert len({t.program for t in apart(many)[0].tracks}) == 50


def test_real_collections_read_as_their_index_says(shared_data):
    midi_folder = shared_data / "midi"
    for name, count in (("nottingham", 54), ("jsb", 69), ("groove", 124), ("multitrack", 18)):
        found = list(readings(find_collection(midi_folder / f"{name}.zip"), "valid"))
        assert len(found) == count, name
        if name != "jsb":
            assert sum(r.score.note_num() for r in found) == sum(r.piece.facts["notes"] for r in found)


def test_real_pop_songs_strike_on_the_beat(shared_data):
    found = list(readings(find_collection(shared_data / "midi" / "pop909.zip"), "valid"))
    assert len(found) == 45 and all(r.keys for r in found)
    times = np.concatenate([t.notes.numpy()["time"] for r in found for t in r.score.tracks])
    notes = sum(r.piece.facts["notes"] for r in found)
    assert len(times) == notes
    # By their own clocks 180 of 909 songs have bars at all; on the labels nine tenths of the notes lie on sixteenths.
    assert (np.abs((times + 30) % 120 - 30) <= 20).mean() > 0.9
