"""Make MIDI sound: the verb `render`, one loudness for every piece, and one for a prompt and what continues it.

Two measures keep prompt and continuation together. `balance` scales the velocities of what was written, so that the MIDI
file itself is even and sounds so on any player. `render` with ``split_tick`` then takes away what a SoundFont's own velocity
curve leaves: a step of gain at the seam, drawn out over one beat. Both measure by ITU-R BS.1770 what is heard on either side.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from songfoundry import notes
from songfoundry.audio import io
from songfoundry.audio.atomic import check_folder, check_target, spare
from songfoundry.audio.loudness import CEILING_DBTP, TARGET_LUFS, integrated, level
from songfoundry.errors import Cancelled, ConfigError, InputError, MissingExtraError, OutputError
from songfoundry.orchestra import Orchestra

__all__ = [
    "Rendering", "balance", "balance_to", "check_loudness", "check_soundfont", "loudness_of_parts", "render", "seam_seconds",
    "system_soundfonts",
]  # fmt: skip

BUILTIN = "builtin"
RATES = (8000, 192_000)
_KNOWN = ("FluidR3_GM.sf2", "GeneralUser-GS.sf2", "GeneralUser GS.sf2", "default-GM.sf2", "TimGM6mb.sf2")
_FOLDERS = (
    "~/.local/share/soundfonts", "~/.local/share/sounds/sf2", "/usr/share/sounds/sf2", "/usr/share/soundfonts",
    "/usr/local/share/soundfonts", "/usr/local/share/sounds/sf2", "/opt/homebrew/share/soundfonts", "~/Library/Audio/Sounds/Banks",
)  # fmt: skip
_BALANCE_RATE = 22050
_MOST_DB = 30.0
"""The largest step between prompt and continuation that is evened out; one of them is as good as silent beyond it."""


class Player(Protocol):
    """Play parts in the place of the built-in orchestra; `name` and `said` (sentences for the user) go into the rendering."""

    name: str
    said: list[str]

    def perform(self, parts: Sequence[notes.Part], rate: int, progress: Callable[[float], bool | None] | None = None) -> np.ndarray:
        """Give float32 (2, samples) at `rate` Hz, at any level."""
        ...


@dataclass
class Rendering:
    """Hold what came of rendering a piece.

    Attributes
    ----------
    source : the file's name, or "score". path : the file that was written; None where none was asked for.
    samples : float32 (2, samples), full scale ±1, at `rate` Hz. seconds : their length.
    lufs, dbtp : integrated loudness and true peak. player : "builtin", the SoundFont's file name, or the player's.
    prompt_lufs, continuation_lufs : of what lies before and after the seam, where one was named.
    others : the picture's file and the score's folder, where they were asked for.
    elapsed : seconds of work. notes : sentences for the user.
    """

    source: str
    samples: np.ndarray
    rate: int
    lufs: float
    dbtp: float
    player: str
    path: str | None = None
    prompt_lufs: float | None = None
    continuation_lufs: float | None = None
    others: list[str] = field(default_factory=list)
    elapsed: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.rate

    def as_json(self) -> dict[str, Any]:
        """Give plain values for JSON, the samples left out."""
        row = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "samples"} | {"seconds": self.seconds}
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}


def render(
    source,
    *,
    soundfont: str | os.PathLike | None = None,
    player: Player | None = None,
    rate: int = 44100,
    loudness: float = TARGET_LUFS,
    out: str | os.PathLike | None = None,
    format: str | None = None,
    depth: str | None = None,
    bitrate: float | None = None,
    split_tick: int | None = None,
    picture: str | os.PathLike | None = None,
    score: str | os.PathLike | None = None,
    progress: Callable[[float], bool | None] | None = None,
) -> Rendering:
    """Play a piece at one loudness, never clipped, and write it where a file is named.

    Parameters
    ----------
    source : a MIDI file's path or bytes, or a `symusic.Score`.
    soundfont : None or "builtin" for the built-in orchestra; "auto" for the best SoundFont that the system has, played by
        FluidSynth, else the built-in orchestra; or the path of an .sf2 file.
    player : what plays in their place, a `songfoundry.timbre.player.Player` say. It cannot go with a SoundFont.
    rate : Hz. A format that does not have it (Opus has 48,000 at the most) is written at the nearest one that it has.
    loudness : LUFS to bring the whole piece to; where peaks would have to be flattened for it, it stays softer.
    out : a file, or "-" for standard output; None to return samples alone. format, depth, bitrate : as `io.open_writer`.
    split_tick : where a continuation begins: it is brought to the prompt's loudness by a step drawn out over a beat.
    picture : a PNG file for a piano roll. score : a folder for MusicXML and its engraved pages. Nothing is written before all
        of it is made.
    progress : called with the share that is done; returns False to stop.

    Raises
    ------
    InputError : no MIDI, no notes, more than an hour, or a SoundFont that does not load.
    ConfigError : a rate or loudness that makes no sense. OutputError : the file cannot be written.
    MissingExtraError : symusic, pyloudnorm or (with a SoundFont) FluidSynth is not installed. Cancelled : as asked.
    """
    begin = time.perf_counter()
    check_loudness(rate, loudness)
    if player is not None and soundfont is not None:
        raise ConfigError("expected a SoundFont or generated timbres, found both: leave one out")
    said: list[str] = []
    if out is not None:
        format = format or io.format_of(out)
        if (near := io.nearest_rate(format, rate)) != rate:
            said.append(f"{format} has no rate of {rate} Hz: written at {near} Hz")
            rate = near
    opened = notes.open_midi(source)
    name, piece = opened.name, opened.score
    said += opened.said
    pieces = notes.parts(piece)
    if not pieces:
        raise InputError(f"expected notes to play in {name}, found none: check that it is the right file")
    if out is not None:
        spare([out], [source] if isinstance(source, str | os.PathLike) else [], "the piece itself")
        # Before the work: a format or folder that cannot be written to.
        io.open_writer(out, rate=rate, channels=2, format=format, depth=depth, bitrate=bitrate).abort()
    if picture is not None:
        check_target(picture)
    if score is not None:
        check_folder(score)
    others = _others(piece, name, split_tick, picture, score)
    font = _player(soundfont, said)
    try:
        samples = _played(pieces, player or font, rate, progress)
    except MissingExtraError:
        if str(soundfont) != "auto":
            raise
        said.append("the FluidSynth library was not found on this system: the built-in orchestra plays")
        font, samples = None, _played(pieces, None, rate, progress)
    seam = None if split_tick is None else seam_seconds(piece, split_tick)
    end = max(part.end for part in pieces)
    if seam is not None:
        samples = _evened(samples, rate, seam, end, _beat_seconds(piece, split_tick))
    _go_on(progress, 0.92)
    made = level(samples, rate, loudness, CEILING_DBTP)
    _go_on(progress, 0.97)
    if not math.isfinite(made.lufs):
        said.append("nothing can be heard: all notes are silent")
    elif made.lufs < loudness - 0.5:
        said.append(f"{made.lufs:.1f} LUFS instead of {loudness:g}: more would have flattened its peaks")
    if player is not None:
        said += player.said
    player_name = player.name if player is not None else BUILTIN if font is None else font.name
    result = Rendering(name, made.samples, rate, made.lufs, made.dbtp, player_name, notes=said)
    if seam is not None:
        result.prompt_lufs, result.continuation_lufs = _two_loudnesses(made.samples, rate, seam, end)
    if out is not None:
        io.write(out, made.samples, rate, format=format, depth=depth, bitrate=bitrate, tags={"software": "songfoundry"})
        result.path = os.fspath(out)
    try:
        for write in others:
            result.others.append(write())
    except OutputError:
        # A disk that fills up, say: what was written with it goes too.
        for path in {result.path, picture} - {None, "-"}:
            Path(path).unlink(missing_ok=True)
        raise
    _go_on(progress, 1.0, stop=False)
    result.elapsed = time.perf_counter() - begin
    return result


def check_loudness(rate: int, loudness: float) -> None:
    """Refuse a rate in Hz or a loudness in LUFS that makes no sense; raises `ConfigError`."""
    if not (isinstance(rate, int) and RATES[0] <= rate <= RATES[1]):
        raise ConfigError(f"expected a rate of {RATES[0]} to {RATES[1]} Hz, found {rate}: choose 44100 or 48000")
    if not -70 <= loudness <= -5:
        raise ConfigError(f"expected a loudness of -70 to -5 LUFS, found {loudness:g}: choose one such as -16")


def _others(piece, name: str, split_tick: int | None, picture, score) -> list[Callable[[], str]]:
    """Make the picture and the written score; give what will write them and name them."""
    title, writers = Path(name).stem if name.lower().endswith((".mid", ".midi")) else "", []
    if picture is not None:
        from songfoundry.playing import pianoroll

        image = pianoroll.picture(piece, split_tick, title=title)
        writers.append(lambda: (io.write_atomic_bytes(picture, image), os.fspath(picture))[1])
    if score is not None:
        from songfoundry.playing import engraving

        contents = engraving.contents(piece, title=title)
        writers.append(lambda: str(engraving.write_contents(contents, score)[0].parent))
    return writers


def balance(score, split_tick: int):
    """Bring what begins at or after a tick to the loudness of what precedes it, by its velocities.

    The velocities of all written notes are scaled alike (and kept within 1-127), so that accents stay. Measured on the
    built-in orchestra; where one side is silent, nothing is done.

    Args:
        score: a ``symusic.Score`` in ticks.
        split_tick: where the continuation begins.

    Returns:
        a new score; its two sides differ by less than 0.3 dB, unless velocities reached their end.
    """
    seam, players = seam_seconds(score, split_tick), Orchestra(_BALANCE_RATE)

    def step(made) -> float:
        pieces = notes.parts(made)
        end = max((part.end for part in pieces), default=0.0)
        before, after = _two_loudnesses(players.perform(pieces, wet=0.0), _BALANCE_RATE, seam, end)
        return before - after

    return _settled(score, lambda track, note: note.time >= split_tick, step)


def balance_to(score, replaced, begin: int, end: int, kept: int | None = None):
    """Bring notes to the loudness of those in whose place they are, by their velocities; measured as by `balance`.

    Args:
        score: a ``symusic.Score`` in ticks. replaced: another, of the notes that were there.
        begin, end: ticks; what is scaled and measured begins between them.
        kept: the number of a track that is left as it is.

    Returns:
        a new score.
    """
    players = Orchestra(_BALANCE_RATE)

    def chosen(track: int, note) -> bool:
        return track != kept and begin <= note.time < end

    def loudness(piece, choose) -> float:
        alone = piece.copy()
        for number, track in enumerate(alone.tracks):
            found = [note.copy() for note in track.notes if choose(number, note)]
            track.notes.clear()
            track.notes.extend(found)
        pieces = notes.parts(alone)
        sound, since = players.perform(pieces, wet=0.0), seam_seconds(alone, begin)
        return _two_loudnesses(sound, _BALANCE_RATE, since, max((part.end for part in pieces), default=0.0))[1]

    wanted = loudness(replaced, lambda number, note: True)
    return _settled(score, chosen, lambda made: wanted - loudness(made, chosen))


def _settled(score, chosen: Callable[[int, Any], bool], step: Callable[[Any], float]):
    """Scale the velocities of the notes that are chosen until `step`, the dB that they lack, is nearly none."""
    best, scale = (math.inf, score), 1.0
    for _ in range(5):
        made = _scaled(score, chosen, scale)
        lacking = step(made)
        if not math.isfinite(lacking) or abs(lacking) > 2 * _MOST_DB:
            return score
        if abs(lacking) < best[0]:
            best = abs(lacking), made
        if abs(lacking) < 0.2:
            break
        # Levels go with the square of the velocity; what rings on over a seam makes the first step fall short.
        scale *= 10 ** (lacking / 40)
    return best[1]


def loudness_of_parts(score, split_tick: int, *, soundfont: str | os.PathLike | None = None, rate: int = 22050) -> tuple[float, float]:
    """Measure, in LUFS, what is heard before and after a tick when a score is played as it stands, with nothing evened out."""
    pieces = notes.parts(score)
    samples = _played(pieces, _player(soundfont, []), rate, None)
    return _two_loudnesses(samples, rate, seam_seconds(score, split_tick), max((part.end for part in pieces), default=0.0))


def seam_seconds(score, tick: int) -> float:
    """Tell the second at which a tick of a score falls."""
    times = notes.beat_times(score)
    quarter = tick / score.ticks_per_quarter
    return float(np.interp(quarter, np.arange(len(times)), times))


def system_soundfonts() -> list[Path]:
    """List the General MIDI SoundFonts that lie where systems keep them: known ones first, then by size, the largest first."""
    found: dict[Path, Path] = {}
    for folder in _FOLDERS:
        for file in sorted(Path(folder).expanduser().glob("*.sf[23]")):
            if file.is_file():
                found.setdefault(file.resolve(), file)

    def rank(file: Path) -> tuple[int, int]:
        return (_KNOWN.index(file.name) if file.name in _KNOWN else len(_KNOWN), -file.stat().st_size)

    return sorted(found.values(), key=rank)


def check_soundfont(soundfont: str | os.PathLike | None) -> None:
    """Refuse a SoundFont that is not there, before the work; raises `InputError`."""
    _player(soundfont, [])


def _player(soundfont: str | os.PathLike | None, said: list[str]) -> Path | None:
    """Choose the SoundFont: None for the built-in orchestra."""
    if soundfont is None or str(soundfont) == BUILTIN:
        return None
    if str(soundfont) == "auto":
        if there := system_soundfonts():
            return there[0]
        said.append("no SoundFont was found on this system: the built-in orchestra plays")
        return None
    if not Path(soundfont).is_file():
        raise InputError(f"expected builtin, auto or a SoundFont file (.sf2), there is none at '{soundfont}': check the path")
    return Path(soundfont)


def _played(pieces, player: "Player | Path | None", rate: int, progress) -> np.ndarray:
    """Play parts at the player's own level."""
    report = None if progress is None else lambda share: progress(0.9 * share)
    if player is None:
        return Orchestra(rate).perform(pieces, progress=report)
    if isinstance(player, Path):
        return notes.render(pieces, player, rate)
    return player.perform(pieces, rate, report)


def _go_on(progress: Callable[[float], bool | None] | None, share: float, stop: bool = True) -> None:
    """Report progress; raise `Cancelled` if that is the answer and stopping still leaves nothing half-done."""
    if progress is not None and progress(share) is False and stop:
        raise Cancelled("stopped: nothing was rendered")


def _two_loudnesses(samples: np.ndarray, rate: int, seam: float, end: float) -> tuple[float, float]:
    """Measure before the seam, and from it to the last note's end; -inf for a side that is empty or silent."""
    cut, stop = round(seam * rate), min(round(end * rate), samples.shape[1])
    sides = samples[:, :cut], samples[:, cut:stop]
    return tuple(integrated(side, rate) if side.shape[1] else -math.inf for side in sides)


def _beat_seconds(score, tick: int) -> float:
    """Tell how long a quarter note lasts at a tick."""
    return max(0.05, seam_seconds(score, tick) - seam_seconds(score, max(0, tick - score.ticks_per_quarter))) if tick > 0 else 0.5


def _evened(samples: np.ndarray, rate: int, seam: float, end: float, beat: float) -> np.ndarray:
    """Bring what follows the seam to the loudness of what precedes it; the gain moves, in dB, over the beat round the seam."""
    highest = float(np.abs(samples).max(initial=0.0))
    if not highest:
        return samples
    # From full scale: the gate of the meter would take faint sides for silent ones.
    samples = samples / np.float32(highest)
    at = np.arange(samples.shape[1], dtype=np.float32) / np.float32(rate)
    out, total = samples, 0.0
    for _ in range(3):
        before, after = _two_loudnesses(out, rate, seam, end)
        step = before - after
        if not math.isfinite(step) or abs(total + step) > _MOST_DB or abs(step) < 0.1:
            break
        total += step
        ramp = np.interp(at, (seam - beat / 2, seam + beat / 2), (0.0, total)).astype(np.float32)
        out = samples * np.float32(10) ** (ramp / np.float32(20))
    return out


def _scaled(score, chosen: Callable[[int, Any], bool], scale: float):
    """Copy a score, the velocities of the notes that are chosen multiplied."""
    made = score.copy()
    for number, track in enumerate(made.tracks):
        for note in track.notes:
            if chosen(number, note):
                note.velocity = int(np.clip(round(note.velocity * scale), 1, 127))
    return made
