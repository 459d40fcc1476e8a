"""Parse and print for `songfoundry render`."""

from pathlib import Path
from typing import Annotated

import typer


def render(
    file: Annotated[Path, typer.Argument(metavar="FILE.mid", help="A MIDI file.")],
    out: Annotated[str | None, typer.Option(help="The sound file, or - for standard output. Default: FILE.wav, here.")] = None,
    soundfont: Annotated[
        str, typer.Option(help="builtin, auto (the system's best, played by FluidSynth), or the path of an .sf2 file.")
    ] = "builtin",
    timbre: Annotated[
        str, typer.Option(help="builtin (as --soundfont says), or generated: pitched tracks by a model of notes, drums by the orchestra.")
    ] = "builtin",
    model: Annotated[str | None, typer.Option(help="With --timbre generated: a model's name, or a .safetensors. Default: note.")] = None,
    seed: Annotated[int, typer.Option(help="With --timbre generated: the same seed gives the same timbres.")] = 0,
    instrument_per_track: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="With --timbre generated: flute,cello,... for the pitched tracks in their order, or 1=flute,Melody=a.npz; drawn draws "
            "one. Default: those nearest to the tracks' programs.",
        ),
    ] = None,
    interpolate: Annotated[
        float | None, typer.Option(help="With --timbre generated: every so many seconds on to another instrument.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="wav, flac, mp3, ogg or opus. Default: as --out ends, else wav.")] = None,
    depth: Annotated[str | None, typer.Option(help="int16, int24, or float32 (wav alone). Default: int16.")] = None,
    bitrate: Annotated[float | None, typer.Option(help="kbit/s of mp3, ogg and opus.")] = None,
    rate: Annotated[int, typer.Option(help="Samples a second.")] = 44100,
    loudness: Annotated[float, typer.Option(help="LUFS that the piece is brought to; its true peak stays below -1 dBTP.")] = -16.0,
    show_tokens: Annotated[bool, typer.Option("--show-tokens", help="Print its events beside the tokens that a net reads.")] = False,
    picture: Annotated[bool, typer.Option("--picture", help="Draw a piano roll too, FILE.png beside the sound.")] = False,
    score: Annotated[bool, typer.Option("--score", help="Write MusicXML and engraved pages too, into FILE-score/.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a report as JSON instead of the paths.")] = False,
    progress: Annotated[str, typer.Option(help="bar, json (lines on standard error) or none.")] = "bar",
) -> None:
    """Make a MIDI file sound, with nothing installed or with any SoundFont, at one loudness and never clipped.

    Prints the paths that were written on standard output, and what there is to say about them on standard error. Exit code:
    0 done, 2 nothing could be done, 130 stopped by Ctrl-C (143 by SIGTERM; no unfinished file is left).
    """
    from songfoundry.audio import io
    from songfoundry.cli.progress import Bar, stopping, tell_licences
    from songfoundry.errors import Cancelled
    from songfoundry.playing import rendering

    aside = out == "-"
    out = out or f"{file.stem}.{format or 'wav'}"
    beside = Path(".") if aside else Path(out).parent
    name = file.stem if aside else Path(out).stem
    with Bar(progress) as bar, stopping() as stop:

        def show(share: float) -> bool:
            bar(str(file), share, 1, 1)
            return not stop.event.is_set()

        try:
            if show_tokens:
                _list(file, aside or json)
            form = io.agreed_format(out, format)
            player = _player(timbre, soundfont, model, seed, instrument_per_track, interpolate)
            made = rendering.render(
                file, soundfont=None if player else soundfont, player=player, rate=rate, loudness=loudness, out=out, format=form,
                depth=depth, bitrate=bitrate, picture=beside / f"{name}.png" if picture else None,
                score=beside / f"{name}-score" if score else None, progress=show,
            )  # fmt: skip
        except Cancelled:
            typer.echo("stopped: no unfinished file was left", err=True)
            raise typer.Exit(128 + stop.number) from None
    if json:
        import json as json_module

        typer.echo(json_module.dumps(made.as_json(), indent=1, ensure_ascii=False), err=aside)
    else:
        for path in [made.path, *made.others]:
            if path != "-":
                typer.echo(path, err=aside)
    level = f"{made.lufs:.1f} LUFS, true peak {made.dbtp:.1f} dBTP"
    pace = f"{made.seconds:.1f} s in {made.elapsed:.1f} s ({made.seconds / made.elapsed:.0f} times real time)"
    typer.echo(f"{file}: {pace}, {level}, played by {made.player}", err=True)
    for note in made.notes:
        typer.echo(f"  {note}", err=True)
    if player and not json:
        from songfoundry.timbre.generator import DEFAULT_MODEL, find

        tell_licences(find(model or DEFAULT_MODEL))


def _player(timbre: str, soundfont: str, model: str | None, seed: int, instruments: str | None, interpolate: float | None):
    """Make the player that generates timbres; None for the orchestra or a SoundFont."""
    from songfoundry.errors import ConfigError

    if timbre not in ("builtin", "generated"):
        raise ConfigError(f"expected builtin or generated after --timbre, found {timbre!r}: choose one of them")
    if timbre == "builtin":
        given = {"--model": model, "--instrument-per-track": instruments, "--interpolate": interpolate}
        for name in (name for name, value in given.items() if value is not None):
            raise ConfigError(f"expected --timbre generated beside {name}, found none: add it, or leave {name} out")
        return None
    if soundfont != "builtin":
        raise ConfigError("expected --soundfont or --timbre generated, found both: leave one out")
    from songfoundry.timbre.generator import DEFAULT_MODEL, NoteGenerator
    from songfoundry.timbre.player import Player

    return Player(NoteGenerator(model or DEFAULT_MODEL), instruments=instruments, interpolate=interpolate, seed=seed)


def _list(file: Path, aside: bool) -> None:
    """Print events beside tokens, and on standard error what the tokens do not keep."""
    from songfoundry import notes
    from songfoundry.playing.listing import beside_tokens

    rows, lost = beside_tokens(notes.read_midi(file))
    width = min(88, max(len(row.event) for row in rows))
    for row in rows:
        typer.echo(f"{row.event:<{width}}  {row.tokens or '(no tokens)'}", err=aside)
    for sentence in lost:
        typer.echo(f"  {sentence}", err=True)
