"""Read and write audio files, streamed: the door to every codec.

libsndfile (through soundfile) reads wav, flac, aiff, mp3, Ogg Vorbis, Opus, caf, w64 and the like by itself; m4a, aac, wma,
webm, mp4 and ``.stem.mp4`` go to `songfoundry.audio.foreign`. What a file is, its content tells, never its name. No header is
trusted: reading goes on until the decoder has no more, and `songfoundry.audio.limits` counts on the way.

Writing lives in `songfoundry.audio.writing`; its functions are named here too, so that other rooms need only this one.
"""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile

from songfoundry.audio import foreign, promises, spool, wav
from songfoundry.audio.atomic import write_atomic_bytes, write_atomic_text
from songfoundry.audio.limits import MAX_CLIP_VALUES, Meter, check_shape
from songfoundry.audio.writing import (
    FORMATS,
    TAGS,
    Writer,
    agreed_format,
    depths,
    format_of,
    nearest_rate,
    open_writer,
    write,
    write_stem_mp4,
)
from songfoundry.errors import AudioError

__all__ = [
    "FORMATS",
    "TAGS",
    "AudioInfo",
    "Clip",
    "Reader",
    "Writer",
    "agreed_format",
    "depths",
    "format_of",
    "nearest_rate",
    "open_reader",
    "open_writer",
    "probe",
    "read",
    "write",
    "write_atomic_bytes",
    "write_atomic_text",
    "write_stem_mp4",
]

_UNKNOWN = 2**36 - 1
"""A frame count from here on means that the header does not know (libsndfile gives 2**63 - 1, a FLAC field of ones 2**36 - 1)."""
_EXACT_SEEK = ("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")
"""Beginnings of the subtypes where decoding from the middle gives the very bits of decoding from the start."""


@dataclass(frozen=True)
class Clip:
    """Hold samples and their rate.

    ``samples``: float32 (channels, samples), full scale ±1; ``rate``: Hz.
    """

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.shape[-1] / self.rate

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.samples.shape[0]


@dataclass(frozen=True)
class AudioInfo:
    """Hold what a file's header says; ``frames`` is its promise, which may be wrong, or None."""

    path: str
    rate: int
    channels: int
    frames: int | None
    format: str
    subtype: str
    tags: dict[str, str]
    streams: int

    @property
    def seconds(self) -> float | None:
        """Length in seconds as promised."""
        return None if self.frames is None else self.frames / self.rate


def library_version() -> str:
    """Name the version of libsndfile that decodes and encodes here."""
    return soundfile.__libsndfile_version__


def probe(path: str | os.PathLike, *, stream: int = 0) -> AudioInfo:
    """Read the header of an audio file.

    Raises:
        AudioError: it is no audio file, or not one that can be decoded here.
    """
    with open_reader(path, stream=stream) as r:
        return AudioInfo(r.path, r.rate, r.channels, r.frames_hint, r.format, r.subtype, r.tags, r.streams)


def open_reader(path: str | os.PathLike, *, stream: int = 0, repair: bool = False) -> "Reader":
    """Open an audio file for streaming; a context manager.

    Args:
        path: the file, or ``-`` for standard input (copied to a temporary file, since headers may lie at the end).
        stream: number of the audio stream; in a ``.stem.mp4`` 0 is the mixture, then drums, bass, other, vocals.
        repair: replace NaN, Inf and absurd values (above 10,000) by silence instead of raising.

    Raises:
        AudioError: the file is missing, empty, no audio, or not decodable here.
    """
    return Reader(path, stream=stream, repair=repair)


def read(
    path: str | os.PathLike, *, start: float = 0.0, duration: float | None = None, stream: int = 0, repair: bool = False
) -> Clip:
    """Read a whole audio file, or some seconds of it, into memory.

    Args:
        path: the file, or ``-`` for standard input.
        start: first second to read.
        duration: how many seconds; None for all that follow.
        stream: number of the audio stream.
        repair: replace NaN, Inf and absurd values by silence instead of raising.

    Returns:
        the clip: float32 (channels, samples), full scale ±1, at the file's own rate; shorter than ``duration`` where the
        file ends, but never empty.

    Raises:
        AudioError: as `open_reader`; or nothing lies in the asked range; or more than `MAX_CLIP_VALUES` values.
    """
    with open_reader(path, stream=stream, repair=repair) as reader:
        first = round(start * reader.rate)
        stop = None if duration is None else first + round(duration * reader.rate)
        parts, values = [], 0
        for block in reader.blocks(start=first, stop=stop):
            parts.append(block)
            values += block.size
            if values > MAX_CLIP_VALUES:
                raise AudioError(
                    f"expected at most {MAX_CLIP_VALUES:,} samples in {reader.name}, found more; read it in pieces (open_reader)"
                )
        if not parts:
            raise AudioError(
                f"expected audio from second {start:g} of {reader.name}, found its end before that; choose an earlier start"
            )
        return Clip(np.concatenate(parts, axis=1), reader.rate)


class Reader:
    """Decode one audio stream block by block.

    Attributes:
        rate: Hz.
        channels: number of channels.
        frames_hint: the header's promise of samples per channel, or None.
        tags: text tags under the names of `TAGS`.
        format, subtype: libsndfile's or ffmpeg's names of the container and the codec.
        streams: number of audio streams in the file.
        shortfall: after `blocks` came to the end of a damaged file: a sentence that says how much could be read; else None.
        repaired: number of values that ``repair`` set to 0.
    """

    def __init__(self, path: str | os.PathLike, *, stream: int = 0, repair: bool = False) -> None:
        self.path = os.fspath(path)
        self.name = "standard input" if self.path == "-" else f"'{self.path}'"
        self.shortfall: str | None = None
        self.repaired = 0
        self._stream, self._repair = stream, repair
        self._spool: str | None = None
        self._sound: soundfile.SoundFile | None = None
        self._foreign: foreign.PyavSource | foreign.FfmpegSource | None = None
        self._patches: list[tuple[int, bytes]] = []
        try:
            if self.path == "-":
                self._spool = spool.spool(iter(lambda: sys.stdin.buffer.read(1 << 20), b""), self.name)
            elif stat.S_ISFIFO(mode := os.stat(self.path).st_mode):
                self._spool = spool.spool(spool.from_pipe(self.path, self.name), self.name)
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise AudioError(f"expected an audio file at {self.name}, found a device; give a file, or - for standard input")
            self._source = self._spool or self.path
            self._open()
            check_shape(self.name, self.rate, self.channels)
        except OSError as error:
            self.close()
            raise AudioError(
                f"expected an audio file at {self.name}, found that it cannot be opened "
                f"({error.strerror or error}); check the path"
            ) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        """Tell by content who decodes the file, and take down its header."""
        with open(self._source, "rb") as file:
            head = file.read(16)
        if not head:
            raise AudioError(f"expected audio in {self.name}, found an empty file; give a file with sound")
        if head[:2] == b"\xf0\x7e":
            # libsndfile prints to standard output when such a file is damaged, amid the audio of a user who pipes it
            raise AudioError(f"expected audio in {self.name}, found a MIDI sample dump; convert it to wav first")
        demuxer = foreign.sniff(head)
        if demuxer is not None:
            self._foreign = source = foreign.open_source(self._source, self.name, demuxer, self._stream)
            self.rate, self.channels, self.frames_hint = source.rate, source.channels, source.frames_hint
            self.format, self.subtype, self.tags, self.streams = demuxer, source.subtype, source.tags, source.streams
            return
        self._patches = wav.patches(self._source)
        self._sound = sound = self._open_sound()
        self.rate, self.channels = sound.samplerate, sound.channels
        self.frames_hint = sound.frames if 0 < sound.frames < _UNKNOWN else None
        self.format, self.subtype, self.streams = sound.format, sound.subtype, 1
        promised = promises.promise(self._source) if self.frames_hint and self.subtype.startswith(_EXACT_SEEK) else None
        if promised is not None and self.frames_hint < promised < _UNKNOWN:
            self.frames_hint, self._exact_hint = promised, True
        self.tags = {k: v for k, v in sound.copy_metadata().items() if k in TAGS and v}
        if self._stream != 0:
            raise AudioError(f"expected audio stream {self._stream} in {self.name}, found 1 stream; choose stream 0")

    def _open_sound(self) -> soundfile.SoundFile:
        try:
            # through a descriptor or an open file, so that no name can make libsndfile take it for headerless data
            file = wav.Patched(self._source, self._patches) if self._patches else open(self._source, "rb")
            self._file = file
            # a descriptor is faster than an open file, whose every read comes back through Python
            if self._patches or sys.platform == "win32":
                return soundfile.SoundFile(file, "r")
            return soundfile.SoundFile(file.fileno(), "r", closefd=False)
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            self._file.close()
            detail = getattr(error, "error_string", str(error)).strip().rstrip(".")
            raise AudioError(
                f"expected audio in {self.name}, found content that no decoder knows ({detail}); "
                "give a wav, flac, aiff, mp3, ogg, opus, m4a or the like"
            ) from error

    def blocks(self, size: int = 65536, *, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Yield the audio in order, each call from ``start`` anew.

        Args:
            size: most samples per channel in a block.
            start: first sample (per channel) to give.
            stop: sample after the last one; None for the end.

        Yields:
            float32 (channels, n), full scale ±1, 0 < n <= size.

        Raises:
            AudioError: nothing can be decoded, a limit is passed, or the values are no audio.
        """
        start = max(0, start)
        if stop is not None and stop <= start:
            return
        at, decoded = 0, False
        if self._sound is not None:
            at = self._seek(start)
            raw = self._sound_blocks(size, at)
        else:
            raw = self._foreign_blocks()
        meter = Meter(self.name, self.rate, self.channels, start=at, repair=self._repair)
        for block in raw:
            decoded = True
            first, at = at, at + block.shape[1]
            block = meter.check(block)
            self.repaired = meter.repaired
            low = max(0, start - first)
            high = block.shape[1] if stop is None else min(block.shape[1], stop - first)
            for i in range(low, high, size):
                yield block[:, i : min(i + size, high)]
            if stop is not None and at >= stop:
                return
        if not decoded and at == 0:
            raise AudioError(
                f"expected sound in {self.name}, found a {self.format} file of {self.rate} Hz without a single sample; "
                "give a file with sound"
            )
        self._note_shortfall(at)

    def _note_shortfall(self, frames: int) -> None:
        """Say it where the decoder broke off, or where a header promised a good deal more than there was.

        That is more than a second, since most headers count roughly; 10 ms where one counts the bytes.
        """
        damage = self._foreign.damage if self._foreign is not None else self._damage
        if self.frames_hint is None and self._sound is not None:
            damage = None  # where the header names no length, libsndfile takes the end itself for damage
        promised = self.frames_hint or 0
        if damage or promised - frames > (self.rate // 100 if self._exact_hint else self.rate):
            more = f"{promised / self.rate:.2f} s promised" if promised > frames else f"damage at the end ({damage})"
            self.shortfall = f"{self.name} is cut short: {frames / self.rate:.2f} s could be read, {more}"

    _damage: str | None = None
    _exact_hint = False

    def _seek(self, start: int) -> int:
        """Move the decoder to ``start`` where that is exact, else to 0; return where it stands."""
        exact = self.format == "FLAC" or self.subtype.startswith(_EXACT_SEEK)
        for target in (start, 0) if exact and start < (self.frames_hint or 0) else (0,):
            try:
                return self._sound.seek(target)
            except soundfile.LibsndfileError:
                self._reopen()
        return 0

    def _reopen(self) -> None:
        self._sound.close()
        self._file.close()
        self._sound = self._open_sound()

    def _sound_blocks(self, size: int, at: int) -> Iterator[np.ndarray]:
        """Read until short; where libsndfile raises, take what lies before the damage in ever smaller steps."""
        self._damage = None
        size = max(1, size)
        while True:
            # NaN marks what the decoder did not reach
            buffer = np.full((size, self.channels), np.nan, np.float32)
            try:
                data = self._sound.read(size, dtype="float32", always_2d=True, out=buffer)
            except soundfile.LibsndfileError as error:
                # the block holds good samples and nobody says how many: halve the step until one sample fails
                self._damage = error.error_string.strip() or "undecodable data"
                if size == 1:
                    if not np.isnan(buffer).any():  # libsndfile looks ahead: the failure belongs to the sample after this one
                        yield buffer.T
                    return
                size //= 2
                self._reopen()
                try:
                    reached = self._sound.seek(at)
                except soundfile.LibsndfileError:
                    return
                if reached != at:
                    return
                continue
            if len(data) == 0:
                return
            at += len(data)
            yield np.ascontiguousarray(data.T)

    def _foreign_blocks(self) -> Iterator[np.ndarray]:
        """Decode from the start, with a fresh decoder if this one has been used."""
        if self._used:
            self._foreign.close()
            self._foreign = foreign.open_source(self._source, self.name, self.format, self._stream)
        self._used = True
        yield from self._foreign.blocks()

    _used = False

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._sound is not None:
            self._sound.close()
            self._file.close()
            self._sound = None
        if self._foreign is not None:
            self._foreign.close()
            self._foreign = None
        if self._spool is not None:
            os.unlink(self._spool)
            self._spool = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()
