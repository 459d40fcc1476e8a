"""Open a folder of notes as a recipe names it: which notes, under which instrument's name, decoded when they are needed."""

from collections.abc import Callable, Container
from typing import Literal

from pydantic import NonNegativeFloat

from songfoundry.config import Config
from songfoundry.data.note_cache import FileNotes, Part, kept
from songfoundry.data.note_sets import Note, choose, find_notes
from songfoundry.data.tones import MadeNotes, made_notes


class NoteFolder(Config):
    """Name a folder of notes, what is taken of it, and how often.

    `kind`: how the notes are told apart (`data.note_sets`; "tones" needs no folder: they are made by code); `include`: shell
    patterns of note names; `licences`: only notes under one of these, "permissive" as for scores, an empty list for any; `licence`:
    what notes are under whose folder states none; `label`: what counts as an instrument, the instrument or its family ("auto": the
    family in NSynth's layout, whose instruments of training and validation are not the same, else the instrument); `weight`: the
    share of its instruments in the draws.
    """

    path: str = ""
    kind: Literal["auto", "index", "nsynth", "folder", "tones"] = "auto"
    include: list[str] = ["*"]
    licences: list[str] = []
    licence: str = ""
    label: Literal["auto", "instrument", "family"] = "auto"
    weight: NonNegativeFloat = 1.0


class OpenFolder:
    """Hold the notes of a folder that a recipe's patterns, licences and pitches leave, `notes`, and open them by split.

    Parameters
    ----------
    pitches : lowest and highest MIDI pitch.
    samples, rate : length of an example, and Hz.
    most : as many samples as are ever read of a note.

    Raises
    ------
    DatasetError, ConfigError : as `find_notes` and `choose`.
    """

    def __init__(self, folder: NoteFolder, pitches: tuple[int, int], samples: int, rate: int, most: int):
        self.folder, self._samples, self._rate, self._most = folder, samples, rate, most
        low, high = pitches
        if folder.kind == "tones":
            self.kind, self._all = "tones", made_notes(max(low, 24), min(high, 96))
            chosen = choose("tones", self._all, folder.include, folder.licences) if self._all else []
        else:
            self.kind, self._all = find_notes(folder.path, folder.kind, folder.licence)
            chosen = choose(folder.path, self._all, folder.include, folder.licences)
        self._chosen = [number for number in chosen if low <= self._all[number].pitch <= high]
        self.notes = [self._all[number] for number in self._chosen]

    def label(self, note: Note) -> str:
        """Name a note's instrument."""
        family = self.folder.label == "family" or self.folder.label == "auto" and self.kind == "nsynth"
        return note.family if family else note.instrument

    def of_split(self, split: str, instruments: Container[str]) -> list[int]:
        """Say which of `notes` are of a split and of instruments that are wanted."""
        return [n for n, note in enumerate(self.notes) if note.split == split and self.label(note) in instruments]

    def open(self, split: str, instruments: Container[str], progress: Callable[[float], None] | None = None):
        """Open the notes of a split and of some instruments; what comes back has `notes` and `read(number)`.

        Raises
        ------
        AudioError, DatasetError, OutputError : as `kept`.
        """
        wanted = self.of_split(split, instruments)
        notes = [self.notes[number] for number in wanted]
        if self.kind == "tones":
            return MadeNotes(notes, self._rate, self._samples)
        if self.kind == "nsynth":
            return FileNotes(notes, self._rate, self._most)
        if self.kind == "folder":
            return kept(notes, self._rate, self._most, progress)
        # A file of an index holds many notes: all are decoded at once, whatever is chosen of them.
        return Part(kept(self._all, self._rate, self._most, progress), [self._chosen[number] for number in wanted])
