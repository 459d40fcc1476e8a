"""Parse and print for `songfoundry separate`."""

from typing import Annotated

import typer


def separate(
    sources: Annotated[list[str], typer.Argument(metavar="FILE|FOLDER|-", help="Songs, folders, or - for standard input.")],
    model: Annotated[str | None, typer.Option(help="Name, path of a .safetensors, or a+b for the mean of two.")] = None,
    out: Annotated[str, typer.Option(help="Folder; or the file (- : standard output) where only one is written.")] = "separated",
    name_template: Annotated[
        str | None, typer.Option(help="Names in the folder. Default: {track}/{stem}.{ext}; {model} is known too.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="wav, flac, mp3, ogg, opus or stem.mp4. Default: wav.")] = None,
    depth: Annotated[str | None, typer.Option(help="int16, int24, or float32 (wav alone). Default: int16.")] = None,
    bitrate: Annotated[float | None, typer.Option(help="kbit/s of mp3, ogg, opus, and each stream of stem.mp4.")] = None,
    stems: Annotated[str | None, typer.Option(help="Only these: vocals,drums")] = None,
    two_stems: Annotated[str | None, typer.Option(help="This one, and the rest beside it (accompaniment, no_X).")] = None,
    minus: Annotated[str | None, typer.Option(help="Everything but these: bass")] = None,
    start: Annotated[float, typer.Option(help="First second of the song to write.")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="How many seconds to write.")] = None,
    preview: Annotated[float | None, typer.Option(help="Only the loudest stretch of so many seconds, as the whole run gives it.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into folders of folders.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave songs alone whose stems are there.")] = False,
    jobs: Annotated[int, typer.Option(help="Songs at once, each in a process of its own.")] = 1,
    threads: Annotated[int | None, typer.Option(help="CPU threads of each job. Default: the cores that are free.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16. Default: bfloat16 on CUDA only.")] = None,
    overlap: Annotated[float, typer.Option(help="Share of a chunk that is cross-faded with the next, 0 to 0.9.")] = 0.25,
    chunk_seconds: Annotated[float | None, typer.Option(help="What the net sees at once. Default: the model's own.")] = None,
    shifts: Annotated[int, typer.Option(help="Average over this many more grids of chunks: slower, a little better.")] = 0,
    exact_sum: Annotated[bool, typer.Option("--exact-sum", help="Make the stems add up to the mixture exactly.")] = False,
    clip_mode: Annotated[str | None, typer.Option(help="rescale, clamp or float. Default: rescale; float for float32.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Take NaN and Inf in a file for silence.")] = False,
    progress: Annotated[str, typer.Option(help="bar, json (lines on standard error) or none.")] = "bar",
    json: Annotated[bool, typer.Option("--json", help="Print a report as JSON instead of the paths.")] = False,
) -> None:
    """Separate songs into vocals, drums, bass and other.

    Prints the paths that were written on standard output, and what there is to say about them on standard error. Exit code:
    0 all done, 1 some of several songs failed, 2 nothing could be done, 130 stopped by Ctrl-C (143 by SIGTERM; no
    unfinished file is left). Channels 1 and 2 are separated as a stereo pair, 3 and 4 as the next; mono is doubled and
    averaged.

    What --preview, or --start and --duration, write has the very bits of the whole run's stems; where stems go over full
    scale, --clip-mode rescale turns all of them down by one gain, which a part takes from itself and not from the whole song.
    """
    from songfoundry import hardware
    from songfoundry.cli.progress import Bar, stopping, tell_licences
    from songfoundry.errors import Cancelled
    from songfoundry.separating import batch
    from songfoundry.separating.models import find
    from songfoundry.separating.separator import DEFAULT_MODEL

    hardware.keep_memory()
    model = DEFAULT_MODEL if model is None else model
    with Bar(progress) as show, stopping() as stop:
        try:
            outcomes = batch.separate_all(
                sources, out=out, model=model, recursive=recursive, jobs=jobs, progress=show, cancel=stop.event,
                name_template=name_template, format=format, depth=depth, bitrate=bitrate, stems=stems, two_stems=two_stems,
                minus=minus, start=start, duration=duration, preview=preview, skip_existing=skip_existing, threads=threads,
                device=device, precision=precision, overlap=overlap, chunk_seconds=chunk_seconds, shifts=shifts,
                exact_sum=exact_sum, clip_mode=clip_mode, repair=repair,
            )  # fmt: skip
        except Cancelled:
            typer.echo("stopped: no unfinished file was left", err=True)
            raise typer.Exit(128 + stop.number) from None
    _report(outcomes, json, aside=out == "-")
    if not json and any(outcome.result is not None for outcome in outcomes):
        tell_licences(*find(model))
    failed = sum(outcome.error is not None for outcome in outcomes)
    if len(outcomes) > 1 and failed:
        typer.echo(f"{failed} of {len(outcomes)} songs failed", err=True)
    raise typer.Exit(0 if not failed else 2 if failed == len(outcomes) else 1)


def _report(outcomes, as_json: bool, aside: bool) -> None:
    """Print paths and notes, or JSON; `aside`: standard output holds sound."""
    if as_json:
        import json

        rows = [o.result.as_json() if o.result else {"source": o.source, "error": o.error} for o in outcomes]
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False), err=aside)
    for outcome in outcomes:
        if outcome.error:
            typer.echo(outcome.error, err=True)
            continue
        result = outcome.result
        if as_json:
            continue
        for path in result.paths.values():
            if path != "-":
                typer.echo(path)
        if result.skipped:
            typer.echo(f"{result.source}: all stems are there, skipped", err=True)
            continue
        cost = result.exact_sum_cost_db
        added = "" if cost is None else f"; the stems add up exactly, at a cost of {cost:.1f} dB"
        pace = f"{result.seconds:.1f} s in {result.elapsed:.1f} s ({result.realtime_factor:.1f} times real time)"
        place = f"{result.device}, {result.threads} thread{'s' if result.threads > 1 else ''}"
        typer.echo(f"{result.source}: {pace} with {result.model} on {place}{added}", err=True)
        for note in result.notes:
            typer.echo(f"  {note}", err=True)
