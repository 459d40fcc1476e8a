import math

import pytest
import torch
from spectral_notes import note

from songfoundry.spectral import InstantaneousMel, LogMel


def test_four_seconds_are_an_image_of_the_paper():
    image = InstantaneousMel(frames=128)(note(60, 64000))
    assert image.shape == (1, 2, 1024, 128)
    assert image[:, 0].min() == pytest.approx(-1, abs=1e-4) and 0.5 < image[:, 0].max() < 1
    assert image[:, 1, :, 1:].abs().max() <= 1.0001 and image[:, 1, :, 0].abs().max() < 2


def test_a_steady_sine_has_a_steady_frequency():
    mel = InstantaneousMel()
    hertz = 1000.0
    image = mel(torch.sin(2 * math.pi * hertz * torch.arange(32768) / 16000)[None])
    row = image[0, 0, :, 30].argmax()
    turns = image[0, 1, row, 8:56]
    assert turns.std() < 1e-2
    # The row sums the turns of the bins about the sine, each of them the sine's own.
    weight = mel.weights[row].sum()
    turn = 2 * math.pi * hertz * 512 / 16000
    expected = torch.remainder(weight * (math.remainder(turn, 2 * math.pi)) + math.pi, 2 * math.pi) - math.pi
    assert torch.remainder((turns.mean() * math.pi - expected) + math.pi, 2 * math.pi) - math.pi == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("pitch", [45, 60])
def test_a_note_comes_back_with_its_phase(pitch):
    mel = InstantaneousMel()
    wave = note(pitch, 30000)
    back = mel.invert(mel(wave), samples=30000)
    assert back.shape == wave.shape
    middle = slice(4000, 26000)
    assert torch.nn.functional.cosine_similarity(back[:, middle], wave[:, middle]) > 0.85
    image = LogMel()(wave)
    assert 30 * (LogMel()(back) - image).abs()[image > -1 + 1e-3].mean() < 4


def test_every_bin_but_the_last_has_a_triangle_and_every_triangle_but_the_first_a_bin():
    weights = InstantaneousMel().weights
    assert weights.shape == (1024, 1024) and (weights[:, :-1].sum(0) > 0).all()  # the last is where the scale ends
    assert (weights.sum(1) > 0).nonzero()[0] == 1 and (weights[1:].sum(1) > 0).all()


def test_silence_and_odd_lengths_pass():
    mel = InstantaneousMel()
    for samples in (1, 511, 513):
        image = mel(torch.zeros(2, samples))
        assert image.shape == (2, 2, 1024, -(-samples // 512)) and image.isfinite().all()
        back = mel.invert(image, samples=samples)
        assert back.shape == (2, samples) and back.abs().max() < 1e-4
    assert torch.equal(mel(note(60, 4000)), mel(torch.cat([note(60, 4000), note(50, 4000)]))[:1])


def test_more_than_the_columns_is_refused():
    with pytest.raises(ValueError, match="at most 1024 samples, found 1025"):
        InstantaneousMel(frames=2)(torch.zeros(1, 1025))
