"""Cross-faded chunks: nothing changes but what `process` changes, and a stretch has the bits of the whole."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import music

from songfoundry.audio.overlap import chunk_count, needed, overlap_add, slice_blocks, window


def cut(x, sizes):
    at = 0
    for i in range(10**9):
        if at >= x.shape[1]:
            return
        yield x[:, at : at + sizes[i % len(sizes)]]
        at += sizes[i % len(sizes)]


def identity(chunk):
    return np.stack([chunk, -2 * chunk])


def place_dependent(chunk):
    """Depend on every sample of the chunk and on the place in it, as a net does."""
    ramp = np.linspace(0.5, 1.5, chunk.shape[1], dtype=np.float32)
    return np.stack([chunk * ramp + chunk.mean(), np.cumsum(chunk, axis=1, dtype=np.float32)])


def run(x, sizes=(1000,), **options):
    return np.concatenate(list(overlap_add(cut(x, sizes), **options)), axis=2)


grids = st.integers(1, 200).flatmap(lambda c: st.tuples(st.just(c), st.integers(max(1, c // 4), c)))


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 1500), grids, st.sampled_from(["linear", "cosine"]), st.integers(1, 300))
def test_identity_comes_back_at_any_length(length, grid, kind, size):
    x = np.random.default_rng(length).uniform(-1, 1, (2, length)).astype(np.float32)
    out = run(x, (size,), chunk=grid[0], hop=grid[1], process=identity, kind=kind)
    assert out.shape == (2, 2, length) and out.dtype == np.float32
    assert np.abs(out[0] - x).max() < 1e-6 and np.abs(out[1] + 2 * x).max() < 2e-6


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 1500), grids, st.lists(st.integers(1, 400), min_size=1, max_size=4), st.data())
def test_a_stretch_has_the_bits_of_the_whole_whatever_the_blocks(length, grid, sizes, data):
    chunk, hop = grid
    x = np.random.default_rng(length).uniform(-1, 1, (1, length)).astype(np.float32)
    whole = run(x, (length,), chunk=chunk, hop=hop, process=place_dependent)
    assert np.array_equal(run(x, sizes, chunk=chunk, hop=hop, process=place_dependent), whole)
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    low, high = needed(start, stop, chunk, hop)
    assert low <= start and high >= min(stop, length)
    part = run(x[:, low:high], sizes, chunk=chunk, hop=hop, process=place_dependent)
    assert np.array_equal(part[..., start - low : stop - low], whole[..., start:stop])
    streamed = overlap_add(slice_blocks(cut(x, sizes), low, high), chunk=chunk, hop=hop, process=place_dependent)
    got = np.concatenate(list(slice_blocks(streamed, start - low, stop - low)), axis=2)
    assert np.array_equal(got, whole[..., start:stop])


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_batches_give_the_same(batch):
    x = music(0.1)
    shapes = []

    def process(chunks):
        shapes.append(chunks.shape)
        return np.stack([identity(c) for c in chunks])

    out = run(x, chunk=500, hop=400, process=process, batch=batch)
    assert np.array_equal(out, run(x, chunk=500, hop=400, process=identity))
    counts = [s[0] for s in shapes]
    assert sum(counts) == chunk_count(x.shape[1], 500, 400) and max(counts) == min(batch, sum(counts))
    assert all(s[1:] == (2, 500) for s in shapes)


@pytest.mark.parametrize("length", [0, 1, 499, 500, 501, 899, 900, 901, 5000])
def test_only_the_chunks_that_are_needed_are_computed(length):
    calls, done = [], []

    def process(chunk):
        calls.append(1)
        return chunk[None]

    x = np.ones((1, length), np.float32)
    out = list(overlap_add(cut(x, (123,)), chunk=500, hop=400, process=process, progress=done.append))
    assert len(calls) == chunk_count(length, 500, 400) == (0 if length == 0 else 1 + max(0, -(-(length - 500) // 400)))
    assert sum(b.shape[2] for b in out) == length and (done or [0])[-1] == length and done == sorted(done)
    assert all(b.shape[2] > 0 for b in out)


def test_seams_are_faded():
    signs = iter([0.0, 1.0, 0.0, 1.0])
    out = run(np.ones((1, 1700), np.float32), chunk=500, hop=400, process=lambda c: c[None] * next(signs))
    assert np.abs(np.diff(out)).max() < 0.011  # a hundredth per sample over a fade of 100
    assert out[0, 0, 399] == 0 and out[0, 0, 500] == 1


def test_windows_add_up_to_one():
    for kind in ("linear", "cosine"):
        w = window(500, 400, kind)
        assert np.allclose(w[400:] + w[:100], 1, atol=1e-7) and (w[100:400] == 1).all() and (w > 0).all()
    assert (window(500, 500) == 1).all()
    for bad in ((500, 0), (500, 501)):
        with pytest.raises(ValueError):
            window(*bad)


def test_progress_can_stop_the_work():
    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(music(0.1), chunk=500, hop=400, process=identity, progress=stop)


def test_memory_does_not_grow_with_length():
    def peak(count):
        tracemalloc.start()
        block = np.zeros((2, 10_000), np.float32)
        for _ in overlap_add((block for _ in range(count)), chunk=20_000, hop=15_000, process=identity):
            pass
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    assert peak(400) < 1.1 * peak(20)
