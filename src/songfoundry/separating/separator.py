"""Separate audio of any length, rate and channel count, streamed, with a model that is loaded once.

The way of a song: blocks at its own rate → resampled to the model's → cross-faded chunks through the net (several grids of
chunks with ``shifts``, several nets with ``a+b``; their mean) → resampled to the rate of the result. Only the samples that
lie between reading and the end of a chunk are held, so the memory does not depend on the song's length.
"""

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch

from songfoundry.audio.limits import MAX_CHANNELS, MAX_RATE, MIN_RATE
from songfoundry.audio.pieces import Resampler, from_pairs, needed, overlap_add, resampled_length, slice_blocks, to_pairs
from songfoundry.errors import Cancelled, CheckpointError, ConfigError, InputError
from songfoundry.hardware import free_threads
from songfoundry.registry import nearest
from songfoundry.separating import models
from songfoundry.systems.separate import Separate

__all__ = ["DEFAULT_MODEL", "Separator"]

DEFAULT_MODEL = "bsrnn-medium"
"""Name of the model that is used where none is named."""
_BLOCK = 65536
_MARGIN = 8192
"""How far a resampler looks, bit for bit: samples at the model's rate (measured: 1024 to 4096), per unit of the ratio."""


class Separator:
    """Hold one model, or several whose stems are averaged, ready to separate any number of songs.

    Channels: 0 and 1 go through the net as a stereo signal, 2 and 3 as the next, and so on; a last single channel (a mono
    file) is doubled before and averaged after, so that the result has the channels of the input.

    Parameters
    ----------
    model : name of a shipped model, path of a `.safetensors`, several of them joined by `+`, or a system that is built.
    device : "auto", "cpu", "cuda", "cuda:1" or "mps".
    threads : CPU threads of the net; None for the cores that are free now (`songfoundry.hardware.free_threads`).
    overlap : share of a chunk that is cross-faded with the next, 0 to 0.9.
    chunk_seconds : what the net sees at once; None for what the model was made for.
    shifts : so many further grids of chunks, moved by equal parts of the hop, are averaged: slower, a little better.
    precision : "float32" or "bfloat16"; None for bfloat16 on CUDA and float32 elsewhere.

    Attributes
    ----------
    stems : names, in the order of the results' first axis. ``rate`` : the model's, Hz. ``name`` : the model's name.

    Raises
    ------
    ConfigError : an unknown model, device or precision; a number out of range; models of `a+b` that do not fit together.
    CheckpointError : a weight file is damaged or foreign.
    """

    def __init__(
        self, model: str | os.PathLike | Separate = DEFAULT_MODEL, device: str = "auto", threads: int | None = None,
        overlap: float = 0.25, chunk_seconds: float | None = None, shifts: int = 0, precision: str | None = None,
    ):  # fmt: skip
        self.device = models.check_options(device, threads, overlap, chunk_seconds, shifts, precision)
        self.threads = threads or free_threads()
        self.precision = precision or ("bfloat16" if self.device.type == "cuda" else "float32")
        self.shifts = shifts
        if isinstance(model, Separate):
            self._systems, names = [model.eval()], [model.config.net]
        else:
            paths = models.find(model)
            self._systems, names = [models.load(path) for path in paths], [path.stem for path in paths]
        self.name = "+".join(names)
        self.stems: list[str] = list(self._systems[0].stems)
        self.rate: int = self._systems[0].config.sample_rate
        models.check_fit(names, [system.config for system in self._systems])
        self._grids = []
        for system in self._systems:
            system.to(self.device)
            chunk = max(2, round((chunk_seconds or system.config.chunk_seconds) * self.rate))
            hop = max(1, chunk - round(chunk * overlap))
            self._grids += [_Grid(system, chunk, hop, hop * k // (shifts + 1)) for k in range(shifts + 1)]

    def separate(
        self, mixture: np.ndarray, rate: int, *, stems: Sequence[str] | None = None,
        progress: Callable[[float], bool | None] | None = None, cancel: threading.Event | None = None,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """Separate an array.

        Parameters
        ----------
        mixture : float (channels, samples), full scale ±1, at `rate` Hz.
        stems : names of those to return; None for all.
        progress : called with the fraction done; returns False to stop.
        cancel : stops the work when it is set, from any thread.

        Returns
        -------
        stems : by name, float32 (channels, samples) of the mixture's shape.

        Raises
        ------
        InputError : the array is no audio. ConfigError : no such stem. Cancelled : as asked.
        """
        mixture = check_audio(mixture, rate)
        wanted = self.pick(stems)
        out = np.empty((len(wanted), *mixture.shape), np.float32)
        done, length = 0, mixture.shape[1]
        blocks = (mixture[:, i : i + _BLOCK] for i in range(0, length, _BLOCK))
        for block in self.stream(blocks, rate, mixture.shape[0], cancel=cancel):
            out[..., done : done + block.shape[-1]] = block[wanted]
            done += block.shape[-1]
            if progress is not None and progress(done / length) is False:
                raise Cancelled("expected to separate to the end, found that the callback said stop: nothing was kept")
        return {self.stems[index]: out[row] for row, index in enumerate(wanted)}

    def pick(self, stems: Sequence[str] | None) -> list[int]:
        """Return the places of named stems on the results' axis; raises `ConfigError` for an unknown one."""
        for name in stems or ():
            if name not in self.stems:
                raise ConfigError(f"expected stems that {self.name} has, found {name!r}: {nearest(name, self.stems)}")
        return [self.stems.index(name) for name in (self.stems if stems is None else stems)]

    def stream(self, blocks: Iterable[np.ndarray], rate: int, channels: int, **options) -> Iterator[np.ndarray]:
        """Separate a stream; yields float32 (stems, channels, n); options as in `stream_with_mixture`."""
        for _, stems in self.stream_with_mixture(blocks, rate, channels, **options):
            yield stems

    def stream_with_mixture(
        self, blocks: Iterable[np.ndarray], rate: int, channels: int, *, out_rate: int | None = None, start: int = 0,
        stop: int | None = None, cancel: threading.Event | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
        """Separate a stream in constant memory, and give the mixture beside the stems.

        Parameters
        ----------
        blocks : float32 (channels, n), any n, full scale ±1, at `rate` Hz, from the song's first sample on.
        out_rate : Hz of what comes out; None for `rate`.
        start, stop : give only these samples of the song (counted at `rate`), with the very bits of the whole run: the
            resamplers see all that is before, the net only the chunks that touch the range. None for the end.
        cancel : stops the work when it is set, from any thread.

        Yields
        ------
        mixture, stems : float32 (channels, n) and (stems, channels, n), n > 0, at `out_rate` Hz; in all as many samples as
            came in, times the ratio of the rates, rounded.

        Raises
        ------
        Cancelled : as asked.
        """
        out_rate = out_rate or rate
        first = resampled_length(start, rate, out_rate)
        last = None if stop is None else resampled_length(stop, rate, out_rate)
        # The range at the model's rate, with what the last resampler looks at on both sides.
        margin = 0 if out_rate == self.rate else _MARGIN * -(-self.rate // min(out_rate, self.rate))
        low = max(0, first * self.rate // out_rate - margin)
        high = None if last is None else -(-last * self.rate // out_rate) + margin
        beside = _Beside(Resampler(rate, out_rate, channels), first, last)
        given = self._mean(Resampler(rate, self.rate, channels).stream(beside.tap(blocks)), low, high, cancel)
        back = Resampler(self.rate, out_rate, len(self.stems) * channels)
        skip, done = first, first
        held = np.zeros((back.channels, 0), np.float32)
        for at in range(0, low, _BLOCK):
            # Silence stands for what was not computed: it brings the resampler to the state of its clock that the whole run has.
            skip -= back.push(np.zeros((back.channels, min(_BLOCK, low - at)), np.float32)).shape[1]
        made = low
        for block in itertools.chain(given, (None,)):
            if block is not None:
                made += block.shape[-1]
                out = back.push(block.reshape(back.channels, -1))
            elif beside.ended and made == resampled_length(beside.taken, rate, self.rate):
                goal = resampled_length(beside.taken, rate, out_rate)
                out = back.push(np.zeros((back.channels, 0), np.float32), last=True, length=goal)
            else:
                break
            dropped = min(max(skip, 0), out.shape[1])
            skip -= dropped
            out = out[:, dropped : None if last is None else dropped + last - done]
            done += out.shape[1]
            held = np.concatenate((held, out), axis=1)
            ready = min(held.shape[1], beside.ready)
            if ready:
                yield beside.take(ready), held[:, :ready].reshape(len(self.stems), channels, ready)
                held = held[:, ready:]

    def _mean(self, stream: Iterator[np.ndarray], low: int, high: int | None, cancel) -> Iterator[np.ndarray]:
        """Run every grid over a stream at the model's rate and yield their mean from `low` to `high`, (stems, channels, n)."""
        ranges = []
        for grid in self._grids:
            # In a grid's own time, which begins `offset` samples of silence before the song.
            begin = needed(low + grid.offset, low + grid.offset + 1, grid.chunk, grid.hop)[0]
            end = None if high is None else needed(low + grid.offset, high + grid.offset, grid.chunk, grid.hop)[1]
            ranges.append((begin - grid.offset, None if end is None else end - grid.offset))
        common = max(0, min(begin for begin, _ in ranges))
        branches = _tee(slice_blocks(stream, common), len(ranges))
        results = []
        for grid, (begin, end), branch in zip(self._grids, ranges, branches, strict=True):
            blocks = slice_blocks(branch, max(0, begin) - common, None if end is None else end - common)
            if begin < 0:
                blocks = _after_silence(blocks, -begin)
            made = overlap_add(blocks, chunk=grid.chunk, hop=grid.hop, process=partial(self._process, grid.system, cancel))
            results.append(slice_blocks(made, low - begin, None if high is None else high - begin))
        return results[0] if len(results) == 1 else _average(results)

    def _process(self, system: Separate, cancel: threading.Event | None, chunk: np.ndarray) -> np.ndarray:
        """Put one chunk through a net, (channels, samples) -> (stems, channels, samples)."""
        if cancel is not None and cancel.is_set():
            raise Cancelled("expected to separate to the end, found the work cancelled: nothing was kept")
        channels = chunk.shape[0]
        signals = to_pairs(chunk) if system.config.channels == 2 else [chunk[i : i + 1] for i in range(channels)]
        results = [self._net(system, np.ascontiguousarray(signal)) for signal in signals]
        out = from_pairs(results, channels) if system.config.channels == 2 else np.concatenate(results, axis=1)
        if not np.isfinite(out).all():
            raise CheckpointError(f"expected sound from {self.name}, found NaN or Inf: use precision float32 or another model")
        order = [system.stems.index(name) for name in self.stems]
        return out if order == sorted(order) else out[order]

    def _net(self, system: Separate, signal: np.ndarray) -> np.ndarray:
        """Separate one signal of the model's channels, (channels, samples) -> (stems, channels, samples)."""
        low = torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()
        before = torch.get_num_threads()
        if before != self.threads:
            torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode(), low:
                return system.separate(torch.from_numpy(signal)[None].to(self.device))[0].float().cpu().numpy()
        finally:
            # The number belongs to the whole process, which may not be ours.
            if before != self.threads:
                torch.set_num_threads(before)


class _Grid:
    """Hold a net and the grid of chunks that it works on; all in samples at the model's rate."""

    def __init__(self, system: Separate, chunk: int, hop: int, offset: int):
        self.system, self.chunk, self.hop, self.offset = system, chunk, hop, offset


class _Beside:
    """Keep the mixture, at the result's rate, until the stems of the same moment come out."""

    def __init__(self, resampler: Resampler, first: int, last: int | None):
        self._resampler, self._skip, self._left = resampler, first, None if last is None else last - first
        self._blocks: deque[np.ndarray] = deque()
        self.taken, self.ready, self.ended = 0, 0, False

    def tap(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass blocks on and take them down."""
        for block in blocks:
            self.taken += block.shape[1]
            self._keep(self._resampler.push(block))
            yield block
        self._keep(self._resampler.push(np.zeros((self._resampler.channels, 0), np.float32), last=True))
        self.ended = True

    def _keep(self, block: np.ndarray) -> None:
        dropped = min(self._skip, block.shape[1])
        self._skip -= dropped
        block = block[:, dropped : None if self._left is None else dropped + self._left]
        if block.shape[1]:
            self._left = None if self._left is None else self._left - block.shape[1]
            self.ready += block.shape[1]
            self._blocks.append(block)

    def take(self, count: int) -> np.ndarray:
        """Return the next `count` samples, (channels, count)."""
        parts = []
        self.ready -= count
        while count:
            block = self._blocks.popleft()
            if block.shape[1] > count:
                self._blocks.appendleft(block[:, count:])
                block = block[:, :count]
            parts.append(block)
            count -= block.shape[1]
        return np.concatenate(parts, axis=1)


def check_audio(mixture: np.ndarray, rate: int) -> np.ndarray:
    """Return an array as float32 (channels, samples); raises `InputError` where it is no audio."""
    mixture = np.asarray(mixture)
    if mixture.ndim != 2 or not np.issubdtype(mixture.dtype, np.floating):
        raise InputError(f"expected floats (channels, samples) within ±1, found {mixture.dtype} {mixture.shape}: convert it")
    if not 1 <= mixture.shape[0] <= MAX_CHANNELS:
        raise InputError(f"expected (channels, samples) with 1 to {MAX_CHANNELS} channels, found {mixture.shape}: transpose it")
    if mixture.shape[1] == 0:
        raise InputError("expected sound in the array, found no samples: give at least one")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise InputError(f"expected a sampling rate of {MIN_RATE:,} to {MAX_RATE:,} Hz, found {rate:,}: resample first")
    if not np.isfinite(mixture).all():
        raise InputError("expected finite samples in the array, found NaN or Inf: repair it first")
    return mixture.astype(np.float32, copy=False)


def _after_silence(blocks: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Yield `count` samples of silence, then the blocks; nothing where there are no blocks."""
    for block in blocks:
        if count:
            yield np.zeros((block.shape[0], count), np.float32)
            count = 0
        yield block


def _tee(stream: Iterator[np.ndarray], count: int) -> list[Iterator[np.ndarray]]:
    """Give a stream to several readers; unlike `itertools.tee` it lets go of a block as soon as all have had it."""
    queues = [deque() for _ in range(count)]

    def branch(own: deque) -> Iterator[np.ndarray]:
        while True:
            if not own:
                block = next(stream, None)
                if block is None:
                    return
                for queue in queues:
                    queue.append(block)
            yield own.popleft()

    return [branch(queue) for queue in queues]


def _average(streams: list[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """Average streams of equal length whose blocks differ in size."""
    held: list[np.ndarray | None] = [None] * len(streams)
    while True:
        for index, stream in enumerate(streams):
            if held[index] is None or held[index].shape[-1] == 0:
                held[index] = next(stream, None)
        if any(block is None for block in held):
            return
        count = min(block.shape[-1] for block in held)
        total = held[0][..., :count].copy()
        for block in held[1:]:
            total += block[..., :count]
        yield total / np.float32(len(held))
        held = [block[..., count:] for block in held]
