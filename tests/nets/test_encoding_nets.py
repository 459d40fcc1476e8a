"""Walk the registry: every net that encodes keeps the one interface, whoever wrote it."""

import inspect
from pathlib import Path

import pytest
import torch

from songfoundry import config, registry
from songfoundry.nets.posterior import Posterior

NAMES = registry.nets_for("encode")
FOUND = (Path(__file__).parents[2] / "recipes").glob("*.toml")
RECIPES = sorted(path for path in FOUND if config.read_toml(path).get("system", {}).get("name") == "codec")
LARGEST_SHIPPED = (16 << 20) // 2  # weights of a file of 16 MiB in half precision
MELS, FRAMES = 32, 64


def build(name: str, **options):
    """Build the first, smallest preset of a net, with weights that do not depend on what ran before."""
    module = registry.module("nets", name)
    torch.manual_seed(1)
    return module.NET(**{"mels": MELS, "frames": FRAMES, "latent": 12, **next(iter(module.PRESETS.values())), **options})


def images(count=3, mels=MELS, frames=FRAMES, channels=1):
    return torch.rand(count, channels, mels, frames, generator=torch.Generator().manual_seed(9)) * 2 - 1


def test_the_three_nets_are_found_and_not_taken_for_other_tasks():
    others = {name for task in ("separate", "compose", "note") for name in registry.nets_for(task)}
    assert {"ae64", "ae64_2d", "vae"} <= set(NAMES) and not set(NAMES) & others


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_typed_and_by_name_only(name):
    parameters = list(inspect.signature(registry.get("nets", name).__init__).parameters.values())[1:]
    assert {"mels", "frames", "latent", "channels"} <= {p.name for p in parameters}
    assert all(p.kind is p.KEYWORD_ONLY and p.annotation is not p.empty and p.default is not p.empty for p in parameters)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("mels", "latent", "channels"), [(32, 12, 1), (64, 7, 2), (128, 64, 1)])
def test_latents_and_images_have_their_shapes(name, mels, latent, channels):
    net = build(name, mels=mels, latent=latent, channels=channels).eval()
    with torch.no_grad():
        posterior = net.encode(images(3, mels, FRAMES, channels))
        back = net.decode(posterior.mean)
    steps = 1 if net.window else FRAMES // net.stride
    assert posterior.mean.shape == (3, latent, steps) and back.shape == (3, channels, mels, FRAMES)
    assert posterior.mean.dtype == back.dtype == torch.float32 and back.isfinite().all()
    assert posterior.log_variance is None or posterior.log_variance.shape == posterior.mean.shape
    assert net.window in (None, FRAMES) and FRAMES % net.stride == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_every_parameter(name):
    net = build(name).train()
    posterior = net.encode(images())
    (net.decode(posterior.draw()).square().mean() + posterior.divergence().mean()).backward()
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_does_not_depend_on_those_beside_it(name):
    net = build(name).train()
    with torch.no_grad():
        assert torch.allclose(net.encode(images()).mean[1:2], net.encode(images()[1:2]).mean, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_nearly_agrees(name):
    net = build(name).eval()
    with torch.no_grad():
        whole = net.decode(net.encode(images()).mean)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net.decode(net.encode(images()).mean)
    assert rough.dtype == torch.float32 and (rough - whole).norm() < 0.05 * whole.norm()


@pytest.mark.parametrize("name", [name for name in NAMES if build(name).window is None])
def test_nothing_beyond_its_reach_changes_a_frame(name):
    net = build(name).eval()
    whole = images(1, frames=160)
    start, stop = 60, 100
    assert net.reach % net.stride == 0 and start >= net.reach
    part = whole[..., start - net.reach : stop + net.reach]
    with torch.no_grad():
        mean, near = net.encode(whole).mean, net.encode(part).mean
        inner = near[..., net.reach // net.stride : (net.reach + stop - start) // net.stride]
        assert torch.allclose(mean[..., start // net.stride : stop // net.stride], inner, atol=1e-5)
        image, around = net.decode(mean), net.reach // net.stride
        close = net.decode(mean[..., start // net.stride - around : stop // net.stride + around])
        assert torch.allclose(image[..., start:stop], close[..., net.reach : net.reach + stop - start], atol=1e-5)


def test_the_presets_of_the_recipes_can_be_shipped_and_the_two_autoencoders_are_of_one_size():
    count = {name: sum(p.numel() for p in build(name, **registry.module("nets", name).PRESETS["small"], mels=128, frames=256, latent=64)
                       .parameters()) for name in ("ae64", "ae64_2d", "vae")}  # fmt: skip
    assert max(count.values()) < LARGEST_SHIPPED
    assert count["ae64_2d"] == pytest.approx(count["ae64"], rel=0.1)


@pytest.mark.parametrize("name", ["ae64", "ae64_2d"])
def test_the_autoencoders_are_four_convolutions_and_four_transposed(name):
    kinds = [type(layer).__name__ for layer in build(name).modules()]
    plane = "2d" if name.endswith("2d") else "1d"
    assert kinds.count(f"Conv{plane}") == kinds.count(f"ConvTranspose{plane}") == 4


def test_the_divergence_is_that_of_gaussians():
    mean, log_variance = torch.tensor([[[0.7]]]), torch.tensor([[[-1.2]]])
    normal = torch.distributions.Normal
    exact = torch.distributions.kl_divergence(normal(mean, (0.5 * log_variance).exp()), normal(0.0, 1.0))
    assert torch.allclose(Posterior(mean, log_variance).divergence(), exact)
    torch.manual_seed(0)
    drawn = Posterior(mean.expand(1, 1, 20000), log_variance.expand(1, 1, 20000)).draw()
    assert float(drawn.mean()) == pytest.approx(0.7, abs=0.02) and float(drawn.var().log()) == pytest.approx(-1.2, abs=0.05)
    point = Posterior(mean)
    assert point.draw() is mean and not point.divergence().any()


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("ae64", {"frames": 100}, "100"), ("ae64", {"widths": [1]}, "3 widths"), ("ae64_2d", {"mels": 40}, "40"),
        ("vae", {"kernel": 4}, "odd"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused(name, options, what):
    with pytest.raises(ValueError, match=what):
        build(name, **options)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_name_nets_and_keys_that_exist(path):
    from songfoundry.schedule import TrainConfig
    from songfoundry.systems.codec import Codec, CodecConfig

    recipe = config.recipe(path)
    assert recipe.name == path.stem
    config.parse(TrainConfig, recipe.train, "[train]")
    draws = config.parse(registry.get("data", recipe.data["name"]).Config, recipe.data, "[data]")
    system = config.parse(CodecConfig, recipe.system, "[system]")
    assert draws.rate == system.rate and draws.seconds * draws.rate >= system.frames * system.hop
    with torch.device("meta"):
        Codec(system)


def test_every_net_of_the_house_has_a_recipe():
    own = {name for name in NAMES if registry.module("nets", name).__name__.startswith("songfoundry.")}
    assert own <= {config.recipe(path).system["net"] for path in RECIPES}
