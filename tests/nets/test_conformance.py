"""Walk the registry: every separation net keeps the one interface, whoever wrote it."""

import inspect
from pathlib import Path

import pytest
import torch

from songfoundry import checkpoint, config, registry
from songfoundry.checkpoint import Checkpoint
from songfoundry.systems.separate import Separate, SeparateConfig

NAMES = registry.nets_for("separate")
PRESETS = [(name, preset) for name in NAMES for preset in registry.module("nets", name).PRESETS]
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("separate-*.toml"))

# What the pages say of four-stem stereo nets at n_fft 4096, in millions of parameters.
DOCUMENTED = {
    ("bsrnn", "tiny"): 1.6, ("bsrnn", "small"): 4.9, ("bsrnn", "base"): 9.5,
    ("scnet", "tiny"): 0.64, ("scnet", "small"): 2.5, ("scnet", "base"): 10.0, ("scnet", "large"): 39.9,
    ("spec_unet", "tiny"): 0.54, ("spec_unet", "small"): 5.4, ("spec_unet", "base"): 21.4,
}  # fmt: skip


def count(net) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def smallest(name: str, **options):
    """Build the first, smallest preset of a net, with weights that do not depend on what ran before."""
    module = registry.module("nets", name)
    preset = next(iter(module.PRESETS.values()))
    torch.manual_seed(1)
    return module.NET(**{"n_fft": 512, "sample_rate": 16000, **preset, **options})


def spectrum(batch=2, channels=2, bins=257, frames=9) -> torch.Tensor:
    return torch.randn(batch, channels, 2, bins, frames, generator=torch.Generator().manual_seed(frames))


def test_the_three_nets_are_found():
    assert {"bsrnn", "scnet", "spec_unet"} <= set(NAMES)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_build_at_their_documented_size(name, preset):
    module = registry.module("nets", name)
    with torch.device("meta"):
        net = module.NET(stems=4, channels=2, sample_rate=44100, n_fft=4096, **module.PRESETS[preset])
    assert count(net) / 1e6 == pytest.approx(DOCUMENTED.get((name, preset), count(net) / 1e6), rel=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_typed_and_by_name_only(name):
    parameters = list(inspect.signature(registry.get("nets", name).__init__).parameters.values())[1:]
    assert {"stems", "channels", "sample_rate", "n_fft"} <= {p.name for p in parameters}
    assert all(p.kind is p.KEYWORD_ONLY and p.annotation is not p.empty and p.default is not p.empty for p in parameters)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [1, 2, 7, 30])
def test_any_number_of_frames_goes_in_and_comes_out(name, frames):
    with torch.no_grad():
        out = smallest(name).eval()(spectrum(frames=frames))
    assert out.shape == (2, 4, 2, 2, 257, frames)
    assert out.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("stems", "channels", "n_fft", "rate"), [(2, 1, 512, 8000), (5, 2, 256, 22050), (1, 3, 1024, 48000)])
def test_stems_channels_and_transforms_are_free(name, stems, channels, n_fft, rate):
    net = smallest(name, stems=stems, channels=channels, n_fft=n_fft, sample_rate=rate).eval()
    with torch.no_grad():
        out = net(spectrum(1, channels, n_fft // 2 + 1, 5))
    assert out.shape == (1, stems, channels, 2, n_fft // 2 + 1, 5)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_every_parameter(name):
    net = smallest(name).train()
    target = spectrum(frames=40)
    (net(target) - target[:, None]).square().mean().backward()
    idle = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_an_example_does_not_depend_on_its_batch(name, training):
    net, mixture = smallest(name).train(training), spectrum(batch=3, frames=11)
    with torch.no_grad():
        assert torch.allclose(net(mixture)[1], net(mixture[1:2])[0], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_input_gives_the_same_output_and_stays_as_it_was(name):
    net, mixture = smallest(name).train(), spectrum()
    before = mixture.clone()
    with torch.no_grad():
        assert torch.equal(net(mixture), net(mixture))
    assert torch.equal(mixture, before)


@pytest.mark.parametrize("name", NAMES)
def test_silence_gives_finite_values_and_gradients(name):
    net = smallest(name)
    net(torch.zeros(1, 2, 2, 257, 6)).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast_gives_the_input_s_type_and_nearly_its_values(name):
    net, mixture = smallest(name).eval(), spectrum()
    with torch.no_grad():
        whole = net(mixture)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(mixture)
    assert rough.dtype == torch.float32
    assert (rough - whole).norm() < 0.05 * whole.norm()
    with torch.autocast("cpu", torch.bfloat16):
        loss = net(mixture).square().mean()
    loss.backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_gives_the_same_output_bit_for_bit(name, tmp_path):
    preset = next(iter(registry.module("nets", name).PRESETS))
    system = Separate(SeparateConfig(net=name, preset=preset, n_fft=512, hop_length=128, sample_rate=8000)).eval()
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, system.state_dict(), Checkpoint("separate", system.config.model_dump(), {"steps": 3}))
    again = checkpoint.load(path)
    mixture = torch.randn(1, 2, 1001)
    with torch.no_grad():
        assert torch.equal(system.separate(mixture), again.separate(mixture))
    assert again.checkpoint.card == {"steps": 3} and not again.training


@pytest.mark.parametrize("name", NAMES)
def test_weights_rounded_to_half_precision_load_and_nearly_agree(name, tmp_path):
    preset = next(iter(registry.module("nets", name).PRESETS))
    system = Separate(SeparateConfig(net=name, preset=preset, n_fft=512, hop_length=128, sample_rate=8000)).eval()
    path = tmp_path / "half.safetensors"
    checkpoint.save(path, checkpoint.half(system.state_dict()), Checkpoint("separate", system.config.model_dump()))
    again = checkpoint.load(path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    mixture = torch.randn(1, 2, 2000)
    with torch.no_grad():
        exact, rounded = system.separate(mixture), again.separate(mixture)
    assert 0 < (exact - rounded).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_name_nets_and_keys_that_exist(path):
    from songfoundry.schedule import TrainConfig

    recipe = config.recipe(path)
    assert recipe.name == path.stem
    config.parse(TrainConfig, recipe.train, "[train]")
    config.parse(registry.get("data", recipe.data["name"]).Config, recipe.data, "[data]")
    with torch.device("meta"):
        Separate(config.parse(SeparateConfig, recipe.system, "[system]"))


def test_every_net_of_the_house_has_a_recipe():
    own = {name for name in NAMES if registry.module("nets", name).__name__.startswith("songfoundry.")}
    assert own <= {config.recipe(path).system["net"] for path in RECIPES}
