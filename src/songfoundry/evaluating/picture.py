"""Evaluate models that make pictures: likeness to held-out images, what was asked for, copies, quality against steps, time and guidance.

Features are those of a classifier that was trained here and is known by its hash; Inception's, made for photographs, say little of digits
and are not used. Rows are compared at equal numbers of pictures, each beside the floor: training images measured in a model's place.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from songfoundry import checkpoint, inventory
from songfoundry.data.image_sets import Images
from songfoundry.data.images import ImageDraws, ImagesConfig, scaled
from songfoundry.diffusion import SAMPLERS
from songfoundry.errors import Cancelled, ConfigError, DatasetError
from songfoundry.evaluating.pages import Table, Tabled
from songfoundry.hardware import pick_device
from songfoundry.metrics.generation import entropy, frechet, kid, nearest, precision_recall
from songfoundry.picturing.maker import PictureMaker
from songfoundry.registry import nearest as nearest_name
from songfoundry.systems.picture_classifier import PictureClassifier

__all__ = ["DEFAULT_JUDGE", "FLOOR", "PictureEvaluation", "evaluate_picture"]

DEFAULT_JUDGE = "mnist-classifier"
"""Name of the classifier that judges where none is named."""
FLOOR = "training images (the floor)"
NEIGHBOURS = 3
"""Of precision and recall."""
_COPIES = 1000
"""Pictures whose nearest training image is looked for, pixel by pixel."""
SPLITS = ("test", "valid")


@dataclass
class PictureEvaluation(Tabled):
    """Hold the evaluation.

    ``pictures``: by row, FLOOR and the models, the figures of `_Bench.row`. ``steps``: the same by "model, sampler, steps"; ``guidance``:
    by "model, guidance". ``about``: sentences on what was done. ``judge``: name and hash of the classifier, and its accuracy on the real
    images. ``split``: of the real images that all is held against.
    """

    judge: dict[str, Any]
    about: list[str] = field(default_factory=list)
    pictures: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    guidance: dict[str, dict[str, Any]] = field(default_factory=dict)
    split: str = "test"

    def tables(self) -> list[Table]:
        """List the tables."""
        from songfoundry.evaluating.picture_tables import tables

        return tables(self)


def evaluate_picture(
    models: Sequence[str | os.PathLike | PictureMaker] = (), *, data: str | os.PathLike = "images",
    judge: str | os.PathLike = DEFAULT_JUDGE, split: str = "test", count: int = 10_000, few: int = 1000,
    samplers: Sequence[str] = tuple(SAMPLERS), steps: Sequence[int] = (5, 10, 20, 50), longest: int | None = None,
    guidance: Sequence[float] = (1.0, 1.5, 2.0), seed: int = 0, device: str = "auto", threads: int | None = None,
    progress: Callable[[str, float], bool | None] | None = None,
) -> PictureEvaluation:  # fmt: skip
    """Let models make pictures, and measure them beside real ones that they were not trained on.

    Parameters
    ----------
    models : names, paths or `PictureMaker`. data : a set of pictures (see `ImagesConfig.path`), or "made". judge : name or path of the
        classifier. split : of the real images: "test", or "valid" to choose something by. count : pictures of each model, at most as many
        as there are real ones.
    few : pictures of each row of steps or guidance, likewise; 0 for no such rows. samplers, steps : of the rows of steps, and `longest`,
        the number that the sampler "ddpm" alone is also asked for: None for all of the model's, 0 for none. guidance : of rows that are
        otherwise asked for as the main ones are, of models that are told a class. seed : draws the noise.
    progress : called with what is done and the fraction of it all; returns False to stop.

    Raises
    ------
    ConfigError : a model or number that does not fit. DatasetError : pictures that are not there. CheckpointError : a damaged file.
    """
    least = NEIGHBOURS + 2
    if count < least or few and few < least:
        raise ConfigError(f"expected a count of {least} or more pictures, found {min(count, few)}: choose another number")
    if split not in SPLITS:
        raise ConfigError(f"expected the split {' or '.join(SPLITS)}, found {split!r}: {nearest_name(split, list(SPLITS))}")
    for name in samplers:
        if name not in SAMPLERS:
            raise ConfigError(f"expected the name of a sampler, found {name!r}: {nearest_name(name, list(SAMPLERS))}")
    if longest is not None and longest < 0:
        raise ConfigError(f"expected 0 or more steps for --longest, found {longest}: 0 asks for no such row")

    def report(what: str, fraction: float) -> None:
        if progress and progress(what, min(fraction, 1.0)) is False:
            raise Cancelled("The evaluation was stopped; nothing was written.")

    classifier, known = load_judge(judge, device)
    makers = [model if isinstance(model, PictureMaker) else PictureMaker(model, device, threads) for model in models]
    for maker in makers:
        if maker.shape != classifier.shape:
            raise ConfigError(
                f"expected pictures of the judge's {classifier.shape}, found {maker.shape} of {maker.name}: train a judge for them"
            )
    names = _names(makers)
    plans = [_Plan(maker, maker.asked(), count, "pictures", name) for maker, name in zip(makers, names, strict=True)]
    for maker, name in zip(makers, names, strict=True):
        if maker.kind == "ddpm" and few:
            plans += _plans(maker, name, few, samplers, steps, longest, guidance)
    report("looking at real pictures", 0.0)
    bench = _Bench(_draws(data, classifier, split), classifier, split)
    known["accuracy"] = bench.accuracy
    count, few = min(count, len(bench.real)), min(few, len(bench.real))
    found = PictureEvaluation(known, _about(bench, data, known, count, few, seed, makers), split=split)
    found.pictures[FLOOR] = bench.floor(count)
    sizes = [min(plan.count, len(bench.real)) for plan in plans]
    work = [size * _evaluations(plan.asked) for plan, size in zip(plans, sizes, strict=True)]
    for number, (plan, size) in enumerate(zip(plans, sizes, strict=True)):
        done, own = sum(work[:number]) / sum(work), work[number] / sum(work)
        tell = partial(_tell, report, plan.name, done, own)
        getattr(found, plan.table)[plan.name] = bench.row(plan.maker, plan.asked, size, seed, tell, copies=plan.table == "pictures")
    report("done", 1.0)
    return found


class _Plan(NamedTuple):
    """Hold a row that will be made: of which model, asked how, of how many pictures, for which table, by what name."""

    maker: PictureMaker
    asked: dict[str, Any]
    count: int
    table: str
    name: str


def _plans(
    maker: PictureMaker, name: str, few: int, samplers: Sequence[str], steps: Sequence[int], longest: int | None, guidance: Sequence[float]
) -> list[_Plan]:
    """List the rows of steps and of guidance of a diffusion model; raises `ConfigError` for what it cannot be asked for."""
    most = maker.system.config.steps
    for number in [*steps, longest or 1]:
        if not 1 <= number <= most:
            raise ConfigError(f"expected 1 to {most} steps, which {name} has, found {number}: change --steps or --longest")
    longest = most if longest is None else longest
    asked = dict.fromkeys((sampler, number) for sampler in samplers for number in steps)
    if longest and "ddpm" in samplers:
        asked["ddpm", longest] = None
    plans = [_Plan(maker, maker.asked(*both), few, "steps", f"{name}, {both[0]}, {both[1]}") for both in asked]
    if maker.conditional:
        plans += [_Plan(maker, maker.asked(guidance=weight), few, "guidance", f"{name}, {weight:g}") for weight in guidance]
    return plans


def _tell(report: Callable[[str, float], None], name: str, done: float, own: float, part: float) -> None:
    """Report how much of all work is done when a row is done in part."""
    report(name, done + own * part)


def load_judge(name: str | os.PathLike, device: str = "auto") -> tuple[PictureClassifier, dict[str, Any]]:
    """Load the classifier, and say which it is: name, and the first 16 digits of the SHA-256 of its weights.

    Raises
    ------
    ConfigError : no such model, or one that does not judge pictures. CheckpointError : a damaged file.
    """
    if name == DEFAULT_JUDGE and name not in checkpoint.shipped((inventory.local_models(),)):
        raise ConfigError(
            f"expected the model {DEFAULT_JUDGE!r}, found none installed: train one (songfoundry train recipes/mnist-classifier.toml) and "
            "name its file with --judge PATH"
        )
    path = inventory.find_model(name, "picture_classifier")
    system = checkpoint.load(path)
    if not isinstance(system, PictureClassifier):
        raise ConfigError(f"expected a model that judges pictures, found a {system.checkpoint.system} model in {path}: name another")
    # Of the weights, not of the file: a card that tells what was measured does not make another judge.
    digest = hashlib.sha256()
    for key, tensor in sorted(system.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)}".encode() + tensor.float().numpy().tobytes())
    return system.to(pick_device(device)), {"name": _file_name(path), "hash": digest.hexdigest()[:16]}


def _file_name(path: Path) -> str:
    """Name a model by its file, or by its run folder: in those all are called alike."""
    return path.absolute().parent.parent.name if path.stem in ("model", "best", "last") else path.stem


def _names(makers: Sequence[PictureMaker]) -> list[str]:
    """Name models by their files, those of one name apart."""
    found: list[str] = []
    for number, maker in enumerate(makers, 1):
        about = getattr(maker.system, "checkpoint", None)
        name = _file_name(about.path) if about is not None else maker.name
        found.append(name if name not in found else f"{name} {number}")
    return found


def _draws(data: str | os.PathLike, classifier: PictureClassifier, split: str) -> ImageDraws:
    channels, size, _ = classifier.shape
    kind = "made" if os.fspath(data) == "made" else "auto"
    draws = ImageDraws(ImagesConfig(path=os.fspath(data), kind=kind, size=size, channels=channels))
    if list(draws.classes) != classifier.classes:
        raise ConfigError(
            f"expected pictures of the judge's classes ({', '.join(classifier.classes)}), found {', '.join(draws.classes)} in {data}: "
            "name another judge"
        )
    if len(draws.held_out(split)) < NEIGHBOURS + 2:
        raise DatasetError(f"expected pictures of split {split!r} in {data}, found {len(draws.held_out(split))}: take a larger set")
    return draws


class _Bench:
    """Hold real pictures as they are seen, and measure rows beside them."""

    def __init__(self, draws: ImageDraws, classifier: PictureClassifier, split: str):
        self.classifier, self.split = classifier, split
        self.real, self.train = draws.held_out(split), draws.held_out("train")
        # In no order of classes or of who wrote them, the same for every count.
        self.real = self.real.part(np.random.default_rng(0).permutation(len(self.real)))
        self._chosen = np.random.default_rng(1).permutation(len(self.train))
        probabilities, self._seen = self._judge(self.real.pixels)
        self.accuracy = float((probabilities.argmax(1) == self.real.labels).mean())
        self._floors: dict[int, dict[str, Any]] = {}

    def _judge(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See pictures, uint8: probabilities (n, classes), features (n, d)."""
        found = self.classifier.judged(torch.from_numpy(scaled(pixels)))
        return tuple(part.cpu().double().numpy() for part in found)

    def floor(self, count: int) -> dict[str, Any]:
        """Measure training images as if a model had made them."""
        if count not in self._floors:
            taken = self.train.part(self._chosen[:count])
            self._floors[count] = self._measured(taken.pixels, taken.labels, copies=False)
        return self._floors[count]

    def row(
        self, maker: PictureMaker, asked: dict, count: int, seed: int, progress: Callable[[float], None], copies: bool
    ) -> dict[str, Any]:
        """Measure what a model makes, asked for the classes of the real images: not all are as common, and more of one are a distance.

        Returns
        -------
        figures : "n"; "frechet", "kid", "precision", "recall" against as many real images, "floor" the first of training images;
            "accuracy", the share that the judge takes for what was asked (None where nothing can be asked); "entropy" in nats of all
            classes that it sees; "memorised", how near training images are, beside how near they are to real ones, of "copies" pictures,
            where `copies` says so;
            "seconds" of one core (of the device, elapsed) for a picture; "evaluations" of the net for each; how it was asked.
        """
        wanted = [self.classifier.classes[label] for label in self.real.labels[:count]] if maker.conditional else None
        began, begun = time.process_time(), time.perf_counter()
        pixels, _ = maker.pictures(count, wanted, seed=seed, progress=progress, **asked)
        seconds = time.process_time() - began if maker.device.type == "cpu" else time.perf_counter() - begun
        labels = maker.labels(count, wanted) if maker.conditional else None
        floor = self.floor(count)["frechet"]
        measured = self._measured(pixels, labels, copies)
        return {**measured, "floor": floor, "seconds": seconds / count, "evaluations": _evaluations(asked), **asked}

    def _measured(self, pixels: np.ndarray, labels: np.ndarray | None, copies: bool) -> dict[str, Any]:
        probabilities, features = self._judge(pixels)
        count = len(pixels)
        real = self._seen[:count]
        both = precision_recall(real, features, NEIGHBOURS)
        return {
            "n": count, "frechet": frechet(real, features), "kid": kid(real, features), "precision": both.precision,
            "recall": both.recall, "accuracy": None if labels is None else float((probabilities.argmax(1) == labels).mean()),
            "entropy": entropy(probabilities), **(self._copied(pixels) if copies else {}),
        }  # fmt: skip

    def _copied(self, pixels: np.ndarray) -> dict[str, Any]:
        """Look for the nearest training image of each picture, and of as many real ones."""
        made, real, train = (_flat(images) for images in (pixels[:_COPIES], self.real.pixels[:_COPIES], self.train.pixels))
        return {"memorised": nearest(made, train, real).ratio, "copies": len(made)}


def _flat(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(len(pixels), -1).astype(np.float32) / 255


def _evaluations(asked: dict) -> int:
    """Count how often the net is asked for a picture."""
    if not asked:
        return 1
    guesses = 2 * asked["steps"] - 1 if asked["sampler"] == "heun" else asked["steps"]
    return guesses * (1 if asked["guidance"] in (0, 1) else 2)


def _about(bench: _Bench, data, known: dict[str, Any], count: int, few: int, seed: int, makers: Sequence[PictureMaker]) -> list[str]:
    """Say what was done."""
    real: Images = bench.real
    asked = [f"{name}: {', '.join(f'{key} {value}' for key, value in maker.asked().items())}"
             for name, maker in zip(_names(makers), makers, strict=True) if maker.kind == "ddpm"]  # fmt: skip
    return [
        f"Pictures: {data}, {len(real)} of split {bench.split}, {len(bench.train)} of split train. Judge: {known['name']}, SHA-256 of its "
        f"weights {known['hash']}..., right about {100 * known['accuracy']:.2f} % of the {bench.split} images; the distances are of its "
        "features.",
        f"Each row (seed {seed}) is held against as many {bench.split} images as it has pictures, asked for their classes: {count}"
        + (f", {few} for the rows of steps and guidance" if few else "") + ". Of Fréchet and kernel distance lower is better, 0 is the "
        "same distribution. The floor is training images in a model's place.",
        *([f"How models are asked where a row does not say: {'; '.join(asked)}."] if asked else []),
    ]  # fmt: skip
