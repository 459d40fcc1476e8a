"""Build an ID3v2.4 tag in UTF-8.

Reference: id3.org, "ID3 tag version 2.4.0 - Main Structure" and "- Native Frames".
"""

_FRAMES = {
    "title": b"TIT2",
    "artist": b"TPE1",
    "album": b"TALB",
    "date": b"TDRC",
    "genre": b"TCON",
    "tracknumber": b"TRCK",
    "copyright": b"TCOP",
    "software": b"TSSE",
}
_UTF8 = b"\x03"


def id3v2(tags: dict[str, str]) -> bytes:
    """Return the bytes of a tag that goes before the first frame of an mp3.

    Args:
        tags: text by the names of `songfoundry.audio.writing.TAGS`; ``license`` becomes the user text LICENSE.
    """
    frames = b""
    for key, value in tags.items():
        text = value.encode()
        if key in _FRAMES:
            frames += _frame(_FRAMES[key], _UTF8 + text)
        elif key == "comment":
            frames += _frame(b"COMM", _UTF8 + b"eng\0" + text)
        elif key == "license":
            frames += _frame(b"TXXX", _UTF8 + b"LICENSE\0" + text)
    return b"ID3\x04\x00\x00" + _synchsafe(len(frames)) + frames


def _frame(name: bytes, body: bytes) -> bytes:
    return name + _synchsafe(len(body)) + b"\0\0" + body


def _synchsafe(size: int) -> bytes:
    """Write a size with seven bits to the byte, so that it never looks like the start of an mp3 frame."""
    return bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
