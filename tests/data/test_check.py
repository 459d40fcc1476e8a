import json

import numpy as np
import pytest
import soundfile

from songfoundry.data import synthetic
from songfoundry.data.check import KINDS, check_songs
from songfoundry.data.songs import find_songs

RATE = 16000


@pytest.fixture(scope="module")
def made():
    """Two songs of four stems: {name: {stem: float32 (2, samples)}}."""
    return {f"song {n}": synthetic.training_song(1000 + n, seconds=5, rate=RATE) for n in range(2)}


def write(folder, songs, suffix="wav", rate=RATE, mixture=False, **form):
    for name, stems in songs.items():
        place = folder / "train" / name
        place.mkdir(parents=True, exist_ok=True)
        for stem, audio in stems.items():
            soundfile.write(place / f"{stem}.{suffix}", audio.T, rate, **form)
        if mixture:
            soundfile.write(place / f"mixture.{suffix}", sum(stems.values()).T, rate, **form)
    return folder


def kinds(folder, **options):
    return {(f.song.split("/")[-1], f.stem, f.kind) for f in check_songs(find_songs(folder), **options)}


def test_sound_songs_have_no_findings(tmp_path, made):
    seen = []
    folder = write(tmp_path, made, mixture=True)
    assert check_songs(find_songs(folder), progress=lambda done, name: seen.append((done, name))) == []
    assert [done for done, _ in seen] == [0.5, 1.0]


def test_a_wav_that_was_cut_is_found(tmp_path, made):
    path = write(tmp_path, {"song 0": made["song 0"]}) / "train" / "song 0" / "bass.wav"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert ("song 0", "bass", "cut short") in kinds(tmp_path)


def test_each_fault_is_found_where_it_is(tmp_path, made):
    write(tmp_path, made, mixture=True)
    first, second = (tmp_path / "train" / name for name in made)
    (first / "bass.wav").unlink()  # also spoils the sum
    soundfile.write(first / "drums.wav", np.zeros((5 * RATE, 2)), RATE)
    soundfile.write(first / "other.wav", np.clip(made["song 0"]["other"].T * 20, -1, 1), RATE)
    soundfile.write(second / "vocals.wav", made["song 1"]["vocals"][:, : 4 * RATE].T, RATE)
    soundfile.write(second / "bass.wav", made["song 1"]["bass"].T, RATE * 2)
    (second / "drums.wav").write_text("not audio at all")
    assert kinds(tmp_path) == {
        ("song 0", "bass", "missing"),
        ("song 0", "drums", "silent"),
        ("song 0", "other", "clipped"),
        ("song 0", "mixture", "bad sum"),
        ("song 1", "vocals", "shorter"),
        ("song 1", "bass", "shorter"),
        ("song 1", "bass", "wrong rate"),
        ("song 1", "drums", "unreadable"),
    }
    for finding in check_songs(find_songs(tmp_path)):
        assert finding.kind in KINDS and "\n" not in finding.sentence
        if finding.kind not in ("unreadable", "cut short"):
            assert finding.sentence.startswith("expected ") and " found " in finding.sentence


def test_rate_may_be_asked_for(tmp_path, made):
    write(tmp_path, {"song 0": made["song 0"]})
    assert kinds(tmp_path, rate=44100) == {("song 0", stem, "wrong rate") for stem in made["song 0"]}


def test_duplicates_are_found_coded_again_and_at_another_level(tmp_path, made):
    write(tmp_path, made)
    lossy = {"copy": {"vocals": made["song 0"]["vocals"] * 0.5, "drums": made["song 1"]["drums"]}}
    write(tmp_path, lossy, suffix="ogg", format="OGG", subtype="VORBIS")
    copied = {"zopy": {"bass": made["song 1"]["bass"], "other": made["song 1"]["bass"]}}
    write(tmp_path, copied)
    found = [f for f in check_songs(find_songs(tmp_path)) if f.kind == "duplicate"]
    assert {(f.song.split("/")[-1], f.stem) for f in found} == {
        ("song 0", "vocals"), ("song 1", "drums"), ("zopy", "bass"), ("zopy", "other")
    }  # fmt: skip
    assert "train/copy" in next(f for f in found if f.stem == "vocals").sentence


def test_two_basses_that_enter_together_are_no_duplicates(tmp_path):
    time = np.arange(6 * RATE) / RATE
    for name, pitch, speed in (("one", 80.0, 2.0), ("two", 110.0, 3.0)):
        bass = np.sin(2 * np.pi * pitch * time) * (0.6 + 0.3 * np.sin(2 * np.pi * speed * time)) * (time > 3)
        write(tmp_path, {name: {"bass": np.stack([bass, bass]).astype(np.float32) * 0.3}})
    assert {kind for _, _, kind in kinds(tmp_path)} == {"missing"}


def test_two_microphones_of_one_stem_are_no_duplicates(tmp_path, made):
    guitar = made["song 0"]["other"]
    files = {"first": guitar, "second": guitar * 0.7 + 0.001, "again": guitar}
    for name, audio in files.items():
        soundfile.write(tmp_path / f"{name}.wav", audio.T, RATE)

    def index(*names):
        stems = {"other": [{"file": f"{name}.wav"} for name in names], "vocals": [], "drums": [], "bass": []}
        (tmp_path / "index.json").write_text(json.dumps({"songs": [{"song": "one", "stems": stems}]}))
        return [f.kind for f in check_songs(find_songs(tmp_path)) if f.kind != "missing"]

    assert index("first", "second") == []
    assert index("first", "second", "again") == ["duplicate"]


def test_a_mixture_of_another_gain_is_a_bad_sum(tmp_path, made):
    write(tmp_path, {"song 0": made["song 0"]})
    mixture = sum(made["song 0"].values())
    for gain, bad in ((1.0, False), (1.02, False), (0.8, True)):
        soundfile.write(tmp_path / "train/song 0/mixture.wav", mixture.T * gain, RATE)
        found = [f for f in check_songs(find_songs(tmp_path)) if f.kind == "bad sum"]
        assert bool(found) == bad
    assert "-13.9 dB" not in found[0].sentence and "-12.0 dB" in found[0].sentence  # 0.25 of 0.8 of the mixture


def test_two_stem_songs_lack_nothing(tmp_path, made):
    stems = made["song 0"]
    rest = stems["drums"] + stems["bass"] + stems["other"]
    write(tmp_path, {"duo": {"vocals": stems["vocals"], "accompaniment": rest}}, mixture=True)
    assert kinds(tmp_path) == set()


def test_real_songs(shared_data):
    songs = [song for song in find_songs(shared_data / "songs") if "Punk" in song.name or "80sRock" in song.name]
    assert len(songs) == 2
    found = check_songs(songs)
    assert all(f.kind in ("clipped", "missing", "shorter", "silent") for f in found), found
