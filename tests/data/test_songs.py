"""Find songs in every layout, read their stems, and keep them decoded whatever is killed, cut or asked for twice."""

import errno
import json
import multiprocessing
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_training import RATE, tone, write_song, write_songs

from songfoundry.audio import io
from songfoundry.data import songs as module
from songfoundry.data.songs import Source, cached, find_songs, read_song
from songfoundry.errors import AudioError, DatasetError, OutputError

NAMES = ("vocals", "drums", "bass", "other")


def index(folder: Path, *entries: dict) -> Path:
    (folder / "index.json").write_text(json.dumps({"songs": list(entries)}))
    return folder


def entry(name="one", **stems) -> dict:
    return {"song": name, "stems": {stem: [{"file": file} for file in files] for stem, files in stems.items()}}


def test_musdb18_hq_with_its_mixture(tmp_path):
    for split in ("train", "test"):
        place = write_song(tmp_path / split, "A - B")
        soundfile.write(place / "mixture.wav", sum(tone(stem) for stem in NAMES), RATE)
    first, second = find_songs(tmp_path)
    assert (first.name, first.split, second.name, second.split) == ("test/A - B", "test", "train/A - B", "train")
    assert first.mixture == Source(tmp_path / "test" / "A - B" / "mixture.wav") and set(first.stems) == set(NAMES)
    assert find_songs(tmp_path / "test")[0].split == "test"


def test_plain_folders_hidden_files_and_folders_of_a_mixture_only(tmp_path):
    write_song(tmp_path, "b", ("vocals", "bass"))
    write_song(tmp_path / "deep" / "er", "Ä c", ("drums",))
    write_song(tmp_path, "a", ("vocals", "accompaniment"))
    write_song(tmp_path, ".trash", NAMES)
    (tmp_path / "b" / "._other.wav").write_bytes(b"resource fork")
    (tmp_path / "b" / "drums.wav").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("other")
    os.symlink(tmp_path / "nowhere.wav", tmp_path / "b" / "other.wav")
    (tmp_path / "mixed").mkdir()
    soundfile.write(tmp_path / "mixed" / "mixture.wav", tone("bass"), RATE)
    found = {song.name: song for song in find_songs(tmp_path)}
    assert list(found) == ["a", "b", "deep/er/Ä c"] and set(found["b"].stems) == {"vocals", "bass"}
    assert found["a"].two_stems and not found["b"].two_stems and {song.split for song in found.values()} == {"train"}
    assert [song.name for song in find_songs(tmp_path / "b")] == ["b"]
    with pytest.raises(DatasetError, match="expected songs with stem files"):
        find_songs(tmp_path / "mixed")


def test_an_accompaniment_beside_its_parts_is_not_counted_twice(tmp_path):
    write_song(tmp_path, "a", ("vocals", "drums", "accompaniment"))
    (song,) = find_songs(tmp_path)
    assert set(song.stems) == {"vocals", "drums"} and not song.two_stems


def test_folders_of_a_split_are_known_by_their_usual_names(tmp_path):
    for name in ("train", "Training", "val", "validation", "valid", "dev", "test", "more"):
        (tmp_path / name / "song").mkdir(parents=True)
        io.write(tmp_path / name / "song" / "vocals.wav", np.zeros((1, 100), np.float32), 44100)
    splits = {song.name.split("/")[0]: song.split for song in find_songs(tmp_path)}
    assert splits == {"train": "train", "Training": "train", "val": "valid", "validation": "valid", "valid": "valid", "dev": "valid",
                      "test": "test", "more": "train"}  # fmt: skip


def test_links_are_followed_and_loops_are_not(tmp_path):
    place = write_song(tmp_path / "elsewhere", "a")
    (tmp_path / "songs" / "sub").mkdir(parents=True)
    os.symlink(place, tmp_path / "songs" / "linked")
    os.symlink(tmp_path / "songs", tmp_path / "songs" / "sub" / "loop")
    assert [song.name for song in find_songs(tmp_path / "songs")] == ["linked"]


def test_patterns_choose_songs_and_one_that_matches_none_is_an_error(tmp_path):
    write_songs(tmp_path, 3, 1)
    assert [song.name for song in find_songs(tmp_path, ["train/* 1", "valid/*"])] == ["train/song 1", "valid/held 0"]
    with pytest.raises(DatasetError, match=r"matches 'trian/\*', found none among 4 such as 'train/song 0'"):
        find_songs(tmp_path, ["trian/*"])


def test_a_relative_folder_is_looked_for_below_the_variable(tmp_path, monkeypatch):
    write_songs(tmp_path / "data" / "mine", 1, 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SONGFOUNDRY_DATA", raising=False)
    with pytest.raises(DatasetError, match="SONGFOUNDRY_DATA is not set"):
        find_songs("mine")
    monkeypatch.setenv("SONGFOUNDRY_DATA", str(tmp_path / "data"))
    assert len(find_songs("mine")) == 1


def test_an_index_maps_files_to_stems(tmp_path):
    write_song(tmp_path, "files", ("drums", "bass"))
    one = {**entry(drums=["files/drums.wav", "files/bass.wav"]), "split": "test", "licence": "CC0", "valid_last_seconds": 1}
    one["stems"]["drums"][1]["gain_db"] = -6
    (song,) = find_songs(index(tmp_path, one))
    assert (song.name, song.split, song.licence, song.valid_last_seconds) == ("one", "test", "CC0", 1.0)
    stems = read_song(song, RATE)
    assert np.allclose(stems["drums"], (tone("drums") + 10 ** (-6 / 20) * tone("bass")).T, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nothing", "expected an index of songs and stems"),
        ('{"songs": 5}', "expected an index of songs and stems"),
        ('{"songs": [{"song": "one"}]}', "found no key 'stems': mend or remove it"),
        ('{"songs": [{"song": "one", "stems": {}}]}', "found none: mend the index"),
        ('{"songs": [{"song": "one", "stems": {"guitar": [{"file": "a.wav"}]}}]}', "found 'guitar': mend the index"),
        ('{"songs": [{"song": "one", "stems": {"drums": []}}]}', "found none: mend the index"),
        ('{"songs": [{"song": "one", "stems": {"drums": [{"file": "gone.wav"}]}}]}', "gone.wav that index.json names, found none"),
        ('{"songs": [{"song": "one", "split": "trian", "stems": {"drums": [{"file": "index.json"}]}}]}', "found 'trian'"),
    ],
)
def test_a_bad_index_is_one_sentence(tmp_path, content, words):
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(DatasetError) as caught:
        find_songs(tmp_path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_shorter_and_missing_stems_are_silent_where_they_are_not(tmp_path):
    place = write_song(tmp_path, "a", ("vocals", "drums"), mono=("drums",))
    soundfile.write(place / "vocals.wav", tone("vocals")[: RATE // 2], RATE)
    (song,) = find_songs(tmp_path)
    stems = read_song(song, RATE)
    assert stems["vocals"].shape == (2, 2 * RATE) and stems["drums"].shape == (1, 2 * RATE)
    assert not stems["vocals"][:, RATE // 2 :].any()
    assert np.allclose(stems["vocals"][:, : RATE // 2], tone("vocals")[: RATE // 2].T, atol=1e-4)
    opened = cached(song, RATE, tmp_path / "cache")
    assert opened.read("vocals", RATE // 2, 10).tolist() == [[0.0] * 10] * 2


def test_stems_come_at_the_rate_that_is_asked_for(tmp_path):
    write_song(tmp_path, "a", ("bass",), rate=16000)
    (song,) = find_songs(tmp_path)
    assert song.band_limited
    bass = read_song(song, RATE)["bass"]
    assert bass.shape == (2, 2 * RATE) and np.abs(bass - tone("bass").T)[:, 200:-200].max() < 2e-3


def test_more_than_two_channels_are_refused(tmp_path):
    place = write_song(tmp_path, "a", ("bass",))
    soundfile.write(place / "bass.wav", np.zeros((100, 3)), RATE)
    with pytest.raises(AudioError, match="found 3 channels"):
        read_song(find_songs(tmp_path)[0], RATE)


def test_the_cache_gives_what_was_decoded(tmp_path):
    write_song(tmp_path / "songs", "a", mono=("bass",), number=4)
    (song,) = find_songs(tmp_path / "songs")
    opened = cached(song, RATE, tmp_path / "cache")
    truth = read_song(song, RATE)
    for stem in NAMES:
        read = opened.read(stem, 0, opened.frames)
        assert read.dtype == np.float32 and read.shape == truth[stem].shape
        assert np.abs(read - truth[stem]).max() <= 0.2 / 32767
        assert opened.level[stem] == pytest.approx(0.2 / 2**0.5, rel=0.02)
    beyond = opened.read("vocals", -100, 300)
    assert not beyond[:, :100].any() and np.array_equal(beyond[:, 100:], opened.read("vocals", 0, 200))
    assert not opened.read("vocals", opened.frames - 10, 30)[:, 10:].any() and opened.band_limited


def test_a_silent_song_has_no_level(tmp_path):
    place = write_song(tmp_path / "songs", "a", ("bass",))
    soundfile.write(place / "bass.wav", np.zeros((RATE, 2)), RATE)
    opened = cached(find_songs(tmp_path / "songs")[0], RATE, tmp_path / "cache")
    assert opened.level == {"bass": 0.0} and not opened.read("bass", 0, RATE).any()


@pytest.fixture
def song(tmp_path):
    write_song(tmp_path / "songs", "a")
    return find_songs(tmp_path / "songs")[0]


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.is_dir())


def test_a_song_is_decoded_once_and_again_when_its_file_changes(tmp_path, song, monkeypatch):
    decoded, whole = [], module._decode
    monkeypatch.setattr(module, "_decode", lambda *arguments: (decoded.append(1), whole(*arguments)))
    for _ in range(2):
        cached(song, RATE, tmp_path / "cache")
    assert len(decoded) == 1
    soundfile.write(song.stems["bass"][0].path, 0.5 * tone("bass"), RATE)
    os.utime(song.stems["bass"][0].path, ns=(1, 1))
    assert np.abs(cached(song, RATE, tmp_path / "cache").read("bass", 0, RATE)).max() == pytest.approx(0.1, rel=0.01)
    cached(song, RATE // 2, tmp_path / "cache")
    assert len(decoded) == 3


@pytest.mark.parametrize("damage", ["about gone", "about cut", "stem cut", "stem gone", "stem empty", "stem shorter"])
def test_a_damaged_entry_is_decoded_again(tmp_path, song, damage):
    truth = cached(song, RATE, tmp_path / "cache").read("other", 0, 2 * RATE)
    (place,) = entries(tmp_path / "cache")
    file = place / ("about.json" if damage.startswith("about") else "other.npy")
    if damage.endswith("gone"):
        file.unlink()
    elif damage.endswith("shorter"):
        np.save(file, np.zeros((100, 2), np.int16))
    else:
        os.truncate(file, 0 if damage.endswith("empty") else file.stat().st_size // 2)
    assert np.array_equal(cached(song, RATE, tmp_path / "cache").read("other", 0, 2 * RATE), truth)
    assert entries(tmp_path / "cache") == [place]


needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="no fork")


@needs_fork
def test_a_kill_in_the_midst_of_decoding_leaves_nothing_in_the_way(tmp_path, song, monkeypatch):
    def die(*_):
        os.kill(os.getpid(), 9)

    def decode():
        module._active_level = die
        cached(song, RATE, tmp_path / "cache")

    process = multiprocessing.get_context("fork").Process(target=decode)
    process.start()
    process.join()
    assert process.exitcode == -9 and list((tmp_path / "cache").glob("*.part/*.npy"))
    assert cached(song, RATE, tmp_path / "cache").frames == 2 * RATE
    assert not list((tmp_path / "cache").glob("*.part"))


@needs_fork
def test_processes_that_ask_for_a_song_at_once_decode_it_once(tmp_path, song):
    context = multiprocessing.get_context("fork")
    decodings, results, begin = context.Queue(), context.Queue(), context.Barrier(4)
    whole = module._decode

    def count(*arguments):
        decodings.put(1)
        whole(*arguments)

    def ask():
        module._decode = count
        begin.wait()
        opened = cached(song, RATE, tmp_path / "cache")
        results.put(float(sum(np.abs(opened.read(stem, 0, opened.frames)).sum() for stem in NAMES)))

    processes = [context.Process(target=ask) for _ in range(4)]
    for process in processes:
        process.start()
    sums = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert len(set(sums)) == 1 and sums[0] > 0 and decodings.get(timeout=5) == 1 and decodings.empty()


def test_a_full_disk_is_one_sentence_and_leaves_no_entry(tmp_path, song, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(OutputError, match="No space left on device; free space there or name another folder") as caught:
            cached(song, RATE, tmp_path / "cache")
    assert "\n" not in str(caught.value) and entries(tmp_path / "cache") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        cached(song, RATE, tmp_path / "file" / "cache")


def test_a_cached_song_travels_by_name(tmp_path, song):
    write_song(tmp_path / "long", "a", seconds=60)
    opened = cached(find_songs(tmp_path / "long")[0], RATE, tmp_path / "cache")
    sent = pickle.dumps(opened)
    assert len(sent) < 5000
    assert np.array_equal(pickle.loads(sent).read("bass", 77, 500), opened.read("bass", 77, 500))


def test_a_stem_that_is_no_audio_is_one_sentence(tmp_path, song):
    song.stems["drums"][0].path.write_text("no sound at all")
    with pytest.raises(AudioError) as caught:
        cached(song, RATE, tmp_path / "cache")
    assert "drums.wav" in str(caught.value) and "\n" not in str(caught.value) and entries(tmp_path / "cache") == []


def test_musdb18_in_its_own_format(shared_data, tmp_path):
    pytest.importorskip("av")
    songs = {song.name: song for song in find_songs(shared_data / "test" / "musdb")}
    song = songs["Music Delta - 80s Rock"]
    stems, mixture = read_song(song, 44100), module.read_source(song.mixture, 44100)
    assert set(stems) == set(NAMES) and all(stem.shape == mixture.shape for stem in stems.values())
    difference = mixture - sum(stems.values())
    # Each stream is coded by itself, so the sum is near and not equal.
    assert -60 < 10 * np.log10(np.square(difference).sum() / np.square(mixture).sum()) < -15


def test_the_public_songs_have_their_splits(shared_data):
    songs = {song.name: song for song in find_songs(shared_data / "songs")}
    assert songs["everythingisfree/5.Rubidium"].split == "test" and songs["musicdelta/MusicDelta_Britpop"].split == "valid"
    assert songs["everythingisfree/4.Potassium"].valid_last_seconds == 45
    assert {song.split for song in songs.values()} == {"train", "valid", "test", "unused"}
