"""Read a prompt: its bars, key, metre, tempo, instruments, and what a model could not take."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from songfoundry.errors import ConfigError, InputError
from songfoundry.metrics.key import key_scores, relative
from songfoundry.metrics.music import Notes
from songfoundry.notes import arranging
from songfoundry.notes.arranging import Bar
from songfoundry.notes.quantising import apart
from songfoundry.registry import nearest

__all__ = [
    "MAX_NOTES", "MAX_SECONDS", "Prompt", "find_track", "key_and_scale", "notes_of", "parse_key", "parse_metre", "program_of",
    "programs_of", "read", "scale_of", "token_metre",
]  # fmt: skip

MAX_NOTES = 200_000
"""Most notes of a prompt."""
MAX_SECONDS = 3600.0
"""Longest prompt."""
_SHARE = 0.05
"""A pitch class that sounds for this share of the prompt's time belongs to its scale, whatever its key."""
_CLASH = 0.25
"""Where the estimate fits better by this much (difference of correlations) than the keys of the signature, the signature is wrong."""
_KNOWN_KEY_NOTES = 8
"""Fewer pitched notes than this tell no key."""


@dataclass(frozen=True)
class Prompt:
    """Hold what a prompt says of itself.

    Attributes
    ----------
    score : a copy of it. spread : another, in which every track has a program of its own, as tokens tell tracks apart by program.
    homes : the track of each program of `spread`. bars : up to the last note. notes : times in quarters. said : sentences for the user.
    """

    score: Any
    spread: Any
    homes: dict[int, int]
    bars: list[Bar]
    notes: Notes
    said: list[str]

    @property
    def end(self) -> int:
        """The tick of the bar line after the last bar."""
        return self.bars[-1].end


def parse_key(text: str) -> int:
    """Read the name of a key such as "A minor", "Bbm", "F# major" or "C"; raises `ConfigError`."""
    words = text.replace("♯", "#").replace("♭", "b").split()
    tonic, mode = (words[0], words[1].lower()) if len(words) == 2 else (text.strip(), "major")
    if len(words) == 1 and len(tonic) > 1 and tonic.endswith("m"):
        tonic, mode = tonic[:-1], "minor"
    letters = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
    letter, accidental = tonic[:1].upper(), tonic[1:]
    if letter not in letters or accidental not in ("", "#", "b") or mode not in ("major", "minor", "maj", "min"):
        raise ConfigError(f'expected a key after --key, found {text!r}: write for example "A minor" or "Bb major"')
    return (letters[letter] + (accidental == "#") - (accidental == "b")) % 12 + 12 * mode.startswith("min")


def parse_metre(text: str) -> tuple[int, int]:
    """Read a metre such as "3/4"; raises `ConfigError`."""
    found = re.fullmatch(r"\s*([1-9]\d?)/(1|2|4|8|16|32)\s*", text)
    if found is None:
        raise ConfigError(f"expected a metre after --metre, found {text!r}: write for example 3/4 or 6/8")
    return int(found[1]), int(found[2])


def token_metre(tokenizer, numerator: int, denominator: int) -> tuple[int, int]:
    """Give the metre by which the tokens say a bar: itself, or one of the same length (4/4 for 1/1) where they have no word for it.

    Raises
    ------
    InputError : they have none of that length either.
    """
    if f"TimeSig_{numerator}/{denominator}" in tokenizer.ids:
        return numerator, denominator
    for below in (4, 8, 16, 2):
        above = numerator * below / denominator
        if above == int(above) and f"TimeSig_{int(above)}/{below}" in tokenizer.ids:
            return int(above), below
    raise InputError(f"expected a metre that the model has a word for, found {numerator}/{denominator}: write the piece in a plainer one")


def read(score, tokenizer, name: str) -> Prompt:
    """Look at a prompt: its bars up to the last note, its notes (in quarters).

    Raises
    ------
    InputError : no notes, too many, too long, or a metre that the model has no word for.
    """
    score = arranging.fine_clock(score)
    count = score.note_num()
    if not count:
        raise InputError(f"expected notes in {name}, found none: choose another file, or leave it out to begin from nothing")
    if count > MAX_NOTES:
        raise InputError(f"expected a prompt of at most {MAX_NOTES:,} notes, found {count:,} in {name}: cut out the part to go on from")
    seconds = float(score.to("Second").end())
    if seconds > MAX_SECONDS:
        raise InputError(f"expected a prompt of at most {MAX_SECONDS / 60:.0f} minutes, found {seconds / 60:.0f} in {name}: cut it")
    notes, said = notes_of(score), []
    beat = score.ticks_per_quarter * 4 / max(1, _metre_at(score, arranging.last_onset(score))[1])
    # A note that is held a little over the bar line, as players do, begins no bar.
    until = max(arranging.last_onset(score) + 1, int(notes.end * score.ticks_per_quarter - beat / 2))
    bars = arranging.bars(score, until)
    for metre in sorted({(bar.numerator, bar.denominator) for bar in bars}):
        token_metre(tokenizer, *metre)
    if not score.time_signatures:
        said.append("the prompt names no metre: 4/4 is taken, as MIDI has it")
    elif len({(bar.numerator, bar.denominator) for bar in bars}) > 1:
        said.append(f"the prompt changes its metre: the last one, {bars[-1].numerator}/{bars[-1].denominator}, goes on")
    if not score.tempos:
        said.append("the prompt names no tempo: 120 quarter notes a minute are taken, as MIDI has it")
    spread, homes = apart(score)
    drums = [n for n, track in enumerate(score.tracks) if track.is_drum]
    if drums:
        homes[-1] = max(drums, key=lambda n: len(score.tracks[n].notes))
    return Prompt(score, spread, homes, bars, notes, said)


def notes_of(score) -> Notes:
    """Give a score's notes as arrays, times in quarters."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("time", "duration", "pitch", "velocity", "program")}
    for track in score.tracks:
        found = track.notes.numpy()
        for name in ("time", "duration", "pitch", "velocity"):
            columns[name].append(found[name].astype(np.int64))
        columns["program"].append(np.full(len(found["time"]), program_of(track)))
    time, duration, pitch, velocity, program = (np.concatenate(columns[name]) for name in columns)
    clock = score.ticks_per_quarter
    return Notes(time / clock, duration / clock, pitch, velocity, program)


def key_and_scale(
    notes: Notes, key: int | None, find: bool, said: list[str], score=None
) -> tuple[int | None, np.ndarray | None]:  # fmt: skip
    """Tell a prompt's key (unless it is given) and the scale that goes on: the key's, and what the prompt uses besides.

    The key is estimated from the notes; where a key signature holds at the end of `score`, its major or minor key is taken, unless
    another fits much better: files that nobody gave a signature often say C major.
    """
    pitched = notes.pitched
    if key is None and find:
        if len(pitched) < _KNOWN_KEY_NOTES:
            said.append(f"{len(pitched)} pitched notes tell no key: none is kept")
            return None, None
        scores = key_scores(notes)
        key = int(scores.argmax()) if scores.any() else None
        signed = None if score is None or key is None else _signed(score)
        if signed is not None:
            best = max((signed, relative(signed)), key=lambda one: scores[one])
            key = best if scores[key] - scores[best] <= _CLASH else key
    if key is None:
        return None, None
    sounding = np.bincount(pitched.pitches % 12, weights=pitched.durations, minlength=12)
    return key, scale_of(key) | (sounding >= _SHARE * max(sounding.sum(), 1e-9)) & (sounding > 0)


def _signed(score) -> int | None:
    """Give the major key of the key signature that holds at the end of a score; None where it has none.

    A signature from the first tick of no sharps or flats is what programs write that know none: it tells nothing.
    """
    end = arranging.last_onset(score)
    held = [event for event in sorted(score.key_signatures, key=lambda event: event.time) if event.time <= end]
    if not held or (len(held) == 1 and not held[0].key and not held[0].tonality and not held[0].time):
        return None
    return held[-1].key * 7 % 12


def scale_of(key: int) -> np.ndarray:
    """Give the pitch classes of a key, bool (12,): the major scale, or the minor ones with both leading tones."""
    steps = (0, 2, 3, 5, 7, 8, 10, 11) if key >= 12 else (0, 2, 4, 5, 7, 9, 11)
    scale = np.zeros(12, bool)
    scale[[(key + step) % 12 for step in steps]] = True
    return scale


def _metre_at(score, tick: int) -> tuple[int, int]:
    return [(4, 4), *((s.numerator, s.denominator) for s in sorted(score.time_signatures, key=lambda s: s.time) if s.time <= tick)][-1]


def program_of(track) -> int:
    """Give the program of a track, -1 for drums."""
    return -1 if track.is_drum else int(track.program)


def programs_of(score) -> set[int]:
    """Name the programs that have notes, -1 for drums."""
    return {program_of(track) for track in score.tracks if len(track.notes)}


def find_track(score, text: str, name: str) -> int:
    """Find a track of the piece `name` by its number (from 1, of those with notes) or its name; raises `InputError`."""
    filled = [n for n, track in enumerate(score.tracks) if len(track.notes)]
    names = [score.tracks[n].name.strip() for n in filled]
    if text.isdigit() and 1 <= int(text) <= len(filled):
        return filled[int(text) - 1]
    for number, called in zip(filled, names, strict=True):
        if called.lower() == text.strip().lower() and called:
            return number
    known = [called for called in names if called] + [f"{n}" for n in range(1, len(filled) + 1)]
    raise InputError(f"expected the name or number of a track of {name} after --melody, found {text!r}: {nearest(text, known)}")
