"""Make notes with a model that is loaded once: batches of any pitches, instruments, velocities and lengths, the same by seed."""

import hashlib
import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soxr
import torch

from songfoundry import inventory
from songfoundry.engine import Engine
from songfoundry.errors import Cancelled, ConfigError, InputError
from songfoundry.metrics.pitch import median_cents
from songfoundry.registry import nearest
from songfoundry.systems.note import Note
from songfoundry.timbre.pitches import hertz, parse_pitches, pitch_name
from songfoundry.timbre.programs import sustains
from songfoundry.timbre.shaping import Sound, Stroke, brightened, release_seconds, skipped
from songfoundry.timbre.timbres import Timbre, load_timbre

__all__ = ["DEFAULT_MODEL", "GeneratedNote", "NoteGenerator", "find"]

DEFAULT_MODEL = "note"
"""Name of the model that makes notes where none is named."""
MOST_NOTES = 4096
"""Notes of one call."""
MOST_SAMPLES = 160_000_000
"""Samples of one call, all of which are held: 640 MB, 10,000 s at 16 kHz."""
LONGEST = 600.0
"""Seconds of one note."""
_BATCH = 16
_LEVEL = 0.95
"""Peak of a note of velocity 127, full scale 1."""
_HIGHEST = 0.45
"""Share of the rate up to which a fundamental is heard; higher notes are made at `_HIGH_RATE`."""
_HIGH_RATE = 48000
_SILENT = 0.1
"""Share of its loudest 0.2 s below which a held note's end has died away: 20 dB."""
_MOST_FASTER = 64
"""A note that is played up to so much faster is held first, so that it is as long as others."""
_MEASURED = (20, 108)
"""Pitches that `songfoundry.metrics.pitch.median_cents` can tell from their octaves."""


@dataclass
class GeneratedNote:
    """Hold a note.

    Attributes
    ----------
    samples : float32 (samples,), full scale ±1, at `rate` Hz. pitch, velocity : MIDI. timbre : what it was made with.
    number : which of several timbres of one seed. cents : what YIN measures it to be off its pitch, positive for sharp; None where
        nothing can be measured. said : sentences for the user.
    """

    samples: np.ndarray
    rate: int
    pitch: int
    velocity: int
    timbre: Timbre
    number: int = 0
    cents: float | None = None
    said: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate


class NoteGenerator(Engine):
    """Hold one model, ready to make any number of notes.

    Parameters
    ----------
    model : name of a shipped or local model, path of a `.safetensors`, or a system that is built.
    device : "auto", "cpu", "cuda", "cuda:1" or "mps". threads : CPU threads; None for the cores that are free now.

    Attributes
    ----------
    instruments : their names. pitches : lowest and highest MIDI pitch that was trained; ranges : likewise, of each instrument.
    rate : Hz. seconds : of a note as made. latent : how many numbers a latent has. hash : of the generator's weights; timbres belong to it.

    Raises
    ------
    ConfigError : an unknown model or device. CheckpointError : the file is damaged, or no model that makes notes.
    """

    def __init__(self, model: str | os.PathLike | Note = DEFAULT_MODEL, device: str = "auto", threads: int | None = None):
        super().__init__(model, device, threads, find=find, kinds=("note",), does="makes notes")
        self.system: Note
        config = self.system.config
        self.instruments, self.pitches = tuple(config.instruments), tuple(config.pitches)
        self.ranges = tuple(self.system.learned[name] for name in self.instruments)
        self.rate, self.seconds, self.latent = config.rate, config.samples / config.rate, self.system.net.latent
        self.hash = _hash(self.system)

    def instrument(self, name: str) -> int:
        """Find an instrument's number; raises `ConfigError`, which names the nearest."""
        if name not in self.instruments:
            raise ConfigError(f"expected an instrument of {self.name}, found {name!r}: {nearest(name, list(self.instruments))}")
        return self.instruments.index(name)

    def timbre(self, instrument: str | None = None, seed: int = 0, number: int = 0) -> Timbre:
        """Draw a timbre; (seed, number) alone decide it, on every machine. Without an instrument that is drawn too.

        Raises
        ------
        ConfigError : an unknown instrument, or a seed below 0.
        """
        if not 0 <= seed < 2**63:
            raise ConfigError(f"expected a seed of 0 to 2^63 - 1, found {seed}: choose another")
        draw = np.random.default_rng([seed, number])
        latent = draw.standard_normal(self.latent).astype(np.float32)
        drawn = int(draw.integers(len(self.instruments)))
        weights = np.zeros(len(self.instruments), np.float32)
        weights[drawn if instrument is None else self.instrument(instrument)] = 1
        return Timbre(latent, weights, self.instruments, self.hash)

    def load_timbre(self, file: str | os.PathLike) -> Timbre:
        """Read a timbre of this very model; raises `InputError`, or `ConfigError` where it is another model's."""
        found = load_timbre(file)
        if found.model != self.hash or len(found.latent) != self.latent or found.instruments != self.instruments:
            raise ConfigError(
                f"expected a timbre of the model {self.name} ({self.hash[:8]}), {Path(file).name} belongs to another "
                f"({found.model[:8]}): name that one with --model, or make the timbre anew"
            )
        return found

    def notes(
        self, pitches: str | int | Sequence[int] = "C4", *, instrument: str | None = None, timbre: Timbre | None = None, seed: int = 0,
        count: int = 1, velocity: int = 100, duration: float | None = None, progress: Callable[[float], bool | None] | None = None,
        cancel: threading.Event | None = None,
    ) -> list[GeneratedNote]:  # fmt: skip
        """Make notes: each pitch with each of `count` timbres, all pitches of one timbre together.

        Parameters
        ----------
        pitches : MIDI numbers, or text as "C4", "60", "A3..A5". instrument, seed : of the timbres that are drawn.
        timbre : this one instead, and nothing is drawn. velocity : 1 to 127. duration : seconds from key to silence; None as made.
        progress : called with the share that is done; returns False to stop. cancel : stops when set.

        Raises
        ------
        ConfigError : a value is out of range, the instrument is unknown, or there would be no note. Cancelled : as asked.
        """
        heights = parse_pitches(pitches)
        if not 1 <= count * len(heights) <= MOST_NOTES:
            raise ConfigError(f"expected 1 to {MOST_NOTES} notes, found {count * len(heights)}: change --count or --pitch")
        if timbre is not None and (count > 1 or instrument is not None):
            raise ConfigError("expected a timbre alone, found a count or an instrument beside it: leave them out")
        timbres = [timbre] if timbre is not None else [self.timbre(instrument, seed, number) for number in range(count)]
        every = [(number, each, pitch) for number, each in enumerate(timbres) for pitch in heights]
        made = self.make(
            [each for _, each, _ in every], [pitch for *_, pitch in every], velocity=velocity, duration=duration, progress=progress,
            cancel=cancel,
        )  # fmt: skip
        for note, (number, *_) in zip(made, every, strict=True):
            note.number = number
        return made

    def make(
        self, timbres: Sequence[Timbre], pitches: Sequence[int], *, velocity: int = 100, duration: float | None = None,
        progress: Callable[[float], bool | None] | None = None, cancel: threading.Event | None = None,
    ) -> list[GeneratedNote]:  # fmt: skip
        """Make one note of each timbre and pitch, as `notes` does.

        A note shorter than the model makes it is released earlier; one that is longer is held by its steady part; of an instrument that
        is struck or plucked it goes on fading, which is said where little is left of it. A pitch that was not trained with the timbre's
        instrument is the nearest one that was, resampled.

        Raises
        ------
        ConfigError : a velocity or duration out of range, more sound than fits. InputError : what is made is no sound.
        Cancelled : as asked.
        """
        rate = self.rate if hertz(max(pitches, default=0)) <= _HIGHEST * self.rate else max(self.rate, _HIGH_RATE)
        self.check(len(pitches), velocity, duration, rate)
        made = []
        for first in range(0, len(pitches), _BATCH):
            part = slice(first, first + _BATCH)
            for timbre, pitch, wave in zip(timbres[part], pitches[part], self.waves(timbres[part], pitches[part], rate), strict=True):
                wave, died = self._shaped(brightened(wave, rate, hertz(pitch), velocity), rate, pitch, duration, self.lasts(timbre))
                wave *= np.float32(_LEVEL * (velocity / 127) ** 2 / max(float(np.abs(wave).max()), 1e-9))
                note = GeneratedNote(wave, rate, pitch, velocity, timbre)
                note.cents = _cents(wave, rate, pitch)
                if (near := self.trained(pitch, timbre)) != pitch:
                    known = f"{timbre.name} ({' to '.join(map(pitch_name, self.range(timbre)))} were)"
                    note.said.append(f"{pitch_name(pitch)} was not trained with {known}: made of {pitch_name(near)}, resampled")
                if rate != self.rate and pitch == max(pitches):
                    note.said.append(f"{pitch_name(pitch)} needs more than {self.rate} Hz: written at {rate} Hz")
                if died:
                    note.said.append(f"{timbre.name} dies away before {duration:g} s are over: its end is more than 20 dB softer")
                made.append(note)
            stop = progress is not None and progress(len(made) / len(pitches)) is False
            if stop or (cancel is not None and cancel.is_set()):
                raise Cancelled("expected to make all notes, found the work cancelled: nothing was kept")
        return made

    def check(self, count: int, velocity: int = 100, duration: float | None = None, rate: int | None = None) -> None:
        """Refuse so many notes, at a rate in Hz (None: the model's own), that cannot be made; raises `ConfigError`."""
        if not 1 <= velocity <= 127:
            raise ConfigError(f"expected a velocity of 1 to 127, found {velocity}: choose another")
        if duration is not None and not 0.02 <= duration <= LONGEST:
            raise ConfigError(f"expected a duration of 0.02 to {LONGEST:g} seconds, found {duration:g}: choose another")
        if not 1 <= count <= MOST_NOTES:
            raise ConfigError(f"expected 1 to {MOST_NOTES} notes, found {count}: change --count, --steps or --pitch")
        most = MOST_SAMPLES / (rate or self.rate)
        if (whole := count * (duration or self.seconds)) > most:
            raise ConfigError(
                f"expected at most {most:,.0f} seconds of notes together, found {count} of {duration or self.seconds:g} s, {whole:,.0f} s: "
                "make fewer or shorter ones at once"
            )

    def range(self, timbre: Timbre | None = None) -> tuple[int, int]:
        """Give the lowest and the highest pitch that was trained, of a timbre's instruments together or of all."""
        if timbre is None:
            return self.pitches
        lows, highs = zip(*(self.ranges[index] for index in np.flatnonzero(timbre.instrument)), strict=True)
        return min(lows), max(highs)

    def trained(self, pitch: int, timbre: Timbre | None = None) -> int:
        """Give the trained pitch that is nearest, with a timbre or with any."""
        low, high = self.range(timbre)
        return min(max(pitch, low), high)

    def lasts(self, timbre: Timbre) -> bool | None:
        """Tell whether a timbre's notes last as long as they are played, by what most of it is; None where names do not say."""
        shares = {True: 0.0, False: 0.0, None: 0.0}
        for name, weight in zip(timbre.instruments, timbre.instrument, strict=True):
            shares[sustains(name)] += float(weight) ** 2
        return max(shares, key=shares.__getitem__)

    def waves(self, timbres: Sequence[Timbre], pitches: Sequence[int], rate: int | None = None) -> list[np.ndarray]:
        """Make notes as the model does, at any pitch.

        Parameters
        ----------
        timbres, pitches : one a note. rate : Hz; None for the model's own.

        Returns
        -------
        notes : float32 (samples,) each, peak 1; `seconds` long, more where a pitch below the trained ones needs resampling. One above is
            held before it is resampled, as long as it does not die by itself.
        """
        near = [self.trained(pitch, timbre) for timbre, pitch in zip(timbres, pitches, strict=True)]
        # On a CPU, batches save no time, and one by one a note is the same bits whatever is made beside it.
        step = 1 if self.device.type == "cpu" else _BATCH
        out = []
        for first in range(0, len(pitches), step):
            part = slice(first, first + step)
            made = self._batch(timbres[part], near[part])
            for wave, timbre, pitch, base in zip(made, timbres[part], pitches[part], near[part], strict=True):
                if pitch > base:
                    wave = self._longer(wave, timbre, base, min(2.0 ** ((pitch - base) / 12), _MOST_FASTER))
                faster = 2.0 ** ((pitch - base) / 12) * self.rate / (rate or self.rate)
                if faster != 1:
                    wave = soxr.resample(wave, faster, 1.0)
                out.append(wave / np.float32(max(float(np.abs(wave).max(initial=0)), 1e-9)))
        return out

    def _batch(self, timbres: Sequence[Timbre], pitches: Sequence[int]) -> np.ndarray:
        """Make notes of trained pitches at once: float32 (notes, samples)."""
        latent = torch.from_numpy(np.stack([timbre.latent for timbre in timbres])).to(self.device)
        pure = [timbre.pure for timbre in timbres]
        if None in pure:
            instrument = torch.from_numpy(np.stack([timbre.instrument for timbre in timbres])).to(self.device)
        else:
            instrument = torch.tensor(pure, device=self.device)
        with self.threaded(), torch.inference_mode():
            made = self.system.notes(latent, torch.tensor(pitches, device=self.device), instrument).float().cpu().numpy()
        if not np.isfinite(made).all():
            raise InputError(f"expected notes of finite numbers from {self.name}, found others: take another timbre, or a sound model")
        return made

    def _longer(self, wave: np.ndarray, timbre: Timbre, pitch: int, times: float) -> np.ndarray:
        """Hold a note so many times as long as it was made, its release as much slower."""
        whole = round(times * len(wave))
        release = round(times * release_seconds(self.seconds) * self.rate)
        stroke = Stroke(Sound(wave, self.rate, hertz(pitch), self.lasts(timbre)), whole - release, release)
        return stroke.read(0, whole) if stroke.looped else wave

    @staticmethod
    def _shaped(wave: np.ndarray, rate: int, pitch: int, duration: float | None, lasts: bool | None) -> tuple[np.ndarray, bool]:
        """Give a note its length; and tell whether it has died before its end."""
        sound = Sound(wave, rate, hertz(pitch), lasts)
        if duration is None:
            return sound.samples, False
        whole = round(duration * rate)
        release = min(round(release_seconds(duration) * rate), whole // 2)
        held = whole - release
        made = Stroke(sound, held, release, skipped(sound, held)).read(0, whole)
        last = made[held - min(held, round(0.1 * rate)) : held]
        return made, math.sqrt(float(np.square(last, dtype=np.float64).mean())) < _SILENT * sound.loudest


def find(name: str | os.PathLike) -> Path:
    """Find the file of a model of notes, by its name or its path; raises `ConfigError`."""
    return inventory.find_model(name, "note")


def _hash(system: Note) -> str:
    """Compute a hash of what makes the notes: the generator's weights, not the side that judged it or the file's name."""
    digest = hashlib.sha256()
    for parameter in system.phases()["generator"]:
        digest.update(str(tuple(parameter.shape)).encode() + parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _cents(wave: np.ndarray, rate: int, pitch: int) -> float | None:
    """Measure how far a note is off its pitch; None where it is silent, or outside what `median_cents` looks for."""
    if not _MEASURED[0] <= pitch <= _MEASURED[1]:
        return None
    cents = float(median_cents(wave, rate, pitch))
    return cents if np.isfinite(cents) else None
