"""Encode and decode as a user asks for it: files to latents and back, there and back with scores, between two sounds, from nothing."""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from songfoundry.audio import io
from songfoundry.audio.atomic import AsideFolder, check_target, folder_of, spare
from songfoundry.audio.pieces import Resampler, loudest_window
from songfoundry.encoding.encoder import DEFAULT_MODEL, Encoder
from songfoundry.encoding.keeping import Loudest, Same, Seen
from songfoundry.encoding.latents import BITS, Latents, between, load_latents, quantised, save_latents
from songfoundry.encoding.picture import MOST_SECONDS, draw
from songfoundry.encoding.vocoding import check_vocoder
from songfoundry.errors import ConfigError, MissingExtraError

__all__ = ["Coded", "decode", "encode", "interpolate", "roundtrip", "sample"]

Progress = Callable[[float], bool | None]
_QUIET = 1e-4
"""Peak below which a sound counts as silent."""
_MOST_STEPS, _MOST_SAMPLES = 256, 256
_MOST_SCORED = 600.0
"""Seconds of all channels together that a round trip is scored on, so that an hour takes no more memory than this."""
_MOST_DRAWN = 16
"""Sounds of a picture."""


@dataclass
class Coded:
    """Hold what came of a call.

    Attributes
    ----------
    model : name. paths : files that were written; picture : that of the spectrograms. latents : those that were made, in order; of several
        sounds that were written, which are of one shape, the first.
    sounds : float32 (channels, samples) at `rate` Hz each, where sounds were made without files. scores : of a round trip, see
        `songfoundry.metrics.audio.DEFINITIONS`. seconds : of sound. elapsed : seconds of work. said : sentences for the user.
    """

    model: str
    rate: int
    paths: list[str] = field(default_factory=list)
    picture: str | None = None
    latents: list[Latents] = field(default_factory=list)
    sounds: list[np.ndarray] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    elapsed: float = 0.0
    said: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give plain values for JSON, samples and latents left out."""
        shapes = [
            {"shape": list(one.values.shape), "seconds": round(one.seconds, 4), "kbit/s at 8 bits": round(one.bitrate(8), 3)}
            for one in self.latents
        ]
        scores = {key: round(value, 5) if math.isfinite(value) else None for key, value in self.scores.items()}
        return {
            "model": self.model, "rate": self.rate, "paths": self.paths, "picture": self.picture, "latents": shapes, "scores": scores,
            "seconds": round(self.seconds, 3), "elapsed": round(self.elapsed, 3), "said": self.said,
        }  # fmt: skip


def encode(
    source: str | os.PathLike, *, out: str | os.PathLike | None = None, model: str | os.PathLike | Encoder = DEFAULT_MODEL, bits: int = 32,
    repair: bool = False, device: str = "auto", threads: int | None = None, progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Coded:  # fmt: skip
    """Encode a sound file as latents, of any length, streamed.

    Parameters
    ----------
    source : a sound file, or "-" for standard input. out : an .npz; None to give the latents alone. model : a name, a path, or an
        `Encoder`. bits : 32, or 8 for 256 steps a unit. repair : take NaN, Inf and absurd values of a file for silence.
    progress : called with the fraction done; returns False to stop. cancel : stops when set.

    Raises
    ------
    AudioError, ConfigError, CheckpointError, OutputError, Cancelled : one sentence each; no file is left.
    """
    begun = time.perf_counter()
    if bits not in BITS:
        raise ConfigError(f"expected {' or '.join(map(str, BITS))} bits, found {bits}: choose one of them")
    if out is not None:
        _check_npz(out)
        _check_other(source, out)
    encoder = _encoder(model, device, threads)
    made = Coded(encoder.name, encoder.rate)
    latents = _read(encoder, source, made, repair, progress, cancel)
    made.latents, made.seconds = [quantised(latents) if bits == 8 else latents], latents.seconds
    if out is not None:
        with folder_of(out):
            save_latents(out, latents, bits)
        made.paths.append(os.fspath(out))
    return _finished(made, begun, progress)


def decode(
    source: str | os.PathLike | Latents, *, out: str | os.PathLike | None = None, model: str | os.PathLike | Encoder = DEFAULT_MODEL,
    vocoder: str = "pghi", iterations: int | None = None, format: str | None = None, device: str = "auto", threads: int | None = None,
    progress: Progress | None = None, cancel: threading.Event | None = None,
) -> Coded:  # fmt: skip
    """Decode latents into a sound file at the model's rate, streamed.

    Parameters
    ----------
    source : an .npz that `encode` wrote, or `Latents`. out : a sound file, or "-" for standard output; None to give the samples.
    vocoder : how the phase is found: "pghi", "griffinlim" or "fast_griffinlim". iterations : of Griffin-Lim; None for its own.

    Raises
    ------
    InputError, ConfigError, CheckpointError, OutputError, Cancelled : one sentence each; no file is left.
    """
    begun = time.perf_counter()
    check_vocoder(vocoder)
    if iterations is not None and not 0 <= iterations <= 1000:
        raise ConfigError(f"expected 0 to 1000 iterations, found {iterations}: choose another number")
    format = io.agreed_format(out, format) if out is not None else None
    latents = source if isinstance(source, Latents) else load_latents(source)
    encoder = _encoder(model, device, threads)
    made = Coded(encoder.name, encoder.rate, latents=[latents], seconds=latents.seconds)
    blocks = encoder.decode_blocks(latents, vocoder=vocoder, iterations=iterations, progress=progress, cancel=cancel)
    if out is None:
        made.sounds = [np.concatenate(list(blocks), 1)]
    else:
        with folder_of(out):
            _write(out, blocks, latents.channels, made, format)
    return _finished(made, begun, progress)


def roundtrip(
    source: str | os.PathLike, *, out: str | os.PathLike | None = None, model: str | os.PathLike | Encoder = DEFAULT_MODEL,
    vocoder: str = "pghi", iterations: int | None = None, bits: int = 32, format: str = "wav", repair: bool = False,
    device: str = "auto", threads: int | None = None, progress: Progress | None = None, cancel: threading.Event | None = None,
) -> Coded:  # fmt: skip
    """Encode and decode a sound file, streamed, and score what came back beside it.

    Of a sound whose channels together are longer than ten minutes the loudest part of that length is scored, and it is said so.

    Parameters
    ----------
    out : a folder for NAME-roundtrip.wav and NAME-roundtrip.png; None to write none. bits : of the latents between. repair : as of
        `encode`. Else as `decode`.

    Raises
    ------
    AudioError, ConfigError, CheckpointError, OutputError, Cancelled : one sentence each; no file is left.
    """
    begun = time.perf_counter()
    check_vocoder(vocoder)
    if bits not in BITS:
        raise ConfigError(f"expected {' or '.join(map(str, BITS))} bits, found {bits}: choose one of them")
    encoder = _encoder(model, device, threads)
    made = Coded(encoder.name, encoder.rate)
    latents, original = _heard(encoder, source, made, repair, _part(progress, 0, 0.3), cancel)
    latents = quantised(latents) if bits == 8 else latents
    made.latents, made.seconds = [latents], latents.seconds
    blocks = encoder.decode_blocks(latents, vocoder=vocoder, iterations=iterations, progress=_part(progress, 0.3, 0.9), cancel=cancel)
    same = Same(original)
    if out is None:
        made.sounds = [np.concatenate(list(same.through(blocks)), 1)]
        _score(made, original, same)
        return _finished(made, begun, progress)
    stem = "sound" if os.fspath(source) == "-" else Path(source).stem
    name, picture = f"{stem}-roundtrip.{format}", f"{stem}-roundtrip.png"
    with AsideFolder(out, [] if os.fspath(source) == "-" else [source]) as aside:
        _write(aside.folder / name, same.through(blocks), latents.channels, made, format)
        _score(made, original, same)
        start = loudest_window([original.samples], encoder.rate, 30.0)
        titles = ("original", f"{encoder.name}, {latents.bitrate(8):.2f} kbit/s at 8 bits, {vocoder}")
        sounds = [(title, sound.mean(0)) for title, sound in zip(titles, (original.samples, same.samples), strict=True)]
        _draw(made, sounds, aside.folder / picture, start, original.first)
        there = {place.name for place in aside.commit()}
    made.paths = [str(Path(out) / name)]
    made.picture = str(Path(out) / picture) if picture in there else None
    return _finished(made, begun, progress)


def interpolate(
    first: str | os.PathLike | Latents, second: str | os.PathLike | Latents, *, steps: int = 8, out: str | os.PathLike | None = None,
    model: str | os.PathLike | Encoder = DEFAULT_MODEL, vocoder: str = "pghi", format: str = "wav", device: str = "auto",
    threads: int | None = None, progress: Progress | None = None, cancel: threading.Event | None = None,
) -> Coded:  # fmt: skip
    """Go from one sound to another through latents, moment by moment, both ends among the `steps` (2 to 256).

    Parameters
    ----------
    first, second : sound files, or latents of this model as files (.npz) or objects; the longer one is cut to the shorter.
    out : a folder for a sound file a step and interpolation.png; None to write none. Else as `decode`.
    """
    begun = time.perf_counter()
    if not 2 <= steps <= _MOST_STEPS:
        raise ConfigError(f"expected 2 to {_MOST_STEPS} steps, found {steps}: choose another number")
    check_vocoder(vocoder)
    encoder = _encoder(model, device, threads)
    made = Coded(encoder.name, encoder.rate)
    ends = []
    for number, end in enumerate((first, second)):
        if not isinstance(end, Latents):
            npz = Path(end).suffix == ".npz"
            end = load_latents(end) if npz else _read(encoder, end, made, False, _part(progress, 0.1 * number, 0.1 * number + 0.1), cancel)
        encoder.check(end)
        ends.append(end)
    made.latents = [between(*ends, 0.0)]
    return _several(
        made, encoder, "interpolation", lambda number: between(*ends, number / (steps - 1)), steps, vocoder, out, format, begun, progress,
        cancel,
    )  # fmt: skip


def sample(
    count: int = 1, *, seconds: float = 4.0, seed: int = 0, prior: str = "fitted", out: str | os.PathLike | None = None,
    model: str | os.PathLike | Encoder = DEFAULT_MODEL, vocoder: str = "pghi", format: str = "wav", device: str = "auto",
    threads: int | None = None, progress: Progress | None = None, cancel: threading.Event | None = None,
) -> Coded:  # fmt: skip
    """Draw sounds from nothing: latents from the prior, decoded; sound n follows from (seed, n) alone.

    Parameters
    ----------
    prior : "fitted", a Gaussian process like the latents of training; "normal", standard noise. out : a folder for a sound file each and
        sample.png; None to write none. Else as `decode`.
    """
    begun = time.perf_counter()
    if not 1 <= count <= _MOST_SAMPLES:
        raise ConfigError(f"expected 1 to {_MOST_SAMPLES} samples, found {count}: choose another number")
    check_vocoder(vocoder)
    encoder = _encoder(model, device, threads)
    made = Coded(encoder.name, encoder.rate)
    made.latents = [encoder.sample(seconds, seed, 0, prior)]
    return _several(
        made, encoder, "sample", lambda number: encoder.sample(seconds, seed, number, prior), count, vocoder, out, format, begun, progress,
        cancel,
    )  # fmt: skip


def _several(
    made: Coded, encoder: Encoder, name: str, latents: Callable[[int], Latents], count: int, vocoder: str, out, format: str, begun: float,
    progress, cancel,
) -> Coded:  # fmt: skip
    """Decode latents by their numbers, one after the other, and write them, with a picture of some; what is written is not kept."""

    def blocks(number: int, one: Latents) -> Iterator[np.ndarray]:
        share = [0.2 + 0.75 * (number + k) / count for k in (0, 1)]
        return encoder.decode_blocks(one, vocoder=vocoder, progress=_part(progress, *share), cancel=cancel)

    made.seconds = count * made.latents[0].seconds
    if out is None:
        made.latents = [latents(number) for number in range(count)]
        made.sounds = [np.concatenate(list(blocks(*one)), 1) for one in enumerate(made.latents)]
        return _finished(made, begun, progress)
    names = [f"{name}-{number}.{format}" for number in range(1, count + 1)]
    shown: list[tuple[str, np.ndarray]] = []
    with AsideFolder(out) as aside:
        for number, place in enumerate(names):
            one = latents(number)
            seen = Seen(round(MOST_SECONDS * made.rate))
            stream = blocks(number, one)
            drawn = number % -(-count // _MOST_DRAWN) == 0
            _write(aside.folder / place, seen.through(stream) if drawn else stream, one.channels, made, format)
            if drawn:
                shown.append((place, seen.samples))
        picture = f"{name}.png"
        _draw(made, shown, aside.folder / picture)
        there = {place.name for place in aside.commit()}
    made.paths = [str(Path(out) / place) for place in names]
    made.picture = str(Path(out) / picture) if picture in there else None
    return _finished(made, begun, progress)


def _heard(encoder: Encoder, source, made: Coded, repair: bool, progress: Progress | None, cancel) -> tuple[Latents, Loudest]:
    """Encode a file as it is read, and keep of it what will be scored, at the model's rate."""
    with io.open_reader(source, repair=repair) as reader:
        original = Loudest(encoder.rate, _MOST_SCORED / reader.channels)
        total = reader.frames_hint and round(reader.frames_hint * encoder.rate / reader.rate)
        blocks = original.through(Resampler(reader.rate, encoder.rate, reader.channels).stream(reader.blocks()))
        latents = encoder.encode_blocks(blocks, encoder.rate, reader.channels, total, progress=progress, cancel=cancel)
        _tell_damage(made, reader)
    if original.peak < _QUIET:
        made.said.append("the sound is silent: its scores say nothing")
    return latents, original


def _score(made: Coded, original: Loudest, back: Same) -> None:
    """Score what came back, and say of which part."""
    from songfoundry.metrics.audio import scores

    made.scores = scores(original.samples, back.samples, made.rate)
    kept = original.samples.shape[1]
    if kept < original.length:
        first, last = (round(sample / made.rate) for sample in (original.first, original.first + kept))
        made.said.append(f"scores are of the loudest part, from second {first} to {last}")


def _encoder(model, device: str, threads: int | None) -> Encoder:
    return model if isinstance(model, Encoder) else Encoder(model, device, threads)


def _read(encoder: Encoder, source, made: Coded, repair: bool, progress: Progress | None, cancel) -> Latents:
    """Encode a file as it is read."""
    peak = 0.0

    def heard(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal peak
        for block in blocks:
            peak = max(peak, float(np.abs(block).max(initial=0)))
            yield block

    with io.open_reader(source, repair=repair) as reader:
        blocks = heard(reader.blocks())
        latents = encoder.encode_blocks(blocks, reader.rate, reader.channels, reader.frames_hint, progress=progress, cancel=cancel)
        _tell_damage(made, reader)
    if peak < _QUIET:
        made.said.append(f"'{os.fspath(source)}' is silent: so are its latents")
    return latents


def _tell_damage(made: Coded, reader: io.Reader) -> None:
    """Say what a file lacked and what was put right."""
    if reader.shortfall:
        made.said.append(reader.shortfall)
    if reader.repaired:
        made.said.append(f"{reader.repaired} values of {reader.name} were no audio and became silence")


def _write(out, blocks: Iterator[np.ndarray], channels: int, made: Coded, format: str | None) -> None:
    """Write a stream of blocks at the model's rate; what lies over full scale is cut off, and said so."""
    rate, form = made.rate, format or io.format_of(out)
    over = 0.0
    near = io.nearest_rate(form, rate)
    if near != rate:
        made.said.append(f"{form} has no rate of {rate} Hz: written at {near} Hz")
    with io.open_writer(out, rate=near, channels=channels, format=form, tags={"software": "songfoundry"}) as writer:
        for block in Resampler(rate, near, channels).stream(blocks):
            over = max(over, float(np.abs(block).max(initial=0)))
            writer.write(block.clip(-1, 1))
    made.paths.append(os.fspath(out))
    if over > 1:
        made.said.append(f"{Path(out).name} goes {20 * math.log10(over):.2f} dB over full scale: its peaks were cut off")


def _draw(made: Coded, sounds: list[tuple[str, np.ndarray]], place: Path, start: int = 0, before: int = 0) -> None:
    """Draw spectrograms, where that can be done, from a sample on of sounds that begin `before` samples into their files."""
    try:
        draw(sounds, made.rate, place, start, before)
    except MissingExtraError as error:
        made.said.append(f"no picture: {error}")


def _check_npz(out) -> None:
    """Refuse a name by which no latents can be saved, before any work; a folder that is not there is made in time."""
    if Path(out).suffix != ".npz":
        raise ConfigError(f"expected a name that ends in .npz for latents, found '{os.fspath(out)}': change it")
    if Path(out).absolute().parent.exists():
        check_target(out)


def _check_other(source, out) -> None:
    """Refuse to write over what is read."""
    spare([out], [source], "the sound itself", "--out")


def _finished(made: Coded, begun: float, progress: Progress | None) -> Coded:
    made.elapsed = time.perf_counter() - begun
    if progress is not None:
        progress(1.0)
    return made


def _part(progress: Progress | None, first: float, last: float) -> Progress | None:
    """Give a callback that fills a part of another's range."""
    return None if progress is None else lambda fraction: progress(first + (last - first) * fraction)
