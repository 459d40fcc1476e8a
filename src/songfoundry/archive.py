"""Read arrays out of .npz files of our own that come from anywhere: nothing in them is run, and none unpacks to more than it may."""

import os
import zipfile
import zlib
from collections.abc import Set
from pathlib import Path

import numpy as np

from songfoundry.errors import InputError

__all__ = ["read_arrays"]


def read_arrays(file: str | os.PathLike, keys: Set[str], form: str, most: int, what: str, advice: str) -> dict[str, np.ndarray]:
    """Read the arrays of a file whose "format" says that it is one of ours.

    Parameters
    ----------
    keys : names of all arrays that it must hold, "format" among them; others are not looked at. form : what "format" must say.
    most : bytes that it may unpack to. what, advice : what was expected, and what to do, for the sentences.

    Raises
    ------
    InputError : no such file, one that is damaged or too large, or one that holds something else.
    """
    name = Path(file).name
    try:
        with zipfile.ZipFile(file) as archive:
            whole = sum(member.file_size for member in archive.infolist())
        if whole > most or os.path.getsize(file) > most:
            raise InputError(f"expected {what} of at most {most >> 20} MiB, {name} unpacks to {whole:,} bytes: {advice}")
        with np.load(file, allow_pickle=False) as found:
            values = {key: found[key] for key in keys & set(found.files)}
    except OSError as error:
        raise InputError(f"expected {what}, {name} cannot be read ({error.strerror or error}): check the path") from None
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, zlib.error):
        raise InputError(f"expected {what} (.npz), {name} is none or is damaged: {advice}") from None
    if set(values) != keys or values["format"].shape or str(values["format"]) != form:
        raise InputError(f"expected {what} of format {form}, {name} holds something else: {advice}")
    return values
