"""Show how far a command is, and stop it in good order; for every command that works through files."""

import signal
import sys
import threading
from contextlib import contextmanager

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
        self.form, self.bar, self.task = form, None, None

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

    def __call__(self, song: str, fraction: float, number: int, count: int) -> None:
        """Take news of a song."""
        if self.form == "json":
            import json

            row = {"file": song, "fraction": round(fraction, 4), "number": number, "count": count}
            typer.echo(json.dumps(row, ensure_ascii=False), err=True)
        elif self.bar:
            from rich.markup import escape

            text = escape(song if count == 1 else f"{song} ({number} of {count})")
            if self.task is None or self.bar.tasks[-1].fields["number"] != number:
                self.task = self.bar.add_task(text, total=1.0, number=number)
            self.bar.update(self.task, completed=fraction)
