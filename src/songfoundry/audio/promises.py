"""Tell how many samples the header of an uncompressed file promises where its bytes do not hold them.

libsndfile quietly takes the end of the file for the end of the samples, so that a file cut short looks whole. WAV and RF64
are looked at by `wav.promise`, with whose lies it lives; the others are here.

Reference: Apple's AIFF-C draft of 1991; Sun's au(5); Sony's Wave64 of 2003.
"""

import os
import struct

from songfoundry.audio import wav

_UNKNOWN = 2**32 - 1
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
_W64_HEAD = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")


def promise(path: str | os.PathLike) -> int | None:
    """Tell how many frames a file's header promises where its samples go on beyond the end of the file.

    Returns:
        frames, if the samples are PCM; None where all of them are there, nobody knew their number, or it is another file.
    """
    with open(path, "rb") as file:
        head = file.read(28)
        length = file.seek(0, os.SEEK_END)
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            return _aiff(file, length)
        if head[:4] == b".snd" and len(head) >= 24:
            return _au(head, length)
        if head[:16] == _W64_HEAD:
            return _wave64(file, length)
    return wav.promise(path)


def _aiff(file, length: int) -> int | None:
    frames = None
    for name, at, size in wav.chunks(file, length, form=">4sI"):
        if name == b"COMM" and at + 6 <= length:
            file.seek(at + 2)
            frames = struct.unpack(">I", file.read(4))[0]
        if name == b"SSND":
            return frames if at + size > length and size < _UNKNOWN else None
    return None


def _au(head: bytes, length: int) -> int | None:
    begin, size, encoding, _, channels = struct.unpack(">5I", head[4:24])
    align = _AU_BYTES.get(encoding, 0) * channels
    return size // align if align and size != _UNKNOWN and begin + size > length else None


def _wave64(file, length: int) -> int | None:
    align = 0
    for name, at, size in wav.chunks(file, length, 40, "<16sQ", 8, counted=24):
        if name == b"fmt " + _W64_TAIL and at + 14 <= length:
            file.seek(at + 12)
            align = struct.unpack("<H", file.read(2))[0]
        if name == b"data" + _W64_TAIL:
            return size // align if align and at + size > length else None
    return None
