"""Do what the product does, one typed function per verb: the Python API, and what the command line calls."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from songfoundry.audio import io
from songfoundry.audio.atomic import same_file, spare
from songfoundry.audio.pieces import clip_report, loudest_window
from songfoundry.errors import AudioError, Cancelled, ConfigError
from songfoundry.separating.models import Outline, outline
from songfoundry.separating.outputs import Selection, format_for, is_file_name, plan_paths, select
from songfoundry.separating.separator import DEFAULT_MODEL, Separator, check_audio
from songfoundry.separating.stemwriter import Form, StemWriter, Written, check_form

__all__ = ["SeparationResult", "already_there", "check", "separate"]

_BLOCK = 65536
_SAME_SECONDS = 0.1


@dataclass
class SeparationResult:
    """Hold what came of a separation.

    Attributes
    ----------
    source : the file, "-" or "array". paths : file of each output ({"": path} for stem.mp4); empty where none was asked for.
    stems : float32 (channels, samples) of each output where no file was asked for.
    rate, channels, seconds : of what came out; `start` is its first second in the song.
    elapsed : seconds of work; `realtime_factor` is seconds of audio for each of them.
    peaks : largest absolute value of each output, full scale 1, before anything was done about clipping.
    gain : what all outputs were multiplied by. over_db : how far outputs went over full scale.
    exact_sum_cost_db : power of what the exact sum added, relative to the stems.
    device, threads : where the net ran, and on how many CPU threads.
    notes : sentences for the user: clipping and what was done, a changed rate, damage of the file.
    skipped : all outputs were there already.
    """

    source: str
    model: str
    paths: dict[str, str] = field(default_factory=dict)
    stems: dict[str, np.ndarray] = field(default_factory=dict)
    rate: int = 0
    channels: int = 0
    start: float = 0.0
    seconds: float = 0.0
    elapsed: float = 0.0
    peaks: dict[str, float] = field(default_factory=dict)
    clip_mode: str = ""
    gain: float = 1.0
    over_db: dict[str, float] = field(default_factory=dict)
    exact_sum_cost_db: float | None = None
    notes: list[str] = field(default_factory=list)
    device: str = ""
    threads: int = 0
    skipped: bool = False

    @property
    def realtime_factor(self) -> float:
        """Seconds of audio for each second of work."""
        return self.seconds / self.elapsed if self.elapsed else 0.0

    def as_json(self) -> dict[str, Any]:
        """Give plain values for JSON, the arrays left out."""
        values = {key: value for key, value in asdict(self).items() if key != "stems"}
        return values | {"realtime_factor": round(self.realtime_factor, 3)}


def separate(
    source: str | os.PathLike | np.ndarray,
    *,
    rate: int | None = None,
    model: str | os.PathLike | Separator = DEFAULT_MODEL,
    out: str | os.PathLike | None = None,
    name_template: str | None = None,
    track: str | None = None,
    format: str | None = None,
    depth: str | None = None,
    bitrate: float | None = None,
    stems: str | Sequence[str] | None = None,
    two_stems: str | None = None,
    minus: str | Sequence[str] | None = None,
    start: float = 0.0,
    duration: float | None = None,
    preview: float | None = None,
    skip_existing: bool = False,
    exact_sum: bool = False,
    clip_mode: str | None = None,
    repair: bool = False,
    device: str = "auto",
    threads: int | None = None,
    overlap: float = 0.25,
    chunk_seconds: float | None = None,
    shifts: int = 0,
    precision: str | None = None,
    progress: Callable[[float], bool | None] | None = None,
    cancel: threading.Event | None = None,
) -> SeparationResult:
    """Separate a song into stems, as files or, without `out`, as arrays.

    Parameters
    ----------
    source : an audio file, `-` for standard input, or an array: float (channels, samples), full scale ±1, at `rate` Hz.
    model : name, path, `a+b` for the mean of two, or a `Separator`, whose own options then hold.
    out : a folder; or where one file is to be written its name, or `-` for standard output; None to return arrays.
    name_template : of the names in the folder; fields {track}, {stem}, {ext}, {model}. Default "{track}/{stem}.{ext}".
    track : what {track} stands for; None for the source's name without its suffix.
    format, depth, bitrate : "wav" (default), "flac", "mp3", "ogg", "opus" or "stem.mp4"; "int16" (default), "int24" or
        "float32"; kbit/s.
    stems, two_stems, minus : which stems; one stem and the rest; everything but these. Default: all.
    start, duration : seconds of the song to give, with the bits that the whole run gives them (before one gain is laid on
        all stems, which `clip_mode` rescale takes from the part alone).
    preview : as these, but the loudest stretch of so many seconds.
    skip_existing : do nothing where all outputs are there.
    exact_sum : make the written stems add up exactly to the mixture on a 24-bit grid (int24 or float32 files).
    clip_mode : what is done beyond full scale: "rescale" (one gain for all stems; default), "clamp", or "float" (left as it
        is; float32 files, where it is the default).
    repair : take NaN, Inf and absurd values of a file for silence instead of refusing it.
    device, threads, overlap, chunk_seconds, shifts, precision : see `Separator`.
    progress : called with the fraction done; returns False to stop. cancel : stops when set, from any thread.

    Returns
    -------
    result : see `SeparationResult`. Files have the source's length and channels, its text tags, and its rate or the nearest
        that the format has.

    Raises
    ------
    AudioError, InputError, ConfigError, CheckpointError, OutputError, MissingExtraError, Cancelled : one sentence each; no
        file is left half-written.
    """
    begun = time.perf_counter()
    own = (device, threads, overlap, chunk_seconds, shifts, precision)
    known = model if isinstance(model, Separator) else outline(model, *own)
    form, selection = check(
        known, out=out, name_template=name_template, format=format, depth=depth, bitrate=bitrate, stems=stems,
        two_stems=two_stems, minus=minus, start=start, duration=duration, preview=preview, exact_sum=exact_sum,
        clip_mode=clip_mode,
    )  # fmt: skip
    song = _Song(source, rate, repair)
    paths: dict[str, str] = {}
    if out is not None:
        paths = plan_paths(selection.names, out, name_template, form.format, track or song.track, known.name)
        spare(paths.values(), [song.name], "the song", "--out")
        if skip_existing and (result := already_there(song.name, known.name, paths, start, duration, preview)):
            return result
    if not isinstance(model, Separator):
        model = Separator(model, *own)
    with song.open():
        result = _work(song, model, selection, form, paths, (start, duration, preview), progress, cancel)
    result.elapsed = time.perf_counter() - begun
    return result


def already_there(
    source: str, model: str, paths: dict[str, str], start: float = 0.0, duration: float | None = None, preview: float | None = None
) -> SeparationResult | None:  # fmt: skip
    """Give the result of a song whose outputs are all there; None where there is work, or one of them is the song itself.

    An output of another length than the song's (or the part's) is another run's: a preview's, say.
    """
    if "-" in paths.values() or not all(os.path.exists(path) for path in paths.values()):
        return None
    if same_file(paths.values(), [source]) or not _as_long(source, paths.values(), start, duration, preview):
        return None
    return SeparationResult(source, model, paths, skipped=True)


def _as_long(source: str, paths: Iterable[str], start: float, duration: float | None, preview: float | None) -> bool:
    """Tell whether files have the length of what is asked for of a song; where a header does not say one, they are believed."""
    if not os.path.isfile(source):
        return True  # a pipe, which can be read but once
    lengths = []
    for path in (source, *paths):
        try:
            lengths.append(io.probe(path).seconds)
        except AudioError:
            lengths.append(None)
    whole, *there = lengths
    if whole is None:
        return True
    wanted = max(0.0, whole - start) if preview is None else whole
    wanted = min([wanted, *(limit for limit in (duration, preview) if limit is not None)])
    return all(length is None or abs(length - wanted) < _SAME_SECONDS for length in there)


def check(
    separator: Separator | Outline, *, out=None, count: int = 1, name_template=None, format=None, depth=None, bitrate=None, stems=None,
    two_stems=None, minus=None, start=0.0, duration=None, preview=None, exact_sum=False, clip_mode=None, **_: Any,
) -> tuple[Form, Selection]:  # fmt: skip
    """Check the options of `separate` that need no song, for `count` songs; raises `ConfigError`."""
    _check_range(start, duration, preview)
    if out is not None and not os.fspath(out):
        raise ConfigError("expected a folder or a file after --out, found an empty name: name one")
    form = check_form(format_for(out, format), depth, bitrate, clip_mode, exact_sum)
    if out is None and exact_sum:
        raise ConfigError("expected files to write with --exact-sum, found none: name a folder with --out")
    if form.format == "stem.mp4" and any(option is not None for option in (stems, two_stems, minus)):
        raise ConfigError("expected all four stems for stem.mp4, found a choice of stems: leave it out or take another format")
    selection = select(separator.stems, stems, two_stems, minus)
    if exact_sum and not selection.whole:
        raise ConfigError("expected all stems or --two-stems with --exact-sum, found a part, which cannot add up: leave one out")
    if out is not None:
        if count > 1 and is_file_name(out):
            raise ConfigError(f"expected a folder for {count} songs after --out, found '{os.fspath(out)}': name a folder")
        names = [plan_paths(selection.names, out, name_template, form.format, track, separator.name) for track in ("a", "b")]
        if count > 1 and names[0] == names[1]:
            raise ConfigError(f"expected {{track}} in --name-template for {count} songs, found {name_template!r}: add it")
    return form, selection


def _work(
    song: "_Song", separator: Separator, selection: Selection, form: Form, paths: dict[str, str],
    part: tuple[float, float | None, float | None], progress, cancel,
) -> SeparationResult:  # fmt: skip
    """Run an open song through the separator into files or arrays."""
    start, duration, preview = part
    first = round(start * song.rate)
    if preview is not None:
        first, duration = loudest_window(_cancellable(song.blocks(), cancel), song.rate, preview), preview
    stop = None if duration is None else first + max(1, round(duration * song.rate))
    out_rate = io.nearest_rate(form.format, song.rate) if paths else song.rate
    result = SeparationResult(song.name, separator.name, paths, rate=out_rate, channels=song.channels, clip_mode=form.clip_mode)
    result.start, result.device, result.threads = first / song.rate, str(separator.device), separator.threads
    if out_rate != song.rate:
        if form.exact_sum:
            raise ConfigError(f"expected a rate that {form.format} has with --exact-sum, found {song.rate} Hz: choose wav")
        result.notes.append(f"{form.format} has no rate of {song.rate} Hz: the stems are written at {out_rate} Hz")
    total = _expected(song, first, stop) * out_rate / song.rate
    if paths:
        sink = StemWriter(paths, selection.names, form, rate=out_rate, channels=song.channels, tags=song.tags, cancel=cancel)
    else:
        sink = _Memory(selection.names)
    done = 0
    with sink:
        for mixture, stems in separator.stream_with_mixture(
            song.blocks(), song.rate, song.channels, out_rate=out_rate, start=first, stop=stop, cancel=cancel
        ):
            sink.write(mixture, selection.apply(mixture, stems))
            done += mixture.shape[1]
            if progress is not None and progress(min(done / total, 0.999) if total else 0.0) is False:
                raise Cancelled("expected to separate to the end, found that the callback said stop: nothing was kept")
        if not done:
            raise AudioError(f"expected audio from second {start:g} of {song.name}, found its end before: choose another start")
        written = sink.finish()
    if progress is not None:
        progress(1.0)
    result.seconds = done / out_rate
    result.peaks, result.exact_sum_cost_db = written.peaks, written.exact_sum_cost_db
    result.stems = getattr(sink, "stems", {})
    result.notes += [*song.notes(), *written.notes]
    result.gain, result.over_db = written.clipping.gain, written.clipping.over_db
    return result


class _Song:
    """Read a file, standard input or an array in the same way."""

    def __init__(self, source, rate: int | None, repair: bool):
        self._repair, self._reader, self._array = repair, None, None
        self.tags: dict[str, str] = {}
        if isinstance(source, str | os.PathLike):
            self.name = os.fspath(source)
            name = "stdin" if self.name == "-" else Path(self.name).stem
            self.track = name.removesuffix(".stem") or name
            return
        if rate is None:
            raise ConfigError("expected a rate in Hz beside an array, found none: give rate=44100, or what it is")
        self.name = self.track = "array"
        self._array, self.rate = check_audio(source, rate), rate
        self.channels, self.frames = self._array.shape

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold the file open."""
        if self._array is not None:
            yield
            return
        with io.open_reader(self.name, repair=self._repair) as reader:
            self._reader, self.rate, self.channels, self.frames, self.tags = (
                reader, reader.rate, reader.channels, reader.frames_hint, reader.tags,
            )  # fmt: skip
            yield

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield float32 (channels, n) from the first sample on, each call anew."""
        if self._array is None:
            yield from self._reader.blocks(_BLOCK)
            return
        for at in range(0, self._array.shape[1], _BLOCK):
            yield self._array[:, at : at + _BLOCK]

    def notes(self) -> list[str]:
        """Say what was wrong with the file."""
        if self._reader is None:
            return []
        repaired = f"{self._reader.repaired} values of {self._reader.name} were no audio and became silence"
        return [note for note in (self._reader.shortfall, repaired if self._reader.repaired else None) if note]


class _Memory:
    """Gather outputs as arrays, in the place of a `StemWriter`."""

    def __init__(self, names: tuple[str, ...]):
        self._names, self._blocks = names, []
        self.stems: dict[str, np.ndarray] = {}

    def write(self, mixture: np.ndarray, outputs: np.ndarray) -> None:
        """Take a block, float32 (outputs, channels, n)."""
        self._blocks.append(outputs)

    def finish(self) -> Written:
        """Put the blocks together; floats do not clip."""
        whole = np.concatenate(self._blocks, axis=-1)
        self._blocks.clear()
        self.stems = dict(zip(self._names, whole, strict=True))
        peaks = {name: float(np.abs(stem).max()) for name, stem in self.stems.items()}
        return Written({}, peaks, clip_report({}, "float"))

    def __enter__(self) -> "_Memory":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._blocks.clear()


def _expected(song: _Song, first: int, stop: int | None) -> int:
    """Guess how many samples of the song will come out; 0 where nobody knows."""
    end = min((n for n in (song.frames, stop) if n), default=0)
    return max(0, end - first)


def _cancellable(blocks: Iterator[np.ndarray], cancel: threading.Event | None) -> Iterator[np.ndarray]:
    """Pass blocks on until the work is cancelled."""
    for block in blocks:
        if cancel is not None and cancel.is_set():
            raise Cancelled("expected to search to the end, found the work cancelled: nothing was kept")
        yield block


def _check_range(start: float, duration: float | None, preview: float | None) -> None:
    """Refuse seconds that are no seconds."""
    if not 0 <= start < 1e6:
        raise ConfigError(f"expected --start of 0 s or more, found {start:g}: choose another")
    for name, value in (("--duration", duration), ("--preview", preview)):
        if value is not None and not 0 < value < 1e6:
            raise ConfigError(f"expected {name} of more than 0 s, found {value:g}: choose another")
    if preview is not None and (start or duration is not None):
        raise ConfigError("expected --preview, or --start and --duration, found both: --preview finds its place, leave one out")
