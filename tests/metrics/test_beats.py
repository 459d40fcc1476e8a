"""Hold the hearing of tempo and beats to clicks, to songs whose beats are known, and to mir_eval's score."""

import numpy as np
import pytest

from songfoundry.data.synthetic import training_song
from songfoundry.data.tunes import compose_training
from songfoundry.metrics.beats import OnsetMeter, beats_of, f_measure, onsets_of, tempo_of, to_nearest
from songfoundry.metrics.metre import alike, same

RATE = 22050


def clicks(times, seconds: float, rate: int = RATE) -> np.ndarray:
    """Strike a short noise at each time."""
    wave = 1e-4 * np.random.default_rng(0).normal(size=round(seconds * rate))
    stroke = np.random.default_rng(1).normal(size=rate // 20) * np.exp(-np.arange(rate // 20) / (0.01 * rate))
    for time in times:
        at = round(time * rate)
        wave[at : at + len(stroke)] += 0.3 * stroke[: len(wave) - at]
    return wave.astype(np.float32)


@pytest.mark.parametrize("tempo", [70.0, 96.0, 128.0, 171.0])
def test_clicks_have_the_tempo_and_the_beats_that_they_have(tempo):
    truth = np.arange(0.3, 14.0, 60 / tempo)
    onsets = onsets_of(clicks(truth, 14.2), RATE)
    found = tempo_of(onsets)
    assert alike(found, tempo) and (same(found, tempo, 0.02) or not 80 < tempo < 160)
    beats = beats_of(onsets, tempo)
    assert f_measure(truth, beats) > 0.97 and np.abs(to_nearest(beats, truth)).max() < 0.02


def test_beats_follow_a_tempo_that_moves():
    truth = np.cumsum(np.linspace(0.55, 0.45, 40))
    assert f_measure(truth, beats_of(onsets_of(clicks(truth, truth[-1] + 0.5), RATE))) > 0.95


def test_songs_with_known_beats_are_followed():
    for seed in (1000, 1002):
        song = compose_training(seed, 16.0)
        stems = training_song(seed, 16.0, 11025)
        truth = np.arange(0, song.bars[-1] + 1e-6, 60 / song.style.tempo)
        onsets = onsets_of(sum(stems[stem] for stem in ("drums", "bass", "other")), 11025)
        assert same(tempo_of(onsets), song.style.tempo) and f_measure(truth, beats_of(onsets)) > 0.85


def test_blocks_of_any_size_are_heard_as_the_whole():
    wave = clicks(np.arange(0.5, 4, 0.5), 4.3)
    meter = OnsetMeter(RATE)
    for begin in range(0, len(wave), 5003):
        meter.push(wave[begin : begin + 5003])
    np.testing.assert_allclose(meter.finish().strength, onsets_of(wave, RATE).strength, atol=0.02)


def test_what_has_no_beat_has_none():
    for wave in (np.zeros(10 * RATE), np.zeros(0), np.zeros(100)):
        onsets = onsets_of(wave, RATE)
        assert tempo_of(onsets) is None and len(beats_of(onsets)) == 0


def test_the_score_is_mir_evals():
    beat = pytest.importorskip("mir_eval").beat
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = np.cumsum(rng.uniform(0.1, 0.6, 40))
        found = np.sort(np.concatenate([truth[::2] + rng.normal(0, 0.05, 20), rng.uniform(0, truth[-1], 10)]))
        assert f_measure(truth, found) == pytest.approx(beat.f_measure(truth, found))
    assert f_measure(truth, np.zeros(0)) == 0


def test_deviations_are_from_the_nearest_beat_or_its_part_also_beyond_the_ends():
    beats = np.array([1.0, 1.5, 2.0])
    assert to_nearest([1.05, 1.26, 1.45, 0.45, 3.02], beats) == pytest.approx([0.05, -0.24, -0.05, -0.05, 0.02])
    assert to_nearest([1.05, 1.26, 1.45], beats, parts=2) == pytest.approx([0.05, 0.01, -0.05])
    assert np.isnan(to_nearest([1.0], beats[:1])).all()
