"""Write small pictures (PNG, animated GIF), lay them in a grid, and read those of a user: the only code of picture files.

Writing needs no other package; reading does (Pillow, which matplotlib brings along).
"""

import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from songfoundry.errors import InputError, MissingExtraError

__all__ = ["MOST_PIXELS", "SUFFIXES", "animation", "grid", "levels", "png", "read"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
"""Names of picture files that are looked for in folders."""
MOST_PIXELS = 64 << 20
"""A picture of more pixels is not read: a small file can claim any number."""
_CODES = 4096
"""Codes that a GIF's dictionary may hold."""


def levels(images: np.ndarray) -> np.ndarray:
    """Turn pixels from -1 (black) to 1 (white), float of any shape, into uint8 0 to 255."""
    return np.clip(np.rint((np.asarray(images, np.float64) + 1) * 127.5), 0, 255).astype(np.uint8)


def grid(images: np.ndarray, gap: int = 2) -> np.ndarray:
    """Lay images in a square, row by row, `gap` black pixels around each: uint8 (n, channels, height, width) -> (H, W) or (H, W, 3).

    Places that are left over stay black.
    """
    count, channels, height, width = images.shape
    side = math.ceil(math.sqrt(count))
    page = np.zeros((channels, side * (height + gap) + gap, side * (width + gap) + gap), np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, side)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        page[:, top : top + height, left : left + width] = image
    return page[0] if channels == 1 else page.transpose(1, 2, 0)


def png(pixels: np.ndarray) -> bytes:
    """Write a picture as PNG: uint8 (height, width), grey, or (height, width, 3), red, green, blue.

    Reference: Portable Network Graphics, second edition, sections 5 (chunks) and 11.2 (IHDR, IDAT, IEND).
    """
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    # Each row begins with its filter: 0, none.
    raw = np.concatenate((np.zeros((height, 1), np.uint8), rows), 1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(raw, 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def animation(frames: Sequence[np.ndarray], seconds: float = 0.1, hold: float = 2.0) -> bytes:
    """Write frames as an animated GIF that goes round for ever: uint8 (height, width) or (height, width, 3) each, all of one shape.

    Colours are rounded to 6 levels a channel; greys keep all 256.

    Parameters
    ----------
    seconds : of each frame. hold : of the last one.

    Reference: Graphics Interchange Format, version 89a, with the application extension NETSCAPE2.0.
    """
    height, width = frames[0].shape[:2]
    grey = frames[0].ndim == 2
    steps = np.arange(256)
    colours = np.stack((steps, steps, steps), 1) if grey else 51 * np.stack((steps // 36 % 6, steps // 6 % 6, steps % 6), 1)
    parts = [b"GIF89a", struct.pack("<HHBBB", width, height, 0xF7, 0, 0), colours.astype(np.uint8).tobytes()]
    parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
    for number, frame in enumerate(frames):
        places = frame if grey else (np.rint(frame / 51).astype(np.uint8) @ np.array([36, 6, 1])).astype(np.uint8)
        shown = hold if number == len(frames) - 1 else seconds
        parts.append(b"\x21\xf9\x04\x04" + struct.pack("<H", round(100 * shown)) + b"\x00\x00")
        parts.append(b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08")
        packed = _lzw(places.tobytes())
        blocks = [packed[start : start + 255] for start in range(0, len(packed), 255)]
        parts += [bytes([len(block)]) + block for block in blocks] + [b"\x00"]
    return b"".join([*parts, b"\x3b"])


def _lzw(data: bytes) -> bytes:
    """Compress bytes as a GIF wants it: Lempel-Ziv-Welch, codes of 9 bits and more, low bits first (GIF 89a, appendix F)."""
    clear, end = 256, 257
    single = {bytes([value]): value for value in range(256)}
    known, size = dict(single), 9
    buffer, filled, out = clear, size, bytearray()

    def put(code: int) -> None:
        nonlocal buffer, filled
        buffer |= code << filled
        filled += size
        while filled >= 8:
            out.append(buffer & 255)
            buffer >>= 8
            filled -= 8

    word = b""
    for value in data:
        longer = word + bytes([value])
        if longer in known:
            word = longer
            continue
        put(known[word])
        # Codes 256 and 257 are taken, so the next free one is two above the number of words.
        if len(known) + 2 < _CODES:
            known[longer] = len(known) + 2
            size += len(known) + 1 >> size
        else:
            put(clear)
            known, size = dict(single), 9
        word = bytes([value])
    put(known[word])
    put(end)
    if filled:
        out.append(buffer & 255)
    return bytes(out)


def read(path: str | os.PathLike, size: int, channels: int = 1) -> np.ndarray:
    """Read a picture: the largest square in its middle, `size` pixels a side, uint8 (channels, size, size), grey or red, green, blue.

    Raises
    ------
    InputError : it is no picture that can be read, or has too many pixels. MissingExtraError : Pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError(
            "expected the package Pillow for reading pictures, found none: pip install 'songfoundry[train]' brings it"
        ) from None
    name = Path(path).name
    try:
        with Image.open(path) as opened:
            if math.prod(opened.size) > MOST_PIXELS:
                raise InputError(
                    f"expected at most {MOST_PIXELS} pixels in {name}, found {opened.size[0]} x {opened.size[1]}: make it smaller"
                )
            whole = opened.convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "it is cut short or no picture" if not isinstance(error, FileNotFoundError) else "there is no such file"
        raise InputError(f"expected a picture in {name}, found that it cannot be read ({reason}): remove it or copy it again") from None
    side = min(whole.size)
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    finer = Image.Resampling.BOX if side > size else Image.Resampling.BICUBIC
    square = whole.crop((left, top, left + side, top + side)).resize((size, size), finer)
    pixels = np.asarray(square, np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
