"""Many songs: names, failures that stop nobody, processes."""

import threading
from pathlib import Path

import known_models
import numpy as np
import pytest
from known_models import song

from songfoundry.audio import io
from songfoundry.errors import Cancelled, ConfigError, InputError, OutputError, SongfoundryError
from songfoundry.separating import batch
from songfoundry.separating import verb as verbs
from songfoundry.separating.separator import Separator


@pytest.fixture
def folder(tmp_path):
    """Two songs of one name, one in a folder below, one that is none, and things to pass over."""
    songs = tmp_path / "songs"
    (songs / "album é").mkdir(parents=True)
    io.write(songs / "a.wav", song(0.4), 44100)
    io.write(songs / "a.flac", song(0.4, seed=1), 44100)
    io.write(songs / "album é" / "b.ogg", song(0.4, seed=2), 44100)
    (songs / "album é" / "text.mp3").write_text("no music")
    (songs / "cover.jpg").touch()
    (songs / ".hidden.wav").touch()
    return songs


@pytest.fixture(scope="module")
def model():
    return Separator(known_models.system(), threads=1)


def test_songs_are_found_and_named(folder, tmp_path):
    assert [track for _, track in batch.find_audio([folder])] == ["a.flac", "a.wav"]
    every = batch.find_audio([folder], recursive=True)
    assert [track for _, track in every] == ["a.flac", "a.wav", "album é/b", "album é/text"]
    assert batch.find_audio(["x/y.stem.mp4", "-"]) == [("x/y.stem.mp4", "y"), ("-", "stdin")]
    assert [track for _, track in batch.find_audio([folder], recursive=True, out=folder / "album é")] == ["a.flac", "a.wav"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no audio file.*--recursive"):
        batch.find_audio([tmp_path / "none"])


def test_songs_of_one_name_get_as_much_of_their_path_as_tells_them_apart(folder, tmp_path, monkeypatch):
    def tracks(*sources, **options):
        return [track for _, track in batch.find_audio(sources, **options)]

    assert tracks("x/a.wav", "y/a.wav") == ["x/a", "y/a"]
    assert tracks("x/a.wav", "y/a.wav", "y/b.wav", "a.mp3") == ["x/a", "y/a", "b", "a.mp3"]
    assert tracks("x/a.wav", "x/a.flac", "y/a.wav", "y/a.flac") == ["x/a.wav", "x/a.flac", "y/a.wav", "y/a.flac"]
    assert tracks("p/x/a.wav", "q/x/a.wav", "q/y/a.wav") == ["p/x/a", "q/x/a", "y/a"]
    other = tmp_path / "other"
    (other / "album é").mkdir(parents=True)
    io.write(other / "a.wav", song(0.2), 44100)
    (other / "album é" / "b.ogg").touch()
    several = ["a.flac", "songs/a", "songs/album é/b", "text", "other/a", "other/album é/b"]
    assert tracks(folder, other, recursive=True) == [*several[:3], "album é/text", *several[4:]]
    monkeypatch.chdir(folder)
    assert tracks(".", "../other/a.wav") == ["a.flac", "songs/a", "other/a"]
    for twice in (("a.wav", "./a.wav"), (".", "a.wav"), ("-", "-"), (folder, ".")):
        with pytest.raises(ConfigError, match="each song once, found '.*' twice"):
            batch.find_audio(twice)


def test_two_albums_with_a_song_of_one_name_are_both_written(tmp_path, model):
    for seed, album in enumerate(("Röd", "Blå")):
        (tmp_path / album).mkdir()
        io.write(tmp_path / album / "01 Intro.wav", song(0.3, seed=seed), 44100)
    outcomes = batch.separate_all([tmp_path / "Röd", tmp_path / "Blå"], out=tmp_path / "AB", model=model, stems="bass")
    assert [outcome.result.paths["bass"] for outcome in outcomes] == [
        str(tmp_path / "AB" / album / "01 Intro" / "bass.wav") for album in ("Röd", "Blå")
    ]
    a, b = (io.read(outcome.result.paths["bass"]).samples for outcome in outcomes)
    assert not np.array_equal(a, b)


def test_a_song_that_cannot_be_read_stops_nobody(folder, tmp_path, model):
    seen = []
    outcomes = batch.separate_all(
        [folder, tmp_path / "gone.wav"], recursive=True, out=tmp_path / "o", model=model, stems="bass",
        progress=lambda *news: seen.append(news),
    )  # fmt: skip
    failed = {Path(outcome.source).name: outcome.error for outcome in outcomes if outcome.error}
    assert set(failed) == {"text.mp3", "gone.wav"}
    assert "no decoder knows" in failed["text.mp3"] and "No such file" in failed["gone.wav"]
    written = sorted(str(path.relative_to(tmp_path / "o")) for path in (tmp_path / "o").rglob("*") if path.is_file())
    assert written == ["a.flac/bass.wav", "a.wav/bass.wav", "album é/b/bass.wav"]
    ends = [(number, count, error) for _, fraction, number, count, error in seen if fraction == 1.0]
    assert ends == [(1, 5, None), (2, 5, None), (3, 5, None), (4, 5, failed["text.mp3"]), (5, 5, failed["gone.wav"])]
    assert all(error is None for _, fraction, _, _, error in seen if fraction < 1.0)
    again = batch.separate_all([folder], out=tmp_path / "o", model=model, stems="bass", skip_existing=True)
    assert all(outcome.result.skipped for outcome in again)


def test_what_is_wrong_for_all_songs_is_said_once(folder, tmp_path, model):
    for options, words in (
        ({"out": "x.wav", "stems": "bass"}, "folder for 2 songs"),
        ({"name_template": "{stem}.{ext}"}, "{track} in --name-template for 2 songs"),
        ({"jobs": 0}, "--jobs"), ({"jobs": 2}, "for several jobs"), ({"depth": "x"}, "depth"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            batch.separate_all([folder], model=model, **{"out": tmp_path / "o", **options})
    assert not (tmp_path / "o").exists()


def test_songs_of_one_batch_never_spoil_each_other(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song").mkdir()
    for name in ("song.wav", "song/vocals.wav", "b.wav"):
        io.write(tmp_path / name, song(0.3), 44100)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.wav")}
    with pytest.raises(OutputError, match="another file than the songs to write to, found 'song/vocals.wav' in both places"):
        batch.separate_all(["song.wav", "song/vocals.wav"], out=".", model=model)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.wav")} == before


def test_cancel_ends_the_batch(folder, tmp_path, model):
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        batch.separate_all([folder], out=tmp_path / "o", model=model, cancel=cancel, progress=lambda *_: cancel.set())
    assert not (tmp_path / "o" / "a.wav").exists()


def test_processes_do_the_same(folder, tmp_path):
    weights = known_models.save(tmp_path / "m.safetensors", known_models.system())
    seen = []
    options = {"recursive": True, "model": weights, "stems": "drums", "depth": "int24", "threads": 1}
    outcomes = batch.separate_all([folder], out=tmp_path / "two", jobs=2, progress=lambda *news: seen.append(news), **options)
    alone = batch.separate_all([folder], out=tmp_path / "one", **options)
    assert [bool(outcome.error) for outcome in outcomes] == [False, False, False, True]
    assert [(o.source, o.error) for o in outcomes] == [(o.source, o.error) for o in alone]
    for a, b in zip(outcomes[:3], alone[:3], strict=True):
        assert np.array_equal(io.read(a.result.paths["drums"]).samples, io.read(b.result.paths["drums"]).samples)
    assert [news[1:4] for news in seen] == [(1.0, i, 4) for i in (1, 2, 3, 4)]
    assert {news[0]: news[4] for news in seen} == {o.source: o.error for o in outcomes}
    # again, with one song to do: those that are there are passed over before anything starts
    Path(outcomes[0].result.paths["drums"]).unlink()
    (folder / "album é" / "text.mp3").unlink()
    seen.clear()
    again = batch.separate_all(
        [folder], out=tmp_path / "two", jobs=2, skip_existing=True, progress=lambda *news: seen.append(news[1:]), **options
    )
    assert [outcome.result.skipped for outcome in again] == [False, True, True]
    assert [news[1] for news in seen if news[0] == 1.0] == [1, 2, 3] and Path(outcomes[0].result.paths["drums"]).is_file()


def test_nothing_is_loaded_where_nothing_is_to_do(folder, tmp_path, monkeypatch):
    weights = known_models.save(tmp_path / "m.safetensors", known_models.system())
    other = known_models.save(tmp_path / "n.safetensors", known_models.system({"bass": 0.5, "vocals": 0.5}))
    options = {"model": weights, "out": tmp_path / "o", "stems": "bass", "skip_existing": True, "name_template": "{model} {track}.{ext}"}
    first = batch.separate_all([folder], **options)

    def fail(*_, **__):
        raise AssertionError("built")

    for module in (batch, verbs):
        monkeypatch.setattr(module, "Separator", type("Separator", (), {"__init__": fail}))
    monkeypatch.setattr(batch, "ProcessPoolExecutor", fail)
    for jobs in (1, 2):
        seen = []
        again = batch.separate_all([folder], jobs=jobs, progress=lambda *news, seen=seen: seen.append(news), **options)
        assert all(outcome.result.skipped and outcome.error is None for outcome in again)
        assert [outcome.result.paths for outcome in again] == [outcome.result.paths for outcome in first]
        assert seen == [(outcome.source, 1.0, number, 2, None) for number, outcome in enumerate(again, 1)]
    assert verbs.separate(folder / "a.wav", track="a.wav", **options).skipped
    # what is wrong is still refused
    for wrong, kind, words in (
        ({"overlap": 2}, ConfigError, "overlap"), ({"stems": "bas"}, ConfigError, "did you mean 'bass'"),
        ({"device": "gpu"}, ConfigError, "device"), ({"precision": "half"}, ConfigError, "precision"),
        ({"model": f"{weights}+{other}"}, ConfigError, "same stems"), ({"model": folder / "a.wav"}, SongfoundryError, "a.wav"),
        ({"model": "bsrnn-midium"}, ConfigError, "name of a model"),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            batch.separate_all([folder], **options | wrong)
    (tmp_path / "o" / "m a.wav.wav").unlink()
    with pytest.raises(AssertionError, match="built"):
        batch.separate_all([folder], **options)
