"""Play drum notes with recorded hits: the softer the note, the softer the hit.

A kit is a folder with ``index.json``: ``{"pieces": {piece: [{"file": ...}, ...]}}``, the hits of every piece from soft to hard.
Any kit whose pieces are named like the MuldjordKit's will do; a piece that is missing is left to other sounds.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from songfoundry.audio.io import read
from songfoundry.errors import DatasetError
from songfoundry.notes import Part

GM_KEYS = {
    35: "KdrumL", 36: "KdrumR", 37: "SnareRest", 38: "Snare", 39: "Snare", 40: "Snare",
    41: "Tom4", 43: "Tom4", 45: "Tom3", 47: "Tom2", 48: "Tom1", 50: "Tom1",
    42: "HihatClosed", 44: "HihatClosed", 46: "HihatOpen",
    49: "CrashL", 55: "CrashL", 57: "CrashR", 52: "China", 51: "RideR", 59: "RideL", 53: "RideRBell",
}  # fmt: skip
"""General MIDI drum key to kit piece; the hand clap (39), which no kit has, is a snare stroke."""
GROOVE_KEYS = GM_KEYS | {22: "HihatClosed", 26: "HihatOpen", 58: "Tom4", 52: "CrashR"}
"""The same for the Roland TD-11 of the Groove MIDI Dataset, where the edges of hi-hat, tom and crash have keys of their own."""

_HATS = (22, 26, 42, 44, 46)
_CHOKE = 0.03
"""Seconds in which a hi-hat that is struck again or closed stops ringing."""


@dataclass(frozen=True)
class Drumkit:
    """Hold the hits of a kit at one rate.

    ``pieces``: piece to its hits from soft to hard, each float32 (2, samples), full scale ±1, at ``rate`` Hz.
    """

    pieces: dict[str, list[np.ndarray]]
    rate: int

    @classmethod
    def open(cls, folder: str | os.PathLike, rate: int) -> "Drumkit":
        """Read every hit of a kit folder and bring it to ``rate`` Hz, stereo.

        Raises:
            DatasetError: the folder has no index.json of this form.
            AudioError: a hit cannot be read.
        """
        folder = Path(folder)
        try:
            index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            listed = {piece: [hit["file"] for hit in hits] for piece, hits in index["pieces"].items() if hits}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"expected a drum kit with an index.json of pieces and files, {folder.name} has none ({error}): check the folder"
            ) from error
        return cls({piece: [_hit(folder / name, rate) for name in names] for piece, names in listed.items()}, rate)

    @property
    def keys(self) -> list[int]:
        """General MIDI drum keys that the kit can play."""
        return [key for key, piece in GM_KEYS.items() if piece in self.pieces]

    def play(self, part: Part, seconds: float, rng: np.random.Generator, *, keys: dict[int, str] | None = None) -> np.ndarray:
        """Play a drum part: float32 (2, samples), ``seconds`` long, at the kit's rate; not clipped.

        ``rng`` draws between hits of nearly the same strength and varies their levels by 1 dB: no two strokes are the same.
        ``keys``: MIDI key to piece (default `GM_KEYS`); notes whose key or piece is missing are left out.
        """
        keys = GM_KEYS if keys is None else keys
        out = np.zeros((2, round(seconds * self.rate)), np.float32)
        order = np.argsort(part.starts, kind="stable")
        starts, pitches, velocities = part.starts[order], part.pitches[order], part.velocities[order]
        hats = starts[np.isin(pitches, _HATS)]
        for start, pitch, velocity in zip(starts.tolist(), pitches.tolist(), velocities.tolist(), strict=True):
            hits = self.pieces.get(keys.get(pitch, ""))
            first = round(start * self.rate)
            if not hits or not 0 <= first < out.shape[1]:
                continue
            strength = (velocity / 127) ** 0.7 * (len(hits) - 1) + rng.uniform(-0.08, 0.08) * len(hits)
            hit = hits[int(np.clip(round(strength), 0, len(hits) - 1))]
            if pitch in _HATS:
                hit = _choked(hit, hats[np.searchsorted(hats, start, side="right") :], start, self.rate)
            hit = hit[:, : out.shape[1] - first]
            out[:, first : first + hit.shape[1]] += hit * np.float32(10 ** (rng.uniform(-1, 1) / 20))
        return out


def _choked(hit: np.ndarray, later: np.ndarray, start: float, rate: int) -> np.ndarray:
    """Fade a hi-hat out where the next stroke comes."""
    if not len(later):
        return hit
    stop, fade = round((later[0] - start) * rate), round(_CHOKE * rate)
    if stop >= hit.shape[1]:
        return hit
    hit = hit[:, : stop + fade].copy()
    hit[:, stop:] *= np.linspace(1, 0, hit.shape[1] - stop, dtype=np.float32)
    return hit


def _hit(path: Path, rate: int) -> np.ndarray:
    clip = read(path)
    samples = clip.samples if clip.channels == 2 else np.repeat(clip.samples[:1], 2, axis=0)
    if clip.rate != rate:
        samples = np.ascontiguousarray(soxr.resample(samples.T, clip.rate, rate).T)
    return samples.astype(np.float32)
