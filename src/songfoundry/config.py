"""Read recipes and options: pydantic models from TOML, with `--set a.b=c` and errors that name the nearest key."""

import difflib
import json
import math
import os
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from songfoundry.errors import ConfigError
from songfoundry.registry import nearest


class Config(BaseModel):
    """Hold typed values; unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Recipe(Config):
    """Hold a complete recipe: what to train (`system`), on what (`data`) and how (`train`).

    The three tables are checked by the models of the system, the draws and the trainer that they name.
    """

    name: str
    about: str = ""
    seed: int = 0
    system: dict[str, Any]
    data: dict[str, Any]
    train: dict[str, Any] = {}


Model = TypeVar("Model", bound=BaseModel)
SHORT = {"epochs": "train.epochs", "batch_size": "train.batch", "learning_rate": "train.rate"}
"""Names that other programs have for keys of a recipe; `recipe` takes them in assignments."""


def parse(model: type[Model], values: dict[str, Any], where: str) -> Model:
    """Build a model from values.

    Raises
    ------
    ConfigError : the first thing that is wrong, where it stands, and the nearest known key for a misspelt one.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = list(_fields_at(model, first["loc"][:-1]))
            raise ConfigError(f"{where}: expected a known key, found {path!r}: {nearest(str(first['loc'][-1]), known)}") from None
        if first["type"] == "missing":
            known = ", ".join(_fields_at(model, first["loc"][:-1]))
            raise ConfigError(f"{where}: expected the key {path!r}, found none: add it, or name a file with the keys {known}") from None
        raise ConfigError(f"{where}: expected {path!r} to be right, found {first['input']!r}: {first['msg'].lower()}") from None


def _fields_at(model: type[BaseModel], path: tuple) -> dict:
    """Follow a path of keys through nested models to the fields that are known there."""
    for key in path:
        if isinstance(key, int) or key not in model.model_fields:
            continue
        annotation = model.model_fields[key].annotation
        for candidate in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return model.model_fields


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """Read a TOML file; raises `ConfigError` where there is none or it is not TOML."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        there = [each.name for each in Path(path).parent.glob("*.toml")] if isinstance(error, FileNotFoundError) else []
        close = difflib.get_close_matches(Path(path).name, there, n=1, cutoff=0.5)
        advice = f"did you mean {Path(path).with_name(close[0])}?" if close else "check the path"
        raise ConfigError(f"expected a TOML recipe at {path}, found none that can be read ({reason}): {advice}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"expected TOML in {path}, found a mistake ({error}): mend that line") from None


def override(values: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Apply assignments of the form `a.b=c` to nested tables, on a copy; c is read as a TOML value, else as text.

    Raises
    ------
    ConfigError : an assignment has no `=` or runs through something that is no table.
    """
    result = json.loads(json.dumps(values))
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"expected KEY.KEY=VALUE after --set, found {assignment!r}: write for example train.steps=100")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        table, *rest = path.strip().split(".")
        keys, place = [table, *rest], result
        for key in keys[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise ConfigError(f"expected a table at {key!r} in --set {assignment!r}, found a value: check the path of keys")
        place[keys[-1]] = value
    return result


def to_toml(values: dict[str, Any], prefix: str = "") -> str:
    """Write nested tables of plain values as TOML; keys whose value is None are left out."""
    plain, tables, arrays = [], [], []
    for key, value in values.items():
        if value is None:
            continue
        key = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)
        if isinstance(value, dict):
            tables.append(f"\n[{prefix}{key}]\n{to_toml(value, f'{prefix}{key}.')}")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            arrays += [f"\n[[{prefix}{key}]]\n{to_toml(item, f'{prefix}{key}.')}" for item in value]
        else:
            plain.append(f"{key} = {_toml_value(value)}\n")
    return "".join(plain + arrays + tables)


def _toml_value(value: Any) -> str:
    """Write a plain value: JSON's strings, numbers, booleans and arrays of those are TOML's too, with two exceptions."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # TOML wants the one control character escaped that JSON lets pass.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def recipe(path: str | os.PathLike, assignments: list[str] | None = None) -> Recipe:
    """Read a recipe from a TOML file and apply `--set` assignments, in which `SHORT` names are known too; raises `ConfigError`."""
    values, spelt = read_toml(path), []
    for assignment in assignments or []:
        key, equals, value = assignment.partition("=")
        key = SHORT.get(key.strip(), key.strip())
        spelt.append(f"{key}{equals}{value}")
        if key == "train.steps" and isinstance(values.get("train"), dict):
            # Who asks for steps does not want the recipe's epochs.
            values["train"].pop("epochs", None)
    return parse(Recipe, override(values, spelt), str(path))
