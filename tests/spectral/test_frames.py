import pytest
import torch

from songfoundry.spectral import Frames


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 1000, 4096])
@pytest.mark.parametrize(("n_fft", "hop"), [(1024, 256), (512, 256), (96, 24)])
def test_the_inverse_gives_back_whole_hops(samples, n_fft, hop):
    frames = Frames(n_fft, hop)
    wave = torch.randn(3, samples, generator=torch.Generator().manual_seed(samples))
    spectrum = frames(wave)
    assert spectrum.shape == (3, n_fft // 2 + 1, -(-samples // hop))
    back = frames.inverse(spectrum)
    assert torch.allclose(back[:, :samples], wave, atol=2e-5)
    assert torch.allclose(back[:, samples:], torch.zeros(()), atol=2e-5)


def test_a_sine_of_full_scale_has_magnitude_one_in_the_frame_that_is_centred_on_it():
    frames = Frames(1024, 256)
    spectrum = frames(torch.sin(2 * torch.pi * 64 / 1024 * torch.arange(8192))[None]).abs()
    assert spectrum[0, 64, 8:24].allclose(torch.ones(16), atol=1e-4)
    click = torch.zeros(1, 8192)
    click[0, 10 * 256 + 128] = 1
    assert frames(click).abs()[0, 100].argmax() == 10


def test_the_inverse_is_the_nearest_waveform():
    frames = Frames(64, 16)
    generator = torch.Generator().manual_seed(1)
    wanted = torch.view_as_complex(torch.randn(1, 33, 9, 2, generator=generator))
    wanted[:, [0, -1]] = wanted[:, [0, -1]].real.to(wanted.dtype)
    weight = torch.full((33, 1), 2.0)
    weight[[0, -1]] = 1  # inner bins stand for their mirror images too

    def distance(wave):
        return float((weight * (frames(wave) - wanted).abs() ** 2).sum())

    best = frames.inverse(wanted)
    for _ in range(5):
        assert distance(best) < distance(best + 1e-2 * torch.randn(best.shape, generator=generator))


@pytest.mark.parametrize(("n_fft", "hop"), [(1024, 300), (512, 512), (9, 3)])
def test_hops_that_do_not_tile_are_refused(n_fft, hop):
    with pytest.raises(ValueError, match="multiple of hop"):
        Frames(n_fft, hop)


def test_an_empty_waveform_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        Frames()(torch.zeros(1, 0))
