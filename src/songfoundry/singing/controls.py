"""Say how something is to be sung, and hold what came of it: what every engine takes and gives."""

from dataclasses import dataclass, field

import numpy as np

from songfoundry.errors import ConfigError
from songfoundry.voice.tune import Curve

__all__ = ["TIMINGS", "Controls", "Sung"]

TIMINGS = ("syllables", "words", "free")
"""A syllable a note, a word a note, or the rhythm of the speech as it is."""


@dataclass(frozen=True)
class Controls:
    """Hold the wishes for one voice.

    Attributes
    ----------
    transpose : semitones that the melody is moved by, -48 to 48. formant_shift : semitones for the formants, -12 to 12 (up: smaller).
    vibrato_rate : Hz, 0 to 12. vibrato_depth : cents either way, 0 to 200, at full expression.
    expression : 0 straight on the note, 1 full: overshoot, preparation, vibrato, fluctuation, singing formant.
    timing : one of `TIMINGS`. seed : of the fine fluctuation.

    Raises
    ------
    ConfigError : a value out of its range.
    """

    transpose: float = 0.0
    formant_shift: float = 0.0
    vibrato_rate: float = 5.5
    vibrato_depth: float = 30.0
    expression: float = 0.7
    timing: str = "syllables"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be sung."""
        ranges = {
            "transpose": (-48, 48, " semitones"), "formant_shift": (-12, 12, " semitones"), "vibrato_rate": (0, 12, " Hz"),
            "vibrato_depth": (0, 200, " cents"), "expression": (0, 1, ""),
        }  # fmt: skip
        for name, (low, high, unit) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:  # NaN too
                raise ConfigError(f"expected {name.replace('_', ' ')} from {low} to {high}{unit}, found {value:g}: choose another number")
        if self.timing not in TIMINGS:
            raise ConfigError(f"expected a timing among {', '.join(TIMINGS)}, found {self.timing!r}: choose one of them")
        if self.seed < 0:
            raise ConfigError(f"expected a seed of 0 or more, found {self.seed}: choose another number")


@dataclass
class Sung:
    """Hold a voice that was sung.

    Attributes
    ----------
    samples : float32 (samples,), full scale ±1, at `rate` Hz, from the melody's second 0 on.
    target : the F0 that was asked for, transposed and with expression; 0 Hz where nothing is voiced.
    speech : F0 of the recording. words : (first, last) seconds of each word as it is sung, in order; marks : of each syllable.
    said : sentences for the user.
    """

    samples: np.ndarray
    rate: int
    target: Curve
    speech: Curve
    words: list[tuple[float, float]] = field(default_factory=list)
    marks: list[tuple[float, float]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Say how long it is."""
        return len(self.samples) / self.rate
