"""Encoding and decoding with one model: any length, rate and channels, in windows that nobody hears."""

import threading

import numpy as np
import pytest
import tiny_codec
import torch
from tiny_codec import RATE

from songfoundry.encoding.encoder import Encoder
from songfoundry.encoding.latents import between, quantised
from songfoundry.encoding.vocoding import waveform_blocks
from songfoundry.errors import Cancelled, CheckpointError, ConfigError, InputError
from songfoundry.nets.posterior import Posterior


@pytest.fixture(scope="module")
def vae():
    return Encoder(tiny_codec.system("vae"), "cpu", 1)


@pytest.fixture(scope="module")
def ae64():
    return Encoder(tiny_codec.system("ae64"), "cpu", 1)


def noise(seconds=1.0, channels=1, rate=RATE, seed=0):
    samples = 0.1 * np.random.default_rng(seed).standard_normal((channels, round(seconds * rate)))
    return (samples * np.linspace(0.1, 1, samples.shape[1])).astype(np.float32)


def test_latents_are_those_of_the_whole_image_wherever_it_is_cut(vae, monkeypatch):
    sound = noise(5.0)
    whole = vae.system.encode(torch.nn.functional.pad(vae.system.images(torch.from_numpy(sound)), (0, 3), value=-1)).mean
    monkeypatch.setattr("songfoundry.encoding.encoder._CHUNK", 40)
    found = vae.encode(sound, RATE)
    assert found.values.shape == (1, 8, 79) and found.samples == 40000 and found.seconds == 5.0
    assert np.allclose(found.values, whole.detach().numpy(), atol=1e-4)
    images = torch.cat(list(vae.images(found)), 3)
    assert images.shape == (1, 1, 32, 313)
    assert torch.allclose(images, vae.system.decode(whole)[..., :313].detach(), atol=1e-3)


def test_blocks_of_any_size_give_the_same(vae):
    sound = noise(1.0, 2)
    blocks = np.array_split(sound, 37, axis=1)
    assert np.allclose(vae.encode_blocks(iter(blocks), RATE, 2).values, vae.encode(sound, RATE).values, atol=1e-5)


def test_channels_are_encoded_by_themselves(vae):
    sound = noise(0.6, 8)
    found = vae.encode(sound, RATE)
    assert found.channels == 8
    assert np.allclose(found.values[5], vae.encode(sound[5], RATE).values[0], atol=1e-5)
    assert vae.decode(found, iterations=1).shape == sound.shape


@pytest.mark.parametrize("rate", [RATE, 44100])
@pytest.mark.parametrize("seconds", [0.001, 0.1, 1.7])
def test_any_length_and_rate_comes_back_as_long_as_it_was(vae, ae64, rate, seconds):
    sound = noise(seconds, 1, rate)
    for encoder in (vae, ae64):
        back = encoder.decode(encoder.encode(sound, rate), iterations=1)
        assert back.shape == (1, round(round(seconds * rate) * RATE / rate)) and np.isfinite(back).all()


def test_windows_of_one_length_overlap_and_their_images_are_cross_faded(ae64):
    found = ae64.encode(noise(3.0), RATE)
    # 188 frames in windows of 64, 48 apart, the last one at the end.
    assert found.values.shape == (1, 8, 4) and found.hop == 48
    images = torch.cat(list(ae64.images(found)), 3)
    alone = [ae64.system.decode(torch.from_numpy(found.values[:, :, [n]])).detach() for n in range(4)]
    assert images.shape[3] == 188
    assert torch.allclose(images[..., 16:48], alone[0][..., 16:48]) and torch.allclose(images[..., 64:96], alone[1][..., 16:48])
    shared = images[..., 48:64]
    assert torch.allclose(shared[..., 8], (alone[0][..., 56] * 7.5 + alone[1][..., 8] * 8.5) / 16, atol=1e-5)
    assert torch.allclose(images[..., 160:], alone[3][..., 36:])
    faded = torch.lerp(alone[2][..., 28:], alone[3][..., :36], torch.arange(0.5, 36) / 36)
    assert torch.allclose(images[..., 124:160], faded, atol=1e-5)


@pytest.mark.parametrize("frames", [65, 100, 112, 113, 160])
def test_no_window_is_filled_up_with_silence_where_the_sound_is_long_enough(ae64, frames, monkeypatch):
    sound, seen = noise(frames * 128 / RATE), []
    monkeypatch.setattr("songfoundry.encoding.encoder._CHUNK", 40)
    monkeypatch.setattr(ae64.system, "encode", lambda images: seen.append(images) or Posterior(torch.zeros(1, 8, 1)))
    found = ae64.encode(sound, RATE)
    whole = ae64.system.images(torch.from_numpy(sound))
    assert torch.allclose(seen[-1], whole[..., -64:], atol=1e-4) and len(seen) == found.values.shape[2] == 1 + -(-(frames - 64) // 48)
    monkeypatch.setattr(ae64.system, "decode", lambda latents: seen.pop(0).clone())
    assert torch.allclose(torch.cat(list(ae64.images(found)), 3), whole, atol=1e-4), "every frame is put where it came from"


def test_silence_stays_finite_and_levels_go_through(vae):
    silent = vae.encode(np.zeros((1, 4000), np.float32), RATE)
    assert np.isfinite(vae.decode(silent)).all()


def test_two_channels_that_are_one_come_back_as_one(vae):
    sound = np.repeat(noise(1.0), 2, axis=0)
    back = vae.decode(vae.encode(sound, RATE), iterations=4)
    assert np.allclose(back[0], back[1], atol=1e-5)


def test_a_chunk_goes_on_from_the_phase_of_the_one_before(vae):
    time = np.arange(3 * RATE) / RATE
    sound = 0.5 * np.sin(2 * np.pi * 443 * time) + 0.2 * np.sin(2 * np.pi * 1210 * time)
    front = vae.system.front
    with torch.inference_mode():
        image = front(torch.from_numpy(sound.astype(np.float32))[None])
        parts = np.concatenate(list(waveform_blocks(front, [image], chunk=96)), 1)[0]
        whole = np.concatenate(list(waveform_blocks(front, [image])), 1)[0]
    assert len(parts) == len(whole) == 188 * 128

    def softest(wave):
        inner = wave[4000:-4000]
        return np.sqrt(np.square(inner[: len(inner) // 400 * 400].reshape(-1, 400)).mean(1)).min()

    assert softest(parts) > 0.8 * softest(whole), "no hole where chunks meet"


def test_latents_of_another_model_are_refused(vae, ae64):
    other = Encoder(tiny_codec.system("vae", seed=2), "cpu", 1)
    found = other.encode(noise(), RATE)
    with pytest.raises(ConfigError, match="of another"):
        vae.decode(found)
    with pytest.raises(ConfigError, match="one model"):
        between(found, vae.encode(noise(), RATE), 0.5)
    assert Encoder(tiny_codec.system("vae"), "cpu", 1).hash == vae.hash != ae64.hash


def test_drawn_latents_follow_from_seed_and_number_and_are_like_those_of_training(vae, ae64):
    one, again, other = vae.sample(2.0, 3, 1), vae.sample(2.0, 3, 1), vae.sample(2.0, 3, 2)
    assert np.array_equal(one.values, again.values) and not np.array_equal(one.values, other.values)
    assert vae.decode(one, iterations=1).shape == (1, 2 * RATE)
    system = tiny_codec.system("vae")
    system.mean.fill_(5.0)
    system.covariance.copy_(4 * torch.eye(8))
    system.memory.fill_(0.95)
    slow = Encoder(system, "cpu", 1).sample(300.0).values[0]
    assert np.allclose(slow.mean(1), 5, atol=1) and np.allclose(slow.std(1), 2, rtol=0.4)
    assert np.corrcoef(slow[0, 1:], slow[0, :-1])[0, 1] == pytest.approx(0.95, abs=0.02)
    plain = Encoder(system, "cpu", 1).sample(300.0, prior="normal").values[0]
    assert abs(plain.mean()) < 0.05 and abs(np.corrcoef(plain[0, 1:], plain[0, :-1])[0, 1]) < 0.1
    assert ae64.sample(3.0).values.shape == (1, 8, 4)
    for options, what in (({"seconds": 0.0}, "seconds"), ({"seconds": 1.0, "seed": -1}, "seed"), ({"seconds": 1.0, "prior": "x"}, "prior")):
        with pytest.raises(ConfigError, match=what):
            vae.sample(**options)


def test_eight_bits_cover_six_deviations_of_trainings_latents():
    system = tiny_codec.system("vae")
    system.mean.fill_(5.0)
    system.covariance.copy_(4 * torch.eye(8))
    found = Encoder(system, "cpu", 1).sample(300.0)
    assert (found.low == -7).all() and (found.high == 17).all()
    assert 0.01 < np.abs(quantised(found).values - found.values).max() <= 24 / 255 / 2 * 1.001


def test_work_is_reported_and_stopped(vae):
    seen = []
    vae.encode(noise(2.5), RATE, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0
    with pytest.raises(Cancelled):
        vae.encode(noise(2.5), RATE, progress=lambda _: False)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        vae.decode(vae.sample(1.0), iterations=0, cancel=stop)


def test_what_cannot_be_encoded_or_loaded_is_told(vae, tmp_path):
    for sound in (np.zeros((1, 0)), np.array([[np.nan, 0.0]]), np.zeros((65, 100))):
        with pytest.raises(InputError):
            vae.encode(sound, RATE)
    with pytest.raises(ConfigError, match="did you mean 'pghi'"):
        vae.decode(vae.sample(0.5), vocoder="pgh")
    from tone_notes import save_model

    save_model(tmp_path / "note.safetensors")
    with pytest.raises(CheckpointError, match="model that encodes"):
        Encoder(tmp_path / "note.safetensors")
    with pytest.raises(ConfigError, match="threads"):
        Encoder(tiny_codec.system(), threads=0)
