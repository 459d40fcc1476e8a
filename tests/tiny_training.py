"""Make songs of two seconds and a recipe that trains on them in no time."""

from pathlib import Path

import numpy as np
import soundfile

from songfoundry import config

RATE = 8000
HERTZ = {"vocals": 440, "drums": 1300, "bass": 110, "other": 2100}


def tone(stem: str, seconds: float = 2.0, rate: int = RATE, number: int = 0, channels: int = 2) -> np.ndarray:
    """Make a stem's tone, a little off for each song: float32 (samples, channels), peak 0.2."""
    times = np.arange(round(seconds * rate)) / rate
    wave = 0.2 * np.sin(2 * np.pi * HERTZ[stem] * (1 + 0.01 * number) * times + number)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def write_song(folder: Path, name: str, stems=tuple(HERTZ), seconds: float = 2.0, rate: int = RATE, number: int = 0, mono=()) -> Path:
    """Write a song's stems as wav files into a folder of its own."""
    place = folder / name
    place.mkdir(parents=True)
    for stem in stems:
        sound = tone("other" if stem == "accompaniment" else stem, seconds, rate, number, 1 if stem in mono else 2)
        soundfile.write(place / f"{stem}.wav", sound, rate)
    return place


def write_songs(folder: Path, train: int = 3, valid: int = 1) -> Path:
    """Write songs in the layout of MUSDB18-HQ."""
    for number in range(train):
        write_song(folder / "train", f"song {number}", number=number)
    for number in range(valid):
        write_song(folder / "valid", f"held {number}", number=10 + number)
    return folder


def values(songs: Path, **train) -> dict:
    """Give a recipe's values for the songs of a folder; `train` overrides keys of its last table."""
    options = {"features": 8, "hidden": 4, "layers": 1, "mask_hidden": 4}
    return {
        "name": "tiny",
        "seed": 3,
        "system": {"name": "separate", "net": "bsrnn", "preset": "tiny", "net_options": options, "sample_rate": RATE,
                   "n_fft": 256, "hop_length": 64, "chunk_seconds": 1.0},
        "data": {"name": "remix", "sample_rate": RATE, "chunk_seconds": 0.5, "folders": [{"path": str(songs)}]},
        "train": {"steps": 6, "batch": 2, "warmup": 2, "log_every": 2, "save_every": 2, "score_every": 4, "accelerator": "cpu",
                  "workers": 0, **train},
    }  # fmt: skip


def recipe(songs: Path, **train) -> config.Recipe:
    """Give the recipe itself."""
    return config.parse(config.Recipe, values(songs, **train), "tiny")


def write_recipe(path: Path, songs: Path, **train) -> Path:
    """Write the recipe as a file."""
    path.write_text(config.to_toml(values(songs, **train)), encoding="utf-8")
    return path
