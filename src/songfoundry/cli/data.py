"""Parse and print for `songfoundry data`."""

from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(help="Look at training data, and make more of it.", no_args_is_help=True)


@data.command()
def check(
    folder: Annotated[str, typer.Argument(help="A folder of songs with stems, or of single notes, in any layout that training reads.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find silent, clipped, duplicate, wrong-rate and badly summing songs, or notes off their pitch; exit code 1 where there are."""
    from functools import partial

    from rich.console import Console
    from rich.progress import Progress

    from songfoundry.data.check import check_songs
    from songfoundry.data.check_notes import check_notes
    from songfoundry.data.note_sets import find_notes, holds_notes
    from songfoundry.data.songs import find_songs
    from songfoundry.errors import DatasetError
    from songfoundry.metrics.pitch import median_cents

    try:
        what, found, check = "songs", find_songs(folder), check_songs
    except DatasetError:
        if not holds_notes(folder):
            raise
        what, found, check = "notes", find_notes(folder)[1], partial(check_notes, cents=median_cents)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("listening", total=1.0)
        findings = check(found, progress=lambda fraction, _: bar.update(task, completed=fraction))
    if json:
        import dataclasses
        import json as json_module

        typer.echo(json_module.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            typer.echo(f"{finding.song}: {finding.sentence}")
        typer.echo(f"{len(found)} {what}, {len(findings)} findings")
    raise typer.Exit(1 if findings else 0)


@data.command(name="list")
def list_songs(
    folder: Annotated[str, typer.Argument(help="A folder of songs with stems, or a TOML list of songs.")],
) -> None:
    """List the songs of a folder: name, split, licence, stems."""
    from songfoundry.evaluating.separation import songs_of

    for song, _ in songs_of(folder):
        typer.echo(f"{song.name}  [{song.split}; {song.licence}]  {', '.join(song.stems)}")


@data.command()
def bands(
    midi: Annotated[Path, typer.Argument(help="A zip or folder of General MIDI files with an index, or plain .mid files.")],
    out: Annotated[Path, typer.Option(help="Folder for the rendered songs.")],
    count: Annotated[int | None, typer.Option(help="How many songs; default: every file once.")] = None,
    soundfont: Annotated[Path | None, typer.Option(help="A General MIDI SoundFont; default: one of the system's.")] = None,
    drum_kit: Annotated[Path | None, typer.Option(help="A folder of drum hits with an index, used for half of the songs.")] = None,
    groove: Annotated[Path | None, typer.Option(help="A zip or folder of drum performances.")] = None,
    seconds: Annotated[float, typer.Option(help="Longest excerpt of a piece.")] = 80.0,
    seed: Annotated[int, typer.Option(help="Seed of the excerpts, keys, tempi and instruments.")] = 1,
    jobs: Annotated[int, typer.Option(help="Processes that render.", min=1)] = 1,
) -> None:
    """Render MIDI files into songs with drums, bass and other stems, for training; songs that are there are kept."""
    from rich.console import Console
    from rich.progress import Progress

    from songfoundry.data.bands import midi_files, render_bands

    soundfont = soundfont or _system_soundfont()
    count = count if count is not None else len(midi_files(midi))
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("rendering", total=1.0)
        index = render_bands(
            midi, out, soundfont=soundfont, drum_kit=drum_kit, groove=groove, count=count, seconds=seconds, seed=seed, jobs=jobs,
            progress=lambda fraction: bar.update(task, completed=fraction),
        )  # fmt: skip
    for reason in index["skipped"]:
        typer.echo(f"left out: {reason}", err=True)
    typer.echo(f"{len(index['songs'])} songs are in {out}, listed in {out / 'index.json'}; {len(index['skipped'])} were left out.")


def _system_soundfont() -> Path:
    """Find a General MIDI SoundFont where Linux systems keep them, the largest known one first."""
    from songfoundry.errors import DatasetError

    folders = [Path("/usr/share/sounds/sf2"), Path("/usr/share/soundfonts")]
    there = sorted(file for folder in folders for file in folder.glob("*.sf2"))
    known = [file for name in ("FluidR3_GM.sf2", "default-GM.sf2", "TimGM6mb.sf2") for file in there if file.name == name]
    for file in [*known, *there]:
        return file
    raise DatasetError(
        f"expected a General MIDI SoundFont (.sf2) in {' or '.join(map(str, folders))}, found none: "
        "install one (Debian: fluid-soundfont-gm) or name one by --soundfont"
    )


@data.command()
def made(
    out: Annotated[Path, typer.Option(help="Folder for the songs.")],
    count: Annotated[int, typer.Option(help="How many songs.")] = 80,
    seconds: Annotated[float, typer.Option(help="Length of each song.")] = 24.0,
    seed: Annotated[int, typer.Option(help="The first song's seed, 1000 or more; those below are the demo's.")] = 1000,
) -> None:
    """Compose and render songs with all four stems, for training: a formant voice, drums, bass, chords."""
    from songfoundry.data.synthetic import write_songs

    typer.echo(f"The songs are listed in {write_songs(out, count, seed=seed, seconds=seconds)}.")
