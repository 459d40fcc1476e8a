"""The system that encodes: losses, scores, previews, what it remembers of latents, and training that goes on bit for bit."""

import csv
import importlib.util

import numpy as np
import pytest
import tiny_codec
import torch

from songfoundry import checkpoint, training
from songfoundry.data.sounds import Sounds, SoundsConfig
from songfoundry.errors import Cancelled, ConfigError
from songfoundry.metrics.audio import TOP_DB, image_scores
from songfoundry.nets.posterior import Posterior
from songfoundry.systems.codec import window_starts

NETS = ("ae64", "ae64_2d", "vae")


def batch(count=4, seconds=1.1):
    draws = Sounds(SoundsConfig(rate=tiny_codec.RATE, seconds=seconds, harmonics=1.0))
    return {"waveform": torch.stack([draws[n]["waveform"] for n in range(count)])}


@pytest.mark.parametrize("net", NETS)
def test_losses_are_those_of_the_recipe_and_go_down(net):
    system = tiny_codec.system(net).train()
    optimizer = torch.optim.Adam(system.phases()["model"], 3e-3)
    sound, totals = batch(), []
    for step in range(12):
        system.begin_step(step, 12)
        losses = system.forward("model", sound)
        assert set(losses) == {"l1", "mse", "stft"} | ({"kl"} if net == "vae" else set())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        totals.append(float(losses["l1"].detach()))
    assert totals[-1] < 0.9 * totals[0]


def test_the_loss_on_spectra_is_zero_for_a_perfect_image_and_grows_with_the_error():
    system, sound = tiny_codec.system(), batch()["waveform"][:, : 64 * 128]
    images = system.images(sound)
    losses = [float(system._spectra(sound, images, (images + shift).clamp(-1, 1))) for shift in (0, 0.02, 0.1)]
    assert losses[0] < 1e-3 < losses[1] < losses[2]


def test_the_weight_of_the_divergence_warms_up_and_free_nats_cost_the_same():
    system, sound = tiny_codec.system(kl_warmup=10, kl=1.0, free_bits=50.0), batch()
    seen = []
    for step in (0, 4, 30):
        system.begin_step(step, 40)
        seen.append(float(system.forward("model", sound)["kl"].detach()))
    assert seen == pytest.approx([5.0, 25.0, 50.0]), "all units have fewer than 50 nats"


def test_levels_survive():
    system, sound = tiny_codec.system(), batch()["waveform"]
    loud, soft = (system.front.amplitude(system.images(gain * sound)) for gain in (0.5, 0.05))
    strong = loud > 0.05
    assert torch.allclose(loud[strong] / soft[strong], torch.tensor(10.0), rtol=0.02)


def test_the_floor_lies_below_what_is_scored_of_a_soft_stem():
    # Scores go 80 dB down from a sound's own peak: near a floor higher than that, tenths of a dB would count as tens.
    system, time = tiny_codec.system(), torch.arange(2 * tiny_codec.RATE) / tiny_codec.RATE
    soft = torch.exp(-3 * time) * torch.sin(2 * torch.pi * 440 * time)
    # The loudest band 23 dB below full scale, as of a stem of a real song.
    soft *= 0.07 / system.front.amplitude(system.images(soft[None])).max()
    images = system.images(soft[None])
    mistake = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) * 2 / system.depth  # 1 dB
    made = (images + mistake).clamp(-1, 1)
    trained = float(((made - images) / 2 * system.depth / TOP_DB).square().mean())
    true, found = (system.front.amplitude(image)[0].double().numpy() for image in (images, made))
    scaled = [np.clip(20 * np.log10(np.maximum(level / true.max(), 1e-9)) / TOP_DB + 1, 0, 1) for level in (true, found)]
    assert image_scores(*scaled)["mse"] < 2 * trained


def test_windows_of_one_length_end_where_the_sound_does(monkeypatch):
    assert window_starts(188, 64, 48) == [0, 48, 96, 124] and window_starts(64, 64, 48) == window_starts(9, 64, 48) == [0]
    system, seen = tiny_codec.system("ae64").eval(), []
    monkeypatch.setattr(system, "decode", lambda latents: seen[-1])
    monkeypatch.setattr(system, "encode", lambda images: seen.append(images) or Posterior(torch.zeros(1, 8, 1)))
    images, made = system.through(torch.rand(1, 90 * 128) - 0.5)
    assert torch.equal(images, made), "every frame is put where it came from"
    assert [window.shape[3] for window in seen] == [64, 64] and torch.equal(seen[1], images[..., 26:90])
    assert system.through(torch.rand(1, 128))[1].shape[3] == 1 and (seen[-1][..., 1:] == -1).all()


@pytest.mark.parametrize("net", NETS)
def test_any_length_goes_through(net):
    system = tiny_codec.system(net).eval()
    for samples in (1, 127, 5000, 20001):
        images, made = system.through(torch.rand(2, samples) - 0.5)
        assert images.shape == made.shape == (2, 1, 32, -(-samples // 128)) and made.abs().max() <= 1


def test_what_is_remembered_of_latents_is_their_mean_covariance_and_memory():
    system = tiny_codec.system().train()
    generator = torch.Generator().manual_seed(0)
    course = torch.zeros(16, 8, 200)
    for step in range(1, 200):
        course[:, :, step] = 0.9 * course[:, :, step - 1] + (1 - 0.81) ** 0.5 * torch.randn(16, 8, generator=generator)
    latents = 2 + 3 * course[:, :, 50:]
    for _ in range(900):
        system._remember(latents)
    assert torch.allclose(system.mean, torch.full((8,), 2.0), atol=1.0)
    assert torch.allclose(system.covariance.diagonal(), torch.full((8,), 9.0), rtol=0.5)
    assert torch.allclose(system.memory, torch.full((8,), 0.9), atol=0.07)
    before = system.mean.clone()
    system.eval()._remember(latents + 5)
    assert torch.equal(system.mean, before), "what is scored is not remembered"


@pytest.mark.parametrize("net", ["ae64"])
def test_scores_and_previews_of_a_held_out_sound(net):
    pytest.importorskip("matplotlib")
    system = tiny_codec.system(net).eval()
    draws = Sounds(SoundsConfig(rate=tiny_codec.RATE, seconds=1.1, harmonics=1.0, excerpt=1.3))
    held = next(draws.validation())
    found = system.score(held)
    assert found["mean"] == -found["db"] == -found["harmonics.db"] and found["db"] == pytest.approx(100 * found["mae"], rel=1e-5)
    shown = {artifact.name: artifact for artifact in system.preview(held)}
    assert {"spectrogram_comparison", "inference_comparison", "audio_reconstructed_1", "audio_original_1"} == set(shown)
    assert shown["audio_reconstructed_1"].content.samples.shape == (1, len(held["waveform"]))
    assert shown["spectrogram_comparison"].content.startswith(b"\x89PNG")


@pytest.mark.parametrize("net", ["vae"])
def test_a_training_that_was_stopped_goes_on_bit_for_bit_and_shows_its_epochs(net, tmp_path, monkeypatch):
    training.train(tiny_codec.recipe(net), tmp_path / "whole")
    # Drawn once is enough.
    monkeypatch.setattr("songfoundry.runs.Run.plot", lambda *_: None)
    monkeypatch.setattr("songfoundry.systems.codec.Codec.preview", lambda *_: [])
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        training.train(tiny_codec.recipe(net), tmp_path / "parts", stop=lambda: next(asked))
    training.train(tiny_codec.recipe(net), tmp_path / "parts")
    whole, parts = (checkpoint.read_tensors(tmp_path / run / "checkpoints/last.safetensors") for run in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    assert "weights/covariance" in whole, "what is remembered is part of the state"
    names = {path.name for path in (tmp_path / "whole/results").iterdir()}
    assert {"epochs.csv", "audio_reconstructed_1.wav"} <= names
    rows = list(csv.DictReader((tmp_path / "whole/results/epochs.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"], "eight clips are two steps of four"
    assert float(rows[-1]["loss l1"]) > 0 and float(rows[-1]["score db"]) > 0
    if importlib.util.find_spec("matplotlib"):
        assert {"training_curves.png", "spectrogram_comparison.png", "inference_comparison.png"} <= names


def test_rates_lengths_and_losses_that_do_not_fit_are_told(tmp_path):
    for data, what in (({"rate": 16000}, "at 8000 Hz"), ({"seconds": 0.5}, "at least 1.024 s")):
        values = tiny_codec.values()
        values["data"] |= data
        with pytest.raises(ConfigError, match=what):
            training.build(tiny_codec.config.parse(tiny_codec.config.Recipe, values, "tiny"))
    for options, what in (({"frames": 63}, "multiples of 4"), ({"l1": 0, "mse": 0}, "nothing is learnt"), ({"hop": 100}, "fit together")):
        with pytest.raises(ConfigError, match=what):
            tiny_codec.system(**options)
    with pytest.raises(ConfigError, match="TASK is 'encode'"):
        tiny_codec.system(net="lstm")


@pytest.mark.parametrize(("n_mels", "latent_dim", "clips"), [(64, 16, 5), (96, 3, 40)])
def test_bands_latents_and_clips_are_keys_of_the_recipe(n_mels, latent_dim, clips):
    values = tiny_codec.values("ae64", steps=1)
    values["system"] |= {"n_mels": n_mels, "latent_dim": latent_dim}
    values["data"] |= {"clips": clips}
    system, draws = training.build(tiny_codec.config.parse(tiny_codec.config.Recipe, values, "tiny"))
    assert system.config.clips == clips
    assert torch.equal(draws[0]["waveform"] > 0, draws[clips]["waveform"] > 0)
    mean = system.encode(torch.zeros(1, 1, n_mels, 64)).mean
    assert mean.shape == (1, latent_dim, 1) and system.decode(mean).shape == (1, 1, n_mels, 64)


def test_harmonics_come_out_of_a_silent_net_finite():
    system = tiny_codec.system().eval()
    images, made = system.through(torch.zeros(1, 4000))
    assert torch.allclose(images, -torch.ones_like(images), atol=1e-5) and made.isfinite().all()
    assert np.isfinite(system.waveforms(images).numpy()).all()
