"""Make the drums of General MIDI: keys 35 to 81, in the kits that a program names."""

from dataclasses import dataclass

import numpy as np

from songfoundry import synth
from songfoundry.orchestra.instruments import ring
from songfoundry.synth import Kit

__all__ = ["CHOKED_BY", "KEYS", "PANS", "kit_of", "strike"]


@dataclass(frozen=True)
class _Body:
    """Describe a small drum: modes in Hz with levels, seconds, and noise in a band of Hz with its level and seconds.

    ``bend``: how many semitones higher the skin sounds when struck. ``grains``: strokes of the noise a second (shaken beads).
    """

    hertz: tuple[float, ...] = ()
    levels: tuple[float, ...] = (1.0, 0.5, 0.3, 0.2)
    seconds: float = 0.1
    noise: float = 0.0
    band: tuple[float, float] = (1000.0, 8000.0)
    noise_seconds: float = 0.02
    attack: float = 0.0
    grains: float = 0.0
    bend: float = 0.0
    level: float = 1.0


def _skin(hertz: float, seconds: float, noise: float = 0.3) -> _Body:
    return _Body((hertz, 1.59 * hertz, 2.14 * hertz), (1.0, 0.4, 0.25), seconds, noise, (600.0, 6000.0), 0.012, bend=1.0)


def _shaken(low: float, high: float, seconds: float, attack: float = 0.0, grains: float = 0.0) -> _Body:
    return _Body(noise=1.0, band=(low, high), noise_seconds=seconds, attack=attack, grains=grains)


KEYS: dict[int, str | _Body] = {
    35: "kick", 36: "kick", 38: "snare", 40: "snare", 39: "clap", 42: "hat", 44: "hat", 46: "open", 49: "crash", 57: "crash",
    51: "ride", 59: "ride", 41: "tom3", 43: "tom3", 45: "tom2", 47: "tom2", 48: "tom1", 50: "tom1",
    37: _Body((480.0, 1130.0, 1720.0), seconds=0.018, noise=0.5, band=(1500.0, 7000.0), noise_seconds=0.008),
    52: _shaken(1500.0, 12000.0, 0.35, grains=0.0), 55: _shaken(4000.0, 14000.0, 0.22),
    53: _Body((640.0, 1610.0, 2730.0, 4140.0, 5480.0), (0.6, 1.0, 0.7, 0.5, 0.3), 0.5, 0.15, (4000.0, 12000.0), 0.1),
    54: _Body((5200.0, 6900.0, 8600.0), (0.3, 0.3, 0.3), 0.1, 0.8, (5000.0, 13000.0), 0.08, grains=60.0),
    56: _Body((562.0, 845.0, 1690.0), (1.0, 0.9, 0.3), 0.12),
    58: _shaken(2000.0, 5000.0, 0.35, grains=26.0),
    60: _skin(395.0, 0.09), 61: _skin(290.0, 0.11), 62: _skin(345.0, 0.05, 0.6), 63: _skin(310.0, 0.16), 64: _skin(215.0, 0.2),
    65: _Body((430.0, 690.0, 930.0), seconds=0.18, noise=0.5, noise_seconds=0.03),
    66: _Body((290.0, 465.0, 625.0), seconds=0.22, noise=0.5),
    67: _Body((960.0, 2480.0, 4100.0), (1.0, 0.5, 0.2), 0.13), 68: _Body((710.0, 1850.0, 3100.0), (1.0, 0.5, 0.2), 0.15),
    69: _shaken(4000.0, 12000.0, 0.05, 0.02), 70: _shaken(4500.0, 13000.0, 0.03, 0.012),
    71: _Body((2350.0, 2420.0), (1.0, 0.8), 0.08, 0.05), 72: _Body((2300.0, 2370.0), (1.0, 0.8), 0.35, 0.05, level=0.5),
    73: _shaken(2500.0, 7000.0, 0.04, 0.01, 90.0), 74: _shaken(2500.0, 7000.0, 0.2, 0.05, 60.0),
    75: _Body((2480.0, 4950.0), (1.0, 0.2), 0.03),
    76: _Body((1180.0, 2830.0), (1.0, 0.4), 0.035), 77: _Body((880.0, 2110.0), (1.0, 0.4), 0.04),
    78: _Body((520.0, 1040.0), (1.0, 0.4), 0.08, 0.1, bend=-4.0), 79: _Body((390.0, 780.0), (1.0, 0.4), 0.18, 0.1, bend=-5.0),
    80: _Body((4110.0, 6770.0, 9310.0), (1.0, 0.6, 0.5), 0.05, level=0.5),
    81: _Body((4110.0, 6770.0, 9310.0), (1.0, 0.6, 0.5), 0.9, level=0.2),
}  # fmt: skip
"""What each General MIDI drum key is: a piece of `synth.hit`, or a body of its own."""

# Keys of Roland's extended maps and of electronic kits, by what is nearest to them.
_NEAREST = {22: 42, 26: 46, 27: 76, 28: 37, 29: 73, 30: 73, 31: 37, 32: 75, 33: 75, 34: 53, 82: 70, 83: 54, 84: 81, 85: 75, 86: 41, 87: 41}

CHOKED_BY = {46: (42, 44), 26: (42, 44, 22), 81: (80,), 72: (71,), 74: (73,), 79: (78,)}
"""Keys that stop ringing when one of others is struck (open hat, triangle, whistle, guiro, cuica)."""

PANS = {42: -0.3, 44: -0.3, 46: -0.3, 49: -0.4, 57: 0.4, 51: 0.35, 59: 0.35, 53: 0.35, 41: 0.35, 43: 0.25, 45: 0.1, 47: -0.05,
        48: -0.15, 50: -0.25, 60: 0.3, 61: 0.3, 62: -0.3, 63: -0.3, 64: -0.3, 70: 0.4, 54: -0.4}  # fmt: skip
"""Where the pieces stand, -1 left to 1 right, seen by the audience; others are in the middle."""

_KITS = {
    0: Kit(),
    8: Kit(kick_hz=47.0, kick_seconds=0.2, snare_seconds=0.2, snare_noise=0.65),
    16: Kit(kick_hz=45.0, kick_seconds=0.24, snare_hz=170.0, snare_seconds=0.2, snare_noise=0.7, metal=0.4),
    24: Kit(kick_hz=52.0, kick_seconds=0.12, snare_hz=210.0, snare_noise=0.5, hat_seconds=0.03, metal=0.8),
    25: Kit(kick_hz=46.0, kick_seconds=0.4, snare_hz=180.0, snare_seconds=0.1, snare_noise=0.45, metal=1.0),
    32: Kit(kick_hz=58.0, kick_seconds=0.12, snare_hz=195.0, snare_noise=0.65, hat_seconds=0.045, metal=0.3),
    40: Kit(kick_hz=58.0, kick_seconds=0.12, snare_hz=190.0, snare_seconds=0.24, snare_noise=0.9, hat_seconds=0.06, metal=0.1),
    48: Kit(kick_hz=42.0, kick_seconds=0.35, snare_hz=175.0, snare_seconds=0.18, snare_noise=0.7, metal=0.3),
}
_TRIMS = {"kick": 1.0, "snare": 0.65, "hat": 1.2, "open": 1.0, "crash": 1.1, "ride": 1.0, "clap": 0.9}


def kit_of(program: int) -> Kit:
    """Give the kit of a drum program (0 standard, 8 room, 16 power, 24 electronic, 25 analogue, 32 jazz, 40 brush, 48 orchestra)."""
    return _KITS.get(program) or _KITS.get(program // 8 * 8, _KITS[0])


def strike(kit: Kit, key: int, velocity: float, rate: int, draw: np.random.Generator) -> np.ndarray | None:
    """Strike a drum key: float32 (1, samples), about full scale at the most; None where the key has no drum.

    Args:
        kit: from `kit_of`.
        key: MIDI key; those of common extended maps sound like their nearest relative.
        velocity: 0 to 1; it changes the colour, and the level by the way.
        rate: samples a second.
        draw: where noise comes from.
    """
    what = KEYS.get(key) or KEYS.get(_NEAREST.get(key, -1))
    if what is None:
        return None
    if isinstance(what, str):
        wave = synth.hit(kit, what, velocity, rate, draw) / max(velocity, 1e-3) * _TRIMS.get(what, 0.9)
        return wave[None].astype(np.float32)
    return (what.level * _hit(what, velocity, rate, draw))[None].astype(np.float32)


def _hit(body: _Body, velocity: float, rate: int, draw: np.random.Generator) -> np.ndarray:
    """Strike a small drum: float64 (samples,), the peak about 1."""
    samples = round(rate * (0.05 + 6 * max(body.seconds if body.hertz else 0.0, body.noise_seconds if body.noise else 0.0)))
    time = np.arange(samples) / rate
    wave = np.zeros(samples)
    if body.hertz:
        levels = np.array(body.levels[: len(body.hertz)] + (0.2,) * max(0, len(body.hertz) - len(body.levels)))
        seconds = body.seconds / np.sqrt(np.array(body.hertz) / body.hertz[0])
        if body.bend:
            # The tension of the skin, and with it the pitch, falls back within 30 ms: the same modes at a bent time.
            bent = time + 0.03 * (2 ** (body.bend / 12) - 1) * (1 - np.exp(-time / 0.03))
            modes = zip(body.hertz, levels, seconds, strict=True)
            wave += sum(a * np.sin(2 * np.pi * f * bent) * np.exp(-time / s) for f, a, s in modes if f < 0.45 * rate)
        else:
            wave += ring(np.array(body.hertz), levels, seconds, samples, rate)
        wave /= levels.sum() * 0.7
    if body.noise:
        hiss = synth.band(draw.standard_normal(samples), *body.band, rate)
        shape = np.exp(-np.maximum(time - body.attack, 0) / body.noise_seconds)
        if body.attack:
            shape *= np.minimum(1, time / body.attack)
        if body.grains:
            shape *= 0.15 + np.exp(-(time % (1 / body.grains)) * body.grains * 5)
        hiss *= shape
        wave += body.noise * (0.5 + 0.5 * velocity) * hiss / max(np.abs(hiss).max(initial=0.0), 1e-9)
    return wave * np.minimum(1, (time[-1] - time) / 0.01)
