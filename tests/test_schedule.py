"""Hold rates and turns of phases to their definitions."""

import math

import pytest

from songfoundry.config import parse
from songfoundry.errors import ConfigError
from songfoundry.schedule import TrainConfig, learning_rate, learns


def rates(steps, **options):
    config = TrainConfig(rate=2.0, warmup=0, **options)
    return [learning_rate(config, step) for step in steps]


def test_schedules_by_name():
    assert rates((0, 7, 500), schedule="constant") == [2.0, 2.0, 2.0]
    falling = rates((0, 9, 10, 19, 20, 99), schedule="multistep", milestones=[10, 20], factor=0.1)
    assert falling == pytest.approx([2, 2, 0.2, 0.2, 0.02, 0.02])
    restarts = rates(range(25), schedule="cosine_restarts", period=10, final_rate=0.1)
    assert restarts[0] == restarts[10] == restarts[20] == 2.0 and restarts[5] == pytest.approx(2 * (0.1 + 0.45))
    assert restarts[9] == pytest.approx(2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(0.9 * math.pi))))
    assert learning_rate(TrainConfig(rate=2.0, warmup=4, schedule="multistep", milestones=[2]), 1) == 1.0


def test_a_phase_has_values_of_its_own_and_the_rest_of_the_table_s():
    values = {"rate": 1e-3, "warmup": 0, "clip": 3.0, "phases": {"generator": {"rate": 5e-4, "schedule": "constant", "betas": [0, 0.9]}}}
    config = parse(TrainConfig, values, "[train]")
    assert learning_rate(config, 900, "generator") == 5e-4 and learning_rate(config, 0, "discriminator") == 1e-3
    assert config.of("generator").betas == (0, 0.9) and config.of("generator").clip == 3.0 and config.of("model") is config
    with pytest.raises(ConfigError, match="did you mean 'schedule'"):
        parse(TrainConfig, {"phases": {"generator": {"schedul": "cosine"}}}, "[train]")
    with pytest.raises(ConfigError, match="schedule"):
        parse(TrainConfig, {"schedule": "linear"}, "[train]")


def test_a_discriminator_learns_alone_and_then_stands_still():
    config = TrainConfig(discriminator_first_steps=2, discriminator_freeze=3)
    assert [learns(config, step, "discriminator") for step in range(7)] == [True, True, False, False, False, True, True]
    assert [learns(config, step, "generator") for step in range(7)] == [False, False, True, True, True, True, True]
    assert all(learns(TrainConfig(), step, phase) for step in (0, 9) for phase in ("model", "discriminator", "generator"))
