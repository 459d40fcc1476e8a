"""Hold the limits on audio that is read, and the checks that count while decoding.

A header is a promise, not a fact: 25 MB of silent FLAC decode to 42 hours, and a FLAC header of 655,350 Hz with eight
channels hides 1.2 GiB behind "60 s". So a reader asks `Meter` at every block what has *really* come out.
"""

import numpy as np

from songfoundry.errors import AudioError

MAX_SECONDS = 24 * 3600
"""Longest audio that is read, in seconds."""
MAX_CHANNELS = 64
"""Most channels that are read."""
MIN_RATE, MAX_RATE = 1_000, 768_000
"""Lowest and highest sampling rate that is read, in Hz."""
MAX_VALUES = MAX_SECONDS * 48_000 * 8
"""Most samples times channels that are read from one file (24 hours of eight channels at 48 kHz)."""
MAX_CLIP_VALUES = 2**31
"""Most samples times channels that `songfoundry.audio.io.read` holds in memory (8 GiB of float32)."""
MAX_STDIN_BYTES = 16 * 2**30
"""Most bytes that are taken from standard input."""
MAX_ABS = 1e4
"""Largest absolute sample value that counts as audio (80 dB above full scale)."""


def check_shape(name: str, rate: int, channels: int) -> None:
    """Refuse a rate or a channel count that no recording has.

    Raises:
        AudioError: the rate is outside `MIN_RATE` .. `MAX_RATE` Hz, or the channels outside 1 .. `MAX_CHANNELS`.
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"expected a sampling rate of {MIN_RATE:,} to {MAX_RATE:,} Hz in {name}, found {rate:,} Hz; resample the file first"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"expected 1 to {MAX_CHANNELS} channels in {name}, found {channels}; mix the file down first")


class Meter:
    """Count what comes out of a decoder and refuse what passes the limits or is no audio."""

    def __init__(self, name: str, rate: int, channels: int, *, start: int = 0, repair: bool = False) -> None:
        self.name, self.rate, self.channels, self.repair = name, rate, channels, repair
        self.frames = start
        self.repaired = 0
        """Number of values that `repair` replaced by silence."""

    def check(self, block: np.ndarray) -> np.ndarray:
        """Return the block if it is audio within the limits.

        Args:
            block: float32 (channels, samples), full scale ±1.

        Returns:
            the same block, or with ``repair`` a copy whose NaN, Inf and absurd values are 0.

        Raises:
            AudioError: too many seconds or values so far, or a value that is NaN, Inf or above `MAX_ABS`.
        """
        at = self.frames
        self.frames += block.shape[1]
        if self.frames > MAX_SECONDS * self.rate or self.frames * self.channels > MAX_VALUES:
            raise AudioError(
                f"expected at most {MAX_SECONDS // 3600} hours of audio in {self.name}, found more "
                f"(stopped at {self.frames / self.rate / 3600:.1f} h of {self.channels} channels); cut the file into pieces"
            )
        # written so that a NaN maximum fails the comparison too
        if block.size and not np.abs(block).max() <= MAX_ABS:
            bad = ~(np.abs(block) <= MAX_ABS)
            if not self.repair:
                first = int(np.flatnonzero(bad.any(axis=0))[0])
                value = float(block[:, first][bad[:, first]][0])
                raise AudioError(
                    f"expected samples within ±1 in {self.name}, found {value:g} at second {(at + first) / self.rate:.3f}; "
                    "scale or repair the file, or ask for repair=True (--repair)"
                )
            self.repaired += int(bad.sum())
            block = np.where(bad, np.float32(0), block)
        return block
