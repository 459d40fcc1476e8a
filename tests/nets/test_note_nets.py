"""Walk the registry: every net that makes notes keeps the one interface, whoever wrote it."""

import inspect
from pathlib import Path

import pytest
import torch

from songfoundry import config, registry
from songfoundry.nets.comb_gan import CombGan, comb_maps

NAMES = registry.nets_for("note")
FOUND = (Path(__file__).parents[2] / "recipes").glob("*.toml")
RECIPES = sorted(path for path in FOUND if config.read_toml(path).get("system", {}).get("name") == "note")
LARGEST_SHIPPED = (16 << 20) // 2  # weights of a file of 16 MiB in half precision
MELS, FRAMES = 64, 16


def build(name: str = "comb_gan", **options):
    """Build the first, smallest preset of a net, with weights that do not depend on what ran before."""
    module = registry.module("nets", name)
    torch.manual_seed(1)
    given = {"instruments": 3, "pitches": (60, 71), "centres": torch.linspace(60, 7900, MELS).tolist(), "frames": FRAMES}
    return module.NET(**{**given, **next(iter(module.PRESETS.values())), **options})


def batch(count=5):
    generator = torch.Generator().manual_seed(count)
    latent = torch.randn(count, 16, generator=generator)
    return latent, torch.arange(count) % 12 + 60, torch.arange(count) % 3


def images(count=5):
    return torch.rand(count, 1, MELS, FRAMES, generator=torch.Generator().manual_seed(9)) * 2 - 1


def test_the_net_is_found_and_not_taken_for_another_task_s():
    assert "comb_gan" in NAMES and not set(NAMES) & {*registry.nets_for("separate"), *registry.nets_for("compose")}


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_typed_and_by_name_only(name):
    parameters = list(inspect.signature(registry.get("nets", name).__init__).parameters.values())[1:]
    assert {"instruments", "pitches", "centres", "frames", "images", "condition", "growth", "judging"} <= {p.name for p in parameters}
    assert all(p.kind is p.KEYWORD_ONLY and p.annotation is not p.empty and p.default is not p.empty for p in parameters)


def test_the_preset_of_the_recipes_can_be_shipped():
    net = CombGan(**registry.module("nets", "comb_gan").PRESETS["small"], instruments=20)
    assert sum(p.numel() for p in net.parameters()) < 1.05 * LARGEST_SHIPPED
    assert sum(p.numel() for p in net.phases()["generator"]) < 0.7 * LARGEST_SHIPPED


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("condition", ["comb", "onehot"])
def test_images_and_judgements_have_their_shapes(name, condition):
    net = build(name, condition=condition, images=2).eval()
    with torch.no_grad():
        image = net.generator(*batch())
        found = net.discriminator(image, *batch()[1:])
    assert image.shape == (5, 2, MELS, FRAMES) and image.dtype == torch.float32 and image.abs().max() <= 1
    assert found.score.shape == (5,) and found.pitch.shape == (5, 12) and found.instrument.shape == (5, 3)
    assert all(part.dtype == torch.float32 and part.isfinite().all() for part in found)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("growth", [0.0, 0.5])
def test_the_gradient_reaches_every_parameter(name, growth):
    net = build(name, growth=growth)
    # Every level's own image comes in one of these stages.
    for progress in (0.05, 0.2, 0.35, 1.0):
        net.grow(progress)
        found = net.discriminator(net.generator(*batch(8)), *batch(8)[1:])
        (found.score.sum() + found.pitch.square().sum() + found.instrument.square().sum()).backward()
    unused = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []
    phases = [parameter for part in net.phases().values() for parameter in part]
    assert {id(p) for p in phases} == {id(p) for p in net.parameters()} and len(phases) == len(list(net.parameters()))


@pytest.mark.parametrize("name", NAMES)
def test_a_note_does_not_depend_on_those_beside_it(name):
    net = build(name).train()
    latent, pitch, instrument = batch()
    with torch.no_grad():
        assert torch.allclose(net.generator(latent, pitch, instrument)[2:3],
                              net.generator(latent[2:3], pitch[2:3], instrument[2:3]), atol=1e-5)  # fmt: skip
        assert torch.equal(net.generator(latent, pitch, instrument), net.generator(latent, pitch, instrument))


def test_equal_images_are_judged_otherwise_than_different_ones():
    net = build(spectral_norm=False).eval()
    pitch, instrument = (part[:1].expand(4) for part in batch()[1:])
    with torch.no_grad():
        different = images(4)
        alike = different[:1].expand(4, -1, -1, -1)
        one = net.discriminator(different[:1], pitch[:1], instrument[:1]).score
        assert torch.allclose(net.discriminator(alike, pitch, instrument).score, one.expand(4), atol=1e-4)
        assert not torch.allclose(net.discriminator(different, pitch, instrument).score[:1], one, atol=1e-4)


def test_pitch_instrument_and_noise_all_change_the_note():
    net = build().eval()
    latent, pitch, instrument = batch(1)
    with torch.no_grad():
        plain = net.generator(latent, pitch, instrument)
        for other in ((latent + 1, pitch, instrument), (latent, pitch + 1, instrument), (latent, pitch, instrument + 1)):
            assert (net.generator(*other) - plain).abs().max() > 1e-3
        # Outside the learned range a pitch keeps a comb of its own; one-hot alone cannot tell it from the nearest.
        beyond = [build(condition=c).eval().generator(latent, torch.tensor([p]), instrument) for c in ("comb", "onehot") for p in (80, 90)]
    assert not torch.equal(beyond[0], beyond[1]) and torch.equal(beyond[2], beyond[3])


def test_the_ablation_takes_the_comb_from_the_generator_alone():
    comb, onehot, unheard = (build(condition=c, listening=h).eval() for c, h in (("comb", True), ("onehot", True), ("onehot", False)))
    sides = [{name: part.shape for name, part in net.state_dict().items() if "discriminator" in name} for net in (comb, onehot, unheard)]
    assert sides[0] == sides[1] and len(sides[2]) < len(sides[1])
    onehot.load_state_dict({n: p for n, p in comb.state_dict().items() if "discriminator" in n}, strict=False)
    _, pitch, instrument = batch()
    with torch.no_grad():
        one, other = (net.discriminator(images(), pitch, instrument).score for net in (comb, onehot))
        assert torch.equal(one, other)
        # Away from the learned pitches only the comb tells them apart.
        far, further = (onehot.discriminator(images(), pitch + by, instrument).score for by in (20, 25))
        same, alike = (unheard.discriminator(images(), pitch + by, instrument).score for by in (20, 25))
    assert not torch.allclose(far, further, atol=1e-5) and torch.equal(same, alike)
    assert build(condition="onehot", judging=False).state_dict().keys() < onehot.state_dict().keys()


def test_a_mixture_of_one_instrument_is_that_instrument():
    net = build().eval()
    latent, pitch, instrument = batch()
    with torch.no_grad():
        mixed = net.generator(latent, pitch, torch.nn.functional.one_hot(instrument, 3).float())
        assert torch.allclose(mixed, net.generator(latent, pitch, instrument), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_nearly_agrees_and_gives_whole_gradients(name):
    net = build(name).eval()
    with torch.no_grad():
        whole = net.generator(*batch())
        with torch.autocast("cpu", torch.bfloat16):
            rough = net.generator(*batch())
    assert rough.dtype == torch.float32 and (rough - whole).norm() < 0.05 * whole.norm()
    image = images().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        score = net.discriminator(image, *batch()[1:]).score
    (slope,) = torch.autograd.grad(score.sum(), image, create_graph=True)
    slope.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.phases()["discriminator"] if p.grad is not None)
    assert any(p.grad is not None and p.grad.any() for p in net.phases()["discriminator"])


def test_the_comb_is_at_the_partials():
    centres = torch.linspace(20, 8000, 400)
    maps = comb_maps(centres, 15.0)
    assert maps.shape == (128, 5, 400) and maps.isfinite().all() and maps.abs().max() <= 2
    every, odd = maps[69, 1], maps[69, 2]
    for partial in (1, 2, 3, 8, 17):
        near = int((centres - 440 * partial).abs().argmin())
        assert every[near] > 0.7 and (odd[near] > 0.7) == (partial % 2 == 1)
        assert every[int((centres - 440 * (partial + 0.5)).abs().argmin())] < 0.01
    assert every[int((centres - 220).abs().argmin())] < 0.01
    assert comb_maps(centres, 15.0, "onehot").shape == (128, 1, 400)


def test_growth_adds_levels_and_is_saved():
    net = build(growth=0.5)
    latent, pitch, instrument = batch(2)

    def detail(progress: float) -> int:
        net.grow(progress)
        with torch.no_grad():
            image = net.generator(latent, pitch, instrument)
        assert image.shape == (2, 1, MELS, FRAMES)
        return max(k for k in range(4) if torch.equal(image[:, :, :: 2**k].repeat_interleave(2**k, 2), image))

    # Four levels: the first images are of 16 rows, each of them four times; the last of 64.
    assert [detail(p) for p in (0.0, 0.02, 0.26, 0.5, 1.0)] == [2, 1, 0, 0, 0]
    assert net.state_dict()["stage"] == 3.0 and "stage" not in build().state_dict()


def test_a_new_level_fades_in():
    net = build(growth=1.0).eval()
    latent, pitch, instrument = batch(2)

    def at(stage: float):
        net.stage.fill_(stage)
        with torch.no_grad():
            image = net.generator(latent, pitch, instrument)
            return image, net.discriminator(images(2), pitch, instrument).score

    (before, score), (soon, soon_score), (after, after_score) = at(2.0), at(2.0001), at(2.5)
    assert torch.allclose(before, soon, atol=1e-3) and torch.allclose(score, soon_score, atol=1e-3)
    assert not torch.allclose(before, after, atol=1e-3) and not torch.allclose(score, after_score, atol=1e-4)
    assert torch.equal(after, at(3.0)[0])


@pytest.mark.parametrize(
    ("options", "what"), [({"channels": [8, 8]}, "at least 3"), ({"frames": 12}, "multiples of 8"), ({"condition": "combs"}, "'combs'")]
)
def test_what_cannot_be_built_is_refused(options, what):
    with pytest.raises(ValueError, match=what):
        build(**options)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_name_nets_and_keys_that_exist(path):
    from songfoundry.schedule import TrainConfig
    from songfoundry.systems.note import Note, NoteConfig

    recipe = config.recipe(path)
    assert recipe.name == path.stem
    train = config.parse(TrainConfig, recipe.train, "[train]")
    draws = config.parse(registry.get("data", recipe.data["name"]).Config, recipe.data, "[data]")
    system = config.parse(NoteConfig, recipe.system, "[system]")
    assert (draws.samples, draws.rate) == (system.samples, system.rate)
    built = Note(system.model_copy(update={"instruments": ["a", "b"], "pitches": (60, 72)}))
    assert set(train.phases) <= set(built.phases())
