"""Encode and decode sound with a model that is loaded once: any length, rate and number of channels, streamed.

Each channel is encoded by itself. A net that takes any length gets windows with as much sound around them as it can see, so that latents
and images are those of the whole at once; one that knows but one length gets windows that overlap, the last one at the sound's end, and
its images are cross-faded.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from songfoundry import inventory
from songfoundry.audio.pieces import Resampler
from songfoundry.encoding.latents import MAX_CHANNELS, Latents
from songfoundry.encoding.vocoding import check_vocoder, waveform_blocks
from songfoundry.engine import Engine
from songfoundry.errors import Cancelled, ConfigError, InputError
from songfoundry.systems.codec import Codec, window_starts

__all__ = ["DEFAULT_MODEL", "Encoder", "find"]

DEFAULT_MODEL = "vae"
"""Name of the model that encodes where none is named."""
_CHUNK = 1024
"""Frames that a net of any length gets at once, beside what it sees around them."""
_OVERLAP = 4
"""A window of a net that knows but one length shares this part of it with the next one."""
_MOST_SECONDS = 600.0
"""Of a drawn sound."""
_BOUND = 6.0
"""Standard deviations of training's latents to either side that 8 bits cover."""
PRIORS = ("fitted", "normal")


class Encoder(Engine):
    """Hold one model, ready to encode and decode any number of sounds.

    Parameters
    ----------
    model : name of a shipped or local model, path of a `.safetensors`, or a system that is built.
    device : "auto", "cpu", "cuda", "cuda:1" or "mps". threads : CPU threads; None for the cores that are free now.

    Attributes
    ----------
    rate : Hz, of what is decoded. latent : numbers of a latent. hop : frames of a step. hash : of the weights; latents belong to it.
    steps_a_second : latents of a second. low, high : float32 (latent,), the bounds of latents at 8 bits, by those of training.

    Raises
    ------
    ConfigError : an unknown model or device. CheckpointError : the file is damaged, or no model that encodes.
    """

    def __init__(self, model: str | os.PathLike | Codec = DEFAULT_MODEL, device: str = "auto", threads: int | None = None):
        super().__init__(model, device, threads, find=find, kinds=("codec",), does="encodes")
        self.system: Codec
        config, net = self.system.config, self.system.net
        self.rate, self.latent, self.window = config.rate, config.latent_dim, net.window
        self.hop = net.stride if net.window is None else net.window - net.window // _OVERLAP
        self.steps_a_second = config.rate / config.hop / self.hop
        self.hash = _hash(self.system)
        mean = self.system.mean.float().cpu().numpy()
        spread = _BOUND * self.system.covariance.diagonal().float().clamp(min=0).sqrt().cpu().numpy()
        self.low, self.high = mean - spread, mean + spread

    def encode(
        self, samples: np.ndarray, rate: int, *, progress: Callable[[float], bool | None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Latents:  # fmt: skip
        """Encode float32 (channels, samples) or (samples,), full scale ±1, at `rate` Hz.

        Raises
        ------
        InputError : no samples, too many channels, or values that are not finite. Cancelled : as asked.
        """
        samples = np.atleast_2d(np.asarray(samples, np.float32))
        if samples.ndim != 2 or not samples.size or not np.isfinite(samples).all():
            raise InputError(f"expected finite samples (channels, samples) to encode, found {samples.shape}: give a sound")
        size = max(rate, 1)
        blocks = (samples[:, at : at + size] for at in range(0, samples.shape[1], size))
        return self.encode_blocks(blocks, rate, len(samples), samples.shape[1], progress=progress, cancel=cancel)

    def encode_blocks(
        self, blocks: Iterable[np.ndarray], rate: int, channels: int, total: int | None = None, *,
        progress: Callable[[float], bool | None] | None = None, cancel: threading.Event | None = None,
    ) -> Latents:  # fmt: skip
        """Encode a stream of float32 (channels, n) at `rate` Hz, of which only a window is held.

        Parameters
        ----------
        total : samples that will come, for the progress; None where that is not known.
        """
        if not 1 <= channels <= MAX_CHANNELS:
            raise InputError(f"expected 1 to {MAX_CHANNELS} channels, found {channels}: mix some of them down first")
        counted = _Counter(total, progress, cancel)
        stream = Resampler(rate, self.rate, channels).stream(counted.through(blocks))
        front = self.system.front
        length = _Length()
        found = []
        with self.threaded(), torch.inference_mode():
            images = _images(front, length.through(stream), self.device)
            for window in self._windows(images):
                found.append(self._latents(*window))
        if not found:
            raise InputError("expected samples to encode, found none: give a sound")
        values = np.concatenate(found, 2)
        return self._held(values, length.samples)

    def _windows(self, images: Iterator[Tensor]) -> Iterator[tuple[Tensor, int, int]]:
        """Cut a stream of images (channels, 1, mels, frames) as the net takes them: window, first frame that counts, how many count."""
        if self.window is not None:
            yield from ((window, 0, self.window) for window in _cut(images, self.window, self.hop))
            return
        net = self.system.net
        yield from _with_context(images, _CHUNK, net.reach, net.stride)

    def _latents(self, window: Tensor, first: int, count: int) -> np.ndarray:
        """Encode a window (channels, 1, mels, frames): float32 (channels, latent, steps) of the frames that count."""
        stride = self.system.net.stride
        mean = self.system.encode(window).mean
        return mean[:, :, first // stride : (first + count) // stride].cpu().numpy()

    def decode(
        self, latents: Latents, *, vocoder: str = "pghi", iterations: int | None = None,
        progress: Callable[[float], bool | None] | None = None, cancel: threading.Event | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Decode latents of this very model: float32 (channels, samples), about full scale, at `rate` Hz.

        Parameters
        ----------
        vocoder : one of `songfoundry.encoding.vocoding.VOCODERS`. iterations : of Griffin-Lim; None for the vocoder's own.

        Raises
        ------
        ConfigError : latents of another model, or no such vocoder. Cancelled : as asked.
        """
        blocks = self.decode_blocks(latents, vocoder=vocoder, iterations=iterations, progress=progress, cancel=cancel)
        return np.concatenate(list(blocks), 1)

    def decode_blocks(
        self, latents: Latents, *, vocoder: str = "pghi", iterations: int | None = None,
        progress: Callable[[float], bool | None] | None = None, cancel: threading.Event | None = None,
    ) -> Iterator[np.ndarray]:  # fmt: skip
        """Decode as `decode` does, block by block; what can be refused is refused at once."""
        self.check(latents)
        check_vocoder(vocoder)
        counted = _Counter(latents.samples, progress, cancel)
        return counted.through(self._sound(latents, vocoder, iterations))

    def _sound(self, latents: Latents, vocoder: str, iterations: int | None) -> Iterator[np.ndarray]:
        blocks = waveform_blocks(self.system.front, self.images(latents), vocoder, iterations)
        left = latents.samples
        while left > 0:
            # Entered anew for each block, so that the caller's own work is not changed.
            with self.threaded(), torch.inference_mode():
                block = next(blocks)[:, :left]
            left -= block.shape[1]
            yield block

    def images(self, latents: Latents) -> Iterator[Tensor]:
        """Decode latents into a stream of images, float32 (channels, 1, mels, frames) in [-1, 1]: a frame for each hop begun."""
        frames = left = -(-latents.samples // self.system.config.hop)
        values = torch.from_numpy(latents.values).to(self.device)
        pieces = self._faded(values, frames) if self.window is not None else self._joined(values)
        for image in pieces:
            image = image[..., :left]
            left -= image.shape[-1]
            if image.shape[-1]:
                yield image

    def _joined(self, values: Tensor) -> Iterator[Tensor]:
        """Decode steps with as many around them as the net sees."""
        net = self.system.net
        stride, around, size = net.stride, net.reach // net.stride, _CHUNK // net.stride
        for start in range(0, values.shape[2], size):
            first, stop = max(0, start - around), start + size + around
            image = self.system.decode(values[:, :, first:stop])
            yield image[..., (start - first) * stride : (start - first + size) * stride]

    def _faded(self, values: Tensor, frames: int) -> Iterator[Tensor]:
        """Decode windows one by one and cross-fade them: images, not waveforms, whose phases would cancel."""
        starts = window_starts(frames, self.window, self.hop)
        held: Tensor | None = None
        for step, (start, following) in enumerate(zip(starts, [*starts[1:], starts[-1] + self.window], strict=True)):
            image = self.system.decode(values[:, :, step : step + 1])
            if held is not None:
                shared = held.shape[3]
                ramp = ((torch.arange(shared) + 0.5) / shared).to(values)
                image[..., :shared] = held * (1 - ramp) + image[..., :shared] * ramp
            held = image[..., following - start :].clone()
            yield image[..., : following - start]

    def check(self, latents: Latents) -> None:
        """Refuse latents of another model, or of fewer steps than their length needs, by `ConfigError`."""
        if latents.model != self.hash or latents.values.shape[1] != self.latent or (latents.rate, latents.hop) != (self.rate, self.hop):
            raise ConfigError(
                f"expected latents of the model {self.name} ({self.hash[:8]}), found those of another, {latents.name} "
                f"({latents.model[:8]}): name that one with --model, or encode the sound anew"
            )
        frames = -(-latents.samples // self.system.config.hop)
        covered = latents.values.shape[2] * self.hop + (self.window - self.hop if self.window is not None else 0)
        if covered < frames:
            raise ConfigError(f"expected latents for {frames} frames, found them for {covered}: encode the sound anew")

    def sample(self, seconds: float, seed: int = 0, number: int = 0, prior: str = "fitted") -> Latents:
        """Draw latents, the same by (seed, number), of one channel.

        Parameters
        ----------
        prior : "fitted", a Gaussian process with mean, covariance and memory of training latents; "normal", standard noise at each step,
            which a variational net was drawn towards.

        Raises
        ------
        ConfigError : a length, seed or prior that there is not.
        """
        if not 0.1 <= seconds <= _MOST_SECONDS:
            raise ConfigError(f"expected 0.1 to {_MOST_SECONDS:g} seconds, found {seconds:g}: choose another length")
        if not 0 <= seed < 2**63:
            raise ConfigError(f"expected a seed of 0 to 2^63 - 1, found {seed}: choose another")
        if prior not in PRIORS:
            raise ConfigError(f"expected a prior among {', '.join(PRIORS)}, found {prior!r}: choose one of them")
        samples = round(seconds * self.rate)
        frames = -(-samples // self.system.config.hop)
        steps = -(-frames // self.hop) if self.window is None else len(window_starts(frames, self.window, self.hop))
        noise = np.random.default_rng([seed, number]).standard_normal((steps, self.latent))
        values = noise if prior == "normal" else self._fitted(noise)
        return self._held(np.ascontiguousarray(values.T[None], np.float32), samples)

    def _held(self, values: np.ndarray, samples: int) -> Latents:
        """Hold float32 (channels, latent, steps) of a sound of so many samples."""
        return Latents(values, self.rate, samples, self.hop, self.hash, self.name, self.low, self.high)

    def _fitted(self, noise: np.ndarray) -> np.ndarray:
        """Turn noise (steps, latent) into latents like those of training."""
        mean, covariance, memory = (
            getattr(self.system, name).detach().cpu().double().numpy() for name in ("mean", "covariance", "memory")
        )
        if self.window is not None:
            memory = np.zeros_like(memory)
        # An autoregression keeps unit variance: x[t] = a x[t-1] + sqrt(1 - a^2) noise.
        keep = np.clip(memory, 0, 0.999)
        course = noise.copy()
        for step in range(1, len(course)):
            course[step] = keep * course[step - 1] + np.sqrt(1 - keep**2) * noise[step]
        values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
        # The symmetric root leaves each unit's course mostly its own.
        return mean + course @ (vectors * np.sqrt(values.clip(min=0)) @ vectors.T)


class _Counter:
    """Count the samples of a stream, report the share that is through, and stop when asked."""

    def __init__(self, total: int | None, progress, cancel: threading.Event | None):
        self.total, self.progress, self.cancel, self.done = total, progress, cancel, 0

    def through(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Hand blocks on."""
        for block in blocks:
            yield block
            self.done += block.shape[1]
            share = min(1.0, self.done / self.total) if self.total else 0.0
            if (self.progress is not None and self.progress(share) is False) or (self.cancel is not None and self.cancel.is_set()):
                raise Cancelled("expected to work to the end of the sound, found the work cancelled: nothing was kept")


class _Length:
    """Count the samples that come through."""

    samples = 0

    def through(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self.samples += block.shape[1]
            yield block


def _images(front, blocks: Iterable[np.ndarray], device: torch.device) -> Iterator[Tensor]:
    """Turn a stream of float32 (channels, n) into images (channels, 1, mels, frames), which are those of the whole."""
    hop = front.hop
    margin = -(-front.frames.margin // hop) * hop
    size = _CHUNK * hop
    held, before = None, 0  # the first `before` samples of what is held have had their frames
    for block in blocks:
        held = block if held is None else np.concatenate((held, block), 1)
        while held.shape[1] >= before + size + margin:
            image = front(torch.from_numpy(held[:, : before + size + margin].copy()).to(device))
            yield image[..., before // hop : (before + size) // hop]
            held = held[:, before + size - margin :]
            before = margin
    if held is not None and held.shape[1] > before:
        yield front(torch.from_numpy(np.ascontiguousarray(held)).to(device))[..., before // hop :]


def _cut(images: Iterator[Tensor], window: int, hop: int) -> Iterator[Tensor]:
    """Cut a stream into the windows of `window_starts`; what is shorter than one is filled up with silence."""
    held, last = None, None
    for image in images:
        held = image if held is None else torch.cat((held, image), 3)
        while held.shape[3] > window:
            last = held[..., :window]
            yield last
            held = held[..., hop:]
    if last is not None:
        yield torch.cat((last[..., :hop], held), 3)[..., -window:]
    elif held is not None:
        yield torch.nn.functional.pad(held, (0, window - held.shape[3]), value=-1)


def _with_context(images: Iterator[Tensor], size: int, around: int, stride: int) -> Iterator[tuple[Tensor, int, int]]:
    """Cut a stream into pieces of `size` frames with as many as `around` on either side: piece, first frame that counts, how many."""
    held, first = None, 0
    for image in images:
        held = image if held is None else torch.cat((held, image), 3)
        while held.shape[3] > first + size + around:
            yield held[..., : first + size + around], first, size
            held = held[..., first + size - around :]
            first = around
    if held is not None:
        count = held.shape[3] - first
        fill = -held.shape[3] % stride
        yield torch.nn.functional.pad(held, (0, fill), value=-1), first, count + fill


def find(name: str | os.PathLike) -> Path:
    """Find the file of a model that encodes, by its name or its path; raises `ConfigError`."""
    known = [row["name"] for row in inventory.models() if row.get("system") == "codec"]
    if os.fspath(name) in ("vae", "ae64") and os.fspath(name) not in known:
        raise ConfigError(
            f"expected the model {name} to be installed, found none of that name: train it by recipes/encode-{name}.toml and name it by "
            f"--model runs/encode-{name}/checkpoints/model.safetensors"
        )
    return inventory.find_model(name, "codec")


def _hash(system: Codec) -> str:
    """Compute a hash of what latents depend on: the net's weights and the images that it sees, not the file's name."""
    config = system.config
    seen = (config.rate, config.n_mels, config.n_fft, config.hop, config.floor)
    digest = hashlib.sha256(repr(seen).encode())
    for tensor in system.net.state_dict().values():
        digest.update(str(tuple(tensor.shape)).encode() + tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
