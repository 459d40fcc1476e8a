"""The command line: parses and prints, nothing else.

A command is a module of this package that imports only typer at its top (so that `songfoundry --help` stays fast) and a
line in `COMMANDS`. Exit codes: 0 done; 1 some songs of a batch failed, or a check found something; 2 wrong usage, or
nothing could be done, with one sentence on standard error; 130 and 143 stopped by Ctrl-C and by SIGTERM.
"""

import signal
import sys
from importlib import import_module
from typing import Annotated

import typer

from songfoundry import __version__
from songfoundry.errors import SongfoundryError

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = (
    # name, module in this package : what in it is the command (a function) or the group of commands (a Typer)
    ("separate", "separate:separate"),
    ("compose", "compose:compose"),
    ("render", "render:render"),
    ("note", "note:note"),
    ("sing", "sing:sing"),
    ("picture", "picture:picture"),
    ("encode", "encode:encode"),
    ("decode", "decode:decode"),
    ("demo", "demo:demo"),
    ("evaluate", "evaluate:evaluate"),
    ("train", "train:train"),
    ("data", "data:data"),
    ("export", "export:export"),
    ("models", "models:models"),
    ("doctor", "models:doctor"),
)

app = typer.Typer(
    help="Separate songs into stems, offline; train and evaluate the models that do it.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"songfoundry {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Separate songs into stems, offline; train and evaluate the models that do it."""


for _name, _home in COMMANDS:
    _module, _, _attribute = _home.partition(":")
    _command = getattr(import_module(f"songfoundry.cli.{_module}"), _attribute)
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(name=_name)(_command)


def _stop(number: int, _frame) -> None:
    """End the program so that every open file is cleaned up on the way."""
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line; an error that is the user's to mend is one sentence and exit code 2."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        app(prog_name="songfoundry")
    except SongfoundryError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
