"""Hold schedules and samplers against the closed form: of Gaussian data the best denoiser, and where every walk must end, are known."""

import math

import pytest
import torch
from torch.overrides import TorchFunctionMode

from songfoundry import diffusion
from songfoundry.diffusion import SAMPLERS, SCHEDULES, schedule

SPREAD, MIDDLE = 0.3, 0.5
DETERMINED = ("ddim", "dpm++", "heun")


def exact(table):
    """Give the best denoiser of data that are normal around MIDDLE with deviation SPREAD."""

    def denoise(noisy, step):
        signal, noise = float(table.signal[step]), float(table.noise[step])
        gain = signal * SPREAD**2 / (signal**2 * SPREAD**2 + noise**2)
        return MIDDLE + gain * (noisy - signal * MIDDLE)

    return denoise


def end(table, start):
    """Solve the probability flow from a start: a normal distribution is stretched evenly onto the other."""
    signal, noise = float(table.signal[-1]), float(table.noise[-1])
    return MIDDLE + SPREAD * (start - signal * MIDDLE) / math.hypot(signal * SPREAD, noise)


class Halved(TorchFunctionMode):
    """Refuse, as some devices do, to take what has 64 bits."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        moved = function is torch.Tensor.to and any(isinstance(each, torch.device) for each in arguments[1:])
        if moved and arguments[0].dtype == torch.float64:
            raise TypeError("this device holds no float64")
        return function(*arguments, **(options or {}))


def test_tables_go_to_devices_that_hold_no_float64():
    table, step = schedule("cosine", 10), torch.tensor([0, 10])
    with Halved():
        mixed = table.mixed(torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2), step)
        wanted = table.target(torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2), step, "v")
    assert torch.equal(mixed[:, 0, 0, 0], table.signal[step].float()) and torch.equal(wanted[:, 0, 0, 0], -table.falling[step].float())


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_goes_from_clean_to_noise(name):
    table = schedule(name, 1000)
    assert table.steps == 1000 and table.signal[0] == 1 and table.noise[0] == 0
    assert (table.signal.diff() < 0).all() and (table.noise.diff() >= 0).all()
    assert table.signal[-1] < 0.01 and table.noise[-1] > 0.99
    if name != "rectified":
        assert torch.allclose(table.signal**2 + table.noise**2, torch.ones(1001, dtype=torch.float64))


def test_the_schedules_are_those_of_the_papers():
    linear = schedule("linear")
    assert (linear.signal[1] ** 2).item() == pytest.approx(1 - 1e-4)
    assert (linear.signal[1000] / linear.signal[999]).item() ** 2 == pytest.approx(0.98)
    cosine = schedule("cosine")
    assert (cosine.signal[500] ** 2).item() == pytest.approx(math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2, rel=1e-3)
    flow = schedule("rectified", 4)
    assert flow.signal.tolist() == [1, 0.75, 0.5, 0.25, 0] and flow.noise.tolist() == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction", diffusion.PREDICTIONS)
def test_what_is_predicted_gives_the_clean_thing_back(name, prediction):
    table, draw = schedule(name, 50), torch.Generator().manual_seed(0)
    clean, epsilon = torch.randn(2, 3, 4, generator=draw, dtype=torch.float64), torch.randn(2, 3, 4, generator=draw, dtype=torch.float64)
    for step in (1, 25, 49):
        steps = torch.full((2,), step)
        target = table.target(clean, epsilon, steps, prediction)
        assert torch.allclose(table.clean(table.mixed(clean, epsilon, steps), target, step, prediction), clean, atol=1e-9)
    if name == "rectified" and prediction == "v":
        assert torch.allclose(target, epsilon - clean)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("count", [1, 7, 50])
def test_a_path_begins_in_noise_and_ends_clean(name, count):
    path = schedule(name, 50).path(count)
    assert path[0] == 50 and path[-1] == 0 and len(path) == count + 1 and all(a > b for a, b in zip(path, path[1:], strict=False))
    for wrong in (0, 51):
        with pytest.raises(ValueError, match="1 to 50 steps"):
            schedule(name, 50).path(wrong)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("sampler", DETERMINED)
def test_a_walk_without_chance_ends_where_the_flow_does(name, sampler):
    table, start = schedule(name), torch.linspace(-2, 2, 9, dtype=torch.float64)
    found = {count: SAMPLERS[sampler](exact(table), start, table, count) for count in (20, 40, 500)}
    errors = {count: (end(table, start) - made).abs().max().item() for count, made in found.items()}
    assert errors[500] < (6e-3 if sampler == "ddim" else 1.2e-3) and errors[500] < 0.1 * errors[20]


@pytest.mark.parametrize("name", SCHEDULES)
def test_second_order_is_nearer(name):
    table, start = schedule(name), torch.linspace(-2, 2, 9, dtype=torch.float64)

    def error(sampler, steps):
        return (end(table, start) - SAMPLERS[sampler](exact(table), start, table, steps)).abs().max().item()

    assert error("dpm++", 20) < 0.7 * error("ddim", 20) and error("heun", 20) < 0.75 * error("ddim", 20)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_walk_at_random_has_the_distribution_of_the_data(name):
    table, draw = schedule(name), torch.Generator().manual_seed(1)
    start = torch.randn(20_000, generator=draw, dtype=torch.float64)
    made = SAMPLERS["ddpm"](exact(table), start, table, 250, draw=lambda: torch.randn(20_000, generator=draw, dtype=torch.float64))
    # Four standard errors, and what 250 steps lose of the spread.
    assert made.mean().item() == pytest.approx(MIDDLE, abs=4 * SPREAD / 20_000**0.5)
    assert made.std().item() == pytest.approx(SPREAD, rel=0.04)
    assert abs(torch.corrcoef(torch.stack((start, made)))[0, 1]) < 0.1, "where it begins is forgotten"


def test_one_step_gives_the_guess_and_a_watcher_can_stop():
    for name, sampler in SAMPLERS.items():
        table, start = schedule("cosine", 100), torch.ones(2, 3)
        assert torch.equal(sampler(lambda noisy, step: 0.25 * torch.ones_like(noisy), start, table, 1), torch.full((2, 3), 0.25)), name
        seen = []
        sampler(exact(table), start, table, 10, watch=lambda number, thing, guess, seen=seen: seen.append(number) or number < 3)
        assert seen == [1, 2, 3]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="linear, cosine, rectified"):
        schedule("cosin")
    with pytest.raises(ValueError, match="at least one step"):
        schedule("linear", 0)
