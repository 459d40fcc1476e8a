"""Write WAV headers, and mend in passing the WAV headers that lie about their length.

The header is written here rather than by a library because only the end of a stream knows whether it passed 4 GiB: 36
bytes are kept free at the start, and `header` fills them with an RF64 ``ds64`` chunk when it did.

Reference: EBU Tech 3306 (RF64); Microsoft's Multichannel Audio (WAVE_FORMAT_EXTENSIBLE).
"""

import io
import os
import struct
from collections.abc import Iterator

_INFO = {
    "title": b"INAM",
    "artist": b"IART",
    "album": b"IPRD",
    "comment": b"ICMT",
    "date": b"ICRD",
    "genre": b"IGNR",
    "tracknumber": b"ITRK",
    "copyright": b"ICOP",
    "software": b"ISFT",
}
_BYTES = {"int16": 2, "int24": 3, "float32": 4}
# speaker positions by channel count: front left and right, centre, low frequency, back pair, side pair
_MASKS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x13F, 8: 0x63F}
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_MAX_RIFF = 2**32 - 1
_STREAMED = ((0x7FFF0000, 0x80010000), (0xFFFF0000, _MAX_RIFF))
"""Data sizes from which to which nobody knew the length: programs write the largest signed or unsigned one, or a little less."""
_MAX_CHUNKS = 1000  # a file of nothing but empty chunks would be walked for minutes


def header(rate: int, channels: int, depth: str, frames: int, tags: dict[str, str]) -> bytes:
    """Return all the bytes of a WAV (or, above 4 GiB, RF64) file before its samples.

    The length of the header depends only on ``channels``, ``depth`` and ``tags``, so that it can be written again over
    itself when ``frames`` is known.

    Args:
        rate: Hz.
        channels: number of interleaved channels.
        depth: ``int16``, ``int24`` or ``float32``.
        frames: samples per channel.
        tags: text by the names of `songfoundry.audio.writing.TAGS`; ``license`` has no place in a WAV.
    """
    width = _BYTES[depth]
    code = 3 if depth == "float32" else 1
    body = struct.pack("<HIIHH", channels, rate, rate * channels * width, channels * width, width * 8)
    if channels > 2:
        body = struct.pack("<H", 0xFFFE) + body
        body += struct.pack("<HHIH", 22, width * 8, _MASKS.get(channels, 0), code) + _GUID_TAIL
    else:
        body = struct.pack("<H", code) + body + (b"\0\0" if code == 3 else b"")
    chunks = _chunk(b"fmt ", body)
    if code == 3 or channels > 2:
        chunks += _chunk(b"fact", struct.pack("<I", min(frames, _MAX_RIFF)))
    items = b"".join(_chunk(_INFO[k], v.encode() + b"\0") for k, v in tags.items() if k in _INFO and v)
    if items:
        chunks += _chunk(b"LIST", b"INFO" + items)
    size = frames * channels * width
    before = 12 + 36 + len(chunks) + 8
    riff = before - 8 + size + size % 2
    if riff <= _MAX_RIFF:
        start = b"RIFF" + struct.pack("<I", riff) + b"WAVE" + _chunk(b"JUNK", bytes(28))
        return start + chunks + b"data" + struct.pack("<I", size)
    sizes = struct.pack("<QQQI", riff, size, frames, 0)
    start = b"RF64" + struct.pack("<I", _MAX_RIFF) + b"WAVE" + _chunk(b"ds64", sizes)
    return start + chunks + b"data" + struct.pack("<I", _MAX_RIFF)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


class Patched(io.RawIOBase):
    """Read a file with some of its first bytes replaced, the file itself untouched."""

    def __init__(self, path: str | os.PathLike, patches: list[tuple[int, bytes]]) -> None:
        self._file = open(path, "rb")
        self._patches = patches

    def readable(self) -> bool:
        """Say that reading works."""
        return True

    def seekable(self) -> bool:
        """Say that seeking works."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._file.tell()

    def readinto(self, buffer) -> int:
        """Read into a buffer, patched where a patch falls in."""
        at = self._file.tell()
        count = self._file.readinto(buffer)
        view = memoryview(buffer).cast("B")
        for offset, data in self._patches:
            for i in range(max(offset, at), min(offset + len(data), at + count)):
                view[i - at] = data[i - offset]
        return count

    def close(self) -> None:
        """Close the file beneath."""
        self._file.close()
        super().close()


def patches(path: str | os.PathLike) -> list[tuple[int, bytes]]:
    """Find what to replace in a header that says less than the file holds.

    A recorder that was killed leaves a WAV with data size 0, a broken one a size that ends amid the samples. Sizes that
    promise too much need no patch: reading stops at the end of the file, and `promise` tells what was promised.

    Returns:
        (offset, bytes) pairs for `Patched`; empty where the header can be used as it is.
    """
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            return _wav_patches(file)
    return []


def promise(path: str | os.PathLike) -> int | None:
    """Tell how many frames the header of a WAV or RF64 promises where its samples go on beyond the end of the file.

    libsndfile quietly takes the end of the file for the end of the samples, so that a file cut short looks whole. Sizes
    that programs write into a stream, whose length they do not know, promise nothing.

    Returns:
        frames, if the samples are PCM; None where all of them are there, or it is another file.
    """
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
            return None
        found = _data_chunk(file)
        if found is None:
            return None
        begin, size, align = found
        whole = begin + size <= file.seek(0, os.SEEK_END)
        return None if whole or not align or any(low <= size <= high for low, high in _STREAMED) else size // align


def chunks(
    file, length: int, at: int = 12, form: str = "<4sI", even: int = 2, counted: int = 0
) -> Iterator[tuple[bytes, int, int]]:
    """Walk through the chunks of a file of ``length`` bytes: name, first byte of the content, its size as declared.

    ``form`` is how a chunk's head is packed, ``even`` what its length is filled up to a multiple of, ``counted`` how many bytes
    of the head its size counts.
    """
    head = struct.calcsize(form)
    for _ in range(_MAX_CHUNKS):
        if at + head > length:
            return
        file.seek(at)
        name, size = struct.unpack(form, file.read(head))
        size = max(size - counted, 0)
        yield name, at + head, size
        at += head + size + -size % even


def _data_chunk(file) -> tuple[int, int, int] | None:
    """Find the data chunk: its first byte, its size as declared, and the bytes of a frame (0 where nothing says so)."""
    length = file.seek(0, os.SEEK_END)
    align, long = 0, None
    for name, at, size in chunks(file, length):
        file.seek(at)
        if name == b"fmt " and size >= 14 and at + 14 <= length:
            align = struct.unpack("<H", file.read(14)[12:14])[0]
        if name == b"ds64" and size >= 16 and at + 16 <= length:
            long = struct.unpack("<Q", file.read(16)[8:])[0]
        if name == b"data":
            return at, long if long is not None and size == _MAX_RIFF else size, align
    return None


def _wav_patches(file) -> list[tuple[int, bytes]]:
    """Patch the size of the data chunk of a WAV if what follows it is neither the end nor another chunk."""
    found = _data_chunk(file)
    if found is None:
        return []
    begin, size, align = found
    length = file.seek(0, os.SEEK_END)
    end = begin + size
    rest = min(length - begin, _MAX_RIFF - 64)
    if end + 8 > length and size > 0:
        return []
    file.seek(min(end + size % 2, length))
    after = file.read(8)
    # a chunk's name is printable ASCII and its size stays within the file; samples hardly ever look like that
    named = len(after) == 8 and all(32 <= c < 127 for c in after[:4])
    if named and end + size % 2 + 8 + struct.unpack("<I", after[4:])[0] <= length + 1:
        return []
    rest -= rest % max(1, align)
    return [(begin - 4, struct.pack("<I", rest)), (4, struct.pack("<I", min(begin - 8 + rest, _MAX_RIFF)))] if rest else []
