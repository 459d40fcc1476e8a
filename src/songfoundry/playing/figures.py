"""Save figures as pictures, whatever names stand in them, and never half a file."""

import io
import os
import warnings

from songfoundry.audio.atomic import write_atomic_bytes

__all__ = ["save"]


def save(figure, path: str | os.PathLike | None = None) -> bytes:
    """Give a matplotlib figure as png bytes, the same for the same figure, and write them to a file if one is named.

    Raises
    ------
    OutputError : the file cannot be written.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name may hold characters that the font does not have: a box stands for them.
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(buffer, format="png", metadata={"Software": None})
    if path is not None:
        write_atomic_bytes(path, buffer.getvalue())
    return buffer.getvalue()
