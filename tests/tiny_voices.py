"""Make voices for tests: syllables of a buzz through formants, with hisses between them."""

import numpy as np
from scipy import signal

VOWELS = ((700, 1200, 2600), (350, 2100, 2900), (450, 800, 2500), (550, 1750, 2500))


def resonances(source, formants, rate):
    """Send a source through formants in a row."""
    for centre in formants:
        radius = np.exp(-np.pi * 90 / rate)
        source = signal.lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * centre / rate), radius**2], source)
    return source


def syllable(number: int, hertz: float, rate: int, vowel: float = 0.16, hiss: float = 0.06) -> np.ndarray:
    """Make one: a hiss, then a vowel whose pitch falls a little."""
    draw = np.random.default_rng(number)
    count = round(vowel * rate)
    phase = np.cumsum(np.linspace(1.06, 0.94, count) * hertz / rate)
    buzz = np.diff(np.floor(phase), prepend=0) + 0.002 * draw.standard_normal(count)
    buzz = resonances(buzz, VOWELS[number % len(VOWELS)], rate)
    shape = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.02 * rate))
    noise = signal.lfilter([1, -0.95], [1], draw.standard_normal(round(hiss * rate)))
    noise *= np.hanning(len(noise))
    return np.concatenate((0.12 * noise / np.abs(noise).max(), 0.5 * shape * buzz / np.abs(buzz).max()))


def speech(count: int = 4, hertz: float = 140.0, rate: int = 16000, pause: float = 0.1) -> np.ndarray:
    """Make float32 (samples,): so many syllables, a pause after every second one."""
    rest = np.zeros(round(pause * rate))
    parts = [rest]
    for number in range(count):
        parts.append(syllable(number, hertz * (1 - 0.03 * number), rate))
        if number % 2:
            parts.append(rest)
    return np.concatenate([*parts, rest]).astype(np.float32)
