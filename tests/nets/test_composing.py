"""Walk the registry: every net that writes music keeps the one interface, whoever wrote it."""

import inspect
import math
from pathlib import Path

import pytest
import torch

from songfoundry import config, registry

NAMES = registry.nets_for("compose")
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("compose-*.toml"))
SIZE = 40
# Every way of a net that has several.
CASES = [(name, {}) for name in NAMES] + [
    ("music_transformer", {"positions": "relative"}), ("music_transformer", {"period": 6, "restart": 3}),
    ("lstm", {"tied": True, "hidden": 48}),
]  # fmt: skip
LARGEST_SHIPPED = (16 << 20) // 2  # weights of a file of 16 MiB in half precision


def build(name: str, options: dict | None = None):
    """Build the first, smallest preset of a net, with weights that do not depend on what ran before."""
    module = registry.module("nets", name)
    torch.manual_seed(1)
    return module.NET(**{"vocabulary": SIZE, **next(iter(module.PRESETS.values())), **(options or {})})


def piece(batch=2, steps=70, seed=0) -> torch.Tensor:
    return torch.randint(0, SIZE, (batch, steps), generator=torch.Generator().manual_seed(seed))


def test_the_two_nets_are_found_and_not_taken_for_separators():
    assert {"lstm", "music_transformer"} <= set(NAMES)
    assert not set(NAMES) & set(registry.nets_for("separate"))


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_typed_and_by_name_only(name):
    parameters = list(inspect.signature(registry.get("nets", name).__init__).parameters.values())[1:]
    assert {"vocabulary", "dropout"} <= {p.name for p in parameters}
    assert all(p.kind is p.KEYWORD_ONLY and p.annotation is not p.empty and p.default is not p.empty for p in parameters)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_can_be_shipped(name):
    module = registry.module("nets", name)
    for preset, options in module.PRESETS.items():
        with torch.device("meta"):
            net = module.NET(vocabulary=1000, **options)
        assert sum(p.numel() for p in net.parameters()) < LARGEST_SHIPPED, preset


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_can_be_kept_in_a_file_where_each_weight_has_one_name(name):
    for preset, options in registry.module("nets", name).PRESETS.items():
        with torch.device("meta"):
            weights = registry.module("nets", name).NET(vocabulary=SIZE, **options).state_dict(keep_vars=True)
        assert len({id(weight) for weight in weights.values()}) == len(weights), preset


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("steps", [1, 2, 130])
def test_any_number_of_tokens_goes_in_and_logits_come_out(name, options, steps):
    net = build(name, options).eval()
    with torch.no_grad():
        logits, _ = net(piece(3, steps))
    assert logits.shape == (3, steps, SIZE) and logits.dtype == torch.float32 and logits.isfinite().all()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_logits_depend_on_all_earlier_tokens_and_on_no_later_one(name, options):
    net, tokens = build(name, options).eval(), piece()
    for changed in (0, 33):
        other = tokens.clone()
        other[:, changed] = (other[:, changed] + 1) % SIZE
        with torch.no_grad():
            difference = (net(tokens)[0] - net(other)[0]).abs().amax((0, 2))
        assert not difference[:changed].any()
        assert (difference[changed : changed + 8] > 0).all()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_untrained_nets_know_nothing(name, options):
    tokens = piece(4, 100)
    with torch.no_grad():
        logits, _ = build(name, options).eval()(tokens)
    nll = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert float(nll) == pytest.approx(math.log(SIZE), rel=0.1)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_cache_gives_what_reading_all_at_once_gives(name, options):
    net, tokens = build(name, options).eval(), piece(2, 90)
    with torch.no_grad():
        whole, _ = net(tokens)
        cache, parts = net.start(2, 90), []
        for steps in (30, 1, 1, 7, 1, 50):
            at = sum(part.shape[1] for part in parts)
            logits, cache = net(tokens[:, at : at + steps], cache)
            parts.append(logits)
    assert (torch.cat(parts, 1) - whole).abs().max() < 1e-4


@pytest.mark.parametrize(("name", "options"), CASES)
def test_variations_of_one_prompt_do_not_see_each_other(name, options):
    net, prompt, ends = build(name, options).eval(), piece(1, 20), piece(3, 6, seed=4)
    with torch.no_grad():
        first, cache = net(prompt, net.start(1, 26))
        cache = net.repeat(cache, 3)
        found = []
        for step in range(6):
            logits, cache = net(ends[:, step : step + 1], cache)
            found.append(logits)
            if step == 2:
                # The second one ends here, the others change places.
                cache, ends = net.select(cache, torch.tensor([2, 0])), ends[[2, 0]]
        whole, _ = net(torch.cat((prompt.expand(2, -1), ends), 1))
    assert (torch.cat([part if len(part) == 2 else part[[2, 0]] for part in found], 1) - whole[:, 20:]).abs().max() < 1e-4


@pytest.mark.parametrize(("name", "options"), CASES)
def test_prompts_of_several_lengths_go_on_in_one_batch(name, options):
    net, prompts, ends = build(name, options).eval(), [piece(1, n, seed=n) for n in (5, 31, 12)], piece(3, 4)
    with torch.no_grad():
        cache = net.join([net(prompt, net.start(1, 40))[1] for prompt in prompts])
        step, cache = net(ends[:, :1], cache)
        rest, cache = net(ends[:, 1:], cache)
        found = torch.cat((step, rest), 1)
        alone = [net(torch.cat((prompt, end[None]), 1))[0][0, -4:] for prompt, end in zip(prompts, ends, strict=True)]
    assert (found - torch.stack(alone)).abs().max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_cache_says_when_it_is_full(name):
    net = build(name).eval()
    cache = net.start(1, 8)
    before = net.room(cache)
    with torch.no_grad():
        cache = net(piece(1, 8), cache)[1]
    if math.isinf(before):
        return
    assert (before, net.room(cache)) == (8, 0)
    with pytest.raises(ValueError, match="at most 0 tokens more"):
        net(piece(1, 1), cache)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_gradient_reaches_every_parameter(name, options):
    net, tokens = build(name, options).train(), piece()
    torch.nn.functional.cross_entropy(net(tokens[:, :-1])[0].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(("name", "options"), CASES)
def test_dropout_acts_in_training_alone(name, options):
    net, tokens = build(name, {**options, "dropout": 0.5, "layers": 2}), piece()
    with torch.no_grad():
        assert not torch.equal(net.train()(tokens)[0], net(tokens)[0])
        assert torch.equal(net.eval()(tokens)[0], net(tokens)[0])


@pytest.mark.parametrize(("name", "options"), CASES)
def test_bfloat16_autocast_gives_nearly_the_same_and_finite_gradients(name, options):
    net, tokens = build(name, options).eval(), piece()
    with torch.no_grad():
        exact = net(tokens)[0]
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(tokens)[0].float()
        loss = rough.square().mean()
    assert (rough - exact).norm() < 0.03 * exact.norm()
    loss.backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in net.parameters())


def test_relative_attention_is_its_definition():
    """Huang et al. 2019, eq. 3: softmax((Q K^T + S) / sqrt(d)) V, S the product of queries and the vectors of distances."""
    net = build("music_transformer", {"positions": "relative", "reach": 16}).eval()
    attention = net.layers[0].attention
    x = torch.randn(1, 24, 32)
    place = net._place(0, 24, None)
    with torch.no_grad():
        found = attention(x, place, lambda key, value: (key, value))
        query, key, value = attention.enter(x).reshape(1, 24, 3, 2, 16).permute(2, 0, 3, 1, 4)[:, 0]
        scores = torch.full((2, 24, 24), -torch.inf)
        for i in range(24):
            for j in range(i + 1):
                scores[:, i, j] = (query[:, i] * (key[:, j] + attention.distances[:, min(i - j, 15)])).sum(-1) / 4
        expected = attention.leave((scores.softmax(-1) @ value).transpose(0, 1).reshape(24, 32))
    assert torch.allclose(found[0], expected, atol=1e-5)


def test_rotary_attention_knows_distances_and_no_places():
    net = build("music_transformer").eval()
    attention = net.layers[0].attention
    x = torch.randn(1, 10, 32)
    with torch.no_grad():
        here = attention(x, net._place(0, 10, None), lambda key, value: (key, value))
        far = net._place(700, 10, None)
        far.seen = None
        there = attention(x, far, lambda key, value: (key, value))
    assert torch.allclose(here, there, atol=1e-4)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_name_nets_and_keys_that_exist_and_see_what_is_drawn(path):
    pytest.importorskip("miditok")
    from songfoundry.notes.tokens import tokenizer
    from songfoundry.schedule import TrainConfig
    from songfoundry.systems.compose import Compose

    recipe = config.recipe(path)
    assert recipe.name == path.stem
    config.parse(TrainConfig, recipe.train, "[train]")
    drawn = config.parse(registry.get("data", recipe.data["name"]).Config, recipe.data, "[data]")
    about = config.parse(Compose.Config, recipe.system, "[system]")
    with torch.device("meta"):
        net = registry.build_net("compose", about.net, about.preset, about.net_options, vocabulary=1000)
    assert sum(p.numel() for p in net.parameters()) < LARGEST_SHIPPED
    assert (about.tokens, about.context) == (drawn.tokens, drawn.context)
    # A turn is counted from where a piece begins.
    assert getattr(net, "turn", None) is None or net.restart == tokenizer(about.tokens).bos


def test_a_turn_is_counted_from_the_beginning_of_each_piece():
    """A piece after another is written as if it were alone, but for what it sees of the other."""
    net = build("music_transformer", {"period": 6, "restart": 3})
    tokens = torch.tensor([[3, 9, 9, 9, 3, 8, 8, 8, 8, 8, 8, 8]])
    assert net._counts(tokens, None).tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7]]
    cache = net.start(1, 20)
    with torch.no_grad():
        net(tokens[:, :3], cache), net(tokens[:, 3:6], cache)
    assert cache.count.tolist() == [2] and net._counts(tokens[:, 6:8], cache).tolist() == [[2, 3]]


def test_every_net_of_the_house_has_a_recipe():
    own = {name for name in NAMES if registry.module("nets", name).__name__.startswith("songfoundry.")}
    assert own <= {config.recipe(path).system["net"] for path in RECIPES}
