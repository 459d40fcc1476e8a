"""Parse and print for `songfoundry compose`."""

from typing import Annotated

import typer


def compose(
    prompts: Annotated[list[str] | None, typer.Argument(metavar="[PROMPT.mid|DIR]...", help="None: from nothing.")] = None,
    model: Annotated[
        str | None, typer.Option(help="transformer, permissive (data free to share), lstm, a name or a .safetensors. Default: transformer.")
    ] = None,
    bars: Annotated[int | None, typer.Option(help="How many to write. Default: 8; with --melody all of that track.")] = None,
    variations: Annotated[int | None, typer.Option(help="How many pieces for each prompt. Default: 4.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same music.")] = 0,
    temperature: Annotated[float | None, typer.Option(help="Below 1 safer, above 1 wilder; 0 the likeliest. Default: 1.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from so many likeliest tokens. Default: all.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest that have this share. Default: 0.98.")] = None,
    min_p: Annotated[float | None, typer.Option(help="Leave out what is below this share of the likeliest.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1: pitches struck lately are less likely.")] = None,
    keep_prompt: Annotated[bool, typer.Option("--keep-prompt/--only-new", help="Write the prompt too, or leave it out.")] = True,
    lock: Annotated[
        str | None, typer.Option(help="What is kept: metre,tempo,key,instruments (the default); key=hard; none.")
    ] = None,
    key_strength: Annotated[float | None, typer.Option(help="How strongly pitches that leave the key are disliked. Default: 4.")] = None,
    end: Annotated[bool, typer.Option("--end", help="A real ending: the last bar comes to rest on the tonic.")] = False,
    key: Annotated[str | None, typer.Option(help='"A minor", "Bb major". Default: the prompt\'s own.')] = None,
    metre: Annotated[str | None, typer.Option(help="3/4, 6/8 ... without a prompt. Default: 4/4.")] = None,
    tempo: Annotated[float | None, typer.Option(help="Quarter notes a minute, without a prompt. Default: 120.")] = None,
    style: Annotated[str | None, typer.Option(help="pop, folk, chorale, piano, band, drums or other. Default: as the prompt.")] = None,
    melody: Annotated[str | None, typer.Option(help="Keep this track (name or number) and write the others anew.")] = None,
    chords: Annotated[str | None, typer.Option(help='"C G Am F": one a bar, round and round.')] = None,
    replace_bars: Annotated[str | None, typer.Option(help="5-8: write these bars anew, keep all others.")] = None,
    between: Annotated[tuple[str, str] | None, typer.Option(metavar="A.mid B.mid", help="Write from the one to the other.")] = None,
    steps: Annotated[int | None, typer.Option(help="In so many pieces, with --between. Default: 5.")] = None,
    out: Annotated[str, typer.Option(help="Folder.")] = "composed",
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write a report, one line of JSON a piece; - prints it.")] = None,
    score: Annotated[bool, typer.Option("--score", help="Write MusicXML and an engraved page too.")] = False,
    audio: Annotated[bool, typer.Option("--audio/--no-audio", help="Write a .wav.")] = True,
    picture: Annotated[bool, typer.Option("--picture/--no-picture", help="Write a piano roll as .png.")] = True,
    soundfont: Annotated[str | None, typer.Option(help="An .sf2, or auto: the system's. Default: the built-in orchestra.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: the cores that are free.")] = None,
    progress: Annotated[str, typer.Option(help="bar, json (lines on standard error) or none.")] = "bar",
) -> None:
    """Go on from a MIDI prompt in its key, metre and tempo; or begin from nothing, accompany, fill a gap.

    Prints the paths that were written on standard output, and what there is to say about them on standard error. Exit code:
    0 all done, 1 some of several prompts failed, 2 nothing could be done, 130 stopped by Ctrl-C (143 by SIGTERM; no
    unfinished file is left).
    """
    from songfoundry.audio.atomic import check_target, spare
    from songfoundry.cli.progress import Bar, stopping, tell_licences
    from songfoundry.composing import verb as composing
    from songfoundry.composing.composer import DEFAULT_MODEL, find
    from songfoundry.errors import Cancelled

    wishes = {
        "bars": bars, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "lock": lock, "end": end,
        "repetition_penalty": repetition_penalty, "key_strength": key_strength, "key": key, "metre": metre, "tempo": tempo,
        "style": style, "melody": melody, "chords": chords, "replace_bars": replace_bars,
    }  # fmt: skip
    if json not in (None, "-"):
        check_target(json)
        read = [path for path, _ in composing.find_prompts(prompts or [])]
        spare([json], [*read, *(between or ())], "a prompt")
    with Bar(progress) as show, stopping() as stop:
        try:
            outcomes = composing.compose_all(
                prompts or [], out=out, model=model or DEFAULT_MODEL, device=device, threads=threads, progress=show, cancel=stop.event,
                variations=variations, seed=seed, between=between, steps=steps, keep_prompt=keep_prompt, audio=audio, picture=picture,
                score=score, soundfont=soundfont, **{name: wish for name, wish in wishes.items() if wish is not None},
            )  # fmt: skip
        except Cancelled:
            typer.echo("stopped: no unfinished file was left", err=True)
            raise typer.Exit(128 + stop.number) from None
    pieces = [piece for outcome in outcomes for piece in outcome.pieces]
    if pieces and json not in (None, "-"):
        composing.write_report(json, pieces)
    _report(outcomes, as_json=json == "-")
    if pieces:
        tell_licences(find(model or DEFAULT_MODEL))
    failed = sum(outcome.error is not None for outcome in outcomes)
    if len(outcomes) > 1 and failed:
        typer.echo(f"{failed} of {len(outcomes)} prompts failed", err=True)
    raise typer.Exit(0 if not failed else 2 if failed == len(outcomes) else 1)


def _report(outcomes, as_json: bool) -> None:
    """Print paths and notes, or lines of JSON."""
    import json

    for outcome in outcomes:
        if outcome.error:
            typer.echo(outcome.error, err=True)
        for piece in outcome.pieces:
            row = piece.as_json()
            if as_json:
                typer.echo(json.dumps(row, ensure_ascii=False))
                continue
            for path in piece.paths.values():
                typer.echo(path)
        if outcome.pieces and not as_json:
            rows = [piece.as_json() for piece in outcome.pieces]
            row, courses = rows[0], list(dict.fromkeys(map(_course, rows)))
            count = sum(len(piece.composition.notes) for piece in outcome.pieces)
            many = f"{len(outcome.pieces)} x " if len(outcome.pieces) > 1 else ""
            bars = f"{row['bars']} {'bar' if row['bars'] == 1 else 'bars'}"
            pace = f"{count} notes in {row['elapsed']:.1f} s with {row['model']}, seed {row['seed']}"
            typer.echo(f"{outcome.source or 'new'}: {many}{bars} of {'; then '.join(courses)}; {pace}", err=True)
            for sentence in dict.fromkeys(said for piece in outcome.pieces for said in piece.said):
                typer.echo(f"  {sentence}", err=True)


def _course(row: dict) -> str:
    """Say in what metre, tempo and key a piece is."""
    return f"{row['metre']}, {row['qpm']:g} quarter notes a minute" + (f", {row['key']}" if row["key"] else "")
