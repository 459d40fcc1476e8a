"""Sing as a user asks for it: speech on a tune, on a song's melody, along a curve, over a backing; and speak what was sung."""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from songfoundry.audio import io
from songfoundry.audio.atomic import check_target, folder_of, spare, write_atomic_bytes, write_atomic_text
from songfoundry.audio.loudness import TARGET_LUFS
from songfoundry.audio.pieces import Resampler, conform_channels
from songfoundry.errors import Cancelled, ConfigError, InputError, MissingExtraError, OutputError
from songfoundry.singing.controls import Controls, Sung
from songfoundry.singing.engine import LONGEST_SPEECH, WorldSinger
from songfoundry.singing.mixing import Loudness, Take, in_a_room, limited, mixed
from songfoundry.voice import curves
from songfoundry.voice.tune import Curve, Tune, TuneNote

__all__ = ["ENGINES", "Singing", "sing", "speak"]

Progress = Callable[[float], bool | None]
ENGINES = ("world", "cyclegan")
_LEAD = 0.0
"""Loudness of the voice against its backing, LU."""
_PEAK = 0.89
"""Highest value of a voice that is written alone."""
_HEARD_SECONDS = 60.0
"""Seconds of the result that are listened to for the picture."""


@dataclass
class Singing:
    """Hold what came of a call.

    Attributes
    ----------
    engine : what sang. out, mix, picture, pitch : paths that were written. seconds : of the voice; rate : its Hz. lufs : of the mix.
    notes : of the tune that was sung, as it was found; empty along a curve. words : (first, last) seconds of each. samples : float32
    (channels, samples), where no file was asked for. elapsed : seconds of work. said : sentences for the user.
    """

    engine: str
    out: str | None = None
    mix: str | None = None
    picture: str | None = None
    pitch: str | None = None
    seconds: float = 0.0
    rate: int = 0
    lufs: float | None = None
    notes: list[TuneNote] = field(default_factory=list)
    words: list[tuple[float, float]] = field(default_factory=list)
    samples: np.ndarray | None = None
    elapsed: float = 0.0
    said: list[str] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """List what was written."""
        return [path for path in (self.out, self.mix, self.picture, self.pitch) if path is not None]

    def as_json(self) -> dict[str, Any]:
        """Give plain values for JSON, the samples left out."""
        return {
            "engine": self.engine, "out": self.out, "mix": self.mix, "picture": self.picture, "pitch": self.pitch,
            "seconds": round(self.seconds, 3), "rate": self.rate, "lufs": None if self.lufs is None else round(self.lufs, 2),
            "notes": [[round(note.start, 4), round(note.end, 4), note.pitch] for note in self.notes],
            "words": [[round(first, 3), round(last, 3)] for first, last in self.words],
            "elapsed": round(self.elapsed, 3), "said": self.said,
        }  # fmt: skip


@dataclass
class _Material:
    """Hold what is to be sung, on what."""

    target: Tune | Curve
    guide: np.ndarray | None = None
    guide_rate: int = 0
    accompaniment: Take | None = None
    said: list[str] = field(default_factory=list)


def sing(
    speech: str | os.PathLike, *, melody: str | os.PathLike | Tune | None = None, song: str | os.PathLike | None = None,
    backing: str | os.PathLike | None = None, pitch_from: str | os.PathLike | Curve | None = None, out: str | os.PathLike | None = None,
    mix: str | os.PathLike | None = None, picture: str | os.PathLike | None = None, save_pitch: str | os.PathLike | None = None,
    engine: str = "world", model: str | os.PathLike | None = None, vocoder: str = "pghi", transpose: float = 0.0,
    formant_shift: float = 0.0, vibrato_rate: float = 5.5, vibrato_depth: float = 30.0, expression: float = 0.7,
    timing: str = "syllables", reverb: bool | None = None, seed: int = 0, separator=None, format: str | None = None,
    device: str = "auto", threads: int | None = None, progress: Progress | None = None, cancel: threading.Event | None = None,
) -> Singing:  # fmt: skip
    """Sing a recording of speech.

    Parameters
    ----------
    speech : a sound file of someone who speaks, up to five minutes.
    melody : a MIDI file, or a `Tune`. song : a sound file whose voice is followed and replaced. pitch_from : an F0 curve (csv or `Curve`).
        One of them; with a `backing` alone a tune is made for it.
    backing : an instrumental, of any length, for the mix. out : a sound file for the voice alone; mix : for voice and music.
    picture : a .png. save_pitch : a .csv for the F0 that was sung.
    engine : one of `ENGINES`. model, vocoder : of "cyclegan". The rest: see `songfoundry.singing.controls.Controls`.
    reverb : True for a room around the voice, False for none; None for a room in the mix alone.
    separator : name or path of the model that takes a song apart, or a `Separator`. format : of both sound files; None by their names.
    progress : called with the fraction done; returns False to stop. cancel : stops when set.

    Raises
    ------
    AudioError, InputError, ConfigError, OutputError, MissingExtraError, Cancelled : one sentence each; no file is left.
    """
    begun = time.perf_counter()
    controls = Controls(transpose, formant_shift, vibrato_rate, vibrato_depth, expression, timing, seed)
    _check_choice(melody, song, backing, pitch_from, mix, engine, model, vocoder)
    sources = [one for one in (speech, melody, song, backing, pitch_from) if isinstance(one, str | os.PathLike)]
    _check_places(sources, out=out, mix=mix, picture=picture, save_pitch=save_pitch)
    made = Singing(engine)
    samples, rate = _speech(speech, made)
    watch = _Watch(progress, cancel)
    singer = _singer(engine, model, vocoder, device, threads)
    with ExitStack() as stack:
        prepared = singer.prepare(samples, rate)
        watch(0.05)
        material = _material(melody, song, backing, pitch_from, seed, _middle(prepared), separator, device, threads, watch)
        if material.accompaniment is not None:
            stack.enter_context(material.accompaniment)
        watch(0.5)
        options = {} if engine == "world" else _heard_by_nets(material, backing)
        show = singer.perform(prepared, material.target, controls, material.guide, material.guide_rate, **options)
        voice = stack.enter_context(Take(prepared.voice.rate if engine == "world" else singer.rate))
        for block in show.blocks():
            voice.add(block[None])
            watch(0.5 + 0.3 * min(1.0, voice.seconds / max(show.seconds, 1e-9)))
        target, spoken, made.words = show.target, prepared.voice.curve, show.plan.words
        made.said += prepared.said + material.said + show.plan.said
        made.seconds, made.rate = voice.seconds, voice.rate
        if isinstance(material.target, Tune):
            made.notes = list(curves.transposed(material.target, transpose).notes)
        _write(made, voice, target, spoken, material.accompaniment, backing, out, mix, picture, save_pitch, reverb, seed, format, watch)
    return _finished(made, begun, progress)


def speak(
    vocal: str | os.PathLike, *, out: str | os.PathLike | None = None, picture: str | os.PathLike | None = None,
    save_pitch: str | os.PathLike | None = None, engine: str = "world", model: str | os.PathLike | None = None, vocoder: str = "pghi",
    transpose: float = 0.0, formant_shift: float = 0.0, format: str | None = None, device: str = "auto", threads: int | None = None,
    progress: Progress | None = None, cancel: threading.Event | None = None,
) -> Singing:  # fmt: skip
    """Make plain speech of a recording of someone who sings, up to five minutes; arguments and errors as of `sing`."""
    begun = time.perf_counter()
    controls = Controls(transpose=transpose, formant_shift=formant_shift)
    _check_engine(engine, model, vocoder)
    _check_places([vocal], out=out, picture=picture, save_pitch=save_pitch)
    made, watch = Singing(engine), _Watch(progress, cancel)
    samples, rate = _speech(vocal, made)
    if engine == "world":
        from songfoundry.singing.speaking import speak as spoken_by_world

        spoken: Sung = spoken_by_world(samples, rate, controls)
    else:
        spoken = _singer(engine, model, vocoder, device, threads).speak(samples, rate, controls)
    watch(0.8)
    made.said += spoken.said
    made.seconds, made.rate, made.words = spoken.seconds, spoken.rate, spoken.words
    with Take(spoken.rate) as voice:
        voice.add(spoken.samples[None])
        _write(made, voice, spoken.target, spoken.speech, None, None, out, None, picture, save_pitch, None, 0, format, watch)
    return _finished(made, begun, progress)


class _Watch:
    """Tell how far the work is, and stop it where that was asked for."""

    def __init__(self, progress: Progress | None, cancel: threading.Event | None):
        self.progress, self.cancel = progress, cancel

    def __call__(self, share: float) -> None:
        stop = self.cancel is not None and self.cancel.is_set()
        if stop or (self.progress is not None and self.progress(share) is False):
            raise Cancelled("expected to sing to the end, found the work cancelled: nothing was kept")


def _check_choice(melody, song, backing, pitch_from, mix, engine: str, model, vocoder: str) -> None:
    """Refuse what does not go together."""
    given = [name for name, value in (("melody", melody), ("song", song), ("pitch_from", pitch_from)) if value is not None]
    if len(given) > 1 or (not given and backing is None):
        found = " and ".join(given) or "none"
        raise ConfigError(f"expected one melody, of melody, song, pitch_from or backing alone, found {found}: give one of them")
    if song is not None and backing is not None:
        raise ConfigError("expected a song, which is its own backing, or a backing, found both: leave one out")
    if mix is not None and song is None and backing is None:
        raise ConfigError("expected a backing or a song to mix with, found none: give one, or leave the mix out")
    _check_engine(engine, model, vocoder)


def _check_engine(engine: str, model, vocoder: str) -> None:
    if engine not in ENGINES:
        raise ConfigError(f"expected an engine among {', '.join(ENGINES)}, found {engine!r}: choose one of them")
    if engine == "world" and (model is not None or vocoder != "pghi"):
        raise ConfigError("expected a model or a vocoder beside engine cyclegan, found engine world, which has none: leave them out")


def _check_places(sources: Sequence, **places) -> None:
    """Refuse, before any work, names that cannot be written, are named twice, or are those of what is read."""
    taken: dict[str, str] = {}
    for name, place in places.items():
        if place is None:
            continue
        text = os.fspath(place)
        wanted = {"picture": ".png", "save_pitch": ".csv"}.get(name)
        if wanted and Path(text).suffix.lower() != wanted:
            raise ConfigError(f"expected a name that ends in {wanted} for {name.replace('_', ' ')}, found '{text}': change it")
        if text == "-":
            continue
        spare([text], sources, "what is read")
        whole = os.path.abspath(text)
        if whole in taken:
            raise OutputError(f"expected a file each, found '{text}' for both {taken[whole]} and {name}: change one")
        taken[whole] = name
        if Path(whole).parent.exists():
            check_target(text)


def _speech(path, made: Singing) -> tuple[np.ndarray, int]:
    """Read a recording as one channel."""
    with io.open_reader(path) as reader:
        most, parts, count = LONGEST_SPEECH * reader.rate, [], 0
        for block in reader.blocks():
            count += block.shape[1]
            if count > most:
                raise InputError(f"expected at most {LONGEST_SPEECH:g} s of voice in {reader.name}, found more: cut it")
            parts.append(block.mean(0))
        if reader.shortfall:
            made.said.append(reader.shortfall)
        return np.concatenate(parts), reader.rate


def _singer(engine: str, model, vocoder: str, device: str, threads: int | None):
    if engine == "world":
        return WorldSinger()
    from songfoundry.singing.neural import DEFAULT_MODEL, NeuralSinger

    return NeuralSinger(model or DEFAULT_MODEL, device, threads, vocoder=vocoder)


def _middle(prepared) -> float:
    """Give the MIDI number in the middle of what a speaker would sing easily."""
    hertz = prepared.voice.hertz[prepared.voice.hertz > 0]
    return float(np.clip(69 + 12 * np.log2(np.median(hertz) / 440) + 4, 40, 76))


def _material(melody, song, backing, pitch_from, seed: int, middle: float, separator, device, threads, watch: _Watch) -> _Material:
    """Find what is to be sung."""
    if isinstance(melody, Tune):
        return _Material(melody)
    if melody is not None:
        from songfoundry.singing.melodies import melody_of

        tune, said = melody_of(melody)
        return _Material(tune, said=said)
    if isinstance(pitch_from, Curve):
        return _Material(pitch_from)
    if pitch_from is not None:
        return _Material(curves.read_curve(pitch_from))
    if song is not None:
        from songfoundry.separating.separator import DEFAULT_MODEL, Separator
        from songfoundry.singing.song import take_apart

        if not isinstance(separator, Separator):
            separator = Separator(separator or DEFAULT_MODEL, device, threads)
        parts = take_apart(song, separator, progress=lambda share: watch(0.05 + 0.45 * share), cancel=watch.cancel)
        return _Material(parts.melody, parts.guide, parts.rate, parts.accompaniment, parts.said)
    from songfoundry.singing.tunesmith import hear, tune_for

    with io.open_reader(backing) as reader:
        heard = hear(_watched(reader.blocks(), watch), reader.rate)
    return _Material(tune_for(heard, seed=seed, centre=middle), said=list(heard.said))


def _watched(blocks: Iterator[np.ndarray], watch: _Watch) -> Iterator[np.ndarray]:
    for block in blocks:
        watch(0.2)
        yield block


def _heard_by_nets(material: _Material, backing) -> dict[str, Any]:
    """Give the band that a learned singer hears while it sings, one channel, as long as the melody."""
    seconds = material.target.seconds
    if material.accompaniment is not None:
        rate, blocks = material.accompaniment.rate, material.accompaniment.blocks()
        samples = np.concatenate([block.mean(0) for block in blocks])[: math.ceil(seconds * rate)]
    elif backing is not None:
        clip = io.read(backing, duration=seconds)
        samples, rate = clip.samples.mean(0), clip.rate
    else:
        return {}
    return {"backing": samples, "backing_rate": rate}


def _write(
    made: Singing, voice: Take, target: Curve, spoken: Curve, accompaniment: Take | None, backing, out, mix, picture, save_pitch,
    reverb: bool | None, seed: int, format: str | None, watch: _Watch,
) -> None:  # fmt: skip
    """Write all that was asked for; the pictures and curves, which are made before, last."""
    png = _drawn(made, voice, target, spoken) if picture is not None else None
    gain = min(1.0, _PEAK / max(voice.peak, 1e-9))
    with ExitStack() as stack:
        for place in (out, mix, picture, save_pitch):
            if place is not None:
                stack.enter_context(folder_of(place))
        if out is not None:
            blocks = in_a_room(voice.blocks(gain), voice.rate, seed) if reverb else voice.blocks(gain)
            _to_file(stack, made, out, blocks, voice.rate, 2 if reverb else 1, format)
            made.out = os.fspath(out)
        if mix is not None:
            if accompaniment is not None:
                rate, music = accompaniment.rate, accompaniment.blocks
            else:
                reader = stack.enter_context(io.open_reader(backing))
                rate, music = reader.rate, lambda: (conform_channels(block, 2) for block in reader.blocks())
            again = _together(made, voice, music, rate, reverb, seed, watch)
            found, meter = Loudness(rate).of(again()), Loudness(rate)
            lift = 10 ** ((TARGET_LUFS - found) / 20) if math.isfinite(found) else 1.0
            _to_file(stack, made, mix, meter.through(limited(again(), rate, lift)), rate, 2, format)
            made.mix, made.lufs = os.fspath(mix), meter.lufs if math.isfinite(meter.lufs) else None
        if png is not None:
            write_atomic_bytes(picture, png)
            made.picture = os.fspath(picture)
        if save_pitch is not None:
            write_atomic_text(save_pitch, curves.write_curve(target))
            made.pitch = os.fspath(save_pitch)
    if out is None and mix is None:
        made.samples = np.concatenate(list(voice.blocks(gain)), 1)


def _together(made: Singing, voice: Take, music, rate: int, reverb: bool | None, seed: int, watch: _Watch):
    """Give what mixes the voice with the music, at equal loudness, from the start each time that it is called."""
    sung, played = Loudness(voice.rate).of(voice.blocks()), Loudness(rate).of(music())
    watch(0.85)
    heard = math.isfinite(played)
    lift = played + _LEAD - sung if heard and math.isfinite(sung) else 0.0
    if not heard:
        made.said.append("the backing is silent: the mix is the voice alone")

    def blocks() -> Iterator[np.ndarray]:
        alone = voice.blocks(10 ** (lift / 20))
        stereo = in_a_room(alone, voice.rate, seed) if reverb is not False else (conform_channels(block, 2) for block in alone)
        for block in mixed(stereo, voice.rate, music(), rate):
            watch(0.9)
            yield block

    return blocks


def _to_file(stack: ExitStack, made: Singing, place, blocks, rate: int, channels: int, format: str | None) -> None:
    """Write blocks; the file takes its name when all others are written too."""
    form = format or io.format_of(place)
    near = io.nearest_rate(form, rate)
    if near != rate:
        made.said.append(f"{form} has no rate of {rate} Hz: written at {near} Hz")
    writer = io.open_writer(place, rate=near, channels=channels, format=form, tags={"software": "songfoundry"})
    stack.enter_context(writer)
    for block in Resampler(rate, near, channels).stream(blocks):
        writer.write(block.clip(-1, 1))


def _drawn(made: Singing, voice: Take, target: Curve, spoken: Curve) -> bytes | None:
    """Draw the result as it is heard again, where that can be done."""
    from songfoundry.metrics.pitch import follow
    from songfoundry.singing.picture import draw

    heard, size = [], 0
    for block in voice.blocks():
        heard.append(block[0])
        size += block.shape[1]
        if size > _HEARD_SECONDS * voice.rate:
            break
    lines = {"speech": spoken, "target": target, "sung": follow(np.concatenate(heard), voice.rate)}
    try:
        return draw(lines, made.notes, made.words, title=f"engine {made.engine}")
    except MissingExtraError as error:
        made.said.append(f"no picture: {error}")
        return None


def _finished(made: Singing, begun: float, progress: Progress | None) -> Singing:
    made.elapsed = time.perf_counter() - begun
    if progress is not None:
        progress(1.0)
    return made
