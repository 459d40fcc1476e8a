"""Parse and print for `songfoundry data`."""

from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(help="Look at training data, and make more of it.", no_args_is_help=True)


@data.command()
def check(
    folder: Annotated[str, typer.Argument(help="A folder of songs with stems, in any layout that training reads.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find silent, clipped, duplicate, wrong-rate and badly summing songs; exit code 1 where something was found."""
    from songfoundry.data.check import check_songs
    from songfoundry.data.songs import find_songs

    songs = find_songs(folder)
    findings = check_songs(songs)
    if json:
        import dataclasses
        import json as json_module

        typer.echo(json_module.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            typer.echo(f"{finding.song}: {finding.sentence}")
        typer.echo(f"{len(songs)} songs, {len(findings)} findings")
    raise typer.Exit(1 if findings else 0)


@data.command(name="list")
def list_songs(
    folder: Annotated[str, typer.Argument(help="A folder of songs with stems, or a TOML list of songs.")],
) -> None:
    """List the songs of a folder: name, split, licence, stems."""
    from songfoundry.evaluation import songs_of

    for song, _ in songs_of(folder):
        typer.echo(f"{song.name}  [{song.split}; {song.licence}]  {', '.join(song.stems)}")


@data.command()
def bands(
    midi: Annotated[Path, typer.Argument(help="A zip or folder of General MIDI files with an index, or plain .mid files.")],
    out: Annotated[Path, typer.Option(help="Folder for the rendered songs.")],
    soundfont: Annotated[Path | None, typer.Option(help="A SoundFont; by default one of the system's.")] = None,
    drum_kit: Annotated[Path | None, typer.Option(help="A folder of drum hits with an index, used for half of the songs.")] = None,
    groove: Annotated[Path | None, typer.Option(help="A zip or folder of drum performances.")] = None,
    count: Annotated[int | None, typer.Option(help="How many songs; default: every file once.")] = None,
    seconds: Annotated[float, typer.Option(help="Longest excerpt of a piece.")] = 80.0,
    seed: Annotated[int, typer.Option(help="Seed of the excerpts, keys, tempi and instruments.")] = 1,
) -> None:
    """Render MIDI files into songs with drums, bass and other stems, for training."""
    from songfoundry.data.bands import render_bands

    index = render_bands(midi, out, soundfont=soundfont, drum_kit=drum_kit, groove=groove, count=count, seconds=seconds, seed=seed)
    typer.echo(f"The songs are in {out}, listed in {index}.")


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
