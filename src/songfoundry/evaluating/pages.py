"""Put tables into Markdown pages, between markers, below the command that made them; and values into what JSON has."""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from songfoundry.audio import io

__all__ = ["Table", "Tabled", "number", "plain", "put_block", "share", "tabled", "write_markdown"]

Table = tuple[str, list[str], list[list[str]]]
"""Title, headings, rows of cells."""


class Tabled(ABC):
    """Let a dataclass that holds an evaluation, sentences `about` it among them, be written: as plain values, and as its `tables`."""

    @abstractmethod
    def tables(self) -> list[Table]:
        """List the tables."""

    def as_json(self) -> dict[str, Any]:
        """Give plain values for a JSON file; None where a figure has no finite value."""
        return plain(asdict(self))

    def as_markdown(self) -> str:
        """Write everything as Markdown."""
        return tabled(self.about, self.tables())


def write_markdown(evaluation, path: str | os.PathLike, title: str, command: str) -> None:
    """Put an evaluation's tables (what its `as_markdown` gives), below the command that made them, into a Markdown file."""
    put_block(path, title, f"`{command}`\n\n{evaluation.as_markdown()}")


def put_block(path: str | os.PathLike, title: str, body: str) -> None:
    """Put text between the markers of a title in a Markdown file; where they are not, add the title and them at the end."""
    begin, end = f"<!-- begin {title} -->", f"<!-- end {title} -->"
    block = f"{begin}\n{body.strip()}\n{end}"
    file = Path(path)
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if begin in text and end in text:
        text = text[: text.index(begin)] + block + text[text.index(end) + len(end) :]
    else:
        text = f"{text.rstrip()}\n\n## {title}\n\n{block}\n".lstrip()
    io.write_atomic_text(file, text)


def plain(value: Any) -> Any:
    """Turn a value, with all that it holds, into what JSON has: numpy's into Python's, and what is no finite number into None."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def tabled(sentences: Iterable[str], tables: Iterable[Table]) -> str:
    """Write sentences, and tables below them, as Markdown."""
    lines = [*sentences, ""]
    for title, head, rows in tables:
        lines += [f"**{title}**", "", _line(head), _line(["---", *["---:"] * (len(head) - 1)]), *map(_line, rows), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def number(value: float | None, digits: int = 2) -> str:
    """Write a number for a cell: nothing for None, "none" for what is not finite."""
    if value is None:
        return ""
    return f"{value:.{digits}f}" if math.isfinite(value) else "none"


def share(value: float) -> str:
    """Write a share in per cent; nothing where it could not be told. 100 and 0 stand for all and none."""
    if math.isnan(value):
        return ""
    text = f"{100 * value:.0f} %"
    return f"{100 * value:.1f} %" if text in ("100 %", "0 %") and value not in (0.0, 1.0) else text
