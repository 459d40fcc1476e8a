"""Keep recordings of voices decoded, with their pitch: both are found once, and mapped into memory afterwards.

The pitch is WORLD's quick estimate (DIO, refined by StoneMask: Morise et al. 2009, 2016), which takes a fiftieth of the time that the
careful one does; a day of speech is followed in half an hour. MIR-1K's own labels are taken where a song has them.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from songfoundry.audio import io
from songfoundry.data.songs import CachedSong, cache_root
from songfoundry.errors import DatasetError, MissingExtraError, OutputError

__all__ = ["KeptVoice", "PERIOD", "at_frames", "kept_voice", "quick_pitch", "song_pitch"]

PERIOD = 0.005
"""Seconds from one value of a kept pitch to the next; the first is at 0 s."""
LOW, HIGH = 60.0, 1100.0
"""Hz, between which a voice is looked for."""
_VERSION = 1
_SILENT = 10 ** (-45 / 20)
"""Below this share of the loudest, nothing is voiced."""


def quick_pitch(samples: np.ndarray, rate: int) -> np.ndarray:
    """Follow the pitch of a voice: float (samples,) at `rate` Hz -> float32 (values,), Hz, 0 where it has none, each `PERIOD`.

    Raises
    ------
    MissingExtraError : pyworld is not installed.
    """
    try:
        import pyworld
    except ImportError:
        raise MissingExtraError(
            "expected the package pyworld to follow the pitch of voices, found none: pip install 'songfoundry[sing]'"
        ) from None
    samples = np.ascontiguousarray(samples, np.float64)
    if len(samples) < rate // 20:
        return np.zeros(len(samples) * 200 // rate + 1, np.float32)
    hertz, times = pyworld.dio(samples, rate, f0_floor=LOW, f0_ceil=HIGH, frame_period=1000 * PERIOD)
    hertz = pyworld.stonemask(samples, hertz, times, rate)
    # DIO finds a pitch in the noise of a room, too.
    step = round(PERIOD * rate)
    power = np.convolve(np.square(samples), np.full(4 * step, 0.25 / step), "same")[::step]
    power = np.pad(power, (0, max(0, len(hertz) - len(power))), mode="edge")[: len(hertz)]
    return np.where(power > power.max(initial=0) * _SILENT**2, hertz, 0).astype(np.float32)


def at_frames(hertz: np.ndarray, frames: int, hop: int, rate: int, start: float = 0.0) -> np.ndarray:
    """Take a kept pitch at the centres of spectral frames, the first begins `start` seconds in: float32 (frames,), 0 beyond ends."""
    places = np.round((start + (np.arange(frames) + 0.5) * hop / rate) / PERIOD).astype(int)
    inside = (places >= 0) & (places < len(hertz))
    return np.where(inside, hertz[places.clip(0, max(len(hertz) - 1, 0))] if len(hertz) else 0.0, 0.0).astype(np.float32)


@dataclass(frozen=True)
class KeptVoice:
    """Hold a decoded file: `samples` int16 (samples,) and `hertz` float32 (values,) each `PERIOD`, memory maps both; `rate` in Hz."""

    samples: np.ndarray
    hertz: np.ndarray
    rate: int
    place: Path

    def __reduce__(self):
        """Travel to another process by name: the memory maps are opened there, not copied."""
        return _open, (self.place, self.rate)

    def read(self, start: int, frames: int) -> np.ndarray:
        """Read float32 (frames,) from a sample on, full scale ±1; beyond its ends, zeros."""
        piece = self.samples[max(0, start) : max(0, min(start + frames, len(self.samples)))]
        out = np.zeros(frames, np.float32)
        at = max(0, -start)
        out[at : at + len(piece)] = piece
        return out / np.float32(32767)


def kept_voice(path: Path, rate: int) -> KeptVoice:
    """Open a file in the cache, one channel of it, decoded and followed first where it is not there or has changed.

    Raises
    ------
    AudioError : it cannot be decoded. DatasetError : it is not there. OutputError : the cache cannot be written.
    MissingExtraError : as `quick_pitch`.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise DatasetError(f"expected a recording in {path}, found it unreadable ({error.strerror}): restore it") from None
    place = _place([str(path), found.st_mtime_ns, found.st_size, rate])
    try:
        return _open(place, rate)
    except (OSError, EOFError, ValueError):
        pass
    with io.open_reader(path) as reader:
        samples = np.concatenate([np.zeros(0, np.float32), *(block.mean(axis=0) for block in reader.blocks())])
        if reader.rate != rate:
            samples = soxr.resample(samples, reader.rate, rate, quality="HQ")
    samples = samples / max(1.0, float(np.abs(samples).max(initial=0)))
    # The pitch first: it is looked for last.
    _keep(place, {".hertz.npy": quick_pitch(samples, rate), ".npy": np.round(samples * 32767).astype(np.int16)})
    return _open(place, rate)


def song_pitch(song: CachedSong) -> np.ndarray:
    """Give the pitch of a song's voice: float32 (values,), Hz, each `PERIOD`; MIR-1K's labels where they lie beside it, else followed.

    Raises
    ------
    DatasetError : labels that are none. OutputError, MissingExtraError : as `kept_voice`.
    """
    sources = song.song.stems["vocals"]
    labels = _labels(sources[0].path, song.frames / song.rate) if len(sources) == 1 else None
    if labels is not None:
        return labels
    place = song.place.with_name(f"{song.place.name}.pitch")
    try:
        return np.load(place.with_suffix(".hertz.npy"))
    except (OSError, EOFError, ValueError):
        pass
    hertz = quick_pitch(song.read("vocals", 0, song.frames).mean(axis=0), song.rate)
    _keep(place, {".hertz.npy": hertz})
    return hertz


def _labels(path: Path, seconds: float) -> np.ndarray | None:
    """Read the labels of MIR-1K for a song's voice: semitones each 20 ms, the first 20 ms after a clip's begin."""
    index, pitches = path.parent / "index.json", path.parent / "pitch.npz"
    if not (index.is_file() and pitches.is_file()):
        return None
    try:
        clips = json.loads(index.read_text(encoding="utf-8")).get(path.name.split(".")[0], [])
        hertz = np.zeros(int(seconds / PERIOD) + 1, np.float32)
        with np.load(pitches, allow_pickle=False) as found:
            for name, start, count in clips:
                if name not in found:
                    continue
                midi = found[name]
                clock = np.arange(int(count / 16000 / PERIOD)) * PERIOD
                near = np.round(clock / 0.02 - 1).astype(int).clip(0, len(midi) - 1)
                first = round(start / 16000 / PERIOD)
                values = np.where(midi > 0, 440 * 2 ** ((midi.astype(np.float64) - 69) / 12), 0)[near]
                hertz[first : first + len(values)] = values[: max(0, len(hertz) - first)]
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise DatasetError(f"expected labels of pitch in {pitches}, found something else ({error}): restore or remove them") from None
    return hertz if clips else None


def _place(identity: Sequence) -> Path:
    return cache_root() / "voices" / hashlib.sha256(json.dumps([_VERSION, *identity]).encode()).hexdigest()[:20]


def _open(place: Path, rate: int) -> KeptVoice:
    samples = np.load(place.with_suffix(".npy"), mmap_mode="r")
    hertz = np.load(place.with_suffix(".hertz.npy"), mmap_mode="r")
    if len(hertz) < int(len(samples) / rate / PERIOD):
        raise ValueError("cut short")
    return KeptVoice(samples, hertz, rate, place)


def _keep(place: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays aside and rename them, in order."""
    aside = place.with_name(f"{place.name}.{os.getpid()}.part.npy")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for suffix, array in arrays.items():
            np.save(aside, array)
            os.replace(aside, place.with_suffix(suffix))
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OutputError(
            f"expected to keep voices decoded in {place.parent}, found: {error.strerror or error}; free space there or name another folder "
            "by the variable SONGFOUNDRY_CACHE"
        ) from None
