"""Show how far a command is, and stop it in good order; for every command that works through files."""

import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import typer


class _Signals:
    """Hold what a signal asked for."""

    def __init__(self):
        self.event, self.number = threading.Event(), signal.SIGINT

    def __call__(self, number: int, _frame) -> None:
        """Ask the work to stop after its chunk; the second time, stop at once."""
        self.number = number
        if self.event.is_set():
            raise SystemExit(128 + number)
        self.event.set()


def tell_licences(*models: Path) -> None:
    """Say on standard error under which licence the weights are that were used, by their files."""
    from songfoundry import checkpoint

    for path in models:
        typer.echo(f"Licence of the weights of {path.stem}: {checkpoint.read_header(path).card.get('licence', 'not stated')}", err=True)


@contextmanager
def stopping():
    """Turn Ctrl-C and SIGTERM into an event: an exception could be lost in a codec's callback."""
    signals = _Signals()
    before = {number: signal.signal(number, signals) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Bar:
    """Show how far the songs are: a rich line, JSON lines, or nothing."""

    def __init__(self, form: str):
        from songfoundry.errors import ConfigError

        if form not in ("bar", "json", "none"):
            raise ConfigError(f"expected bar, json or none for --progress, found {form!r}: choose one of them")
        self.form, self.bar, self.task, self.number = form, None, None, 0

    def __enter__(self):
        if self.form == "bar" and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self.bar:
            self.bar.stop()

    def __call__(self, song: str, fraction: float, number: int, count: int, error: str | None = None) -> None:
        """Take news of a song; `error` is the sentence that says why it failed."""
        if self.form == "json":
            import json

            row = {"file": song, "number": number, "count": count}
            row |= {"fraction": round(fraction, 4)} if error is None else {"error": error}
            typer.echo(json.dumps(row, ensure_ascii=False), err=True)
        elif self.bar:
            from rich.markup import escape

            text = escape(song if count == 1 else f"{song} ({number} of {count})")
            if self.number != number:
                if self.task is not None:
                    self.bar.remove_task(self.task)  # a line for each of a thousand songs would push the present one off the screen
                self.task, self.number = self.bar.add_task(text, total=1.0), number
            self.bar.update(self.task, completed=fraction)
