"""Make people who speak and sing, by code: harmonics of a pitch through two formants; and a recipe that trains a tiny singer on them."""

import json
from pathlib import Path

import numpy as np
import soundfile

from songfoundry import config

RATE = 16000
SYLLABLES = 3


def voice(pitches, seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Say or sing syllables, each a noise and then a vowel at a pitch (MIDI): float32 (samples,), peak 0.5, 0.1 s of silence around."""
    rng = np.random.default_rng(seed)
    parts = [np.zeros(rate // 10)]
    for place, midi in enumerate(pitches):
        count, noise = round(seconds / len(pitches) * rate), rate // 25
        hertz = 440 * 2 ** ((midi - 69) / 12) * (1 + 0.004 * np.sin(2 * np.pi * 5.5 * np.arange(count) / rate))
        phase, out = 2 * np.pi * np.cumsum(hertz) / rate, np.zeros(count)
        formants = ((700, 1200), (300, 2200), (450, 900))[place % SYLLABLES]
        for number in range(1, int(7000 / hertz.min())):
            at = number * float(np.median(hertz))
            out += sum(1 / (1 + ((at - formant) / 150) ** 2) for formant in formants) * np.sin(number * phase) + 0
        out *= np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.02 * rate))
        out[:noise] = 0.5 * np.abs(out).max() * rng.standard_normal(noise) * np.hanning(noise)
        parts.append(out)
    parts.append(np.zeros(rate // 10))
    whole = np.concatenate(parts) + 1e-4 * rng.standard_normal(sum(map(len, parts)))
    return (0.5 * whole / np.abs(whole).max()).astype(np.float32)


def make_people(folder: Path) -> Path:
    """Write three people who speak and sing two sentences: one for training, one for validation, one for testing."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for actor, split in ((1, "train"), (2, "valid"), (3, "test")):
        for kind in ("speech", "song"):
            at, parts = 0, []
            for statement in (1, 2):
                low = 45 + 7 * (actor % 2)
                pitches = [low + 1, low, low - 1] if kind == "speech" else [low + 4 + statement, low + 8, low + 6]
                samples = voice(pitches, 0.6 if kind == "speech" else 1.1, seed=actor)
                name = f"03-{'01' if kind == 'speech' else '02'}-01-01-0{statement}-01-{actor:02d}"
                place = {"file": f"{kind}_{actor:02d}.wav", "start_sample": at, "num_samples": len(samples)}
                about = {"actor": actor, "emotion": "neutral", "statement": statement, "split": split}
                clips.append({"clip": name, "kind": kind, **place, **about})
                parts += [samples, np.zeros(800, np.float32)]
                at += len(samples) + 800
            soundfile.write(folder / f"{kind}_{actor:02d}.wav", np.concatenate(parts), RATE)
    (folder / "index.json").write_text(json.dumps({"sample_rate": RATE, "clips": clips}))
    return folder


def make_songs(folder: Path, count: int = 2) -> Path:
    """Write songs of a voice and a band, three seconds each."""
    for number in range(count):
        place = folder / f"song {number}"
        place.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / "vocals.wav", voice([57 + number, 60, 62], 3.0, seed=number), RATE)
        clock = np.arange(3 * RATE) / RATE
        soundfile.write(place / "accompaniment.wav", 0.2 * np.sin(2 * np.pi * (220 + 60 * number) * clock), RATE)
    return folder


def system_values(**options) -> dict:
    """Give the table [system] of a tiny singer."""
    return {"name": "sing", "preset": "tiny", "judge_preset": "tiny", "rate": RATE, "n_fft": 1024, "hop": 256, "mels": 64, "frames": 64,
            "paired": 1.0, **options}  # fmt: skip


def recipe(folder: Path, system: dict | None = None, **train) -> config.Recipe:
    """Give a recipe that trains it on what `make_people` and `make_songs` put below a folder."""
    values = {
        "name": "tiny-sing", "seed": 3, "system": system_values(**(system or {})),
        "data": {"name": "speech", "folders": [{"path": str(folder / "people")}], "songs": [{"path": str(folder / "songs")}], "frames": 64},
        "train": {"steps": 4, "batch": 4, "rate": 1e-3, "betas": [0.0, 0.99], "weight_decay": 0.0, "warmup": 0, "log_every": 1,
                  "save_every": 2, "score_every": 100, "score_songs": 1, "accelerator": "cpu", "workers": 0, **train},
    }  # fmt: skip
    return config.parse(config.Recipe, values, "tiny")


def system(seed: int = 1, **options):
    """Build the tiny system with random weights that do not depend on what ran before."""
    import torch

    from songfoundry.systems.sing import Sing, SingConfig

    torch.manual_seed(seed)
    return Sing(config.parse(SingConfig, system_values(**options), "tiny"))
