"""Put tables into Markdown pages, between markers, below the command that made them."""

import os
from pathlib import Path

from songfoundry.audio import io

__all__ = ["put_block", "write_markdown"]


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
