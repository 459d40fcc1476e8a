"""Hold SCNet's parts against what they are by definition."""

import pytest
import torch

from songfoundry.nets import scnet


@pytest.mark.parametrize("bins", [3, 17, 33, 257, 2049])
def test_bands_cover_all_bins_in_the_paper_s_shares(bins):
    sizes = scnet.band_sizes(bins)
    assert sum(sizes) == bins and min(sizes) >= 1
    if bins > 1000:
        assert [size / bins for size in sizes] == pytest.approx(scnet.SHARES, abs=1e-3)


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 173, 346])
def test_the_modulation_transform_is_orthonormal_and_inverts(frames):
    x = torch.randn(2, 3, 5, frames)
    y = scnet.to_modulation(x)
    assert y.shape == (2, 6, 5, frames // 2 + 1)
    assert torch.allclose(scnet.from_modulation(y, frames), x, atol=1e-5)
    assert torch.allclose(scnet.to_modulation(torch.ones(1, 1, 1, frames))[0, 0, 0, 0], torch.tensor(frames**0.5), rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 173, 2600])
def test_the_matrices_of_the_exported_transform_are_those_of_the_fast_one(frames, monkeypatch):
    x = torch.randn(1, 4, 2, frames)
    y, back = scnet.to_modulation(x), scnet.from_modulation(scnet.to_modulation(x), frames)
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    assert torch.allclose(scnet.to_modulation(x), y, atol=1e-4)
    assert torch.allclose(scnet.from_modulation(y, frames), back, atol=1e-4)


def test_masks_leave_silent_bins_silent_and_maps_do_not():
    mixture = torch.randn(1, 2, 2, 257, 12)
    mixture[..., 200:, :] = 0
    options = {"n_fft": 512, "widths": (8, 16, 32)}
    with torch.no_grad():
        masked = scnet.NET(**options, output="mask").eval()(mixture)
        mapped = scnet.NET(**options, output="map").eval()(mixture)
    assert not masked[..., 200:, :].any() and masked[..., :200, :].any()
    assert mapped[..., 200:, :].any()


def test_maps_follow_the_mixture_s_level():
    net = scnet.NET(n_fft=512, widths=(8, 16, 32)).eval()
    mixture = torch.randn(1, 2, 2, 257, 12)
    with torch.no_grad():
        assert torch.allclose(net(100 * mixture), 100 * net(mixture), rtol=1e-3, atol=1e-3)


def test_an_unknown_output_is_refused():
    with pytest.raises(TypeError, match="'map' or 'mask', not 'masks'"):
        scnet.NET(n_fft=512, output="masks")
