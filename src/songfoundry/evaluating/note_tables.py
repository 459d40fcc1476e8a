"""Write an evaluation of notes as tables."""

import math
from typing import Any

from songfoundry.evaluating.pages import Table, number, share

__all__ = ["tables"]


def tables(evaluation) -> list[Table]:
    """List the tables: title, headings, rows of cells. Every row says of how many notes, or pairs of notes, its figures are."""
    found = []
    head = [
        "row", "n", "pitch, by the judge", "within 50 cents (YIN)", "within 20 cents", "median cents", "instrument, by the judge",
        "entropy of one instrument, nats", "of all",
    ]  # fmt: skip
    rows = [
        [
            name, str(row["n"]), *(share(row[key]) for key in ("pitch", "within 50", "within 20")), number(row["median cents"], 1),
            share(row["instrument"]), number(row["entropy"]), number(row["entropy over all"]),
        ]
        for name, row in evaluation.asked.items()
    ]  # fmt: skip
    found.append(("Heard as it was asked for", head, rows))
    head = [
        "row", "n", "Fréchet distance", "floor", "NDB/k", "floor", "precision", "recall", "their floor", "diversity in an instrument",
        "of real notes", "nearest training note, dB", "to that of real notes", "the smallest, dB", "nearer than all but 1 % of real notes",
    ]  # fmt: skip
    rows = [_alike(name, row) for name, row in evaluation.alike.items()]
    found.append(("Like real notes of the same pitches and instruments, in the judge's features", head, rows))
    rows = [
        [name, str(row["pairs"]), number(row["same"]), number(row["other"]), number(_ratio(row["same"], row["other"]))]
        for name, row in evaluation.timbre.items()
    ]
    head = ["row", "pairs", "one latent", "two latents", "ratio"]
    title = "Same latent at other pitches: distance in features of notes up to an octave apart (real: of one instrument)"
    found.append((title, head, rows))
    head = ["row", "n", "median largest jump", "largest", "beyond real notes", "median largest rise, dB", "largest", "beyond real notes"]
    rows = [
        [
            name, str(row["n"]), number(row["median"]), number(row["largest"]), str(row["clicks"]), number(row["median burst"], 1),
            number(row["largest burst"], 1), str(row["bursts"]),
        ]
        for name, row in evaluation.flaws.items()
    ]  # fmt: skip
    title = "Clicks (steps between samples, peak 1) and bursts (rises in all bands at once), beyond those of real notes within 6 semitones"
    found.append((title, head, rows))
    head = ["row", "instruments", "n", "told among all", "among these", "within 50 cents", "within 20 cents", "clicks", "bursts"]
    rows = [
        [
            name, ", ".join(row["instruments"]), str(row["n"]),
            *(share(row[key]) for key in ("told among all", "told among these", "within 50", "within 20")), str(row["clicks"]),
            str(row["bursts"]),
        ]
        for name, row in evaluation.scales.items()
    ]  # fmt: skip
    if rows:
        found.append(("Chromatic scales of 13 notes, four latents", head, rows))
    head = ["row", "n", "level at 5 s, beside 0.5 to 1 s, dB", "lowest", "more than 20 dB down", "clicks", "median cents"]
    rows = [
        [
            name, str(row["n"]), number(row["median"], 1), number(row["lowest"], 1), str(row["gone"]), str(row["clicks"]),
            number(row["median cents"], 1),
        ]
        for name, row in evaluation.held.items()
    ]  # fmt: skip
    if rows:
        found.append(("Notes held for 6 s", head, rows))
    rows = [[name, str(row["n"]), number(row["cpu seconds a second"], 3)] for name, row in evaluation.speed.items()]
    if rows:
        found.append(("Real-time factor: seconds of one core for a second of sound", ["row", "n", "factor"], rows))
    return found


def _alike(name: str, row: dict[str, Any]) -> list[str]:
    def floor(key: str, digits: int = 2) -> str:
        return number(row[f"floor of {key}"], digits) if f"floor of {key}" in row else ""

    below = f"{row['floor of ndb']}/{row['bins']}" if "floor of ndb" in row else ""
    both = " / ".join(filter(None, (floor("precision"), floor("recall"))))
    return [
        name, str(row["n"]), number(row["frechet"], 1), floor("frechet", 1), f"{row['ndb']}/{row['bins']}", below,
        number(row["precision"]), number(row["recall"]), both, number(row["diversity"]), floor("diversity"),
        number(row["nearest"], 1), number(row["memorised"]), number(row["closest"], 1), share(row["too near"]),
    ]  # fmt: skip


def _ratio(value: float, other: float) -> float:
    return value / other if other else math.nan
