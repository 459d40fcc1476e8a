"""Write an evaluation of pictures as tables."""

import math
from typing import Any

__all__ = ["markdown", "tables"]

_HEAD = [
    "n", "Fréchet distance (lower is better)", "its floor", "kernel distance x 1000 (lower is better)", "precision", "recall", "as asked",
]  # fmt: skip


def tables(evaluation) -> list[tuple[str, list[str], list[list[str]]]]:
    """List the tables: title, headings, rows of cells."""
    head = ["row", *_HEAD, "entropy of classes, nats", "nearest training image, beside test images'", "seconds a picture"]
    rows = [
        [name, *_cells(row), _number(row["entropy"]), _copies(row), _number(row.get("seconds"), 4)]
        for name, row in evaluation.pictures.items()
    ]
    found = [("Pictures beside the test images, in the judge's features", head, rows)]
    if evaluation.steps:
        head = ["model, sampler, steps", *_HEAD, "evaluations of the net", "seconds a picture"]
        rows = [[name, *_cells(row), str(row["evaluations"]), _number(row["seconds"], 4)] for name, row in evaluation.steps.items()]
        found.append(("Steps against quality and time", head, rows))
    return found


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        str(row["n"]), _number(row["frechet"], 3), _number(row.get("floor"), 3), _number(1000 * row["kid"]), _number(row["precision"]),
        _number(row["recall"]), "" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f} %",
    ]  # fmt: skip


def _copies(row: dict[str, Any]) -> str:
    return f"{_number(row['memorised'])} (n = {row['copies']})" if "memorised" in row else ""


def _number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" if math.isfinite(value) else "none"


def markdown(evaluation) -> str:
    """Write everything as Markdown."""
    lines = [*evaluation.about, ""]
    for title, head, rows in tables(evaluation):
        lines += [f"**{title}**", "", _line(head), _line(["---", *["---:"] * (len(head) - 1)]), *map(_line, rows), ""]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
