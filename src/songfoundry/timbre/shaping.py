"""Shape a note that a net made: velocity, release, and its steady part gone round and round where it must last longer.

Two places whose waves lie on each other are joined by a cross-fade that keeps the power. What a wind or a bow holds is gone round in its
flattest stretch, evened out; of a string or a bar the fading is taken away, and laid on again for as long as the note is held.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import signal

__all__ = ["Loop", "Sound", "Stroke", "brightened", "find_loop", "release_seconds", "skipped"]

_HOP = 0.01
_ATTACK = 0.05
"""Seconds after the loudness is nearly reached that still belong to the attack."""
_SHORTEST = 0.2
"""Seconds of steady sound below which nothing is looped."""
_STEEP = 6.0
"""A fall of so many dB in 80 ms is a release, or a sound that dies by itself."""
_FADES, _FASTEST = 6.0, 35.0
"""dB a second: what fades less is held, what fades more is let die; of an instrument that is not known."""
_SLOWEST = 4.0
"""dB a second: what is struck or plucked fades so fast at least."""
_LEAST = 0.12
"""Seconds of a stretch, at least, that is gone round where a note must last."""
_WORTH = 20.0
"""dB that a stretch of a second is worth, times the root of its seconds up to one: a longer one sounds less like a loop."""
_STEP = 0.05
"""Seconds between the places where stretches begin and end."""
_COURSE = 0.2
"""Seconds over which a level is evened out at most; what is faster (a vibrato) stays."""
_BEFORE_RELEASE = 0.06
_SILENT = -120.0
_CROSS = 0.08
_FADE_IN, _FADE_OUT = 0.001, 0.01
_TILT = 0.9
"""Power of frequency that the spectrum falls by, beyond what it does, from velocity 127 to 0: 5.4 dB an octave."""
_NEUTRAL = 100
"""Velocity at which a note keeps the spectrum that it was made with."""


@dataclass(frozen=True)
class Loop:
    """Say how a sound goes on: samples `start` to `end` are gone through again and again, joined over `cross` samples.

    Its level falls by `slope` nepers a sample where it was made, and by `decay` where it is gone round; `match` is how well the joined
    waves agree, 1 for the same. `lift`: float64 (cross + end - start,), nepers by which samples `start` - `cross` to `end` are raised,
    so that the level is that of `start` throughout.
    """

    start: int
    end: int
    cross: int
    slope: float
    decay: float
    match: float
    lift: np.ndarray


class Sound:
    """Hold one note and read it at any place, beyond its end too.

    Parameters
    ----------
    samples : float32 (samples,). rate : Hz. hertz : its fundamental. lasts : as of `find_loop`.
    """

    def __init__(self, samples: np.ndarray, rate: int, hertz: float, lasts: bool | None = None):
        self.rate, self.hertz, self.lasts = rate, hertz, lasts
        fade = min(len(samples), round(_FADE_OUT * rate))
        self.samples = samples.astype(np.float32)
        self.samples[len(samples) - fade :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fade + 1, dtype=np.float32) / fade)

    @property
    def nbytes(self) -> int:
        """Count the bytes that it takes at most."""
        return 2 * self.samples.nbytes

    @cached_property
    def loop(self) -> Loop | None:
        """Find how it goes on; None where it dies by itself."""
        return find_loop(self.samples, self.rate, self.hertz, self.lasts)

    @cached_property
    def onset(self) -> int:
        """Count the samples until half of the largest level is reached."""
        level, hop = _envelope(self.samples, self.rate, self.hertz)
        return int(np.argmax(level > level.max() - 6)) * hop

    @cached_property
    def loudest(self) -> float:
        """Measure the root mean square of the loudest 0.2 s."""
        window = min(len(self.samples), round(0.2 * self.rate))
        power = np.cumsum(np.pad(self.samples.astype(np.float64) ** 2, (1, 0)))
        return float((power[window:] - power[:-window]).max() / window) ** 0.5

    @cached_property
    def _body(self) -> np.ndarray:
        """Make what is gone round: float32 (end - start,), its fading taken away, its end flowing into its beginning."""
        loop = self.loop
        flat = self.samples[loop.start - loop.cross : loop.end] * np.exp(loop.lift)
        before, body = flat[: loop.cross], flat[loop.cross :].copy()
        angle = (np.arange(loop.cross) + 0.5) / loop.cross * (np.pi / 2)
        out, into = np.cos(angle), np.sin(angle)
        # Equal power for waves that agree by `match`; for waves that are the same it is a straight mean.
        power = np.sqrt(1 + 2 * out * into * max(0.0, loop.match))
        body[-loop.cross :] = (out * body[-loop.cross :] + into * before) / power
        return body.astype(np.float32)

    def read(self, first: int, count: int, looped: bool = False) -> np.ndarray:
        """Give float32 (count,) from a sample on (it may lie before the beginning); beyond the end the loop, if asked, or silence."""
        out = np.zeros(count, np.float32)
        end = self.loop.start if looped else len(self.samples)
        low, high = min(max(first, 0), end), min(max(first + count, 0), end)
        out[low - first : high - first] = self.samples[low:high]
        if looped and first + count > end:
            later = np.arange(max(first, end), first + count) - end
            gain = np.exp(-self.loop.decay * later).astype(np.float32) if self.loop.decay else np.float32(1)
            out[max(first, end) - first :] = self._body[later % len(self._body)] * gain
        return out

    def read_at(self, places: np.ndarray, looped: bool = False) -> np.ndarray:
        """Give float32 (count,) at rising fractional samples, float64 (count,), by cubic interpolation (Catmull-Rom)."""
        whole = np.floor(places).astype(np.int64)
        first = int(whole[0]) - 1
        wave = self.read(first, int(whole[-1]) + 3 - first, looped)
        at, t = whole - first, (places - whole).astype(np.float32)
        a, b, c, d = (wave[at + shift] for shift in (-1, 0, 1, 2))
        return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


@dataclass
class Stroke:
    """Hold a sound that is struck: after `held` samples the key is up, after `release` more it is silent.

    What a slow attack would swallow of a short note is skipped (`skipped`).
    """

    sound: Sound
    held: int
    release: int
    skip: int = 0
    stretch: float = 1.0

    @property
    def length(self) -> int:
        """Count the samples to silence."""
        return self.held + self.release

    @cached_property
    def looped(self) -> bool:
        """Tell whether the sound must go on beyond its steady part; `stretch` is how much faster than made it may be read."""
        loop = self.sound.loop
        return loop is not None and self.skip + self.length * self.stretch > loop.end - loop.cross

    def read(self, first: int, count: int, places: np.ndarray | None = None) -> np.ndarray:
        """Give float32 (count,) from a sample of the stroke on; `places` are those of the sound where a bend moves them."""
        if places is None:
            out = self.sound.read(first + self.skip, count, self.looped)
        else:
            out = self.sound.read_at(places + self.skip, self.looped)
        begin = round((8 * _FADE_IN if self.skip else _FADE_IN) * self.sound.rate)
        if first < begin:
            out[: begin - first] *= ((np.arange(first, min(begin, first + count)) + 0.5) / begin).astype(np.float32)
        if first + count > self.held:
            after = np.arange(max(first, self.held), first + count) - self.held
            fade = 0.5 + 0.5 * np.cos(np.pi * np.minimum(1, (after + 0.5) / max(1, self.release)))
            out[max(first, self.held) - first :] *= fade.astype(np.float32)
        return out


def release_seconds(seconds: float) -> float:
    """Say how long a note that was held so long takes to fall silent: 30 ms for the shortest, 160 ms from half a second on."""
    return float(np.clip(0.32 * seconds, 0.03, 0.16))


def skipped(sound: Sound, held: int) -> int:
    """Say how many samples of a slow attack a short note leaves out: so many that its onset takes a third of it at most."""
    return max(0, sound.onset - held // 3)


def brightened(samples: np.ndarray, rate: int, hertz: float, velocity: int) -> np.ndarray:
    """Make a note as bright or dark as its velocity (1 to 127) asks: its spectrum is tilted round the fundamental.

    Parameters
    ----------
    samples : float32 (samples,).

    Returns
    -------
    float32 (samples,), of the same power.
    """
    tilt = _TILT * (_NEUTRAL - velocity) / 127
    if not tilt or not samples.any():
        return samples
    # Zeros behind, so that what the filter rings does not come round to the beginning.
    size = 1 << (len(samples) + rate // 20).bit_length()
    octave = np.maximum(np.fft.rfftfreq(size, 1 / rate), hertz) / hertz
    # At most 6 dB up: what lies high in a made note is noise as well.
    out = np.fft.irfft(np.fft.rfft(samples, size) * np.minimum(octave**-tilt, 2), size)[: len(samples)]
    return (out * math.sqrt(float(np.square(samples, dtype=np.float64).sum()) / max(float((out**2).sum()), 1e-20))).astype(np.float32)


def find_loop(samples: np.ndarray, rate: int, hertz: float, lasts: bool | None = None) -> Loop | None:
    """Find where a note can be gone round; None where it is too short, or dies by itself.

    `lasts`: whether the instrument's notes last as long as it is played (its flattest stretch is held, evened out) or die (its fading
    goes on); None to go by the sound: a slow diminuendo is held, what fades faster goes on fading.

    The two places are those whose waves lie on each other best (both alike in shape, phase and level): the greatest
    2 a·b / (a·a + b·b) over all pairs with one end held fast.
    """
    part = _flattest(samples, rate, hertz) if lasts else _steady(samples, rate, hertz)
    if part is None:
        return None
    begin, end, slope = part
    lift = _evening(samples, begin, end, rate, hertz) if lasts else slope * np.arange(end - begin)
    flat = samples[begin:end] * np.exp(lift)
    period = rate / hertz
    cross = min(max(round(_CROSS * rate), math.ceil(3 * period)), len(flat) // 4)
    least = max(round(0.4 * len(flat)), min(round(0.2 * rate), round(0.65 * len(flat))), math.ceil(4 * period))
    if least + cross > len(flat):
        return None
    last, field = flat[-cross:], flat[: len(flat) - least]
    if len(field) < cross:
        return None
    product = signal.correlate(field, last, mode="valid", method="fft")
    power = np.cumsum(np.pad(field**2, (1, 0)))
    likeness = 2 * product / (power[cross:] - power[:-cross] + float(last @ last) + 1e-12)
    at = int(likeness.argmax())
    neper = rate * 20 / math.log(10)
    # A player's slow diminuendo is not gone on with; what a string or a bar loses is.
    decay = {True: 0.0, False: max(slope, _SLOWEST / neper), None: slope if slope * neper >= _FADES else 0.0}[lasts]
    return Loop(begin + at + cross, end, cross, slope, decay, float(np.clip(likeness[at], 0, 1)), lift[at:] - lift[at + cross])


def _flattest(samples: np.ndarray, rate: int, hertz: float) -> tuple[int, int, float] | None:
    """Find the stretch that a note is best held by, as `_steady` does: loud, even and long, between attack and release."""
    level, hop = _envelope(samples, rate, hertz)
    if level.max() < _SILENT:
        return None
    loud = level > level.max() - 20
    begin = int(np.argmax(level > np.median(level[loud]) - 3)) + round(_ATTACK / _HOP)
    end = min(int(np.flatnonzero(loud)[-1]) + 1, (len(samples) - round(_FADE_OUT * rate)) // hop)
    least = math.ceil(max(_LEAST * rate, 8 * rate / hertz) / hop)
    smooth = _smoothed(level, round(0.1 / _HOP))
    best: tuple[float, int, int] | None = None
    step = round(_STEP / _HOP)
    for first in range(begin, end - least + 1, step):
        part = smooth[first:end]
        count = np.arange(1, len(part) + 1)
        unevenness = np.maximum.accumulate(part) - np.minimum.accumulate(part)
        worth = np.cumsum(part) / count - unevenness + _WORTH * np.sqrt(np.minimum(count * _HOP, 1))
        at = int(worth[least - 1 :].argmax()) + least
        if best is None or worth[at - 1] > best[0]:
            best = float(worth[at - 1]), first, first + at
    return None if best is None else (best[1] * hop, best[2] * hop, 0.0)


def _evening(samples: np.ndarray, begin: int, end: int, rate: int, hertz: float) -> np.ndarray:
    """Give what makes a stretch's slow course even, float64 (end - begin,), nepers."""
    level, hop = _envelope(samples, rate, hertz)
    seconds = min(_COURSE, (end - begin) / rate / 3)
    course = _smoothed(level[begin // hop : end // hop + 1], max(1, round(seconds / _HOP)))
    places = (np.arange(begin, end) - begin) / hop
    return np.interp(places, np.arange(len(course)), -course) / (20 / math.log(10))


def _smoothed(level: np.ndarray, frames: int) -> np.ndarray:
    """Take the mean of levels in dB over so many frames, fewer at the ends."""
    window = np.ones(frames)
    return np.convolve(level, window, "same")[: len(level)] / np.convolve(np.ones(len(level)), window, "same")[: len(level)]


def _steady(samples: np.ndarray, rate: int, hertz: float) -> tuple[int, int, float] | None:
    """Find the first and last sample between attack and release, and by how many nepers a sample the level falls there."""
    level, hop = _envelope(samples, rate, hertz)
    peak = float(level.max())
    if peak < _SILENT:
        return None
    begin = int(np.argmax(level > peak - 3)) + round(_ATTACK / _HOP)
    end = int(np.flatnonzero(level > peak - 30)[-1])
    while end > begin and level[max(end - 8, 0)] - level[end] > _STEEP:
        end -= 1
    # The release's beginning is not steep yet.
    end -= round(_BEFORE_RELEASE / _HOP)
    if (end - begin) * hop < max(_SHORTEST * rate, 8 * rate / hertz):
        return None
    slope = float(np.polyfit(np.arange(end - begin) * _HOP, level[begin:end], 1)[0])
    if slope < -_FASTEST:
        return None
    last = min(end * hop, len(samples) - round(_FADE_OUT * rate))
    return begin * hop, last, max(0.0, -slope) / (20 / math.log(10)) / rate


def _envelope(samples: np.ndarray, rate: int, hertz: float) -> tuple[np.ndarray, int]:
    """Measure the level in dB every 10 ms over windows of 30 ms (two periods at least): float64 (frames,), and the hop in samples."""
    hop = max(1, round(_HOP * rate))
    window = max(3 * hop, math.ceil(2 * rate / hertz))
    padded = np.pad(samples.astype(np.float64) ** 2, (window // 2 + 1, window))
    power = np.cumsum(padded)
    starts = np.arange(0, len(samples), hop)
    mean = (power[starts + window] - power[starts]) / window
    return 10 * np.log10(np.maximum(mean, 1e-20)), hop
