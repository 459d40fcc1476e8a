"""Hold the systems of pictures to their word: losses, guidance, scores and what is shown, with nets that know the answer."""

import numpy as np
import pytest
import tiny_pictures
import torch
from torch import nn

from songfoundry import pictures
from songfoundry.systems.pictured import coarse_distance, noise, sheet


class Knowing(nn.Module):
    """Predict rightly of the one picture that it knows; `asked` lists the labels it was given."""

    conditional = True

    def __init__(self, system, clean):
        super().__init__()
        self.table, self.prediction, self.clean, self.asked = system.schedule, system.config.prediction, clean, []
        self.steps = system.config.steps
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, noisy, time, label):
        self.asked.append(label)
        step = (time * self.steps).round().long()
        signal, level = (table.float()[step].view(-1, 1, 1, 1) for table in (self.table.signal, self.table.noise))
        epsilon = (noisy - signal * self.clean) / level
        return self.table.target(self.clean.expand_as(noisy), epsilon, step, self.prediction)


def knowing(family="ddpm", **options):
    system = tiny_pictures.system(family, **options)
    clean = torch.linspace(-0.9, 0.9, 256).view(1, 1, 16, 16)
    system.net = Knowing(system, clean)
    return system.eval(), clean


@pytest.mark.parametrize("family", ["ddpm", "epsilon", "rectified"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++", "heun"])
def test_a_net_that_knows_the_picture_gives_it_back(family, sampler):
    system, clean = knowing(family)
    made = system.sample(noise(3, system.shape, 1), torch.tensor([1, 2, 3]), sampler=sampler, steps=7, guidance=1.5)
    assert torch.allclose(made, clean.expand_as(made), atol=2e-3)
    scores = system.score({"name": "a", "image": clean.expand(5, -1, -1, -1).numpy(), "label": np.arange(5)})
    assert scores["loss"] == pytest.approx(0, abs=1e-4) and scores["mean"] == -scores["loss"]


def test_guidance_asks_both_ways_and_without_it_once():
    system, _ = knowing()
    start, label = noise(2, system.shape, 0), torch.tensor([4, 5])
    for guidance, asked in ((1, [4, 5]), (0, [10, 10]), (2.0, [4, 5, 10, 10])):
        system.net.asked.clear()
        system.sample(start, label, sampler="ddim", steps=1, guidance=guidance)
        assert [found.tolist() for found in system.net.asked] == [asked]


def test_classes_are_left_open_now_and_then_and_steps_are_spread():
    system, clean = knowing(open=0.5)
    torch.manual_seed(0)
    losses = system("model", {"image": clean.expand(200, -1, -1, -1), "label": torch.full((200,), 3)})
    assert set(losses) == {"v"} and losses["v"] < 1e-4
    labels = system.net.asked[-1]
    assert set(labels.tolist()) == {3, 10} and 60 < int((labels == 10).sum()) < 140
    whole, _ = knowing(open=0.0)
    whole("model", {"image": clean.expand(9, -1, -1, -1), "label": torch.full((9,), 3)})
    assert set(whole.net.asked[-1].tolist()) == {3}


def batch(count=6):
    made = tiny_pictures.registry.get("data", "images")
    draws = made(made.Config(kind="made", count=40, size=16))
    return {name: torch.stack([draws[n][name] for n in range(count)]) for name in ("image", "label")}


def test_a_game_penalises_now_and_then_and_keeps_its_sides_apart():
    system, losses = tiny_pictures.system("cdcgan", r1=0.5, r1_every=3), []
    for step in range(4):
        system.begin_step(step, 10)
        losses.append(system("discriminator", batch()))
    assert [("penalty" in found) for found in losses] == [True, False, False, True]
    assert set(system.watch()) == {"right_real", "right_made", "gap"} and system.watch() == {}
    sum(system("generator", batch()).values()).backward()
    sides = system.phases()
    assert all(p.grad is None and p.requires_grad for p in sides["discriminator"]) and all(p.grad is not None for p in sides["generator"])
    scores = system.score({"image": batch(6)["image"].numpy(), "label": np.arange(6), "name": "a"})
    assert scores["distance"] > 0 and scores["mean"] == -scores["distance"]


def test_a_judge_moves_pictures_in_training_alone():
    system = tiny_pictures.system("classifier").eval()
    image = batch()["image"]
    torch.manual_seed(0)
    moved = system._varied(image)
    assert moved.shape == image.shape and moved.abs().max() <= 1 + 1e-5 and not torch.allclose(moved, image, atol=0.1)
    still = tiny_pictures.system("classifier", turn=0.0, scale=0.0, move=0.0)._varied(image)
    assert torch.allclose(still, image, atol=1e-4)
    found, features = system.judged(image)
    assert found.shape == (6, 10) and torch.allclose(found.sum(1), torch.ones(6)) and features.shape == (6, 8)
    assert torch.allclose(system.judged(image[2:3])[1], features[2:3], atol=1e-5)
    perfect = system.score({"image": image.numpy(), "label": found.argmax(1).numpy()})
    assert perfect["accuracy"] == 1 and perfect["mean"] < 0


def test_the_distance_on_the_way_tells_like_from_unlike():
    draw = torch.Generator().manual_seed(0)
    one, other = (torch.randn(400, 1, 28, 28, generator=draw) for _ in range(2))
    assert coarse_distance(one, one) < 1e-6 < coarse_distance(one, other) < 0.2 * coarse_distance(one, other + 0.5)
    assert sheet(one[:5].clamp(-1, 1)) == pictures.png(pictures.grid(pictures.levels(one[:5].clamp(-1, 1).numpy())))
