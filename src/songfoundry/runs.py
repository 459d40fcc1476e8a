"""Keep a training's run folder: recipe, environment, log, scores, checkpoints, results, report page.

::

    recipe.toml environment.json log.jsonl scores.json
    checkpoints/{last,best,model}.safetensors   results/*.png|wav|mid   report.html
"""

import base64
import html
import io as memory
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from songfoundry import __version__, config, registry
from songfoundry.audio import io
from songfoundry.config import Recipe, read_toml, to_toml
from songfoundry.errors import ConfigError, OutputError, TrainingError
from songfoundry.systems import Artifact

_MEDIA = {".png": "image/png", ".wav": "audio/wav"}


class Run:
    """Write everything that a training leaves behind, and find it again on resuming.

    Parameters
    ----------
    folder : made where it is not there.
    recipe : kept in the folder whole, with the defaults of its tables filled in.
    writes : False in the processes of a training that only compute; they make no file.

    Raises
    ------
    TrainingError : the folder holds a run of another recipe, or another process trains in it.
    OutputError : the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike, recipe: Recipe, writes: bool = True):
        self.folder, self.writes = Path(folder), writes
        self.recipe = complete(recipe)
        kept = self.folder / "recipe.toml"
        if kept.exists():
            self._refuse_another_recipe(config.parse(Recipe, read_toml(kept), str(kept)))
        if not writes:
            return
        try:
            (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            (self.folder / "results").mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"expected a run folder at {folder}, found that it cannot be made ({error.strerror}): choose another"
            ) from None
        self._keep_others_out()
        self._write("recipe.toml", to_toml(self.recipe.model_dump()))
        self._write("environment.json", json.dumps(environment(), indent=1))

    def _refuse_another_recipe(self, kept: Recipe) -> None:
        """Let a run go on longer or in other words, never with another system or other data."""
        before, now = _plain(complete(kept)), _plain(self.recipe)
        for table in ("seed", "system", "data"):
            if before[table] == now[table]:
                continue
            what = f"seed = {now['seed']} in place of {before['seed']}"
            if table != "seed":
                keys = [key for key in now[table] if now[table][key] != before[table].get(key)]
                what = f"another {', '.join(f'{table}.{key}' for key in keys or ['name'])}"
            raise TrainingError(
                f"expected the recipe that the run {self.folder} was started with, found {what}: choose another run folder"
            )

    def _keep_others_out(self) -> None:
        """Lock the folder until this process ends, however it ends; where there are no such locks, nobody is kept out."""
        try:
            import fcntl

            # Not closed before the process ends, for closing opens the lock.
            self._lock = open(self.folder / ".lock", "a")
            # This kind of lock is not handed on to the loader's processes, which may outlive a killed training a little.
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise TrainingError(
                f"expected no other training in {self.folder}, found one that is running: let it end, or choose another run folder"
            ) from None
        except (ImportError, OSError):
            pass

    def _write(self, name: str, content: str | bytes) -> None:
        """Write a file of the folder, aside first."""
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        io.write_atomic_bytes(self.folder / name, data)

    def checkpoint(self, name: str) -> Path:
        """Name the file of a checkpoint: "last" (training state), "best" or "model"."""
        return self.folder / "checkpoints" / f"{name}.safetensors"

    def log(self, row: dict[str, Any]) -> None:
        """Add a row to log.jsonl, with the time.

        Raises
        ------
        OutputError : it cannot be written, as on a full disk.
        """
        path = self.folder / "log.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps({**row, "time": round(time.time(), 1)}) + "\n")
        except OSError as error:
            raise OutputError(f"expected to write {path}, found: {error.strerror}; free space, then go on by the same command") from None

    def rows(self) -> list[dict[str, Any]]:
        """Read the log; half a line, which a kill left, is passed over."""
        path = self.folder / "log.jsonl"
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def cut(self, last_step: int) -> None:
        """Cut rows of later steps, from before a kill, off the log, and half a line with them."""
        if not self.writes or not (self.folder / "log.jsonl").exists():
            return
        rows = [row for row in self.rows() if row.get("step", 0) <= last_step]
        self._write("log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def scores(self, scores: dict[str, Any]) -> None:
        """Keep the newest and the best scores in scores.json."""
        self._write("scores.json", json.dumps(scores, indent=1))

    def artifacts(self, artifacts: Iterable[Artifact]) -> None:
        """Write what a system shows of its work to results/, over what it showed before."""
        for artifact in artifacts:
            name = f"results/{artifact.name}.{artifact.kind}"
            (self.folder / name).parent.mkdir(exist_ok=True)
            if isinstance(artifact.content, bytes):
                self._write(name, artifact.content)
            else:
                io.write(self.folder / name, artifact.content.samples, artifact.content.rate, depth="int16")

    def plot(self, curves: Callable[[list[dict[str, Any]]], Iterable[Artifact]] | None = None) -> None:
        """Draw the curves of losses and scores to results/, where matplotlib is installed, and write the report page.

        `curves` makes of the log's rows what a system shows of them besides.
        """
        rows = self.rows()
        if curves is not None:
            self.artifacts(curves(rows))
        try:
            from matplotlib.figure import Figure
        except ImportError:
            Figure = None
        for name, kind in (("losses", "loss"), ("scores", "score"), ("game", "game")):
            keys = sorted({key for row in rows for key in row.get(kind, {})})
            if Figure is None or not keys:
                continue
            figure = Figure(figsize=(8, 4.5), layout="constrained")
            axes = figure.add_subplot()
            for key in keys:
                points = [(row["step"], row[kind][key]) for row in rows if key in row.get(kind, {})]
                axes.plot(*zip(*points, strict=True), label=key, linewidth=1)
            unit = "SDR, dB" if any(key.endswith(".sdr") for key in keys) else kind
            axes.set(xlabel="step", ylabel=unit, title=f"{self.recipe.name}: {name}")
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
            picture = memory.BytesIO()
            figure.savefig(picture, dpi=110, format="png")
            self._write(f"results/{name}.png", picture.getvalue())
        self._report(rows)

    def _report(self, rows: list[dict]) -> None:
        """Write report.html: one file that needs no other, curves, previews and sounds within it."""
        last = next((row for row in reversed(rows) if "score" in row), {})
        cells = "".join(f"<tr><td>{html.escape(k)}<td>{v:.2f}" for k, v in last.get("score", {}).items())
        parts = []
        for file in sorted((self.folder / "results").iterdir()):
            if file.suffix not in _MEDIA or file.name.startswith("."):
                continue
            source = f"data:{_MEDIA[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode()}"
            name = html.escape(file.stem)
            parts.append(f'<p><img src="{source}" alt="{name}">' if file.suffix == ".png" else
                         f'<p>{name}<br><audio controls src="{source}"></audio>')  # fmt: skip
        self._write(
            "report.html",
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(self.recipe.name)}</title>'
            "<style>body{font:16px sans-serif;max-width:60rem;margin:2rem auto}img{max-width:100%}td{padding:0 1rem 0 0}</style>"
            f"<h1>{html.escape(self.recipe.name)}</h1><p>{html.escape(self.recipe.about)}"
            f"<h2>Validation scores at step {last.get('step', 0)}</h2><table>{cells}</table>{''.join(parts)}"
            f"<h2>Recipe</h2><pre>{html.escape(to_toml(self.recipe.model_dump()))}</pre></html>",
        )


def complete(recipe: Recipe) -> Recipe:
    """Fill in the defaults of a recipe's tables [system] and [data].

    Raises
    ------
    ConfigError : a table names no system or draws that are known, or a key is wrong.
    """
    return recipe.model_copy(update={table: _plain(configured(recipe, table)) for table in ("system", "data")})


def configured(recipe: Recipe, table: str) -> config.Config:
    """Check a recipe's table, "system" or "data", by the model of what it names; raises `ConfigError` as `complete` does."""
    kind, values = {"system": "systems", "data": "data"}[table], getattr(recipe, table)
    if "name" not in values:
        raise ConfigError(f"expected a name in the recipe's table [{table}], found none: "
                          f"write name = one of {', '.join(registry.names(kind))}")  # fmt: skip
    return config.parse(registry.get(kind, values["name"]).Config, values, f"[{table}]")


def _plain(values: config.Config) -> dict[str, Any]:
    """Turn a config into plain values as TOML gives them back: lists, and no key whose value is None."""

    def without_none(value):
        if isinstance(value, dict):
            return {k: without_none(v) for k, v in value.items() if v is not None}
        return [without_none(v) for v in value] if isinstance(value, list | tuple) else value

    return without_none(values.model_dump())


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
        "commit": commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "packages": packages,
    }


def commit() -> str | None:
    """Name the commit of the checkout that this package runs from, with a + where files are changed; None elsewhere."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()
