"""Save figures as pictures, whatever names stand in them, and never half a file."""

import io
import os
import warnings

from songfoundry.audio.atomic import write_atomic_bytes
from songfoundry.errors import MissingExtraError

__all__ = ["blank", "save"]


def blank(what: str, extra: str = "midi", **options):
    """Make an empty matplotlib figure to draw ``what`` on; ``options`` as of `matplotlib.figure.Figure`.

    Raises
    ------
    MissingExtraError : matplotlib is not installed; the ``extra`` brings it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            f"expected the package matplotlib to draw {what}, found none: install it with `pip install songfoundry[{extra}]`"
        ) from error
    return Figure(**options)


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
