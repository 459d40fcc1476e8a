"""Hold the latents of a sound, and keep them in files that belong to one model; nothing in such a file is run."""

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from songfoundry.archive import read_arrays
from songfoundry.audio.atomic import write_atomic_bytes
from songfoundry.errors import ConfigError, InputError

__all__ = ["BITS", "FORMAT", "Latents", "between", "load_latents", "quantised", "save_latents"]

FORMAT = "songfoundry-latents-1"
BITS = (32, 8)
"""How a number of a latent may be kept: float32, or in 256 steps between its unit's bounds."""
MAX_CHANNELS, MAX_UNITS = 64, 4096
_MAX_BYTES = 1 << 30
"""More than a day of stereo takes; what a file would unpack to is looked at before it is unpacked."""
_KEYS = {"format", "model", "name", "rate", "samples", "hop", "steps", "low", "high"}


@dataclass(frozen=True)
class Latents:
    """Hold the latents of a sound.

    Attributes
    ----------
    values : float32 (channels, latent, steps). rate : Hz, of the model. samples : length of the sound at that rate.
    hop : frames from one step to the next. model : hash of the weights that made them; name : what the model was called.
    low, high : float32 (latent,), the bounds of 8 bits: those of a model belong to it and cost no bit of a sound's, and what lies beyond
        them is cut off; None for the lowest and highest of the values.
    """

    values: np.ndarray
    rate: int
    samples: int
    hop: int
    model: str
    name: str
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    @property
    def seconds(self) -> float:
        """Length of the sound in seconds."""
        return self.samples / self.rate

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.values)

    def bitrate(self, bits: int = 32) -> float:
        """Give the kbit/s of the numbers, at so many bits each."""
        return self.values.size * bits / self.seconds / 1000


def between(first: Latents, second: Latents, share: float) -> Latents:
    """Give the latents at a share (0 to 1) of the straight way from one sound to another, as long as the shorter one.

    Of one channel and several, the one goes to each of them.

    Raises
    ------
    ConfigError : they are not of one model, or of numbers of channels that do not fit.
    """
    if (first.model, first.hop) != (second.model, second.hop):
        raise ConfigError("expected latents of one model to go between, found those of two: encode both with the same")
    if first.channels != second.channels and 1 not in (first.channels, second.channels):
        raise ConfigError(
            f"expected two sounds of as many channels, or one of one channel, found {first.channels} and {second.channels}: mix one down"
        )
    steps, channels = min(first.values.shape[2], second.values.shape[2]), max(first.channels, second.channels)
    ends = [np.broadcast_to(each.values[:, :, :steps], (channels, *each.values.shape[1:2], steps)) for each in (first, second)]
    mixed = ((1 - share) * ends[0] + share * ends[1]).astype(np.float32)
    return replace(first, values=mixed, samples=min(first.samples, second.samples))


def _steps(latents: Latents) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Round latents to 256 steps a unit: uint8 of their shape, and lowest and highest, float32 (latent,)."""
    values = latents.values
    low = values.min((0, 2)) if latents.low is None else latents.low
    high = values.max((0, 2)) if latents.high is None else latents.high
    width = np.maximum(high - low, 1e-9)
    return np.rint((values - low[:, None]) / width[:, None] * 255).clip(0, 255).astype(np.uint8), low, high


def quantised(latents: Latents) -> Latents:
    """Give latents as they come back from 8 bits."""
    steps, low, high = _steps(latents)
    return replace(latents, values=_values(steps, low, high))


def _values(steps: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    if steps.dtype == np.float32:
        return steps
    return (low[:, None] + steps.astype(np.float32) / 255 * (high - low)[:, None]).astype(np.float32)


def save_latents(file: str | os.PathLike, latents: Latents, bits: int = 32) -> None:
    """Write latents as .npz, whole or not at all.

    Raises
    ------
    ConfigError : bits that are none of `BITS`. OutputError : the file cannot be written.
    """
    if bits not in BITS:
        raise ConfigError(f"expected {' or '.join(map(str, BITS))} bits, found {bits}: choose one of them")
    steps, low, high = _steps(latents)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, format=np.array(FORMAT), model=np.array(latents.model), name=np.array(latents.name), rate=np.array(latents.rate),
        samples=np.array(latents.samples), hop=np.array(latents.hop), steps=latents.values if bits == 32 else steps, low=low, high=high,
    )  # fmt: skip
    write_atomic_bytes(file, buffer.getvalue())


def load_latents(file: str | os.PathLike) -> Latents:
    """Read latents; nothing in the file is run.

    Raises
    ------
    InputError : no such file, or none that `save_latents` wrote.
    """
    name, advice = Path(file).name, "use one that songfoundry encode wrote"
    values = read_arrays(file, _KEYS, FORMAT, _MAX_BYTES, "latents", advice)
    try:
        return _checked(values)
    except ValueError as error:
        raise InputError(f"expected latents in {name}, found {error}: {advice}") from None


def _checked(values: dict[str, np.ndarray]) -> Latents:
    """Build latents of arrays; raises ValueError, which says what is wrong."""
    steps, low, high = values["steps"], values["low"], values["high"]
    if steps.ndim != 3 or steps.dtype not in (np.float32, np.uint8) or not steps.size:
        raise ValueError(f"numbers of another kind ({steps.dtype}, {steps.ndim} axes)")
    if not (1 <= steps.shape[0] <= MAX_CHANNELS and 1 <= steps.shape[1] <= MAX_UNITS):
        raise ValueError(f"{steps.shape[0]} channels of {steps.shape[1]} units")
    if any(bound.shape != steps.shape[1:2] or bound.dtype != np.float32 or not np.isfinite(bound).all() for bound in (low, high)):
        raise ValueError("bounds that do not fit")
    found = _values(steps, low, high)
    if not np.isfinite(found).all():
        raise ValueError("numbers that are not finite")
    sizes = {}
    for key in ("rate", "samples", "hop"):
        if values[key].shape or values[key].dtype.kind not in "iu" or not 1 <= int(values[key]) < 2**40:
            raise ValueError(f"no {key}")
        sizes[key] = int(values[key])
    if values["model"].dtype.kind != "U" or values["name"].dtype.kind != "U":
        raise ValueError("no model's name")
    return Latents(found, model=str(values["model"]), name=str(values["name"]), low=low, high=high, **sizes)
