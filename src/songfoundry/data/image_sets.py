"""Read sets of pictures: IDX files as those of MNIST (packed by gzip or not), folders of picture files, digits made by code."""

import gzip
import hashlib
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from songfoundry import pictures
from songfoundry.data import digits
from songfoundry.data.places import folder_of
from songfoundry.errors import DatasetError, InputError

__all__ = ["SPLITS", "Images", "find_images", "made_images", "read_idx"]

SPLITS = ("train", "valid", "test")
MOST_BYTES = 1 << 32
"""Of pixels of one set: they are kept in memory."""
_VALID = 12
"""One in so many training images is held out where a set names no validation part."""


@dataclass(frozen=True)
class Images:
    """Hold pictures: `pixels` uint8 (n, channels, size, size), `labels` int64 (n,), places in `classes`."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, chosen) -> "Images":
        """Take some of them."""
        return Images(self.pixels[chosen], self.labels[chosen])


def find_images(
    path: str, kind: str, size: int, channels: int, progress: Callable[[float], None] | None = None
) -> tuple[dict[str, Images], tuple[str, ...]]:
    """Read a set of pictures, by split, and the names of its classes.

    Parameters
    ----------
    path : a folder; a relative one that does not exist here is looked for below SONGFOUNDRY_DATA.
    kind : "idx" (files NAME-images-idx3-ubyte and NAME-labels-idx1-ubyte, of the test part where NAME says t10k or test), "folder"
        (train/CLASS/*.png, or CLASS/*.png, which are split by their names; without folders of classes there is one class), or "auto".
    size, channels : of each picture; 1 is grey, 3 red, green, blue.

    Raises
    ------
    DatasetError : no such folder, none of these in it, or a damaged file. MissingExtraError : as `pictures.read`.
    """
    folder = folder_of(path, "pictures", "data.path")
    files = sorted(file for file in folder.iterdir() if "idx3-ubyte" in file.name and file.is_file())
    if kind == "idx" or kind == "auto" and files:
        if not files:
            raise DatasetError(f"expected files such as train-images-idx3-ubyte.gz in {folder}, found none: check data.path and data.kind")
        return _of_idx(files, size, channels)
    return _of_folder(folder, size, channels, progress)


def read_idx(path: str | os.PathLike, dimensions: int) -> np.ndarray:
    """Read an IDX file of bytes, packed by gzip or not: uint8 of that many dimensions.

    Raises
    ------
    DatasetError : it cannot be read, is no such file, or is not as long as its header says.

    Reference
    ---------
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section FILE FORMATS.
    """
    name, advice = Path(path).name, "copy the file again"
    header = 4 + 4 * dimensions
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file = gzip.GzipFile(fileobj=raw) if packed else raw
            head = file.read(header)
            if len(head) < header or head[:3] != b"\x00\x00\x08" or head[3] != dimensions:
                raise DatasetError(f"expected an IDX file of bytes in {dimensions} dimensions in {name}, found another beginning: {advice}")
            shape = [int.from_bytes(head[4 * k + 4 : 4 * k + 8], "big") for k in range(dimensions)]
            size = math.prod(shape)
            if size > MOST_BYTES:
                raise DatasetError(f"expected at most {MOST_BYTES} bytes in {name}, found {size} by its header: {advice}")
            # No more than the header promises is unpacked, however long the file goes on.
            data = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DatasetError(f"expected a whole gzip file in {name}, found it cut short or damaged: {advice}") from None
    except OSError as error:
        raise DatasetError(f"expected to read {name}, found: {error.strerror or error}; check the path") from None
    if len(data) != size:
        found = f"{len(data)} bytes" if len(data) < size else "more"
        raise DatasetError(f"expected {size} bytes after the header of {name}, found {found}: {advice}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _of_idx(files: list[Path], size: int, channels: int) -> tuple[dict[str, Images], tuple[str, ...]]:
    if channels != 1:
        raise DatasetError(f"expected data.channels = 1 for IDX files, which are grey, found {channels}: change it")
    parts: dict[str, list[Images]] = {}
    for file in files:
        pixels = read_idx(file, 3)
        labelled = file.with_name(file.name.replace("images", "labels").replace("idx3", "idx1"))
        if labelled == file or not labelled.is_file():
            raise DatasetError(f"expected the labels of {file.name} in {labelled.name}, found no such file: put it there")
        labels = read_idx(labelled, 1)
        if len(labels) != len(pixels):
            raise DatasetError(f"expected as many labels as images in {file.name}, found {len(labels)} and {len(pixels)}: copy both again")
        split = next((name for name in ("test", "valid") if name in file.name.lower()), "test" if "t10k" in file.name else "train")
        parts.setdefault(split, []).append(Images(_padded(pixels, size, file.name)[:, None], labels.astype(np.int64)))
    found = {
        split: Images(*(np.concatenate(column) for column in zip(*((p.pixels, p.labels) for p in some), strict=True)))
        for split, some in parts.items()
    }
    count = max((int(part.labels.max(initial=-1)) for part in found.values()), default=-1) + 1
    return _with_valid(found, files[0].parent), tuple(map(str, range(max(count, 1))))


def _padded(pixels: np.ndarray, size: int, name: str) -> np.ndarray:
    """Put images into the middle of black squares of a size that is theirs or larger."""
    height, width = pixels.shape[1:]
    if max(height, width) > size:
        raise DatasetError(f"expected images of at most {size} x {size} pixels in {name}, found {height} x {width}: raise data.size")
    top, left = (size - height) // 2, (size - width) // 2
    return np.pad(pixels, ((0, 0), (top, size - height - top), (left, size - width - left)))


def _with_valid(found: dict[str, Images], folder: Path) -> dict[str, Images]:
    """Hold the end of the training images out, where a set names no validation part."""
    if not len(found.get("train", ())):
        raise DatasetError(f"expected images for training in {folder}, found none: check data.path")
    if "valid" not in found and len(found["train"]) > 1:
        whole = found["train"]
        cut = len(whole) - max(1, len(whole) // _VALID)
        found |= {"train": whole.part(slice(cut)), "valid": whole.part(slice(cut, None))}
    return found


def _of_folder(
    folder: Path, size: int, channels: int, progress: Callable[[float], None] | None
) -> tuple[dict[str, Images], tuple[str, ...]]:
    roots = {name: folder / name for name in SPLITS if (folder / name).is_dir()} or {"": folder}
    listed = [
        (split or _split_of(file.relative_to(root)), file.relative_to(root).parts[0] if file.parent != root else "image", file)
        for split, root in roots.items()
        for file in sorted(root.rglob("*"))
        if file.suffix.lower() in pictures.SUFFIXES and not file.name.startswith(".")
    ]
    if not listed:
        raise DatasetError(f"expected pictures or IDX files in {folder}, found none: check data.path")
    if len(listed) * channels * size * size > MOST_BYTES:
        raise DatasetError(f"expected at most {MOST_BYTES} bytes of pixels in {folder}, found {len(listed)} files: lower data.size")
    classes = tuple(sorted({name for _, name, _ in listed}))
    pixels = np.zeros((len(listed), channels, size, size), np.uint8)
    for number, (_, _, file) in enumerate(listed):
        try:
            pixels[number] = pictures.read(file, size, channels)
        except InputError as error:
            raise DatasetError(str(error)) from None
        if progress:
            progress((number + 1) / len(listed))
    labels = np.array([classes.index(name) for _, name, _ in listed], np.int64)
    splits = np.array([split for split, _, _ in listed])
    whole = Images(pixels, labels)
    found = {split: whole.part(splits == split) for split in SPLITS if (splits == split).any()}
    return _with_valid(found, folder), classes


def _split_of(name: Path) -> str:
    """Choose a split by a picture's name: 80 % train, 10 % valid, 10 % test."""
    share = int(hashlib.md5(name.as_posix().encode(), usedforsecurity=False).hexdigest(), 16) % 10
    return {0: "test", 1: "valid"}.get(share, "train")


@cache
def made_images(count: int, size: int) -> tuple[dict[str, Images], tuple[str, ...]]:
    """Draw digits by code: `count` for training, a quarter as many (at least one of each) for validation, and for the test."""
    found, first = {}, 0
    for split in SPLITS:
        number = count if split == "train" else max(len(digits.CLASSES), count // 4)
        labels = np.arange(number, dtype=np.int64) % len(digits.CLASSES)
        found[split] = Images(np.stack([digits.digit(int(label), first + n, size) for n, label in enumerate(labels)]), labels)
        first += number
    return found, digits.CLASSES
