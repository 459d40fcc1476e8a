"""Read MIDI files and play them: the only MIDI code.

Reading is symusic's work, after a look at the bytes that it cannot be trusted with: a 34-byte file can ask it for 8 GiB.
Playing is FluidSynth's (the shared library, found by name): symusic's own ``Synthesizer`` ignores the key mapping of many
SoundFont zones, so that the instruments of a band sound up to an octave and a half off, each by another interval.
"""

import ctypes
import ctypes.util
import os
import zipfile
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from songfoundry.errors import InputError, MissingExtraError

MAX_BYTES = 8 * 2**20
"""Largest MIDI file that is read; the longest real ones are a tenth of it."""
MAX_SECONDS = 6 * 3600.0
"""Longest piece that is read."""
MAX_RENDER_SECONDS = 3600.0
"""Longest piece that is played into memory (1.2 GiB of float32 stereo at 44.1 kHz)."""

GROUPS = ("drums", "bass", "other")
_BLOCK = 64
"""FluidSynth works in blocks of 64 samples: events are placed on that grid (1.5 ms)."""
_CHANNELS = 256
_TAIL = 3.0
"""Seconds after the last note in which it may die away."""


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


def read_midi(source: str | os.PathLike | bytes):
    """Read a MIDI file, or its bytes, into a ``symusic.Score`` in ticks.

    Raises:
        InputError: no such file, not MIDI, cut short, too large, or longer than `MAX_SECONDS`.
        MissingExtraError: symusic is not installed.
    """
    if isinstance(source, bytes):
        return _parsed("the MIDI data", source)
    name = Path(source).name
    try:
        with open(source, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"expected a MIDI file, {name} cannot be read ({error.strerror}): check the path") from error
    return _parsed(name, data)


def read_member(archive: str | os.PathLike, member: str):
    """Read the MIDI file ``member`` of a zip archive as `read_midi` does."""
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, KeyError, zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: the member is encrypted
        raise InputError(
            f"expected {member} in the archive {Path(archive).name}, it cannot be read ({error}): check the archive"
        ) from error
    return _parsed(member, data)


def _parsed(name: str, data: bytes):
    """Look at the bytes, hand them to symusic, and look at what it made of them."""
    symusic = _symusic()
    _check_bytes(name, data)
    try:
        score = symusic.Score.from_midi(data)
        seconds = float(score.to("Second").end())
    except Exception as error:  # symusic raises bare RuntimeError and ValueError
        raise InputError(f"expected a MIDI file, {name} does not parse ({error}): export it again") from error
    if not 0 <= seconds <= MAX_SECONDS:
        raise InputError(f"expected at most {MAX_SECONDS / 3600:.0f} hours of music, {name} lasts {seconds / 3600:.3g}: cut it")
    return score


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


def render(
    score, soundfont: str | os.PathLike, rate: int, *, seconds: float | None = None, room: float = 0.4, wet: float = 0.4
) -> np.ndarray:
    """Play a score through a SoundFont: float32 (2, samples) at ``rate`` Hz; loud pieces pass full scale, nothing is clipped.

    Args:
        score: a ``symusic.Score``, or a list of `Part`.
        soundfont: an .sf2 file.
        rate: Hz.
        seconds: the length; None for the end of the last note and three seconds.
        room, wet: size and level of the reverberation, 0-1.

    Raises:
        InputError: the SoundFont cannot be read, or the piece is longer than `MAX_RENDER_SECONDS` or has more than 256 parts.
        MissingExtraError: the FluidSynth library is not installed.
    """
    pieces = score if isinstance(score, list) else parts(score)
    if seconds is None:
        seconds = max((part.end for part in pieces), default=0.0) + _TAIL
    if seconds > MAX_RENDER_SECONDS or len(pieces) > _CHANNELS:
        raise InputError(
            f"expected at most {MAX_RENDER_SECONDS / 60:.0f} minutes and {_CHANNELS} parts to play, "
            f"found {seconds / 60:.3g} and {len(pieces)}: cut the piece"
        )
    length = round(seconds * rate)
    samples = np.zeros((2, -(-length // _BLOCK) * _BLOCK), np.float32)
    left, right = (row.ctypes.data_as(ctypes.c_void_p) for row in samples)
    done = 0
    with _synth(soundfont, rate, room, wet) as (lib, synth):
        for channel, part in enumerate(pieces):
            lib.fluid_synth_set_channel_type(synth, channel, int(part.is_drum))
            lib.fluid_synth_program_change(synth, channel, part.program)
        for block, _, call, *arguments in _events(pieces, rate / _BLOCK):
            at = min(max(block, 0) * _BLOCK, samples.shape[1])
            if at > done:
                lib.fluid_synth_write_float(synth, at - done, left, done, 1, right, done, 1)
                done = at
            getattr(lib, call)(synth, *arguments)
        if done < samples.shape[1]:
            lib.fluid_synth_write_float(synth, samples.shape[1] - done, left, done, 1, right, done, 1)
    return np.ascontiguousarray(samples[:, :length])


@contextmanager
def _synth(soundfont: str | os.PathLike, rate: int, room: float, wet: float):
    """Lend a new FluidSynth synthesiser: a used one that is reset bursts to 30 times full scale (2.3), a new one costs 20 ms."""
    if not Path(soundfont).is_file():
        raise InputError(f"expected a SoundFont file, there is none at {soundfont}: install one (Debian: fluid-soundfont-gm)")
    lib = _fluidsynth()
    settings = lib.new_fluid_settings()
    for key, value in (("synth.dynamic-sample-loading", 1), ("synth.polyphony", 512), ("synth.midi-channels", _CHANNELS)):
        lib.fluid_settings_setint(settings, key.encode(), value)
    lib.fluid_settings_setnum(settings, b"synth.sample-rate", float(rate))
    # The default, 0.2, keeps headroom for 16-bit output; float needs none.
    lib.fluid_settings_setnum(settings, b"synth.gain", 0.5)
    synth = lib.new_fluid_synth(settings)
    try:
        if lib.fluid_synth_sfload(synth, os.fsencode(soundfont), 1) < 0:
            raise InputError(f"expected a SoundFont 2 file, {Path(soundfont).name} does not load: download it again")
        lib.fluid_synth_set_reverb(synth, room, 0.3, 0.7, wet)
        yield lib, synth
    finally:
        lib.delete_fluid_synth(synth)
        lib.delete_fluid_settings(settings)


def _events(pieces: Sequence[Part], blocks_per_second: float) -> list[tuple]:
    """List (block, order, FluidSynth function, channel, ...) by time; at one time: note ends, settings, then note starts."""
    events: list[tuple] = []
    for channel, part in enumerate(pieces):
        for time, number, value in part.controls.tolist():
            events.append((round(time * blocks_per_second), 1, "fluid_synth_cc", channel, int(number), int(value)))
        for time, value in part.bends.tolist():
            events.append((round(time * blocks_per_second), 1, "fluid_synth_pitch_bend", channel, int(value) + 8192))
        notes = zip(part.starts.tolist(), part.durations.tolist(), part.pitches.tolist(), part.velocities.tolist(), strict=True)
        for start, duration, pitch, velocity in notes:
            first = round(start * blocks_per_second)
            last = max(round((start + duration) * blocks_per_second), first + 1)
            events.append((first, 2, "fluid_synth_noteon", channel, pitch, velocity))
            events.append((last, 0, "fluid_synth_noteoff", channel, pitch))
    return sorted(events, key=lambda event: event[:2])  # stable: RPN pairs stay in the order of the file


def _symusic():
    """Import symusic."""
    try:
        import symusic
    except ImportError as error:
        raise MissingExtraError(
            "expected the package symusic to read MIDI, found none: install it with `pip install songfoundry[midi]`"
        ) from error
    return symusic


def _fluidsynth() -> ctypes.CDLL:
    """Load the FluidSynth library (2.x or later) and declare what is called of it."""
    name = ctypes.util.find_library("fluidsynth")
    try:
        lib = ctypes.CDLL(name or "libfluidsynth.so.3")
    except OSError as error:
        raise MissingExtraError(
            "expected the FluidSynth library to play notes, found none: install it (Debian: libfluidsynth3, macOS: fluid-synth)"
        ) from error
    handle, number, text, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_double
    for function, result, arguments in (
        ("new_fluid_settings", handle, []),
        ("delete_fluid_settings", None, [handle]),
        ("fluid_settings_setint", number, [handle, text, number]),
        ("fluid_settings_setnum", number, [handle, text, real]),
        ("new_fluid_synth", handle, [handle]),
        ("delete_fluid_synth", None, [handle]),
        ("fluid_synth_sfload", number, [handle, text, number]),
        ("fluid_synth_system_reset", number, [handle]),
        ("fluid_synth_set_reverb", number, [handle, real, real, real, real]),
        ("fluid_synth_set_channel_type", number, [handle, number, number]),
        ("fluid_synth_program_change", number, [handle, number, number]),
        ("fluid_synth_cc", number, [handle, number, number, number]),
        ("fluid_synth_pitch_bend", number, [handle, number, number]),
        ("fluid_synth_noteon", number, [handle, number, number, number]),
        ("fluid_synth_noteoff", number, [handle, number, number]),
        ("fluid_synth_write_float", number, [handle, number, handle, number, number, handle, number, number]),
        ("fluid_set_log_function", handle, [number, handle, handle]),
    ):
        bound = getattr(lib, function)
        bound.restype, bound.argtypes = result, arguments
    for level in range(5):
        lib.fluid_set_log_function(level, None, None)  # a library prints nothing
    return lib


def _check_bytes(name: str, data: bytes) -> None:
    """Refuse what symusic must not see: too many bytes, chunks longer than the file, a clock of zero."""
    if len(data) > MAX_BYTES:
        raise InputError(f"expected a MIDI file of at most {MAX_BYTES // 2**20} MiB, {name} is larger: split it")
    if data[:4] != b"MThd" or len(data) < 14 or int.from_bytes(data[4:8], "big") != 6:
        raise InputError(f"expected a standard MIDI file, {name} does not begin like one: check that it is a .mid file")
    division = int.from_bytes(data[12:14], "big")
    if not 0 < division < 0x8000:
        raise InputError(f"expected ticks per quarter note in the header of {name}, found {division:#06x}: export it again")
    at = 14
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "big")
        if at + 8 + size > len(data):
            raise InputError(f"expected whole tracks, {name} ends within one (byte {at}): export or download it again")
        at += 8 + size
