"""Evaluate models that encode: what comes back beside what went in, per stem, beside what takes no learning; latents, speed, phases.

Every row of a model is made at that model's rate and scored on waveforms by `songfoundry.metrics.audio`. "True mel" rows go through no
net: the model's own images of the original, turned into sound by the same inverse, are the most that any net could do.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from songfoundry.audio import io
from songfoundry.audio.pieces import resample
from songfoundry.data.songs import cached, find_songs
from songfoundry.data.sounds import excerpts, tones
from songfoundry.encoding.encoder import Encoder
from songfoundry.encoding.latents import Latents, quantised
from songfoundry.encoding.vocoding import waveform_blocks
from songfoundry.errors import Cancelled, ConfigError, DatasetError
from songfoundry.evaluating.pages import Table, Tabled
from songfoundry.metrics import audio
from songfoundry.spectral.frames import Frames
from songfoundry.spectral.phase import griffin_lim, pghi

__all__ = ["STEMS", "EncodeEvaluation", "evaluate_encode"]

STEMS = ("vocals", "drums", "bass", "other", "accompaniment", "mixture")
CEILING, CEILING_GL = "true mel, same inverse (ceiling)", "true mel, Griffin-Lim 32"
MEAN_FRAME = "mean frame"
_LOWEST_OPUS = 6.0
"""kbit/s below which the coder does not go."""
_ACTIVE = 0.01
"""Variance of a unit's mean above which it is active (Burda, Grosse & Salakhutdinov 2016, section 5.2)."""
_PHASE_SOUNDS = 6
"""Sounds by which the ways to a phase are compared."""
_WAYS = (
    ("Griffin-Lim 32", False, 32, 0.0), ("fast Griffin-Lim 32", False, 32, 0.99), ("PGHI alone", True, 0, 0.99),
    *((f"PGHI + {steps} fast Griffin-Lim", True, steps, 0.99) for steps in (2, 4, 8, 16)),
)  # fmt: skip


@dataclass
class EncodeEvaluation(Tabled):
    """Hold the evaluation.

    ``scores``: by model, row and stem the means of the scores, and "n". ``images``: likewise, of images before any inverse. ``latents``
    and ``speed``: by model. ``phases``: by way to a phase. ``about``: sentences on what was done. ``device``: what the speeds are of:
    "one core" (its own time), or another device (time that passes).
    """

    about: list[str] = field(default_factory=list)
    scores: dict[str, dict[str, dict[str, dict[str, float]]]] = field(default_factory=dict)
    images: dict[str, dict[str, dict[str, dict[str, float]]]] = field(default_factory=dict)
    latents: dict[str, dict[str, Any]] = field(default_factory=dict)
    speed: dict[str, dict[str, float]] = field(default_factory=dict)
    phases: dict[str, dict[str, float]] = field(default_factory=dict)
    device: str = "one core"

    def tables(self) -> list[Table]:
        """List the tables."""
        from songfoundry.evaluating.encode_tables import tables

        return tables(self)


def evaluate_encode(
    models: Sequence[str | os.PathLike | Encoder], *, data: str | os.PathLike = "songs", split: str = "test", count: int = 6,
    seconds: float = 6.0, voices: bool = True, baselines: bool = True, device: str = "auto",
    progress: Callable[[str, float], bool | None] | None = None,
) -> EncodeEvaluation:  # fmt: skip
    """Send held-out sounds through models and score what comes back, per stem, beside rows that no net made.

    Parameters
    ----------
    models : names, paths, or `Encoder`s. data : a folder of songs with stems, also below SONGFOUNDRY_DATA; "tones" for those made by code.
    split : of the songs. count : sounds of a stem; seconds : of each, its loudest. voices : PESQ and STOI of vocals, by the extra `scores`.
    baselines : whether rows that take no net are made. progress : called with what is done and the fraction; returns False to stop.

    Raises
    ------
    ConfigError, DatasetError, CheckpointError, MissingExtraError : one sentence each. Cancelled : as asked.
    """
    if count < 1 or not 1 <= seconds <= 600:
        raise ConfigError(f"expected a count of 1 or more and 1 to 600 seconds, found {count} and {seconds:g}: choose others")
    encoders = [model if isinstance(model, Encoder) else Encoder(model, device, 1) for model in models]
    if not encoders:
        raise ConfigError("expected models to evaluate, found none: name one")
    found = EncodeEvaluation()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for place, encoder in enumerate(encoders):
            name = _name(encoder, models[place], found.scores)
            sounds = _sounds(data, split, encoder.rate, count, seconds)
            bench = _Bench(encoder, voices, baselines)
            for number, sound in enumerate(sounds):
                share = (place + number / len(sounds)) / len(encoders)
                if progress is not None and progress(f"{name}: {sound['name']}", share) is False:
                    raise Cancelled("The evaluation was stopped; nothing was written.")
                bench.hear(sound)
            found.scores[name], found.images[name] = _means(bench.rows), _means(bench.image_rows)
            found.latents[name], found.speed[name] = bench.latents(), bench.speed()
            if not place:
                found.device = device_name(encoder.device)
                found.phases = _phases(encoder, sounds)
                found.about = _about(data, split, sounds, seconds)
    finally:
        torch.set_num_threads(before)
    return found


def _name(encoder: Encoder, model, taken: dict) -> str:
    """Name a model by its file, or by its run folder: in those all are called alike."""
    name = encoder.name
    if name in ("model", "best") and isinstance(model, str | os.PathLike):
        name = Path(model).absolute().parent.parent.name
    return name if name not in taken else f"{name} {len(taken) + 1}"


def _sounds(data, split: str, rate: int, count: int, seconds: float) -> list[dict]:
    """Read the sounds to be sent through."""
    length = round(seconds * rate)
    if os.fspath(data) == "tones":
        return list(tones(length, rate))[:count]
    songs = [song for song in find_songs(data) if song.split == split]
    kept, seen = [], dict.fromkeys(STEMS, 0)
    for sound in excerpts([cached(song, rate) for song in songs], STEMS, length):
        if seen[sound["stem"]] < count:
            seen[sound["stem"]] += 1
            kept.append(sound)
    if not kept:
        raise DatasetError(f"expected songs of split {split!r} that sound in {data}, found none: name another split")
    return kept


class _Bench:
    """Send sounds through one model, and keep what is measured."""

    def __init__(self, encoder: Encoder, voices: bool, baselines: bool):
        self.encoder, self.voices, self.baselines = encoder, voices, baselines
        self.front = encoder.system.front
        self.kbits = encoder.latent * encoder.steps_a_second * 8 / 1000
        self.rows: list[tuple[str, str, dict[str, float]]] = []
        self.image_rows: list[tuple[str, str, dict[str, float]]] = []
        self._means: list[np.ndarray] = []
        self._nats: list[np.ndarray] = []
        self._seconds: dict[str, float] = {}
        self._heard = 0.0
        self._opus: list[float] = []

    def hear(self, sound: dict) -> None:
        """Measure all rows of a sound."""
        waveform, encoder = sound["waveform"], self.encoder
        self._heard += len(waveform) / encoder.rate
        latents = self._timed("encode", lambda: encoder.encode(waveform, encoder.rate))
        with torch.inference_mode():
            images = self.front(torch.from_numpy(waveform)[None].to(encoder.device))
        self._latents(latents, images)
        with torch.inference_mode():
            made = self._timed("net", lambda: torch.cat(list(encoder.images(latents)), 3))
            rough = torch.cat(list(encoder.images(quantised(latents))), 3)
        still = images.mean(3, keepdim=True).expand_as(images)
        for row, image in ((encoder.name, made), (MEAN_FRAME, still)):
            self.image_rows.append((row, sound["stem"], self._compare(images, image)))
        self._row(sound, encoder.name, self._timed("decode, PGHI", lambda: self._wave(made, "pghi")))
        self._row(sound, f"{encoder.name}, latent at 8 bits", self._wave(rough, "pghi"))
        back = self._timed("decode, Griffin-Lim 32", lambda: self._wave(made, "griffinlim"))
        self._row(sound, f"{encoder.name}, Griffin-Lim 32", back)
        if self.baselines:
            self._row(sound, CEILING, self._wave(images, "pghi"))
            self._row(sound, CEILING_GL, self._wave(images, "griffinlim"))
            self._row(sound, MEAN_FRAME, self._wave(still, "pghi"))
            self._row(sound, f"Opus, {max(self.kbits, _LOWEST_OPUS):.0f} kbit/s", self._by_opus(waveform))

    def _timed(self, what: str, work):
        begun = clock(self.encoder.device)
        result = work()
        self._seconds[what] = self._seconds.get(what, 0.0) + clock(self.encoder.device) - begun
        return result

    def _wave(self, image: Tensor, vocoder: str) -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate(list(waveform_blocks(self.front, [image], vocoder)), 1)[0]

    def _row(self, sound: dict, row: str, back: np.ndarray) -> None:
        waveform = sound["waveform"]
        back = np.pad(back[: len(waveform)], (0, max(0, len(waveform) - len(back))))
        voice = self.voices and sound["stem"] == "vocals"
        self.rows.append((row, sound["stem"], audio.scores(waveform, back, self.encoder.rate, voice=voice)))

    def _compare(self, true: Tensor, made: Tensor) -> dict[str, float]:
        """Score images before any inverse, on the scale of `metrics.audio`: 80 dB down from the true one's peak."""
        levels = [self.front.amplitude(image)[0].double().cpu().numpy() for image in (true, made)]
        peak = max(float(levels[0].max()), 1e-9)
        scaled = [np.clip(20 * np.log10(np.maximum(level / peak, 1e-9)) / audio.TOP_DB + 1, 0, 1) for level in levels]
        return audio.image_scores(*scaled)

    def _latents(self, latents: Latents, images: Tensor) -> None:
        self._means.append(latents.values[0].T)
        stride = self.encoder.system.net.window or self.encoder.system.net.stride
        whole = images[..., : images.shape[3] // stride * stride]
        if whole.shape[3]:
            with torch.inference_mode():
                posterior = self.encoder.system.encode(whole[..., :stride] if self.encoder.window else whole)
            if posterior.log_variance is not None:
                self._nats.append(posterior.divergence()[0].mean(1).cpu().numpy())

    def _by_opus(self, waveform: np.ndarray) -> np.ndarray:
        """Write and read a sound as Opus at the bit rate of the 8-bit latent, or the lowest that it has."""
        rate = self.encoder.rate
        near = io.nearest_rate("opus", rate)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sound.opus"
            io.write(path, resample(waveform[None], rate, near), near, bitrate=max(self.kbits, _LOWEST_OPUS))
            self._opus.append(path.stat().st_size * 8 / 1000 / (len(waveform) / rate))
            clip = io.read(path)
        return resample(clip.samples, clip.rate, rate)[0]

    def latents(self) -> dict[str, Any]:
        """Say what the latents are like."""
        means = np.concatenate(self._means)
        variance = means.var(0)
        found: dict[str, Any] = {
            "numbers a second": self.encoder.latent * self.encoder.steps_a_second, "kbit/s at 8 bits": self.kbits,
            "kbit/s of the Opus files": float(np.mean(self._opus)) if self._opus else None,
            "units": self.encoder.latent, "active units": int((variance > _ACTIVE).sum()),
            "dimensions": float(variance.sum() ** 2 / np.square(np.cov(means.T)).sum()) if len(means) > 1 else None,
        }  # fmt: skip
        if self._nats:
            nats = np.mean(self._nats, 0)
            found |= {"nats a unit": float(nats.mean()), "most nats of a unit": float(nats.max()), "least": float(nats.min())}
        return found

    def speed(self) -> dict[str, float]:
        """Give multiples of real time on one core, or on another device."""
        net = self._seconds["net"]
        spent = {what: seconds + net * what.startswith("decode") for what, seconds in self._seconds.items() if what != "net"}
        return {what: self._heard / max(seconds, 1e-9) for what, seconds in spent.items()}


def clock(device: torch.device) -> float:
    """Tell the seconds that the processor has worked, or of a device beside it the time, when it has done all that it was told."""
    if device.type == "cpu":
        return time.process_time()
    torch.accelerator.synchronize(device)
    return time.perf_counter()


def device_name(device: torch.device) -> str:
    """Name what a speed is of."""
    if device.type == "cpu":
        return "one core"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _means(rows: list[tuple[str, str, dict[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Average scores by row and stem, and over all sounds; what is not a number is left out."""
    groups: dict[str, dict[str, list[dict[str, float]]]] = {}
    for row, stem, scores in rows:
        for group in (stem, "all"):
            groups.setdefault(row, {}).setdefault(group, []).append(scores)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row, stems in groups.items():
        for stem, scored in stems.items():
            keys = list(dict.fromkeys(key for scores in scored for key in scores))
            values = {key: [scores[key] for scores in scored if np.isfinite(scores.get(key, np.nan))] for key in keys}
            means = {key: float(np.mean(found_)) if found_ else float("nan") for key, found_ in values.items()}
            found.setdefault(row, {})[stem] = {"n": len(scored), **means}
    return found


def _phases(encoder: Encoder, sounds: list[dict]) -> dict[str, dict[str, float]]:
    """Compare ways to a phase on true magnitudes: how far the spectrum of the waveform is from them, and the time that it takes."""
    front = encoder.system.front
    frames = Frames(front.frames.n_fft, front.hop).to(encoder.device)
    found = {}
    with torch.inference_mode():
        magnitudes = [frames(torch.from_numpy(sound["waveform"])[None].to(encoder.device)).abs() for sound in sounds[:_PHASE_SOUNDS]]
        seconds = sum(len(sound["waveform"]) for sound in sounds[:_PHASE_SOUNDS]) / encoder.rate
        for name, gradients, steps, momentum in _WAYS:
            begun, distances = clock(encoder.device), []
            for magnitude in magnitudes:
                start = pghi(magnitude, front.hop, tolerance=front.floor) if gradients else None
                wave = griffin_lim(magnitude, front.hop, iterations=steps, momentum=momentum, start=start)
                distances.append(float((frames(wave).abs() - magnitude).norm() / magnitude.norm().clamp(min=1e-9)))
            spent = clock(encoder.device) - begun
            found[name] = {
                "n": len(distances), "convergence": float(20 * np.mean(np.log10(np.maximum(distances, 1e-9)))),
                "speed": seconds / max(spent, 1e-9),
            }  # fmt: skip
    return found


def _about(data, split: str, sounds: list[dict], seconds: float) -> list[str]:
    """Say what was done."""
    stems = ", ".join(f"{stem} {sum(s['stem'] == stem for s in sounds)}" for stem in dict.fromkeys(s["stem"] for s in sounds))
    return [
        f"Sounds: {data}, split {split}, the loudest {seconds:g} s of each stem, mono ({stems}). Scores are of waveforms at the model's "
        "rate, at the original's level; means over sounds.",
        *(f"{name}: {what}." for name, what in audio.DEFINITIONS.items()),
    ]
