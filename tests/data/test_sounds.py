"""Draws of single sounds: crops of stems, test tones, splits that bind."""

import numpy as np
import pytest
import soundfile
import torch
from tiny_training import RATE, tone, write_song, write_songs

from songfoundry.data.songs import cached, find_songs
from songfoundry.data.sounds import Sounds, SoundsConfig, excerpts, harmonics
from songfoundry.errors import ConfigError, DatasetError


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path / "cache"))


def sounds(folder=None, seed=0, **options):
    folders = [{"path": str(folder)}] if folder else []
    return Sounds(SoundsConfig(folders=folders, **{"rate": RATE, "seconds": 0.5, "excerpt": 1.0, **options}), seed)


def spectrum(waveform):
    """The loudest frequency, in Hz."""
    return np.fft.rfftfreq(len(waveform), 1 / RATE)[np.abs(np.fft.rfft(waveform)).argmax()]


def test_draws_are_pure_in_number_and_seed_and_of_all_stems(tmp_path):
    folder = write_songs(tmp_path / "songs")
    one, again, other = sounds(folder), sounds(folder), sounds(folder, seed=1)
    drawn = [one[n]["waveform"] for n in range(40)]
    assert all(w.shape == (4000,) and w.dtype == torch.float32 and 0 < w.abs().max() <= 1 for w in drawn)
    assert all(torch.equal(drawn[n], again[n]["waveform"]) for n in (39, 0, 7))
    assert not torch.equal(drawn[0], other[0]["waveform"])
    pitches = {round(spectrum(w.numpy()), -2) for w in drawn}
    assert {100, 400, 1300, 2100} <= pitches
    assert one.seen(7200) == {"hours_seen": 1.0}


def test_stems_are_those_that_are_named(tmp_path):
    folder = write_songs(tmp_path / "songs")
    drawn = [sounds(folder, stems=["bass"])[n]["waveform"].numpy() for n in range(6)]
    assert all(spectrum(w) < 130 for w in drawn)
    mixed = sounds(folder, stems=["mixture"], gain_db=0)[0]["waveform"].numpy()
    level = np.abs(np.fft.rfft(mixed))
    assert (level > 0.2 * level.max()).sum() >= 4, "all four stems sound"


def test_clips_come_again_each_time_at_another_level(tmp_path):
    folder = write_songs(tmp_path / "songs")
    few = sounds(folder, clips=3)
    first, again, second = (few[n]["waveform"] for n in (0, 3, 1))
    scale = float(again.norm() / first.norm())
    assert torch.allclose(first * scale, again, atol=1e-5) and abs(scale - 1) > 1e-3
    assert not torch.allclose(first, second, atol=1e-2)
    assert torch.equal(sounds(folder, clips=3, gain_db=0)[0]["waveform"], sounds(folder, clips=3, gain_db=0)[3]["waveform"])


def test_some_examples_end_early(tmp_path):
    folder = write_songs(tmp_path / "songs")
    made, whole = sounds(folder, short=0.5), sounds(folder)
    lengths = []
    for number in range(40):
        one, same = made[number]["waveform"], whole[number]["waveform"]
        lengths.append(int(one.nonzero().max()) + 1)
        assert torch.equal(one[: lengths[-1]], same[: lengths[-1]])
    ended = [length for length in lengths if length < 3990]
    assert 10 < len(ended) < 30 and 200 <= min(ended) < 1500 and max(ended) > 2500


def test_held_out_songs_are_never_drawn(tmp_path):
    # The one training song has a quiet tone; what is held out is loud.
    write_song(tmp_path / "songs/train", "a", stems=("vocals",))
    for split in ("valid", "test"):
        place = tmp_path / "songs" / split / "b"
        place.mkdir(parents=True)
        soundfile.write(place / "drums.wav", 4 * tone("drums"), RATE)
    made = sounds(tmp_path / "songs", gain_db=0)
    assert all(made[n]["waveform"].abs().max() < 0.3 for n in range(20))
    (held,) = [row for row in made.validation() if row["stem"] == "drums"]
    assert held["name"] == "valid/b drums" and held["waveform"].shape == (RATE,) and np.abs(held["waveform"]).max() > 0.7
    songs = [cached(song, RATE) for song in find_songs(tmp_path / "songs", ["test/*"])]
    assert [row["name"] for row in excerpts(songs, ["mixture", "drums", "bass"], RATE)] == ["test/b mixture", "test/b drums"]
    assert made.describe()["songs"] == 1 and made.describe()["validation"] == ["valid/b"]


def test_the_end_of_a_song_that_is_for_validation_is_never_drawn(tmp_path):
    place = tmp_path / "songs"
    place.mkdir()
    wave = np.concatenate((tone("bass", 1.0), tone("other", 1.0)))
    soundfile.write(place / "x.wav", wave, RATE)
    (place / "index.json").write_text(
        '{"songs": [{"song": "s", "split": "train", "valid_last_seconds": 1.0, "stems": {"vocals": [{"file": "x.wav"}]}}]}'
    )
    made = sounds(place, stems=["vocals"])
    assert all(spectrum(made[n]["waveform"].numpy()) < 130 for n in range(20))
    (held,) = made.validation()
    assert spectrum(held["waveform"]) > 2000


def test_tones_need_no_files():
    made = sounds(harmonics=1.0)
    wave = made[4]["waveform"].numpy()
    level = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
    near = [level[np.abs(hertz - partial) < 8].max() for partial in (440, 880, 1320, 1760)]
    assert min(near) > 5 * np.median(level) and not torch.equal(made[4]["waveform"], made[5]["waveform"])
    held = list(made.validation())
    assert len(held) == 8 and {row["stem"] for row in held} == {"harmonics"} and held[0]["waveform"].shape == (RATE,)
    assert made.describe()["licences"] == ["none needed (made by code)"]
    tone_ = harmonics(np.random.default_rng(0), 1000, 1000)
    assert np.isfinite(tone_).all() and 0.1 <= np.abs(tone_).max() <= 0.9


def test_what_cannot_be_drawn_is_told(tmp_path):
    with pytest.raises(ConfigError, match="data.harmonics = 1"):
        sounds()
    write_songs(tmp_path / "songs", train=0)
    with pytest.raises(DatasetError, match="for training"):
        sounds(tmp_path / "songs")
    with pytest.raises(ConfigError, match="data.stems"):
        sounds(tmp_path / "songs", stems=[])
