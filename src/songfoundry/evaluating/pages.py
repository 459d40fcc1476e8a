"""Put tables into Markdown pages, between markers, below the command that made them; and values into what JSON has."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from songfoundry.audio import io

__all__ = ["plain", "put_block", "write_markdown"]


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
