"""Train any system by one loop, on Lightning Fabric (the only module that imports it).

``for step: for phase, opt: loss -> backward -> clip -> step; EMA; log row; every k: score, preview, save``

A resumed training takes the same steps as one that was never killed, bit for bit on one device: examples are pure
functions of their number, and `last.safetensors` holds weights, averages and optimiser states.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from songfoundry import __version__, checkpoint
from songfoundry.checkpoint import Checkpoint
from songfoundry.config import Config
from songfoundry.errors import CheckpointError, MissingExtraError, TrainingError
from songfoundry.runs import Run


class TrainConfig(Config):
    """Say how a system is trained.

    `batch` examples a step (a device), `accumulate` batches an update, `rate` the peak learning rate, reached after
    `warmup` steps and then lowered along a half cosine to `final_rate` times the peak at the last step; `clip` the
    largest norm of the gradients; `ema` the decay of the averaged weights that are scored and shipped; every
    `save_every` steps the state is saved, every `score_every` steps the validation songs are scored.
    """

    steps: int = 100_000
    batch: int = 4
    accumulate: int = 1
    optimizer: Literal["adam", "adamw"] = "adamw"
    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-2
    warmup: int = 200
    final_rate: float = 0.02
    clip: float = 5.0
    ema: float = 0.999
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    log_every: int = 10
    save_every: int = 200
    score_every: int = 500
    score_songs: int | None = None
    threads: int = 1
    workers: int = 1
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    best: str = "mean"


class _Numbered(Dataset):
    """Map a DataLoader's position to the number of a draw."""

    def __init__(self, draws, first: int, count: int):
        self.draws, self.first, self.count = draws, first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        return self.draws[self.first + position]


def learning_rate(config: TrainConfig, step: int) -> float:
    """Give the learning rate of a step: linear warm-up, then half a cosine (Loshchilov & Hutter 2017, eq. 5)."""
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    progress = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.rate * (config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * progress)))


class Trainer:
    """Own the optimisers, the averaged weights and the step counter of one training.

    Parameters
    ----------
    system : has `phases()`, `forward(phase, batch)` and `score(batch)`.
    draws : has `__getitem__(number)` and `validation()`.
    """

    def __init__(self, system: nn.Module, draws, config: TrainConfig, run: Run):
        try:
            from lightning_fabric import Fabric
        except ImportError:
            raise MissingExtraError("expected the package lightning-fabric for training, found none: pip install 'songfoundry[train]'") from None
        torch.set_num_threads(config.threads)
        self.fabric = Fabric(accelerator=config.accelerator, devices=config.devices, num_nodes=config.nodes, precision=config.precision)
        self.fabric.launch()
        self.config, self.run, self.draws = config, run, draws
        self.system = system.to(self.fabric.device)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
        self.optimizers = {
            phase: kind(parameters, lr=config.rate, betas=config.betas, weight_decay=config.weight_decay)
            for phase, parameters in system.phases().items()
        }
        self.module, *optimizers = self.fabric.setup(system, *self.optimizers.values())
        self.optimizers = dict(zip(self.optimizers, optimizers, strict=True))
        self.average = {name: p.detach().clone() for name, p in self.system.named_parameters()}
        self.step = 0
        self.best: float | None = None

    def state(self) -> dict[str, Tensor]:
        """Collect everything that the next step depends on, as flat tensors."""
        tensors = {f"weights/{name}": t for name, t in self.system.state_dict().items()}
        tensors |= {f"average/{name}": t for name, t in self.average.items()}
        for phase, optimizer in self.optimizers.items():
            for index, values in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{phase}/{index}/{key}": torch.as_tensor(value) for key, value in values.items()}
        return tensors

    def save(self) -> None:
        """Write last.safetensors (the state) and model.safetensors (the averaged weights)."""
        if not self.fabric.is_global_zero:
            return
        card = {"step": self.step, "best": self.best}
        config = self.system.config.model_dump()
        checkpoint.save(self.run.checkpoint("last"), self.state(), Checkpoint(config["name"], config, card, kind="training state"))
        checkpoint.save(self.run.checkpoint("model"), self.averaged(), Checkpoint(config["name"], config, self.card()))

    def averaged(self) -> dict[str, Tensor]:
        """Give the weights with the averages in place of the parameters."""
        return {**self.system.state_dict(), **self.average}

    def card(self, scores: dict[str, float] | None = None) -> dict[str, Any]:
        """Say what this model is: data, steps, hours of audio seen, scores, versions, date."""
        examples = self.step * self.config.batch * self.config.accumulate * self.fabric.world_size
        seconds = getattr(self.draws.config, "chunk_seconds", 0) * examples
        return {
            "recipe": self.run.recipe.name,
            "about": self.run.recipe.about,
            "data": self.draws.describe(),
            "steps": self.step,
            "hours_seen": round(seconds / 3600, 2),
            "scores": {"validation": scores} if scores else {},
            "versions": {"songfoundry": __version__, "torch": torch.__version__},
            "date": date.today().isoformat(),
        }

    def resume(self) -> bool:
        """Take up the state of the run folder, if there is one; tell whether there was."""
        path = self.run.checkpoint("last")
        if not path.exists():
            return False
        about, tensors = checkpoint.read_header(path), checkpoint.read_tensors(path)
        if about.kind != "training state":
            raise CheckpointError(f"expected a training state in {path}, found a {about.kind}: remove it, or choose another run folder")
        self.step, self.best = about.card["step"], about.card["best"]
        part = lambda prefix: {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}  # noqa: E731
        self.system.load_state_dict(part("weights/"))
        self.average = {name: t.to(self.fabric.device) for name, t in part("average/").items()}
        for phase, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in part(f"optimizer/{phase}/").items():
                index, key = name.split("/")
                state.setdefault(int(index), {})[key] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self.run.rows(last_step=self.step)
        return True

    def start_from(self, tensors: dict[str, Tensor]) -> None:
        """Begin with the weights of another model; the optimisers start anew.

        Raises
        ------
        CheckpointError : the weights are those of another net.
        """
        try:
            self.system.load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(f"expected weights of the recipe's own net to start from, found others ({str(error).splitlines()[-1].strip()})") from None
        self.average = {name: p.detach().clone() for name, p in self.system.named_parameters()}

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """Load batches from the first one that has not been seen; each device takes its share of the numbers."""
        config, world = self.config, self.fabric.world_size
        a_step = config.batch * config.accumulate * world
        numbers = _Numbered(self.draws, self.step * a_step, (config.steps - self.step) * a_step)
        order = [
            [step * a_step + part * config.batch * world + self.fabric.global_rank * config.batch + i for i in range(config.batch)]
            for step in range(config.steps - self.step)
            for part in range(config.accumulate)
        ]
        loader = DataLoader(
            numbers, batch_sampler=order, num_workers=config.workers, prefetch_factor=4 if config.workers else None,
            worker_init_fn=_one_thread, pin_memory=self.fabric.device.type == "cuda",
        )  # fmt: skip
        for batch in loader:
            yield {name: value.to(self.fabric.device, non_blocking=True) for name, value in batch.items()}

    def _update(self, batches: Iterator) -> dict[str, float]:
        """Take one step of every phase; return the losses.

        Raises
        ------
        TrainingError : a loss is not finite; the last saved state is untouched.
        """
        config, losses = self.config, {}
        parts = [next(batches) for _ in range(config.accumulate)]
        for phase, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, self.step)
            for index, batch in enumerate(parts):
                with self.fabric.no_backward_sync(self.module, enabled=index + 1 < len(parts)):
                    named = self.module(phase, batch)
                    total = sum(named.values()) / len(parts)
                    self.fabric.backward(total)
                for name, value in named.items():
                    losses[name] = losses.get(name, 0.0) + float(value.detach()) / len(parts)
            broken = [name for name, value in losses.items() if not math.isfinite(value)]
            if broken:
                raise TrainingError(
                    f"expected finite losses, found {broken[0]} = {losses[broken[0]]} at step {self.step}: lower train.rate or train.clip, "
                    "or use precision 32-true; the last saved state is untouched"
                )
            self.fabric.clip_gradients(self.module, optimizer, max_norm=config.clip, error_if_nonfinite=False)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        # Averages follow faster at first: min(decay, (1 + t) / (10 + t)), as in Tan & Le 2019's reference code.
        decay = min(config.ema, (1 + self.step) / (10 + self.step))
        parameters = dict(self.system.named_parameters())
        torch._foreach_lerp_(list(self.average.values()), [parameters[n].detach() for n in self.average], 1 - decay)
        self.step += 1
        return losses

    def score(self) -> dict[str, float]:
        """Score the averaged weights on the validation songs: per metric the mean over songs; "mean" is that of the four stems."""
        kept = {name: t.clone() for name, t in self.system.state_dict().items()}
        self.system.load_state_dict(self.averaged())
        self.system.eval()
        rows: dict[str, list[float]] = {}
        for number, song in enumerate(self.draws.validation()):
            if number == self.config.score_songs:
                break
            for name, value in self.system.score(song).items():
                rows.setdefault(name, []).append(value)
        self.system.load_state_dict(kept)
        self.system.train()
        scores = {name: statistics.fmean(values) for name, values in sorted(rows.items())}
        whole = [value for name, value in scores.items() if not name.startswith("two_stems.")]
        return scores | ({"mean": statistics.fmean(whole)} if whole else {})

    def fit(self, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, float]:
        """Train to the last step, resuming where the run folder stands; return the last scores.

        `progress` is called with {"step", "steps", "loss", "seconds_a_step"} after each logged step.
        """
        config, scores = self.config, {}
        self.system.train()
        batches, started, first = self._batches(), time.perf_counter(), self.step
        sums: dict[str, float] = {}
        while self.step < config.steps:
            for name, value in self._update(batches).items():
                sums[name] = sums.get(name, 0.0) + value
            if self.step % config.log_every == 0 and self.fabric.is_global_zero:
                pace = (time.perf_counter() - started) / (self.step - first)
                losses = {name: round(value / config.log_every, 6) for name, value in sums.items()}
                rate = learning_rate(config, self.step)
                self.run.log({"step": self.step, "loss": losses, "rate": rate, "seconds_a_step": round(pace, 3)})
                if progress:
                    progress({"step": self.step, "steps": config.steps, "loss": losses, "seconds_a_step": pace})
            if self.step % config.log_every == 0:
                sums = {}
            last = self.step == config.steps
            if (self.step % config.score_every == 0 or last) and self.fabric.is_global_zero:
                scores = self.score()
                self._keep(scores)
            if self.step % config.save_every == 0 or last:
                self.save()
        return scores

    def _keep(self, scores: dict[str, float]) -> None:
        """Log scores, and keep the averaged weights where they are the best so far."""
        self.run.log({"step": self.step, "score": {name: round(value, 4) for name, value in scores.items()}})
        figure = scores.get(self.config.best)
        if figure is not None and (self.best is None or figure > self.best):
            self.best = figure
            config = self.system.config.model_dump()
            checkpoint.save(self.run.checkpoint("best"), self.averaged(), Checkpoint(config["name"], config, self.card(scores)))
        self.run.scores({"step": self.step, "scores": scores, "best": self.best})
        self.run.plot()


def _one_thread(_worker: int) -> None:
    """Keep a loader's worker to one thread: it must not take the trainer's cores."""
    torch.set_num_threads(1)
