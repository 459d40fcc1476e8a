"""Write the stems of one song: all of them or none, never clipped in silence.

Where one gain for all stems depends on the loudest sample of the whole song (``rescale``), and for stem.mp4, whose encoder
reads all streams at once, the stems wait as float32 in unnamed temporary files beside the output; else they are written as
they come.
"""

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from songfoundry.audio import io
from songfoundry.audio.atomic import output_error
from songfoundry.audio.pieces import CLIP_MODES, ClipReport, Peak, clip, clip_report, cost_db, exact_sum
from songfoundry.audio.stemfile import check_stem_mp4
from songfoundry.errors import Cancelled, ConfigError
from songfoundry.registry import nearest

__all__ = ["Form", "StemWriter", "Written", "check_form"]

_BLOCK = 65536


@dataclass(frozen=True)
class Form:
    """Say how stems are written, after `check_form` has filled in what was left open."""

    format: str
    depth: str | None
    bitrate: float | None
    clip_mode: str
    exact_sum: bool


def check_form(
    format: str, depth: str | None = None, bitrate: float | None = None, clip_mode: str | None = None, exact: bool = False
) -> Form:
    """Check options of the files against each other and fill in the defaults.

    depth : int16 for wav and flac (int24 with the exact sum). clip_mode : rescale; float where the depth is float32; clamp
    with the exact sum.

    Raises
    ------
    ConfigError : a value is unknown, or two do not go together.
    """
    known = io.depths(format) if format in io.FORMATS else ()
    if depth is not None and depth not in known:
        what = f"a depth of {', '.join(known)}" if known else "no --depth"
        raise ConfigError(f"expected {what} for {format}, found {depth!r}: choose that or another format")
    if bitrate is not None and (known or not 4 <= bitrate <= 1000):
        what = "no --bitrate" if known else "a --bitrate from 4 to 1000 kbit/s"
        raise ConfigError(f"expected {what} for {format}, found {bitrate:g}: change it or the format")
    if clip_mode is not None and clip_mode not in CLIP_MODES:
        raise ConfigError(f"expected a --clip-mode, found {clip_mode!r}: {nearest(clip_mode, list(CLIP_MODES))}")
    if exact:
        depth = depth or ("int24" if "int24" in known else None)
        if depth not in ("int24", "float32"):
            raise ConfigError(
                f"expected int24 or float32 files for --exact-sum, found {depth or format}: add --depth int24, in wav or flac"
            )
        if clip_mode not in (None, "clamp"):
            raise ConfigError(f"expected --clip-mode clamp with --exact-sum, found {clip_mode}, which breaks it: leave it out")
        return Form(format, depth, bitrate, "clamp", True)
    depth = depth or (known[0] if known else None)
    if clip_mode == "float" and depth != "float32":
        raise ConfigError(f"expected --depth float32 with --clip-mode float, found {depth or format}: choose rescale or clamp")
    return Form(format, depth, bitrate, clip_mode or ("float" if depth == "float32" else "rescale"), False)


@dataclass
class Written:
    """Hold what was written: the peak of each output before anything was done about clipping, and what was done.

    In stem.mp4 the mixture is one of the outputs.
    """

    paths: dict[str, str]
    peaks: dict[str, float]
    clipping: ClipReport
    exact_sum_cost_db: float | None = None
    notes: list[str] = field(default_factory=list)


class StemWriter:
    """Write blocks of all outputs of a song; a context manager that leaves all files or none.

    Parameters
    ----------
    paths : the file of each output, or {"": path} for stem.mp4; `-` is standard output.
    names : of the outputs, in the order of the blocks' first axis.
    rate, channels : of what is written, Hz and count.

    Raises
    ------
    OutputError : a file cannot be made or written, the format cannot hold such audio. MissingExtraError : no AAC encoder.
    """

    def __init__(
        self, paths: Mapping[str, str], names: tuple[str, ...], form: Form, *, rate: int, channels: int,
        tags: Mapping[str, str] | None = None, cancel: threading.Event | None = None,
    ):  # fmt: skip
        self.paths, self.names, self.form, self.rate, self.channels = dict(paths), names, form, rate, channels
        self._tags, self._cancel = dict(tags or {}), cancel
        self._peaks = {name: Peak() for name in names}
        self._mixture_peak = Peak()
        self._added = self._power = 0.0
        self._writers: dict[str, io.Writer] = {}
        self._spools: dict[str, _Spool] = {}
        self._folders: list[Path] = []
        self._stack = ExitStack()
        try:
            self._open()
        except BaseException:
            self._discard()
            raise

    def _open(self) -> None:
        """Make folders and files, so that what cannot be written is known before the work."""
        whole = self.form.format == "stem.mp4"
        if whole:
            check_stem_mp4(self.paths[""], self.rate, self.channels, self.names)
        for path in self.paths.values():
            if path != "-":
                self._make_folder(Path(path).parent)
        for name in () if whole else self.names:
            writer = io.open_writer(
                self.paths[name], rate=self.rate, channels=self.channels, format=self.form.format, depth=self.form.depth,
                bitrate=self.form.bitrate, tags=self._tags,
            )  # fmt: skip
            self._writers[name] = writer
            self._stack.callback(writer.abort)
        if whole or self.form.clip_mode == "rescale":
            for name in (*self.names, "mixture") if whole else self.names:
                self._spools[name] = spool = _Spool(self.paths["" if whole else name], self.channels, self._cancel)
                self._stack.callback(spool.close)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, and remember which are new."""
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        try:
            for new in reversed(missing):
                new.mkdir(exist_ok=True)
                self._folders.append(new)
        except OSError as error:
            raise output_error(folder, error) from error

    def write(self, mixture: np.ndarray, outputs: np.ndarray) -> None:
        """Append a block, float32 (channels, n) and (outputs, channels, n), full scale ±1.

        Raises
        ------
        OutputError : the disk is full, or the like.
        """
        for name, block in zip(self.names, outputs, strict=True):
            self._peaks[name].add(block)
        if self.form.exact_sum or "mixture" in self._spools:
            self._mixture_peak.add(mixture)
        if self.form.exact_sum:
            _, outputs, added, power = exact_sum(mixture, outputs)
            self._added += added
            self._power += power
        for name, block in zip(self.names, outputs, strict=True):
            if name in self._spools:
                self._spools[name].write(block)
            else:
                self._writers[name].write(block.clip(-1, 1) if self.form.clip_mode == "clamp" else block)
        if "mixture" in self._spools:
            self._spools["mixture"].write(mixture)

    def finish(self) -> Written:
        """Encode what has waited, sync all files, and give all of them their names.

        Raises
        ------
        OutputError : as `write`; none of the files is left.
        """
        peaks = {name: peak.value for name, peak in self._peaks.items()}
        if "mixture" in self._spools:
            peaks["mixture"] = self._mixture_peak.value
        report = clip_report(peaks, self.form.clip_mode)
        if self.form.format == "stem.mp4":
            streams = {name: (clip(block, report) for block in self._spools[name].blocks()) for name in self.names}
            mixture = (clip(block, report) for block in self._spools["mixture"].blocks())
            io.write_stem_mp4(self.paths[""], mixture, streams, rate=self.rate, tags=self._tags, bitrate=self.form.bitrate)
        else:
            for name, spool in self._spools.items():
                for block in spool.blocks():
                    self._writers[name].write(clip(block, report))
                spool.close()
            for writer in self._writers.values():
                writer.finish()
            for writer in self._writers.values():
                writer.close()
        self._folders.clear()
        written = Written(self.paths, peaks, report, notes=list(report.lines))
        if self.form.exact_sum:
            written.exact_sum_cost_db = cost_db(self._added, self._power)
            if self._mixture_peak.value > 1:
                over = f"the mixture itself goes {self._mixture_peak.db:.2f} dB over full scale"
                written.notes.append(f"{over}: the stems add up to it cut off at full scale")
        return written

    def _discard(self) -> None:
        """Remove whatever has not got its name, and the folders that were made for it."""
        self._stack.close()
        for folder in reversed(self._folders):
            try:
                folder.rmdir()
            except OSError:
                continue  # somebody else has put something there
        self._folders.clear()

    def __enter__(self) -> "StemWriter":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._discard()


class _Spool:
    """Keep float32 blocks in an unnamed file beside the output, on whose disk there must be room anyway."""

    def __init__(self, path: str, channels: int, cancel: threading.Event | None):
        self._path, self._channels, self._cancel = path, channels, cancel
        try:
            self._file = tempfile.TemporaryFile(dir=None if path == "-" else Path(path).parent, prefix=".songfoundry-")
        except OSError as error:
            raise output_error(path, error) from error

    def write(self, block: np.ndarray) -> None:
        """Append float32 (channels, n)."""
        try:
            self._file.write(np.ascontiguousarray(block.T, np.float32))
        except OSError as error:
            raise output_error(self._path, error) from error

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield what was written, float32 (channels, n); raises `Cancelled` as asked."""
        try:
            self._file.seek(0)
            while data := self._file.read(_BLOCK * self._channels * 4):
                if self._cancel is not None and self._cancel.is_set():
                    raise Cancelled("expected to write the stems, found the work cancelled: nothing was kept")
                yield np.frombuffer(data, np.float32).reshape(-1, self._channels).T
        except OSError as error:
            raise output_error(self._path, error) from error

    def close(self) -> None:
        """Let the space go; a second call does nothing."""
        try:
            self._file.close()
        except OSError:
            pass  # what was buffered does not fit on the disk, and is not wanted
