"""Parse and print for `songfoundry demo`."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the song, its true stems and the separated ones.")] = Path("demo"),
    model: Annotated[str | None, typer.Option(help="Name, path or a+b. Default: the default model.")] = None,
    format: Annotated[str, typer.Option(help="wav, flac, mp3, ogg or opus.")] = "wav",
    bitrate: Annotated[int | None, typer.Option(help="kbit/s of mp3, ogg and opus files.")] = None,
) -> None:
    """Compose a song, separate it, and say where the stems are and how good they are."""
    from rich.console import Console
    from rich.progress import Progress

    from songfoundry import demo as work
    from songfoundry import hardware
    from songfoundry.cli.evaluate import print_evaluation
    from songfoundry.metrics.separation import SDR_V4
    from songfoundry.separating.separator import DEFAULT_MODEL

    hardware.keep_memory()
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("separating", total=1.0)
        made = work.run(
            out, model=model or DEFAULT_MODEL, format=format, bitrate=bitrate,
            progress=lambda fraction: bar.update(task, completed=fraction),
        )  # fmt: skip
    print_evaluation(made.scores, (SDR_V4,))
    typer.echo(f"The song that the package composed: {made.song}")
    for stem, path in made.stems.items():
        typer.echo(f"  {stem:<7} {path}   (the true one: {made.truth[stem]})")
    typer.echo("SDR in dB: higher is better; silence is 0 by definition, a quarter of the mixture is what no skill scores.")
    if made.unskilled:
        typer.echo(f"No better than that here: {', '.join(made.unskilled)}.")
    typer.echo("Your own song:  " + _command() + " separate SONG.mp3")


def _command() -> str:
    """Name the program as it can be typed here."""
    import shutil
    import sys

    beside = Path(sys.executable).with_name("songfoundry")
    if shutil.which("songfoundry") or not beside.exists():
        return "songfoundry"
    try:
        return str(beside.relative_to(Path.cwd()))
    except ValueError:
        return str(beside)
