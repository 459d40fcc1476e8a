"""Turn a stream of mel images into waveforms, chunk by chunk, each going on from the phase that the one before it ended with."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from songfoundry.errors import ConfigError
from songfoundry.registry import nearest
from songfoundry.spectral.mel import ITERATIONS, LogMel
from songfoundry.spectral.phase import griffin_lim, noise_phase, pghi

__all__ = ["CHUNK", "VOCODERS", "check_vocoder", "waveform_blocks"]

VOCODERS = tuple(ITERATIONS)
"""Names of the ways from an image to a waveform: PGHI and 16 steps of fast Griffin-Lim, Griffin-Lim 32, fast Griffin-Lim 32."""
CHUNK = 512
"""Frames of a chunk."""
_OVERLAP = 32
"""Frames that neighbouring chunks share."""
_KNOWN = 20
"""Of these, frames whose phase the later chunk takes over; the last ones do not know what follows."""
_EDGE = 4
"""Frames at a chunk's ends that miss what lies beyond: no weight in the cross-fade."""


def check_vocoder(name: str) -> None:
    """Refuse an unknown name by `ConfigError`."""
    if name not in VOCODERS:
        raise ConfigError(f"expected a vocoder, found {name!r}: {nearest(name, list(VOCODERS))}")


def waveform_blocks(
    front: LogMel, images: Iterable[Tensor], vocoder: str = "pghi", iterations: int | None = None, chunk: int = CHUNK
) -> Iterator[np.ndarray]:
    """Turn images into sound.

    Parameters
    ----------
    images : a stream of float (channels, 1, mels, frames), any number of frames.
    iterations : Griffin-Lim steps; None for the vocoder's own.

    Yields
    ------
    float32 (channels, n): `front.hop` samples a frame in all. Channels begin with one phase, that of their mean: they stay together.

    Raises
    ------
    ConfigError : no such vocoder.
    """
    check_vocoder(vocoder)
    before: Tensor | None = None
    for image, last in _chunks(images, chunk):
        wave = _invert(front, image, vocoder, iterations, before)
        if before is not None:
            ramp = _ramp(front.hop).to(wave)
            wave[:, : len(ramp)] = before * (1 - ramp) + wave[:, : len(ramp)] * ramp
        keep = 0 if last else _OVERLAP * front.hop
        before = wave[:, wave.shape[1] - keep :].clone()
        yield wave[:, : wave.shape[1] - keep].cpu().numpy()


def _chunks(images: Iterable[Tensor], chunk: int) -> Iterator[tuple[Tensor, bool]]:
    """Cut a stream into chunks that overlap, and say which is the last."""
    held: Tensor | None = None
    for image in images:
        held = image if held is None else torch.cat((held, image), 3)
        while held.shape[3] > chunk:
            yield held[..., :chunk], False
            held = held[..., chunk - _OVERLAP :]
    if held is not None:
        yield held, True


def _ramp(hop: int) -> Tensor:
    """Give the weights of the later of two chunks over their overlap, (samples,)."""
    rise = torch.linspace(0, 1, (_OVERLAP - 2 * _EDGE) * hop)
    return torch.cat((torch.zeros(_EDGE * hop), rise, torch.ones(_EDGE * hop)))


def _invert(front: LogMel, image: Tensor, vocoder: str, iterations: int | None, before: Tensor | None) -> Tensor:
    """Find the waveform (channels, samples) of an image that begins with the samples `before` (channels, overlap), if any."""
    magnitude = front.magnitude(image)
    if vocoder == "pghi":
        start = pghi(magnitude.mean(0, keepdim=True), front.hop, tolerance=front.floor).expand_as(magnitude)
    else:
        start = noise_phase(magnitude).expand_as(magnitude)
    if before is not None:
        start = _continued(front, start, before)
    steps = ITERATIONS[vocoder] if iterations is None else iterations
    return griffin_lim(magnitude, front.hop, iterations=steps, momentum=0.0 if vocoder == "griffinlim" else 0.99, start=start)


def _continued(front: LogMel, start: Tensor, before: Tensor) -> Tensor:
    """Let phases (channels, bins, frames) begin as those of the samples before, and turn the rest so that each bin goes on evenly."""
    known = front.frames(before).angle()[:, :, :_KNOWN]
    turn = known[:, :, -1:] - start[:, :, _KNOWN - 1 : _KNOWN]
    return torch.cat((known, start[:, :, _KNOWN:] + turn), 2)
