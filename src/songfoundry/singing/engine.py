"""Sing with WORLD: speech taken apart, its syllables put on a melody, and put together again with a singer's F0."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from songfoundry.audio.pieces import resample
from songfoundry.errors import InputError
from songfoundry.singing.controls import Controls, Sung
from songfoundry.voice import curves, timing, world
from songfoundry.voice.syllables import Syllable, levels, syllables_of
from songfoundry.voice.tune import Curve, Tune, TuneNote
from songfoundry.voice.warping import align, place_along
from songfoundry.voice.world import PERIOD, RATES, Voice

__all__ = ["LONGEST_SPEECH", "Controls", "Performance", "Speech", "Sung", "WorldSinger"]

LONGEST_SPEECH = 300.0
"""Seconds of speech that are taken apart at once."""
_CLIPPED, _CLIPPED_SHARE = 0.999, 1e-3
_SILENT = 1e-4
_LEAST_VOICED = 0.1
"""Seconds that must be voiced for a recording to hold a voice."""
_FORMANT_HERTZ, _FORMANT_WIDTH, _FORMANT_DECIBELS = 3000.0, 500.0, 3.0
"""The singing formant, at full expression, over what every singer has."""
_SINGERS = (
    (0, 0.5), (300, 0.5), (390, 1.3), (460, 2.2), (530, 3.6), (700, 4.2), (890, 4.0), (990, 3.2), (1220, 1.9), (1480, 1.6), (1930, 0.3),
    (2300, -0.2), (2680, 1.5), (3140, 3.3), (3390, 3.8), (3650, 2.3), (3930, 0.9), (4240, -0.8), (5000, -1.8), (7000, -1.8), (8000, -3.0),
)  # fmt: skip
"""Hz and decibels by which the voiced frames of people who sing differ from those of the same people who speak, whatever the level: means
of 51 pairs of sentences by 17 people, the training split of RAVDESS."""
_VOICED_SHARE = 0.7
"""Share of the nearest voiced frame in one that a curve wants voiced and that was not."""
_SWELL = 0.12
"""Part of its amplitude by which a voice swells with its vibrato, at full expression."""
_EVEN = 0.6
"""Share of the difference in level between syllables that is taken away at full expression."""
_ATTACK, _RELEASE = 0.015, 0.05
_SAME_WORDS = 3.0
"""Lengths of a guide and of speech that differ by more than this factor are not the same words."""
_FAINT = 1e-14


@dataclass
class Speech:
    """Hold a recording taken apart: its voice, its syllables, sentences about it."""

    voice: Voice
    syllables: list[Syllable]
    said: list[str]


class WorldSinger:
    """Sing without a model."""

    name = "world"

    def sing(
        self, speech: np.ndarray, rate: int, target: Tune | Curve, controls: Controls | None = None, guide: np.ndarray | None = None
    ) -> Sung:
        """Sing a recording of speech on a tune or along an F0 curve.

        Parameters
        ----------
        speech : float32 (samples,), full scale ±1, at `rate` Hz, up to `LONGEST_SPEECH` seconds.
        target : the melody. controls : wishes; None for the defaults.
        guide : float32 (samples,) at `rate` Hz: a recording of the same words sung on the melody, whose timing is followed; or None.

        Raises
        ------
        InputError : no voice in the recording, or no melody. MissingExtraError : pyworld is not installed.
        """
        prepared = self.prepare(speech, rate)
        show = self.perform(prepared, target, controls or Controls(), guide, rate)
        samples = np.concatenate(list(show.blocks()))
        peak = float(np.abs(samples).max(initial=0))
        if peak > 0.99:
            samples *= np.float32(0.99 / peak)
        said, voice = prepared.said + show.plan.said, prepared.voice
        return Sung(samples, voice.rate, show.target, voice.curve, show.plan.words, show.plan.marks, said)

    def prepare(self, speech: np.ndarray, rate: int) -> Speech:
        """Take speech apart: float32 (samples,) at `rate` Hz.

        Raises
        ------
        InputError : too long, silent, or without a voice.
        """
        speech = np.asarray(speech, np.float32)
        if speech.ndim != 1 or not speech.size or not np.isfinite(speech).all():
            raise InputError(f"expected finite samples of one channel to sing, found shape {speech.shape}: give a recording")
        if len(speech) > LONGEST_SPEECH * rate:
            raise InputError(f"expected at most {LONGEST_SPEECH:g} s of speech, found {len(speech) / rate:.0f} s: cut it")
        said = []
        peak = float(np.abs(speech).max())
        if peak < _SILENT:
            raise InputError("expected a voice in the recording, found silence: give another recording")
        clipped = np.count_nonzero(np.abs(speech) >= _CLIPPED * peak) / len(speech)
        if peak > 0.5 and clipped > _CLIPPED_SHARE:
            said.append(f"the speech clips: {100 * clipped:.1f} % of its samples lie at its peak, which will be heard")
        speech = resample(speech[None], rate, min(max(rate, RATES[0]), RATES[1]))[0]
        voice = world.analyse(speech, min(max(rate, RATES[0]), RATES[1]))
        _, whole = levels(voice)
        voice = Voice(np.where(whole > -45, voice.hertz, 0.0), voice.envelope, voice.aperiodicity, voice.rate)
        syllables = syllables_of(voice)
        voiced = np.count_nonzero(voice.hertz) * PERIOD
        if not syllables or voiced < _LEAST_VOICED:
            raise InputError(f"expected a voice in the recording, found {voiced:.2f} s of it: give a recording of someone who speaks")
        return Speech(voice, syllables, said)

    def perform(
        self, speech: Speech, target: Tune | Curve, controls: Controls, guide: np.ndarray | None = None, guide_rate: int = 0
    ) -> "Performance":
        """Plan a performance, whose sound is made by its `blocks`; arguments as of `sing`."""
        if not (target.notes if isinstance(target, Tune) else (target.hertz > 0).any()):
            raise InputError("expected a melody to sing, found none: give one with notes")
        target = curves.transposed(target, controls.transpose)
        voice = speech.voice
        if isinstance(target, Tune):
            curve, swing = curves.curve_of(
                target, expression=controls.expression, vibrato_rate=controls.vibrato_rate, vibrato_depth=controls.vibrato_depth,
                seed=controls.seed,
            )  # fmt: skip
            plan = timing.fit(speech.syllables, target.notes, len(curve.hertz), controls.timing)
            wanted = None
        else:
            curve = _at_period(target)
            swing = np.zeros(len(curve.hertz))
            wanted = curve.hertz > 0
            plan = self._along(speech, curve, controls, guide, guide_rate)
        _tell_range(plan.said, voice, curve)
        return Performance(speech, curve, swing, plan, controls, wanted)

    def _along(self, speech: Speech, curve: Curve, controls: Controls, guide, guide_rate: int) -> timing.Plan:
        """Plan along a curve: as the guide goes, as voicing goes, or as notes go that are found in it."""
        first, last = _sounding(curve.hertz > 0)
        begin, end = speech.syllables[0].begin, speech.syllables[-1].end
        if not 1 / _SAME_WORDS < (last - first) / (end - begin) < _SAME_WORDS:
            plan = timing.fit(speech.syllables, _notes(curve), len(curve.hertz), controls.timing)
            if guide is not None:
                lengths = f"{(last - first) * PERIOD:.1f} s and {(end - begin) * PERIOD:.1f} s"
                plan.said.append(f"guide and speech last {lengths}, too different for the same words: syllables go on its notes")
            return plan
        if guide is not None:
            heard = world.analyse(resample(np.asarray(guide, np.float32)[None], guide_rate, RATES[0])[0], RATES[0])
            features = _features(heard)[: len(curve.hertz)]
            path = align(features, _features(speech.voice), slant=0.5)
            source = place_along(path, len(features))
            source = np.concatenate((source, np.full(len(curve.hertz) - len(source), source[-1])))
        else:
            voiced = np.stack([curve.hertz[first:last] > 0], 1).astype(float)
            spoken = np.stack([speech.voice.hertz[begin:end] > 0], 1).astype(float)
            inner = begin + place_along(align(voiced, spoken, slant=4.0), last - first)
            # What lies before and after the melody keeps its pace: consonants.
            source = np.concatenate((inner[0] + np.arange(-first, 0), inner, inner[-1] + np.arange(1, len(curve.hertz) - last + 1)))
            source = np.where((source < begin) | (source > end), np.nan, source)
        smooth = np.convolve(np.pad(source, 4, mode="edge"), np.ones(9) / 9, "valid")
        return timing.follow(np.where(np.isnan(smooth), source, smooth), speech.syllables)


@dataclass
class Performance:
    """Hold a plan of what is sung, and make its sound.

    Attributes
    ----------
    target : the F0 that is asked for. plan : where each frame comes from.
    wanted : bool (frames,), which are voiced; None for as the speech is.
    """

    speech: Speech
    target: Curve
    swing: np.ndarray
    plan: timing.Plan
    controls: Controls
    wanted: np.ndarray | None

    def __post_init__(self) -> None:
        """Decide what is voiced, how loud, and at which frequency."""
        voice, source = self.speech.voice, self.plan.source
        resting = np.isnan(source)
        self._place = np.clip(np.where(resting, 0, source), 0, len(voice) - 1)
        near = np.rint(self._place).astype(int)
        voiced = self.wanted if self.wanted is not None else (voice.hertz[near] > 0) | self.plan.vowel
        self._voiced = voiced & ~resting
        self.hertz = np.where(self._voiced, _filled(self.target.hertz), 0.0)
        gain = self._evened()[near]
        if self.wanted is not None:
            # A vowel where nothing is to be voiced would be whispered: softer, it ends.
            gain = gain - 12.0 * ((voice.hertz[near] > 0) & ~self._voiced)
        gain = gain + 20 * np.log10(1 + _SWELL * self.controls.expression * self.swing)
        self._gain = 10 ** (gain / 20) * _edges(~resting)
        _, whole = levels(voice)
        self._loudness = np.where(resting, -200.0, whole[near] + gain)
        # A voiced frame that comes from a noise has the breath of the voiced frame nearest to it.
        spoken = np.flatnonzero(voice.hertz > 0)
        after = np.clip(np.searchsorted(spoken, np.arange(len(voice))), 1, max(len(spoken) - 1, 1)) if len(spoken) > 1 else None
        if after is None:
            self._breath = np.full(len(voice), spoken[0])
        else:
            left, right = spoken[after - 1], spoken[np.minimum(after, len(spoken) - 1)]
            self._breath = np.where(np.arange(len(voice)) - left < right - np.arange(len(voice)), left, right)
        self._colour = _colour(voice, self.controls)

    @property
    def seconds(self) -> float:
        """Say how long it is."""
        return len(self.hertz) * PERIOD

    def uncolour(self) -> None:
        """Take away what singing gives a voice, instead of giving it: for one who sang, and is to speak."""
        self._colour = -_colour(self.speech.voice, Controls(expression=0.0))

    def blocks(self) -> Iterator[np.ndarray]:
        """Make the sound: float32 (samples,) each, at the voice's rate."""
        yield from world.synthesise(self.hertz, self.speech.voice.rate, self._frames, self._loudness)

    def _frames(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        voice, place = self.speech.voice, self._place[first:last]
        low = np.minimum(place.astype(int), len(voice) - 1)
        high = np.minimum(low + 1, len(voice) - 1)
        share = (place - low)[:, None]
        voiced = self._voiced[first:last, None]
        near = np.rint(place).astype(int)
        envelope = np.log(voice.envelope[low] + 1e-20) * (1 - share) + np.log(voice.envelope[high] + 1e-20) * share
        made = self._voiced[first:last] & (voice.hertz[near] == 0)
        if made.any():
            spoken = np.log(voice.envelope[self._breath[near[made]]] + 1e-20)
            envelope[made] += _VOICED_SHARE * (spoken - envelope[made])
        breath = voice.aperiodicity[self._breath[near]]
        noise = np.where(voiced, np.minimum(breath, 1.0), 1.0)
        if (shift := self.controls.formant_shift) != 0:
            envelope, noise = _stretched(envelope, 2 ** (shift / 12)), _stretched(noise, 2 ** (shift / 12))
        envelope = envelope + voiced * self._colour
        return np.maximum(np.exp(envelope) * np.square(self._gain[first:last, None]), _FAINT), noise

    def _evened(self) -> np.ndarray:
        """Give decibels for each frame of the speech that bring its syllables nearer to each other."""
        sonority, _ = levels(self.speech.voice)
        peaks = np.array([(one.vowel + one.coda) // 2 for one in self.speech.syllables])
        heights = np.array([sonority[one.vowel : one.coda].max() for one in self.speech.syllables])
        gains = np.clip(_EVEN * self.controls.expression * (np.median(heights) - heights), -9, 9)
        return np.interp(np.arange(len(sonority)), peaks, gains)


def _at_period(curve: Curve) -> Curve:
    """Bring a curve to the frames of WORLD."""
    if abs(curve.period - PERIOD) < 1e-9:
        return Curve(np.asarray(curve.hertz, np.float64), PERIOD)
    clock = np.arange(int(np.ceil(curve.seconds / PERIOD))) * PERIOD / curve.period
    near = np.minimum(np.rint(clock).astype(int), len(curve.hertz) - 1)
    filled = _filled(np.asarray(curve.hertz, np.float64))
    return Curve(np.where(curve.hertz[near] > 0, np.exp(np.interp(clock, np.arange(len(filled)), np.log(filled))), 0.0), PERIOD)


def _filled(hertz: np.ndarray) -> np.ndarray:
    """Give every frame a frequency: that of the line between the nearest voiced ones, in octaves."""
    voiced = np.flatnonzero(hertz > 0)
    return np.exp(np.interp(np.arange(len(hertz)), voiced, np.log(hertz[voiced])))


def _sounding(flags: np.ndarray) -> tuple[int, int]:
    """Give the first frame that is set and the one after the last."""
    places = np.flatnonzero(flags)
    return int(places[0]), int(places[-1]) + 1


def _notes(curve: Curve) -> tuple[TuneNote, ...]:
    """Find the notes in a curve; all of it is one where none is long enough."""
    found = curves.notes_of(curve).notes
    if found:
        return found
    first, last = _sounding(curve.hertz > 0)
    return (TuneNote(first * PERIOD, last * PERIOD, float(np.median(69 + 12 * np.log2(curve.hertz[curve.hertz > 0] / 440)))),)


def _features(voice: Voice) -> np.ndarray:
    """Describe each frame by what two recordings of the same words share: mel cepstra around their mean, level, voicing."""
    from scipy import fft

    bins = voice.envelope.shape[1]
    mel = np.linspace(np.log1p(100 / 700), np.log1p(7000 / 700), 33)
    edges = 700 * np.expm1(mel) / (voice.rate / 2) * (bins - 1)
    sums = np.cumsum(np.pad(voice.envelope, ((0, 0), (1, 0))), 1, dtype=np.float64)
    at = np.rint(edges).astype(int)
    bands = np.log((sums[:, np.maximum(at[1:], at[:-1] + 1)] - sums[:, at[:-1]]) + 1e-12)
    cepstra = fft.dct(bands, norm="ortho", axis=1)[:, 1:14]
    _, whole = levels(voice)
    loud = whole > -40
    cepstra = (cepstra - cepstra[loud].mean(0)) / (cepstra[loud].std() + 1e-9)
    return np.concatenate((cepstra, np.maximum(whole, -45)[:, None] / 10, 1.5 * (voice.hertz > 0)[:, None]), 1)


def _tell_range(said: list[str], voice: Voice, curve: Curve) -> None:
    """Say it where a melody lies far from the speaker's own voice."""
    octaves = np.log2(np.median(curve.hertz[curve.hertz > 0]) / np.median(voice.hertz[voice.hertz > 0]))
    if abs(octaves) > 1.2:
        way, number = ("above", -12) if octaves > 0 else ("below", 12)
        said.append(f"the melody lies {abs(octaves):.1f} octaves {way} the speaking voice: transpose {number:+d} would suit it better")


def _edges(sounding: np.ndarray) -> np.ndarray:
    """Give gains that rise and fall where sound begins and ends."""
    steps = np.diff(np.concatenate(([False], sounding, [False])).astype(np.int8))
    gain = sounding.astype(float)
    for first, last in zip(np.flatnonzero(steps > 0), np.flatnonzero(steps < 0), strict=True):
        attack, release = (min(round(seconds / PERIOD), (last - first) // 2) for seconds in (_ATTACK, _RELEASE))
        gain[first : first + attack] *= (np.arange(attack) + 0.5) / max(attack, 1)
        gain[last - release : last] *= (np.arange(release)[::-1] + 0.5) / max(release, 1)
    return gain


def _stretched(frames: np.ndarray, ratio: float) -> np.ndarray:
    """Move what lies at f to f times ratio: (frames, bins)."""
    bins = frames.shape[1]
    place = np.minimum(np.arange(bins) / ratio, bins - 1)
    low = np.minimum(place.astype(int), bins - 2)
    share = place - low
    return frames[:, low] * (1 - share) + frames[:, low + 1] * share


def _colour(voice: Voice, controls: Controls) -> np.ndarray:
    """Give what a voice gains when it sings, as the logarithm of power (bins,)."""
    frequency = np.linspace(0, voice.rate / 2, voice.envelope.shape[1])
    singers = np.interp(frequency, *zip(*_SINGERS, strict=True))
    bump = np.exp(-0.5 * np.square((frequency - _FORMANT_HERTZ) / _FORMANT_WIDTH))
    return (singers + controls.expression * _FORMANT_DECIBELS * bump) / 10 * np.log(10)
