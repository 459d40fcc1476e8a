"""Parse and print for `songfoundry sing`."""

from pathlib import Path
from typing import Annotated

import typer


def sing(
    speech: Annotated[str, typer.Argument(help="A recording of someone who speaks, up to 5 minutes; with --reverse, who sings.")],
    melody: Annotated[Path | None, typer.Option(metavar="FILE.mid", help="The tune; of several voices the top line is sung.")] = None,
    song: Annotated[Path | None, typer.Option(metavar="FILE", help="Take this song apart, sing its melody, keep its music.")] = None,
    backing: Annotated[Path | None, typer.Option(metavar="FILE", help="The music of the mix; alone, a tune is made for it.")] = None,
    pitch_from: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Sing along this F0 curve: seconds,hertz.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Make plain speech of someone who sings.")] = False,
    out: Annotated[Path | None, typer.Option(help="The voice alone. Default: sung/SPEECH.wav (--reverse: spoken/SPEECH.wav).")] = None,
    mix: Annotated[Path | None, typer.Option(help="Voice and music. Default, where there is music: beside --out, NAME-mix.wav.")] = None,
    picture: Annotated[
        bool, typer.Option("--picture/--no-picture", help="Draw F0 of speech, target and sung voice beside --out, as a .png.")
    ] = True,
    save_pitch: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Keep the F0 that is sung.")] = None,
    transpose: Annotated[float | None, typer.Option(help="Semitones that the melody is moved by. Default: 0.")] = None,
    formant_shift: Annotated[float | None, typer.Option(help="Semitones that the formants are moved by. Default: 0.")] = None,
    vibrato_rate: Annotated[float | None, typer.Option(help="Hz. Default: 5.5.")] = None,
    vibrato_depth: Annotated[float | None, typer.Option(help="Cents either way, at full expression. Default: 30.")] = None,
    expression: Annotated[float | None, typer.Option(help="0 straight on the note, 1 full. Default: 0.7.")] = None,
    timing: Annotated[str | None, typer.Option(help="syllables (one a note), words (one a note) or free. Default: syllables.")] = None,
    reverb: Annotated[
        bool | None, typer.Option("--reverb/--dry", help="A room around the voice, or none. Default: one in the mix alone.")
    ] = None,
    engine: Annotated[str, typer.Option(help="world (no model) or cyclegan.")] = "world",
    model: Annotated[str | None, typer.Option(help="With cyclegan: name of a model, or a .safetensors.")] = None,
    vocoder: Annotated[str | None, typer.Option(help="With cyclegan: pghi or griffinlim. Default: pghi.")] = None,
    separator: Annotated[str | None, typer.Option(help="With --song: the model that takes it apart. Default: bsrnn-medium.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed sings the same, and makes the same tune. Default: 0.")] = None,
    format: Annotated[str | None, typer.Option(help="wav, flac, mp3, ogg or opus. Default: as the names say.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: the cores that are free.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a report as JSON instead of the paths.")] = False,
    progress: Annotated[str, typer.Option(help="bar, json (lines on standard error) or none.")] = "bar",
) -> None:
    """Sing a recording of speech: on a MIDI tune, on the melody of a song, along an F0 curve, or on a tune made for a backing.

    Prints the paths that were written on standard output, and on standard error what was sung and how.
    Exit code: 0 done, 2 nothing could be done, 130 stopped by Ctrl-C (143 by SIGTERM; no unfinished file is left).
    """
    from songfoundry.cli.encode import run
    from songfoundry.errors import ConfigError
    from songfoundry.singing import verb

    forward = {
        "--melody": melody, "--song": song, "--backing": backing, "--pitch-from": pitch_from, "--mix": mix,
        "--vibrato-rate": vibrato_rate, "--vibrato-depth": vibrato_depth, "--expression": expression, "--timing": timing,
        "--reverb": reverb, "--separator": separator, "--seed": seed,
    }  # fmt: skip
    wrong = [name for name, value in forward.items() if reverse and value is not None]
    if wrong:
        raise ConfigError(f"expected --reverse without {wrong[0]}, found both: leave one out")
    if separator is not None and song is None:
        raise ConfigError("expected --song beside --separator, found none: add it, or leave --separator out")
    stem = "speech" if speech == "-" else Path(speech).stem
    voice = out or Path("spoken" if reverse else "sung") / f"{stem}.{format or 'wav'}"
    common = {"out": voice, "save_pitch": save_pitch, "engine": engine, "model": model, "format": format, "device": device,
              "threads": threads} | _given(transpose=transpose, formant_shift=formant_shift, vocoder=vocoder)  # fmt: skip
    if picture and str(voice) != "-":
        common["picture"] = voice.with_suffix(".png")
    if mix is None and (song or backing) and str(voice) != "-":
        mix = voice.with_name(f"{voice.stem}-mix{voice.suffix}")

    def work(show, stop):
        if reverse:
            return verb.speak(speech, progress=show, cancel=stop.event, **common)
        wishes = _given(
            vibrato_rate=vibrato_rate, vibrato_depth=vibrato_depth, expression=expression, timing=timing, reverb=reverb, seed=seed,
            separator=separator,
        )  # fmt: skip
        music = {"melody": melody, "song": song, "backing": backing, "pitch_from": pitch_from, "mix": mix}
        return verb.sing(speech, progress=show, cancel=stop.event, **music, **wishes, **common)

    made = run(work, speech, progress)
    _tell(made, json)


def _tell(made, json: bool) -> None:
    """Print paths or a report, and what there is to say."""
    piped = made.out == "-" or made.mix == "-"
    if json:
        import json as json_module

        typer.echo(json_module.dumps(made.as_json(), indent=1, ensure_ascii=False), err=piped)
    elif not piped:
        for path in made.paths:
            typer.echo(path)
    loud = "" if made.lufs is None else f", mix at {made.lufs:.1f} LUFS"
    words = f"{len(made.words)} word{'' if len(made.words) == 1 else 's'}"
    on = f" on {len(made.notes)} notes" if made.notes else ""
    typer.echo(f"{words}{on}, {made.seconds:.1f} s in {made.elapsed:.1f} s by {made.engine}{loud}", err=True)
    for sentence in made.said:
        typer.echo(f"  {sentence}", err=True)


def _given(**options) -> dict:
    """Keep the options that were given: the verbs have the defaults."""
    return {name: value for name, value in options.items() if value is not None}
