"""Parse and print for `songfoundry note`."""

from pathlib import Path
from typing import Annotated

import typer


def note(
    pitch: Annotated[str | None, typer.Option(help="C4, 60, several as C4,E4,G4, or all of A3..A5. Default: C4.")] = None,
    instrument: Annotated[str | None, typer.Option(help="One of the model's. Default: drawn.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same timbres.")] = 0,
    count: Annotated[int | None, typer.Option(help="How many timbres; each plays every pitch. Default: 1.")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds; longer ones are held. Default: as the model makes them.")] = None,
    velocity: Annotated[int | None, typer.Option(help="1 to 127: loudness and brightness. Default: 100.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder; with --midi a folder or a sound file. Default: notes.")] = None,
    format: Annotated[str | None, typer.Option(help="wav, flac, mp3, ogg or opus. Default: wav.")] = None,
    picture: Annotated[
        bool | None, typer.Option("--picture/--no-picture", help="Draw all notes as spectrograms, notes.png. Default: yes.")
    ] = None,
    midi: Annotated[Path | None, typer.Option(metavar="FILE.mid", help="Play this piece instead of single notes.")] = None,
    instrument_per_track: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="With --midi: flute,cello,... for the pitched tracks in their order, or 1=flute,Melody=a.npz; drawn draws one. "
            "Default: those nearest to the tracks' programs.",
        ),
    ] = None,
    interpolate: Annotated[float | None, typer.Option(help="With --midi: every so many seconds on to another instrument.")] = None,
    loudness: Annotated[float | None, typer.Option(help="With --midi: LUFS that the piece is brought to. Default: -16.")] = None,
    rate: Annotated[int | None, typer.Option(help="With --midi: samples a second. Default: 44100.")] = None,
    morph: Annotated[tuple[Path, Path] | None, typer.Option(metavar="A.npz B.npz", help="From the one timbre to the other.")] = None,
    steps: Annotated[int | None, typer.Option(help="In so many notes, with --morph. Default: 9.")] = None,
    save_timbre: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Keep the timbre; of several, numbered.")] = None,
    load_timbre: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Play with this timbre.")] = None,
    like: Annotated[Path | None, typer.Option(metavar="FILE", help="Find the timbre nearest to this recording of a note.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of a model, or a .safetensors. Default: note.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: the cores that are free.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a report as JSON instead of the paths.")] = False,
    progress: Annotated[str, typer.Option(help="bar, json (lines on standard error) or none.")] = "bar",
) -> None:
    """Make notes of a pitch and an instrument from noise; or play a MIDI file with timbres that no one has heard.

    Prints the paths that were written on standard output, and on standard error the pitch that each note was measured to have.
    Exit code: 0 done, 2 nothing could be done, 130 stopped by Ctrl-C (143 by SIGTERM; no unfinished file is left).
    """
    from songfoundry.cli.progress import Bar, stopping, tell_licences
    from songfoundry.errors import Cancelled, ConfigError
    from songfoundry.timbre import verb
    from songfoundry.timbre.generator import DEFAULT_MODEL, NoteGenerator, find

    _check_together(
        {"--midi": midi, "--morph": morph, "--like": like, "--load-timbre": load_timbre},
        {
            "--pitch": (pitch, "--midi"), "--instrument": (instrument, "--midi --morph --load-timbre"),
            "--save-timbre": (save_timbre, "--midi --morph"), "--count": (count, "--midi --morph --like --load-timbre"),
            "--duration": (duration, "--midi"), "--velocity": (velocity, "--midi"), "--picture": (picture, "--midi"),
        },
        {
            "--instrument-per-track": (instrument_per_track, "--midi FILE.mid"), "--interpolate": (interpolate, "--midi FILE.mid"),
            "--loudness": (loudness, "--midi FILE.mid"), "--rate": (rate, "--midi FILE.mid"), "--steps": (steps, "--morph A.npz B.npz"),
        },
    )  # fmt: skip
    if midi is None and out == "-":
        raise ConfigError("expected a folder after --out for notes, found '-', which is for a piece: name a folder, or add --midi FILE.mid")
    with Bar(progress) as bar, stopping() as stop:

        def show(share: float) -> bool:
            bar(str(midi or like or "notes"), share, 1, 1)
            return not stop.event.is_set()

        try:
            generator = NoteGenerator(model or DEFAULT_MODEL, device, threads)
            common = {"model": generator, "progress": show, "cancel": stop.event}
            if midi is not None:
                common |= _given(instruments=instrument_per_track, interpolate=interpolate, rate=rate, loudness=loudness, format=format)
                made = verb.play(midi, out=_place(out, midi, format), seed=seed, **common)
            else:
                common |= _given(pitch=pitch, velocity=velocity, duration=duration, format=format, picture=picture)
                common["out"] = out or "notes"
                if morph is not None:
                    made = verb.morph(*morph, **_given(steps=steps), **common)
                elif like is not None:
                    made = verb.like(like, instrument=instrument, seed=seed, save=save_timbre, **common)
                else:
                    options = _given(timbre=load_timbre, count=count)
                    made = verb.note(instrument=instrument, seed=seed, save=save_timbre, **options, **common)
        except Cancelled:
            typer.echo("stopped: no unfinished file was left", err=True)
            raise typer.Exit(128 + stop.number) from None
    if json:
        import json as json_module

        typer.echo(json_module.dumps(made.as_json(), indent=1, ensure_ascii=False), err=out == "-")
    if midi is not None:
        _tell_piece(made, quiet=json)
    else:
        _tell_notes(made, seed, quiet=json)
    for sentence in made.said:
        typer.echo(f"  {sentence}", err=True)
    if not json:
        tell_licences(find(model or DEFAULT_MODEL))


def _given(**options) -> dict:
    """Keep the options that were given: the verbs have the defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _check_together(modes: dict, against: dict, only: dict) -> None:
    """Refuse options that do not go together."""
    from songfoundry.errors import ConfigError

    chosen = [name for name, value in modes.items() if value is not None]
    if len(chosen) > 1:
        raise ConfigError(f"expected one of {', '.join(modes)}, found {' and '.join(chosen)}: leave all but one out")
    for name, (value, others) in against.items():
        if value is not None and chosen and chosen[0] in others.split():
            raise ConfigError(f"expected {name} without {chosen[0]}, found both: leave one out")
    for name, (value, beside) in only.items():
        if value is not None and chosen != beside.split()[:1]:
            raise ConfigError(f"expected {beside} beside {name}, found none: add it, or leave {name} out")


def _place(out: str | None, piece: Path, format: str | None) -> str:
    """Choose the sound file of a piece: what was named, or in the folder that was named."""
    if out == "-" or (out and Path(out).suffix):
        return out
    return str(Path(out or "notes") / f"{piece.stem}.{format or 'wav'}")


def _tell_notes(made, seed: int, quiet: bool) -> None:
    """Print paths, and how far each note is off its pitch."""
    row = made.as_json()
    if not quiet:
        for path in [*made.paths, *([made.picture] if made.picture else []), *made.timbres]:
            typer.echo(path)
    found = row["likeness"]
    if found:
        typer.echo(
            f"recording: pitch {found['pitch']} {found['cents']:+.1f} cents; nearest timbre: {found['instrument']}, "
            f"{found['drawn_db']:.1f} dB away when drawn, {found['found_db']:.1f} dB after the search",
            err=True,
        )
    for one in row["notes"]:
        cents = "pitch not measured" if one["cents"] is None else f"{one['cents']:+.1f} cents"
        typer.echo(f"{one['instrument']} {one['name']} number {one['number']}: {cents}", err=True)
    count = len(row["notes"])
    pace = f"{count} {'note' if count == 1 else 'notes'} in {row['elapsed']:.1f} s with {row['model']}, seed {seed}"
    measured = [abs(one["cents"]) for one in row["notes"] if one["cents"] is not None]
    tuned = f"; {sum(cents <= 20 for cents in measured)} of {len(measured)} within 20 cents" if len(measured) > 1 else ""
    typer.echo(f"{pace}{tuned}", err=True)


def _tell_piece(made, quiet: bool) -> None:
    """Print the path of a piece, and how it came out."""
    if not quiet and made.path != "-":
        typer.echo(made.path)
    pace = f"{made.notes} notes, {made.seconds:.1f} s in {made.elapsed:.1f} s ({made.seconds / made.elapsed:.1f} times real time)"
    typer.echo(f"{made.source}: {pace}, {made.lufs:.1f} LUFS, true peak {made.dbtp:.1f} dBTP, with {made.model}", err=True)
