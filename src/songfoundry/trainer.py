"""Train any system by one loop, on Lightning Fabric (the only module that imports it).

``for step: for phase, opt: loss -> backward -> clip -> step; EMA; log row; every k: score, preview, save``

Each phase of a system has its own optimiser, rate and schedule. A system may offer `begin_step(step, steps)`, called before its
phases, and `watch()`, called after them: what it saw of the game, for the log.

A resumed training takes the same steps as one that was never killed, bit for bit on one device: examples are pure
functions of their number, random numbers inside a net of the step, and `last.safetensors` holds weights, averages and
optimiser states. With several devices all take the same steps; the first one alone scores and writes while the others wait.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from typing import Any

import torch
from torch import Tensor, nn

from songfoundry import __version__, checkpoint, loading
from songfoundry.averages import Averages
from songfoundry.checkpoint import Checkpoint
from songfoundry.errors import Cancelled, CheckpointError, ConfigError, MissingExtraError, TrainingError
from songfoundry.game import Game
from songfoundry.hardware import training_precision
from songfoundry.registry import nearest
from songfoundry.runs import Run, commit
from songfoundry.schedule import TrainConfig, check_phases, learning_rate, learns


def launch(config: TrainConfig):
    """Start Fabric: choose device and precision, and start the other processes of a training on several devices.

    Raises
    ------
    MissingExtraError : lightning-fabric is not installed.
    ConfigError : this machine has no such device, or not so many.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise MissingExtraError(
            "expected the package lightning-fabric for training, found none: pip install 'songfoundry[train]'"
        ) from None
    devices, nodes = config.devices, config.nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    # In a game each phase leaves the others' parameters without a gradient.
    several = "ddp_find_unused_parameters_true" if len(config.phases) > 1 else "ddp"
    precision = training_precision(config.accelerator) if config.precision == "auto" else config.precision
    try:
        fabric = Fabric(
            accelerator=config.accelerator, devices=devices, num_nodes=nodes, precision=precision,
            strategy=several if devices * nodes > 1 else "auto",
        )  # fmt: skip
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"expected {devices} device(s) of kind {config.accelerator!r}, found: {str(error).rstrip('.')}; "
            "change train.accelerator or train.devices"
        ) from None
    # Fabric rounds what mixed precision is given to 8 bits, waveforms and curves too: draws go in as they are, autocast rounds products.
    fabric.strategy.precision.convert_input = lambda batch: batch
    torch.set_num_threads(config.threads)
    return fabric


class Trainer:
    """Own the optimisers, the averaged weights and the step counter of one training.

    Parameters
    ----------
    system : has `phases()`, `forward(phase, batch)`, `score(song)` and `preview(song)`.
    draws : has `__getitem__(number)`, `validation()`, `describe()` and `seen(examples)`.
    fabric : what `launch` gave; by default it is called here.
    """

    def __init__(self, system: nn.Module, draws, config: TrainConfig, run: Run, fabric=None):
        self.fabric = fabric or launch(config)
        self.config, self.run, self.draws = config, run, draws
        self.system = system.to(self.fabric.device)
        phases = system.phases()
        check_phases(config, list(phases))
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
        self.optimizers = {}
        for phase, parameters in phases.items():
            own = config.of(phase)
            self.optimizers[phase] = kind(parameters, lr=own.rate, betas=own.betas, weight_decay=own.weight_decay)
        self.module, *optimizers = self.fabric.setup(system, *self.optimizers.values())
        self.optimizers = dict(zip(self.optimizers, optimizers, strict=True))
        self.averages = Averages(self.system, config.ema)
        self.step = 0
        # The number of the next example; kept beside the step, so that a resumed run may change its batch.
        self.examples = 0
        self.best: float | None = None
        self._waited = 0.0
        self._game = Game(config.dead_after)

    def state(self) -> dict[str, Tensor]:
        """Collect everything that the next step depends on, as flat tensors."""
        tensors = {f"weights/{name}": t for name, t in self.system.state_dict().items()}
        tensors |= {f"average/{name}": t for name, t in self.averages.tensors.items()}
        # Only 16-mixed has such a state: the scale of its losses.
        tensors |= {f"precision/{key}": torch.tensor(value) for key, value in self.fabric.strategy.precision.state_dict().items()}
        for phase, optimizer in self.optimizers.items():
            for index, values in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{phase}/{index}/{key}": torch.as_tensor(value) for key, value in values.items()}
        return tensors

    def save(self) -> None:
        """Write last.safetensors (the state) and model.safetensors (the averaged weights), in the first process alone."""
        if not self.fabric.is_global_zero:
            return
        card = {"step": self.step, "examples": self.examples, "best": self.best}
        config = self.system.config.model_dump()
        checkpoint.save(self.run.checkpoint("last"), self.state(), Checkpoint(config["name"], config, card, kind="training state"))
        checkpoint.save(self.run.checkpoint("model"), self.averages.whole(), Checkpoint(config["name"], config, self.card()))

    def card(self, scores: dict[str, float] | None = None) -> dict[str, Any]:
        """Say what this model is: data, steps, hours of audio seen, scores, versions, date."""
        return {
            "recipe": self.run.recipe.name,
            "about": self.run.recipe.about,
            "data": self.draws.describe(),
            "steps": self.step,
            **self.draws.seen(self.examples),
            "scores": {"validation": scores} if scores else {},
            "versions": {"songfoundry": __version__, "torch": torch.__version__, "commit": commit()},
            "date": date.today().isoformat(),
        }

    def resume(self) -> bool:
        """Take up the state of the run folder, if there is one; tell whether there was.

        Raises
        ------
        CheckpointError : the state is damaged, or that of another net.
        """
        path = self.run.checkpoint("last")
        if not path.exists():
            self.run.cut(last_step=0)
            return False
        about, tensors = checkpoint.read_header(path), checkpoint.read_tensors(path)
        if about.kind != "training state":
            raise CheckpointError(f"expected a training state in {path}, found a {about.kind}: remove it, or choose another run folder")

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

        try:
            self.step, self.best = about.card["step"], about.card["best"]
            self.examples = about.card.get("examples", self.step * self._a_step())
            self.system.load_state_dict(part("weights/"))
            self.averages.load(part("average/"))
            for phase, optimizer in self.optimizers.items():
                state: dict[int, dict[str, Tensor]] = {}
                for name, tensor in part(f"optimizer/{phase}/").items():
                    index, key = name.split("/")
                    state.setdefault(int(index), {})[key] = tensor
                optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise CheckpointError(
                f"expected the state of the recipe's own net in {path}, found another ({reason}): choose another run folder"
            ) from None
        if scale := part("precision/"):
            self.fabric.strategy.precision.load_state_dict({key: value.item() for key, value in scale.items()})
        self.run.cut(last_step=self.step)
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
            reason = str(error).splitlines()[-1].strip()
            raise CheckpointError(
                f"expected weights of the recipe's own net to start from, found others ({reason}): choose another checkpoint"
            ) from None
        self.averages.restart()

    def _a_step(self) -> int:
        """Count the examples of a step, over all devices."""
        return self.config.batch * self.config.accumulate * self.fabric.world_size

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """Load the batches of all steps to go, this device's share of them."""
        config, fabric = self.config, self.fabric
        return loading.batches(
            self.draws, first=self.examples, count=(config.steps - self.step) * config.accumulate, batch=config.batch,
            workers=config.workers, world=fabric.world_size, rank=fabric.global_rank, device=fabric.device,
        )  # fmt: skip

    def _update(self, batches: Iterator[dict[str, Tensor]]) -> dict[str, float]:
        """Take one step of every phase that learns; return the losses, the mean over all devices.

        Raises
        ------
        TrainingError : a loss or a gradient is not finite; the last saved state is untouched. Or a side of a game is dead.
        """
        config, losses, started = self.config, {}, time.perf_counter()
        parts = [next(batches) for _ in range(config.accumulate)]
        self._waited += time.perf_counter() - started
        # A net that draws random numbers draws those of the step, so that no generator's state need be kept.
        torch.manual_seed((self.run.recipe.seed * 1_000_003 + self.step) * 1009 + self.fabric.global_rank)
        if hasattr(self.system, "begin_step"):
            self.system.begin_step(self.step, config.steps)
        norms = {}
        for phase, optimizer in self.optimizers.items():
            if not learns(config, self.step, phase):
                continue
            # At the beginning of a phase, for the others' losses leave gradients on these parameters too.
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, self.step, phase)
            sums: dict[str, Tensor] = {}
            for index, batch in enumerate(parts):
                with self.fabric.no_backward_sync(self.module, enabled=index + 1 < len(parts)):
                    named = self.module(phase, batch)
                    self.fabric.backward(sum(named.values()) / len(parts))
                for name, value in named.items():
                    sums[name] = sums.get(name, 0) + value.detach().float() / len(parts)
            values = self.fabric.all_reduce(torch.stack(list(sums.values())), reduce_op="mean").tolist()
            losses |= dict(zip(sums, values, strict=True))
            clip = config.of(phase).clip
            norm = norms[phase] = float(self.fabric.clip_gradients(self.module, optimizer, max_norm=clip, error_if_nonfinite=False))
            # In 16-mixed an overflow of gradients is usual: its scaler leaves the step out and lowers the scale.
            broken = {name: value for name, value in losses.items() if not math.isfinite(value)}
            if not broken and config.precision != "16-mixed" and not math.isfinite(norm):
                broken = {"the gradients' norm": norm}
            if broken:
                name, value = next(iter(broken.items()))
                raise TrainingError(
                    f"expected finite losses and gradients, found {name} = {value} at step {self.step}: lower train.rate or "
                    "train.clip, or use train.precision=32-true; the last saved state is untouched"
                )
            optimizer.step()
        if len(self.optimizers) > 1:
            self._game.follow(self.step, norms, self._figures())
        self.averages.follow(self.step)
        self.step += 1
        self.examples += self._a_step()
        return losses

    def _figures(self) -> dict[str, float]:
        """Ask the system what it saw of the game, the mean over all devices."""
        watched = self.system.watch() if hasattr(self.system, "watch") else {}
        if not watched:
            return {}
        values = self.fabric.all_reduce(torch.stack([value.detach().float() for value in watched.values()]), reduce_op="mean")
        return dict(zip(watched, values.tolist(), strict=True))

    def measure(self, steps: int = 3) -> dict[str, float]:
        """Take a step to warm up and some more, and say what each takes; needs `config.steps` of one more than `steps`.

        Returns
        -------
        figures : "seconds_a_step"; "waiting", the share of it that was spent waiting for examples.
        """
        self.system.train()
        with closing(self._batches()) as batches:
            self._update(batches)
            started, self._waited = time.perf_counter(), 0.0
            for _ in range(steps):
                self._update(batches)
            seconds = time.perf_counter() - started
        return {"seconds_a_step": seconds / steps, "waiting": self._waited / seconds}

    def score(self, songs: int | None = None) -> dict[str, float]:
        """Score the averaged weights on the validation songs, the first `songs` of them.

        Returns
        -------
        scores : per metric the mean over songs; "mean", unless the system gives one itself, is the mean of those that are not of
            two-stem songs.
        """
        rows: dict[str, list[float]] = {}
        with self.averages.applied():
            for number, song in enumerate(self.draws.validation()):
                if number == songs:
                    break
                for name, value in self.system.score(song).items():
                    rows.setdefault(name, []).append(value)
        scores = {name: statistics.fmean(values) for name, values in sorted(rows.items())}
        whole = [value for name, value in scores.items() if not name.startswith("two_stems.")]
        return ({"mean": statistics.fmean(whole)} if whole else {}) | scores

    def fit(
        self, progress: Callable[[dict[str, Any]], None] | None = None, stop: Callable[[], bool] = lambda: False
    ) -> dict[str, float]:
        """Train to the last step from where the trainer stands; return the last scores.

        Parameters
        ----------
        progress : called in the first process after each logged step with {"step", "steps", "loss", "seconds_a_step",
            "waiting", "seconds_left"}; a step's seconds are means since the last row, without scoring and saving;
            `waiting` is the share of them spent waiting for examples; what is left counts scoring and saving in.
        stop : asked after each step; where it says True, the state is saved and the training ends.

        Raises
        ------
        Cancelled : `stop` said so.
        TrainingError : a loss is not finite, or a loader's process died.
        OutputError : the run folder cannot be written.
        """
        config, scores = self.config, {}
        self._check_best()
        self.system.train()
        begun, first, last_row = time.perf_counter(), self.step, self.step
        sums: dict[str, float] = {}
        busy = self._waited = 0.0
        with closing(self._batches()) as batches:
            while self.step < config.steps:
                started = time.perf_counter()
                for name, value in self._update(batches).items():
                    sums[name] = sums.get(name, 0.0) + value
                busy += time.perf_counter() - started
                finished, stopped = self.step == config.steps, self._agreed(stop())
                if self.step % config.log_every == 0 or finished:
                    count = self.step - last_row
                    row = {
                        "step": self.step,
                        "loss": {name: round(value / count, 6) for name, value in sums.items()},
                        "seconds_a_step": round(busy / count, 3),
                        "waiting": round(self._waited / busy, 3),
                    }
                    left = (time.perf_counter() - begun) / (self.step - first) * (config.steps - self.step)
                    if self.fabric.is_global_zero:
                        rates = {phase: learning_rate(config, self.step - 1, phase) for phase in self.optimizers if config.phases}
                        several = {"rates": rates} if rates else {}
                        self.run.log({**row, "rate": learning_rate(config, self.step - 1), **several, **self._game.row()})
                        if progress:
                            progress({**row, "steps": config.steps, "seconds_left": round(left)})
                    sums, last_row = {}, self.step
                    busy = self._waited = 0.0
                scoring = self.step % config.score_every == 0 or finished
                saving = self.step % config.save_every == 0 or finished or stopped
                if self.fabric.is_global_zero and hasattr(self.system, "epoch") and hasattr(self.draws, "__len__"):
                    self._show_epoch(finished)
                if scoring and self.fabric.is_global_zero:
                    scores = self.score(config.score_songs)
                    self._keep(scores)
                if saving:
                    self.save()
                if scoring or saving:
                    self.fabric.barrier()
                if stopped and not finished:
                    raise Cancelled(f"The training was stopped and saved at step {self.step}; the same command goes on from there.")
        return scores

    def _show_epoch(self, finished: bool) -> None:
        """Let a system show what an epoch came to that ended with this step."""
        length, a_step = len(self.draws), self._a_step()
        number = -(-self.examples // length) if finished else self.examples // length
        if finished or (number > (self.examples - a_step) // length and number in self.config.show_epochs):
            with self.averages.applied():
                figures, artifacts = self.system.epoch(number, next(iter(self.draws.validation())), self.run.rows(), length / a_step)
            self.run.log({"step": self.step, "epoch": figures})
            self.run.artifacts(artifacts)

    def _agreed(self, stop: bool) -> bool:
        """Tell whether any of the processes was asked to stop: all must end after the same step."""
        if self.fabric.world_size == 1:
            return stop
        return bool(self.fabric.all_reduce(torch.tensor(float(stop)), reduce_op="sum") > 0)

    def _check_best(self) -> None:
        """Refuse a name of a score in `best` that no score has, before the work; the first song tells most of them."""
        best, scores = self.config.best, {}
        for songs in (1, self.config.score_songs) if best != "mean" else ():
            scores = self.score(songs)
            if not scores or best in scores:
                return
        if scores:
            raise ConfigError(f"expected the name of a score in train.best, found {best!r}: {nearest(best, list(scores))}")

    def _keep(self, scores: dict[str, float]) -> None:
        """Log scores and previews, and keep the averaged weights where they are the best so far."""
        if scores:
            self.run.log({"step": self.step, "score": {name: round(value, 4) for name, value in scores.items()}})
            if self.best is None or scores[self.config.best] > self.best:
                self.best = scores[self.config.best]
                config = self.system.config.model_dump()
                about = Checkpoint(config["name"], config, self.card(scores))
                checkpoint.save(self.run.checkpoint("best"), self.averages.whole(), about)
            self.run.scores({"step": self.step, "scores": scores, "best": self.best})
            with self.averages.applied():
                self.run.artifacts(self.system.preview(next(iter(self.draws.validation()))))
        self.run.plot(getattr(self.system, "curves", None))
