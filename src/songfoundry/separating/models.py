"""Find the models that separate, and know their names and stems before their weights are read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from songfoundry import checkpoint, inventory
from songfoundry.config import parse
from songfoundry.errors import ConfigError
from songfoundry.hardware import pick_device
from songfoundry.registry import nearest
from songfoundry.systems.separate import Separate, SeparateConfig

__all__ = ["PRECISIONS", "Outline", "check_fit", "check_options", "find", "load", "outline"]

PRECISIONS = ("float32", "bfloat16")
"""What the net computes in; the transforms around it are always float32."""


@dataclass(frozen=True)
class Outline:
    """Hold what the files of a `Separator` are named after: the model's name, and its stems in their order."""

    name: str
    stems: list[str]


def outline(
    model: str | os.PathLike | Separate, device: str = "auto", threads: int | None = None, overlap: float = 0.25,
    chunk_seconds: float | None = None, shifts: int = 0, precision: str | None = None,
) -> Outline:  # fmt: skip
    """Check what a `Separator` would be built of, and tell its name and stems by the headers of the files alone.

    Raises
    ------
    ConfigError, CheckpointError : as `Separator` does, but for damage of the weights themselves.
    """
    check_options(device, threads, overlap, chunk_seconds, shifts, precision)
    if isinstance(model, Separate):
        return Outline(model.config.net, model.stems)
    paths = find(model)
    names, configs = [path.stem for path in paths], [_config(path) for path in paths]
    check_fit(names, configs)
    return Outline("+".join(names), configs[0].stems)


def check_options(
    device: str, threads: int | None, overlap: float, chunk_seconds: float | None, shifts: int, precision: str | None
) -> torch.device:
    """Check the options of a `Separator` and pick the device; raises `ConfigError`."""
    _in_range("overlap", overlap, 0, 0.9)
    _in_range("shifts", shifts, 0, 16)
    if chunk_seconds is not None:
        _in_range("chunk_seconds", chunk_seconds, 0.1, 600)
    if threads is not None:
        _in_range("threads", threads, 1, 1024)
    if precision is not None and precision not in PRECISIONS:
        raise ConfigError(f"expected a precision, found {precision!r}: {nearest(precision, list(PRECISIONS))}")
    return pick_device(device)


def find(model: str | os.PathLike) -> list[Path]:
    """Find the files of a model or of several joined by `+`; a file of that very name is one. Raises `ConfigError`."""
    model = os.fspath(model)
    return [inventory.find_model(part, "separate") for part in ([model] if os.path.isfile(model) else model.split("+"))]


def load(path: Path) -> Separate:
    """Load a checkpoint that separates.

    Raises
    ------
    ConfigError : its model does something else. CheckpointError : as `checkpoint.load`.
    """
    system = checkpoint.load(path)
    if not isinstance(system, Separate):
        raise ConfigError(f"expected a model that separates, found a {system.checkpoint.system} model in {path}: name another")
    return system


def _config(path: Path) -> SeparateConfig:
    """Read the config of a model out of the header; where that is no model that separates, loading says what is wrong."""
    about = checkpoint.read_header(path)
    if about.kind == "model" and about.system == "separate":
        try:
            return parse(SeparateConfig, about.config, str(path))
        except ConfigError:
            pass  # a model of another version: so says `load`
    return load(path).config


def check_fit(names: Sequence[str], configs: Sequence[SeparateConfig]) -> None:
    """Refuse to average models of different stems or rates; raises `ConfigError`."""
    first = configs[0]
    for name, config in zip(names, configs, strict=True):
        if sorted(config.stems) != sorted(first.stems) or config.sample_rate != first.sample_rate:
            raise ConfigError(
                f"expected models of the same stems and rate to average, found {', '.join(first.stems)} at {first.sample_rate} Hz "
                f"in {names[0]} and {', '.join(config.stems)} at {config.sample_rate} Hz in {name}: use one at a time"
            )


def _in_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number out of range, NaN too."""
    if not low <= value <= high:
        raise ConfigError(f"expected {name.replace('_', '-')} from {low:g} to {high:g}, found {value:g}: choose one of those")
