"""Measure what the variations of waveforms do."""

import numpy as np
import pytest

from songfoundry.data.augment import echo, mp3_round_trip, pitch_and_tempo, reverberate, saturate, stretch, tilt

RATE = 22050


def sine(hertz: float, seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    return np.stack((0.5 * np.sin(2 * np.pi * hertz * times), 0.3 * np.cos(2 * np.pi * hertz * times))).astype(np.float32)


def peak(signal: np.ndarray, rate: int = RATE) -> float:
    """Give the frequency of the highest peak, Hz."""
    inner = signal[0, 2000:-2000]
    return float(np.argmax(np.abs(np.fft.rfft(inner * np.hanning(len(inner)), 1 << 18))) * rate / (1 << 18))


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_stretching_keeps_pitch_level_and_the_picture_between_channels(factor):
    given = sine(443.0)
    made = stretch(given, factor)
    assert made.shape == (2, round(given.shape[1] * factor)) and made.dtype == np.float32
    assert peak(made) == pytest.approx(443.0, abs=0.5)
    inner = made[:, 4000:-4000]
    assert np.sqrt(np.square(inner).mean(1)) == pytest.approx(np.sqrt(np.square(given).mean(1)), rel=0.05)
    # A quarter of a turn apart, as given.
    assert abs(np.corrcoef(inner)[0, 1]) < 0.05


def test_stretching_by_one_changes_nothing():
    given = np.random.default_rng(0).normal(0, 0.1, (2, 20000)).astype(np.float32)
    assert np.abs(stretch(given, 1.0) - given)[:, 100:-2500].max() < 1e-4


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_stretching_moves_moments_by_the_factor(factor):
    """The middle of a burst's energy, for a vocoder smears its edges over a frame of 93 ms."""
    given = np.zeros((1, 3 * RATE), np.float32)
    centres = np.array([0.5, 1.25, 2.25])
    for centre in centres:
        start = round((centre - 0.1) * RATE)
        given[0, start : start + round(0.2 * RATE)] = np.random.default_rng(1).normal(0, 0.3, round(0.2 * RATE))
    energy = np.square(stretch(given, factor)[0])
    for centre in centres * factor:
        near = np.arange(round((centre - 0.25) * RATE), round((centre + 0.25) * RATE))
        assert (near * energy[near]).sum() / energy[near].sum() / RATE == pytest.approx(centre, abs=0.04)


@pytest.mark.parametrize(("semitones", "slower"), [(2, 1.0), (-2, 1.0), (0, 0.9), (0, 1.1), (1.5, 0.9)])
def test_pitch_and_tempo_move_apart_from_each_other(semitones, slower):
    made = pitch_and_tempo(sine(500.0), semitones, slower, RATE)
    assert peak(made) == pytest.approx(500 * 2 ** (semitones / 12), rel=0.002)
    assert made.shape[1] == pytest.approx(2 * RATE * slower, abs=3) and made.flags.c_contiguous


def test_a_tilt_brightens_or_darkens_by_its_filter():
    for hertz in (100.0, 5000.0):
        for amount in (0.25, -0.25):
            turn = 2 * np.pi * hertz / RATE
            gain = abs(1 - amount * np.exp(-1j * turn))
            made = tilt(sine(hertz), amount)
            assert np.abs(made[0, 500:]).max() == pytest.approx(0.5 * gain, rel=0.02) and made.dtype == np.float32


@pytest.mark.parametrize("rate", [44100, 32000])
@pytest.mark.parametrize("level", [0.3, 3.0])
def test_an_mp3_comes_back_aligned_as_long_and_as_loud(rate, level):
    rng = np.random.default_rng(2)
    given = np.cumsum(rng.normal(0, 1, (2, rate + 123)), axis=1)
    given = given - np.stack([np.convolve(row, np.ones(200) / 200, "same") for row in given])
    given = (level * given / np.abs(given).max()).astype(np.float32)
    made = mp3_round_trip(given, rate, 192)
    assert made.shape == given.shape and made.dtype == np.float32
    error = np.square(made - given).sum() / np.square(given).sum()
    shifted = np.square(np.roll(made, 1, axis=1) - given).sum() / np.square(given).sum()
    assert 0 < error < 0.02 and error < 0.5 * shifted


def test_overdrive_adds_odd_partials_and_keeps_the_level():
    given = sine(440.0)
    soft, hard = saturate(given, 0.0), saturate(given, 24.0)
    for made in (soft, hard):
        assert np.sqrt(np.square(made).mean()) == pytest.approx(np.sqrt(np.square(given).mean()), rel=1e-3)
    thirds = [np.abs(np.fft.rfft(made[0] * np.hanning(len(made[0]))))[round(3 * 440 * 2)] for made in (given, soft, hard)]
    assert thirds[0] < 0.1 * thirds[1] < 0.1 * thirds[2]
    silent = np.zeros((2, 100), np.float32)
    assert not saturate(silent, 12.0).any()


def test_an_echo_comes_late_from_the_other_side():
    given = np.zeros((2, 1000), np.float32)
    given[0, 10] = 1
    made = echo(given, 300, 0.5)
    assert made[0, 10] == 1 and made[1, 310] == 0.5 and np.count_nonzero(made) == 2


def test_a_room_rings_as_long_as_it_is_told_and_as_loud():
    given = np.zeros((2, RATE), np.float32)
    given[:, 100] = 1
    wet = reverberate(given, 0.5, 0.3, RATE, np.random.default_rng(0)) - given
    assert np.sqrt(np.square(wet).sum(1)) == pytest.approx([0.3, 0.3], rel=1e-3)
    assert np.abs(wet[:, :100]).max() < 1e-6 and abs(np.corrcoef(wet)[0, 1]) < 0.05
    # 60 dB in half a second: 30 dB between its first and its second quarter second.
    early, late = (np.square(wet[:, 100 + start : 100 + start + 1000]).sum() for start in (0, RATE // 4))
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=2)
