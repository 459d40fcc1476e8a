"""Train what a recipe describes: build system and draws by name, open the run folder, run the one loop."""

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from songfoundry import config, registry
from songfoundry.config import Recipe
from songfoundry.errors import ConfigError

# A training allocates and frees the same large arrays each step; glibc gives such arrays back to the kernel and
# asks for them anew, zeroed, page by page. Kept instead, a step took 0.55 to 0.6 times as long (benchmarks/allocator.py).
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "268435456"}


def keep_memory() -> None:
    """Start the process again with glibc's settings for reuse of memory; does nothing elsewhere or the second time."""
    if sys.platform == "linux" and not KEEP_MEMORY.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **KEEP_MEMORY})


def build(recipe: Recipe, start_from: str | None = None):
    """Build the system and the draws of a recipe; the weights are drawn by the recipe's seed.

    Raises
    ------
    ConfigError : a name or a key of the recipe is not known.
    """
    import torch

    for table in ("system", "data"):
        if "name" not in getattr(recipe, table):
            raise ConfigError(f"expected a name in the recipe's table [{table}], found none: write name = one of "
                              f"{', '.join(registry.names({'system': 'systems'}.get(table, table)))}")  # fmt: skip
    system_class = registry.get("systems", recipe.system["name"])
    draws_class = registry.get("data", recipe.data["name"])
    system_config = config.parse(system_class.Config, recipe.system, "[system]")
    draws_config = config.parse(draws_class.Config, recipe.data, "[data]")
    torch.manual_seed(recipe.seed)
    return system_class(system_config), draws_class(draws_config, recipe.seed)


def open_trainer(recipe: Recipe, folder: str | os.PathLike, start_from: str | os.PathLike | None = None):
    """Build a recipe's trainer in a run folder, resumed where the folder stands, else begun from other weights if named."""
    from songfoundry import checkpoint
    from songfoundry.runs import Run
    from songfoundry.trainer import TrainConfig, Trainer

    train_config = config.parse(TrainConfig, recipe.train, "[train]")
    system, draws = build(recipe)
    trainer = Trainer(system, draws, train_config, Run(folder, recipe))
    if not trainer.resume() and start_from is not None:
        trainer.start_from(checkpoint.load(start_from).state_dict())
    return trainer


def train(
    recipe: Recipe,
    folder: str | os.PathLike | None = None,
    start_from: str | os.PathLike | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Train a recipe to its last step, going on where the run folder stands.

    Parameters
    ----------
    folder : the run folder; by default runs/NAME of the recipe.
    start_from : a checkpoint whose weights a new run begins with.
    progress : called with {"step", "steps", "loss", "seconds_a_step"}.

    Returns
    -------
    path : the averaged weights, `checkpoints/model.safetensors` in the run folder.

    Raises
    ------
    ConfigError, DatasetError, TrainingError, CheckpointError, OutputError : each says what to do.
    """
    trainer = open_trainer(recipe, folder or Path("runs") / recipe.name, start_from)
    trainer.fit(progress)
    return trainer.run.checkpoint("model")


def plan(recipe: Recipe, steps: int = 4) -> dict[str, float | int]:
    """Take a few steps in a scratch folder and say what the whole training will cost.

    Returns
    -------
    plan : seconds_a_step, hours (to the last step), memory_gib (peak of this process), parameters, hours_of_audio.
    """
    import tempfile

    short = recipe.model_copy(update={"train": {**recipe.train, "steps": steps, "save_every": steps + 1, "score_every": steps + 1}})
    whole = recipe.train.get("steps", 0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = open_trainer(short, folder)
        batches = trainer._batches()
        trainer._update(batches)
        started = time.perf_counter()
        for _ in range(steps - 1):
            trainer._update(batches)
        pace = (time.perf_counter() - started) / (steps - 1)
        seen = trainer.config.batch * trainer.config.accumulate * getattr(trainer.draws.config, "chunk_seconds", 0)
    unit = 1 << 10 if sys.platform == "linux" else 1
    return {
        "seconds_a_step": round(pace, 3),
        "hours": round(pace * whole / 3600, 2),
        "memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / (1 << 30), 2),
        "parameters": sum(p.numel() for p in trainer.system.parameters()),
        "hours_of_audio": round(seen * whole / 3600, 2),
    }
