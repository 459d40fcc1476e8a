"""Hold the separation system to what it says: losses, merging, band limits, scale, chunks, errors."""

import numpy as np
import pytest
import torch
from torch import nn

from songfoundry.config import parse
from songfoundry.errors import ConfigError
from songfoundry.systems.separate import Separate, SeparateConfig

TINY = {"preset": "tiny", "n_fft": 512, "hop_length": 128, "sample_rate": 8000, "net_options": {"layers": 1}}

# What the loss of a spectrum has in place of 1: a Hann window's mean square is 3/8, and half of the spectrum is counted.
SPECTRUM = (3 / 16) ** 0.5


def system(**values) -> Separate:
    torch.manual_seed(0)
    return Separate(SeparateConfig(**{**TINY, **values}))


class Fixed(nn.Module):
    """Stand for a net that gives every stem the same share of the mixture."""

    def forward(self, spectrum):
        return (spectrum / 4)[:, None].repeat(1, 4, 1, 1, 1, 1)


def sharing(**values) -> Separate:
    """Build a system whose estimates depend on the mixture alone, and known."""
    built = system(**values)
    built.net = Fixed()
    return built


def batch(stems, two_stems=False, band_limited=False) -> dict:
    examples = len(stems)
    return {
        "stems": stems, "mixture": stems.sum(1),
        "two_stems": torch.full((examples,), two_stems), "band_limited": torch.full((examples,), band_limited),
    }  # fmt: skip


def noise(*shape, seed=0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sine(hertz, rate, samples) -> torch.Tensor:
    return 0.1 * torch.sin(2 * torch.pi * hertz * torch.arange(samples) / rate).expand(2, samples)


def test_losses_fall_over_twenty_steps_on_one_example():
    trained = system(net_options={"layers": 1, "features": 16, "hidden": 16, "mask_hidden": 16})
    optimizer = torch.optim.Adam(trained.phases()["model"], lr=1e-2)
    example = batch(torch.stack([sine(f, 8000, 4000) for f in (300, 700, 1500, 3000)])[None])
    history = []
    for _ in range(20):
        losses = trained("model", example)
        assert set(losses) == {"spectrum", "wave"} and all(loss.isfinite() and loss.ndim == 0 for loss in losses.values())
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append({name: float(loss.detach()) for name, loss in losses.items()})
    assert history[-1]["spectrum"] < 0.7 * history[0]["spectrum"]
    assert history[-1]["wave"] < 0.7 * history[0]["wave"]


def test_losses_are_what_their_definition_says():
    # A stem of all and three of nothing: a quarter of the mixture is wrong by 3/4 in one and by 1/4 in the others.
    stems = torch.zeros(1, 4, 2, 16000)
    stems[0, 0] = noise(2, 16000)
    losses = sharing(wave_weight=2.0)("model", batch(stems))
    assert float(losses["spectrum"]) == pytest.approx(SPECTRUM * (0.75 + 3 * 0.25) / 4, rel=0.03)
    # The mean absolute value of normal noise of unit power is sqrt(2 / pi).
    assert float(losses["wave"]) == pytest.approx(2 * (0.75 + 3 * 0.25) / 4 * (2 / np.pi) ** 0.5, rel=0.03)


def test_a_perfect_estimate_costs_almost_nothing_and_the_wave_can_be_left_out():
    losses = sharing(wave_weight=0)("model", batch((noise(1, 1, 2, 9000) / 4).repeat(1, 4, 1, 1)))
    assert set(losses) == {"spectrum"} and float(losses["spectrum"]) < 1e-3


def test_losses_do_not_depend_on_the_level():
    stems = noise(2, 4, 2, 8000)
    quiet, loud = (sharing()("model", batch(gain * stems)) for gain in (1, 30))
    assert all(float(quiet[name]) == pytest.approx(float(loud[name]), rel=1e-3) for name in quiet)


@pytest.mark.parametrize("two_stems", [True, False])
def test_two_stem_songs_ask_only_for_the_sum_of_the_others(two_stems):
    stems = noise(1, 4, 2, 8000)
    moved = stems.clone()
    moved[:, 1:] = stems[:, [3, 1, 2]] + torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1) * noise(2, 8000, seed=5)
    assert torch.allclose(moved.sum(1), stems.sum(1), atol=1e-6)
    before, after = (sharing()("model", batch(s, two_stems=two_stems)) for s in (stems, moved))
    assert all((abs(float(before[name] - after[name])) < 1e-4) == two_stems for name in before)


def test_two_stem_songs_still_ask_for_the_vocals():
    stems = noise(1, 4, 2, 8000)
    moved = stems.clone()
    moved[:, 0] += moved[:, 1]
    moved[:, 1] = 0
    before, after = (sharing()("model", batch(s, two_stems=True)) for s in (stems, moved))
    assert all(abs(float(before[name] - after[name])) > 0.02 for name in before)


def test_examples_of_both_kinds_go_into_one_batch():
    stems = noise(2, 4, 2, 8000)
    both = batch(stems) | {"two_stems": torch.tensor([True, False])}
    alone = [sharing()("model", batch(stems[i : i + 1], two_stems=i == 0)) for i in range(2)]
    for name, loss in sharing()("model", both).items():
        assert float(loss) == pytest.approx(float(alone[0][name] + alone[1][name]) / 2, rel=1e-4)


@pytest.mark.parametrize("band_limited", [True, False])
def test_above_the_limit_a_band_limited_source_asks_for_nothing(band_limited):
    rate = 44100
    low = torch.stack([sine(f, rate, rate) for f in (200, 900, 2000, 5000)])
    high = torch.stack([sine(12000, rate, rate), *torch.zeros(3, 2, rate)])
    # The same mixture, the high tone in another stem: the estimate is the same, the truth differs above 8 kHz alone.
    first, last = (low + high)[None], (low + high.flip(0))[None]
    before, after = (sharing(sample_rate=rate)("model", batch(s, band_limited=band_limited)) for s in (first, last))
    plain = sharing(sample_rate=rate)("model", batch(low[None], band_limited=band_limited))
    if band_limited:
        assert float(before["spectrum"]) == pytest.approx(float(after["spectrum"]), rel=1e-4)
        assert float(before["wave"]) == 0
    else:
        missed = batch(first) | {"stems": low[None]}
        assert abs(float(sharing(sample_rate=rate)("model", missed)["spectrum"] - before["spectrum"])) > 0.01
        assert float(before["wave"]) > 0.1
    assert plain["spectrum"] > 0


def test_a_band_limited_example_costs_less_by_what_lies_above():
    rate = 44100
    stems = torch.stack([sine(f, rate, rate) for f in (200, 12000, 13000, 14000)])[None]
    whole, limited = (float(sharing(sample_rate=rate)("model", batch(stems, band_limited=b))["spectrum"]) for b in (False, True))
    # Of four equal tones in a mixture of unit power, the low one alone: 3/4 of it in its stem, 1/4 in the others, of power 1/4.
    assert limited == pytest.approx(SPECTRUM * (0.75 + 3 * 0.25) / 4 * 0.5, rel=0.05) and limited < 0.6 * whole


@pytest.mark.parametrize("seconds", [0.004, 0.3, 1.0001])
def test_stems_have_the_mixture_s_length_and_follow_its_level(seconds):
    built, mixture = system().eval(), noise(1, 2, round(8000 * seconds))
    with torch.no_grad():
        stems, loud = built.separate(mixture), built.separate(10 * mixture)
    assert stems.shape == (1, 4, 2, mixture.shape[-1]) and stems.any()
    assert (loud - 10 * stems).abs().max() < 2e-3 * loud.abs().max()


def test_silence_stays_silent_and_finite():
    with torch.no_grad():
        assert system().eval().separate(torch.zeros(1, 2, 4000)).abs().max() < 1e-6


@pytest.mark.parametrize("samples", [1, 2000, 16000, 40123])
def test_long_signals_are_cross_faded_without_a_seam(samples):
    mixture = noise(2, samples)
    stems = sharing(chunk_seconds=1.0).separate_long(mixture)
    assert stems.shape == (4, 2, samples)
    assert torch.allclose(stems, (mixture / 4).expand(4, 2, samples), atol=1e-6)


def test_scores_are_those_of_the_present_stems():
    truth = noise(4, 2, 24000).numpy()
    truth[2] = 0
    song = {"stems": truth, "present": ["vocals", "drums", "other"], "two_stems": False}
    scores = sharing(chunk_seconds=1.0).score(song)
    assert set(scores) == {"vocals.sdr", "drums.sdr", "other.sdr"}
    # A quarter of three equal, independent stems: 10 log10(1 / (9/16 + 2/16)).
    assert scores["vocals.sdr"] == pytest.approx(10 * np.log10(16 / 11), abs=0.2)


def test_two_stem_songs_are_scored_as_vocals_and_accompaniment():
    truth = noise(4, 2, 24000).numpy()
    song = {"stems": truth, "present": ["vocals", "accompaniment"], "two_stems": True}
    scores = sharing(chunk_seconds=1.0).score(song)
    assert set(scores) == {"two_stems.vocals.sdr", "two_stems.accompaniment.sdr"}
    # Three quarters of four equal stems for the sum of three: wrong by 3/16 of it and by 9/16 of the fourth.
    assert scores["two_stems.accompaniment.sdr"] == pytest.approx(10 * np.log10(3 / (3 / 16 + 9 / 16)), abs=0.2)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"preset": "smal"}, r"expected a preset of bsrnn, found 'smal': did you mean 'small'\? known: base, medium, small, tiny"),
        ({"net": "scnett"}, r"expected the name of one of the nets, found 'scnett': did you mean 'scnet'\?"),
        ({"net_options": {"layer": 1}}, "expected options that bsrnn knows in net_options, found others .*'layer'"),
        ({"net": "scnet", "net_options": {"output": "masks"}}, "found others .*should be 'map' or 'mask', not 'masks'"),
    ],
)
def test_what_a_config_gets_wrong_is_named(values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        system(**values)


def test_a_misspelt_key_is_named():
    with pytest.raises(ConfigError, match=r"found 'chunk_second': did you mean 'chunk_seconds'\?"):
        parse(SeparateConfig, {"chunk_second": 4}, "[system]")


def test_options_override_the_preset():
    wide, narrow = system(net_options={"layers": 2}), system(net_options={"layers": 1})
    assert len(wide.net.time) == 2 and len(narrow.net.time) == 1
    assert system(stems=["voice", "rest"]).stems == ["voice", "rest"]
