"""Take the tune out of a MIDI file: which track is sung, its top line, moved by octaves into what a voice can sing."""

import re
from collections.abc import Sequence

import numpy as np

from songfoundry.errors import InputError
from songfoundry.notes import Part, open_midi, parts
from songfoundry.timbre.pitches import pitch_name
from songfoundry.voice.tune import Tune, TuneNote

__all__ = ["HIGHEST", "LONGEST", "LOWEST", "melody_of", "top_line"]

LOWEST, HIGHEST = 36, 84
"""MIDI numbers between which a voice sings: C2 to C6."""
LONGEST = 3600.0
"""Seconds that a tune may last."""
_SHORTEST = 0.03
"""Seconds: shorter notes are not sung."""
_TOGETHER = 0.03
"""Seconds within which notes begin at once."""
_LEGATO = 0.1
"""Seconds by which notes in a row may overlap, but for half of the first, without being two voices."""
_NAMES = re.compile(
    r"melod|vocal|voice|voz|\bvox\b|sing|gesang|stimme|chant\b|canto|\blead\b|lyric|soprano|\btune\b|karaoke|words", re.IGNORECASE
)
_NOT_NAMES = re.compile(r"back|choir|harmon|\bbg\b|pad\b", re.IGNORECASE)
_MONOPHONIC = 0.05
"""Share of its notes that a track may have beneath its top line and still be of one voice."""
_SUBSTANTIAL = 0.25
"""Share of the fullest track's sounding time that a track needs to be taken for the melody, where no name says so."""


def melody_of(source) -> tuple[Tune, list[str]]:
    """Read the tune of a MIDI file: its path, its bytes, or what `notes.read_midi` gives.

    The track is the one that is named as a melody (of several the one that sounds longest), else the highest of those that have one voice,
    else the highest. Of notes at once the highest is sung. A tune that lies too high or low is moved by octaves.

    Returns
    -------
    tune, said : the tune, from the file's second 0, and sentences about what was chosen and left out.

    Raises
    ------
    InputError : no such file, not MIDI, nothing to be sung, or longer than `LONGEST`. MissingExtraError : symusic is not installed.
    """
    opened = open_midi(source)
    name = opened.name
    pitched = [part for part in parts(opened.score) if part.group != "drums"]
    if not pitched:
        raise InputError(f"expected a melody in {name}, found no notes but drums: give a file with a tune")
    said = list(opened.said)
    part, why = _chosen(pitched)
    if len(pitched) > 1:
        said.append(f"of the {len(pitched)} tracks of {name} the {why} is sung: {_label(part, pitched)}")
    notes, hidden = top_line(part)
    if not notes:
        raise InputError(f"expected notes of at least {1000 * _SHORTEST:.0f} ms in the melody of {name}, found none: give another file")
    if hidden > _MONOPHONIC * len(part.starts):
        said.append(
            f"the melody is not of one voice: its top line is sung, {hidden} of {len(part.starts)} notes below it are left out or cut short"
        )
    elif hidden:
        said.append(f"{hidden} of {len(part.starts)} notes of the melody sound below others: left out or cut short")
    if len(part.bends) and np.abs(part.bends[:, 1]).max() > 0:
        said.append("pitch bends are left out: notes are sung at their written pitch")
    if notes[-1].end > LONGEST:
        raise InputError(
            f"expected a tune of at most {LONGEST / 60:.0f} minutes, the melody of {name} lasts {notes[-1].end / 60:.0f}: cut the file"
        )
    notes, moved = _singable(notes)
    return Tune(tuple(notes)), said + moved


def _chosen(pitched: Sequence[Part]) -> tuple[Part, str]:
    """Choose the part that is sung, and say why."""
    named = [part for part in pitched if _NAMES.search(part.name) and not _NOT_NAMES.search(part.name)]
    if named:
        return max(named, key=_sounding), "one named as the melody"
    most = max(map(_sounding, pitched))
    full = [part for part in pitched if _sounding(part) >= _SUBSTANTIAL * most and part.group != "bass"] or list(pitched)
    single = [part for part in full if top_line(part)[1] <= _MONOPHONIC * len(part.starts)]
    if single:
        return max(single, key=_height), "highest that has one voice"
    return max(full, key=_height), "highest"


def _sounding(part: Part) -> float:
    """Add up how long a part's notes last, in seconds."""
    return float(part.durations.sum())


def _height(part: Part) -> float:
    """Give the mean pitch of a part, long notes counting as long."""
    return float(np.average(part.pitches, weights=part.durations + 1e-9))


def _label(part: Part, pitched: Sequence[Part]) -> str:
    number = next(n for n, other in enumerate(pitched, 1) if other is part)
    return f"{part.name.strip()!r}" if part.name.strip() else f"number {number}, {len(part.starts)} notes"


def top_line(part: Part) -> tuple[list[TuneNote], int]:
    """Take the highest of what sounds at once.

    A note ends where the next one of the line begins. A lower note that begins while a higher one sounds is left out, unless that one is
    about to end.

    Returns
    -------
    notes, hidden : the line, and how many notes are left out, or cut short, for those above them.
    """
    order = np.lexsort((-part.pitches, part.starts))
    line: list[tuple[float, float, float]] = []
    hidden = 0
    for start, length, pitch in zip(*(getattr(part, name)[order].tolist() for name in ("starts", "durations", "pitches")), strict=True):
        if length < _SHORTEST:
            continue
        if line and start < line[-1][1]:
            begun, end, above = line[-1]
            in_a_row = start > begun + _TOGETHER and end - start <= min(_LEGATO, (end - begun) / 2)
            hidden += not in_a_row
            if pitch <= above and not in_a_row:
                continue
            if start - begun <= _TOGETHER:
                # They began at once, and the higher one a moment later: it is the one.
                line.pop()
                line.append((begun, start + length, pitch))
                continue
            line[-1] = (begun, start, above)
        line.append((start, start + length, pitch))
    return [TuneNote(start, end, float(pitch)) for start, end, pitch in line if end - start >= _SHORTEST], hidden


def _singable(notes: Sequence[TuneNote]) -> tuple[list[TuneNote], list[str]]:
    """Move notes by octaves to where a voice can sing them: all together, then those that still lie outside."""
    pitches = np.array([note.pitch for note in notes])
    if pitches.min() >= LOWEST and pitches.max() <= HIGHEST:
        return list(notes), []
    span = f"{pitch_name(int(pitches.min()))} to {pitch_name(int(pitches.max()))}"
    limits = f"{pitch_name(LOWEST)} to {pitch_name(HIGHEST)}"
    # The fewest notes outside, then the smallest move.
    shifts = sorted(range(-96, 97, 12), key=lambda shift: (int(_outside(pitches + shift)), abs(shift)))
    moved = pitches + shifts[0]
    said = [f"the melody goes from {span}, a voice from {limits}"]
    if shifts[0]:
        number = abs(shifts[0]) // 12
        said[0] += f": it is sung {number} octave{'s' if number > 1 else ''} {'higher' if shifts[0] > 0 else 'lower'}"
    folded = int(_outside(moved))
    if folded:
        moved = np.where(moved > HIGHEST, moved - 12 * np.ceil((moved - HIGHEST) / 12), moved)
        moved = np.where(moved < LOWEST, moved + 12 * np.ceil((LOWEST - moved) / 12), moved)
        said[0] += f"{' and' if shifts[0] else ':'} {folded} of {len(notes)} notes are moved by octaves"
    return [TuneNote(note.start, note.end, float(pitch)) for note, pitch in zip(notes, moved, strict=True)], said


def _outside(pitches: np.ndarray) -> int:
    """Count pitches that no voice sings."""
    return int(((pitches < LOWEST) | (pitches > HIGHEST)).sum())
