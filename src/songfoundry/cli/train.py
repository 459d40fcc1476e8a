"""Parse and print for `songfoundry train`."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe: a TOML file, see recipes/.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; a run that is there goes on. Default: runs/NAME.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a key of the recipe: --set train.steps=500.")] = None,
    start_from: Annotated[Path | None, typer.Option(help="Begin a new run with the weights of this checkpoint.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Take a few steps, say what the whole costs, and stop.")] = False,
    progress: Annotated[str, typer.Option(help="bar, json or none.")] = "bar",
) -> None:
    """Train the system that a recipe describes; kill it at any time, the same command goes on."""
    from songfoundry import config, training

    training.keep_memory()
    described = config.recipe(recipe, set_)
    if plan:
        typer.echo("\n".join(f"{name:>16}: {value}" for name, value in training.plan(described).items()))
        return
    with _Line(progress) as line:
        path = training.train(described, out, start_from, line)
    typer.echo(f"The averaged weights are in {path}; songfoundry separate --model {path} SONG uses them.")


class _Line:
    """Show how far a training is: a rich line with the time that is left, JSON lines, or nothing."""

    def __init__(self, form: str):
        from songfoundry.errors import ConfigError

        if form not in ("bar", "json", "none"):
            raise ConfigError(f"expected bar, json or none for --progress, found {form!r}: choose one of them")
        self.form, self.bar, self.task = form, None, None

    def __enter__(self):
        if self.form == "bar":
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), speed_estimate_period=600)
            self.bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self.bar:
            self.bar.stop()

    def __call__(self, row: dict) -> None:
        if self.form == "json":
            import json

            typer.echo(json.dumps(row), err=True)
        elif self.bar:
            losses = "  ".join(f"{name} {value:.4f}" for name, value in row["loss"].items())
            text = f"{losses}  {row['seconds_a_step']:.2f} s a step"
            if self.task is None:
                self.task = self.bar.add_task(text, total=row["steps"])
            self.bar.update(self.task, completed=row["step"], description=text)
