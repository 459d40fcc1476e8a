"""Find folders of data where a user or the variable SONGFOUNDRY_DATA says, and choose by name from what they hold."""

import os
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from songfoundry.errors import DatasetError

__all__ = ["data_root", "folder_of", "missing", "named_like", "place_of"]

Named = TypeVar("Named")


def data_root() -> Path | None:
    """Return the folder that the variable SONGFOUNDRY_DATA names, if any."""
    root = os.environ.get("SONGFOUNDRY_DATA")
    return Path(root) if root else None


def place_of(path: str | os.PathLike) -> Path:
    """Give a path as it is; a relative one that does not exist here, below SONGFOUNDRY_DATA."""
    place, root = Path(path).expanduser(), data_root()
    return root / place if root is not None and not place.exists() and not place.is_absolute() else place


def folder_of(path: str | os.PathLike, what: str, check: str = "the path") -> Path:
    """Find a folder as `place_of` does; ``what`` it is to be of, and what to ``check``, go into the sentence.

    Raises
    ------
    DatasetError : no such folder.
    """
    place = place_of(path)
    if not place.is_dir():
        raise missing(f"a folder of {what}", path, check)
    return place


def missing(what: str, path: str | os.PathLike, check: str = "the path") -> DatasetError:
    """Make the error for a place that is not there."""
    hint = "" if data_root() else " (the variable SONGFOUNDRY_DATA is not set)"
    return DatasetError(f"expected {what} at {path}, found none{hint}: check {check}")


def named_like(found: list[Named], include: Iterable[str], what: str, path: Path) -> list[Named]:
    """Choose of what a folder holds, one thing or more, each with a ``name``, those whose name matches a shell pattern.

    Raises
    ------
    DatasetError : none does.
    """
    include = list(include)
    kept = [one for one in found if any(fnmatch(one.name, pattern) for pattern in include)]
    if not kept:
        raise DatasetError(
            f"expected {what} in {path} whose name matches {' or '.join(map(repr, include))}, found none among {len(found)} "
            f"such as {found[0].name!r}: mend the pattern"
        )
    return kept
