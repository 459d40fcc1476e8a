"""Parse and print for `songfoundry encode`."""

from pathlib import Path
from typing import Annotated

import typer


def encode(
    song: Annotated[str | None, typer.Argument(help="A sound file, of any length and rate; - for standard input.")] = None,
    out: Annotated[Path | None, typer.Option(help="The .npz of latents; else a folder. Default: encoded/SONG.npz, or encoded.")] = None,
    model: Annotated[str | None, typer.Option(help="vae (practical), ae64 (one vector for four seconds), or a .safetensors.")] = None,
    bits: Annotated[int | None, typer.Option(help="For each number of a latent: 32 or 8. Default: 32.")] = None,
    roundtrip: Annotated[bool, typer.Option("--roundtrip", help="Decode it again: a sound, a picture, a table of scores.")] = False,
    interpolate: Annotated[tuple[str, str] | None, typer.Option(metavar="A B", help="Go from one sound (or .npz) to another.")] = None,
    steps: Annotated[int | None, typer.Option(help="In so many sounds, with --interpolate. Default: 8.")] = None,
    sample: Annotated[int | None, typer.Option(metavar="N", help="Draw so many sounds from the prior.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length of each, with --sample. Default: 4.")] = None,
    seed: Annotated[int | None, typer.Option(help="With --sample: the same seed gives the same sounds. Default: 0.")] = None,
    prior: Annotated[
        str | None, typer.Option(help="With --sample: fitted (like training's latents) or normal (noise). Default: fitted.")
    ] = None,
    vocoder: Annotated[str | None, typer.Option(help="pghi, griffinlim or fast_griffinlim, where sound is made. Default: pghi.")] = None,
    format: Annotated[str | None, typer.Option(help="wav, flac, mp3, ogg or opus, where sound is made. Default: wav.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Take NaN and Inf in a file for silence.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: the cores that are free.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a report as JSON instead of the paths.")] = False,
    progress: Annotated[str, typer.Option(help="bar, json (lines on standard error) or none.")] = "bar",
) -> None:
    """Turn a sound into a small latent, which `songfoundry decode` turns back; or there and back, between two sounds, from nothing.

    Prints the paths that were written on standard output, and on standard error what they are.
    Exit code: 0 done, 2 nothing could be done, 130 stopped by Ctrl-C (143 by SIGTERM; no unfinished file is left).
    """
    from songfoundry.encoding import verb
    from songfoundry.encoding.encoder import DEFAULT_MODEL, Encoder
    from songfoundry.errors import ConfigError

    modes = [name for name, on in {
        "SONG": song is not None, "--interpolate": interpolate is not None, "--sample": sample is not None,
    }.items() if on]  # fmt: skip
    if len(modes) != 1:
        found = " and ".join(modes) or "none"
        raise ConfigError(f"expected one of SONG, --interpolate A B or --sample N, found {found}: give one of them")
    mode = "--roundtrip" if roundtrip and song is not None else modes[0]
    for name, value, fit in (
        ("--roundtrip", roundtrip or None, ("--roundtrip",)), ("--bits", bits, ("SONG", "--roundtrip")),
        ("--repair", repair or None, ("SONG", "--roundtrip")),
        ("--steps", steps, ("--interpolate",)), ("--seconds", seconds, ("--sample",)),
        ("--seed", seed, ("--sample",)), ("--prior", prior, ("--sample",)),
        ("--vocoder", vocoder, ("--roundtrip", "--interpolate", "--sample")),
        ("--format", format, ("--roundtrip", "--interpolate", "--sample")),
    ):  # fmt: skip
        if value is not None and mode not in fit:
            raise ConfigError(f"expected {name} beside {' or '.join(fit)}, found {mode}: leave it out")

    def work(show, stop):
        encoder = Encoder(model or DEFAULT_MODEL, device, threads)
        common = {"model": encoder, "progress": show, "cancel": stop.event}
        sound = _given(vocoder=vocoder, format=format)
        if mode == "--interpolate":
            return verb.interpolate(*interpolate, out=out or "encoded", **_given(steps=steps), **sound, **common)
        if mode == "--sample":
            return verb.sample(sample, out=out or "encoded", **_given(seconds=seconds, seed=seed, prior=prior), **sound, **common)
        if mode == "--roundtrip":
            return verb.roundtrip(song, out=out or "encoded", repair=repair, **_given(bits=bits), **sound, **common)
        place = out or Path("encoded") / f"{'sound' if song == '-' else Path(song).stem}.npz"
        return verb.encode(song, out=place, repair=repair, **_given(bits=bits), **common)

    made = run(work, song or mode.removeprefix("--"), progress)
    tell(made, json, model or DEFAULT_MODEL)


def run(work, name: str, progress: str):
    """Do the work with a bar, stopped in good order; exits where it was stopped."""
    from songfoundry.cli.progress import Bar, stopping
    from songfoundry.errors import Cancelled

    with Bar(progress) as bar, stopping() as stop:

        def show(share: float) -> bool:
            bar(name, share, 1, 1)
            return not stop.event.is_set()

        try:
            return work(show, stop)
        except Cancelled:
            typer.echo("stopped: no unfinished file was left", err=True)
            raise typer.Exit(128 + stop.number) from None


def tell(made, json: bool, model: str, quiet: bool = False) -> None:
    """Print paths or a report, what the latents are, scores, and the licence of the weights; `quiet` where standard output is the sound."""
    from songfoundry.cli.progress import tell_licences
    from songfoundry.encoding.encoder import find

    if json:
        import json as json_module

        typer.echo(json_module.dumps(made.as_json(), indent=1, ensure_ascii=False), err=quiet)
    elif not quiet:
        for path in [*made.paths, *([made.picture] if made.picture else [])]:
            typer.echo(path)
    first = made.latents[0]
    channels, latent, steps = first.values.shape
    size = f"{channels} x {latent} x {steps} numbers for {first.seconds:.2f} s, {first.bitrate(8):.3g} kbit/s at 8 bits"
    pace = f"{made.seconds:.1f} s of sound in {made.elapsed:.1f} s ({made.seconds / max(made.elapsed, 1e-9):.1f} times real time)"
    typer.echo(f"{size}; {pace} with {made.model}", err=True)
    if made.scores and not json:
        _table(made.scores)
    for sentence in made.said:
        typer.echo(f"  {sentence}", err=True)
    if not json:
        tell_licences(find(model))


def _table(scores: dict[str, float]) -> None:
    """Print scores and what they are."""
    from rich.console import Console
    from rich.table import Table

    from songfoundry.metrics.audio import DEFINITIONS

    table = Table()
    for heading in ("score", "value", "what it is"):
        table.add_column(heading)
    for name, value in scores.items():
        table.add_row(name, f"{value:.4f}", DEFINITIONS[name])
    Console(stderr=True, width=None if Console(stderr=True).is_terminal else 150).print(table)


def _given(**options) -> dict:
    """Keep the options that were given: the verbs have the defaults."""
    return {name: value for name, value in options.items() if value is not None}
