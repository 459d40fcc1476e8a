"""Hold timbres (a latent and an instrument of one model), keep them in files, and move between them on spheres."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from songfoundry.archive import read_arrays
from songfoundry.audio.atomic import write_atomic_bytes
from songfoundry.errors import InputError

__all__ = ["FORMAT", "Timbre", "between", "load_timbre", "path", "save_timbre"]

FORMAT = "songfoundry-timbre-1"
_KEYS = {"format", "latent", "instrument", "instruments", "model"}
_LENGTHS = (0.1, 10.0)
"""How long a latent may be, beside noise of as many numbers."""
_MAX_BYTES = 1 << 20
"""More than any timbre takes; what a file would unpack to is looked at before it is unpacked."""


@dataclass(frozen=True)
class Timbre:
    """Hold what makes a note sound as it does, at any pitch.

    Attributes
    ----------
    latent : float32 (latent,), of the size that noise of a standard normal has.
    instrument : float32 (instruments,), on the unit sphere: one of them is 1 for an instrument that was trained, several for what
        lies between instruments.
    instruments : names, in the order of `instrument`. model : hash of the generator's weights.
    """

    latent: np.ndarray
    instrument: np.ndarray
    instruments: tuple[str, ...]
    model: str

    @property
    def name(self) -> str:
        """Name the instrument, or those it lies between, the nearest first."""
        shares = self.instrument**2
        first, *others = np.argsort(-shares, kind="stable")[:2]
        return "+".join(self.instruments[index] for index in (first, *(other for other in others if shares[other] > 0.01)))

    @property
    def pure(self) -> int | None:
        """Give the instrument's number; None for what lies between instruments."""
        index = int(self.instrument.argmax())
        return index if np.count_nonzero(self.instrument) == 1 and self.instrument[index] == 1 else None

    @property
    def key(self) -> bytes:
        """Give what tells it from other timbres."""
        return self.latent.tobytes() + self.instrument.tobytes()


def between(first: Timbre, second: Timbre, share: float) -> Timbre:
    """Give the timbre at a share (0 to 1) of the shortest path from one to another, on the sphere of latents and that of instruments.

    Reference: Shoemake 1985 ("Animating rotation with quaternion curves"); White 2016 (arXiv 1609.04468) on latents: noise of many
    dimensions lies near a sphere, and a straight line leaves it.
    """
    latent = _slerp(first.latent, second.latent, share)
    return Timbre(latent, _slerp(first.instrument, second.instrument, share), first.instruments, first.model)


def path(first: Timbre, second: Timbre, steps: int) -> list[Timbre]:
    """List timbres from one to another, both ends among them."""
    return [between(first, second, step / max(1, steps - 1)) for step in range(steps)]


def _slerp(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    if share in (0, 1) or np.array_equal(a, b):
        return (b if share == 1 else a).copy()
    long, other = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    # The length of either goes over into the other's.
    length = (1 - share) * long + share * other
    if min(long, other) < 1e-9:
        return ((1 - share) * a + share * b).astype(np.float32)
    u, v = a.astype(np.float64) / long, b.astype(np.float64) / other
    angle = np.arccos(np.clip(u @ v, -1, 1))
    if np.sin(angle) < 1e-6:  # the same direction; or opposite ones, where no path is the shortest
        mixed = (1 - share) * u + share * v
    else:
        mixed = (np.sin((1 - share) * angle) * u + np.sin(share * angle) * v) / np.sin(angle)
    return (length * mixed).astype(np.float32)


def save_timbre(file: str | os.PathLike, timbre: Timbre) -> None:
    """Write a timbre as .npz, whole or not at all; raises `OutputError`."""
    buffer = io.BytesIO()
    names: Sequence[str] = timbre.instruments
    np.savez(
        buffer, format=np.array(FORMAT), latent=timbre.latent, instrument=timbre.instrument, instruments=np.array(names),
        model=np.array(timbre.model),
    )  # fmt: skip
    write_atomic_bytes(file, buffer.getvalue())


def load_timbre(file: str | os.PathLike) -> Timbre:
    """Read a timbre; nothing in the file is run.

    Raises
    ------
    InputError : no such file, or none that `save_timbre` wrote.
    """
    name, advice = Path(file).name, "use one that --save-timbre wrote"
    values = read_arrays(file, _KEYS, FORMAT, _MAX_BYTES, "a timbre", advice)
    latent, instrument = (values[key] for key in ("latent", "instrument"))
    names = values["instruments"]
    whole = all(array.dtype == np.float32 and array.ndim == 1 and np.isfinite(array).all() for array in (latent, instrument))
    if not whole or names.dtype.kind != "U" or names.shape != instrument.shape or not latent.any() or not instrument.any():
        raise InputError(f"expected a latent and an instrument of finite numbers in {name}, found others: {advice}")
    whole, long = (float(np.linalg.norm(array.astype(np.float64))) for array in (instrument, latent))
    if abs(whole - 1) > 0.01 or instrument.min() < -1e-4:
        raise InputError(f"expected shares of instruments of length 1 in {name}, found numbers from {instrument.min():.3g} to "
                         f"{instrument.max():.3g} of length {whole:.3g}: {advice}")  # fmt: skip
    if not _LENGTHS[0] <= long / len(latent) ** 0.5 <= _LENGTHS[1]:
        raise InputError(
            f"expected a latent of about length {len(latent) ** 0.5:.3g} in {name}, as noise has, found {long:.3g}: {advice}"
        )
    return Timbre(latent, instrument, tuple(map(str, names.tolist())), str(values["model"]))
