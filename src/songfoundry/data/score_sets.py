"""Find collections of MIDI files and say of each piece what it may be used for: split, licence, style.

A collection is an archive that an `index.json` beside it describes, or any folder of MIDI files. The splits of an index are
binding; in a folder the hash of a file's bytes decides, so that copies of a file never stand on both sides.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

from songfoundry.data.places import missing, place_of
from songfoundry.errors import DatasetError

SPLITS = ("train", "valid", "test")
PERMISSIVE = ("MIT", "BSD-3-Clause", "CC BY 4.0", "CC-BY-4.0", "CC0", "CC0-1.0", "public domain")
"""The licences that the word `permissive` in a recipe stands for. What states none (JSB) must be named with its own words."""
MIDI_SUFFIXES = {".mid", ".midi"}

# What of a collection's music is known beforehand: the style it is a model of. Others are "other".
STYLE_OF = {
    "pop909": "pop", "nottingham": "folk", "jsb": "chorale", "maestro": "piano", "multitrack": "band", "groove": "drums",
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """Name a piece: `place` is the archive or file, `member` what of it, `facts` what the index says."""

    name: str
    collection: str
    split: str
    licence: str
    style: str
    place: Path
    member: str
    facts: dict = field(default_factory=dict, hash=False, compare=False)


@dataclass(frozen=True)
class Collection:
    """Hold a collection: its pieces in a steady order, and a mark that changes with its content."""

    name: str
    path: Path
    pieces: tuple[Piece, ...]
    mark: str

    def part(self, split: str) -> list[Piece]:
        """List the pieces of a split."""
        return [piece for piece in self.pieces if piece.split == split]


def find_collection(path: str | os.PathLike) -> Collection:
    """Open a collection: a zip archive with an index beside it, or a folder of MIDI files.

    Parameters
    ----------
    path : a relative one that does not exist here is looked for below SONGFOUNDRY_DATA.

    Raises
    ------
    DatasetError : no such place, no index that describes it, or no MIDI files in it.
    """
    place = place_of(path)
    if not place.exists():
        raise missing("a folder of MIDI files, or an archive,", path)
    place = place.resolve()
    if place.is_dir():
        return _folder(place)
    beside = (place, *_beside(place))
    return _archive(place, tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in beside if file.exists()))


def _beside(place: Path) -> tuple[Path, Path]:
    """Name the files that belong to an archive: its index and its beats."""
    return place.parent / "index.json", place.with_name(f"{place.stem}_beats.zip")


def allowed(name: str, licence: str, include: Iterable[str], licences: Iterable[str]) -> bool:
    """Tell whether a piece's name matches a shell pattern and its licence is among those; no licences named: any."""
    wanted = {one.lower() for word in licences for one in (PERMISSIVE if word == "permissive" else (word,))}
    return (not wanted or licence.lower() in wanted) and any(fnmatch(name, pattern) for pattern in include)


@lru_cache(maxsize=16)
def _archive(place: Path, _changed: tuple) -> Collection:
    index, beats = _beside(place)
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))["datasets"]
        name, about = next((name, about) for name, about in entries.items() if about["file"] == place.name)
        pieces = tuple(
            Piece(
                f"{name}/{entry.get('id') or Path(entry['path']).with_suffix('')}", name, _split(entry["split"]),
                entry.get("licence", about["licence"]), STYLE_OF.get(name, "other"), place, entry.get("path", entry.get("id", "")), entry,
            )
            for entry in about["items"]
        )  # fmt: skip
    except StopIteration:
        raise DatasetError(f"expected an entry for {place.name} in {index}, found none: name another archive, or unpack it") from None
    except OSError as error:
        raise DatasetError(
            f"expected an index of the archive at {index}, found none that can be read ({error.strerror}): restore it, or unpack "
            "the archive and name the folder"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"expected an index of pieces with splits in {index}, found something else ({error}): mend it") from None
    marks = [_hash(file) for file in (place, beats) if file.exists()]
    # The index decides splits, keys and metres, so it belongs to the content.
    marks.append(hashlib.sha1(json.dumps(about, sort_keys=True).encode()).hexdigest())
    return Collection(name, place, pieces, hashlib.sha1("".join(marks).encode()).hexdigest())


def _split(name: str) -> str:
    """Check the name of a split."""
    if name not in SPLITS:
        raise ValueError(f"split {name!r}")
    return name


def _hash(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha1").hexdigest()


def _folder(place: Path) -> Collection:
    pieces, marks = [], []
    for folder, folders, names in os.walk(place, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if name.startswith(".") or file.suffix.lower() not in MIDI_SUFFIXES or not file.is_file():
                continue
            digest = _hash(file)
            share = int(digest, 16) % 100
            split = "train" if share < 90 else "valid" if share < 95 else "test"
            inside = file.relative_to(place)
            marks.append(f"{inside}:{digest}")
            pieces.append(
                Piece(f"{place.name}/{inside.with_suffix('').as_posix()}", place.name, split, "not stated", "other", file, "")
            )
    if not pieces:
        raise DatasetError(f"expected MIDI files (.mid, .midi) in {place}, found none: point at the folder that holds them")
    return Collection(place.name, place, tuple(pieces), hashlib.sha1("\n".join(marks).encode()).hexdigest())
