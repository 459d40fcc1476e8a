import math
import time

import numpy as np
import pytest
import torch
from spectral_notes import convergence, note

from songfoundry.spectral import LogMel, mel_filterbank


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", None])
@pytest.mark.parametrize(("rate", "n_fft", "mels", "low", "high"), [(16000, 1024, 80, 0.0, None), (44100, 2048, 128, 40.0, 15000.0)])
def test_triangles_are_those_of_librosa(scale, norm, rate, n_fft, mels, low, high):
    filters = pytest.importorskip("librosa.filters")
    theirs = filters.mel(sr=rate, n_fft=n_fft, n_mels=mels, fmin=low, fmax=high, htk=scale == "htk", norm=norm)
    ours = mel_filterbank(rate, n_fft, mels, low, high, scale=scale, norm=norm)
    assert np.abs(ours.numpy() - theirs).max() <= 1e-6 * theirs.max()


def test_rows_are_weighted_means_and_none_is_empty():
    weights = LogMel().weights
    assert torch.allclose(weights.sum(1), torch.ones(256), atol=1e-5) and (weights >= 0).all()


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (255, 1), (257, 2), (12345, 49), (32768, 128)])
def test_every_hop_begun_is_a_column(samples, frames):
    image = LogMel()(torch.randn(2, samples))
    assert image.shape == (2, 1, 256, frames) and image.dtype == torch.float32 and image.abs().max() <= 1
    assert LogMel().invert(image, samples=samples).shape == (2, samples)


def test_a_sine_lights_the_row_of_its_frequency():
    mel = LogMel()
    sine = torch.sin(2 * math.pi * 2000 * torch.arange(16000) / 16000)[None]
    row = mel(sine)[0, 0, :, 30].argmax()
    assert abs(mel.centres[row] - 2000) < 20


def test_the_peak_or_a_level_is_zero_decibels():
    wave = note(60, 8192)
    assert torch.allclose(LogMel()(0.1 * wave), LogMel()(wave), atol=1e-4) and LogMel()(wave).max() == pytest.approx(1, abs=1e-6)
    mel = LogMel(reference=1.0)
    loud, soft = mel.amplitude(mel(wave)), mel.amplitude(mel(0.1 * wave))
    there = loud > 0.05
    assert torch.allclose(soft[there], 0.1 * loud[there], rtol=0.01)
    assert mel(100 * wave).max() == 1


def test_the_image_keeps_amplitudes_down_to_its_floor():
    mel = LogMel(reference=1.0)
    true = mel.weights @ mel.frames(note(55)).abs()
    found = mel.amplitude(mel(note(55)))
    assert torch.allclose(found[true > 1e-3], true[true > 1e-3], rtol=1e-3) and (found - true).abs().max() < 1e-3


def test_magnitudes_are_not_negative_and_have_the_same_mel():
    mel = LogMel()
    image = mel(torch.cat([note(45), note(80)]))
    magnitude = mel.magnitude(image)
    assert (magnitude >= 0).all() and magnitude.shape == (2, 513, 128)
    assert convergence(mel.amplitude(image), mel.weights @ magnitude) < -30
    few, more = (convergence(mel.amplitude(image), mel.weights @ mel.magnitude(image, steps)) for steps in (1, 32))
    assert more < few


def test_what_is_soft_weighs_as_much_as_what_is_loud_down_to_the_floor():
    mel = LogMel(floor=1e-5, mels=128, reference=1.0)
    image = mel(torch.cat([note(45), note(80)]))
    wanted, found = mel.amplitude(image), mel.weights @ mel.magnitude(image)
    there = (wanted > 1e-5) & (wanted < 1e-4)
    assert there.sum() > 1000 and (20 * torch.log10(found[there] / wanted[there])).abs().mean() < 0.03


def error(image, again):
    """Average the distance of two images in dB, where the first is above its floor."""
    return float(30 * (again - image).abs()[image > -1 + 1e-3].mean())


def test_a_note_comes_back():
    mel = LogMel()
    waves = torch.cat([note(pitch, seed=pitch) for pitch in (40, 57, 72)])
    image = mel(waves)
    back = mel.invert(image)
    assert back.shape == waves.shape and torch.allclose(back.abs().amax(1), torch.ones(3))
    best = error(image, mel(back))
    assert best < 0.45
    assert best < 0.5 * error(image, mel(mel.invert(image, phase="fast_griffinlim")))
    assert best < 0.4 * error(image, mel(mel.invert(image, phase="griffinlim")))
    assert torch.equal(back, mel.invert(image))


def test_levels_come_back():
    mel = LogMel(reference=1.0)
    waves = torch.cat([note(60), 0.1 * note(60)])
    found = mel.invert(mel(waves), samples=30000)
    assert found.shape == (2, 30000)
    assert torch.allclose(found.square().mean(1).sqrt(), waves[:, :30000].square().mean(1).sqrt(), rtol=0.05)


@pytest.mark.parametrize("reference", [None, 1.0])
def test_silence_stays_silent(reference):
    mel = LogMel(reference=reference)
    silence = torch.zeros(2, 3000, requires_grad=True)
    image = mel(silence)
    assert torch.allclose(image, torch.full_like(image, -1))
    assert mel.invert(image.detach()).abs().max() < 1e-6
    image.sum().backward()
    assert silence.grad.isfinite().all()


def test_silence_beside_a_note_changes_nothing():
    mel = LogMel()
    together = mel(torch.cat([note(60, 8192), torch.zeros(1, 8192)]))
    assert torch.equal(together[:1], mel(note(60, 8192)))
    assert torch.allclose(mel.invert(together)[:1], mel.invert(together[:1]), atol=1e-4)


def test_gradients_are_those_of_finite_differences():
    mel = LogMel(n_fft=64, hop=16, mels=12).double()
    wave = torch.randn(1, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wave.requires_grad_()
    weights = torch.randn(1, 1, 12, 4, generator=torch.Generator().manual_seed(1))
    (mel.to(torch.float32)(wave) * weights).sum().backward()
    assert wave.grad.abs().min() > 0
    step = 1e-2 * torch.nn.functional.normalize(wave.grad)
    with torch.no_grad():
        change = ((mel(wave + step) - mel(wave - step)) * weights).sum()
    assert float(change) == pytest.approx(float(2 * (wave.grad * step).sum()), rel=0.02)


def test_autocast_leaves_the_image_alone():
    mel = LogMel()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mel(note(60, 8192))
    assert torch.equal(inside, mel(note(60, 8192)))


def test_an_unknown_phase_is_refused():
    with pytest.raises(ValueError, match="pghi, griffinlim, fast_griffinlim"):
        LogMel().invert(torch.zeros(1, 1, 256, 2), phase="wavenet")


def test_inverting_is_faster_than_real_time():
    mel = LogMel()
    image = mel(note(60))
    mel.invert(image)
    begun = time.process_time()
    mel.invert(image)
    assert time.process_time() - begun < 1.0  # 2 s of sound; about 0.04 s where nothing else runs
