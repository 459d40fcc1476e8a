"""Hold the hearing of pitch classes and keys to chords that are known."""

import numpy as np
import pytest

from songfoundry.metrics.chroma import ChromaMeter, Framed, chroma_of, in_key, scale_of
from songfoundry.notes import KEYS
from songfoundry.voice.tune import Curve

RATE = 22050
CADENCE = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7))


def chords(tonic: int, cents: float = 0.0, minor: bool = False) -> np.ndarray:
    """Play a cadence with tones of eight harmonics that die away."""
    time = np.arange(RATE) / RATE
    parts = []
    for low, middle, high in CADENCE:
        shape = (low, middle - (minor and middle - low == 4 and low != 7), high)
        hertz = [440 * 2 ** ((48 + tonic + tone + cents / 100 - 69) / 12) for tone in shape]
        parts.append(sum(np.sin(2 * np.pi * n * one * time) / n for one in hertz for n in range(1, 9)) * np.exp(-2 * time))
    return (0.1 * np.concatenate(parts)).astype(np.float32)


@pytest.mark.parametrize(("tonic", "minor"), [(0, False), (7, False), (10, False), (9, True)])
def test_the_key_of_a_cadence_is_heard(tonic, minor):
    assert KEYS[chroma_of(chords(tonic, minor=minor), RATE).key] == KEYS[tonic + 12 * minor]


def test_the_tuning_is_heard_and_taken_out():
    for cents in (-40, -20, 0, 30):
        found = chroma_of(chords(2, cents), RATE)
        assert found.tuning == pytest.approx(cents, abs=6) and found.key == 2


def test_blocks_of_any_size_are_heard_as_the_whole():
    wave = chords(5)
    meter = ChromaMeter(RATE)
    for begin in range(0, len(wave), 7001):
        meter.push(wave[begin : begin + 7001])
    piecewise, whole = meter.finish(), chroma_of(np.stack([wave, wave]), RATE)
    np.testing.assert_allclose(piecewise.values, whole.values, rtol=1e-3, atol=1e-3)
    assert piecewise.tuning == pytest.approx(whole.tuning, abs=0.1)


def test_what_sounds_between_two_times_is_that():
    found = chroma_of(chords(0), RATE)
    assert set(np.argsort(found.between(0.2, 0.9))[-3:]) == {0, 4, 7}
    seconds = len(chords(0)) / RATE
    assert found.period * len(found.values) == pytest.approx(seconds, abs=0.1)


def test_silence_and_nothing_have_no_key():
    assert chroma_of(np.zeros(RATE), RATE).key is None and chroma_of(np.zeros(0), RATE).key is None


def test_frames_are_centred_and_as_many_as_hops_begin():
    framed = Framed(8, 3)
    parts = [framed.push(np.arange(10, dtype=np.float32)), framed.push(np.zeros(0, np.float32), last=True)]
    frames = np.concatenate(parts)
    assert len(frames) == 4 and frames[:, 4].tolist() == [0, 3, 6, 9]


def test_voiced_frames_are_in_key_by_their_nearest_tone():
    pitch = np.array([60, 62.4, 61, 66.6, 0.0])
    curve = Curve(np.where(pitch > 0, 440 * 2 ** ((pitch - 69) / 12), 0.0), 0.01)
    assert in_key(curve, 0) == 0.75 and in_key(curve, 0, tuning=-60) == 0.5
    assert set(scale_of(12 + 9)) == set(scale_of(0)) and scale_of(7) == (7, 9, 11, 0, 2, 4, 6)
    assert np.isnan(in_key(Curve(np.zeros(4), 0.01), 0))
