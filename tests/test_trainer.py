"""Hold the loop to its word, on a system so small that every number can be checked."""

import math
import os
from types import SimpleNamespace

import pytest
import torch
from tiny_training import recipe, write_songs
from torch import nn

from songfoundry import checkpoint
from songfoundry.config import parse
from songfoundry.errors import Cancelled, CheckpointError, ConfigError, TrainingError
from songfoundry.runs import Run
from songfoundry.schedule import TrainConfig, learning_rate
from songfoundry.systems import Artifact
from songfoundry.trainer import Trainer, launch


class Toy(nn.Module):
    """Fit a line; score what the test says; draw random numbers where `noise` asks for them."""

    def __init__(self, noise=0.0, phases=("model",)):
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.ModuleDict({phase: nn.Linear(3, 1) for phase in phases})
        self.noise, self.scores = noise, iter(())
        self.config = SimpleNamespace(model_dump=lambda: {"name": "separate"})

    def phases(self):
        return {phase: list(layer.parameters()) for phase, layer in self.layers.items()}

    def forward(self, phase, batch):
        # Each phase's loss reaches the parameters of all.
        guess = sum(layer(batch["x"]) for layer in self.layers.values())[:, 0]
        guess = guess + self.noise * torch.randn_like(guess)
        return {f"{phase} error": (guess - batch["y"]).square().mean(), "size": 0.01 * guess.square().mean()}

    def score(self, song):
        return {"sdr": next(self.scores, 0.0), "two_stems.sdr": 100.0}

    def preview(self, song):
        return [Artifact("shown", "png", b"picture")]


class Line:
    """Give example n of a line, as a pure function of n; note which were asked for."""

    def __init__(self, broken=()):
        self.config, self.broken, self.asked = SimpleNamespace(chunk_seconds=1.8), broken, []

    def __getitem__(self, number):
        self.asked.append(number)
        x = torch.randn(3, generator=torch.Generator().manual_seed(number))
        return {"x": x, "y": torch.tensor(math.nan) if number in self.broken else x.sum() + 1}

    def validation(self):
        return iter([{"name": "a"}, {"name": "b"}])

    def describe(self):
        return {"songs": 1}

    def seen(self, examples):
        return {"hours_seen": round(self.config.chunk_seconds * examples / 3600, 2)}


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture
def make(tmp_path, songs, monkeypatch):
    """Give a function that makes a trainer of a Toy in a run folder; plots are drawn elsewhere."""
    monkeypatch.setattr(Run, "plot", lambda self, curves=None: None)

    def trainer(name="run", system=None, draws=None, **train):
        values = {"steps": 12, "batch": 2, "warmup": 3, "rate": 0.05, "log_every": 4, "save_every": 5, "score_every": 100,
                  "accelerator": "cpu", "workers": 0, **train}  # fmt: skip
        config = parse(TrainConfig, values, "[train]")
        return Trainer(system or Toy(), draws or Line(), config, Run(tmp_path / name, recipe(songs)))

    return trainer


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def stop_at(trainer, step):
    return lambda: trainer.step == step


def test_learning_rate_rises_linearly_and_falls_along_a_half_cosine():
    config = TrainConfig(steps=110, warmup=10, rate=2.0, final_rate=0.1)
    assert [learning_rate(config, step) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert learning_rate(config, 10) == pytest.approx(2.0)
    assert learning_rate(config, 60) == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert learning_rate(config, 110) == learning_rate(config, 500) == pytest.approx(0.2)
    falling = [learning_rate(config, step) for step in range(10, 111)]
    assert all(later < earlier for earlier, later in zip(falling, falling[1:], strict=False))


def test_the_optimiser_takes_the_rate_of_the_schedule(make):
    trainer = make(steps=3)
    trainer.fit()
    (group,) = trainer.optimizers["model"].param_groups
    assert group["lr"] == learning_rate(trainer.config, 2) == trainer.run.rows()[0]["rate"]


def test_accumulated_batches_equal_one_large_batch(make):
    large, parts, small = make("a", batch=6), make("b", batch=2, accumulate=3), make("c", batch=2)
    for trainer in (large, parts, small):
        trainer.fit()
    assert large.draws.asked == parts.draws.asked != small.draws.asked
    weights = [torch.cat([p.flatten() for p in t.system.state_dict().values()]) for t in (large, parts, small)]
    assert torch.allclose(weights[0], weights[1], atol=1e-6)
    assert not torch.allclose(weights[0], weights[2], atol=1e-3)
    losses = [t.run.rows()[0]["loss"]["model error"] for t in (large, parts)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"optimizer": "adam"}, {"precision": "bf16-mixed"}], ids=str)
def test_a_resumed_training_is_bit_equal_even_where_the_net_draws_random_numbers(make, options):
    whole = make("whole", Toy(0.5, ("discriminator", "generator")), **options)
    whole.fit()
    first = make("parts", Toy(0.5, ("discriminator", "generator")), **options)
    with pytest.raises(Cancelled):
        first.fit(stop=stop_at(first, 7))
    torch.manual_seed(99)
    second = make("parts", Toy(0.5, ("discriminator", "generator")), **options)
    assert second.resume() and second.step == 7
    second.fit()
    assert same(whole.state(), second.state())
    assert first.draws.asked + second.draws.asked == whole.draws.asked
    # Without its random numbers it would be another training.
    calm = make("calm", Toy(0.0, ("discriminator", "generator")), **options)
    calm.fit()
    assert not same(whole.state(), calm.state())


def test_a_phase_is_moved_by_its_own_loss_alone(make):
    """The generator's loss leaves gradients on the discriminator, which must not be taken for its own."""
    trainer = make(system=Toy(phases=("a", "b")), steps=2, batch=1, optimizer="adam", weight_decay=0.0, clip=1e9, warmup=0)
    system = Toy(phases=("a", "b"))
    optimizers = {name: torch.optim.Adam(parameters, lr=0.05) for name, parameters in system.phases().items()}
    draws = Line()
    for step in range(2):
        batch = {name: value[None] for name, value in draws[step].items()}
        for name, optimizer in optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(trainer.config, step)
            system.zero_grad()
            sum(system(name, batch).values()).backward()
            optimizer.step()
    trainer.fit()
    assert same(trainer.system.state_dict(), system.state_dict())


def test_averages_follow_the_weights_by_the_formula(make):
    trainer = make(steps=6, ema=0.5)
    expected = {name: p.detach().clone() for name, p in trainer.system.named_parameters()}
    with_averages = []

    def follow():
        decay = min(0.5, trainer.step / (9 + trainer.step))
        for name, p in trainer.system.named_parameters():
            expected[name] += (1 - decay) * (p.detach() - expected[name])
        with_averages.append(decay)
        return False

    trainer.fit(stop=follow)
    assert with_averages == pytest.approx([1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15])
    assert all(torch.allclose(trainer.averages.tensors[name], expected[name], atol=1e-6) for name in expected)
    model = checkpoint.read_tensors(trainer.run.checkpoint("model"))
    assert same(model, dict(trainer.averages.tensors)) and not same(model, trainer.system.state_dict())


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_what_is_not_finite_stops_the_training_and_leaves_the_saved_state(make, fault):
    system, draws = Toy(), Line(broken=[20] if fault == "loss" else [])
    if fault == "gradient":
        whole = system.forward
        system.forward = lambda phase, batch: whole(phase, batch) | (
            {} if trainer.step < 10 else {"root": (system.layers["model"].weight * 0).abs().sqrt().sum()}
        )
    trainer = make(system=system, draws=draws, steps=20)
    with pytest.raises(TrainingError, match="at step 10: lower train.rate") as caught:
        trainer.fit()
    assert str(caught.value).count("\n") == 0 and ("model error" if fault == "loss" else "gradients' norm") in str(caught.value)
    assert all(p.isfinite().all() for p in trainer.system.parameters())
    again = make(steps=20)
    assert again.resume() and again.step == 10 and all(t.isfinite().all() for t in again.state().values())


def test_a_changed_batch_goes_on_with_the_next_example(make):
    first = make(batch=2, steps=5)
    first.fit()
    second = make(batch=3, steps=7)
    assert second.resume()
    second.fit()
    assert first.draws.asked == list(range(10)) and second.draws.asked == list(range(10, 16))
    assert checkpoint.read_header(second.run.checkpoint("model")).card["hours_seen"] == round(16 * 1.8 / 3600, 2) == 0.01


def test_a_state_from_before_examples_were_counted_is_taken_up(make):
    trainer = make(steps=5)
    trainer.fit()
    path = trainer.run.checkpoint("last")
    about, tensors = checkpoint.read_header(path), checkpoint.read_tensors(path)
    del about.card["examples"]
    checkpoint.save(path, tensors, about)
    again = make(steps=6)
    again.resume()
    again.fit()
    assert again.draws.asked == [10, 11]


def test_rows_hold_means_also_after_a_resume_between_them(make):
    class Constant(Toy):
        def forward(self, phase, batch):
            return {"loss": 1 + 0 * super().forward(phase, batch)["size"]}

    first = make(system=Constant(), log_every=4)
    with pytest.raises(Cancelled):
        first.fit(stop=stop_at(first, 7))
    second, seen = make(system=Constant(), log_every=4), []
    second.resume()
    second.fit(seen.append)
    rows = [row for row in second.run.rows() if "loss" in row]
    assert [row["step"] for row in rows] == [4, 8, 12] and {row["loss"]["loss"] for row in rows} == {1.0}
    assert seen[-1]["steps"] == 12 and seen[-1]["seconds_left"] == 0 and 0 <= seen[-1]["waiting"] <= 1


def test_rows_from_after_the_saved_state_are_cut_off(make):
    first = make(steps=12, log_every=1)
    (first.run.folder / "log.jsonl").write_text('{"step": 1, "loss": {}}\n{"step": 2, "lo')  # of a run killed before its first save
    assert not first.resume()
    first.fit()
    assert [row["step"] for row in first.run.rows() if "loss" in row] == list(range(1, 13))
    first.step = 10
    first.save()
    with open(first.run.folder / "log.jsonl", "a") as log:
        log.write('{"step": 13, "lo')
    second = make(steps=12, log_every=1)
    second.resume()
    second.fit()
    assert [row["step"] for row in second.run.rows() if "loss" in row] == list(range(1, 13))


def test_the_best_weights_are_kept_and_the_best_score_is_remembered(make):
    system = Toy()
    system.scores = iter([1.0, 2.0, 5.0, 6.0, 3.0, 3.0])  # two songs a score
    trainer = make(system=system, score_every=4, steps=12)
    assert trainer.fit() == {"sdr": 3.0, "two_stems.sdr": 100.0, "mean": 3.0}
    best = checkpoint.read_header(trainer.run.checkpoint("best"))
    assert best.card["steps"] == 8 and best.card["scores"]["validation"]["mean"] == trainer.best == 5.5
    assert (trainer.run.folder / "results" / "shown.png").read_bytes() == b"picture"
    later = Toy()
    later.scores = iter([4.0, 4.0])
    again = make(system=later, score_every=4, steps=16)
    again.resume()
    again.fit()
    assert checkpoint.read_header(again.run.checkpoint("best")).card["steps"] == 8


def test_scoring_uses_the_averages_and_gives_the_trained_weights_back(make):
    trainer = make(steps=4)
    trainer.fit()
    trained, seen = {n: t.clone() for n, t in trainer.system.state_dict().items()}, []

    def score(song):
        seen.append({n: t.clone() for n, t in trainer.system.state_dict().items()})
        assert not trainer.system.training
        raise ValueError("the song is bad")

    trainer.system.score = score
    with pytest.raises(ValueError):
        trainer.score()
    assert same(seen[0], trainer.averages.whole()) and same(trainer.system.state_dict(), trained) and trainer.system.training


def test_an_unknown_best_score_names_the_known_ones(make):
    with pytest.raises(ConfigError, match=r"train.best, found 'vocals.sdr': .*mean, sdr"):
        make(best="vocals.sdr", steps=1).fit()
    with pytest.raises(ConfigError, match="train.best"):
        make(best="sdr2", steps=10**9).fit()  # before the first step, not at the first score


def test_a_state_of_another_net_is_refused(make):
    make(system=Toy(phases=("a",)), steps=1).fit()
    with pytest.raises(CheckpointError, match="expected the state of the recipe's own net"):
        make(system=Toy(phases=("b",)), steps=1).resume()


def test_weights_of_another_net_are_refused_to_start_from(make):
    with pytest.raises(CheckpointError, match="recipe's own net to start from"):
        make().start_from(Toy(phases=("b",)).state_dict())


def test_a_killed_loader_is_said_in_one_sentence(make):
    class Dying(Line):
        def __getitem__(self, number):
            if number == 4:
                os.kill(os.getpid(), 9)
            return super().__getitem__(number)

    with pytest.raises(TrainingError, match=r"train\.workers=0") as caught:
        make(draws=Dying(), workers=1).fit()
    assert "\n" not in str(caught.value)


def test_an_error_of_a_loader_stays_one_sentence(make):
    class Failing(Line):
        def __getitem__(self, number):
            raise ConfigError("expected this: found that")

    with pytest.raises(ConfigError, match="^expected this: found that$"):
        make(draws=Failing(), workers=1).fit()


@pytest.mark.parametrize(
    ("key", "value"), [("steps", 0), ("batch", -1), ("rate", 0), ("ema", 1), ("save_every", 0), ("accelerator", "gpus"), ("warmup", -1)]
)
def test_values_that_make_no_sense_are_refused(key, value):
    with pytest.raises(ConfigError, match=rf"\[train\]: expected '{key}'"):
        parse(TrainConfig, {key: value}, "[train]")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_one_sentence(make):
    with pytest.raises(ConfigError, match="change train.accelerator"):
        make(accelerator="cuda")


class Echo(nn.Module):
    """Give back what comes in, and a product that a mixed precision may round."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, values):
        return values["wave"], self.layer(values["wave"])


def test_mixed_precision_rounds_products_and_not_what_goes_in():
    fabric = launch(TrainConfig(precision="bf16-mixed", accelerator="cpu"))
    wave = torch.full((1, 4), 1.0 + 2.0**-16)
    seen, product = fabric.setup_module(Echo())({"wave": wave})
    assert seen.dtype == torch.float32 and torch.equal(seen, wave)
    assert torch.equal(product, product.bfloat16().float())
