"""Loudness by the signals of EBU Tech 3341 (version 4), and levels that hold."""

import sys

import numpy as np
import pytest

from songfoundry.audio.loudness import integrated, level, limit, true_peak
from songfoundry.errors import AudioError, MissingExtraError

pytest.importorskip("pyloudnorm")
RATE = 48000


def tone(*steps: tuple[float, float], hertz=1000.0, rate=RATE):
    """A stereo sine of 1 kHz in steps of (dBFS peak, seconds), in phase on both channels."""
    time = np.arange(round(sum(seconds for _, seconds in steps) * rate)) / rate
    gain = np.concatenate([np.full(round(seconds * rate), 10 ** (db / 20)) for db, seconds in steps])
    return np.tile(gain[: len(time)] * np.sin(2 * np.pi * hertz * time), (2, 1)).astype(np.float32)


#: Minimum requirements of EBU Tech 3341, table 1: number, signal, integrated loudness, each to ±0.1 LU.
CASES = {
    1: (lambda: tone((-23, 20)), -23.0),
    2: (lambda: tone((-33, 20)), -33.0),
    3: (lambda: tone((-36, 10), (-23, 60), (-36, 10)), -23.0),
    4: (lambda: tone((-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)), -23.0),
    5: (lambda: tone((-26, 20), (-20, 20.1), (-26, 20)), -23.0),
}


@pytest.mark.parametrize("case", CASES)
def test_integrated_loudness_of_the_ebu_signals(case):
    make, lufs = CASES[case]
    assert abs(integrated(make(), RATE) - lufs) < 0.1


def test_long_sound_is_measured_as_the_library_measures_it_whole():
    import pyloudnorm

    rng = np.random.default_rng(2)
    for seconds in (0.4, 0.55, 59.9, 60.3, 125.0):
        time = np.arange(round(seconds * 8000)) / 8000
        wave = (0.1 * rng.standard_normal((2, len(time))) * (0.1 + np.sin(0.1 * time + 1) ** 2)).astype(np.float32)
        whole = pyloudnorm.Meter(8000, filter_class="DeMan").integrated_loudness(wave.T.astype(float))
        assert abs(integrated(wave, 8000) - whole) < 0.01, seconds


def test_surrounds_count_one_and_a_half_decibels_more():
    """Case 6 of Tech 3341: left and right -28, centre -24, surrounds -30 dBFS."""
    one = tone((0, 20))[0]
    five = np.stack([one * 10 ** (db / 20) for db in (-28, -28, -24, -30, -30)])
    assert abs(integrated(five, RATE) + 23.0) < 0.1


@pytest.mark.parametrize("rate", [22050, 32000, 44100, 96000])
def test_the_rate_does_not_matter(rate):
    assert abs(integrated(tone((-23, 5), rate=rate), rate) + 23) < 0.1


def test_loudness_of_what_is_short_or_silent():
    assert abs(integrated(tone((-23, 0.2)), RATE) - integrated(tone((-23, 4)), RATE)) < 0.3
    assert integrated(np.zeros((2, RATE), np.float32), RATE) == -np.inf
    assert integrated(np.zeros((2, 100), np.float32), RATE) == -np.inf
    with pytest.raises(AudioError, match="channels of sound"):
        integrated(np.zeros((2, 0), np.float32), RATE)


#: Tech 3341, cases 15 to 18: a sine at a quarter (a sixth, an eighth) of the rate whose samples miss its crests; dBTP -6.0 +0.2 -0.4.
@pytest.mark.parametrize(("part", "degrees"), [(4, 0.0), (4, 45.0), (6, 60.0), (8, 67.5)])
def test_true_peak_of_the_ebu_signals(part, degrees):
    wave = 0.5 * np.sin(2 * np.pi * np.arange(RATE) / part + np.radians(degrees))
    fade = np.minimum(1, np.minimum(np.arange(RATE), np.arange(RATE)[::-1]) / 960)
    assert -6.4 < true_peak((wave * fade)[None].astype(np.float32)) < -5.8


def test_a_peak_at_the_seam_of_two_pieces_counts_once_and_whole():
    wave = np.zeros((1, (1 << 18) + 1000), np.float32)
    wave[0, 1 << 18] = wave[0, (1 << 18) - 1] = 0.5
    alone = true_peak(wave[:, (1 << 18) - 500 : (1 << 18) + 500])
    assert alone > -5 and abs(true_peak(wave) - alone) < 0.01


def test_limiting_holds_the_ceiling_and_leaves_the_rest():
    rng = np.random.default_rng(0)
    wave = (0.05 * rng.standard_normal((2, 2 * RATE))).astype(np.float32)
    wave[:, RATE : RATE + 20] += 2.0
    out = limit(wave, RATE, -1.0)
    assert true_peak(out) <= -1.0
    assert np.array_equal(out[:, : RATE // 2], wave[:, : RATE // 2]) and np.array_equal(out[:, -RATE // 2 :], wave[:, -RATE // 2 :])
    quiet = wave * np.float32(0.1)
    assert limit(quiet, RATE, -1.0) is quiet


def test_level_meets_loudness_and_ceiling_at_once():
    rng = np.random.default_rng(1)
    time = np.arange(6 * RATE) / RATE
    beat = np.exp(-(time % 0.5) / 0.03) * rng.standard_normal(len(time)) + 0.5 * np.sin(2 * np.pi * 200 * time)
    for start in (1e-4, 1.0, 300.0):
        made = level(np.tile(start * beat, (2, 1)).astype(np.float32), RATE, -16.0, -1.0)
        assert abs(made.lufs + 16) < 0.1 and abs(integrated(made.samples, RATE) - made.lufs) < 0.01
        assert true_peak(made.samples) <= -1.0
    silent = level(np.zeros((2, RATE), np.float32), RATE)
    assert silent.lufs == -np.inf and not silent.samples.any()


def test_a_lone_click_stays_below_the_ceiling():
    click = np.zeros((2, 2 * RATE), np.float32)
    click[:, RATE] = 1.0
    made = level(click, RATE)
    assert made.dbtp <= -1.0 and made.lufs < -16


def test_names_the_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    with pytest.raises(MissingExtraError, match=r"songfoundry\[midi\]"):
        integrated(np.zeros((2, RATE), np.float32), RATE)
