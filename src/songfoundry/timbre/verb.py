"""Make notes as a user asks for them: single ones, paths between timbres, the timbre of a recording, a MIDI file played."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from songfoundry import notes as midi
from songfoundry.audio import io
from songfoundry.audio.atomic import AsideFolder, check_target, folder_of, spare
from songfoundry.audio.loudness import CEILING_DBTP, TARGET_LUFS
from songfoundry.errors import Cancelled, ConfigError, InputError, MissingExtraError
from songfoundry.timbre.generator import DEFAULT_MODEL, MOST_NOTES, GeneratedNote, NoteGenerator
from songfoundry.timbre.pitches import parse_pitches, pitch_name
from songfoundry.timbre.player import Player
from songfoundry.timbre.search import Likeness, find_like
from songfoundry.timbre.timbres import Timbre, path, save_timbre

__all__ = ["Notes", "Played", "like", "morph", "note", "play"]

Progress = Callable[[float], bool | None]
PICTURE = "notes.png"
"""Name of the contact sheet."""


@dataclass
class Notes:
    """Hold notes that were made.

    Attributes
    ----------
    model : name. notes : the notes. paths : a sound file each, where files were asked for. picture : the contact sheet's path.
    timbres : paths of the timbres that were saved. likeness : what `like` found. elapsed : seconds of work. said : for the user.
    """

    model: str
    notes: list[GeneratedNote]
    paths: list[str] = field(default_factory=list)
    picture: str | None = None
    timbres: list[str] = field(default_factory=list)
    likeness: Likeness | None = None
    elapsed: float = 0.0
    said: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give plain values for JSON, the samples left out."""
        rows = [
            {
                "path": place, "pitch": one.pitch, "name": pitch_name(one.pitch), "instrument": one.timbre.name, "number": one.number + 1,
                "velocity": one.velocity, "seconds": round(one.seconds, 4), "rate": one.rate,
                "cents": None if one.cents is None else round(one.cents, 2), "said": one.said,
            }
            for one, place in zip(self.notes, self.paths or [None] * len(self.notes), strict=True)
        ]  # fmt: skip
        found = self.likeness
        likeness = None if found is None else {
            "pitch": found.pitch, "cents": round(found.cents, 2), "instrument": found.timbre.name, "drawn_db": round(found.drawn_db, 3),
            "found_db": round(found.found_db, 3),
        }  # fmt: skip
        return {
            "model": self.model, "notes": rows, "picture": self.picture, "timbres": self.timbres, "likeness": likeness,
            "elapsed": round(self.elapsed, 3), "said": self.said,
        }  # fmt: skip


@dataclass
class Played:
    """Hold what came of a piece that was played: its file, length, loudness (LUFS) and true peak (dBTP), how many notes it has."""

    source: str
    model: str
    path: str
    seconds: float
    rate: int
    notes: int
    lufs: float
    dbtp: float
    elapsed: float = 0.0
    said: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in vars(self).items()}


def note(
    pitch: str | int | Sequence[int] = "C4", *, model: str | os.PathLike | NoteGenerator = DEFAULT_MODEL, instrument: str | None = None,
    timbre: str | os.PathLike | Timbre | None = None, seed: int = 0, count: int = 1, velocity: int = 100, duration: float | None = None,
    out: str | os.PathLike | None = None, save: str | os.PathLike | None = None, format: str = "wav", picture: bool = True,
    device: str = "auto", threads: int | None = None, progress: Progress | None = None, cancel: threading.Event | None = None,
) -> Notes:  # fmt: skip
    """Make single notes.

    Parameters
    ----------
    pitch : MIDI number(s), or text: "C4", "60", "A3..A5". model : a name, a path, or a `NoteGenerator`.
    instrument, seed, count : so many timbres are drawn, of this instrument or of drawn ones, and each plays every pitch.
    timbre : this one instead, a `Timbre` or its file. velocity : 1 to 127, loudness and brightness.
    duration : seconds from the key to silence; None for what the model makes.
    out : a folder for a sound file each and, with `picture`, a contact sheet; None to write none. format : as `io.open_writer`.
    save : an .npz for the timbre (of several, numbered).
    progress : called with the fraction done; returns False to stop. cancel : stops when set.

    Raises
    ------
    InputError, ConfigError, CheckpointError, OutputError, Cancelled : one sentence each; no file is left.
    """
    begun = time.perf_counter()
    _check_places(save, out, count)
    generator = _generator(model, device, threads)
    if isinstance(timbre, str | os.PathLike):
        timbre = generator.load_timbre(timbre)
    made = generator.notes(
        pitch, instrument=instrument, timbre=timbre, seed=seed, count=count, velocity=velocity, duration=duration,
        progress=_part(progress, 0.9), cancel=cancel,
    )  # fmt: skip
    return _finished(Notes(generator.name, made), out, format, picture, save, begun, progress)


def morph(
    first: str | os.PathLike | Timbre, second: str | os.PathLike | Timbre, *, steps: int = 9, pitch: str | int | Sequence[int] = "C4",
    model: str | os.PathLike | NoteGenerator = DEFAULT_MODEL, velocity: int = 100, duration: float | None = None,
    out: str | os.PathLike | None = None, format: str = "wav", picture: bool = True, device: str = "auto", threads: int | None = None,
    progress: Progress | None = None, cancel: threading.Event | None = None,
) -> Notes:  # fmt: skip
    """Make notes on the spherical path from one timbre to another, both ends among the `steps` (2 to 256); else as `note`."""
    begun = time.perf_counter()
    if not 2 <= steps <= 256:
        raise ConfigError(f"expected 2 to 256 steps, found {steps}: choose another number")
    _check_places(None, out)
    generator = _generator(model, device, threads)
    ends = [each if isinstance(each, Timbre) else generator.load_timbre(each) for each in (first, second)]
    heights = parse_pitches(pitch)
    every = [(number, timbre, height) for number, timbre in enumerate(path(*ends, steps)) for height in heights]
    made = generator.make(
        [timbre for _, timbre, _ in every], [height for *_, height in every], velocity=velocity, duration=duration,
        progress=_part(progress, 0.9), cancel=cancel,
    )  # fmt: skip
    for one, (number, *_) in zip(made, every, strict=True):
        one.number = number
    return _finished(Notes(generator.name, made), out, format, picture, None, begun, progress)


def like(
    recording: str | os.PathLike | np.ndarray, rate: int | None = None, *, pitch: str | int | Sequence[int] | None = None,
    model: str | os.PathLike | NoteGenerator = DEFAULT_MODEL, instrument: str | None = None, seed: int = 0, velocity: int = 100,
    duration: float | None = None, out: str | os.PathLike | None = None, save: str | os.PathLike | None = None, format: str = "wav",
    picture: bool = True, device: str = "auto", threads: int | None = None, progress: Progress | None = None,
    cancel: threading.Event | None = None, **search: int,
) -> Notes:  # fmt: skip
    """Find the timbre that is nearest to a recording of a note (`songfoundry.timbre.search.find_like`), and make notes with it.

    `pitch` are the pitches of the notes; None for the recording's own. A single one is also taken for the recording's where that has none
    that can be measured. `search`: `drawn`, `steps`. Else as `note`.
    """
    begun = time.perf_counter()
    _check_places(save, out)
    generator = _generator(model, device, threads)
    heights = None if pitch is None else parse_pitches(pitch)
    generator.check(len(heights or [0]), velocity, duration)
    found = find_like(
        generator, recording, rate, otherwise=heights[0] if heights and len(heights) == 1 else None, instrument=instrument, seed=seed,
        progress=_part(progress, 0.8), cancel=cancel, **search,
    )  # fmt: skip
    heights = heights or found.pitch
    made = generator.notes(heights, timbre=found.timbre, velocity=velocity, duration=duration, cancel=cancel)
    spared = [recording] if isinstance(recording, str | os.PathLike) else []
    result = Notes(generator.name, made, likeness=found, said=list(found.said))
    return _finished(result, out, format, picture, save, begun, progress, spared)


def play(
    source, *, out: str | os.PathLike, model: str | os.PathLike | NoteGenerator = DEFAULT_MODEL,
    instruments: str | Sequence[str] | None = None, interpolate: float | None = None, seed: int = 0, rate: int = 44100,
    loudness: float = TARGET_LUFS, format: str | None = None, depth: str | None = None, bitrate: float | None = None,
    device: str = "auto", threads: int | None = None, progress: Progress | None = None, cancel: threading.Event | None = None,
) -> Played:  # fmt: skip
    """Play a MIDI file with generated timbres into a file, a few seconds at a time, at one loudness and never clipped.

    Parameters
    ----------
    source : a MIDI file's path or bytes, or a `symusic.Score`. out : a sound file, or "-" for standard output.
    instruments : for the pitched tracks, see `songfoundry.timbre.casting.cast`; None for those nearest to their programs.
    interpolate : seconds from one instrument of a path to the next; None to stay. seed : of the latents, one an instrument.
    rate, format, depth, bitrate : of the file. loudness : LUFS; true peaks stay below -1 dBTP.
    progress : called with the fraction done; returns False to stop. cancel : stops when set.

    Raises
    ------
    InputError, ConfigError, CheckpointError, OutputError, MissingExtraError, Cancelled : one sentence each; no file is left.
    """
    from songfoundry.playing.rendering import check_loudness
    from songfoundry.timbre.spool import Spool

    begun, said = time.perf_counter(), []
    check_loudness(rate, loudness)
    format = io.agreed_format(out, format)
    if (near := io.nearest_rate(format, rate)) != rate:
        said.append(f"{format} has no rate of {rate} Hz: written at {near} Hz")
        rate = near
    named = isinstance(source, str | os.PathLike)
    opened = midi.open_midi(source)
    name, parts = opened.name, midi.parts(opened.score)
    said += opened.said
    count = sum(len(part.starts) for part in parts)
    if not count:
        raise InputError(f"expected notes to play in {name}, found none: check that it is the right file")
    spare([out], [source] if named else [], "the piece itself")
    player = Player(_generator(model, device, threads), instruments=instruments, interpolate=interpolate, seed=seed)

    def show(share: float) -> bool | None:
        if cancel is not None and cancel.is_set():
            return False
        return None if progress is None else progress(0.9 * share)

    form = {"format": format, "depth": depth, "bitrate": bitrate, "tags": {"software": "songfoundry"}}
    # Opened before the work: a format or folder that cannot be written to is told at once.
    with folder_of(out), io.open_writer(out, rate=rate, channels=2, **form) as writer, Spool(rate) as spool:
        spool.take(player.blocks(parts, rate, show))
        spool.level(loudness, CEILING_DBTP)
        _go_on(progress, 0.95)
        for block in spool.blocks():
            writer.write(block)
        made = Played(name, player.generator.name, os.fspath(out), spool.frames / rate, rate, count, spool.lufs, spool.dbtp)
    made.said = said + player.said
    if spool.lufs < loudness - 0.5:
        made.said.append(f"{spool.lufs:.1f} LUFS instead of {loudness:g}: more would have flattened its peaks")
    made.elapsed = time.perf_counter() - begun
    if progress is not None:
        progress(1.0)
    return made


def _generator(model, device: str, threads: int | None) -> NoteGenerator:
    return model if isinstance(model, NoteGenerator) else NoteGenerator(model, device, threads)


def _finished(
    made: Notes, out, format: str, picture: bool, save, begun: float, progress: Progress | None, spared: Sequence = ()
) -> Notes:
    """Write what was asked for, all of it or nothing, and the time that it took."""
    with ExitStack() as stack:
        timbres = None
        if out is not None:
            aside = stack.enter_context(AsideFolder(out, spared))
            names = _names(made.notes, format)
            for one, name in zip(made.notes, names, strict=True):
                io.write(aside.folder / name, one.samples[None], one.rate, format=format, tags={"software": "songfoundry"})
            if picture:
                _draw(made, aside.folder / PICTURE)
            _go_on(progress, 0.98)
        if save is not None:
            timbres = aside if out is not None and _beside(save, out) else stack.enter_context(AsideFolder(Path(save).parent))
            _save(made, save, timbres.folder)
        if out is not None:
            there = {str(place) for place in aside.commit()}
            made.paths = [str(Path(out) / name) for name in names]
            made.picture = str(Path(out) / PICTURE) if str(Path(out) / PICTURE) in there else None
        if timbres is not None and (out is None or timbres is not aside):
            timbres.commit()
    for sentence in dict.fromkeys(sentence for one in made.notes for sentence in one.said):
        made.said.append(sentence)
    made.elapsed = time.perf_counter() - begun
    if progress is not None:
        progress(1.0)
    return made


def _check_places(save, out, count: int = 1) -> None:
    """Refuse, before any work, a folder that is named like a sound, and names by which no timbre can be saved."""
    if out is not None and Path(out).suffix.lower().lstrip(".") in (*io.FORMATS, "wave", "oga") and not Path(out).is_dir():
        raise ConfigError(f"expected a folder for the notes, found '{os.fspath(out)}', a sound file's name: take its ending away")
    if save is None:
        return
    if Path(save).suffix != ".npz":
        raise ConfigError(f"expected a name that ends in .npz for a timbre, found '{os.fspath(save)}': change it")
    # The folder of the notes is made in time.
    for place in _places(save, min(count, MOST_NOTES)):
        if place.is_dir() or not _beside(save, out):
            check_target(place)


def _beside(save, out) -> bool:
    """Tell whether a timbre is to lie in the folder of the notes."""
    return out is not None and Path(save).absolute().parent == Path(out).absolute()


def _places(save, count: int) -> list[Path]:
    """Name the files of so many timbres: one is the very file, several are numbered."""
    place = Path(save)
    return [place] if count == 1 else [place.with_stem(f"{place.stem}-{number}") for number in range(1, count + 1)]


def _save(made: Notes, save, folder: Path) -> None:
    """Write the timbres aside."""
    timbres = list({one.timbre.key: one.timbre for one in made.notes}.values())
    for place, timbre in zip(_places(save, len(timbres)), timbres, strict=True):
        save_timbre(folder / place.name, timbre)
        made.timbres.append(str(place))


def _draw(made: Notes, place: Path) -> None:
    """Draw the contact sheet, where that can be done."""
    from songfoundry.timbre.sheet import sheet

    try:
        sheet(made.notes, place, title=made.model)
    except MissingExtraError as error:
        made.said.append(f"no picture: {error}")


def _names(made: Sequence[GeneratedNote], format: str) -> list[str]:
    """Name the files: instrument, pitch (s for sharp) and, of several timbres, the number: `flute-Cs4-2.wav`."""
    several = len({one.number for one in made}) > 1
    stems = [f"{one.timbre.name}-{pitch_name(one.pitch, 's')}" + (f"-{one.number + 1}" if several else "") for one in made]
    # Instruments' names come out of a file: no folder may hide in them.
    stems = ["".join(letter if letter.isalnum() or letter in "-+_ " else "_" for letter in stem) for stem in stems]
    seen: Counter = Counter()
    names = []
    for stem in stems:
        seen[stem] += 1
        names.append(f"{stem}{f'-again-{seen[stem] - 1}' if seen[stem] > 1 else ''}.{format}")
    return names


def _part(progress: Progress | None, share: float) -> Progress | None:
    """Give a callback that fills the first share of another's range."""
    return None if progress is None else lambda fraction: progress(share * fraction)


def _go_on(progress: Progress | None, share: float) -> None:
    """Report progress; raise `Cancelled` if that is the answer."""
    if progress is not None and progress(share) is False:
        raise Cancelled("expected to make all notes, found that the callback said stop: nothing was kept")
