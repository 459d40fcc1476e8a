"""Read and write MIDI files.

Reading is symusic's work, after a look at the bytes that it cannot be trusted with: a 34-byte file can ask it for 8 GiB.
"""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from songfoundry.audio.atomic import write_atomic_bytes
from songfoundry.errors import InputError, MissingExtraError

MAX_BYTES = 8 * 2**20
"""Largest MIDI file that is read; the longest real ones are a tenth of it."""
MAX_SECONDS = 6 * 3600.0
"""Longest piece that is read."""
MAX_NOTES = 500_000
"""Most notes that are read: the fullest real pieces have a tenth."""
FASTEST = 20_000
"""Microseconds that a quarter note lasts at the fastest tempo that is read: 3000 a minute, ten times what music has."""

GROUPS = ("drums", "bass", "other")


@dataclass(frozen=True)
class Part:
    """Hold one instrument of a piece, times in seconds.

    ``starts``, ``durations``: float64 (notes,), seconds; ``pitches``, ``velocities``: int64 (notes,), 0-127.
    ``controls``: float64 (events, 3) with the columns seconds, controller number, value 0-127.
    ``bends``: float64 (events, 2), seconds and -8192..8191.
    """

    program: int
    is_drum: bool
    name: str
    starts: np.ndarray
    durations: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray
    controls: np.ndarray
    bends: np.ndarray

    @property
    def group(self) -> str:
        """Name the stem: drum channel and struck percussion are drums, GM programs 32-39 bass, all the rest other."""
        # Woodblock, taiko, melodic tom, synth drum and reverse cymbal are drums in every stem collection, on whatever channel.
        if self.is_drum or 115 <= self.program <= 119:
            return "drums"
        return "bass" if 32 <= self.program <= 39 else "other"

    @property
    def end(self) -> float:
        """Seconds at which the last note ends."""
        return float((self.starts + self.durations).max(initial=0.0))

    def keep(self, chosen: np.ndarray) -> "Part":
        """Copy the part with only the notes where ``chosen`` (bool, (notes,)) holds."""
        names = ("starts", "durations", "pitches", "velocities")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


@dataclass(frozen=True)
class Opened:
    """Hold a piece that was opened: what to call it, a ``symusic.Score`` in ticks, and sentences about what it lost."""

    name: str
    score: Any
    said: list[str] = field(default_factory=list)


def read_midi(source: str | os.PathLike | bytes):
    """Read a MIDI file, or its bytes, into a ``symusic.Score`` in ticks.

    Raises:
        InputError: no such file, not MIDI, cut short, too large, or longer than `MAX_SECONDS`.
        MissingExtraError: symusic is not installed.
    """
    return open_midi(source).score


def open_midi(source) -> Opened:
    """Open a MIDI file, its bytes, or a ``symusic.Score`` as it is; raises as `read_midi`."""
    if isinstance(source, bytes):
        name, data = "the MIDI data", source
    elif isinstance(source, str | os.PathLike):
        name = Path(source).name
        try:
            with open(source, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InputError(f"expected a MIDI file, {name} cannot be read ({error.strerror}): check the path") from error
    else:
        return Opened("the score", source)
    score, begun = _parsed(name, data)
    lost = begun - score.note_num()
    return Opened(name, score, [f"{lost} of {begun} notes in {name} never end: left out"] if lost > 0 else [])


def read_member(archive: str | os.PathLike, member: str):
    """Read the MIDI file ``member`` of a zip archive as `read_midi` does."""
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, KeyError, zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: the member is encrypted
        raise InputError(
            f"expected {member} in the archive {Path(archive).name}, it cannot be read ({error}): check the archive"
        ) from error
    return _parsed(member, data)[0]


def _parsed(name: str, data: bytes) -> tuple[Any, int]:
    """Look at the bytes, hand them to symusic, and look at what it made of them; gives that, and how many notes begin."""
    symusic = _symusic()
    begun = _check_bytes(name, data)
    try:
        score = symusic.Score.from_midi(data)
        seconds = float(score.to("Second").end())
    except Exception as error:  # symusic raises bare RuntimeError and ValueError
        raise InputError(f"expected a MIDI file, {name} does not parse ({error}): export it again") from error
    if not 0 <= seconds <= MAX_SECONDS:
        raise InputError(f"expected at most {MAX_SECONDS / 3600:.0f} hours of music, {name} lasts {seconds / 3600:.3g}: cut it")
    if score.note_num() > MAX_NOTES:
        raise InputError(f"expected at most {MAX_NOTES} notes, {name} has {score.note_num()}: cut it")
    shortest = min((tempo.mspq for tempo in score.tempos), default=FASTEST)
    if shortest < FASTEST:
        raise InputError(
            f"expected tempi of at most {60e6 / FASTEST:.0f} quarter notes a minute, {name} has one that gives a quarter note "
            f"{shortest / 1e6:g} s: correct it"
        )
    if any(metre.numerator < 1 or metre.denominator < 1 for metre in score.time_signatures):
        found = next(metre for metre in score.time_signatures if metre.numerator < 1 or metre.denominator < 1)
        raise InputError(
            f"expected time signatures of at least 1/64, {name} has {found.numerator}/{found.denominator or 'more than 128'} "
            f"at tick {found.time}: correct it"
        )
    return score, begun


def write_midi(score, path: str | os.PathLike) -> None:
    """Write a `symusic.Score` in ticks as a MIDI file of type 1, whole or not at all; "-" is standard output.

    A track's notes share one channel of sixteen: beyond 15 pitched tracks channels are shared, as `shared_channels` says.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    write_atomic_bytes(path, score.dumps_midi())


def shared_channels(score) -> str | None:
    """Say what a MIDI file of a score cannot keep: the instruments of tracks that share a channel, which has one at a time.

    symusic gives pitched tracks the 15 channels in turn, by their places in the score.
    """
    programs: dict[int, list[int]] = {}
    for place, track in enumerate(score.tracks):
        if not track.is_drum and len(track.notes):
            programs.setdefault(place % 15, []).append(int(track.program))
    shared = sum(len(found) for found in programs.values() if len(set(found)) > 1)
    if not shared:
        return None
    return f"a MIDI file has 15 channels for pitched instruments: {shared} tracks share theirs, and sound as another of them does"


def parts(score) -> list[Part]:
    """List the parts of a ``symusic.Score`` that have notes, with times in seconds."""
    found = []
    for track in score.to("Second").tracks:
        notes = track.notes.numpy()
        if not len(notes["time"]):
            continue
        controls, bends = track.controls.numpy(), track.pitch_bends.numpy()
        found.append(
            Part(
                program=int(track.program),
                is_drum=bool(track.is_drum),
                name=track.name,
                starts=notes["time"].astype(np.float64),
                durations=notes["duration"].astype(np.float64),
                pitches=notes["pitch"].astype(np.int64),
                velocities=notes["velocity"].astype(np.int64),
                controls=np.stack([controls[k].astype(np.float64) for k in ("time", "number", "value")], axis=1),
                bends=np.stack([bends[k].astype(np.float64) for k in ("time", "value")], axis=1),
            )
        )
    return found


def by_group(pieces: Sequence[Part]) -> dict[str, list[Part]]:
    """Sort parts into the stems drums, bass and other (each a list, perhaps empty)."""
    return {group: [part for part in pieces if part.group == group] for group in GROUPS}


def beat_times(score) -> np.ndarray:
    """Return the second at which each quarter note of the piece falls: float64 (quarters,), one past the end included."""
    quarter, seconds, pace = [0.0], [0.0], [0.5]  # where a tempo begins, when, and its seconds per quarter (120 until told)
    for tempo in sorted(score.tempos, key=lambda tempo: tempo.time):
        begins = tempo.time / score.ticks_per_quarter
        seconds.append(seconds[-1] + (begins - quarter[-1]) * pace[-1])
        quarter.append(begins)
        pace.append(60.0 / tempo.qpm)
    asked = np.arange(int(np.ceil(score.end() / score.ticks_per_quarter)) + 2)
    segment = np.searchsorted(quarter, asked, side="right") - 1
    return np.array(seconds)[segment] + (asked - np.array(quarter)[segment]) * np.array(pace)[segment]


def _symusic():
    """Import symusic."""
    try:
        import symusic
    except ImportError as error:
        raise MissingExtraError(
            "expected the package symusic to read MIDI, found none: install it with `pip install songfoundry[midi]`"
        ) from error
    return symusic


def _check_bytes(name: str, data: bytes) -> int:
    """Refuse what symusic must not see: too many bytes, chunks longer than the file, a clock of zero; count the notes that begin."""
    if len(data) > MAX_BYTES:
        raise InputError(f"expected a MIDI file of at most {MAX_BYTES // 2**20} MiB, {name} is larger: split it")
    if data[:4] != b"MThd" or len(data) < 14 or int.from_bytes(data[4:8], "big") != 6:
        raise InputError(f"expected a standard MIDI file, {name} does not begin like one: check that it is a .mid file")
    if int.from_bytes(data[8:10], "big") > 1:
        raise InputError(
            f"expected a MIDI file of type 0 or 1, {name} is of type {int.from_bytes(data[8:10], 'big')}, patterns that are not one piece: "
            "export it as type 1"
        )
    division = int.from_bytes(data[12:14], "big")
    if not 0 < division < 0x8000:
        raise InputError(f"expected ticks per quarter note in the header of {name}, found {division:#06x}: export it again")
    at, begun = 14, 0
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        if at + 8 + size > len(data):
            raise InputError(f"expected whole tracks, {name} ends within one (byte {at}): export or download it again")
        if data[at : at + 4] == b"MTrk":
            begun += _check_times(name, data, at + 8, at + 8 + size)
        at += 8 + size
    return begun


def _check_times(name: str, data: bytes, at: int, end: int) -> int:
    """Refuse a track with a time of five bytes, and count the notes that begin.

    Such times are what writers make of negative ones: symusic drops all behind them, silently.
    """
    running = begun = 0
    while at < end:
        begins = at
        while at < end and data[at] & 0x80:
            at += 1
        if at - begins > 3:
            raise InputError(
                f"expected times of at most four bytes, {name} has a longer (or negative) one at byte {begins}: export it again"
            )
        at += 1
        if at >= end:
            break
        if data[at] & 0x80:
            status, at = data[at], at + 1
            running = status if status < 0xF0 else running
        elif running:
            status = running
        else:
            break  # not an event; symusic says what it thinks of it
        if status in (0xFF, 0xF0, 0xF7):
            if status == 0xFF:
                if data[at : at + 1] == b"\x2f":
                    break
                at += 1
            size = 0
            while at < end:
                size, more, at = size << 7 | data[at] & 0x7F, data[at] & 0x80, at + 1
                if not more:
                    break
            at += size
        else:
            begun += status >> 4 == 9 and at + 1 < end and data[at + 1] > 0
            at += 1 if status >> 4 in (0xC, 0xD) or status == 0xF3 else 2 if status < 0xF0 or status == 0xF2 else 0
    return begun
