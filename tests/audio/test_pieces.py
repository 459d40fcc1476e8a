"""Channels, rates, clipping, the loudest window."""

import math

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import music

from songfoundry.audio import pieces
from songfoundry.errors import AudioError


def cut(x, size):
    return [x[..., i : i + size] for i in range(0, x.shape[-1], size)]


def test_channel_rules():
    x = music(0.1, channels=8)
    assert np.array_equal(pieces.conform_channels(x[:1], 2), x[[0, 0]])
    assert np.allclose(pieces.conform_channels(x[:2], 1), x[:2].mean(axis=0))
    assert pieces.conform_channels(x[:2], 2) is not None and np.array_equal(pieces.conform_channels(x[:2], 2), x[:2])
    r = math.sqrt(0.5)
    left, right = pieces.conform_channels(x[:6], 2)
    assert np.allclose(left, x[0] + r * x[2] + r * x[4], atol=1e-6)
    assert np.allclose(right, x[1] + r * x[2] + r * x[5], atol=1e-6)
    assert np.allclose(pieces.conform_channels(x, 2)[0], x[0] + r * (x[2] + x[4] + x[6]), atol=1e-6)
    for n in range(3, 9):
        for c, gains in enumerate(np.moveaxis(pieces.conform_channels(np.eye(n, dtype=np.float32), 2), 1, 0)):
            assert (gains > 0).any() or (n >= 6 and c == 3)  # only the low-frequency channel is dropped
    wide = music(0.01, channels=10)
    assert np.allclose(pieces.conform_channels(wide, 2), [wide[::2].mean(axis=0), wide[1::2].mean(axis=0)])
    with pytest.raises(AudioError, match="expected mono"):
        pieces.conform_channels(x[:2], 5)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 7])
def test_pairs_go_apart_and_back(channels):
    x = music(0.1, channels=channels)
    pairs = pieces.to_pairs(x)
    assert all(p.shape[0] == 2 for p in pairs) and len(pairs) == (channels + 1) // 2
    assert np.array_equal(pieces.from_pairs(pairs, channels), x)
    stems = [np.stack([p, 2 * p]) for p in pairs]
    assert np.array_equal(pieces.from_pairs(stems, channels), np.stack([x, 2 * x]))


@pytest.mark.parametrize("rates", [(44100, 48000), (8000, 44100), (192_000, 44100), (44100, 16000), (44100, 44100)])
@pytest.mark.parametrize("channels", [1, 2])
def test_resampler_streams_what_soxr_gives_at_once(rates, channels):
    x = music(0.7, rates[0], channels)[:, :-3]
    whole = soxr.resample(x.T, *rates, quality="HQ").T
    for size in (997, 4096, 10**6):
        got = np.concatenate(list(pieces.Resampler(*rates, channels).stream(cut(x, size))), axis=1)
        assert got.shape[1] == round(x.shape[1] * rates[1] / rates[0])
        n = min(got.shape[1], whole.shape[1])
        assert np.array_equal(got[:, :n], whole[:, :n])
    assert np.array_equal(pieces.resample(x, *rates), got)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3000), st.sampled_from([8000, 22050, 44100, 48000, 96000]), st.sampled_from([16000, 44100, 48000]))
def test_resampled_length_is_exact_and_a_round_trip_ends_where_it_began(length, there, back):
    x = np.zeros((1, length), np.float32)
    y = pieces.resample(x, there, back)
    assert abs(y.shape[1] - length * back / there) <= 0.5
    z = pieces.Resampler(back, there, 1).push(y, last=True, length=length)
    assert z.shape == x.shape


@pytest.mark.parametrize("rates", [(48000, 44100), (22050, 44100), (44100, 16000)])
def test_resampling_keeps_the_place(rates):
    x = np.zeros((2, 9000), np.float32)
    x[:, 4000] = 1
    y = pieces.resample(x, *rates)
    assert abs(np.abs(y[0]).argmax() * rates[0] / rates[1] - 4000) <= rates[0] / rates[1]
    assert np.abs(pieces.resample(y, rates[1], rates[0])[0]).argmax() == 4000


def test_clipping_is_measured_and_mended():
    loud, soft = music(0.1) * 2, music(0.1, seed=1)
    peaks = {}
    for name, x in (("vocals", loud), ("drums", soft)):
        peak = pieces.Peak()
        for block in cut(x, 100):
            peak.add(block)
        peaks[name] = peak.value
    assert peaks["vocals"] == np.abs(loud).max()
    report = pieces.clip_report(peaks, "rescale")
    assert list(report.over_db) == ["vocals"] and report.over_db["vocals"] == pytest.approx(20 * math.log10(1.4), abs=1e-4)
    assert np.abs(pieces.clip(loud, report)).max() == pytest.approx(1) and np.abs(pieces.clip(loud, report)).max() <= 1
    assert np.allclose(pieces.clip(soft, report), soft * report.gain)
    assert "vocals goes 2.92 dB over" in report.lines[0] and "turned down by 2.92 dB" in report.lines[0]
    clamped = pieces.clip_report(peaks, "clamp")
    assert clamped.gain == 1 and np.array_equal(pieces.clip(loud, clamped), loud.clip(-1, 1)) and "cut off" in clamped.lines[0]
    assert pieces.clip(loud, pieces.clip_report(peaks, "float")) is loud
    quiet = pieces.clip_report({"drums": peaks["drums"]}, "rescale")
    assert quiet.lines == [] and pieces.clip(soft, quiet) is soft
    assert pieces.Peak().db == -math.inf


@pytest.mark.parametrize("size", [1, 777, 100_000])
def test_loudest_window_is_found(size):
    rate = 1000
    x = np.full((2, 20 * rate), 0.01, np.float32)
    x[:, 12_300:15_300] = 0.5
    size = max(size, 50)
    assert pieces.loudest_window(cut(x, size), rate, 3.0) == 12_300
    assert pieces.loudest_window(cut(x, size), rate, 30.0) == 0
    assert pieces.loudest_window(cut(np.full((1, 20_000), 0.1, np.float32), size), rate, 3.0) == 0
