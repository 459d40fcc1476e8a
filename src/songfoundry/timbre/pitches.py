"""Read pitches as a user writes them, and name them."""

import re
from collections.abc import Sequence

from songfoundry.errors import ConfigError

__all__ = ["hertz", "parse_pitches", "pitch_name"]

_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHIFTS = {"": 0, "#": 1, "♯": 1, "s": 1, "b": -1, "♭": -1}
_NAME = re.compile(r"([A-Ga-g])([#♯sb♭]?)(-1|\d)")
_HELP = "write C4 or 60, several as C4,E4,G4, or A3..A5, between C-1 (0) and G9 (127)"


def parse_pitches(wanted: str | int | Sequence[int]) -> list[int]:
    """Read MIDI pitches, 0 to 127: numbers, or text as `C4`, `60`, `C4,Eb4,67`, `A3..A5` (every semitone, both ends too).

    Raises
    ------
    ConfigError : what is no pitch, or one that MIDI does not have, or nothing at all.
    """
    parts = wanted.split(",") if isinstance(wanted, str) else map(str, [wanted] if isinstance(wanted, int) else wanted)
    pitches: list[int] = []
    for part in filter(None, (part.strip() for part in parts)):
        first, dots, last = part.partition("..")
        low = _pitch(first)
        high = _pitch(last) if dots else low
        if low > high:
            raise ConfigError(f"expected the lower pitch of a range first, found {part!r}: write {last.strip()}..{first.strip()}")
        pitches += range(low, high + 1)
    if not pitches:
        raise ConfigError(f"expected a pitch, found {wanted!r}: {_HELP}")
    return pitches


def pitch_name(pitch: int, sharp: str = "#") -> str:
    """Name a MIDI pitch: 60 is C4."""
    return f"{_NAMES[pitch % 12].replace('#', sharp)}{pitch // 12 - 1}"


def hertz(pitch: float) -> float:
    """Give a MIDI pitch's frequency in equal temperament, A4 = 440 Hz."""
    return 440.0 * 2 ** ((pitch - 69) / 12)


def _pitch(text: str) -> int:
    text = text.strip()
    if found := _NAME.fullmatch(text):
        letter, shift, octave = found.groups()
        value = _SEMITONES[letter.upper()] + _SHIFTS[shift] + 12 * (int(octave) + 1)
    elif re.fullmatch(r"-?\d{1,9}", text):
        value = int(text)
    else:
        raise ConfigError(f"expected a pitch, found {text!r}: {_HELP}")
    if not 0 <= value <= 127:
        raise ConfigError(f"expected a pitch that MIDI has, found {text!r}: {_HELP}")
    return value
