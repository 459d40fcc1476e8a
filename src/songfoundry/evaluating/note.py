"""Evaluate models that make notes: pitch, timbre, likeness to real notes, copies, clicks, bursts, speed, beside what takes no learning.

Real notes are those of the test split. Every row is judged by the same classifier, which shares nothing with the models and is known by
its hash, and by YIN, which knows nothing of notes at all.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from songfoundry import checkpoint, inventory
from songfoundry.data.single_notes import NoteFolder, SingleNotes, SingleNotesConfig
from songfoundry.errors import Cancelled, ConfigError, DatasetError
from songfoundry.evaluating.note_held import held_rows
from songfoundry.evaluating.note_measures import (
    NEIGHBOURS,
    Flaws,
    Heard,
    Judge,
    beyond,
    flaws,
    heard_as_asked,
    likeness,
    same_timbre,
    scale,
)
from songfoundry.evaluating.note_sources import Additive, Made, NoteSet, Shifted, gather
from songfoundry.evaluating.pages import Table, Tabled
from songfoundry.hardware import pick_device
from songfoundry.registry import nearest
from songfoundry.systems.note import Note
from songfoundry.systems.note_classifier import LOWEST, PITCHES, NoteClassifier

__all__ = ["DEFAULT_JUDGE", "NoteEvaluation", "evaluate_note"]

DEFAULT_JUDGE = "note-classifier"
"""Name of the classifier that judges where none is named."""
REAL, TRAIN = "real notes (test)", "real notes (training)"
SHIFTED, ADDITIVE = "nearest training note, other pitch, resampled", "additive synthesis"
SCALE = ("flute", "cello", "trumpet", "clarinet", "piano", "violin", "guitar")
"""The first three of these that a model has play the chromatic scales, where nobody names others."""
_MOST = 8192
"""Recordings of a split that are kept in memory, 64 KiB each."""
_STEPS, _LATENTS = 13, 4
"""Notes of a chromatic scale, and latents that play it."""
_STRIDE, _PLAYERS = 4, 6
"""Semitones between the pitches at which one latent is heard, and how many instruments are."""


@dataclass
class NoteEvaluation(Tabled):
    """Hold the evaluation.

    ``asked``, ``alike``, ``timbre``, ``flaws``, ``scales`` and ``speed``: by row the figures that `note_measures` names, each with the
    "n" behind it; ``held``: those of `note_held`. ``about``: sentences on what was done. ``judge``: name and hash of the classifier.
    """

    judge: dict[str, str]
    about: list[str] = field(default_factory=list)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    alike: dict[str, dict[str, Any]] = field(default_factory=dict)
    timbre: dict[str, dict[str, Any]] = field(default_factory=dict)
    flaws: dict[str, dict[str, Any]] = field(default_factory=dict)
    scales: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    speed: dict[str, dict[str, Any]] = field(default_factory=dict)

    def tables(self) -> list[Table]:
        """List the tables."""
        from songfoundry.evaluating.note_tables import tables

        return tables(self)


def load_judge(name: str | os.PathLike, device: str = "auto") -> tuple[NoteClassifier, dict[str, str]]:
    """Load the classifier, and say which it is: name, and the first 16 digits of its file's SHA-256.

    Raises
    ------
    ConfigError : no such model, or one that does not judge notes. CheckpointError : a damaged file.
    """
    path = inventory.find_model(name, "note_classifier")
    system = checkpoint.load(path)
    if not isinstance(system, NoteClassifier):
        raise ConfigError(f"expected a model that judges notes, found a {system.checkpoint.system} model in {path}: name another")
    return system.to(pick_device(device)), {"name": _name(path), "hash": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}


def _name(path: Path) -> str:
    """Name a model by its file, or by its run folder: in those all are called alike."""
    return path.absolute().parent.parent.name if path.stem in ("model", "best", "last") else path.stem


def evaluate_note(
    models: Sequence[str | os.PathLike | Note] = (), *, data: str | os.PathLike = "notes", judge: str | os.PathLike = DEFAULT_JUDGE,
    pitches: tuple[int, int] = (LOWEST, LOWEST + PITCHES - 1), count: int = 340, scale_instruments: Sequence[str] = (),
    baselines: bool = True, seed: int = 0, device: str = "auto",
    progress: Callable[[str, float], bool | None] | None = None,
) -> NoteEvaluation:  # fmt: skip
    """Let models make notes, and measure them beside real ones, resampled ones and added sines.

    Parameters
    ----------
    models : names, paths, or systems that are built. data : a folder of notes (see `SingleNotes`), or "tones". judge : name or path of a
        classifier that knows the instruments of the notes. pitches : lowest and highest, of real notes and of what is asked for.
    count : notes that are asked for of each row, over all instruments alike and over the pitches of training.
    scale_instruments : three that play chromatic scales. baselines : whether rows that take no learning are made. seed : draws what is
        asked for.
    progress : called with what is done and the fraction of it all; returns False to stop.

    Raises
    ------
    ConfigError : a model, instrument or number that does not fit. DatasetError : notes that are not there, or too few.
    CheckpointError : a damaged file.
    """
    if not 1 <= count <= 100_000:
        raise ConfigError(f"expected a count of 1 to 100000 notes, found {count}: choose another number")
    report = _reporter(progress)
    classifier, known = load_judge(judge, device)
    rate, samples = classifier.config.rate, classifier.config.samples
    made = _models(models, rate, device)
    report("decoding notes", 0.0)
    draws = _draws(data, classifier, pitches)
    bench = _Bench(draws, Judge(classifier), samples, lambda part: report("hearing real notes", 0.3 * part))
    sources: dict[str, Made | Shifted] = {name: Made(system, bench.names, samples) for name, system in made.items()}
    if baselines:
        sources |= {SHIFTED: Shifted(bench.train), ADDITIVE: Additive(bench.train, rate)}
    found = NoteEvaluation(known, _about(bench, data, known, count, seed))
    with _one_thread():
        bench.real_rows(found)
        for name in made:
            again = sources[name].by_way_of_images(bench.test.waves())
            bench.given_row(found, f"{REAL}, by way of the images of {name}", again)
        for number, (name, source) in enumerate(sources.items()):
            ranges = bench.ranges(made.get(name))
            report(name, 0.3 + 0.7 * number / len(sources))
            bench.row(found, name, source, ranges, count, scale_instruments, seed)
            if name in made:
                bench.held_row(found, name, made[name], ranges)
    report("done", 1.0)
    return found


def _reporter(progress):
    def report(what: str, fraction: float) -> None:
        if progress and progress(what, fraction) is False:
            raise Cancelled("The evaluation was stopped; nothing was written.")

    return report


@contextmanager
def _one_thread():
    """Hold torch to one thread: speeds are those of a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _models(models, rate: int, device: str) -> dict[str, Note]:
    """Load the models, by name."""
    found = {}
    for model in models:
        if isinstance(model, Note):
            name, system = model.config.net, model.eval()
        else:
            path = inventory.find_model(model, "note")
            name, system = _name(path), checkpoint.load(path)
            if not isinstance(system, Note):
                raise ConfigError(f"expected a model that makes notes, found a {system.checkpoint.system} model in {path}: name another")
        if system.config.rate != rate:
            raise ConfigError(f"expected a model at the judge's {rate} Hz, found {name} at {system.config.rate}: train a judge at its rate")
        found[name if name not in found else f"{name} {len(found) + 1}"] = system.to(pick_device(device))
    return found


def _draws(data: str | os.PathLike, classifier: NoteClassifier, pitches: tuple[int, int]) -> SingleNotes:
    """Open the notes of the judge's instruments."""
    folder = NoteFolder(kind="tones") if os.fspath(data) == "tones" else NoteFolder(path=os.fspath(data))
    heard = classifier.config
    draws = SingleNotes(SingleNotesConfig(folders=[folder], samples=heard.samples, rate=heard.rate, pitches=pitches))
    for name in draws.instruments:
        if name not in classifier.instruments:
            raise ConfigError(
                f"expected notes of instruments that the judge knows, found {name!r} in {data}: {nearest(name, classifier.instruments)}"
            )
    return draws


class _Bench:
    """Hold real notes as they are heard, and measure rows beside them. Instruments have the judge's numbers throughout."""

    def __init__(self, draws: SingleNotes, judge: Judge, samples: int, report: Callable[[float], None]):
        self.judge, self.rate, self.samples = judge, judge.rate, samples
        self.names = list(judge.classifier.instruments)
        self._numbers = np.array([self.names.index(name) for name in draws.instruments])
        self.train = self._gathered(draws, "train")
        report(0.3)
        self.test = self._gathered(draws, "test")
        if len(self.test) <= NEIGHBOURS:
            raise DatasetError(f"expected more than {NEIGHBOURS} notes of split 'test', found {len(self.test)}: take a larger set of notes")
        report(0.4)
        self.heard_train = self._hear(self.train)
        report(0.9)
        self.heard_test = self._hear(self.test)
        self._real = _joined([self._flaws(notes) for notes in (self.train, self.test)])
        # What is asked for: the pitches that training draws.
        self._ranges = {int(number): np.flatnonzero(row) for number, row in zip(self._numbers, draws.sounding, strict=True)}

    def _gathered(self, draws: SingleNotes, split: str) -> NoteSet:
        notes = gather(draws.held_out(split), self.samples, _MOST)
        notes.instrument = self._numbers[notes.instrument]
        return notes

    def _hear(self, notes: NoteSet) -> Heard:
        return _joined([self.judge.hear(notes.waves(part)) for part in _parts(notes)])

    def _flaws(self, notes: NoteSet) -> Flaws:
        return _joined([flaws(notes.waves(part), notes.pitch[part], self.rate) for part in _parts(notes)])

    def _beyond(self, waveform: np.ndarray, pitch: np.ndarray) -> dict[str, Any]:
        return beyond(flaws(waveform, pitch, self.rate), self._real)

    def ranges(self, system: Note | None) -> dict[int, np.ndarray]:
        """Say which pitches of which instruments may be asked for: those that training draws, and that a model's card says it saw."""
        if system is None:
            return self._ranges
        learned, found = system.learned, {}
        for number, pitches in self._ranges.items():
            name = self.names[number]
            if name in system.instruments:
                low, high = learned[name]
                found[number] = pitches[(pitches >= low) & (pitches <= high)]
        found = {number: pitches for number, pitches in found.items() if len(pitches)}
        if not found:
            raise ConfigError(f"expected a model of some of the instruments {', '.join(self.names)}, found {', '.join(system.instruments)}")
        return found

    def real_rows(self, found: NoteEvaluation) -> None:
        """Measure the test notes, and training notes of the same instruments and of their or the nearest pitches: the floor."""
        self.given_row(found, REAL, self.test.waves(), floor=False)
        found.alike[REAL] = self._floor(np.arange(len(self.test)))
        real = self.heard_test
        found.timbre[REAL] = same_timbre(real.features, self.test.pitch, self.test.instrument, np.zeros(len(self.test), np.int64))

    def _floor(self, chosen: np.ndarray) -> dict[str, Any]:
        """Compare training notes of the labels of some test notes with these."""
        taken: list[int] = []
        for pitch, instrument in zip(self.test.pitch[chosen], self.test.instrument[chosen], strict=True):
            own = np.flatnonzero(self.train.instrument == instrument)
            # None twice, as long as there are others.
            free = np.setdiff1d(own, taken)
            free = free if len(free) else own
            taken.append(int(free[np.abs(self.train.pitch[free] - pitch).argmin()]))
        made, real = _part(self.heard_train, np.array(taken)), _part(self.heard_test, chosen)
        row = likeness(real, made, self.heard_train, self.test.instrument[chosen])
        # A training note's nearest is itself: of real notes the test notes say how near they come.
        nearby = likeness(real, real, self.heard_train, self.test.instrument[chosen])
        return row | {key: nearby[key] for key in ("nearest", "memorised", "closest", "too near")}

    def given_row(self, found: NoteEvaluation, name: str, waveform: np.ndarray, floor: bool = True) -> None:
        """Measure waveforms that stand for the test notes one by one."""
        heard = self.judge.hear(waveform)
        found.asked[name], _ = heard_as_asked(waveform, heard, self.test.pitch, self.test.instrument, self.rate)
        found.flaws[name] = self._beyond(waveform, self.test.pitch)
        if floor:
            found.alike[name] = likeness(self.heard_test, heard, self.heard_train, self.test.instrument)

    def row(
        self, found: NoteEvaluation, name: str, source: Made | Shifted, ranges: dict[int, np.ndarray], count: int,
        scale_instruments: Sequence[str], seed: int,
    ) -> None:  # fmt: skip
        """Measure what a source makes."""
        pitch, instrument = _balanced(ranges, count, seed)
        began = time.process_time()
        waveform = source.make(pitch, instrument, np.arange(count))
        seconds = time.process_time() - began
        found.speed[name] = {"n": count, "cpu seconds a second": seconds / (waveform.size / self.rate)}
        found.asked[name], _ = heard_as_asked(waveform, self.judge.hear(waveform), pitch, instrument, self.rate)
        found.flaws[name] = self._beyond(waveform, pitch)
        chosen = np.flatnonzero([p in ranges.get(i, ()) for p, i in zip(self.test.pitch, self.test.instrument, strict=True)])
        if len(chosen) > NEIGHBOURS:
            wanted, players = self.test.pitch[chosen], self.test.instrument[chosen]
            made = self.judge.hear(source.make(wanted, players, count + np.arange(len(chosen))))
            floor = self._floor(chosen)
            found.alike[name] = likeness(_part(self.heard_test, chosen), made, self.heard_train, players)
            found.alike[name] |= {f"floor of {key}": floor[key] for key in ("frechet", "ndb", "precision", "recall", "diversity")}
        pitch, instrument, latent = _same_latents(ranges)
        if len(pitch) > 1:
            heard = self.judge.hear(source.make(pitch, instrument, latent))
            found.timbre[name] = same_timbre(heard.features, pitch, instrument, latent)
        self._scale(found, name, source, ranges, scale_instruments)

    def held_row(self, found: NoteEvaluation, name: str, system: Note, ranges: dict[int, np.ndarray]) -> None:
        """Measure a model's notes that are held longer than it makes them."""
        named = {self.names[number]: pitches for number, pitches in ranges.items()}
        found.held |= held_rows(system, name, named, lambda own: beyond(own, self._real))

    def _scale(self, found: NoteEvaluation, name: str, source, ranges: dict[int, np.ndarray], wanted: Sequence[str]) -> None:
        """Play chromatic scales on three instruments."""
        there = {self.names[number]: number for number in ranges}
        for player in wanted:
            if player not in there:
                raise ConfigError(f"expected for the scales instruments of {name}, found {player!r}: {nearest(player, list(there))}")
        order = list(wanted) or list(dict.fromkeys([player for player in SCALE if player in there] + sorted(there)))[:3]
        pitch, instrument = [], []
        for player in order:
            low, high = int(ranges[there[player]][0]), int(ranges[there[player]][-1])
            start = max(low, min(60, high - _STEPS + 1))
            pitch += range(start, min(start + _STEPS, high + 1))
            instrument += [there[player]] * (len(pitch) - len(instrument))
        pitch, instrument = np.tile(pitch, _LATENTS), np.tile(instrument, _LATENTS)
        latent = np.repeat(np.arange(_LATENTS), len(pitch) // _LATENTS)
        waveform = source.make(pitch, instrument, latent)
        heard = self.judge.hear(waveform)
        _, cents = heard_as_asked(waveform, heard, pitch, instrument, self.rate)
        found.scales[name] = {"instruments": order} | scale(heard, cents, self._beyond(waveform, pitch), instrument)


def _parts(notes: NoteSet) -> list[slice]:
    """Cut a set into parts whose waveforms fit into memory."""
    return [slice(start, start + 256) for start in range(0, len(notes), 256)]


def _joined(parts: list):
    """Join parts of figures, dataclasses of arrays (notes, ...) of one kind, into one."""
    return type(parts[0])(*(np.concatenate(column) for column in zip(*(vars(part).values() for part in parts), strict=True)))


def _part(heard: Heard, chosen: np.ndarray) -> Heard:
    return Heard(*(values[chosen] for values in vars(heard).values()))


def _balanced(ranges: dict[int, np.ndarray], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw pitches and instruments, int64 (count,): the instruments in turn, the pitches of each evenly over its range."""
    rng, players = np.random.default_rng(seed), sorted(ranges)
    instrument = np.array([players[n % len(players)] for n in range(count)], np.int64)
    pitch = np.zeros(count, np.int64)
    for player in players:
        places = np.flatnonzero(instrument == player)
        # Each pitch once before one comes again.
        rounds = -(-len(places) // len(ranges[player]))
        pitch[places] = np.concatenate([rng.permutation(ranges[player]) for _ in range(max(1, rounds))])[: len(places)]
    return pitch, instrument


def _same_latents(ranges: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose notes of a few latents at many pitches of some instruments: pitch, instrument and latent, int64 (notes,)."""
    players = sorted(ranges)
    players = [players[n * len(players) // min(_PLAYERS, len(players))] for n in range(min(_PLAYERS, len(players)))]
    rows = [(p, i, latent) for i in players for latent in range(_LATENTS) for p in ranges[i][::_STRIDE]]
    pitch, instrument, latent = np.array(rows, np.int64).T
    return pitch, instrument, latent


def _about(bench: _Bench, data, known: dict[str, str], count: int, seed: int) -> list[str]:
    """Say what was done."""
    return [
        f"Notes: {data}, {len(bench.test)} of split test, {len(bench.train)} of split train, {len(np.unique(bench.train.instrument))} "
        f"instruments. Judge: {known['name']}, SHA-256 {known['hash']}..., trained on recordings of split train alone. Where a split parts "
        "notes, not recorders, it has heard the test notes' recorders: what it names is the instrument as these recorded it.",
        f"Asked for (seed {seed}): {count} notes of each row, the instruments in turn, their pitches of training evenly; and, for "
        "likeness, one note for each test note, of its pitch and instrument. The floor is made of training notes of the test notes' "
        "instruments and (nearest) pitches; they are what the judge was trained on, so the floor is rather high than low.",
    ]
