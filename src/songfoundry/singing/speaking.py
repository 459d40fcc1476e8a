"""Make plain speech of a vocal, the other way of singing: held vowels and rests are cut short, the melody is flattened.

The pitch of speech hardly follows the tune: it falls through each phrase, by as much as speakers' does, and keeps a little of the melody.
"""

import numpy as np

from songfoundry.errors import InputError
from songfoundry.singing.controls import Controls, Sung
from songfoundry.singing.engine import Performance, Speech, WorldSinger
from songfoundry.voice import timing
from songfoundry.voice.syllables import levels
from songfoundry.voice.tune import Curve
from songfoundry.voice.world import PERIOD

__all__ = ["performance", "speak"]

_VOWEL, _MORE = 0.11, 0.12
"""Seconds of a vowel that are kept, and the share of what it lasts beyond them."""
_REST = 0.22
"""Seconds that a rest lasts at most."""
_SILENT = -38.0
"""Decibels below the loudest frame: a rest."""
_MELODY = 0.3
"""Share of the melody's intervals that is left."""
_FALL = 4.0
"""Semitones that the pitch of a phrase falls by."""
_LOWER = 5.0
"""Semitones that people speak below their singing (the mean of RAVDESS's training split)."""
_PHRASE = 0.15
"""Seconds of rest between phrases."""
_SMOOTH = 0.2
"""Seconds over which the pitch is averaged, which takes vibrato away."""


def speak(vocal: np.ndarray, rate: int, controls: Controls | None = None) -> Sung:
    """Speak what someone sings: float32 (samples,), full scale ±1, at `rate` Hz, up to `engine.LONGEST_SPEECH` seconds.

    Of the controls `transpose` and `formant_shift` are followed.

    Raises
    ------
    InputError : no voice in it. MissingExtraError : pyworld is not installed.
    """
    sung = WorldSinger().prepare(vocal, rate)
    show = performance(sung, controls or Controls())
    samples = np.concatenate(list(show.blocks()))
    samples *= np.float32(min(1.0, 0.99 / max(float(np.abs(samples).max(initial=0)), 1e-9)))
    return Sung(samples, sung.voice.rate, show.target, sung.voice.curve, show.plan.words, show.plan.marks, sung.said)


def performance(sung: Speech, controls: Controls) -> Performance:
    """Plan how a vocal that is taken apart is spoken; raises as `speak`."""
    source = _paced(sung)
    if not len(source):
        raise InputError("expected a voice in the recording, found none: give another recording")
    plan = timing.follow(source, sung.syllables)
    near = np.clip(np.rint(source).astype(int), 0, len(sung.voice) - 1)
    target = Curve(_flat(sung.voice.hertz[near], sung.voice.hertz, controls.transpose), PERIOD)
    wishes = Controls(formant_shift=controls.formant_shift, expression=0.0)
    show = Performance(sung, target, np.zeros(len(source)), plan, wishes, sung.voice.hertz[near] > 0)
    show.uncolour()
    return show


def _paced(sung: Speech) -> np.ndarray:
    """Say which frame of the vocal is heard when: float64 (frames,), growing."""
    voice = sung.voice
    _, whole = levels(voice)
    first, last = sung.syllables[0].begin, sung.syllables[-1].end
    lasts = np.ones(len(voice))
    for one in sung.syllables:
        length = one.coda - one.vowel
        kept = _VOWEL / PERIOD + _MORE * max(0.0, length - _VOWEL / PERIOD)
        lasts[one.vowel : one.coda] = min(1.0, kept / length)
    silent = whole < _SILENT
    for begin, end in _runs(silent):
        lasts[begin:end] = min(1.0, _REST / PERIOD / (end - begin))
    times = np.concatenate(([0.0], np.cumsum(lasts[first:last])))
    return np.interp(np.arange(int(times[-1])), times, np.arange(first, last + 1))


def _flat(heard: np.ndarray, whole: np.ndarray, transpose: float) -> np.ndarray:
    """Make the F0 of speech from that of a vocal at the same moments: float64 (frames,), Hz, 0 where unvoiced."""
    voiced = heard > 0
    pitch = np.interp(np.arange(len(heard)), np.flatnonzero(voiced), 12 * np.log2(heard[voiced]))
    size = round(_SMOOTH / PERIOD)
    pitch = np.convolve(np.pad(pitch, (size // 2, size - size // 2 - 1), mode="edge"), np.ones(size) / size, "valid")
    middle = 12 * np.log2(np.median(whole[whole > 0]))
    fall = np.zeros(len(heard))
    for begin, end in _phrases(voiced):
        fall[begin:end] = np.linspace(_FALL / 2, -_FALL / 2, end - begin)
    flat = middle - _LOWER + transpose + _MELODY * np.clip(pitch - middle, -12, 12) + fall
    return np.where(voiced, 2 ** (flat / 12), 0.0)


def _phrases(voiced: np.ndarray) -> list[tuple[int, int]]:
    """Part voiced frames at rests."""
    phrases: list[tuple[int, int]] = []
    for begin, end in _runs(voiced):
        if phrases and (begin - phrases[-1][1]) * PERIOD < _PHRASE:
            phrases[-1] = (phrases[-1][0], end)
        else:
            phrases.append((begin, end))
    return phrases


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
