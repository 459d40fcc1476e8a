"""Read chord names ("C", "F#m7", "Bbmaj9", "Dsus4", "G/B") into pitch classes."""

import re
from dataclasses import dataclass

from songfoundry.errors import ConfigError

__all__ = ["MAX_CHORDS", "Chord", "parse_chord", "parse_chords", "triad"]

MAX_CHORDS = 64
"""Most chords that one line may hold."""

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1, "##": 2, "bb": -2}
_ROOT = re.compile(r"([A-G])(##|bb|[#♯b♭]?)")

# The longest spelling that fits is taken, so that "maj7" is not read as "m" with something left over.
_TRIADS = {
    "": (0, 4, 7), "maj": (0, 4, 7), "M": (0, 4, 7), "major": (0, 4, 7),
    "m": (0, 3, 7), "min": (0, 3, 7), "-": (0, 3, 7), "minor": (0, 3, 7),
    "dim": (0, 3, 6), "°": (0, 3, 6), "o": (0, 3, 6), "aug": (0, 4, 8), "+": (0, 4, 8),
    "sus2": (0, 2, 7), "sus4": (0, 5, 7), "sus": (0, 5, 7), "5": (0, 7),
}  # fmt: skip
_SEVENTHS = {
    # What follows the root: (triad, the other tones).
    "6": ("", (9,)), "m6": ("m", (9,)), "min6": ("m", (9,)), "-6": ("m", (9,)), "69": ("", (9, 2)), "6/9": ("", (9, 2)),
    "m69": ("m", (9, 2)),
    "7": ("", (10,)), "9": ("", (10, 2)), "11": ("", (10, 2, 5)), "13": ("", (10, 2, 9)),
    "m7": ("m", (10,)), "min7": ("m", (10,)), "-7": ("m", (10,)), "m9": ("m", (10, 2)), "min9": ("m", (10, 2)), "m11": ("m", (10, 2, 5)),
    "m13": ("m", (10, 2, 9)),
    "maj7": ("", (11,)), "M7": ("", (11,)), "Δ": ("", (11,)), "Δ7": ("", (11,)), "^7": ("", (11,)), "^": ("", (11,)), "j7": ("", (11,)),
    "maj9": ("", (11, 2)), "M9": ("", (11, 2)), "Δ9": ("", (11, 2)), "maj11": ("", (11, 2, 5)),
    "maj13": ("", (11, 2, 9)), "M13": ("", (11, 2, 9)),
    "mmaj7": ("m", (11,)), "mM7": ("m", (11,)), "m(maj7)": ("m", (11,)), "minmaj7": ("m", (11,)), "-Δ7": ("m", (11,)),
    "dim7": ("dim", (9,)), "°7": ("dim", (9,)), "o7": ("dim", (9,)),
    "m7b5": ("dim", (10,)), "m7♭5": ("dim", (10,)), "ø": ("dim", (10,)), "ø7": ("dim", (10,)),
    "-7b5": ("dim", (10,)), "hdim7": ("dim", (10,)),
    "aug7": ("aug", (10,)), "+7": ("aug", (10,)), "7sus4": ("sus4", (10,)), "7sus": ("sus4", (10,)), "9sus4": ("sus4", (10, 2)),
    "7sus2": ("sus2", (10,)), "add9": ("", (2,)), "add2": ("", (2,)), "add4": ("", (5,)), "add11": ("", (5,)), "madd9": ("m", (2,)),
    "m(add9)": ("m", (2,)), "(add9)": ("", (2,)),
}  # fmt: skip
_KINDS = {kind: frozenset(tones) for kind, tones in _TRIADS.items()} | {
    kind: frozenset((*_TRIADS[base], *more)) for kind, (base, more) in _SEVENTHS.items()
}
_ALTERED = {"b5": (7, 6), "#5": (7, 8), "b9": (None, 1), "#9": (None, 3), "#11": (None, 6), "b13": (None, 8)}


@dataclass(frozen=True)
class Chord:
    """Hold a chord: its name as written, pitch classes 0-11 (C = 0) of root, bass and all tones; no tones at all for "N.C."."""

    name: str
    root: int
    bass: int
    tones: frozenset[int]


def parse_chord(name: str) -> Chord:
    """Read one chord name.

    A root (A-G with # or b), a kind (m, 7, maj7, m7b5, dim, aug, sus4, 6, 9, 13, add9 ... and alterations such as 7#9), and
    after a slash the bass note. "N.C." is a bar in which no tone is preferred.

    Raises
    ------
    ConfigError : it is no chord name.
    """
    if name.upper() in ("N.C.", "NC", "N.C"):
        return Chord(name, 0, 0, frozenset())
    found = _ROOT.match(name)
    if found is None:
        raise _wrong(name)
    root = _pitch_class(found)
    kind, bass = name[found.end() :], root
    head, slash, below = kind.rpartition("/")
    if slash and (note := _ROOT.fullmatch(below)):
        kind, bass = head, _pitch_class(note)
    tones = _tones(kind)
    if tones is None:
        raise _wrong(name)
    return Chord(name, root, bass, frozenset({(root + tone) % 12 for tone in tones} | {bass}))


def parse_chords(text: str) -> list[Chord]:
    """Read chord names that are set apart by spaces, commas or bar lines, such as "C G | Am F".

    Raises
    ------
    ConfigError : there are none, too many, or one of them is no chord name.
    """
    names = [name for name in re.split(r"[\s,|]+", text) if name]
    if not 1 <= len(names) <= MAX_CHORDS:
        raise ConfigError(f'expected 1 to {MAX_CHORDS} chords after --chords, found {len(names)}: write for example "C G Am F"')
    return [parse_chord(name) for name in names]


def triad(key: int) -> frozenset[int]:
    """Give the pitch classes of the tonic triad of a key (0-11 major, 12-23 minor)."""
    return frozenset((key + tone) % 12 for tone in _TRIADS["m" if key >= 12 else ""])


def _tones(kind: str) -> frozenset[int] | None:
    """Give the semitones above the root of a kind, alterations at its end included; None where it is unknown."""
    if kind in _KINDS:
        return _KINDS[kind]
    bare = kind.rstrip(")").replace("♯", "#").replace("♭", "b")
    for ending, (taken, given) in _ALTERED.items():
        if bare.endswith(ending):
            base = _tones(bare.removesuffix(ending).rstrip("(,"))
            return None if base is None else (base - {taken}) | {given}
    return None


def _pitch_class(found: re.Match) -> int:
    return (_LETTERS[found[1]] + _ACCIDENTALS[found[2]]) % 12


def _wrong(name: str) -> ConfigError:
    return ConfigError(f"expected the name of a chord, found {name!r}: write for example C, F#m7, Bbmaj7, Dsus4 or G/B")
