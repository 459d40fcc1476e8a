"""Walk the registry: every net that takes noise out of pictures, or plays the game of pictures, keeps the one interface."""

import inspect
from pathlib import Path

import pytest
import torch

from songfoundry import config, registry
from songfoundry.nets.ddpm_unet import time_waves

NAMES, GAMES = registry.nets_for("picture"), registry.nets_for("picture_game")
SYSTEMS = ("ddpm", "cdcgan", "picture_classifier")
FOUND = (Path(__file__).parents[2] / "recipes").glob("*.toml")
RECIPES = sorted(path for path in FOUND if config.read_toml(path).get("system", {}).get("name") in SYSTEMS)
LARGEST_SHIPPED = (16 << 20) // 2  # weights of a file of 16 MiB in half precision
KINDS = [("tiny", {}), ("tiny", {"modern": False}), ("tiny", {"spectral_norm": True})]


def build(name: str, preset: str = "tiny", **options):
    """Build a net with weights that do not depend on what ran before."""
    module = registry.module("nets", name)
    torch.manual_seed(1)
    return module.NET(**{**module.PRESETS[preset], **options})


def batch(count=3, channels=1, size=28):
    draw = torch.Generator().manual_seed(count)
    return torch.randn(count, channels, size, size, generator=draw), torch.linspace(0.1, 0.9, count), torch.arange(count) % 10


def test_the_nets_are_found():
    assert {"ddpm_plain", "ddpm_unet"} <= set(NAMES) and GAMES == ["dcgan"]


@pytest.mark.parametrize("name", NAMES + GAMES)
def test_arguments_are_typed_and_by_name_only(name):
    parameters = list(inspect.signature(registry.get("nets", name).__init__).parameters.values())[1:]
    assert {"channels", "size", "classes", "widths"} <= {p.name for p in parameters}
    assert all(p.kind is p.KEYWORD_ONLY and p.annotation is not p.empty and p.default is not p.empty for p in parameters)


@pytest.mark.parametrize("name", NAMES + GAMES)
def test_every_preset_can_be_shipped(name):
    for preset, options in registry.module("nets", name).PRESETS.items():
        net = registry.get("nets", name)(**options)
        count = sum(p.numel() for p in (net.phases()["generator"] if name in GAMES else net.parameters()))
        assert count < LARGEST_SHIPPED or preset == "base"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 16)])
def test_pictures_come_out_as_they_go_in(name, channels, size):
    image, time, label = batch(channels=channels, size=size)
    before = image.clone()
    with torch.no_grad():
        out = build(name, channels=channels, size=size).eval()(image, time, label)
    assert out.shape == image.shape and out.dtype == torch.float32 and out.isfinite().all() and torch.equal(image, before)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_every_parameter(name):
    net = build(name).train()
    net(*batch(12)).square().mean().backward()
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_does_not_depend_on_those_beside_it(name):
    net, (image, time, label) = build(name).train(), batch()
    with torch.no_grad():
        assert torch.allclose(net(image, time, label)[1:2], net(image[1:2], time[1:2], label[1:2]), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_time_matters_and_the_class_where_it_is_heeded(name):
    net, (image, time, label) = build(name).eval(), batch(1)
    with torch.no_grad():
        plain = net(image, time, label)
        assert (net(image, time + 0.3, label) - plain).abs().max() > 1e-5
        others = [net(image, time, torch.tensor([other])) for other in (3, 10)]
    assert all(((other - plain).abs().max() > 1e-6) == net.conditional for other in others)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_nearly_agrees(name):
    net = build(name).eval()
    with torch.no_grad():
        whole = net(*batch())
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(*batch())
    assert rough.dtype == torch.float32 and (rough - whole).norm() < 0.05 * whole.norm()


@pytest.mark.parametrize(("name", "size"), [("ddpm_unet", 30), ("ddpm_plain", 30), ("dcgan", 27)])
def test_a_size_that_cannot_be_halved_is_refused(name, size):
    with pytest.raises(ValueError, match=f"found {size}: change"):
        build(name, size=size)


def test_neighbouring_times_are_near_and_far_ones_are_not():
    waves = time_waves(torch.tensor([0.5, 0.5001, 0.9]), 64)
    assert waves.shape == (3, 64) and waves.abs().max() <= 1
    assert (waves[0] - waves[1]).norm() < 0.4 < 2 < (waves[0] - waves[2]).norm()


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(("preset", "options"), KINDS)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 16)])
def test_a_game_has_its_shapes_and_whole_gradients(name, preset, options, channels, size):
    net = build(name, preset, channels=channels, size=size, **options).train()
    label = torch.arange(12) % 10
    image = net.generator(torch.randn(12, net.latent, generator=torch.Generator().manual_seed(0)), label)
    score = net.discriminator(image, label)
    assert image.shape == (12, channels, size, size) and image.abs().max() <= 1 and score.shape == (12,)
    assert image.dtype == score.dtype == torch.float32
    (score * torch.linspace(-1, 2, 12)).sum().backward()
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
    phases = [parameter for part in net.phases().values() for parameter in part]
    assert {id(p) for p in phases} == {id(p) for p in net.parameters()}


def test_a_modern_generator_makes_each_picture_alone_and_heeds_class_and_noise():
    net, label = build("dcgan").train(), torch.tensor([1, 2, 3])
    latent = torch.randn(3, net.latent, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = net.generator(latent, label)
        assert torch.allclose(whole[1:2], net.generator(latent[1:2], label[1:2]), atol=1e-5)
        for other in (net.generator(latent + 1, label), net.generator(latent, label + 1)):
            assert (other - whole).abs().max() > 1e-3
        alike = net.discriminator(whole[:1].expand(4, -1, -1, -1), label[:1].expand(4))
        assert torch.allclose(alike, net.discriminator(whole[:1], label[:1]).expand(4), atol=1e-4), "no deviation within the batch"
    assert list(build("dcgan", judging=False).phases()) == ["generator"]
    with pytest.raises(ValueError, match="modern blocks alone"):
        build("dcgan", modern=False, spectral_norm=True)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_name_nets_and_keys_that_exist(path):
    from songfoundry.schedule import TrainConfig

    recipe = config.recipe(path)
    assert recipe.name == path.stem
    train = config.parse(TrainConfig, recipe.train, "[train]")
    draws = config.parse(registry.get("data", recipe.data["name"]).Config, recipe.data, "[data]")
    kind = registry.get("systems", recipe.system["name"])
    system = config.parse(kind.Config, {**recipe.system, "classes": list("0123456789")}, "[system]")
    assert (draws.size, draws.channels) == (system.size, system.channels) and draws.licence == "CC BY-SA 3.0"
    assert set(train.phases) <= set(kind(system).phases())
