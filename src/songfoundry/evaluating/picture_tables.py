"""Write an evaluation of pictures as tables."""

from typing import Any

from songfoundry.evaluating.pages import Table, number

__all__ = ["tables"]

_HEAD = [
    "n", "Fréchet distance (lower is better)", "its floor", "kernel distance x 1000 (lower is better)", "precision", "recall", "as asked",
]  # fmt: skip


def tables(evaluation) -> list[Table]:
    """List the tables: title, headings, rows of cells."""
    head = ["row", *_HEAD, "entropy of classes, nats", "nearest training image, beside test images'", "seconds a picture"]
    rows = [
        [name, *_cells(row), number(row["entropy"]), _copies(row), number(row.get("seconds"), 4)]
        for name, row in evaluation.pictures.items()
    ]
    found = [("Pictures beside the test images, in the judge's features", head, rows)]
    if evaluation.steps:
        head = ["model, sampler, steps", *_HEAD, "evaluations of the net", "seconds a picture"]
        rows = [[name, *_cells(row), str(row["evaluations"]), number(row["seconds"], 4)] for name, row in evaluation.steps.items()]
        found.append(("Steps against quality and time", head, rows))
    return found


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        str(row["n"]), number(row["frechet"], 3), number(row.get("floor"), 3), number(1000 * row["kid"]), number(row["precision"]),
        number(row["recall"]), "" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f} %",
    ]  # fmt: skip


def _copies(row: dict[str, Any]) -> str:
    return f"{number(row['memorised'])} (n = {row['copies']})" if "memorised" in row else ""
