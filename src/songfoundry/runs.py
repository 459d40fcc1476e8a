"""Keep a training's run folder: recipe, environment, log, scores, checkpoints, results, report page.

::

    recipe.toml environment.json log.jsonl scores.json
    checkpoints/{last,best,model}.safetensors   results/*.png   report.html
"""

import html
import json
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from songfoundry import __version__
from songfoundry.config import Recipe, read_toml, to_toml
from songfoundry.errors import OutputError, TrainingError


class Run:
    """Write everything that a training leaves behind, and find it again on resuming.

    Raises
    ------
    TrainingError : the folder holds a run of another recipe.
    OutputError : the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike, recipe: Recipe):
        self.folder = Path(folder)
        self.recipe = recipe
        try:
            (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            (self.folder / "results").mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"expected a run folder at {folder}, found that it cannot be made ({error.strerror}): choose another") from None
        kept = self.folder / "recipe.toml"
        text = to_toml(recipe.model_dump())
        if kept.exists():
            self._refuse_another_recipe(read_toml(kept))
        self._write("recipe.toml", text)
        self._write("environment.json", json.dumps(environment(), indent=1))

    def _refuse_another_recipe(self, kept: dict[str, Any]) -> None:
        """Let a run go on longer or in other words, never with another system or other data."""
        now = json.loads(json.dumps(self.recipe.model_dump()))
        for table in ("system", "data", "seed"):
            if kept.get(table) != _without_none(now[table]):
                raise TrainingError(
                    f"expected the recipe that the run {self.folder} was started with, found another [{table}]: choose another run folder"
                )

    def _write(self, name: str, text: str) -> None:
        aside = self.folder / f".{name}.part"
        try:
            with open(aside, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self.folder / name)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise OutputError(f"expected to write {name} in {self.folder}, found: {error.strerror}; free space or choose another folder") from None

    def checkpoint(self, name: str) -> Path:
        """Name the file of a checkpoint: "last" (training state), "best" or "model"."""
        return self.folder / "checkpoints" / f"{name}.safetensors"

    def log(self, row: dict[str, Any]) -> None:
        """Add a row to log.jsonl."""
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({**row, "time": round(time.time(), 1)}) + "\n")

    def rows(self, last_step: int | None = None) -> list[dict[str, Any]]:
        """Read the log; with `last_step`, rows of later steps (from before a kill) are cut off the file first."""
        path = self.folder / "log.jsonl"
        if not path.exists():
            return []
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                # A kill in mid-write leaves half a line, always the last.
                continue
        if last_step is not None:
            rows = [row for row in rows if row.get("step", 0) <= last_step]
            self._write("log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        return rows

    def scores(self, scores: dict[str, Any]) -> None:
        """Keep the newest and the best scores."""
        self._write("scores.json", json.dumps(scores, indent=1))

    def plot(self) -> None:
        """Draw the curves of losses and scores to results/, where matplotlib is installed, and the report page."""
        rows = self.rows()
        pictures = []
        try:
            from matplotlib.figure import Figure
        except ImportError:
            Figure = None
        for name, kind in (("losses", "loss"), ("scores", "score")):
            keys = sorted({key for row in rows for key in row.get(kind, {})})
            if Figure is None or not keys:
                continue
            figure = Figure(figsize=(8, 4.5), layout="constrained")
            axes = figure.add_subplot()
            for key in keys:
                points = [(row["step"], row[kind][key]) for row in rows if key in row.get(kind, {})]
                axes.plot(*zip(*points, strict=True), label=key, linewidth=1)
            axes.set(xlabel="step", ylabel="SDR, dB" if kind == "score" else "loss", title=f"{self.recipe.name}: {name}")
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
            figure.savefig(self.folder / "results" / f"{name}.png", dpi=110)
            pictures.append(f"results/{name}.png")
        self._report(rows, pictures)

    def _report(self, rows: list[dict], pictures: list[str]) -> None:
        last = next((row for row in reversed(rows) if "score" in row), {})
        cells = "".join(f"<tr><td>{html.escape(k)}<td>{v:.2f}" for k, v in last.get("score", {}).items())
        body = "".join(f'<p><img src="{p}" alt="{p}">' for p in pictures)
        self._write(
            "report.html",
            f"<!doctype html><meta charset=utf-8><title>{html.escape(self.recipe.name)}</title>"
            f"<h1>{html.escape(self.recipe.name)}</h1><p>{html.escape(self.recipe.about)}"
            f"<p>Validation scores at step {last.get('step', 0)}<table>{cells}</table>{body}"
            f"<pre>{html.escape(to_toml(self.recipe.model_dump()))}</pre>",
        )


def _without_none(value):
    """Drop keys whose value is None, as TOML does."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


def environment() -> dict[str, Any]:
    """Describe versions and machine, for a run's environment.json."""
    packages = {}
    for name in ("torch", "numpy", "lightning-fabric", "soundfile", "soxr", "safetensors"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "songfoundry": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "packages": packages,
    }
