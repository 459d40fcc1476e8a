"""Make songs that nobody recorded, with their true stems: for the demo, for tests, and as free training data.

`data.tunes` composes, this file plays. The demo and the training songs never share a seed, a tune or a singer: see there.
The mixture is the sum of the stems, by definition.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..audio import io
from ..errors import InputError, OutputError
from ..synth import hit, place, play, reverberate, sing
from .tunes import DEMO_SEED, FIRST_TRAINING_SEED, Arrangement, compose_demo, compose_training

STEMS = ("vocals", "drums", "bass", "other")


def render(song: Arrangement, rate: int = 44100, seed: int = 0) -> dict[str, np.ndarray]:
    """Render an arrangement.

    Args:
        song: what is played.
        rate: samples a second, at least 8000.
        seed: of the noise in drums, breath and room.

    Returns:
        Stem name → float32 (2, samples), full scale ±1; the stems' sum peaks at 0.85.

    Raises:
        InputError: the rate is below 8000.
    """
    if rate < 8000:
        raise InputError(f"expected a rate of at least 8000 Hz for a made song, found {rate}: take 44100")
    style, samples = song.style, int(song.seconds * rate)
    stems = {stem: np.zeros((2, samples)) for stem in STEMS}
    draws = dict(zip((*STEMS, "room"), np.random.default_rng([seed, 2]).spawn(5), strict=True))
    pans = {"hat": 0.25, "open": 0.25, "ride": -0.3, "crash": -0.2, "tom1": 0.35, "tom3": -0.35}
    weights = {"kick": 1.0, "snare": 0.8, "clap": 0.7, "hat": 0.45, "open": 0.45, "ride": 0.4, "crash": 0.45}
    for seconds, piece, velocity in song.drums:
        sound = hit(style.kit, piece, velocity, rate, draws["drums"]) * weights.get(piece, 0.7)
        place(stems["drums"], _panned(sound, pans.get(piece, 0.0)), seconds, rate)
    stems["drums"] = np.tanh(reverberate(stems["drums"], 0.5, 0.12, rate, draws["room"]))
    for note in song.bass:
        sound = play(style.bass, (note.pitch,), note.seconds, note.velocity, rate, draws["bass"])
        place(stems["bass"], sound, note.start, rate)
    for patch, gain, pan, chords in song.other:
        layer = np.zeros((2, samples))
        for seconds, held, pitches, velocity in chords:
            place(layer, play(patch, pitches, held, velocity, rate, draws["other"]), seconds, rate)
        stems["other"] += layer * (gain * np.array([[1 - max(0, pan)], [1 + min(0, pan)]]) / max(_level(layer, rate), 1e-9))
    stems["other"] = reverberate(stems["other"], style.room_seconds, 0.25, rate, draws["room"])
    lead = sing(style.voice, song.vocals, song.seconds, rate, draws["vocals"])
    stems["vocals"] = _panned(lead[:samples], 0.0)
    if song.harmony:
        stems["vocals"] += _panned(sing(style.voice, song.harmony, song.seconds, rate, draws["vocals"])[:samples], -0.3)
    stems["vocals"] = reverberate(stems["vocals"], style.room_seconds, 0.2, rate, draws["room"])
    fade = np.minimum(1, np.arange(samples, 0, -1) / (0.1 * rate))
    for stem, level in zip(STEMS, style.levels, strict=True):
        stems[stem] *= fade * level / max(_level(stems[stem], rate), 1e-9)
    gain = 0.85 / max(np.abs(sum(stems.values())).max(), 1e-9)
    return {stem: (audio * gain).astype(np.float32) for stem, audio in stems.items()}


def _panned(mono: np.ndarray, pan: float) -> np.ndarray:
    """Place a mono sound between left (-1) and right (1) at equal power: (2, samples)."""
    angle = (pan + 1) * np.pi / 4
    return np.sqrt(2) * np.stack([np.cos(angle) * mono, np.sin(angle) * mono])


def _level(audio: np.ndarray, rate: int) -> float:
    """Measure the root mean square over the tenths of a second that are within 40 dB of the loudest."""
    step = rate // 10
    usable = audio.shape[-1] // step * step
    power = (audio[:, :usable] ** 2).reshape(2, -1, step).mean(axis=(0, 2))
    return float(np.sqrt(power[power >= 1e-4 * power.max(initial=0)].mean())) if power.size else 0.0


def demo_song(seed: int = DEMO_SEED, seconds: float = 24.0, rate: int = 44100) -> dict[str, np.ndarray]:
    """Make the demo song: intro, verse and chorus in D major at 104 beats a minute, with a voice.

    Args:
        seed: 0 to 999; changes words, touch and timing.
        seconds: length; 24 is two bars of intro, four of verse, four of chorus and the last chord.
        rate: samples a second.

    Returns:
        Stem name → float32 (2, samples), full scale ±1; the song is their sum, which peaks at 0.85.

    Raises:
        InputError: a seed of training, less than two seconds, or a rate below 8000.
    """
    return render(compose_demo(seed, seconds), rate, seed)


def training_song(seed: int, seconds: float = 24.0, rate: int = 44100) -> dict[str, np.ndarray]:
    """Make a song for training or tests: another style, singer and tune for each seed, never the demo's.

    Args:
        seed: 1000 or more.
        seconds: length.
        rate: samples a second.

    Returns:
        Stem name → float32 (2, samples), full scale ±1; the song is their sum, which peaks at 0.85.

    Raises:
        InputError: one of the demo's seeds, less than two seconds, or a rate below 8000.
    """
    return render(compose_training(seed, seconds), rate, seed)


def write_songs(
    out: str | os.PathLike, count: int, *, seed: int = FIRST_TRAINING_SEED, seconds: float = 24.0, rate: int = 44100,
    progress: Callable[[float], None] | None = None,
) -> Path:  # fmt: skip
    """Write made songs for training as OUT/<seed>/<stem>.flac with an index; songs that are there already are kept.

    Args:
        out: folder, made if it is not there.
        count: songs, of the seeds `seed`, `seed` + 1, ...
        seconds: length of each.
        progress: called with the fraction done.

    Returns:
        The path of the index, in the form that `data.songs` reads.

    Raises:
        InputError: a seed of the demo, or no songs at all. OutputError: the folder cannot be written.
    """
    if count < 1:
        raise InputError(f"expected 1 song or more to make, found {count}: choose another --count")
    out = Path(out)
    entries = []
    for number in range(count):
        name = f"{seed + number}"
        folder = out / name
        if not folder.is_dir():
            aside = out / f".{name}.part"
            stems = training_song(seed + number, seconds, rate)
            try:
                aside.mkdir(parents=True, exist_ok=True)
                for stem, samples in stems.items():
                    io.write(aside / f"{stem}.flac", samples, rate, depth="int16")
                aside.rename(folder)
            except OSError as error:
                raise OutputError(f"expected to write songs to {out}, found: {error.strerror}; choose another folder") from None
        files = {stem: [{"file": f"{name}/{stem}.flac", "gain_db": 0}] for stem in STEMS if (folder / f"{stem}.flac").is_file()}
        entries.append({"song": f"made/{name}", "split": "train", "licence": "CC0-1.0", "rate": rate, "stems": files})
        if progress:
            progress((number + 1) / count)
    io.write_atomic_text(out / "index.json", json.dumps({"about": "Songs made by code.", "songs": entries}, indent=1))
    return out / "index.json"
