"""Write a ``.stem.mp4``: five AAC streams in one file (mixture, drums, bass, other, vocals), as MUSDB18 and DJ software have it.

Reference: Native Instruments, "Stems file specification" (the JSON in ``moov/udta/stem``); MUSDB18's order of streams.
"""

import json
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from songfoundry.audio import foreign
from songfoundry.audio.atomic import AsideFile
from songfoundry.errors import MissingExtraError, OutputError

STREAMS = ("mixture", "drums", "bass", "other", "vocals")
"""What the streams of a ``.stem.mp4`` hold, in order."""

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_COLOURS = {"drums": "#009E73", "bass": "#D55E00", "other": "#CC79A7", "vocals": "#56B4E9"}
_MP4_TAGS = {"tracknumber": "track", "software": "encoder"}

Audio = str | os.PathLike | Iterable[np.ndarray]


def write_stem_mp4(
    path: str | os.PathLike,
    mixture: Audio,
    stems: Mapping[str, Audio],
    *,
    rate: int,
    tags: Mapping[str, str] | None = None,
    bitrate: float | None = None,
) -> None:
    """Write a ``.stem.mp4``, streamed and atomic.

    Args:
        path: the file, in a folder that exists.
        mixture: an audio file, or an iterable of float32 (channels, samples) blocks, full scale ±1, at ``rate``; mono or
            stereo.
        stems: the same for ``drums``, ``bass``, ``other`` and ``vocals``, all as long as the mixture.
        rate: Hz, one of `AAC_RATES`; files must have it.
        tags: text tags of the whole file.
        bitrate: kbit/s of each stream; None for 256.

    Raises:
        MissingExtraError: neither PyAV nor an ffmpeg program is there.
        OutputError: a stem is missing, the audio does not fit, or the file cannot be written; nothing is left behind.
    """
    path = os.fspath(path)
    check_stem_mp4(path, rate, 2, stems)
    sources = [mixture, *(stems[s] for s in STREAMS[1:])]
    named = {_MP4_TAGS.get(k, k): str(v) for k, v in (tags or {}).items() if v}
    encode = _encode_pyav if foreign.have_pyav() else _encode_ffmpeg
    with AsideFile(path) as file:
        encode(file, [_Blocks(s, rate) for s in sources], rate, named, int(1000 * (bitrate or 256)))
        file.check()
        _add_stem_box(file)


def check_stem_mp4(path: str, rate: int, channels: int, stems: Iterable[str]) -> None:
    """Refuse what `write_stem_mp4` cannot write, before any work is done.

    Raises:
        MissingExtraError, OutputError: as `write_stem_mp4`.
    """
    stems = list(stems)
    missing = [s for s in STREAMS[1:] if s not in stems]
    if missing:
        raise OutputError(f"expected the stems {', '.join(STREAMS[1:])} for '{path}', found no {missing[0]}; write all four")
    if rate not in AAC_RATES:
        raise OutputError(f"expected a sampling rate that AAC has for '{path}', found {rate} Hz; resample to 44100 Hz")
    if channels > 2:
        raise OutputError(f"expected mono or stereo for stem.mp4, found {channels} channels; mix down first")
    if path == "-":
        raise OutputError("expected a file name for stem.mp4, found standard output; name a file")
    if not foreign.have_pyav() and not foreign.ffmpeg_program():
        raise MissingExtraError(
            "expected PyAV or an ffmpeg program to write stem.mp4, found neither; "
            "install PyAV with pip install 'songfoundry[av]', put ffmpeg on the PATH, or choose wav or flac"
        )


class _Blocks:
    """Look at the first block of a source, so that its channels are known, and then give them all."""

    def __init__(self, source: Audio, rate: int) -> None:
        if isinstance(source, str | os.PathLike):
            source = _file_blocks(source, rate)
        self._rest = iter(source)
        self._first = next(self._rest, None)
        if self._first is None:
            raise OutputError("expected audio for every stream of a stem.mp4, found one without samples; write all five")
        self.channels = self._first.shape[0]
        if self.channels > 2:
            raise OutputError(f"expected mono or stereo for stem.mp4, found {self.channels} channels; mix down first")

    def __iter__(self) -> Iterator[np.ndarray]:
        yield self._first
        yield from self._rest


def _file_blocks(path: str | os.PathLike, rate: int) -> Iterator[np.ndarray]:
    from songfoundry.audio.io import open_reader  # the reading half, which imports this half

    with open_reader(path) as reader:
        if reader.rate != rate:
            raise OutputError(f"expected {rate} Hz in '{os.fspath(path)}', found {reader.rate} Hz; resample it first")
        yield from reader.blocks()


def _encode_pyav(file: AsideFile, sources: list[_Blocks], rate: int, tags: dict[str, str], bits: int) -> None:
    """Encode the five streams in turns, a block of each, so that the muxer never holds much."""
    import av  # an extra, and slow to import

    try:
        # The length is written in the movie's own unit of time, by default a thousandth of a second: too coarse for samples.
        with av.open(file, "w", format="mp4", options={"movie_timescale": str(rate)}) as container:
            container.metadata.update(tags)
            streams = []
            for name, source in zip(STREAMS, sources, strict=True):
                stream = container.add_stream("aac", rate=rate, layout="mono" if source.channels == 1 else "stereo")
                stream.bit_rate = bits
                stream.metadata["title"] = name
                stream.metadata["handler_name"] = name
                streams.append(stream)
            turns = [iter(s) for s in sources]
            places = [0] * len(turns)
            live = set(range(len(turns)))
            while live:
                for i in sorted(live):
                    block = next(turns[i], None)
                    if block is None:
                        container.mux(streams[i].encode(None))
                        live.discard(i)
                        continue
                    frame = av.AudioFrame.from_ndarray(
                        np.ascontiguousarray(block, np.float32), format="fltp", layout=streams[i].layout.name
                    )
                    frame.sample_rate = rate
                    frame.pts = places[i]
                    places[i] += block.shape[1]
                    container.mux(streams[i].encode(frame))
                    file.check()
    except (av.FFmpegError, ValueError) as error:
        file.check()
        raise OutputError(
            f"expected to encode '{file.path}', found that the AAC encoder failed ({error}); choose another format"
        ) from error


def _encode_ffmpeg(file: AsideFile, sources: list[_Blocks], rate: int, tags: dict[str, str], bits: int) -> None:
    """Encode through temporary wav files, since the program reads five inputs at its own pace."""
    from songfoundry.audio.writing import open_writer  # the writer, which names this function

    with tempfile.TemporaryDirectory(prefix="songfoundry-") as folder:
        command = [foreign.ffmpeg_program(), "-nostdin", "-hide_banner", "-v", "error", "-y"]
        for name, source in zip(STREAMS, sources, strict=True):
            wav = Path(folder, f"{name}.wav")
            with open_writer(wav, rate=rate, channels=source.channels, depth="float32") as writer:
                for block in source:
                    writer.write(block)
            command += ["-protocol_whitelist", "file,pipe", "-f", "wav", "-i", f"file:{wav}"]
        for i, name in enumerate(STREAMS):
            command += ["-map", f"{i}:a:0", f"-metadata:s:a:{i}", f"title={name}", f"-metadata:s:a:{i}", f"handler_name={name}"]
        for key, value in tags.items():
            command += ["-metadata", f"{key}={value}"]
        out = Path(folder, "out.mp4")
        command += ["-c:a", "aac", "-b:a", str(bits), "-f", "mp4"]
        for precise in (["-movie_timescale", str(rate)], []):  # as with PyAV; ffmpeg knows the option from version 5 on
            done = subprocess.run([*command, *precise, f"file:{out}"], stdin=subprocess.DEVNULL, capture_output=True)
            if done.returncode == 0:
                break
        if done.returncode != 0:
            detail = " ".join(done.stderr.decode("utf-8", "replace").split())[-200:]
            raise OutputError(
                f"expected to encode '{file.path}', found that ffmpeg failed ({detail}); choose another format"
            )
        with open(out, "rb") as encoded:
            while chunk := encoded.read(1 << 20):
                file.write(chunk)


def _add_stem_box(file: AsideFile) -> None:
    """Append the ``stem`` box to ``moov/udta``: ``moov`` is the last box, so only sizes on the way have to grow."""
    text = {
        "version": 1,
        "mastering_dsp": {
            "compressor": {
                "enabled": False, "ratio": 3, "output_gain": 0.5, "release": 0.3,
                "attack": 0.003, "input_gain": 0.5, "threshold": 0, "hp_cutoff": 300, "dry_wet": 50,
            },
            "limiter": {"enabled": False, "release": 0.05, "threshold": 0, "ceiling": -0.35},
        },
        "stems": [{"name": name.capitalize(), "color": _COLOURS[name]} for name in STREAMS[1:]],
    }  # fmt: skip
    stem = _box(b"stem", json.dumps(text).encode())
    file.flush()
    at = 0
    while True:
        file.seek(at)
        size, name = struct.unpack(">I4s", file.read(8))
        length = struct.unpack(">Q", file.read(8))[0] if size == 1 else size
        if name == b"moov":
            break
        at += length
    file.seek(at)
    moov = file.read(length)
    inner, udta = 8, None
    while inner + 8 <= len(moov):
        child, name = struct.unpack(">I4s", moov[inner : inner + 8])
        if name == b"udta":
            udta = (inner, child)
        inner += child
    if udta is None:
        moov += _box(b"udta", stem)
    else:
        start, child = udta
        grown = struct.pack(">I", child + len(stem)) + moov[start + 4 : start + child] + stem
        moov = moov[:start] + grown + moov[start + child :]
    file.seek(at)
    file.write(struct.pack(">I", len(moov)) + moov[4:])


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body
