"""Parse and print for `songfoundry evaluate`."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

evaluate = typer.Typer(help="Is it good? Scores by the field's definitions, beside what takes no skill.", no_args_is_help=True)


@evaluate.command()
def separation(
    dataset: Annotated[str, typer.Argument(help="A folder of songs with stems, or a TOML list such as recipes/public-test.toml.")],
    model: Annotated[list[str] | None, typer.Option(help="Name, path or a+b; may be repeated. Default: the default model.")] = None,
    split: Annotated[str | None, typer.Option(help="Score only songs of this split: train, valid or test.")] = None,
    rate: Annotated[int, typer.Option(help="Rate at which songs are scored, Hz.")] = 44100,
    baselines: Annotated[bool, typer.Option(help="Also score what takes no skill, and the oracle.")] = True,
    overlap: Annotated[float, typer.Option(help="Overlap of the chunks, 0 to 0.9.")] = 0.25,
    shifts: Annotated[int, typer.Option(help="Average over this many more chunk grids.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: the cores that are free.")] = None,
    museval: Annotated[bool, typer.Option("--museval", help="Also ISR, SIR and SAR, by the extra museval: slow.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write everything, per song, to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Put the tables into this Markdown file, below --title.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the tables in the Markdown file.")] = "Separation",
) -> None:
    """Score separation models: v4 SDR as museval gives it, utterance SDR, SI-SDR; per stem, median and mean over songs.

    The true stems are rounded to 16 bits first, as the field reads MUSDB18: what a lossy coder leaves of silence then counts as
    silence. Their sum is separated. Beside each model stand what takes no skill (silence, the mixture, an equal share of the
    mixture: a quarter of it for each of four stems, half of it for each of two) and the oracle, ideal ratio masks.
    """
    from songfoundry.evaluating import separation as evaluation
    from songfoundry.separating.separator import DEFAULT_MODEL

    _prepare(json, markdown)
    with _telling() as tell:
        result = evaluation.evaluate_separation(
            dataset, model or [DEFAULT_MODEL], split=split, rate=rate, baselines=baselines, overlap=overlap, shifts=shifts,
            device=device, threads=threads, museval=museval,
            progress=lambda fraction: tell("scoring", fraction),
        )  # fmt: skip
    print_evaluation(result)
    _write(result, json, markdown, title)


@evaluate.command()
def compose(
    model: Annotated[
        list[str] | None, typer.Option(help="transformer, permissive, lstm, a name or path; repeatable. Default: transformer.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="Folder of MIDI files. Default: midi/prompts below SONGFOUNDRY_DATA.")] = None,
    collections: Annotated[str | None, typer.Option(help="pop909,nottingham ... below SONGFOUNDRY_DATA/midi. Default: five.")] = None,
    files: Annotated[int, typer.Option(help="So many held-out pieces, the collections in turn.")] = 100,
    variations: Annotated[int, typer.Option(help="Of each prompt.")] = 4,
    bars: Annotated[int, typer.Option(help="To write.")] = 8,
    prompt_bars: Annotated[int, typer.Option(help="Of a held-out piece that are shown.")] = 8,
    seed: Annotated[int, typer.Option(help="Chooses the excerpts and draws the music.")] = 0,
    temperature: Annotated[float | None, typer.Option(help="As compose has it.")] = None,
    top_p: Annotated[float | None, typer.Option(help="As compose has it.")] = None,
    lock: Annotated[str | None, typer.Option(help="As compose has it; none shows what the locks do.")] = None,
    baselines: Annotated[bool, typer.Option(help="Also the prompt said again, and a unigram and a 5-gram that write.")] = True,
    loudness: Annotated[bool, typer.Option(help="Play what was written and measure its loudness: slow.")] = True,
    copies: Annotated[bool, typer.Option(help="Search the training parts for the longest verbatim copy.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: the cores that are free.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything, per continuation, to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Put the tables into this Markdown file, below --title.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the tables in the Markdown file.")] = "Continuations",
) -> None:
    """Let models go on from prompts, and measure what they keep, how like real music they write, and what they copy.

    Kept is told from the file's own events (metre, tempo) and as it is heard: bar and beat are estimated from the onsets alone,
    the key by Krumhansl and Kessler, the loudness by playing. MusPy's measures stand beside those of the bars that really
    follow, with overlap and divergence as Yang and Lerch have them. Known prompts, and excerpts of held-out pieces.
    """
    from songfoundry.evaluating import compose as compose_evaluation

    _prepare(json, markdown)
    wishes = {"temperature": temperature, "top_p": top_p, "lock": lock}
    with _telling() as tell:
        result = compose_evaluation.evaluate_compose(
            model or ["transformer"], prompts=prompts, files=files, variations=variations, bars=bars, prompt_bars=prompt_bars,
            collections=collections.split(",") if collections else compose_evaluation.COLLECTIONS, seed=seed, baselines=baselines,
            loudness=loudness, copies=copies, device=device, threads=threads,
            progress=tell,
            **{name: wish for name, wish in wishes.items() if wish is not None},
        )  # fmt: skip
    print_continuations(result)
    _write(result, json, markdown, title)


@evaluate.command()
def note(
    model: Annotated[list[str] | None, typer.Option(help="Name or path of a model that makes notes; repeatable. Default: note.")] = None,
    data: Annotated[str, typer.Option(help="Folder of real notes, also below SONGFOUNDRY_DATA; tones: made by code.")] = "notes",
    judge: Annotated[str, typer.Option(help="Name or path of the classifier of pitch and instrument.")] = "note-classifier",
    count: Annotated[int, typer.Option(help="Notes that are asked for of each row.")] = 340,
    scale: Annotated[str | None, typer.Option(help="Three instruments for the chromatic scales: flute,cello,trumpet.")] = None,
    baselines: Annotated[bool, typer.Option(help="Also resampled training notes, and additive synthesis.")] = True,
    seed: Annotated[int, typer.Option(help="Draws what is asked for.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Put the tables into this Markdown file, below --title.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the tables in the Markdown file.")] = "Notes",
) -> None:
    """Let models make notes, and measure pitch, timbre, likeness to real notes, copies, clicks and speed.

    Pitch is told by an independent classifier, known by its hash, and by YIN; likeness is the Fréchet distance, statistically different
    bins, precision and recall in that classifier's features, beside the floor that real notes have. Beside the models stand real notes
    (of the test split), the nearest training note resampled, and additive synthesis.
    """
    from songfoundry.evaluating import note as note_evaluation

    _prepare(json, markdown)
    with _telling() as tell:
        result = note_evaluation.evaluate_note(
            model or ["note"], data=data, judge=judge, count=count, scale_instruments=scale.split(",") if scale else (),
            baselines=baselines, seed=seed, device=device,
            progress=tell,
        )  # fmt: skip
    print_tables(result.about, result.tables())
    _write(result, json, markdown, title)


@evaluate.command()
def encode(
    model: Annotated[list[str] | None, typer.Option(help="Name or path of a model that encodes; repeatable. Default: vae.")] = None,
    data: Annotated[str, typer.Option(help="Folder of songs with stems, also below SONGFOUNDRY_DATA; tones: made by code.")] = "songs",
    split: Annotated[str, typer.Option(help="Of the songs: test, valid or train.")] = "test",
    count: Annotated[int, typer.Option(help="Sounds of each stem.")] = 6,
    seconds: Annotated[float, typer.Option(help="Of each sound, its loudest.")] = 6.0,
    voices: Annotated[bool, typer.Option(help="PESQ and STOI of vocals, by the extra scores.")] = True,
    baselines: Annotated[bool, typer.Option(help="Also the true mel, the mean frame, and Opus.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Put the tables into this Markdown file, below --title.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the tables in the Markdown file.")] = "Encoding",
) -> None:
    """Send held-out stems through models, and score what comes back; latents, speed, and ways to a phase.

    Beside each model stand its latent at 8 bits, Griffin-Lim 32 in place of PGHI, the true mel through the same inverse (what no net can
    pass), the mean frame, and Opus at about the bit rate of the 8-bit latent.
    """
    from songfoundry.evaluating import encode as encode_evaluation

    _prepare(json, markdown)
    with _telling() as tell:
        result = encode_evaluation.evaluate_encode(
            model or ["vae"], data=data, split=split, count=count, seconds=seconds, voices=voices, baselines=baselines, device=device,
            progress=tell,
        )  # fmt: skip
    print_tables(result.about, result.tables())
    _write(result, json, markdown, title)


@evaluate.command()
def picture(
    model: Annotated[list[str] | None, typer.Option(help="Name or path of a model that makes pictures; repeatable. Default: ddpm.")] = None,
    data: Annotated[str, typer.Option(help="Folder of real pictures, also below SONGFOUNDRY_DATA; made: digits drawn by code.")] = "images",
    judge: Annotated[str, typer.Option(help="Name or path of the classifier whose features are compared.")] = "mnist-classifier",
    split: Annotated[str, typer.Option(help="Of the real pictures: test, or valid to choose something by.")] = "test",
    count: Annotated[int, typer.Option(help="Pictures of each model, at most as many as there are real ones.")] = 10_000,
    few: Annotated[int, typer.Option(help="Pictures of each row of samplers and steps, and of guidance; 0: no such rows.")] = 1000,
    samplers: Annotated[str, typer.Option(help="Of these rows.")] = "ddpm,ddim,dpm++,heun",
    steps: Annotated[str, typer.Option(help="Of these rows.")] = "5,10,20,50",
    longest: Annotated[
        int | None, typer.Option(help="Steps that ddpm alone is asked for as well; 0: none. Slow. Default: all of the model's.")
    ] = None,
    guidance: Annotated[str, typer.Option(help="Of rows that differ in that alone; empty: none.")] = "1,1.5,2",
    seed: Annotated[int, typer.Option(help="Draws the noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: the cores that are free.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Put the tables into this Markdown file, below --title.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the tables in the Markdown file.")] = "Pictures",
) -> None:
    """Let models make pictures, and measure likeness to the test images, what was asked for, copies; steps and guidance against quality.

    Likeness is the Fréchet distance (lower is better), the kernel distance, precision and recall in the features of a classifier that is
    known by its hash, beside the floor that training images have.
    """
    from songfoundry.evaluating import picture as picture_evaluation

    numbers = _numbers("--steps", steps, int, "10,20")
    weights = _numbers("--guidance", guidance, float, "1,1.5,2")
    _prepare(json, markdown)
    with _telling() as tell:
        result = picture_evaluation.evaluate_picture(
            model or ["ddpm"], data=data, judge=judge, split=split, count=count, few=few, samplers=samplers.split(","), steps=numbers,
            longest=longest, guidance=weights, seed=seed, device=device, threads=threads,
            progress=tell,
        )  # fmt: skip
    print_tables(result.about, result.tables())
    _write(result, json, markdown, title)


@evaluate.command()
def sing(
    model: Annotated[list[str] | None, typer.Option(help="Name or path of a model for engine cyclegan; repeatable.")] = None,
    data: Annotated[str, typer.Option(help="Recordings of people, also below SONGFOUNDRY_DATA; made: made by code.")] = "speech_song",
    split: Annotated[str, typer.Option(help="Of people, tunes and songs: test, valid or train.")] = "test",
    count: Annotated[int, typer.Option(help="Pairs of speech and song.")] = 16,
    tunes: Annotated[str, typer.Option(help="MIDI files, an archive or a folder; made: scales made by code.")] = "midi/nottingham.zip",
    songs: Annotated[str, typer.Option(help="Songs with voice and backing apart; made: one made by code.")] = "songs",
    few: Annotated[int, typer.Option(help="Tunes, and songs; 0: none.")] = 4,
    seconds: Annotated[float, typer.Option(help="Of each tune and song, at most.")] = 12.0,
    seed: Annotated[int, typer.Option(help="Chooses among them.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Put the tables into this Markdown file, below --title.")] = None,
    title: Annotated[str, typer.Option(help="Heading of the tables in the Markdown file.")] = "Singing",
) -> None:
    """Let engines sing what held-out people say, and measure pitch, onsets, voice, words and the fit to a backing.

    What is sung is written and heard again by another pitch tracker than the one that made it. Beside the engines stand the speech as it
    is and shifted to the mean pitch, WORLD's copy-synthesis of the recorded singing, that singing itself, and random tunes.
    """
    from songfoundry.evaluating import sing as sing_evaluation

    _prepare(json, markdown)
    with _telling() as tell:
        result = sing_evaluation.evaluate_sing(
            model or [], data=data, split=split, count=count, tunes=tunes, songs=songs, few=few, seconds=seconds, seed=seed,
            progress=tell,
        )  # fmt: skip
    print_tables(result.about, result.tables())
    _write(result, json, markdown, title)


def _numbers(option: str, value: str, kind: type, example: str) -> list:
    """Read numbers that commas part."""
    from songfoundry.errors import ConfigError

    try:
        return [kind(part) for part in value.split(",") if part]
    except ValueError:
        raise ConfigError(f"expected numbers for {option}, as {example}, found {value!r}: change it") from None


def _prepare(json: Path | None, markdown: Path | None) -> None:
    """Refuse files that could not be written in the end, before an hour's work."""
    from songfoundry import hardware
    from songfoundry.audio.atomic import check_target

    for file in (json, markdown):
        if file is not None:
            check_target(file)
    hardware.keep_memory()


@contextmanager
def _telling() -> Iterator[Callable[[str, float], None]]:
    """Show what is being done and how far it is, on a terminal; give the callback that is told."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda what, fraction: bar.update(task, description=what, completed=fraction)


def _write(result, json: Path | None, markdown: Path | None, title: str) -> None:
    """Write an evaluation where it was asked for."""
    import json as json_module

    from songfoundry.audio import io
    from songfoundry.evaluating.pages import write_markdown

    if json:
        io.write_atomic_text(json, json_module.dumps(result.as_json(), indent=1))
    if markdown:
        write_markdown(result, markdown, title, "songfoundry " + shlex.join(sys.argv[1:]))


def print_tables(sentences: list[str], found: list[tuple[str, list[str], list[list[str]]]]) -> None:
    """Print sentences, and tables below them."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200)
    for sentence in sentences:
        console.print(sentence, highlight=False)
    for title, head, rows in found:
        table = Table(title=title, title_justify="left")
        for number, heading in enumerate(head):
            table.add_column(heading, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def print_continuations(result) -> None:
    """Print what was kept, how like real music it is, and what was copied."""
    from songfoundry.evaluating.compose_tables import estimator_sentences

    print_tables([*result.about, *estimator_sentences(result)], result.tables())
    for sentence in result.failed:
        typer.echo(f"not continued: {sentence}")


def print_evaluation(result, definitions: tuple[str, ...] = ()) -> None:
    """Print an evaluation: a table per group, a line per method and definition, a column per stem."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 150)
    one = len(result.groups) == 1 and all(row.songs == 1 for rows in next(iter(result.groups.values())).values() for row in rows)
    console.print(f"Data: {result.data} at {result.rate} Hz; " + ("dB." if one else "median / mean over songs (their number), dB."))
    for group, methods in result.groups.items():
        stems = list(dict.fromkeys(row.stem for rows in methods.values() for row in rows))
        count = max(row.songs for rows in methods.values() for row in rows)
        table = Table(title=f"{group}, n = {count}", title_justify="left")
        for heading in ("method", "definition", *stems, "frames"):
            table.add_column(heading, justify="left" if heading in ("method", "definition") else "right")
        for method, rows in methods.items():
            for definition in dict.fromkeys(row.definition for row in rows):
                if definitions and definition not in definitions:
                    continue
                found = {row.stem: row for row in rows if row.definition == definition}
                cells = [_cell(found.get(stem), one) for stem in stems]
                frames = max((row.frames or 0 for row in found.values()), default=0)
                table.add_row(method, definition, *cells, str(frames or ""))
            if len(definitions) != 1:
                table.add_section()
        console.print(table)
    if result.mixtures:
        console.print(result.about_mixtures(), highlight=False)


def _cell(row, one: bool) -> str:
    """Write a row's median, mean and number of songs, or the one value."""
    if row is None:
        return ""
    return f"{row.median:.2f}" if one else f"{row.median:.2f} / {row.mean:.2f} ({row.songs})"
