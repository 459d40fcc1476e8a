"""Write audio files: streamed, aside, synced and renamed.

WAV (RF64 above 4 GiB) is written here, sample by sample as quantised here; flac, mp3, Ogg Vorbis and Opus go through
libsndfile in small blocks, because a minute of Vorbis in one call kills the interpreter.
"""

import os

import numpy as np
import soundfile

from songfoundry.audio import wav
from songfoundry.audio.atomic import AsideFile
from songfoundry.audio.id3 import id3v2
from songfoundry.audio.stemfile import AAC_RATES, write_stem_mp4
from songfoundry.errors import OutputError

__all__ = ["FORMATS", "TAGS", "Writer", "agreed_format", "depths", "format_of", "nearest_rate", "open_writer", "write", "write_stem_mp4"]

TAGS = ("title", "artist", "album", "comment", "date", "genre", "tracknumber", "copyright", "software", "license")
"""Names of the text tags that are read and written (libsndfile's)."""

FORMATS = ("wav", "flac", "mp3", "ogg", "opus")
"""Formats that `open_writer` writes; ``ogg`` is Vorbis."""

_SUFFIXES = {".wav": "wav", ".wave": "wav", ".flac": "flac", ".mp3": "mp3", ".ogg": "ogg", ".oga": "ogg", ".opus": "opus"}
_DEPTHS = {"wav": ("int16", "int24", "float32"), "flac": ("int16", "int24"), "mp3": (), "ogg": (), "opus": ()}
_CHANNELS = {"wav": 64, "flac": 8, "mp3": 2, "ogg": 8, "opus": 8}
_LIBSNDFILE = {"flac": ("FLAC", None), "mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_RATES = {"wav": (1, 768_000), "flac": (1, 655_350), "ogg": (1, 192_000)}

_MP3_BITRATES = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    25: (8, 16, 24, 32, 40, 48, 56, 64),
}
# libvorbis: nominal kbit/s of stereo at 44.1 kHz for the qualities 0, 0.1 ... 1
_VORBIS_NOMINAL = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)
_DEFAULT_BITRATE = {"mp3": 128, "ogg": 96, "opus": 80}
_BLOCK = 4096


def format_of(path: str | os.PathLike) -> str:
    """Tell the format from a file name's suffix; ``-`` (standard output) is wav.

    Raises:
        OutputError: the suffix is none of those that are written.
    """
    name = os.fspath(path)
    if name == "-":
        return "wav"
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in _SUFFIXES:
        raise OutputError(
            f"expected a file name that ends in {', '.join('.' + f for f in FORMATS)}, found '{os.path.basename(name)}'; "
            "change the name or name the format"
        )
    return _SUFFIXES[suffix]


def agreed_format(out: str | os.PathLike, format: str | None = None) -> str:
    """Tell in which format a file is to be written: as its name ends, or as the format is named; the two must not differ.

    Raises:
        OutputError: they do, or neither says it, or no such format is written.
    """
    if format is None:
        return format_of(out)
    ends = None if os.fspath(out) == "-" else _SUFFIXES.get(os.path.splitext(os.fspath(out))[1].lower())
    if ends not in (None, _known(format)):
        raise OutputError(
            f"expected a name that fits the format {format}, found '{os.path.basename(os.fspath(out))}', which is a name of {ends}: "
            "change one of them"
        )
    return format


def depths(format: str) -> tuple[str, ...]:
    """Return the sample forms that a format can hold, its default first; none for the lossy ones."""
    return _DEPTHS[_known(format)]


def _known(format: str) -> str:
    if format not in FORMATS:
        raise OutputError(f"expected a format among {', '.join(FORMATS)}, found '{format}'; choose one of those")
    return format


def nearest_rate(format: str, rate: int) -> int:
    """Return the sampling rate (Hz) at which a format can hold audio of ``rate``.

    It is ``rate`` itself where the format has it, else the lowest one above (nothing of the band is lost), else the highest.
    ``stem.mp4`` is known here too.
    """
    if format == "stem.mp4" or _known(format) in ("mp3", "opus"):
        rates = {"mp3": _MP3_RATES, "opus": _OPUS_RATES, "stem.mp4": AAC_RATES}[format]
        return min((r for r in rates if r >= rate), default=rates[-1])
    low, high = _RATES[format]
    return min(max(rate, low), high)


def quantise(samples: np.ndarray, depth: str) -> np.ndarray:
    """Round samples to the grid of an integer depth, and clip them to it.

    Args:
        samples: float (..., samples), full scale ±1.
        depth: ``int16`` (steps of 2**-15) or ``int24`` (2**-23); no dither.

    Returns:
        int32 of the same shape, the value in its highest bits, as libsndfile wants it.
    """
    bits = 16 if depth == "int16" else 24
    scale = 2.0 ** (bits - 1)
    # float64: at 24 bits a float32 product near full scale could not be told from the next step
    steps = np.rint(samples.astype(np.float64) * scale).clip(-scale, scale - 1)
    return steps.astype(np.int32) << (32 - bits)


def compression_level(format: str, bitrate: float, rate: int, channels: int) -> float:
    """Return libsndfile's compression level (0 .. 1) for a bitrate in kbit/s.

    mp3 is constant bitrate: the nearest of the standard's list for that rate (at most 320 from 32 kHz on, 160 from 16 kHz,
    64 below), met to 0.5 %. Opus comes 1 to 3 % above what is asked. Vorbis is steered by quality: the level is that whose
    nominal bitrate for 44.1 kHz stereo is asked for, scaled by rate and channels; three songs came out 25 % below to 5 %
    above it, as the music needed, and below 32 kHz it saturates. (Files of 20 s; those of a second carry more overhead.)
    """
    if format == "mp3":
        family, top, span = (1, 320, 288) if rate >= 32000 else (2, 160, 152) if rate >= 16000 else (25, 64, 56)
        nearest = min(_MP3_BITRATES[family], key=lambda b: abs(b - bitrate))
        # the library refuses level 1 and computes top - level * span; a hair above the wished value is rounded down by it
        return float(np.clip((top - nearest) / span, 0.0, 0.99))
    if format == "opus":
        return float(np.clip(1 - (bitrate / channels - 6) / 250, 0.0, 1.0))
    stereo = bitrate * 2 / channels * 44100 / max(rate, 1)
    return 1 - float(np.interp(stereo, _VORBIS_NOMINAL, np.linspace(0, 1, len(_VORBIS_NOMINAL))))


def open_writer(
    path: str | os.PathLike,
    *,
    rate: int,
    channels: int,
    format: str | None = None,
    depth: str | None = None,
    bitrate: float | None = None,
    tags: dict[str, str] | None = None,
) -> "Writer":
    """Open an audio file for streamed writing; a context manager.

    The file takes its name when the block ends well; after an exception or `Writer.abort` nothing is left.

    Args:
        path: the file, in a folder that exists, or ``-`` for standard output.
        rate: Hz; see `nearest_rate`.
        channels: how many.
        format: one of `FORMATS`; None for what the suffix says.
        depth: ``int16``, ``int24`` or ``float32`` for wav, ``int16`` or ``int24`` for flac; None for ``int16`` (flac and
            wav) and for the lossy formats, which have none.
        bitrate: kbit/s for mp3, ogg and opus (see `compression_level` for how exact); None for 256, 192 and 160 in stereo,
            half of it in mono.
        tags: text tags by the names of `TAGS`; others are left out.

    Raises:
        OutputError: the format cannot hold such audio, or the file cannot be written.
    """
    return Writer(path, rate, channels, format, depth, bitrate, tags)


class Writer:
    """Write blocks to one audio file; made by `open_writer`."""

    def __init__(self, path, rate, channels, format, depth, bitrate, tags) -> None:
        self.path = os.fspath(path)
        self.format = _known(format or format_of(path))
        self.rate, self.channels = rate, channels
        self.frames = 0
        """Samples per channel written so far."""
        self.depth = depth or (_DEPTHS[self.format] or (None,))[0]
        self._check(depth, bitrate)
        self._tags = {k: str(v).replace("\0", " ") for k, v in (tags or {}).items() if k in TAGS and str(v).strip()}
        self._sound: soundfile.SoundFile | None = None
        self._open, self._finished = True, False
        self._file = AsideFile(path)
        try:
            if self.format == "wav":
                self._file.write(wav.header(rate, channels, self.depth, 0, self._tags))
            else:
                self._open_sound(bitrate)
            self._file.check()
        except BaseException:
            self.abort()
            raise

    def _check(self, depth: str | None, bitrate: float | None) -> None:
        """Refuse what the format cannot hold, before a file is made."""
        name, allowed = self.format, _DEPTHS[self.format]
        if depth is not None and depth not in allowed:
            what = f"a depth of {', '.join(allowed)}" if allowed else "no bit depth (it has a bitrate)"
            raise OutputError(f"expected {what} for {name}, found '{depth}'; choose that or another format")
        if bitrate is not None and (allowed or not 0 < bitrate < 10_000):
            what = "no bitrate (it is lossless)" if allowed else "a bitrate in kbit/s"
            raise OutputError(f"expected {what} for {name}, found {bitrate:g}; leave it out or choose another")
        if not 1 <= self.channels <= _CHANNELS[name]:
            raise OutputError(
                f"expected 1 to {_CHANNELS[name]} channels for {name}, found {self.channels}; mix down or choose another format"
            )
        if nearest_rate(name, self.rate) != self.rate:
            raise OutputError(
                f"expected a sampling rate that {name} has, found {self.rate} Hz; resample to {nearest_rate(name, self.rate)} Hz"
            )

    def _open_sound(self, bitrate: float | None) -> None:
        container, subtype = _LIBSNDFILE[self.format]
        options = {}
        if self.format == "flac":
            subtype = "PCM_16" if self.depth == "int16" else "PCM_24"
        else:
            kbits = bitrate or _DEFAULT_BITRATE[self.format] * self.channels
            options["compression_level"] = compression_level(self.format, kbits, self.rate, self.channels)
            if self.format == "mp3":
                options["bitrate_mode"] = "CONSTANT"
        target = self._file
        if self.format == "mp3" and self._tags:
            # libsndfile hands UTF-8 to LAME as Latin-1, so accents would be spoilt: our own tag goes before its stream
            target = _Behind(self._file, id3v2(self._tags))
        try:
            self._sound = soundfile.SoundFile(
                target, "w", samplerate=self.rate, channels=self.channels, format=container, subtype=subtype, **options
            )
            if self.format != "mp3":
                for key, value in self._tags.items():
                    setattr(self._sound, key, value)
        except soundfile.LibsndfileError as error:
            self._file.check()
            raise OutputError(
                f"expected {self.format} to take {self.channels} channels at {self.rate} Hz, found that it does not "
                f"({error.error_string.strip()}); choose another format or rate"
            ) from error

    def write(self, block: np.ndarray) -> None:
        """Append a block.

        Args:
            block: float32 (channels, samples), full scale ±1; what lies beyond is clipped in int16 and int24.

        Raises:
            OutputError: the disk is full or another write error came; nothing is left of the file.
        """
        if block.ndim != 2 or block.shape[0] != self.channels:
            self.abort()
            raise OutputError(f"expected blocks of {self.channels} channels, found the shape {block.shape}; conform them first")
        self.frames += block.shape[1]
        for i in range(0, block.shape[1], _BLOCK):
            part = np.ascontiguousarray(block[:, i : i + _BLOCK].T)
            if self.format == "wav":
                self._file.write(_wav_bytes(part, self.depth))
            else:
                self._sound_write(quantise(part, self.depth) if self.depth else part.astype(np.float32, copy=False))
            if self._file.failure is not None:
                self.abort()
                self._file.check()

    def _sound_write(self, part: np.ndarray) -> None:
        try:
            self._sound.write(part)
        except (soundfile.LibsndfileError, AssertionError) as error:  # soundfile asserts that all was written
            self.abort()
            self._file.check()
            detail = getattr(error, "error_string", "").strip() or "short write"
            raise OutputError(
                f"expected to write '{self.path}', found that the {self.format} encoder failed ({detail}); choose another format"
            ) from error

    def finish(self) -> None:
        """Write all that is left and sync it, under the temporary name, so that several files can take theirs together.

        Raises:
            OutputError: it cannot be finished; nothing is left of it.
        """
        if not self._open or self._finished:
            return
        self._finished = True
        try:
            if self._sound is not None:
                try:
                    self._sound.close()
                except (soundfile.LibsndfileError, AssertionError):
                    self._file.check()
                    raise
            else:
                if self.depth == "int24" and self.frames * self.channels % 2:
                    self._file.write(b"\0")  # a chunk of odd length is padded
                self._file.seek(0)
                self._file.write(wav.header(self.rate, self.channels, self.depth, self.frames, self._tags))
            self._file.sync()
        except BaseException:
            self._open = False
            self._file.discard()
            raise

    def close(self) -> None:
        """Finish the file: flush, sync, rename.

        Raises:
            OutputError: it cannot be finished; nothing is left of it.
        """
        if not self._open:
            return
        self.finish()
        self._open = False
        self._file.commit()

    def abort(self) -> None:
        """Throw the file away; a second call does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            if self._sound is not None and not self._finished:
                self._sound.close()
        except (soundfile.LibsndfileError, AssertionError):
            pass  # it is thrown away in any case
        finally:
            self._file.discard()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class _Behind:
    """Show a file as if it began after a prefix, which is written first."""

    def __init__(self, file: AsideFile, prefix: bytes) -> None:
        self._file, self._skip = file, len(prefix)
        file.write(prefix)

    def write(self, data) -> int:
        return self._file.write(data)

    def readinto(self, buffer) -> int:
        return self._file.readinto(buffer)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def tell(self) -> int:
        return self._file.tell() - self._skip

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset + (self._skip if whence == os.SEEK_SET else 0), whence) - self._skip

    def flush(self) -> None:
        self._file.flush()


def _wav_bytes(part: np.ndarray, depth: str) -> bytes:
    """Return the little-endian sample bytes of a (samples, channels) block."""
    if depth == "float32":
        return part.astype("<f4").tobytes()
    words = quantise(part, depth).astype("<i4").view(np.uint8).reshape(-1, 4)
    return words[:, 2 if depth == "int16" else 1 :].tobytes()


def write(
    path: str | os.PathLike,
    samples: np.ndarray,
    rate: int,
    *,
    format: str | None = None,
    depth: str | None = None,
    bitrate: float | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Write a whole audio file, or nothing.

    Args:
        path: the file, in a folder that exists, or ``-`` for standard output.
        samples: float32 (channels, samples), full scale ±1.
        rate: Hz.
        format, depth, bitrate, tags: as in `open_writer`.

    Raises:
        OutputError: as `open_writer` and `Writer.write`.
    """
    with open_writer(
        path, rate=rate, channels=samples.shape[0], format=format, depth=depth, bitrate=bitrate, tags=tags
    ) as writer:
        writer.write(samples)
