"""Write small collections of MIDI files for tests: archives with an index, and plain folders."""

import json
import random
import zipfile
from pathlib import Path

from midi_bytes import midi, part, tempo, track


def metre(tick: int, numerator: int, denominator: int) -> tuple[int, bytes]:
    """A time signature event."""
    return tick, b"\xff\x58\x04" + bytes([numerator, denominator.bit_length() - 1, 24, 8])


def tune(bars: int = 12, low: int = 60, numerator: int = 4, denominator: int = 4, qpm: float | None = 120, seed: int = 0) -> bytes:
    """A melody in eighths and chords, both on program 0; hardly two bars are alike."""
    eighths = numerator * 8 // denominator
    bar, dice = eighths * 240, random.Random(seed)
    melody = [(240 * e, 240, low + dice.randrange(12), 90) for e in range(bars * eighths)]
    chords = [(b * bar, bar, low - 12 + p, 70) for b in range(bars) for p in (0, 4, 7)]
    events = [metre(0, numerator, denominator), *([tempo(0, qpm)] if qpm else [])]
    return midi([track(events), part(0, 0, melody), part(1, 0, chords)])


def write_archive(folder: Path, name: str, items: list[dict], files: dict[str, bytes | str], licence: str = "MIT") -> Path:
    """Write NAME.zip and enter it in folder/index.json; returns the archive's path."""
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    index = folder / "index.json"
    known = json.loads(index.read_text()) if index.exists() else {"version": 1, "datasets": {}}
    known["datasets"][name] = {"file": f"{name}.zip", "licence": licence, "items": items}
    index.write_text(json.dumps(known))
    return folder / f"{name}.zip"


def write_folk(folder: Path, train: int = 6, valid: int = 2, test: int = 2, bars: int = 12) -> Path:
    """Write an archive named nottingham: tunes in 6/8 and 4/4, no two alike, keys and splits in the index."""
    splits = ["train"] * train + ["valid"] * valid + ["test"] * test
    items, files = [], {}
    for number, split in enumerate(splits):
        member = f"tune{number}.mid"
        compound = number % 2 == 0
        files[member] = tune(bars, 55 + number, 6 if compound else 4, 8 if compound else 4, qpm=None, seed=number)
        items.append({"path": member, "split": split, "key_sharps": number - 3, "key_minor": compound})
    return write_archive(folder, "nottingham", items, files, "GPL-3.0")
