"""Draw people who speak and sing: pairs in each other's time, songs with their bands, splits that bind, pure in number and seed."""

import json
import pickle

import numpy as np
import pytest
import soundfile
import torch
from tiny_singing import RATE, make_people, make_songs, voice

from songfoundry.data.remix import SongFolder
from songfoundry.data.speech import NOMINAL_LEVEL, Speech, SpeechConfig, VoiceFolder, levelled
from songfoundry.data.speech_cache import PERIOD, at_frames, quick_pitch, song_pitch
from songfoundry.data.speech_sets import find_utterances
from songfoundry.errors import DatasetError

pytest.importorskip("pyworld")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices")
    make_people(folder / "people")
    make_songs(folder / "songs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SONGFOUNDRY_CACHE", str(folder / "cache"))
        yield folder


def draws(folder, seed=0, songs=True, **options):
    own = [SongFolder(path=str(folder / "songs"))] if songs else []
    return Speech(SpeechConfig(folders=[VoiceFolder(path=str(folder / "people"))], songs=own, frames=96, **options), seed)


def test_examples_have_their_shapes_and_are_pure_in_number_and_seed(made):
    one, again, other = draws(made), draws(made), draws(made, seed=1)
    found = [one[n] for n in range(12)]
    for example in found:
        assert {name: tuple(value.shape) for name, value in example.items()} == {
            "speech": (96 * 256,), "voice": (96 * 256,), "backing": (96 * 256,), "speech_hertz": (96,), "voice_hertz": (96,), "map": (96,),
            "paired": (), "backed": (),
        }  # fmt: skip
        assert example["map"].diff().min() >= -1e-4 and 0 <= example["map"].min() and example["map"].max() <= 95
        assert bool(example["backed"]) != bool(example["paired"]) and bool(example["backing"].any()) == bool(example["backed"])
    assert {bool(example["paired"]) for example in found} == {True, False}
    assert all(torch.equal(found[5][name], again[5][name]) for name in found[5])
    assert not torch.equal(found[5]["voice"], other[5]["voice"])
    travelled = pickle.loads(pickle.dumps(one))
    assert torch.equal(travelled[3]["speech"], found[3]["speech"])


def test_what_is_spoken_is_put_in_the_time_of_what_is_sung(made):
    example = next(draws(made, songs=False).held_out("train"))
    # Three syllables: a noise of 40 ms begins each, at so many seconds of the speech and of the song.
    for place in range(3):
        song, speech = 0.1 + place * 1.1 / 3 + 0.1, 0.1 + place * 0.6 / 3 + 0.1
        found = np.interp(song / 0.016 - 0.5, np.arange(96), example["map"]) * 0.016
        assert found == pytest.approx(speech, abs=0.07), place
    sung, spoken = (np.median(example[name][example[name] > 0]) for name in ("voice_hertz", "speech_hertz"))
    assert sung > 1.2 * spoken


def test_pitches_are_those_that_are_sung():
    found = quick_pitch(voice([57], 1.0), RATE)
    inner = found[60:200]
    assert np.mean(np.abs(1200 * np.log2(np.maximum(inner, 1) / 220)) < 50) > 0.9 and found[5] == 0
    assert at_frames(found, 80, 256, RATE).shape == (80,) and at_frames(found, 80, 256, RATE, start=9.0).max() == 0


def test_splits_bind(made, monkeypatch):
    opened = []
    real = soundfile.SoundFile.__init__

    def watched(self, file, *rest, **named):
        opened.append(str(file))
        real(self, file, *rest, **named)

    monkeypatch.setattr(soundfile.SoundFile, "__init__", watched)
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(made / "cache of splits"))
    drawn = draws(made)
    assert {one.speaker for one in (*drawn.spoken, *drawn.sung)} == {"1"}
    assert {held["name"][-2:] for held in drawn.validation()} == {"02"}
    assert not any("_03" in path for path in opened), "the test people are not opened"
    assert {held["name"][-2:] for held in drawn.held_out("test")} == {"03"}


def test_voices_and_bands_come_at_one_level():
    samples = voice([50, 52, 55], 1.0)
    for gain in (1.0, 0.01):
        found = levelled(gain * samples, RATE)
        assert 0.7 * NOMINAL_LEVEL < np.sqrt(np.mean(np.square(found[RATE // 5 : RATE]))) < 1.4 * NOMINAL_LEVEL
    assert not levelled(np.zeros(RATE, np.float32), RATE).any() and len(levelled(samples[:10], RATE)) == 10


def test_labels_of_mir_1k_are_taken_where_they_lie(tmp_path, made):
    folder = tmp_path / "mir1k"
    folder.mkdir()
    soundfile.write(folder / "a_1.voc.wav", voice([57], 1.0), RATE)
    soundfile.write(folder / "a_1.acc.wav", np.zeros(RATE) + 0.1, RATE)
    (folder / "index.json").write_text(json.dumps({"a_1": [["a_1_01", 0, 8000], ["a_1_02", 8000, 8000]]}))
    np.savez(folder / "pitch.npz", a_1_01=np.full(24, 69, np.float32), a_1_02=np.zeros(24, np.float32))
    entry = {"song": "a_1", "stems": {"vocals": [{"file": "mir1k/a_1.voc.wav"}], "accompaniment": [{"file": "mir1k/a_1.acc.wav"}]}}
    (tmp_path / "splits.json").write_text(json.dumps({"songs": [entry]}))
    config = SpeechConfig(folders=[VoiceFolder(path=str(made / "people"))], songs=[SongFolder(path=str(tmp_path))])
    hertz = song_pitch(Speech(config).songs[0])
    assert hertz[: int(0.5 / PERIOD)] == pytest.approx(440) and not hertz[int(0.5 / PERIOD) : int(0.99 / PERIOD)].any()
    (folder / "pitch.npz").write_bytes(b"no labels")
    with pytest.raises(DatasetError, match="expected labels of pitch"):
        Speech(config)


def test_names_of_ravdess_and_librispeech_are_read(tmp_path):
    files = ("Actor_01/03-02-05-02-01-02-01.wav", "Actor_22/03-01-01-01-02-01-22.wav", "dev-clean/84/121/84-121-0003.flac", "notes.txt")
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = {one.name: one for one in find_utterances(tmp_path)}
    sung = found["03-02-05-02-01-02-01"]
    assert sung.sung and (sung.speaker, sung.text, sung.emotion, sung.split) == ("1", "1", "angry", "train")
    assert found["03-01-01-01-02-01-22"].split == "test" and not found["03-01-01-01-02-01-22"].sung
    assert found["84-121-0003"].split == "valid" and found["84-121-0003"].speaker == "84" and len(found) == 3
    assert [one.name for one in find_utterances(tmp_path, ["84-*"])] == ["84-121-0003"]


def replaced(path, old: str, new: str):
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("break_it", "what"),
    [
        (lambda folder: folder.rename(folder.with_name("gone")), "expected a folder of recordings"),
        (lambda folder: (folder / "index.json").write_text("[]"), "expected an index of clips"),
        (lambda folder: (folder / "index.json").write_text('{"clips": [{"clip": "a"}]}'), "found no key 'file'"),
        (lambda folder: (folder / "song_01.wav").unlink(), "expected the file .*song_01.wav"),
        (lambda folder: replaced(folder / "index.json", '"valid"', '"vlid"'), "'vlid'"),
        (lambda folder: replaced(folder / "index.json", '"train"', '"unused"'), "too little"),
    ],
)  # fmt: skip
def test_broken_collections_are_told_in_a_sentence(tmp_path, monkeypatch, break_it, what):
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path / "cache"))
    break_it(make_people(tmp_path / "people"))
    with pytest.raises(DatasetError, match=what):
        Speech(SpeechConfig(folders=[VoiceFolder(path=str(tmp_path / "people"))]))
    with pytest.raises(DatasetError, match="expected recordings of people"):
        find_utterances(tmp_path)
