"""Hold the draws of notes to their word: pure, balanced, in tune, and of no note that is kept for testing."""

import copy
import json
from collections import Counter

import numpy as np
import pytest
import soundfile
from note_files import RATE, measured, sine, write_index, write_note, write_nsynth

from songfoundry.audio import io
from songfoundry.config import parse
from songfoundry.data.note_sets import find_notes
from songfoundry.data.single_notes import SingleNotes, SingleNotesConfig
from songfoundry.errors import ConfigError, DatasetError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path / "cache"))


def draws(*folders, seed: int = 0, **options) -> SingleNotes:
    folders = [folder if isinstance(folder, dict) else {"path": str(folder)} for folder in folders]
    return SingleNotes(parse(SingleNotesConfig, {"folders": folders, "samples": 12000, **options}, "data"), seed)


def rows(instrument: str, pitches, **more) -> list[dict]:
    return [{"instrument": instrument, "pitch": pitch, **more} for pitch in pitches]


def test_a_draw_is_a_function_of_number_and_seed_alone(tmp_path):
    folder = write_index(tmp_path / "notes", rows("flute", [60, 62, 64]) + rows("oboe", [65]))
    first, again = draws(folder, seed=3), draws(folder, seed=3)
    for number in (0, 7, 10**9):
        one, other = first[number], again[number]
        assert all((one[key] == other[key]).all() for key in one)
    assert first[0]["waveform"].shape == (12000,) and first[0]["waveform"].abs().max() == 1
    different = draws(folder, seed=4)
    assert any((first[n]["waveform"] != different[n]["waveform"]).any() for n in range(3))
    # As another process would have it: the memory map is opened there.
    assert (copy.deepcopy(first)[5]["waveform"] == first[5]["waveform"]).all()


def test_instruments_and_pitches_are_as_likely_whatever_they_hold(tmp_path):
    many = [row for _ in range(6) for row in rows("flute", [60])] + rows("flute", [61])
    found = draws(write_index(tmp_path / "notes", many + rows("oboe", [70])), shift=0)
    drawn = [found[n] for n in range(400)]
    instruments = Counter(found.instruments[int(d["instrument"])] for d in drawn)
    assert abs(instruments["flute"] - 200) < 50
    flute = Counter(int(d["pitch"]) for d in drawn if int(d["instrument"]) == 0)
    assert abs(flute[60] - flute[61]) < 50 and set(flute) == {60, 61}


def test_weights_favour_a_folders_instruments_and_its_takes_of_shared_ones(tmp_path):
    one = write_index(tmp_path / "one", rows("flute", [60]) + rows("oboe", [60]))
    two = write_index(tmp_path / "two", rows("flute", [60]), seconds=0.3)
    found = draws({"path": str(one), "weight": 1}, {"path": str(two), "weight": 3}, delay=0, shift=0)
    flute = oboe = short = 0
    for n in range(400):
        drawn = found[n]
        oboe += int(drawn["instrument"]) == 1
        flute += int(drawn["instrument"]) == 0
        short += int(drawn["instrument"]) == 0 and not drawn["waveform"][5200:].any()
    assert abs(oboe - 100) < 40 and abs(short / flute - 0.75) < 0.1


def test_what_is_drawn_sounds_at_its_label_gaps_filled_and_shifted_and_off_recordings_put_in_tune(tmp_path):
    folder = write_index(tmp_path / "notes", rows("flute", [48, 50, 53, 60], cents_off=37.0))
    found = draws(folder, cents=2.0, shift=0.5)
    # 56 and 57 are three semitones and more from any recording.
    assert np.flatnonzero(found.sounding[0]).tolist() == [48, 49, 50, 51, 52, 53, 54, 55, 58, 59, 60]
    assert found.pitches == (48, 60)
    seen = Counter()
    for n in range(60):
        drawn = found[n]
        pitch = int(drawn["pitch"])
        seen[pitch] += 1
        assert abs(measured(drawn["waveform"]) - pitch) < 0.035, pitch
    assert len(seen) == 11
    with_faults = draws(folder, cents=0.0, in_tune=False, semitones=0)
    assert set(np.flatnonzero(with_faults.sounding[0])) == {48, 50, 53, 60}
    assert abs(measured(with_faults[0]["waveform"]) - int(with_faults[0]["pitch"]) - 0.37) < 0.01


def test_chance_shifts_come_from_below_so_that_the_band_stays_full(tmp_path):
    """Notes of noise say by their spectrum whether they were played slower."""
    rng, folder = np.random.default_rng(0), tmp_path / "notes"
    folder.mkdir()
    for pitch in (60, 61, 62):
        soundfile.write(folder / f"flute_{pitch}.wav", rng.uniform(-1, 1, 12000), RATE)
    found = draws({"path": str(folder / ".."), "include": ["notes/*"]}, shift=1.0, cents=0, samples=8000)
    for n in range(10):
        power = np.abs(np.fft.rfft(found[n]["waveform"].numpy())) ** 2
        # Slowing by a semitone would empty all above 7551 Hz.
        assert power[3800:3950].mean() > 0.3 * power[1000:3000].mean()


def test_test_notes_are_never_drawn_and_come_by_name_as_they_were_recorded(tmp_path):
    every = rows("flute", [60], split="train") + rows("flute", [61], split="valid") + rows("flute", [62], split="test", cents_off=20)
    every += rows("flute", [65], split="unused") + rows("tuba", [40], split="test")
    found = draws(write_index(tmp_path / "notes", every))
    assert {int(found[n]["pitch"]) for n in range(50)} == {60} and found.instruments == ("flute",)
    assert [note["pitch"] for note in found.validation()] == [61]
    (tested,) = found.held_out("test")
    assert abs(measured(tested["waveform"]) - 62.2) < 0.01 and tested["name"] == "made/flute/62/2" and tested["instrument"] == 0
    assert [note["pitch"] for note in found.held_out("train")] == [60]
    assert found.seen(1000) == {"hours_seen": 0.21}  # 12,000 samples each, at 16 kHz
    about = found.describe()
    assert about["notes"] == about["validation"] == 1 and about["instruments"] == {"flute": [60, 60]}


def test_licences_pitches_and_instruments_choose(tmp_path):
    free = rows("flute", [60, 62]) + rows("oboe", [90], licence="public domain")
    folder = write_index(tmp_path / "notes", free + rows("viola", [50], licence="CC-BY-SA-3.0"))
    assert draws(folder).instruments == ("flute", "oboe", "viola")
    chosen = draws({"path": str(folder), "licences": ["CC0-1.0", "public domain"]})
    assert chosen.instruments == ("flute", "oboe") and chosen.describe()["licences"] == ["CC0-1.0", "public domain"]
    assert draws({"path": str(folder), "licences": ["permissive"]}).instruments == ("flute", "oboe")
    assert draws(folder, pitches=[40, 60]).instruments == ("flute", "viola")
    assert draws(folder, instruments=["viola", "flute"]).instruments == ("viola", "flute")


def test_a_note_fits_its_example_and_ends_without_a_click(tmp_path):
    folder = tmp_path / "notes"
    write_note(folder / "flute_60.wav", 60, seconds=3)
    write_note(folder / "flute_61.wav", 61, seconds=0.2)
    found = draws(folder, shift=0, cents=0, delay=0.01)
    for n in range(12):
        drawn = found[n]
        wave = drawn["waveform"].numpy()
        begin = int(np.flatnonzero(wave)[0])
        assert begin <= 0.014 * RATE
        last = int(np.flatnonzero(wave)[-1])
        assert last > 11900 if int(drawn["pitch"]) == 60 else last < 3500
        assert abs(wave[last]) < 0.01 and abs(wave[last - 200 : last]).max() > 0.3


def test_silence_before_a_file_named_by_pitch_is_cut_and_other_rates_and_channels_are_brought_to_one(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    wave = np.concatenate([np.zeros(30000), sine(64, 0.5, 44100)])
    soundfile.write(folder / "E4.wav", np.stack([wave, wave], axis=1), 44100)
    (note,) = draws(folder).held_out("train")
    assert abs(measured(note["waveform"]) - 64) < 0.01 and np.flatnonzero(np.abs(note["waveform"]) > 0.1)[0] < 0.01 * RATE


def test_notes_are_decoded_once_until_their_file_changes(tmp_path, monkeypatch):
    folder = write_index(tmp_path / "notes", rows("flute", [60, 62]))
    before = draws(folder)[1]["waveform"]
    opened, original = [], io.open_reader
    monkeypatch.setattr(io, "open_reader", lambda *a, **k: opened.append(a) or original(*a, **k))
    assert (draws(folder)[1]["waveform"] == before).all() and opened == []
    # A cache that a full disk cut short is made again.
    for kept in (tmp_path / "cache" / "notes").glob("*[0-9a-f].npy"):
        kept.write_bytes(kept.read_bytes()[:-100])
    assert (draws(folder)[1]["waveform"] == before).all() and len(opened) == 1
    write_index(folder, rows("flute", [72, 74]))
    assert int(draws(folder)[1]["pitch"]) > 70 and len(opened) == 2


def test_nsynth_has_its_own_splits_and_families_for_instruments(tmp_path):
    for split, pitches in (("train", [60, 61]), ("valid", [62]), ("test", [63])):
        write_nsynth(tmp_path / f"nsynth-{split}", pitches)
    write_nsynth(tmp_path / "nsynth-valid", [62])
    found = draws({"path": str(tmp_path), "licence": "CC BY 4.0", "licences": ["permissive"]})
    assert found.instruments == ("guitar",) and found.pitches == (60, 61) and found.describe()["licences"] == ["CC BY 4.0"]
    assert [note["pitch"] for note in found.validation()] == [62] and [note["pitch"] for note in found.held_out()] == [63]
    drawn = found[0]
    assert abs(measured(drawn["waveform"]) - int(drawn["pitch"])) < 0.05 and drawn["velocity"] == pytest.approx(100 / 127)
    assert draws({"path": str(tmp_path), "label": "instrument"}).instruments == ("guitar_acoustic_000",)
    # A folder that is no split of NSynth's has one of its own, note by note.
    alone = find_notes(write_nsynth(tmp_path / "mine", range(40, 100)))[1]
    assert {"train", "valid"} <= {note.split for note in alone}


def test_tones_need_no_folder_and_are_in_tune(tmp_path):
    found = draws({"kind": "tones"}, pitches=[60, 72], cents=0, shift=0)
    assert len(found.instruments) == 6 and found.pitches == (60, 72)
    for n in range(12):
        drawn = found[n]
        if found.instruments[int(drawn["instrument"])] in ("soft", "hollow"):
            assert abs(measured(drawn["waveform"]) - int(drawn["pitch"])) < 0.02
    assert list(found.validation()) and not (tmp_path / "cache").exists()
    names = {note["name"].rpartition("/")[0] for note in found.held_out("train")}
    assert not names & {note["name"].rpartition("/")[0] for note in found.held_out("test")}


def test_splits_of_named_files_are_their_folders_or_keep_takes_together(tmp_path):
    for name in ("train/flute_C4.wav", "valid/flute_C4.wav", "train/oboe/A3.wav"):
        write_note(tmp_path / "split" / name, 60)
    assert {(n.name, n.split, n.instrument) for n in find_notes(tmp_path / "split")[1]} == {
        ("train/flute_C4", "train", "flute"), ("valid/flute_C4", "valid", "flute"), ("train/oboe/A3", "train", "oboe"),
    }  # fmt: skip
    (tmp_path / "takes").mkdir()
    for name in ("horn", "tuba", "bells"):
        for pitch in range(30, 110):
            for take in ("a", "b"):
                (tmp_path / "takes" / f"{name}_{pitch}_take{take}.wav").touch()
    takes = {}
    for note in find_notes(tmp_path / "takes")[1]:
        takes.setdefault((note.instrument, note.pitch), set()).add(note.split)
    assert all(len(splits) == 1 for splits in takes.values()) and len(set.union(*takes.values())) == 3


@pytest.mark.parametrize(
    ("name", "pitch", "instrument"),
    [
        ("flute_C4.wav", 60, "flute"), ("60.wav", 60, None), ("oboe/A3.wav", 57, "oboe"), ("flute_As4_1_forte_normal.wav", 70, "flute"),
        ("Grand Piano-Db-1.wav", 1, "Grand Piano"), ("horn_F#2_pp.wav", 42, "horn"), ("strings_010-060-127.wav", 60, "strings_010"),
        ("cello_e2.wav", 40, "cello"), ("G9.wav", 127, None), ("kit 64 f.wav", 64, "kit"),
    ],
)  # fmt: skip
def test_a_name_says_pitch_and_instrument(tmp_path, name, pitch, instrument):
    write_note(tmp_path / "here" / name, 60, 0.01)
    (note,) = find_notes(tmp_path / "here")[1]
    assert (note.pitch, note.instrument) == (pitch, instrument or "here")
    if "forte" in name or "pp" in name:
        assert note.velocity == pytest.approx((96 if "forte" in name else 33) / 127)


@pytest.mark.parametrize("name", ["flute.wav", "flute_C4_D4.wav", "flute_200.wav", "flute_H9.wav", "A9.wav"])
def test_a_name_without_one_pitch_is_named(tmp_path, name):
    write_note(tmp_path / name, 60, 0.01)
    with pytest.raises(DatasetError, match=r"expected one pitch in the name of .*, found .*: rename"):
        find_notes(tmp_path)


def test_bad_folders_are_one_sentence_each(tmp_path):
    def fails(error, words, *folders, **options):
        with pytest.raises(error, match=words) as caught:
            draws(*folders, **options)
        assert "\n" not in str(caught.value) and str(caught.value).startswith("expected")

    (tmp_path / "empty").mkdir()
    fails(DatasetError, "found none: point at", tmp_path / "empty")
    fails(DatasetError, "folder of notes at .*none", tmp_path / "nowhere")
    fails(DatasetError, "NSynth's examples.json", {"path": str(tmp_path / "empty"), "kind": "nsynth"})
    fails(DatasetError, "found it unreadable", {"path": str(tmp_path / "empty"), "kind": "index"})
    good = write_index(tmp_path / "good", rows("flute", [60]))
    fails(ConfigError, "licence of the notes.*'CCO-1.0'.*did you mean 'CC0-1.0'", {"path": str(good), "licences": ["CCO-1.0"]})
    fails(ConfigError, "under MIT.*found none among 1", {"path": str(good), "licences": ["MIT"]})
    fails(ConfigError, "named like violin", {"path": str(good), "include": ["violin*"]})
    fails(ConfigError, "'flut'.*did you mean 'flute'", good, instruments=["flut"])
    fails(ConfigError, "lower pitch first", good, pitches=[70, 60])
    fails(DatasetError, "none between pitches 70 and 80", good, pitches=[70, 80])
    fails(DatasetError, "found none between", {"path": str(good), "weight": 0})
    fails(DatasetError, "found none", write_index(tmp_path / "tested", rows("flute", [60], split="test")))
    fails(DatasetError, "MIDI pitch from 0 to 127.*found 200", write_index(tmp_path / "high", [{"instrument": "flute", "pitch": 200}]))
    index = write_index(tmp_path / "keyless", rows("flute", [60])) / "index.json"
    index.write_text(json.dumps([{"file": "all.wav"}]))
    fails(DatasetError, "found no key 'instrument'", index.parent)
    short = write_index(tmp_path / "short", rows("flute", [60]))
    soundfile.write(short / "all.wav", np.zeros(10), RATE)
    fails(DatasetError, "expected the note made/flute/60/0 in .*found silence", short)
    (short / "all.wav").unlink()
    fails(DatasetError, "found it unreadable", short)
    nsynth = write_nsynth(tmp_path / "nsynth-train", [60, 61, 62])
    (nsynth / "audio" / "guitar_acoustic_000-061-100.wav").unlink()
    fails(DatasetError, "each of the 3 notes of examples.json, found none for 1, such as guitar_acoustic_000-061-100.wav", nsynth)
    (nsynth / "audio").rename(nsynth / "sound")
    fails(DatasetError, "found no such folder", nsynth)
    (nsynth / "examples.json").write_text("{")
    fails(DatasetError, "found no JSON", nsynth)


def test_the_shared_notes_have_the_counts_of_their_page(shared_data):
    found = find_notes(shared_data / "notes")[1]
    # 2,759, less the 12 whose pitch was not confirmed.
    assert len(found) == 2747 and Counter(note.split for note in found) == {"train": 2453, "valid": 125, "test": 169}
    free = [note for note in found if note.licence in ("CC0-1.0", "public domain")]
    assert len(free) == 1102 and {note.instrument for note in free} == {"alto_sax", "baritone_sax", "double_bass", "piano"}
    assert len({note.instrument for note in found}) == 17 and {0 < note.velocity <= 1 for note in found} == {True}
