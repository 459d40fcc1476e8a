"""Walk the registry: every net that converts series, and every net that judges them, keeps its interface, whoever wrote it."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from songfoundry import config, registry
from songfoundry.nets.minirocket import MiniRocket

CONVERT, JUDGE = registry.nets_for("convert"), registry.nets_for("judge")
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("sing-*.toml"))
LARGEST_SHIPPED = (16 << 20) // 2  # weights of a file of 16 MiB in half precision


def build(name: str, **options):
    """Build the first, smallest preset of a net, with weights that do not depend on what ran before."""
    module = registry.module("nets", name)
    torch.manual_seed(1)
    return module.NET(**{**next(iter(module.PRESETS.values())), **options})


def series(batch=3, channels=20, steps=64, seed=9):
    return torch.randn(batch, channels, steps, generator=torch.Generator().manual_seed(seed))


def test_the_nets_are_found_and_not_taken_for_other_tasks():
    others = {name for task in ("separate", "compose", "note", "encode", "picture") for name in registry.nets_for(task)}
    assert "wave_unet" in CONVERT and "minirocket" in JUDGE and not (set(CONVERT) | set(JUDGE)) & others


@pytest.mark.parametrize("name", CONVERT + JUDGE)
def test_arguments_are_typed_and_by_name_only(name):
    parameters = list(inspect.signature(registry.get("nets", name).__init__).parameters.values())[1:]
    assert ({"inputs", "outputs"} if name in CONVERT else {"channels", "steps"}) <= {p.name for p in parameters}
    assert all(p.kind is p.KEYWORD_ONLY and p.annotation is not p.empty and p.default is not p.empty for p in parameters)


@pytest.mark.parametrize("name", CONVERT)
@pytest.mark.parametrize("steps", [1, 2, 31, 64])
def test_any_length_goes_in_and_comes_out(name, steps):
    with torch.no_grad():
        made = build(name, inputs=20, outputs=7).eval()(series(steps=steps))
    assert made.shape == (3, 7, steps) and made.dtype == torch.float32 and made.isfinite().all()


@pytest.mark.parametrize("name", CONVERT)
def test_the_gradient_reaches_every_parameter_of_a_converter(name):
    net = build(name, inputs=20, outputs=7)
    net(series()).square().mean().backward()
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", CONVERT)
def test_a_series_does_not_depend_on_those_beside_it_and_bfloat16_nearly_agrees(name):
    net = build(name, inputs=20, outputs=7).train()
    with torch.no_grad():
        whole = net(series())
        assert torch.allclose(whole[1:2], net(series()[1:2]), atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(series())
    assert rough.dtype == torch.float32 and (rough - whole).norm() < 0.05 * whole.norm()


def test_the_input_reaches_the_last_layer_and_nothing_shifts():
    click = torch.zeros(1, 2, 65)
    click[0, 0, 32] = 10.0
    changed = torch.zeros(65)
    for seed in range(16):
        # Untrained kernels lean to one side or the other, each net differently.
        torch.manual_seed(seed)
        net = registry.build_net("convert", "wave_unet", "tiny", {"levels": 3}, inputs=2, outputs=2).eval()
        with torch.no_grad():
            difference = (net(click) - net(torch.zeros(1, 2, 65)))[0].abs().sum(0)
        changed += difference / difference.sum()
    centre = float((changed * torch.arange(65)).sum() / changed.sum())
    assert abs(centre - 32) < 0.5 and abs(int(changed.argmax()) - 32) <= 1 and changed[0] < 0.1 * changed[32]


@pytest.mark.parametrize("name", JUDGE)
def test_scores_are_of_parts_and_learn_and_pass_the_gradient_on(name):
    net = build(name, channels=20, steps=64)
    net.fit(series(8, seed=2))
    shown = series().requires_grad_()
    score = net(shown)
    assert score.shape == (3, net.parts) and score.dtype == torch.float32 and score.isfinite().all()
    score.square().sum().backward()
    assert shown.grad.abs().sum((1, 2)).min() > 0, "who made the series learns from the judgement"
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    # In training a spectral norm is followed a little further with every call.
    net.eval()
    with torch.no_grad():
        assert torch.allclose(net(series())[1:2], net(series()[1:2]), atol=1e-4)
        assert net(series(steps=40)).shape == (3, net.parts), "another length than it was laid out for"


def test_kernels_are_the_84_of_minirocket_and_frozen():
    net = MiniRocket(channels=20, steps=64)
    taps = net.taps[:, 0].numpy()
    assert taps.shape == (84, 9) and len(np.unique(taps, axis=0)) == 84
    assert all(sorted(row) == [-1] * 6 + [2] * 3 for row in taps.tolist())
    trained = {id(p) for p in net.parameters()}
    assert not {id(net.taps), id(net.chosen), id(net.bias)} & trained and net.dilations[0] == 1 and 8 * net.dilations[-1] <= 64
    assert torch.equal(net.chosen, MiniRocket(channels=20, steps=64).chosen) and net.chosen.sum(1).max() <= 9


def test_a_low_temperature_counts_and_a_high_one_still_has_a_slope():
    shown = series(2, 5, 64)
    sharp, soft = (MiniRocket(channels=5, steps=64, dilations=2, thresholds=1, parts=1, temperature=t) for t in (1e-4, 0.5))
    for net in (sharp, soft):
        net.fit(series(8, 5, 64, seed=3))
    counted = (sharp._answers(shown) > sharp.bias[:, :1]).float().mean(2)
    assert torch.allclose(sharp.shares(shown)[:, 0], counted, atol=0.02), "the share of values above the threshold"
    slopes = []
    for net in (sharp, soft):
        moved = shown.clone().requires_grad_()
        net.shares(moved).sum().backward()
        slopes.append((moved.grad.abs() > 1e-6).float().mean().item())
    assert slopes[1] > 0.99 > 0.5 > slopes[0]


def test_thresholds_are_quantiles_of_what_real_series_answer():
    net, real = MiniRocket(channels=5, steps=64, dilations=2, thresholds=3, parts=1, temperature=1e-4), series(16, 5, 64)
    assert not net.fitted
    net.fit(real)
    shares = net.shares(real).mean((0, 1))
    assert net.fitted and shares.min() < 0.1 and shares.max() > 0.9 and abs(float(shares.mean()) - 0.5) < 0.1


@pytest.mark.parametrize(("name", "options"), [("wave_unet", {"down": 4}), ("wave_unet", {"levels": 0}),
                                               ("minirocket", {"temperature": 0.0}), ("minirocket", {"steps": 4})])  # fmt: skip
def test_what_cannot_be_built_is_refused(name, options):
    with pytest.raises(ValueError, match="expected"):
        build(name, **options)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_name_nets_and_keys_that_exist_and_can_be_shipped(path):
    from songfoundry.schedule import TrainConfig
    from songfoundry.systems.sing import Sing, SingConfig

    recipe = config.recipe(path)
    assert recipe.name == path.stem
    config.parse(TrainConfig, recipe.train, "[train]")
    draws = config.parse(registry.get("data", recipe.data["name"]).Config, recipe.data, "[data]")
    system = config.parse(SingConfig, recipe.system, "[system]")
    assert (draws.rate, draws.hop, draws.frames) == (system.rate, system.hop, system.frames)
    shipped = config.parse(SingConfig, Sing.shipped(system.model_dump()), "[system]")
    assert sum(p.numel() for p in Sing(shipped).parameters()) < LARGEST_SHIPPED


def test_the_earlier_study_s_weights_are_recipes():
    found = {(recipe.system["cycle"], recipe.system["identity"]) for recipe in map(config.recipe, RECIPES)}
    assert {(1.0, 0.0), (1e-3, 0.0), (1e-3, 1e-3), (1e-3, 1e-5)} <= found
    assert {recipe.system.get("rate", 16000) for recipe in map(config.recipe, RECIPES)} == {16000, 44100}
    own = {name for name in CONVERT + JUDGE if registry.module("nets", name).__name__.startswith("songfoundry.")}
    assert own <= {recipe.system[key] for recipe in map(config.recipe, RECIPES) for key in ("net", "judge")}


@pytest.mark.parametrize("name", JUDGE)
def test_thresholds_are_laid_in_whole_precision(name):
    whole, mixed = build(name, channels=20, steps=256), build(name, channels=20, steps=256)
    real = series(8, steps=256, seed=2)
    whole.fit(real)
    with torch.autocast("cpu", torch.bfloat16):
        mixed.fit(real)
    assert all(torch.equal(a, b) for a, b in zip(whole.buffers(), mixed.buffers(), strict=True))
