"""Say how long, how fast and on what a system is trained: a recipe's [train] table, and who learns at a step, and how fast."""

import math
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from songfoundry.config import Config
from songfoundry.errors import ConfigError
from songfoundry.registry import nearest

Share = Annotated[float, Field(ge=0, lt=1)]
Schedule = Literal["cosine", "constant", "multistep", "cosine_restarts"]


class PhaseConfig(Config):
    """Say what of the [train] table is otherwise for one phase, `[train.phases.NAME]`; None leaves it as it is there."""

    rate: PositiveFloat | None = None
    schedule: Schedule | None = None
    warmup: NonNegativeInt | None = None
    final_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    milestones: list[NonNegativeInt] | None = None
    factor: PositiveFloat | None = None
    period: PositiveInt | None = None
    betas: tuple[Share, Share] | None = None
    weight_decay: NonNegativeFloat | None = None
    clip: PositiveFloat | None = None


class TrainConfig(Config):
    """Say how a system is trained.

    `batch` examples a step (a device), `accumulate` batches an update, `rate` the peak learning rate, reached after
    `warmup` steps and then lowered along a half cosine to `final_rate` times the peak at the last step; `clip` the
    largest norm of the gradients; `ema` the decay of the averaged weights that are scored and shipped; every
    `save_every` steps the state is saved, every `score_every` steps the validation songs (the first `score_songs`) are
    scored, and the weights with the highest score `best` are kept. `precision` "auto" is bf16 where the device has it.
    `threads` are those of the first process for the net, `workers` processes draw examples; `devices` a machine and `nodes`
    (machines) are torchrun's own where it started the training.

    `schedule` says how the rate goes on after the warm-up: "cosine" as above; "constant"; "multistep", multiplied by `factor` at
    each of `milestones` (steps); "cosine_restarts", down a half cosine to `final_rate` times the peak in `period` steps, and again
    from the peak. `phases` changes such values for one phase of a system that has several. In a game of a generator and a
    discriminator the latter learns alone for `discriminator_first_steps` and then stands still for `discriminator_freeze`, and a
    side that has been dead for `dead_after` steps (0: never) ends the training.

    Where draws say how long they are, `epochs` of them may be asked for in place of `steps`, and what `show_epochs` counts, and the last
    one, are shown as the system has it.
    """

    steps: PositiveInt = 100_000
    epochs: PositiveFloat | None = None
    show_epochs: list[PositiveInt] = [1, 5, 10, 20]
    batch: PositiveInt = 4
    accumulate: PositiveInt = 1
    optimizer: Literal["adam", "adamw"] = "adamw"
    rate: PositiveFloat = 1e-3
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 1e-2
    warmup: NonNegativeInt = 200
    final_rate: Annotated[float, Field(ge=0, le=1)] = 0.02
    clip: PositiveFloat = 5.0
    ema: Share = 0.999
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "32-true"
    log_every: PositiveInt = 10
    save_every: PositiveInt = 200
    score_every: PositiveInt = 500
    score_songs: PositiveInt | None = None
    threads: PositiveInt = 1
    workers: NonNegativeInt = 1
    accelerator: Literal["auto", "cpu", "cuda", "gpu", "mps"] = "auto"
    devices: PositiveInt = 1
    nodes: PositiveInt = 1
    best: str = "mean"
    schedule: Schedule = "cosine"
    milestones: list[NonNegativeInt] = []
    factor: PositiveFloat = 0.3
    period: PositiveInt = 1000
    phases: dict[str, PhaseConfig] = {}
    discriminator_first_steps: NonNegativeInt = 0
    discriminator_freeze: NonNegativeInt = 0
    dead_after: NonNegativeInt = 500

    def counted(self, draws, world: int | None = None) -> "TrainConfig":
        """Turn `epochs` of draws into steps, on `world` devices or as the table says; raises `ConfigError` where draws have no length."""
        if self.epochs is None:
            return self
        if not hasattr(draws, "__len__"):
            raise ConfigError("expected train.steps for draws that have no end, found train.epochs: give the number of steps")
        a_step = self.batch * self.accumulate * (world or self.devices * self.nodes)
        return self.model_copy(update={"steps": max(1, math.ceil(self.epochs * len(draws) / a_step))})

    def of(self, phase: str) -> "TrainConfig":
        """Give the values that hold for a phase."""
        own = self.phases.get(phase)
        return self if own is None else self.model_copy(update=own.model_dump(exclude_none=True))


def learning_rate(config: TrainConfig, step: int, phase: str = "") -> float:
    """Give the learning rate of a step: linear warm-up, then by the schedule's name.

    Reference: Loshchilov & Hutter 2017 (SGDR, arXiv 1608.03983), eq. 5, for the cosine, with and without restarts.
    """
    config = config.of(phase)
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.rate
    if config.schedule == "multistep":
        return config.rate * config.factor ** sum(step >= milestone for milestone in config.milestones)
    if config.schedule == "cosine_restarts":
        progress = (step - config.warmup) % config.period / config.period
    else:
        progress = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.rate * (config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * progress)))


def learns(config: TrainConfig, step: int, phase: str) -> bool:
    """Tell whether a phase is updated at a step: all always are, but for a discriminator's head start and its rest after it."""
    alone = config.discriminator_first_steps
    if step < alone:
        return phase == "discriminator"
    return phase != "discriminator" or step >= alone + config.discriminator_freeze


def check_phases(config: TrainConfig, phases: list[str]) -> None:
    """Refuse, by `ConfigError`, what a recipe says of phases that the system does not have."""
    for name in config.phases:
        if name not in phases:
            raise ConfigError(f"expected the name of a phase in train.phases, found {name!r}: {nearest(name, phases)}")
    if (config.discriminator_first_steps or config.discriminator_freeze) and "discriminator" not in phases:
        raise ConfigError(
            f"expected a system with a discriminator for train.discriminator_first_steps, found the phases {', '.join(phases)}: "
            "take that key out"
        )
