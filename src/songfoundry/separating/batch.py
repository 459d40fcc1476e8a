"""Separate many songs: one that cannot be read says why and does not stop the others."""

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from songfoundry.audio.atomic import spare
from songfoundry.errors import Cancelled, ConfigError, InputError, SongfoundryError
from songfoundry.hardware import free_threads, keep_memory
from songfoundry.separating import verb as verbs
from songfoundry.separating.models import outline
from songfoundry.separating.outputs import SUFFIXES, plan_paths
from songfoundry.separating.separator import DEFAULT_MODEL, Separator

__all__ = ["Outcome", "find_audio", "separate_all"]

Progress = Callable[[str, float, int, int, str | None], bool | None]
_OPTIONS = ("device", "threads", "overlap", "chunk_seconds", "shifts", "precision")
"""Options that belong to the `Separator`, which is built once for all songs."""
_STOPPED = "expected to separate all songs, found the work cancelled: unfinished songs left nothing behind"


@dataclass
class Outcome:
    """Hold what came of one song: a result, or the sentence that says why there is none."""

    source: str
    result: verbs.SeparationResult | None = None
    error: str | None = None


def find_audio(
    sources: Sequence[str | os.PathLike], recursive: bool = False, out: str | os.PathLike | None = None
) -> list[tuple[str, str]]:
    """List the songs that files and folders stand for, each with the name that {track} gets.

    Within a folder the name is the path below it without the suffix; songs that would share one (song.mp3 beside song.wav)
    keep their suffix, and those of several folders (A/song.wav, B/song.wav) get as much of their path as tells them apart.
    Hidden files, and what lies in `out`, are left out.

    Raises
    ------
    InputError : a folder without a song. ConfigError : the same song twice.
    """
    found: list[tuple[str, str]] = []
    apart = Path(out).resolve() if out is not None and os.fspath(out) != "-" else None
    for source in map(os.fspath, sources):
        if not os.path.isdir(source):
            found.append((source, Path(source).name if source != "-" else "stdin"))
            continue
        below = [path for path in _files(Path(source), recursive) if apart is None or not path.resolve().is_relative_to(apart)]
        if not below:
            more = "" if recursive else " (folders in it are looked into with --recursive)"
            raise InputError(f"expected songs in the folder '{source}', found no audio file{more}: name another folder")
        found += [(str(path), path.relative_to(source).as_posix()) for path in below]
    choices = [_names(source, name) for source, name in found]
    tracks = [next(names) for names in choices]
    while shared := {track for track, count in Counter(tracks).items() if count > 1}:
        for index, track in enumerate(tracks):
            if track in shared:
                tracks[index] = longer = next(choices[index], None)
                if longer is None:
                    raise ConfigError(f"expected each song once, found '{found[index][0]}' twice: name it once, or use another --out")
    return [(source, track) for (source, _), track in zip(found, tracks, strict=True)]


def _names(source: str, name: str) -> Iterator[str]:
    """Give names for a song, ever longer: without the suffix, with it, and so on with more and more folders before it."""
    above = [] if source == "-" else Path(os.path.abspath(source)).parts[1 : -len(Path(name).parts)]
    for count in range(len(above) + 1):
        longer = "/".join((*above[len(above) - count :], name))
        yield from dict.fromkeys((_without_suffix(longer), longer))


def _files(folder: Path, recursive: bool) -> list[Path]:
    """List the audio files of a folder in the order of their names."""
    paths = sorted(folder.rglob("*") if recursive else folder.iterdir())
    shown = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return [path for path in shown if path.suffix.lower() in SUFFIXES and path.is_file()]


def _without_suffix(name: str) -> str:
    stem = os.path.splitext(name)[0]
    return stem.removesuffix(".stem") or stem


def separate_all(
    sources: Sequence[str | os.PathLike], *, out: str | os.PathLike, model: str | os.PathLike | Separator = DEFAULT_MODEL,
    recursive: bool = False, jobs: int = 1, progress: Progress | None = None, cancel: threading.Event | None = None,
    **options: Any,
) -> list[Outcome]:  # fmt: skip
    """Separate files and folders of songs into files.

    Parameters
    ----------
    sources : files, folders and `-`. recursive : look into folders of folders.
    jobs : how many songs are worked on at once, each by a process of its own.
    progress : called with (song, fraction of it, its number from 1, how many, None); with several jobs only at a song's end.
        A song that failed ends with fraction 1 and, instead of None, the sentence that says why. Returns False to stop.
    options : those of `verbs.separate`.

    Returns
    -------
    outcomes : one for each song, in the order in which they were found.

    Raises
    ------
    ConfigError, CheckpointError, InputError : what is wrong for all songs. Cancelled : as asked.
    """
    if not 1 <= jobs <= 256:
        raise ConfigError(f"expected --jobs from 1 to 256, found {jobs}: choose one of those")
    songs = find_audio(sources, recursive, out)
    own = {key: options.pop(key) for key in _OPTIONS if key in options}
    known = model if isinstance(model, Separator) else outline(model, **own)
    form, selection = verbs.check(known, out=out, count=len(songs), **options)
    if min(jobs, len(songs)) > 1 and isinstance(model, Separator):
        raise ConfigError("expected the name of a model for several jobs, found one that is loaded: give its name or use one job")
    outcomes: list[Outcome | None] = [None] * len(songs)
    plans = [plan_paths(selection.names, out, options.get("name_template"), form.format, track, known.name) for _, track in songs]
    if len(songs) > 1:
        # Before any work: one song's stems may be the next one's sound.
        spare((path for paths in plans for path in paths.values()), (source for source, _ in songs), "the songs", "--out")
    if options.get("skip_existing"):
        part = {key: options[key] for key in ("start", "duration", "preview") if options.get(key) is not None}
        for index, ((source, _), paths) in enumerate(zip(songs, plans, strict=True)):
            if result := verbs.already_there(source, known.name, paths, **part):
                outcomes[index] = Outcome(source, result)
    left = sum(outcome is None for outcome in outcomes)
    jobs = min(jobs, left)
    if jobs > 1 and own.get("threads") is None:
        own["threads"] = free_threads(jobs)
    # Where there is nothing to do nothing is loaded; with several jobs this says once what is wrong with the weights.
    separator = Separator(model, **own) if left and not isinstance(model, Separator) else model
    if jobs > 1:
        _in_processes(songs, outcomes, {"model": model, **own}, out, jobs, progress, cancel, options)
    else:
        _one_by_one(songs, outcomes, separator, out, progress, cancel, options)
    return outcomes


def _tell(progress: Progress | None, outcome: Outcome, number: int, count: int) -> None:
    """Pass on that a song is done with, one way or the other; raises `Cancelled` where the answer is to stop."""
    if progress is not None and progress(outcome.source, 1.0, number, count, outcome.error) is False:
        raise Cancelled(_STOPPED)


def _one_by_one(songs, outcomes, separator, out, progress, cancel, options) -> None:
    """Work in this process through the songs without an outcome."""
    for number, (source, track) in enumerate(songs, 1):
        if outcomes[number - 1] is not None:
            _tell(progress, outcomes[number - 1], number, len(songs))
            continue
        tell = None if progress is None else lambda fraction, s=source, n=number: progress(s, fraction, n, len(songs), None)
        try:
            result = verbs.separate(source, model=separator, out=out, track=track, progress=tell, cancel=cancel, **options)
            outcomes[number - 1] = Outcome(source, result)
        except Cancelled:
            raise
        except SongfoundryError as error:
            outcomes[number - 1] = failed = Outcome(source, error=str(error))
            _tell(progress, failed, number, len(songs))


def _in_processes(songs, outcomes, own, out, jobs, progress, cancel, options) -> None:
    """Work in several processes, which end their files properly when told to stop, through the songs without an outcome."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    ready = [outcome for outcome in outcomes if outcome is not None]
    for number, outcome in enumerate(ready, 1):
        _tell(progress, outcome, number, len(songs))
    new = not os.path.exists(out)
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(own, stop))
    try:
        waiting = {}
        for index, (source, track) in enumerate(songs):
            if outcomes[index] is None:
                waiting[pool.submit(_work, source, {**options, "out": out, "track": track})] = index
        done_count = len(ready)
        while waiting:
            done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            if cancel is not None and cancel.is_set():
                raise Cancelled(_STOPPED)
            for future in done:
                index, done_count = waiting.pop(future), done_count + 1
                outcomes[index] = _outcome(songs[index][0], future)
                _tell(progress, outcomes[index], done_count, len(songs))
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        # The process that made the folder could not remove it while another one had something there.
        if new and os.path.isdir(out) and not os.listdir(out):
            os.rmdir(out)


def _outcome(source: str, future) -> Outcome:
    """Turn what a process gave or raised into an outcome."""
    try:
        return Outcome(source, future.result())
    except BrokenProcessPool:
        sentence = f"expected a process to separate '{source}', found that it died (too little memory, perhaps): use fewer --jobs"
        return Outcome(source, error=sentence)
    except SongfoundryError as error:
        return Outcome(source, error=str(error))


_worker: dict[str, Any] = {}
"""What a worker process keeps from song to song."""


def _start_worker(own: dict[str, Any], stop) -> None:
    """Take down what the worker needs; its parent, not the terminal, tells it to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    _worker.update(own=own, stop=stop)


def _work(source: str, options: dict[str, Any]) -> verbs.SeparationResult:
    """Separate one song in a worker process."""
    if "separator" not in _worker:
        _worker["separator"] = Separator(**_worker["own"])
    return verbs.separate(source, model=_worker["separator"], cancel=_worker["stop"], **options)
