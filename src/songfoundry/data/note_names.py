"""Read pitch and dynamic out of the names of sound files: `flute_As4_1_forte.wav`, `60.wav`, `guitar_010-060-100.wav`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from songfoundry.errors import DatasetError

MEZZO_FORTE = 80 / 127
"""The velocity (0 to 1) of a note of which nothing is known."""

_SEMITONE = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHIFT = {"": 0, "#": 1, "♯": 1, "s": 1, "b": -1, "♭": -1}
_NAME = re.compile(r"(?<![A-Za-z0-9])([A-G])([#♯sb♭]?)(-1|\d)(?![A-Za-z0-9])")
_LOWER = re.compile(r"(?<![A-Za-z0-9])([a-g])([#♯sb♭]?)(-1|\d)(?![A-Za-z0-9])")
_NUMBER = re.compile(r"(?<![A-Za-z0-9])(\d{1,3})(?![A-Za-z0-9])")
_NSYNTH = re.compile(r"-(\d{3})-(\d{3})$")
# The velocities that notation programs give to the dynamics.
_DYNAMICS = {
    "ppp": 16, "pp": 33, "pianissimo": 33, "p": 49, "mp": 64, "mezzo-piano": 64, "mf": 80, "mezzo-forte": 80, "f": 96, "forte": 96,
    "ff": 112, "fortissimo": 112, "fff": 126,
}  # fmt: skip


@dataclass(frozen=True)
class Named:
    """Hold what a name says: the MIDI pitch, the velocity (0 to 1), and the words before the pitch."""

    pitch: int
    velocity: float
    before: str


def pitch_in(file: Path) -> Named:
    """Read the pitch out of a file's name: a note with its octave (C4 is 60; #, s or b), else a MIDI number.

    A note's name in capitals counts before a number, a number before small letters; NSynth's `-060-100` is pitch and velocity.

    Raises
    ------
    DatasetError : no pitch, several that differ, or one that MIDI has not.
    """
    stem = file.stem
    nsynth = _NSYNTH.search(stem)
    if nsynth:
        found = {int(nsynth[1]): nsynth.start()}
        velocity = min(1.0, int(nsynth[2]) / 127)
    else:
        found = _notes(_NAME, stem) or {int(m[1]): m.start() for m in _NUMBER.finditer(stem)} or _notes(_LOWER, stem)
        velocity = dynamic_in(re.split(r"[_\s.]+", stem))
    if len(found) != 1 or not 0 <= next(iter(found)) <= 127:
        what = "none" if not found else "several" if len(found) > 1 else f"{next(iter(found))}, which MIDI has not"
        raise DatasetError(
            f"expected one pitch in the name of {file}, such as flute_C4 or 60, found {what}: rename the file or move it away"
        )
    ((pitch, at),) = found.items()
    return Named(pitch, velocity, stem[:at].strip(" _-."))


def says_pitch(file: Path) -> bool:
    """Tell whether a file's name says one pitch."""
    try:
        pitch_in(file)
    except DatasetError:
        return False
    return True


def _notes(pattern: re.Pattern, stem: str) -> dict[int, int]:
    """Find note names; {MIDI pitch: place in the name}."""
    return {_SEMITONE[m[1].upper()] + _SHIFT[m[2]] + 12 * (int(m[3]) + 1): m.start() for m in pattern.finditer(stem)}


def dynamic_in(words: Iterable[str]) -> float:
    """Give the velocity (0 to 1) of the first dynamic among words (pp, mezzo-forte, ...); mezzo-forte where there is none."""
    return next((_DYNAMICS[word.lower()] / 127 for word in words if word.lower() in _DYNAMICS), MEZZO_FORTE)
