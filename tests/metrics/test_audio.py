"""Scores of what comes back: on signals for which they are known."""

import importlib
import math

import numpy as np
import pytest

from songfoundry.errors import MissingExtraError
from songfoundry.metrics import audio

RATE = 16000


def sound(seed=0, seconds=1.0):
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 440 * time) + 0.02 * np.random.default_rng(seed).standard_normal(len(time))).astype(np.float32)


def test_the_same_sound_has_no_error():
    found = audio.scores(sound(), sound(), RATE)
    assert found["mse"] == found["mae"] == found["lsd"] == found["mr_stft"] == 0 and found["cosine"] == pytest.approx(1)
    assert found["si_sdr"] > 100 and set(found) < set(audio.DEFINITIONS)


def test_eight_decibels_softer_is_a_tenth_of_the_image():
    loud = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    found = audio.scores(loud, loud * 10 ** (-8 / 20), RATE)
    assert found["mae"] == pytest.approx(0.1, abs=1e-3) and found["mse"] == pytest.approx(0.01, abs=2e-4)
    assert found["lsd"] == pytest.approx(8, abs=0.05)
    assert found["mr_stft"] == pytest.approx(1 - 10 ** (-8 / 20) + math.log(10 ** (8 / 20)), abs=1e-3)


def test_the_image_is_the_top_eighty_decibels_of_the_original():
    image, peak = audio.mel_image(sound(), RATE)
    assert image.shape == (audio.MELS, math.ceil(RATE / audio.HOP)) and image.max() == 1 and image.min() >= 0
    assert audio.mel_image(0.1 * sound(), RATE, peak)[0].max() == pytest.approx(1 - 20 / 80, abs=1e-6)
    assert not audio.mel_image(1e-6 * sound(), RATE, peak)[0].any()
    assert audio.image_scores(image, np.zeros_like(image))["cosine"] == 0


def test_silence_scores_without_dividing_by_nothing():
    silent = np.zeros(RATE, np.float32)
    found = audio.scores(silent, silent, RATE)
    assert found["mse"] == found["lsd"] == 0 and math.isfinite(found["mr_stft"])


def test_channels_are_averaged_and_shapes_must_agree():
    two = np.stack([sound(), 0.5 * sound()])
    one, other = (audio.scores(two[n], sound(), RATE)["lsd"] for n in (0, 1))
    assert audio.scores(two, np.stack([sound(), sound()]), RATE)["lsd"] == pytest.approx((one + other) / 2)
    with pytest.raises(ValueError, match="one shape"):
        audio.scores(sound(), sound()[:-1], RATE)


def test_stoi_is_one_for_the_same_voice_and_lower_for_noise():
    pytest.importorskip("pystoi")
    voice = sound(seconds=2) * (1 + np.sin(2 * np.pi * 3 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    noise = np.random.default_rng(5).standard_normal(len(voice)).astype(np.float32)
    assert audio.stoi(voice, voice, RATE) == pytest.approx(1, abs=1e-6) and audio.stoi(voice, noise, RATE) < 0.6
    assert math.isnan(audio.stoi(voice[:3000], voice[:3000], RATE))


def test_pesq_is_the_packages_and_none_for_silence():
    pytest.importorskip("pesq")
    voice = sound(seconds=2)
    assert audio.pesq(voice, voice, RATE) > 4.5
    assert math.isnan(audio.pesq(np.zeros_like(voice), voice, RATE))


def test_a_package_that_is_missing_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    for score in (audio.pesq, audio.stoi):
        with pytest.raises(MissingExtraError, match=r"songfoundry\[scores\]"):
            score(sound(), sound(), RATE)
