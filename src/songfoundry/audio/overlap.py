"""Work through audio of any length in cross-faded chunks, with the memory of a few chunks.

Chunk ``k`` covers the samples ``k * hop`` to ``k * hop + chunk``; the first begins at sample 0 and the last is the first one
that reaches the end (padded with zeros). Every output sample is the average of the chunks that cover it, weighted by a
window that rises and falls over the overlap; the sum is divided by the sum of the weights that were really there, so the
weights add up to 1 at the edges too. All is done in the order of the chunks, whatever the sizes of the blocks that come in:
a stretch computed from only the chunks that touch it (`needed`) has the very bits that the whole run gives it.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

WINDOWS = ("linear", "cosine")


def window(chunk: int, hop: int, kind: str = "linear") -> np.ndarray:
    """Return the weights of a chunk: a rise over ``chunk - hop`` samples, ones, and the mirrored fall.

    Args:
        chunk: length in samples.
        hop: distance from chunk to chunk in samples; below half a chunk the rise is cut to half a chunk.
        kind: ``linear``, or ``cosine`` for a raised cosine.

    Returns:
        float32 (chunk,), 0 < weight <= 1; at two overlapping chunks the two weights add up to 1.
    """
    if not 0 < hop <= chunk:
        raise ValueError(f"expected 0 < hop <= chunk, found hop {hop} and chunk {chunk}")
    if kind not in WINDOWS:
        raise ValueError(f"expected a window among {', '.join(WINDOWS)}, found '{kind}'")
    weights = np.ones(chunk)
    fade = min(chunk - hop, chunk // 2)
    if fade:
        # half a sample in: no weight is 0, and rise and fall are complementary
        rise = (np.arange(fade) + 0.5) / fade
        if kind == "cosine":
            rise = np.sin(rise * np.pi / 2) ** 2
        weights[:fade] = rise
        weights[chunk - fade :] = rise[::-1]
    return weights.astype(np.float32)


def chunk_count(length: int, chunk: int, hop: int) -> int:
    """Return how many chunks `overlap_add` computes for ``length`` samples."""
    if length <= 0:
        return 0
    return 1 + max(0, -((chunk - length) // hop))


def needed(start: int, stop: int, chunk: int, hop: int) -> tuple[int, int]:
    """Return the input range that fixes the output samples ``start`` to ``stop``.

    Feed `overlap_add` with the samples ``low`` to ``high`` (or to the end, where that is earlier): the output then begins at
    ``low``, and its samples from ``start`` to ``stop`` equal those of the whole run bit for bit, provided that ``process``
    gives the same bits for the same chunk (so with the same ``batch``, best None).

    Returns:
        (low, high) in samples; low is a multiple of ``hop``.
    """
    if not 0 <= start < stop:
        raise ValueError(f"expected 0 <= start < stop, found {start} and {stop}")
    first = max(0, (start - chunk) // hop + 1)
    last = (stop - 1) // hop
    return first * hop, last * hop + chunk


def slice_blocks(blocks: Iterable[np.ndarray], start: int, stop: int | None = None) -> Iterator[np.ndarray]:
    """Yield the samples ``start`` to ``stop`` of a stream of (..., samples) blocks, none of them empty."""
    at = 0
    for block in blocks:
        first, at = at, at + block.shape[-1]
        low = max(0, start - first)
        high = block.shape[-1] if stop is None else min(block.shape[-1], stop - first)
        if low < high:
            yield block[..., low:high]
        if stop is not None and at >= stop:
            return


def overlap_add(
    blocks: Iterable[np.ndarray],
    *,
    chunk: int,
    hop: int,
    process: Callable[[np.ndarray], np.ndarray],
    batch: int | None = None,
    kind: str = "linear",
    progress: Callable[[int], None] | None = None,
) -> Iterator[np.ndarray]:
    """Process a stream chunk by chunk and yield the cross-faded result in order.

    Args:
        blocks: float32 (channels, n), any n, of unknown total length.
        chunk: length in samples of what ``process`` gets.
        hop: distance in samples from chunk to chunk.
        process: takes float32 (channels, chunk) and returns (stems, channels, chunk); with ``batch`` it takes
            (1 .. batch, channels, chunk) and returns (the same, stems, channels, chunk). It must not keep or change its
            input.
        batch: how many chunks to hand over at once; None for one by one without that axis. A batch may change the last
            bits of a net's output.
        kind: the window's shape, see `window`.
        progress: called with the number of finished samples after each piece; may raise to stop.

    Yields:
        float32 (stems, channels, n), n > 0, as many samples in all as came in.
    """
    weights = window(chunk, hop, kind)
    total = weight_sum = None
    done = 0
    for group in _groups(_chunks(blocks, chunk, hop), batch or 1):
        if batch is None:
            results = [process(group[0][0])]
        else:
            results = list(process(np.stack([c for c, _, _ in group])))
        for result, (_, length, last) in zip(results, group, strict=True):
            if total is None:
                total = np.zeros((*result.shape[:-1], chunk), np.float32)
                weight_sum = np.zeros(chunk, np.float32)
            total += weights * result.astype(np.float32, copy=False)
            weight_sum += weights
            ready = length if last else hop
            yield total[..., :ready] / weight_sum[:ready]
            done += ready
            if progress is not None:
                progress(done)
            total[..., : chunk - hop] = total[..., hop:]
            total[..., chunk - hop :] = 0
            weight_sum[: chunk - hop] = weight_sum[hop:]
            weight_sum[chunk - hop :] = 0


def _groups(items: Iterator, size: int) -> Iterator[list]:
    """Gather items into lists of at most ``size``."""
    group = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _chunks(blocks: Iterable[np.ndarray], chunk: int, hop: int) -> Iterator[tuple[np.ndarray, int, bool]]:
    """Cut a stream into (zero-padded chunk, samples in it, whether it is the last)."""
    buffer, filled = None, 0
    for block in blocks:
        if buffer is None:
            buffer = np.zeros((block.shape[0], chunk), np.float32)
        at = 0
        while at < block.shape[1]:
            if filled == chunk:
                # more has come, so the full chunk is not the last
                yield buffer.copy(), filled, False
                buffer[:, : chunk - hop] = buffer[:, hop:]
                filled = chunk - hop
            count = min(chunk - filled, block.shape[1] - at)
            buffer[:, filled : filled + count] = block[:, at : at + count]
            filled += count
            at += count
    if filled:
        buffer[:, filled:] = 0
        yield buffer, filled, True
