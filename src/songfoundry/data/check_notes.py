"""Look through a folder of single notes for what would spoil a training: what `songfoundry data check FOLDER` prints of notes.

What is found is a list of `data.check.Finding`, each of a kind:

==============  ===================================================================================================
``unreadable``  a file cannot be decoded, ends before the note, or is silent there
``clipped``     ten samples or more stand at or over full scale
``short``       the note lasts less than a tenth of a second
``off pitch``   the measured pitch is more than 50 cents from the label; octaves are the measurement's own likely mistake
``duplicate``   the samples are those of another note: it may stand on both sides of a split
==============  ===================================================================================================
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np

from songfoundry.audio import io
from songfoundry.data.check import Finding
from songfoundry.data.note_cache import cut, read_note
from songfoundry.data.note_sets import Note
from songfoundry.errors import AudioError, DatasetError

KINDS = ("unreadable", "clipped", "short", "off pitch", "duplicate")

_RATE = 16000
_LONGEST = 2 * _RATE
"""So much of a note says its pitch."""
_OVERS = 10
_SHORT_SECONDS = 0.1
_CENTS = 50


def check_notes(
    notes: Sequence[Note],
    cents: Callable[[np.ndarray, int, float], float],
    progress: Callable[[float, str], None] | None = None,
) -> list[Finding]:
    """Decode notes and report what is wrong with them.

    Parameters
    ----------
    notes : from `note_sets.find_notes`.
    cents : measures how far a waveform float32 (samples,) at a rate in Hz is off a MIDI pitch, in cents, NaN for no pitch
        (`songfoundry.metrics.pitch.median_cents`).
    progress : called after each file with the fraction of the notes that are done and the file's name.
    """
    findings, seen, done = [], {}, 0
    for path, here in groupby(sorted(notes, key=lambda note: str(note.path)), key=lambda note: note.path):
        here = list(here)
        try:
            clip = io.read(path)
            decoded = clip.samples.mean(axis=0), clip.rate
            for note in here:
                findings += _of_note(note, decoded, cents, seen)
        except AudioError as error:
            findings += [Finding(note.name, "", "unreadable", str(error)) for note in here]
        done += len(here)
        if progress is not None:
            progress(done / len(notes), path.name)
    return findings


def _of_note(note: Note, decoded: tuple[np.ndarray, int], cents, seen: dict[str, Note]) -> Iterator[Finding]:
    try:
        waveform = read_note(note, decoded, _RATE, _LONGEST)
    except DatasetError as error:
        yield Finding(note.name, "", "unreadable", str(error))
        return
    overs = int((np.abs(cut(note, decoded)[0]) >= 0.9999).sum())
    if overs >= _OVERS:
        yield Finding(
            note.name, "", "clipped",
            f"expected samples below full scale, found {overs} at or over it: export the note again at a lower level",
        )  # fmt: skip
    if len(waveform) < _SHORT_SECONDS * _RATE:
        yield Finding(
            note.name, "", "short", f"expected {_SHORT_SECONDS:g} s or more, found {len(waveform) / _RATE:.3f} s: take the note out"
        )
    off = cents(waveform, _RATE, note.pitch)
    if not abs(off) <= _CENTS:
        what = "no pitch" if np.isnan(off) else f"{off:+.0f} cents beside it"
        yield Finding(note.name, "", "off pitch", f"expected MIDI pitch {note.pitch}, found {what}: listen to it, and mend its label")
    digest = hashlib.sha256(waveform.tobytes()).hexdigest()
    twin = seen.setdefault(digest, note)
    if twin is not note:
        yield Finding(
            note.name, "", "duplicate",
            f"expected a recording of its own, found that of {twin.name!r} ({twin.split}; this one: {note.split}): keep one of the two",
        )  # fmt: skip
