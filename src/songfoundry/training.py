"""Train what a recipe describes: build system and draws by name, open the run folder, run the one loop."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from songfoundry import config, registry
from songfoundry.config import Recipe


def first_process() -> bool:
    """Tell whether this is the first of the processes of a training on several devices: the one that prints."""
    return all(int(os.environ.get(name, 0)) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


def build(recipe: Recipe, progress: Callable[[float], None] | None = None):
    """Build the system and the draws of a recipe; the weights are drawn by the recipe's seed.

    Parameters
    ----------
    progress : called with the fraction of the songs that are decoded.

    Raises
    ------
    ConfigError : a name or a key of the recipe is not known.
    DatasetError, AudioError : the songs are not what they should be.
    """
    import torch

    from songfoundry.runs import configured

    system_config, draws_config = configured(recipe, "system"), configured(recipe, "data")
    draws = registry.get("data", recipe.data["name"])(draws_config, recipe.seed, progress)
    kind = registry.get("systems", recipe.system["name"])
    if hasattr(kind, "fitted"):
        # A system whose size depends on the data: how many instruments there are.
        system_config = kind.fitted(system_config, draws)
    torch.manual_seed(recipe.seed)
    return kind(system_config), draws


def open_trainer(
    recipe: Recipe,
    folder: str | os.PathLike,
    start_from: str | os.PathLike | None = None,
    decoding: Callable[[float], None] | None = None,
):
    """Build a recipe's trainer in a run folder, resumed where the folder stands, else begun from other weights if named.

    Parameters
    ----------
    decoding : called with the fraction of the songs that are decoded.

    Raises
    ------
    as `train`.
    """
    from songfoundry import checkpoint
    from songfoundry.runs import Run
    from songfoundry.schedule import TrainConfig
    from songfoundry.trainer import Trainer, launch

    train_config = config.parse(TrainConfig, recipe.train, "[train]")
    fabric = launch(train_config)
    # The folder is made last, so that none is left by a recipe that does not work.
    system, draws = build(recipe, decoding)
    train_config = train_config.counted(draws, fabric.world_size)
    other = checkpoint.load(start_from).state_dict() if start_from is not None else None
    whole = recipe.model_copy(update={"train": train_config.model_dump()})
    run = Run(folder, whole, writes=fabric.is_global_zero)
    fabric.barrier()
    trainer = Trainer(system, draws, train_config, run, fabric)
    if not trainer.resume() and other is not None:
        trainer.start_from(other)
    return trainer


def run_folder(recipe: Recipe, folder: str | os.PathLike | None = None) -> Path:
    """Name the run folder of a recipe: the one that is given, else runs/NAME."""
    return Path(folder) if folder is not None else Path("runs") / recipe.name


def train(
    recipe: Recipe,
    folder: str | os.PathLike | None = None,
    start_from: str | os.PathLike | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train a recipe to its last step, going on where the run folder stands.

    Parameters
    ----------
    folder : the run folder; by default runs/NAME of the recipe.
    start_from : a checkpoint whose weights a new run begins with.
    progress : called with {"decoded": fraction} while songs are decoded, then as `Trainer.fit` does.
    stop : asked after each step; where it says True, the state is saved and the training ends.

    Returns
    -------
    path : the averaged weights, `checkpoints/model.safetensors` in the run folder.

    Raises
    ------
    ConfigError, DatasetError, AudioError, TrainingError, CheckpointError, OutputError : each says what to do.
    Cancelled : `stop` said so.
    """
    decoding = (lambda fraction: progress({"decoded": fraction})) if progress else None
    trainer = open_trainer(recipe, run_folder(recipe, folder), start_from, decoding)
    trainer.fit(progress, stop)
    return trainer.run.checkpoint("model")


def plan(recipe: Recipe, folder: str | os.PathLike | None = None, steps: int = 3) -> dict[str, float | int]:
    """Take a few steps and score a song in a scratch folder, and say what the rest of the training will cost.

    Parameters
    ----------
    folder : the run folder, whose steps are already taken; by default runs/NAME of the recipe.
    steps : how many are timed, after one to warm up.

    Returns
    -------
    plan : "parameters"; "steps" (to go); "seconds_a_step" and "waiting", the share of it spent waiting for examples;
        "seconds_a_score"; "hours" to the last step, with its scores; "hours_seen", "tokens_seen" or "images_seen" until then;
        "memory_gib", the peak of the device where that is a GPU, else of the processes.
    """
    import itertools
    import tempfile

    import torch

    from songfoundry import checkpoint
    from songfoundry.schedule import TrainConfig

    whole = config.parse(TrainConfig, recipe.train, "[train]")
    if whole.epochs is not None:
        whole = whole.counted(build(recipe)[1])
    last = run_folder(recipe, folder) / "checkpoints" / "last.safetensors"
    to_go = max(0, whole.steps - (checkpoint.read_header(last).card["step"] if last.exists() else 0))
    short = recipe.model_copy(update={"train": {**recipe.train, "steps": steps + 1, "epochs": None}})
    with tempfile.TemporaryDirectory() as scratch:
        trainer = open_trainer(short, scratch)
        figures = trainer.measure(steps)
        songs = sum(1 for _ in itertools.islice(trainer.draws.validation(), whole.score_songs))
        started = time.perf_counter()
        if songs:
            trainer.score(1)
        scoring = (time.perf_counter() - started) * songs
    seconds = figures["seconds_a_step"] * to_go + scoring * -(-to_go // whole.score_every)
    device = trainer.fabric.device
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak_bytes(whole.workers)
    return {
        "parameters": sum(p.numel() for p in trainer.system.parameters()),
        "steps": to_go,
        "seconds_a_step": round(figures["seconds_a_step"], 3),
        "waiting": round(figures["waiting"], 3),
        "seconds_a_score": round(scoring, 1),
        "hours": round(seconds / 3600, 2),
        **trainer.draws.seen(trainer.examples // (steps + 1) * whole.steps),
        "memory_gib": round(memory / (1 << 30), 2),
    }


def _peak_bytes(workers: int) -> int:
    """Measure the most memory that this process and its loader's processes, which have ended, took; 0 where it is not told."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * (own + workers * child)
