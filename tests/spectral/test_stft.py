"""Hold the front end against the definition, and see that its inverse loses nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import windows

from songfoundry.spectral import Stft, as_complex, as_real


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5000), st.sampled_from([(512, 128), (256, 128), (64, 16), (512, 64)]), st.integers(1, 3))
def test_the_inverse_gives_back_every_sample(length, sizes, channels):
    stft = Stft(*sizes)
    waveform = torch.randn(channels, length, generator=torch.Generator().manual_seed(length))
    spectrum = stft(waveform)
    assert spectrum.shape == (channels, 2, sizes[0] // 2 + 1, 1 + -(-length // sizes[1]))
    back = stft.inverse(spectrum, length)
    assert back.shape == waveform.shape
    assert torch.allclose(back, waveform, atol=2e-6)


def test_the_default_front_end_gives_back_odd_lengths():
    stft = Stft()
    waveform = torch.randn(2, 4, 2, 44101)
    assert torch.allclose(stft.inverse(stft(waveform), 44101), waveform, atol=2e-6)


@pytest.mark.parametrize(("n_fft", "hop"), [(512, 128), (64, 16)])
def test_frames_are_windowed_fourier_transforms(n_fft, hop):
    signal = np.random.default_rng(3).normal(size=1003)
    frames = 1 + -(-signal.size // hop)
    padded = np.zeros(n_fft // 2 + (frames - 1) * hop + n_fft)
    padded[n_fft // 2 : n_fft // 2 + signal.size] = signal
    window = windows.hann(n_fft, sym=False)
    expected = np.stack([np.fft.rfft(window * padded[t * hop : t * hop + n_fft]) for t in range(frames)], 1) / np.sqrt(n_fft)
    found = as_complex(Stft(n_fft, hop)(torch.from_numpy(signal).float())).numpy()
    assert np.abs(found - expected).max() < 1e-5


def test_the_transform_is_linear_and_maps_a_sine_to_its_bin():
    stft = Stft(512, 128)
    time = torch.arange(8000) / 8000
    sine = torch.sin(2 * torch.pi * 1000 * time)
    assert as_complex(stft(sine)).abs().mean(1).argmax() == 64
    assert torch.allclose(stft(3 * sine), 3 * stft(sine), atol=1e-5)


def test_real_and_complex_layouts_are_inverse():
    spectrum = torch.randn(2, 3, 2, 5, 7)
    assert as_complex(spectrum).shape == (2, 3, 5, 7)
    assert torch.equal(as_real(as_complex(spectrum)), spectrum)
    assert torch.equal(as_complex(spectrum).imag, spectrum[:, :, 1])


def test_the_window_is_not_a_weight():
    assert list(Stft(512, 128).state_dict()) == []


@pytest.mark.parametrize(("n_fft", "hop"), [(512, 100), (512, 512), (512, 1024)])
def test_a_hop_that_does_not_tile_is_refused(n_fft, hop):
    with pytest.raises(ValueError, match="multiple of hop_length"):
        Stft(n_fft, hop)
