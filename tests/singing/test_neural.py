"""The engine that was trained: any length in windows that join, the melody of a tune or a curve, no drift over minutes."""

import numpy as np
import pytest
import torch
from tiny_singing import RATE, system, voice

from songfoundry import checkpoint
from songfoundry.checkpoint import Checkpoint
from songfoundry.errors import CheckpointError, ConfigError, InputError

pytest.importorskip("pyworld")

from songfoundry.singing.controls import Controls
from songfoundry.singing.neural import DEFAULT_MODEL, WINDOW, NeuralSinger
from songfoundry.systems.sing import pitch_accuracy
from songfoundry.voice.tune import Curve, Tune, TuneNote

PLAIN = Controls(expression=0.0)


@pytest.fixture(scope="module")
def singer():
    return NeuralSinger(system(mels=128).eval(), "cpu", 1)


@pytest.fixture(scope="module")
def speech():
    return voice([46, 45, 44], 0.9)


def tune(pitches, seconds=0.6) -> Tune:
    return Tune(tuple(TuneNote(n * seconds, (n + 1) * seconds, pitch) for n, pitch in enumerate(pitches)))


def along(sung, hop=256) -> np.ndarray:
    """Give the target at the centres of frames."""
    clock = (np.arange(len(sung.samples) // hop) + 0.5) * hop / sung.rate
    return sung.target.hertz[np.minimum((clock / sung.target.period).astype(int), len(sung.target.hertz) - 1)]


def test_a_tune_is_sung_at_its_length_and_its_pitches(singer, speech):
    sung = singer.sing(speech, RATE, tune([60, 64, 62]), PLAIN)
    assert sung.rate == RATE and sung.seconds == pytest.approx(1.8, abs=0.02) and sung.samples.dtype == np.float32
    assert len(sung.words) and np.abs(sung.samples).max() <= 0.99
    frames = np.arange(len(sung.samples) // 256)
    inner = np.abs((frames * 0.016) % 0.6 - 0.3) < 0.15
    assert pitch_accuracy(sung.samples, RATE, 256, np.where(inner, along(sung), 0)) > 0.75
    higher = singer.sing(speech, RATE, tune([60, 64, 62]), Controls(expression=0.0, transpose=3, formant_shift=2))
    assert np.median(higher.target.hertz) == pytest.approx(np.median(sung.target.hertz) * 2 ** (3 / 12), rel=1e-3)


def test_a_curve_is_followed_and_a_band_is_heard(singer, speech):
    hertz = np.zeros(260)
    hertz[20:240] = 300.0
    curve = Curve(hertz, 0.005)
    alone = singer.sing(speech, RATE, curve, PLAIN)
    band = 0.2 * np.sin(2 * np.pi * 220 * np.arange(2 * 44100) / 44100).astype(np.float32)
    beside = singer.sing(speech, RATE, curve, PLAIN, backing=band, backing_rate=44100)
    assert alone.seconds == beside.seconds == pytest.approx(1.3, abs=0.02) and not np.allclose(alone.samples, beside.samples, atol=1e-3)
    with pytest.raises(InputError, match="expected a backing of one channel"):
        singer.sing(speech, RATE, curve, PLAIN, backing=np.zeros((2, 100), np.float32), backing_rate=44100)


def test_three_minutes_do_not_drift(singer, speech):
    show = singer.perform(singer.prepare(speech, RATE), tune([57, 60, 64, 60], 45.0), PLAIN)
    # One syllable held over and over: every window is asked for the same.
    show._place[:] = 60.0
    show.plan.source[:], show._gain[:] = 60.0, 1.0
    show.hertz[:] = 220.0
    images = torch.cat(list(show.images()), 2)
    assert images.shape[2] == -(-round(show.seconds * RATE) // 256) and 11200 < images.shape[2] < 11300
    inner = images[0, :, 300:-300]
    assert (inner[:, :200] - inner[:, -200:]).abs().max() < 1e-3, "the last minute is made as the first"
    assert (inner - inner[:, :1]).abs().max() < 0.02, "no seams between windows"


def test_windows_join_to_what_one_long_window_gives(singer, speech, monkeypatch):
    show = singer.perform(singer.prepare(speech, RATE), tune([57, 60, 64, 60, 57, 55, 57], 1.5), PLAIN)
    parts = torch.cat(list(show.images()), 2)
    assert parts.shape[2] > 2 * WINDOW
    monkeypatch.setattr("songfoundry.singing.neural.WINDOW", 4096)
    whole = torch.cat(list(show.images()), 2)
    assert parts.shape == whole.shape and (parts - whole).abs().max() < 0.05


def test_speech_of_a_vocal(singer):
    spoken = singer.speak(voice([60, 64, 62], 2.4), RATE)
    assert 0.5 < spoken.seconds < 2.4 and spoken.samples.any() and np.median(spoken.target.hertz[spoken.target.hertz > 0]) < 300


def test_models_and_vocoders(tmp_path, speech):
    small = system(judging=False)
    path = tmp_path / "mine.safetensors"
    checkpoint.save(path, small.state_dict(), Checkpoint("sing", small.config.model_dump(), {}))
    found = NeuralSinger(path, "cpu", 1, vocoder="griffinlim")
    assert found.name == "mine" and len(found.sing(speech, RATE, tune([60]), PLAIN).samples)
    with pytest.raises(ConfigError, match="expected a vocoder"):
        NeuralSinger(path, "cpu", 1, vocoder="wavenet")
    checkpoint.save(path, small.state_dict(), Checkpoint("codec", {}, {}))
    with pytest.raises(CheckpointError, match="expected a model that sings"):
        NeuralSinger(path, "cpu", 1)
    with pytest.raises(InputError, match="expected a voice"):
        NeuralSinger(small, "cpu", 1).sing(np.zeros(RATE, np.float32), RATE, tune([60]))


def test_without_a_shipped_model_one_sentence_says_so(tmp_path, monkeypatch):
    from songfoundry import inventory

    if any(row["name"] == DEFAULT_MODEL for row in inventory.models()):
        pytest.skip("a model is shipped")
    with pytest.raises(ConfigError, match="found none in this release: train one with recipes/sing-cyclegan.toml"):
        NeuralSinger()
