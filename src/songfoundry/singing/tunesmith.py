"""Make a simple tune for an instrumental: in the key that is heard, on its beats, over its chords, easy to sing.

The rules are those of songs for everyone: phrases of four bars with a breath after each, the third phrase another one, small steps,
chord tones where the bar is heavy, an octave and a fourth at most, and the keynote at the end.

Reference: von Hippel and Huron, "Why do skips precede reversals?", Music Perception 18(1), 2000 (steps, and the pull to the middle).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from songfoundry.errors import ConfigError, InputError
from songfoundry.metrics.beats import OnsetMeter, Onsets, beats_of, tempo_of
from songfoundry.metrics.chroma import Chroma, ChromaMeter, scale_of
from songfoundry.notes import KEYS
from songfoundry.voice.tune import Tune, TuneNote

__all__ = ["Heard", "hear", "make_tune", "tune_for"]

_BLOCK = 1 << 18
"""Samples that are listened to at once."""
_QUICKEST = 0.36
"""Seconds: of quicker beats every second one counts."""
_EVEN_BEAT = 0.6
"""Seconds of a beat where fewer than four are heard."""
_LEAST = 1.0
"""Seconds that a tune lasts at least."""
_BELOW, _ABOVE = 8, 9
"""Semitones below and above the middle that a tune may reach."""
_RHYTHMS = {
    4: (
        (1, 1, 1, 1), (1, 1, 2), (1.5, 0.5, 1, 1), (1, 0.5, 0.5, 1, 1), (2, 1, 1), (0.5, 0.5, 1, 1, 1), (1, 1, 1, 0.5, 0.5),
        (1.5, 0.5, 2), (1, 1, 0.5, 0.5, 1),
    ),
    3: ((1, 1, 1), (2, 1), (1, 0.5, 0.5, 1), (1.5, 0.5, 1), (1, 1, 0.5, 0.5)),
}  # fmt: skip
"""Lengths in beats of the notes of a bar, by beats a bar."""
_CLOSES = {4: ((1, 1, 1, -1), (3, -1), (1, 2, -1), (2, 1, -1)), 3: ((2, -1), (1, 1, -1))}
"""The same, of the last bar of a phrase; negative is a rest."""
_STEPS, _CHANCES = (-2, -1, 0, 1, 2), (0.1, 0.32, 0.16, 0.32, 0.1)


@dataclass(frozen=True)
class Heard:
    """Hold what an instrumental is like.

    Attributes
    ----------
    seconds : how long it is. key : its tonic's pitch class, plus 12 for minor. tempo : beats a minute, None where none is heard
    (they are counted evenly then).
    beats : float64 (beats,), seconds, over all of it. bar : beats a bar, 3 or 4. downbeat : number of the first beat that begins a bar.
    chroma : its pitch classes, and its tuning. said : sentences on what was found.
    """

    seconds: float
    key: int
    tempo: float | None
    beats: np.ndarray
    bar: int
    downbeat: int
    chroma: Chroma
    said: tuple[str, ...]


def hear(backing: np.ndarray | Iterable[np.ndarray], rate: int) -> Heard:
    """Find key, tempo, beats and bars of an instrumental.

    Parameters
    ----------
    backing : float32 (samples,) or (channels, samples), or such blocks one after the other: memory does not grow with them, but for
        about 6 kilobytes a second. rate : Hz.

    Raises
    ------
    InputError : it is silent, or shorter than a second.
    """
    blocks = [backing[..., n : n + _BLOCK] for n in range(0, backing.shape[-1], _BLOCK)] if isinstance(backing, np.ndarray) else backing
    pitches, strokes, samples = ChromaMeter(rate), OnsetMeter(rate), 0
    for block in blocks:
        mono = np.asarray(block if block.ndim == 1 else block.mean(0), np.float32)
        pitches.push(mono)
        strokes.push(mono)
        samples += len(mono)
    seconds = samples / rate
    if seconds < _LEAST:
        raise InputError(f"expected at least {_LEAST:g} s of backing to make a tune for, found {seconds:.2f} s: give a longer one")
    chroma, onsets = pitches.finish(), strokes.finish()
    if chroma.key is None:
        raise InputError("expected a backing with tones to make a tune for, found none in it: give one with chords, or a melody")
    tempo = tempo_of(onsets)
    beats = _throughout(beats_of(onsets, tempo), seconds)
    bar, downbeat = _bars(beats, onsets, chroma)
    counted = 60 * (len(beats) - 1) / (beats[-1] - beats[0])
    pace = f"{counted:.0f} beats a minute" if tempo else f"no beat, so one of {counted:.0f} a minute is counted"
    said = (f"heard in the backing: {KEYS[chroma.key]}, {pace}, {bar} beats a bar",)
    return Heard(seconds, chroma.key, tempo, beats, bar, downbeat, chroma, said)


def _throughout(beats: np.ndarray, seconds: float) -> np.ndarray:
    """Carry the beats on to both ends of the music, at the pace that they have there; every second one where they are quick."""
    if len(beats) < 4:
        return np.arange(0, seconds + _EVEN_BEAT, _EVEN_BEAT)
    pace = float(np.median(np.diff(beats)))
    before = np.arange(beats[0] - pace, -1e-9, -pace)[::-1]
    after = np.arange(beats[-1] + pace, seconds + pace, pace)
    beats = np.concatenate([before, beats, after])
    if pace >= _QUICKEST:
        return beats
    return beats[len(before) % 2 :: 2]


def _bars(beats: np.ndarray, onsets: Onsets, chroma: Chroma) -> tuple[int, int]:
    """Tell the beats a bar, 3 or 4, and the first beat that begins one: where harmony changes and strokes are strong."""
    if len(beats) < 9:
        return 4, 0
    sound = np.stack([chroma.between(begin, end) for begin, end in zip(beats, [*beats[1:], beats[-1] + 1], strict=True)])
    length = np.linalg.norm(sound, axis=1, keepdims=True)
    sound = sound / np.maximum(length, 1e-9)
    change = np.concatenate([[0.0], 1 - (sound[1:] * sound[:-1]).sum(1)])
    place = np.clip(np.rint(beats / onsets.period).astype(int), 0, max(0, len(onsets.strength) - 1))
    stroke = onsets.strength[place]
    accent = sum((part - part.mean()) / max(part.std(), 1e-9) * weight for part, weight in ((change, 1.0), (stroke, 0.4)))
    stand = {
        bar: [float(accent[first::bar].mean() * np.sqrt(len(accent[first::bar]))) for first in range(bar)] for bar in (4, 3)
    }
    # Waltzes are rare: three must stand out clearly more than four.
    bar = 3 if max(stand[3]) > 1.3 * max(stand[4]) + 0.5 else 4
    return bar, int(np.argmax(stand[bar]))


def make_tune(
    backing: np.ndarray | Iterable[np.ndarray], rate: int, *, seconds: float | None = None, seed: int = 0, centre: float = 62.0
) -> Tune:
    """Make a tune for an instrumental; arguments and errors as of `hear` and `tune_for`."""
    return tune_for(hear(backing, rate), seconds=seconds, seed=seed, centre=centre)


def tune_for(heard: Heard, *, seconds: float | None = None, seed: int = 0, centre: float = 62.0) -> Tune:
    """Make a tune, the same for the same seed.

    Parameters
    ----------
    seconds : the tune ends by then, and with the backing. centre : MIDI number of its middle; a voice's own.

    Raises
    ------
    ConfigError : a seed below 0, or less than a second. InputError : not a bar fits in.
    """
    if seed < 0 or seconds is not None and not seconds >= _LEAST or not 24 <= centre <= 96:
        raise ConfigError(
            f"expected a seed of 0 or more, at least {_LEAST:g} s and a middle from 24 to 96, found {seed}, {seconds} and {centre:g}: "
            "choose others"
        )
    end = min(heard.seconds, np.inf if seconds is None else seconds)
    first = heard.downbeat
    beats = heard.beats
    bars = int(((beats[first:] <= end + 0.05).sum() - 1) // heard.bar)
    if bars >= 9:
        # A bar to find one's way in.
        first, bars = first + heard.bar, bars - 1
    if bars < 1:
        first, bars = 0, max(1, int((beats <= end + 0.05).sum() - 1) // heard.bar)
    draw = np.random.default_rng([seed, 20260])
    line = _Line(heard, first, centre, draw)
    notes: list[TuneNote] = []
    for begin, length, pitch in line.written(bars):
        start, stop = (float(np.interp(place, np.arange(len(beats)), beats)) for place in (begin, begin + length))
        stop = min(stop, end)
        if stop - start > 0.1:
            notes.append(TuneNote(start, stop, pitch + heard.chroma.tuning / 100))
    if not notes:
        raise InputError(f"expected a backing with room for a bar, found {end:.1f} s: give a longer one")
    return Tune(tuple(notes))


class _Line:
    """Write a line of notes, in beats and steps of the scale."""

    def __init__(self, heard: Heard, first: int, centre: float, draw: np.random.Generator):
        self.heard, self.first, self.draw = heard, first, draw
        scale = sorted(scale_of(heard.key))
        pitches = np.array([12 * octave + tone for octave in range(11) for tone in scale])
        self.pitches = pitches[(pitches >= centre - _BELOW) & (pitches <= centre + _ABOVE)]
        self.middle = int(np.abs(self.pitches - centre).argmin())
        self.at = self.middle
        self._rhythms: dict[str, list[tuple[float, ...]]] = {}

    def written(self, bars: int) -> list[tuple[float, float, float]]:
        """Give notes as (beat at which it begins, beats, MIDI number)."""
        found: list[tuple[float, float, float]] = []
        forms = "AABA"
        for bar in range(bars):
            form, place = forms[bar // 4 % 4], bar % 4
            closes = place == 3 or bar == bars - 1
            rhythm = self._rhythm(form, place, closes)
            tones = self._chord(bar)
            position = 0.0
            for number, length in enumerate(rhythm):
                last = closes and all(rest < 0 for rest in rhythm[number + 1 :])
                if length > 0:
                    heavy = position % 2 == 0 if self.heard.bar == 4 else position == 0
                    self._move(tones if heavy or last else None, home=last and bar == bars - 1)
                    found.append((self.first + bar * self.heard.bar + position, length, float(self.pitches[self.at])))
                position += abs(length)
        return found

    def _rhythm(self, form: str, place: int, closes: bool) -> tuple[float, ...]:
        """Give the rhythm of a bar: the same in every phrase of a form; the first and third bar alike."""
        if form not in self._rhythms:
            pool, ends = _RHYTHMS[self.heard.bar], _CLOSES[self.heard.bar]
            one, two = (pool[n] for n in self.draw.choice(len(pool), 2, replace=False))
            self._rhythms[form] = [one, two, one, ends[self.draw.integers(len(ends))]]
        rhythm = self._rhythms[form]
        return rhythm[3] if closes else rhythm[place]

    def _chord(self, bar: int) -> set[int]:
        """Tell the triad of the key that fits a bar best: pitch classes."""
        begin = self.first + bar * self.heard.bar
        beats = self.heard.beats
        times = beats[min(begin, len(beats) - 1)], beats[min(begin + self.heard.bar, len(beats) - 1)]
        sound = self.heard.chroma.between(*times)
        scale = scale_of(self.heard.key)
        triads = [tuple(scale[(root + third) % 7] for third in (0, 2, 4)) for root in (0, 3, 4, 5, 1, 2)]
        return set(max(triads, key=lambda triad: sound[list(triad)].sum()))

    def _move(self, tones: set[int] | None, home: bool) -> None:
        """Go on to the next note: a small step, drawn to the middle, to a tone of the chord where one is asked for, home at the end."""
        pull = (self.at - self.middle) // 3
        aim = self.at + int(self.draw.choice(_STEPS, p=_CHANCES)) - int(np.sign(pull))
        allowed = {self.heard.key % 12} if home else tones
        options = [n for n in range(len(self.pitches)) if allowed is None or int(self.pitches[n]) % 12 in allowed]
        self.at = min(options, key=lambda n: (abs(n - aim), abs(n - self.middle)))
