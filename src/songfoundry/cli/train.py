"""Parse and print for `songfoundry train`."""

import signal
from pathlib import Path
from typing import Annotated

import typer

_USES = {
    "separate": "separate --model {} SONG", "compose": "compose --model {} PROMPT.mid", "note": "note --model {}",
    "note_classifier": "evaluate note --judge {}", "codec": "encode --model {} SONG", "ddpm": "picture --model {}",
    "cdcgan": "picture --model {}", "picture_classifier": "evaluate picture --judge {}",
}  # fmt: skip


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe: a TOML file, see recipes/.")],
    assignments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="More keys to change, as after --set.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; a run that is there goes on. Default: runs/NAME.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change keys of the recipe: --set train.steps=500; --set epochs=20 batch_size=64 learning_rate=1e-3."),
    ] = None,
    start_from: Annotated[Path | None, typer.Option(help="Begin a new run with the weights of this checkpoint.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Take a few steps, say what the whole costs, and stop.")] = False,
    progress: Annotated[str, typer.Option(help="bar, json or none.")] = "bar",
) -> None:
    """Train the system that a recipe describes; stop it (Ctrl-C) or kill it at any time, the same command goes on."""
    from songfoundry import config, hardware, training
    from songfoundry.errors import Cancelled

    line = _Line(progress)
    hardware.keep_memory()
    described = config.recipe(recipe, [*(set_ or []), *(assignments or [])])
    first = training.first_process()
    if plan:
        figures = training.plan(described, out)
        if first:
            typer.echo(_sentence(figures) if progress != "json" else _json(figures))
        return
    folder = training.run_folder(described, out)
    with line if first else _Line("none") as line:
        trainer = training.open_trainer(described, folder, start_from, line.decoding)
        with _Stop() as stop:
            try:
                trainer.fit(line, stop)
            except Cancelled as stopped:
                line.close()
                if not first:
                    return
                typer.echo(stopped, err=True)
                raise typer.Exit(128 + stop.number) from None
    if first:
        path = trainer.run.checkpoint("model")
        usage = _USES.get(described.system["name"])
        typer.echo(f"The averaged weights are in {path}" + (f"; songfoundry {usage.format(path)} uses them." if usage else "."))


def _sentence(figures: dict) -> str:
    """Say in words what `training.plan` measured."""
    import datetime

    seen = next((f"{figures[f'{what}_seen']:,} {what}" for what in ("tokens", "images") if f"{what}_seen" in figures), None)
    seen = seen or f"{figures['hours_seen']:.1f} h of audio"
    until = datetime.datetime.now() + datetime.timedelta(hours=figures["hours"])
    return "\n".join((
        f"parameters: {figures['parameters'] / 1e6:.2f} M",
        f"a step:     {figures['seconds_a_step']:.3g} s, {100 * figures['waiting']:.1f} % of it waiting for examples",
        f"a score:    {figures['seconds_a_score']:.3g} s",
        f"memory:     {figures['memory_gib']:.2f} GiB at the peak",
        f"to the end: {figures['steps']} steps, {figures['hours']:.2f} h: {until:%A %H:%M}; {seen} seen then",
    ))  # fmt: skip


def _json(row: dict) -> str:
    import json

    return json.dumps(row)


class _Stop:
    """Note Ctrl-C and SIGTERM, so that the step in hand is finished and the state saved; a second one ends at once."""

    def __init__(self):
        self.number = 0

    def __enter__(self):
        self.before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame) -> None:
        if self.number:
            raise SystemExit(128 + number)
        self.number = number

    def __call__(self) -> bool:
        return self.number != 0


class _Line:
    """Show how far a training is: a rich line with the time that is left, JSON lines, or nothing; on standard error."""

    def __init__(self, form: str):
        from songfoundry.errors import ConfigError

        if form not in ("bar", "json", "none"):
            raise ConfigError(f"expected bar, json or none for --progress, found {form!r}: choose one of them")
        self.form, self.bar, self.task = form, None, None

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Leave the line as it is; a second call does nothing."""
        if self.bar:
            self.bar.stop()

    def decoding(self, fraction: float) -> None:
        """Show the fraction of the songs that are decoded."""
        if self.form == "json":
            typer.echo(_json({"decoded": round(fraction, 3)}), err=True)
        self._show("opening songs", fraction, 1, f"{100 * fraction:.0f} %")

    def __call__(self, row: dict) -> None:
        """Show a row of `Trainer.fit`."""
        if self.form == "json":
            typer.echo(_json(row), err=True)
        losses = "  ".join(f"{name} {value:.4f}" for name, value in row["loss"].items())
        text = f"{losses}  {row['seconds_a_step']:.3g} s a step, {_duration(row['seconds_left'])} left"
        self._show(f"step {row['step']}/{row['steps']}", row["step"], row["steps"], text)

    def _show(self, what: str, done: float, total: float, text: str) -> None:
        """Draw the line, which begins with the first thing to show."""
        if self.form != "bar":
            return
        if self.bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self.bar = Progress(*columns, console=Console(stderr=True))
            self.bar.start()
            self.task = self.bar.add_task(what, text=text)
        self.bar.update(self.task, description=what, completed=done, total=total, text=text)


def _duration(seconds: float) -> str:
    """Write seconds as 2 d 03 h, 4 h 05 min, 6 min 07 s."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24:02d} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s"
