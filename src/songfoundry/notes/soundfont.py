"""Play notes through a SoundFont.

Playing is FluidSynth's work (the shared library, found by name): symusic's own ``Synthesizer`` ignores the key mapping of many
SoundFont zones, so that the instruments of a band sound up to an octave and a half off, each by another interval.
"""

import ctypes
import ctypes.util
import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from songfoundry.errors import InputError, MissingExtraError
from songfoundry.notes.midi import Part, parts

MAX_RENDER_SECONDS = 3600.0
"""Longest piece that is played into memory (1.2 GiB of float32 stereo at 44.1 kHz)."""
_BLOCK = 64
"""FluidSynth works in blocks of 64 samples: events are placed on that grid (1.5 ms)."""
_CHANNELS = 256
_TAIL = 3.0
"""Seconds after the last note in which it may die away."""


def find_soundfonts() -> list[Path]:
    """List the SoundFonts (.sf2, .sf3) where systems keep them, and in the folder that the variable SOUNDFONTS names; largest first."""
    home = Path.home()
    folders = [
        *filter(None, os.environ.get("SOUNDFONTS", "").split(os.pathsep)),
        "/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts", "/usr/local/share/sounds/sf2",
        "/opt/homebrew/share/soundfonts", "/usr/local/share/soundfonts",
        home / ".local/share/soundfonts", home / "Library/Audio/Sounds/Banks",
    ]  # fmt: skip
    found: dict[Path, int] = {}
    for folder in map(Path, folders):
        try:
            files = [path.resolve() for path in folder.iterdir() if path.suffix.lower() in (".sf2", ".sf3")]
            found |= {path: path.stat().st_size for path in files if path.is_file()}
        except OSError:
            continue  # no such folder, or one that may not be read
    return sorted(found, key=lambda path: (-found[path], path.name))


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
    with open(soundfont, "rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":  # FluidSynth would say so too, but the library below it prints
        raise InputError(f"expected a SoundFont 2 file, {Path(soundfont).name} does not begin like one: download it again")
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
