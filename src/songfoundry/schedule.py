"""Say how long, how fast and on what a system is trained: a recipe's [train] table, and the learning rate of a step."""

import math
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from songfoundry.config import Config

Share = Annotated[float, Field(ge=0, lt=1)]


class TrainConfig(Config):
    """Say how a system is trained.

    `batch` examples a step (a device), `accumulate` batches an update, `rate` the peak learning rate, reached after
    `warmup` steps and then lowered along a half cosine to `final_rate` times the peak at the last step; `clip` the
    largest norm of the gradients; `ema` the decay of the averaged weights that are scored and shipped; every
    `save_every` steps the state is saved, every `score_every` steps the validation songs (the first `score_songs`) are
    scored, and the weights with the highest score `best` are kept. `precision` "auto" is bf16 where the device has it.
    `threads` are those of the first process for the net, `workers` processes draw examples; `devices` a machine and `nodes`
    (machines) are torchrun's own where it started the training.
    """

    steps: PositiveInt = 100_000
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


def learning_rate(config: TrainConfig, step: int) -> float:
    """Give the learning rate of a step: linear warm-up, then half a cosine (Loshchilov & Hutter 2017, eq. 5)."""
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    progress = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.rate * (config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * progress)))
