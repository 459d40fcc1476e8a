"""Take a song apart for another voice to sing it: the melody of its voice, that voice as a guide, and what accompanies it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from songfoundry.audio import io
from songfoundry.audio.pieces import Resampler, conform_channels
from songfoundry.errors import Cancelled, ConfigError, InputError
from songfoundry.separating.separator import Separator
from songfoundry.singing.mixing import Take
from songfoundry.voice import world
from songfoundry.voice.tune import Curve

__all__ = ["LONGEST_SONG", "SongParts", "take_apart"]

LONGEST_SONG = 1800.0
"""Seconds of a song whose voice is followed."""
_FAINT = 32.0
"""Decibels below the song's loudest moment: a softer voice is what separation left over."""
_LEAST_VOICED = 0.5
_LEVEL_SECONDS = 0.05


@dataclass
class SongParts:
    """Hold a song taken apart.

    Attributes
    ----------
    guide : float32 (samples,), the voice, at `rate` Hz. melody : its F0. accompaniment : the rest, stereo. said : sentences.
    """

    guide: np.ndarray
    rate: int
    melody: Curve
    accompaniment: Take
    said: list[str]


def take_apart(
    path, separator: Separator, *, progress: Callable[[float], bool | None] | None = None, cancel: threading.Event | None = None
) -> SongParts:
    """Take a song apart; the caller closes the accompaniment.

    Raises
    ------
    AudioError : it cannot be read. InputError : nobody sings in it, or it is too long. ConfigError : a model without vocals. Cancelled.
    """
    if "vocals" not in separator.stems:
        raise ConfigError(f"expected a model that separates vocals, found {separator.name}: use another")
    row, said = separator.stems.index("vocals"), []
    with io.open_reader(path) as reader:
        total = reader.frames_hint or 0
        if total > LONGEST_SONG * reader.rate:
            raise InputError(f"expected a song of at most {LONGEST_SONG / 60:g} minutes, found {total / reader.rate / 60:.0f}: cut it")
        blocks = (conform_channels(block, 2) for block in reader.blocks())
        low, voices, done, peak = Resampler(reader.rate, world.RATES[0], 1), [], 0, 0.0
        rest = Take(reader.rate, 2)
        try:
            for mixture, stems in separator.stream_with_mixture(blocks, reader.rate, 2, cancel=cancel):
                done += mixture.shape[1]
                if done > LONGEST_SONG * reader.rate:
                    raise InputError(f"expected a song of at most {LONGEST_SONG / 60:g} minutes, found a longer one: cut it")
                peak = max(peak, _level(mixture.mean(0), reader.rate))
                rest.add(mixture - stems[row])
                voices.append(low.push(stems[row].mean(0, keepdims=True)))
                if progress is not None and progress(min(0.9, 0.9 * done / (total or done))) is False:
                    raise Cancelled("expected to take the song apart, found that the callback said stop: nothing was kept")
            voices.append(low.push(np.zeros((1, 0), np.float32), last=True))
            if reader.shortfall:
                said.append(reader.shortfall)
            voice = np.concatenate(voices, 1)[0]
            return SongParts(voice, world.RATES[0], _melody(voice, peak, path), rest, said)
        except BaseException:
            rest.__exit__(None, None, None)
            raise


def _melody(voice: np.ndarray, peak: float, path) -> Curve:
    """Follow a voice where it is loud enough beside its song."""
    size = round(world.PERIOD * world.RATES[0])
    curve = world.track(voice, world.RATES[0])
    count = len(curve.hertz)
    power = np.square(np.pad(voice, (0, max(0, count * size - len(voice))))[: count * size].reshape(count, size)).mean(1)
    width = round(_LEVEL_SECONDS / world.PERIOD)
    power = np.convolve(power, np.ones(width) / width, "same")
    hertz = np.where(power > peak * 10 ** (-_FAINT / 10), curve.hertz, 0.0)
    voiced = np.count_nonzero(hertz) * world.PERIOD
    if voiced < _LEAST_VOICED:
        raise InputError(f"expected someone to sing in '{path}', found no voice in it: give another song, or a --melody for its --backing")
    return Curve(hertz, world.PERIOD)


def _level(samples: np.ndarray, rate: int) -> float:
    """Give the mean power of the loudest stretch."""
    size = max(1, round(_LEVEL_SECONDS * rate))
    whole = samples[: len(samples) // size * size].reshape(-1, size)
    return float(np.square(whole).mean(1).max()) if len(whole) else float(np.square(samples).mean())
