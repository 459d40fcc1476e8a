"""Write an evaluation of pictures as tables."""

from typing import Any

from songfoundry.evaluating.pages import Table, number

__all__ = ["tables"]

_HEAD = [
    "n", "Fréchet distance (lower is better)", "its floor", "kernel distance x 1000 (lower is better)", "precision", "recall", "as asked",
]  # fmt: skip


def tables(evaluation) -> list[Table]:
    """List the tables: title, headings, rows of cells."""
    beside = f"nearest training image, beside {evaluation.split} images'"
    head = ["row", *_HEAD, "entropy of classes, nats", beside, "seconds a picture"]
    rows = [
        [name, *_cells(row), number(row["entropy"]), _copies(row), number(row.get("seconds"), 4)]
        for name, row in evaluation.pictures.items()
    ]
    found = [(f"Pictures beside the {evaluation.split} images, in the judge's features", head, rows)]
    for first, title, table in (
        ("model, sampler, steps", "Steps against quality and time", evaluation.steps),
        ("model, guidance", "Guidance against quality and time", evaluation.guidance),
    ):
        if table:
            head = [first, *_HEAD, "evaluations of the net", "seconds a picture"]
            rows = [[name, *_cells(row), str(row["evaluations"]), number(row["seconds"], 4)] for name, row in table.items()]
            found.append((title, head, rows))
    return found


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        str(row["n"]), number(row["frechet"], 3), number(row.get("floor"), 3), number(1000 * row["kid"]), number(row["precision"]),
        number(row["recall"]), "" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f} %",
    ]  # fmt: skip


def _copies(row: dict[str, Any]) -> str:
    return f"{number(row['memorised'])} (n = {row['copies']})" if "memorised" in row else ""
