"""Evaluate models that make pictures: likeness to the test images, what was asked for, copies, and quality against steps and time.

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
from typing import Any

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


@dataclass
class PictureEvaluation(Tabled):
    """Hold the evaluation.

    ``pictures``: by row, FLOOR and the models, the figures of `_Bench.row`. ``steps``: the same by "model, sampler, steps".
    ``about``: sentences on what was done. ``judge``: name and hash of the classifier, and its accuracy on the test images.
    """

    judge: dict[str, Any]
    about: list[str] = field(default_factory=list)
    pictures: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    def tables(self) -> list[Table]:
        """List the tables."""
        from songfoundry.evaluating.picture_tables import tables

        return tables(self)


def evaluate_picture(
    models: Sequence[str | os.PathLike | PictureMaker] = (), *, data: str | os.PathLike = "images",
    judge: str | os.PathLike = DEFAULT_JUDGE, count: int = 10_000, few: int = 1000, samplers: Sequence[str] = tuple(SAMPLERS),
    steps: Sequence[int] = (5, 10, 20, 50), longest: int = 1000, seed: int = 0, device: str = "auto", threads: int | None = None,
    progress: Callable[[str, float], bool | None] | None = None,
) -> PictureEvaluation:  # fmt: skip
    """Let models make pictures, and measure them beside the test images.

    Parameters
    ----------
    models : names, paths or `PictureMaker`. data : a set of pictures (see `ImagesConfig.path`), or "made". judge : name or path of the
        classifier. count : pictures of each model, at most as many as there are test images.
    few : pictures of each row of steps, likewise; 0 for no such rows. samplers, steps : of these rows, and `longest`, the number that the
        sampler "ddpm" alone is also asked for (0 for none). seed : draws the noise.
    progress : called with what is done and the fraction of it all; returns False to stop.

    Raises
    ------
    ConfigError : a model or number that does not fit. DatasetError : pictures that are not there. CheckpointError : a damaged file.
    """
    least = NEIGHBOURS + 2
    if count < least or few and few < least:
        raise ConfigError(f"expected a count of {least} or more pictures, found {min(count, few)}: choose another number")
    for name in samplers:
        if name not in SAMPLERS:
            raise ConfigError(f"expected the name of a sampler, found {name!r}: {nearest_name(name, list(SAMPLERS))}")

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
    report("looking at real pictures", 0.0)
    bench = _Bench(_draws(data, classifier), classifier)
    known["accuracy"] = bench.accuracy
    count, few = min(count, len(bench.test)), min(few, len(bench.test))
    found = PictureEvaluation(known, _about(bench, data, known, count, few, seed))
    found.pictures[FLOOR] = bench.floor(count)
    names = _names(makers)
    plans = [(maker, maker.asked(), count, found.pictures, name) for maker, name in zip(makers, names, strict=True)]
    for maker, name in zip(makers, names, strict=True):
        if maker.kind == "ddpm" and few:
            most = maker.system.config.steps
            asked = [(name, number) for name in samplers for number in steps if number <= most]
            asked += [("ddpm", longest)] if 0 < longest <= most and "ddpm" in samplers else []
            plans += [(maker, maker.asked(sampler, number), few, found.steps, f"{name}, {sampler}, {number}") for sampler, number in asked]
    work = [plan[2] * plan[1].get("steps", 1) for plan in plans]
    for number, (maker, asked, size, into, name) in enumerate(plans):
        done, own = sum(work[:number]) / sum(work), work[number] / sum(work)
        tell = partial(_tell, report, name, done, own)
        into[name] = bench.row(maker, asked, size, seed, tell, copies=into is found.pictures)
    report("done", 1.0)
    return found


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


def _draws(data: str | os.PathLike, classifier: PictureClassifier) -> ImageDraws:
    channels, size, _ = classifier.shape
    kind = "made" if os.fspath(data) == "made" else "auto"
    draws = ImageDraws(ImagesConfig(path=os.fspath(data), kind=kind, size=size, channels=channels))
    if list(draws.classes) != classifier.classes:
        raise ConfigError(
            f"expected pictures of the judge's classes ({', '.join(classifier.classes)}), found {', '.join(draws.classes)} in {data}: "
            "name another judge"
        )
    if len(draws.held_out("test")) < NEIGHBOURS + 2:
        raise DatasetError(f"expected pictures of split 'test' in {data}, found {len(draws.held_out('test'))}: take a larger set")
    return draws


class _Bench:
    """Hold real pictures as they are seen, and measure rows beside them."""

    def __init__(self, draws: ImageDraws, classifier: PictureClassifier):
        self.classifier = classifier
        self.test, self.train = draws.held_out("test"), draws.held_out("train")
        # In no order of classes or of who wrote them, the same for every count.
        self.test = self.test.part(np.random.default_rng(0).permutation(len(self.test)))
        self._chosen = np.random.default_rng(1).permutation(len(self.train))
        probabilities, self._seen = self._judge(self.test.pixels)
        self.accuracy = float((probabilities.argmax(1) == self.test.labels).mean())
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
        """Measure what a model makes, the classes in turn.

        Returns
        -------
        figures : "n"; "frechet", "kid", "precision", "recall" against as many test images, "floor" the first of training images;
            "accuracy", the share that the judge takes for what was asked (None where nothing can be asked); "entropy" in nats of all
            classes that it sees; "memorised", how near training images are, beside how near they are to test images, of "copies" pictures,
            where `copies` says so;
            "seconds" of one core (of the device, elapsed) for a picture; "evaluations" of the net for each; how it was asked.
        """
        began, begun = time.process_time(), time.perf_counter()
        pixels, _ = maker.pictures(count, seed=seed, progress=progress, **asked)
        seconds = time.process_time() - began if maker.device.type == "cpu" else time.perf_counter() - begun
        labels = maker.labels(count) if maker.conditional else None
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
        """Look for the nearest training image of each picture, and of as many test images."""
        made, test, train = (_flat(images) for images in (pixels[:_COPIES], self.test.pixels[:_COPIES], self.train.pixels))
        return {"memorised": nearest(made, train, test).ratio, "copies": len(made)}


def _flat(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(len(pixels), -1).astype(np.float32) / 255


def _evaluations(asked: dict) -> int:
    """Count how often the net is asked for a picture."""
    if not asked:
        return 1
    guesses = 2 * asked["steps"] - 1 if asked["sampler"] == "heun" else asked["steps"]
    return guesses * (1 if asked["guidance"] in (0, 1) else 2)


def _about(bench: _Bench, data, known: dict[str, Any], count: int, few: int, seed: int) -> list[str]:
    """Say what was done."""
    test: Images = bench.test
    return [
        f"Pictures: {data}, {len(test)} of split test, {len(bench.train)} of split train. Judge: {known['name']}, SHA-256 of its weights "
        f"{known['hash']}..., right about {100 * known['accuracy']:.2f} % of the test images; the distances are of its features.",
        f"Each row (seed {seed}) is held against as many test images as it has pictures: {count}"
        + (f", {few} for the rows of steps" if few else "") + ". Of Fréchet and kernel distance lower is better, 0 is the same "
        "distribution. The floor is training images in a model's place.",
    ]  # fmt: skip
