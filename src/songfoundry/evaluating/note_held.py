"""Hold notes longer than a model makes them, as `songfoundry note --duration 6` does, and measure what is left of them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from songfoundry.evaluating.note_measures import flaws
from songfoundry.metrics.pitch import median_cents
from songfoundry.systems.note import Note
from songfoundry.timbre.generator import NoteGenerator

__all__ = ["held_rows"]

SECONDS = 6.0
"""Length of a held note."""
_EARLY, _LATE, _LISTENED = (0.5, 1.0), (4.9, 5.2), (2.5, 5.5)
"""Seconds between which levels are compared, and in which pitch and clicks are looked for."""
_GONE = 20.0
"""dB below which a note has died away."""
_SEEDS = 2
_KINDS = {True: "blown or bowed", False: "struck or plucked", None: "others"}


def held_rows(system: Note, name: str, ranges: dict[str, np.ndarray], clicks: Callable[..., dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Measure held notes: each instrument at three pitches with two latents; a row for those that last, and one for those that die.

    Parameters
    ----------
    ranges : the pitches that may be asked for, by instrument. clicks : `note_measures.beyond` with real notes given.

    Returns
    -------
    rows : by name and kind "n"; "median" and "lowest", dB, the level at 5 s beside that from 0.5 to 1 s; "gone", how many are more
        than 20 dB down; "clicks", how many jump further than real notes do, from 2.5 s on; "median cents" of what YIN hears there, of
        those not gone.
    """
    generator = NoteGenerator(system, str(system.device), 1)
    found: dict[str, dict[str, list]] = {}
    for player, pitches in ranges.items():
        chosen = sorted({int(pitches[round(share * (len(pitches) - 1))]) for share in (0.15, 0.5, 0.85)})
        for seed in range(_SEEDS):
            timbre = generator.timbre(player, seed)
            rows = found.setdefault(f"{name}, {_KINDS[generator.lasts(timbre)]}", {"level": [], "cents": [], "flaws": []})
            for note in generator.make([timbre] * len(chosen), chosen, duration=SECONDS):
                level = _decibels(note.samples, note.rate, _LATE) - _decibels(note.samples, note.rate, _EARLY)
                part = _part(note.samples, note.rate, _LISTENED)
                rows["level"].append(level)
                # As loud as a note is for whom real notes say how far it may jump.
                rows["flaws"].append(flaws(part[None] / max(float(np.abs(note.samples).max()), 1e-9), np.array([note.pitch]), note.rate))
                if level > -_GONE:
                    rows["cents"].append(abs(median_cents(part, note.rate, note.pitch)))
    return {
        kind: {
            "n": len(rows["level"]), "median": float(np.median(rows["level"])), "lowest": min(rows["level"]),
            "gone": sum(level < -_GONE for level in rows["level"]),
            "clicks": sum(clicks(one)["clicks"] for one in rows["flaws"]),
            "median cents": float(np.nanmedian(rows["cents"])) if np.isfinite(rows["cents"]).any() else float("nan"),
        }
        for kind, rows in found.items()
    }  # fmt: skip


def _part(samples: np.ndarray, rate: int, between: tuple[float, float]) -> np.ndarray:
    return samples[round(between[0] * rate) : round(between[1] * rate)]


def _decibels(samples: np.ndarray, rate: int, between: tuple[float, float]) -> float:
    return float(10 * np.log10(max(np.square(_part(samples, rate, between), dtype=np.float64).mean(), 1e-12)))
