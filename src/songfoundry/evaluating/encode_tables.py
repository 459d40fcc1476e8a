"""Write an evaluation of encoders as tables."""

import math
from typing import Any

from songfoundry.evaluating.pages import Table, number

__all__ = ["tables"]

_DIGITS = {"mse": 4, "mae": 4, "cosine": 4, "lsd": 1, "mr_stft": 2, "si_sdr": 1, "pesq": 2, "stoi": 2}


def tables(evaluation) -> list[Table]:
    """List the tables: title, headings, rows of cells."""
    found = []
    for model, rows in evaluation.scores.items():
        cells = [
            [row, stem, str(scores["n"]), *(number(scores.get(key), digits) for key, digits in _DIGITS.items())]
            for stem in next(iter(rows.values())) for row, stems in rows.items() for scores in (stems[stem],)
        ]  # fmt: skip
        found.append((f"{model}: what comes back (higher is better: cosine, si_sdr, pesq, stoi)", ["row", "stem", "n", *_DIGITS], cells))
    for model, rows in evaluation.images.items():
        still = rows["mean frame"]
        cells = [
            [row, stem, str(scores["n"]), *(number(scores[key], 4) for key in ("mse", "mae", "cosine")),
             number(scores["mse"] / still[stem]["mse"] if still[stem]["mse"] else math.nan, 3)]
            for stem in still for row, stems in rows.items() for scores in (stems[stem],)
        ]  # fmt: skip
        head = ["row", "stem", "n", "mse", "mae", "cosine", "mse beside mean frame"]
        found.append((f"{model}: decoded images, before any inverse", head, cells))
    keys = list(dict.fromkeys(key for row in evaluation.latents.values() for key in row))
    cells = [[model, *(_plain(row.get(key)) for key in keys)] for model, row in evaluation.latents.items()]
    found.append(("Latents (active: variance of the mean above 0.01; dimensions: participation ratio)", ["model", *keys], cells))
    keys = list(dict.fromkeys(key for row in evaluation.speed.values() for key in row))
    cells = [[model, *(number(row.get(key), 1) for key in keys)] for model, row in evaluation.speed.items()]
    found.append((f"Speed on {evaluation.device}, multiples of real time", ["model", *keys], cells))
    cells = [[way, str(row["n"]), number(row["convergence"], 1), number(row["speed"], 1)] for way, row in evaluation.phases.items()]
    head = ["way", "n", "spectral convergence, dB (lower is better)", f"times real time, {evaluation.device}"]
    found.append((f"Phases for true magnitudes{_equal(evaluation.phases)}", head, cells))
    return found


def _equal(phases: dict[str, dict[str, float]]) -> str:
    """Say how much sooner PGHI is where Griffin-Lim 32 is after its 32 steps."""
    slow = phases.get("Griffin-Lim 32")
    enough = [row for way, row in phases.items() if way.startswith("PGHI") and slow and row["convergence"] <= slow["convergence"]]
    if not enough:
        return ""
    best = max(enough, key=lambda row: row["speed"])
    way = next(way for way, row in phases.items() if row is best)
    return f"; {way} is as near as Griffin-Lim 32 at {best['speed'] / slow['speed']:.1f} times its speed"


def _plain(value: Any) -> str:
    return number(value, 2) if isinstance(value, float) else "" if value is None else str(value)
