"""Decode what libsndfile cannot (m4a, aac, wma, webm, mp4), with PyAV or else with an ffmpeg program.

Which demuxer runs is told by the first bytes of the file and given by name, so that no playlist or script format of ffmpeg
is ever reached; PyAV gets an open file, and the program may only open files and pipes.
"""

import importlib.util
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator

import numpy as np

from songfoundry.errors import AudioError

_TAG_NAMES = {
    "title": "title",
    "artist": "artist",
    "album": "album",
    "comment": "comment",
    "date": "date",
    "genre": "genre",
    "track": "tracknumber",
    "copyright": "copyright",
    "encoder": "software",
    "license": "license",
}


def sniff(head: bytes) -> str | None:
    """Name ffmpeg's demuxer for the first 16 bytes of a file, or None where this is no container that we hand over."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"\x30\x26\xb2\x75":
        return "asf"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:2] == b"\x0b\x77":
        return "ac3"
    if head[:4] == b"wvpk":
        return "wv"
    return None


def have_pyav() -> bool:
    """Say whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def ffmpeg_program() -> str | None:
    """Return the path of an ffmpeg program, or None."""
    return shutil.which("ffmpeg")


def open_source(path: str, name: str, demuxer: str, stream: int) -> "PyavSource | FfmpegSource":
    """Open one audio stream of a foreign file with whichever decoder is there.

    Args:
        path: the file.
        name: how messages call it.
        demuxer: what `sniff` said.
        stream: number of the audio stream, from 0.

    Raises:
        AudioError: neither decoder is there, or the file cannot be decoded.
    """
    if have_pyav():
        return PyavSource(path, name, demuxer, stream)
    if ffmpeg_program():
        return FfmpegSource(path, name, demuxer, stream)
    raise AudioError(
        f"expected PyAV or an ffmpeg program to decode {name} ({demuxer}), found neither; "
        "install PyAV with pip install 'songfoundry[av]', put ffmpeg on the PATH, or convert the file to wav or flac"
    )


def _unreadable(name: str, demuxer: str, detail: object) -> AudioError:
    detail = " ".join(str(detail).split())[:200]
    return AudioError(f"expected audio in {name}, found a {demuxer} file that no decoder reads ({detail}); convert it")


def _no_stream(name: str, stream: int, streams: int) -> AudioError:
    if streams == 0:
        return AudioError(f"expected audio in {name}, found a file without an audio stream; give a file with sound")
    return AudioError(
        f"expected audio stream {stream} in {name}, found {streams} stream(s); choose one of 0 to {streams - 1}"
    )


class PyavSource:
    """Decode one audio stream with PyAV."""

    def __init__(self, path: str, name: str, demuxer: str, stream: int) -> None:
        import av  # an extra, and slow to import

        self._av, self._name, self._demuxer = av, name, demuxer
        self._file = open(path, "rb")
        self._container = None
        try:
            # an open file, not a path: ffmpeg then has no protocol to open anything else with
            try:
                self._container = av.open(self._file, format=demuxer, metadata_errors="surrogateescape")
            except TypeError:  # PyAV 19 and later know no other way
                self._container = av.open(self._file, format=demuxer)
            audio = self._container.streams.audio
            self.streams = len(audio)
            if not 0 <= stream < self.streams:
                raise _no_stream(name, stream, self.streams)
            self._stream = audio[stream]
            context = self._stream.codec_context
            self.rate, self.channels = int(context.sample_rate or 0), int(context.channels or 0)
            self.subtype = context.name
            length = self._stream.duration and float(self._stream.duration * self._stream.time_base)
            length = length or (self._container.duration and self._container.duration / av.time_base)
            self.frames_hint = round(length * self.rate) if length else None
            self.tags = _tags({**self._stream.metadata, **self._container.metadata})
        except (av.FFmpegError, ValueError, OSError) as error:
            self.close()
            raise _unreadable(name, demuxer, error) from error
        except BaseException:
            self.close()
            raise
        self.damage: str | None = None
        """What stopped the decoder before the end of the file."""

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield float32 (channels, samples) as the decoder gives them."""
        av = self._av
        resampler = held = None
        lasts = 0
        try:
            for frame in self._container.decode(self._stream):
                if frame.sample_rate != self.rate or frame.layout.nb_channels != self.channels:
                    self.damage = f"a change to {frame.sample_rate} Hz and {frame.layout.nb_channels} channels on the way"
                    break
                if frame.format.name != "fltp" and resampler is None:
                    resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=self.rate)
                for part in resampler.resample(frame) if resampler is not None else [frame]:
                    if held is not None:
                        yield held
                    held = part.to_ndarray()
                lasts = round(frame.duration * frame.time_base * self.rate) if frame.duration and frame.time_base else 0
        except (av.FFmpegError, OSError) as error:
            self.damage = str(error)
        if held is not None:
            # the last AAC frame is padded; its packet's duration, where the container has one, tells where the sound ends
            yield held[:, :lasts] if self._demuxer == "mov" and 0 < lasts < held.shape[1] else held

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._file.close()


class FfmpegSource:
    """Decode one audio stream with an ffmpeg program, which writes float32 with a Sun AU header to a pipe."""

    def __init__(self, path: str, name: str, demuxer: str, stream: int) -> None:
        self._demuxer = demuxer
        self._process: subprocess.Popen | None = None
        self._errors = None
        source = ["-protocol_whitelist", "file,pipe", "-f", demuxer, "-i", "file:" + os.path.abspath(path)]
        base = [ffmpeg_program() or "ffmpeg", "-nostdin", "-hide_banner"]
        self._base = [*base, "-v", "error"]
        self._packets = [*source, "-map", f"0:a:{stream}", "-c", "copy", "-f", "framecrc", "pipe:1"]
        # without an output ffmpeg prints what it found and stops
        try:
            told = subprocess.run([*base, *source], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
            listing = subprocess.run(
                [*base, "-v", "error", *source, "-f", "ffmetadata", "pipe:1"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=120,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _unreadable(name, demuxer, error) from error
        text = told.stderr.decode("utf-8", "replace")
        codecs = re.findall(r"Stream #0:\d+.*?: Audio: (\w+)", text)
        self.streams = len(codecs)
        if not 0 <= stream < self.streams:
            if "Input #0" not in text:
                raise _unreadable(name, demuxer, text.strip().splitlines()[-1] if text.strip() else "no message")
            raise _no_stream(name, stream, self.streams)
        self.subtype = codecs[stream]
        self.tags = _tags(_ffmetadata(listing.stdout.decode("utf-8", "replace")))
        self._errors = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                [*base, "-v", "error", *source, "-map", f"0:a:{stream}", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
            head = self._process.stdout.read(24)
            if len(head) < 24 or head[:4] != b".snd":
                raise _unreadable(name, demuxer, self._last_error() or "no sound came out")
            offset, _, _, self.rate, self.channels = struct.unpack(">5I", head[4:])
            self._process.stdout.read(offset - 24)
        except OSError as error:
            self.close()
            raise _unreadable(name, demuxer, error) from error
        except BaseException:
            self.close()
            raise
        length = re.search(r"Duration: (\d+):(\d+):(\d+\.\d+)", text)
        hours, minutes, seconds = (float(v) for v in length.groups()) if length else (0.0, 0.0, 0.0)
        self.frames_hint = round((hours * 3600 + minutes * 60 + seconds) * self.rate) if length else None
        self.damage: str | None = None
        """What stopped the decoder before the end of the file."""

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield float32 (channels, samples) as they come through the pipe."""
        width, given, held = 4 * self.channels, 0, None
        while True:
            data = self._process.stdout.read(16384 * width)  # a buffered pipe: short only at the end
            data = data[: len(data) - len(data) % width]
            if not data:
                break
            block = np.frombuffer(data, ">f4").astype(np.float32).reshape(-1, self.channels).T
            given += block.shape[1]
            if held is not None and block.shape[1] < 4096:  # the padding of a frame may begin in the block before
                held = np.concatenate([held, block], axis=1)
                continue
            if held is not None:
                yield held
            held = block
        if self._process.wait() != 0:
            self.damage = self._last_error() or "ffmpeg stopped"
        if held is not None:
            padding = self._padding(given) if self._demuxer == "mov" and not self.damage else 0
            yield held[:, : held.shape[1] - padding]

    def _padding(self, given: int) -> int:
        """Count the samples behind the sound among the `given`: the last AAC frame is whole, its packet's duration tells.

        The program has no option to leave them out, but lists the packets; and only where their times and `given` agree but
        for this padding is anything counted, so that a program that leaves it out itself loses nothing.
        """
        listing, exact = self._packet_times(), self._packet_times("-ignore_editlist", "1")
        if listing is None:
            return 0
        count, first, start, whole, last = listing
        # An edit list counts in milliseconds as a rule, and the program's durations follow it; the track's own are exact.
        if exact is not None and exact[0] == count and abs(exact[-1] - last) <= 0.001 * self.rate + 1:
            last = exact[-1]
        return whole - last if last < whole and given == start + whole - max(0, first) else 0

    def _packet_times(self, *options: str) -> tuple[int, int, int, int, int] | None:
        """List the packets: their number, and in samples the first one's start, the last one's, a whole one's duration, the last's.

        None where there are not two.
        """
        unit, count, first, before, last = 0.0, 0, 0, (0, 0), (0, 0)
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        try:
            with subprocess.Popen([*self._base, *options, *self._packets], text=True, **pipes) as listing:
                for line in listing.stdout:
                    if found := re.match(r"#tb 0: (\d+)/(\d+)", line):
                        unit = int(found[1]) / int(found[2]) * self.rate
                    elif found := re.match(r"0, *-?\d+, *(-?\d+), *(\d+),", line):
                        before, last = last, (int(found[1]), int(found[2]))
                        first, count = last[0] if not count else first, count + 1
        except OSError:
            return None
        return (count, *(round(value * unit) for value in (first, last[0], before[1], last[1]))) if count > 1 else None

    def _last_error(self) -> str:
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """End the program and close the pipe."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.stdout.close()
            self._process.wait()
        if self._errors is not None:
            self._errors.close()


def _tags(found: dict[str, str]) -> dict[str, str]:
    """Rename ffmpeg's tags to libsndfile's and drop the others; bytes that are no UTF-8 become replacement characters."""
    lower = {k.lower(): v.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for k, v in found.items()}
    return {ours: lower[theirs] for theirs, ours in _TAG_NAMES.items() if lower.get(theirs)}


def _ffmetadata(text: str) -> dict[str, str]:
    """Parse the global section of ffmpeg's ``ffmetadata`` text."""
    tags = {}
    for line in re.split(r"(?<!\\)\n", text):
        if line.startswith("["):
            break
        key, mark, value = line.partition("=")
        if mark and not line.startswith(";"):
            tags[key] = re.sub(r"\\(.)", r"\1", value, flags=re.S)
    return tags
