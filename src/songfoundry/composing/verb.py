"""Compose as a user asks for it: prompts in, MIDI files, sound, pictures, scores and a report out."""

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from songfoundry.audio.atomic import AsideFolder, write_atomic_text
from songfoundry.composing.composer import DEFAULT_MODEL, Composer
from songfoundry.composing.prompts import notes_of
from songfoundry.composing.wishes import option
from songfoundry.composing.writing import Composition
from songfoundry.errors import Cancelled, ConfigError, InputError, MissingExtraError, OutputError, SongfoundryError
from songfoundry.metrics.key import key_of
from songfoundry.notes import shared_channels, write_midi
from songfoundry.notes.vocabulary import KEYS

__all__ = ["SUFFIXES", "Outcome", "Piece", "compose", "compose_all", "find_prompts", "write_report"]

SUFFIXES = (".mid", ".midi", ".smf", ".kar")
"""Suffixes of the files in a folder that are taken for prompts; a file that is named itself may have any."""

Progress = Callable[[str, float, int, int], bool | None]


@dataclass
class Piece:
    """Hold one variation that was written.

    Attributes
    ----------
    source : the prompt's path, "" for none. paths : files by kind: "mid", "wav", "png", "musicxml", "page-01" ... composition : the
        music. only_new : the files leave the prompt out. rendering : what `songfoundry.playing.rendering.render` says of the
        sound. said : sentences for the user.
    """

    source: str
    model: str
    composition: Composition
    paths: dict[str, str] = field(default_factory=dict)
    only_new: bool = False
    rendering: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def notes_per_second(self) -> float:
        """Notes written for each second of work on this variation and those that were written with it."""
        return len(self.composition.notes) / self.composition.elapsed if self.composition.elapsed else 0.0

    def as_json(self) -> dict[str, Any]:
        """Give plain values for a line of the report."""
        from songfoundry.playing import rendering

        made, plan = self.composition, self.composition.plan
        written = notes_of(made.only_new)
        heard = key_of(written) if len(written) else None
        # Of the file, not of the plan: an open lock lets the model change them.
        metres = [f"{event.numerator}/{event.denominator}" for event in _in_force(made.score.time_signatures, made.split_tick)]
        tempi = [round(tempo.qpm, 4) for tempo in _in_force(made.score.tempos, made.split_tick)] or [round(plan.pace[0][1], 4)]
        metres = metres or [f"{plan.metre[0]}/{plan.metre[1]}"]
        return {
            "source": self.source, "mode": plan.mode, "model": self.model, "variation": made.variation + 1, "seed": made.seed,
            "files": self.paths, "only_new": self.only_new, "prompt_bars": plan.prompt_bars, "bars": plan.bars,
            "metre": metres[0], "metres": metres, "qpm": tempi[0], "style": plan.style,
            "key": None if plan.key is None else KEYS[plan.key], "key_written": None if heard is None else KEYS[heard],
            "programs": sorted({note.program for note in made.notes}), "notes": len(made.notes), "notes_kept": made.placed,
            "tokens": made.tokens, "split_seconds": round(rendering.seam_seconds(made.score, made.split_tick), 6),
            "elapsed": round(made.elapsed, 3), "notes_per_second": round(self.notes_per_second, 2), "said": self.said,
            **{name: self.rendering[name] for name in ("lufs", "dbtp", "prompt_lufs", "continuation_lufs", "player") if self.rendering},
        }  # fmt: skip


@dataclass
class Outcome:
    """Hold what came of one prompt: pieces, or the sentence that says why there are none."""

    source: str
    pieces: list[Piece] = field(default_factory=list)
    error: str | None = None


def find_prompts(sources: Sequence[str | os.PathLike]) -> list[tuple[str, str]]:
    """List the MIDI files that files and folders stand for, each with the name that its results get.

    Raises
    ------
    InputError : a folder without one.
    """
    found = []
    for source in map(os.fspath, sources):
        paths = [Path(source)]
        if os.path.isdir(source):
            paths = sorted(path for path in Path(source).iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
            if not paths:
                raise InputError(f"expected MIDI files in the folder '{source}', found none: name another folder")
        found += [(os.fspath(path), path.stem, path.name) for path in paths]
    count = Counter(stem for _, stem, _ in found)
    named = [(path, stem if count[stem] == 1 else name.replace(".", "-")) for path, stem, name in found]
    for name, number in Counter(name for _, name in named).items():
        if number > 1:
            raise ConfigError(f"expected prompts of different names, found {number} called '{name}': use another --out for each")
    return named


def compose(
    prompt=None, *, model: str | os.PathLike | Composer = DEFAULT_MODEL, variations: int | None = None, seed: int = 0,
    between: tuple[Any, Any] | None = None, steps: int | None = None, keep_prompt: bool = True, out: str | os.PathLike | None = None,
    name: str | None = None, audio: bool = True, picture: bool = True, score: bool = False,
    soundfont: str | os.PathLike | None = None, balance: bool = True, device: str = "auto", threads: int | None = None,
    progress: Callable[[float], bool | None] | None = None, cancel: threading.Event | None = None, **wishes: Any,
) -> list[Piece]:  # fmt: skip
    """Go on from a prompt, begin from nothing, accompany, fill a gap, or write between two prompts.

    Parameters
    ----------
    prompt : a MIDI file's path or bytes, a `symusic.Score`, or None to begin from nothing.
    model : "transformer", "lstm", a name, a path, or a `Composer`, whose own device and threads then hold.
    variations, seed : how many (4 if not told); each is drawn by the seed and its number alone.
    between, steps : two prompts, and in how many steps (5 if not told) to go from the one's continuation to the other's.
    keep_prompt : whether the files hold the prompt too, as it was. An accompaniment or a filled gap always keeps it.
    out : a folder for the files; None to write none. name : how they begin; None for the prompt's name.
    audio, picture, score : whether to write .wav; .png (a piano roll); MusicXML and an engraved page beside the .mid.
    soundfont : an .sf2 to play with, "auto" for one of the system's; None for the built-in synthesiser.
    balance : scale the velocities of a continuation so that it is as loud as its prompt, and those of a filled gap or an
        accompaniment to what they replace (`songfoundry.playing.rendering.balance`).
    wishes : fields of `songfoundry.composing.wishes.Wishes`: bars, temperature, lock, key, metre, melody, chords, replace_bars, end ...
    progress : called with the fraction done; returns False to stop. cancel : stops when set.

    Returns
    -------
    pieces : one a variation (or step).

    Raises
    ------
    InputError, ConfigError, CheckpointError, OutputError, MissingExtraError, Cancelled : one sentence each; no file is left.
    """
    _check_together(prompt, between, variations, steps, keep_prompt, wishes)
    if soundfont is not None:
        _check_soundfont(soundfont, audio)
    composer = model if isinstance(model, Composer) else Composer(model, device, threads)
    taken = [one for one in (prompt, *(between or ())) if isinstance(one, str | os.PathLike)]
    with nullcontext() if out is None else AsideFolder(out, taken, made_from="prompt") as stage:
        if between is not None:
            made = composer.blend(*between, steps=5 if steps is None else steps, seed=seed, cancel=cancel, **wishes)
            source, name = " ".join(map(_label, between)), name or "-".join(map(_stem, between))
        else:
            many, on = 4 if variations is None else variations, _part(progress, 0.0, 0.7)
            made = composer.compose(prompt, variations=many, seed=seed, progress=on, cancel=cancel, **wishes)
            source, name = _label(prompt), name or _stem(prompt)
        alone = [not keep_prompt and one.plan.mode == "continue" for one in made]
        pieces = [Piece(source, composer.name, one, only_new=new, said=list(one.said)) for one, new in zip(made, alone, strict=True)]
        on = _part(progress, 0.7, 0.99)
        for number, piece in enumerate(pieces):
            if balance:
                _balance(piece)
            if stage is not None:
                _write(piece, stage.folder, f"{name}-{number + 1}", audio, picture, score, soundfont)
            if (on is not None and on((number + 1) / len(pieces)) is False) or (cancel is not None and cancel.is_set()):
                raise Cancelled("expected to write all files, found the work cancelled: nothing was kept")
        if stage is not None:
            stage.commit()
            for piece in pieces:
                piece.paths = {kind: str(stage.out / Path(path).relative_to(stage.folder)) for kind, path in piece.paths.items()}
    if progress is not None:
        progress(1.0)
    return pieces


def _check_together(prompt, between, variations: int | None, steps: int | None, keep_prompt: bool, wishes: dict[str, Any]) -> None:
    """Refuse what would be passed over in silence; raises `ConfigError`."""
    if between is not None and prompt is not None:
        raise ConfigError("expected a prompt or --between, found both: leave one out")
    if between is None and steps is not None:
        raise ConfigError("expected --steps only with --between, found it without: name two prompts, or leave it out")
    if between is not None and variations is not None:
        raise ConfigError("expected --steps with --between, found --variations: say how many pieces by --steps")
    for name in ("melody", "replace_bars"):
        if not keep_prompt and wishes.get(name) is not None:
            raise ConfigError(f"expected --only-new or {option(name)}, found both: what that writes lies within the prompt, leave one out")


def _check_soundfont(soundfont, audio: bool) -> None:
    """Refuse a SoundFont that is not there, or that nothing is played with."""
    from songfoundry.playing import rendering

    if not audio:
        raise ConfigError("expected --soundfont only with sound, found --no-audio: leave one out")
    try:
        rendering.check_soundfont(soundfont)
    except InputError as error:
        raise ConfigError(str(error)) from error  # of all prompts


def compose_all(
    sources: Sequence[str | os.PathLike], *, out: str | os.PathLike, model: str | os.PathLike | Composer = DEFAULT_MODEL,
    device: str = "auto", threads: int | None = None, progress: Progress | None = None, cancel: threading.Event | None = None,
    **options: Any,
) -> list[Outcome]:  # fmt: skip
    """Compose for each of many prompts: one that cannot be used says why and does not stop the others.

    Parameters
    ----------
    sources : files and folders; none to begin from nothing (or for `between`). out : folder.
    progress : called with (prompt, fraction of it, its number from 1, how many); returns False to stop.
    options : those of `compose`.

    Raises
    ------
    ConfigError, CheckpointError, InputError : what is wrong for all prompts. Cancelled : as asked.
    """
    prompts = find_prompts(sources) if sources else [(None, None)]
    composer = model if isinstance(model, Composer) else Composer(model, device, threads)
    outcomes = []
    for number, (source, name) in enumerate(prompts, 1):

        def show(fraction: float, source=source, number=number) -> bool | None:
            return None if progress is None else progress(source or "new", fraction, number, len(prompts))

        try:
            pieces = compose(source, model=composer, out=out, name=name, progress=show, cancel=cancel, **options)
            outcomes.append(Outcome(source or "", pieces))
        except (Cancelled, ConfigError, OutputError):
            raise
        except SongfoundryError as error:
            outcomes.append(Outcome(source or "", error=str(error)))
    return outcomes


def write_report(path: str | os.PathLike, pieces: Sequence[Piece]) -> None:
    """Write the report, one line of JSON a variation; raises `OutputError`."""
    write_atomic_text(path, "".join(json.dumps(piece.as_json(), ensure_ascii=False) + "\n" for piece in pieces))


def _in_force(events, tick: int) -> list:
    """List the event that holds at a tick, and those behind it."""
    ordered = sorted(events, key=lambda event: event.time)
    return ordered[max(0, sum(event.time <= tick for event in ordered) - 1) :]


def _balance(piece: Piece) -> None:
    """Bring a continuation to its prompt's loudness, and what is written in the place of other notes to theirs, in place."""
    from songfoundry.playing import rendering

    made, plan = piece.composition, piece.composition.plan
    try:
        if plan.mode == "continue":
            made.score = rendering.balance(made.score, made.split_tick)
        elif plan.replaced is not None:
            made.score = rendering.balance_to(made.score, plan.replaced, plan.origin, plan.limit, plan.kept)
    except MissingExtraError as error:
        piece.said.append(f"the loudness of what was written was left as it came: {error}")


def _write(piece: Piece, folder: Path, name: str, audio: bool, picture: bool, engraved: bool, soundfont) -> None:
    """Write the files of one variation and note their paths."""
    made = piece.composition
    music = made.only_new if piece.only_new else made.score
    split = made.split_tick if made.plan.mode == "continue" and not piece.only_new else None
    piece.paths["mid"] = str(folder / f"{name}.mid")
    write_midi(music, piece.paths["mid"])
    if (lost := shared_channels(music)) is not None:
        piece.said.append(lost)
    if audio:
        from songfoundry.playing import rendering

        piece.paths["wav"] = str(folder / f"{name}.wav")
        piece.rendering = rendering.render(music, soundfont=soundfont, out=piece.paths["wav"], split_tick=split).as_json()
        piece.said += piece.rendering["notes"]
    if picture:
        from songfoundry.playing import pianoroll

        try:
            pianoroll.picture(music, split_tick=split, path=folder / f"{name}.png")
            piece.paths["png"] = str(folder / f"{name}.png")
        except MissingExtraError as error:
            piece.said.append(f"no picture: {error}")
    if engraved:
        from songfoundry.playing import engraving

        for part, content in engraving.contents(music, title=name).items():
            # score.musicxml, page-01.svg ...
            kind = "musicxml" if part.endswith(".musicxml") else Path(part).stem
            piece.paths[kind] = str(folder / (f"{name}.musicxml" if kind == "musicxml" else f"{name}-{part}"))
            write_atomic_text(piece.paths[kind], content)


def _label(prompt) -> str:
    """Name a prompt in a report."""
    return "" if prompt is None else os.fspath(prompt) if isinstance(prompt, str | os.PathLike) else "array"


def _stem(prompt) -> str:
    return Path(_label(prompt)).stem or "new"


def _part(progress, begin: float, end: float):
    """Give a callback that fills a part of another's range."""
    return None if progress is None else lambda fraction: progress(begin + (end - begin) * fraction)
