"""Find the timbre whose note is nearest to a recording: many drawn ones, then gradient descent through the generator."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from songfoundry.audio import io
from songfoundry.audio.pieces import conform_channels, resample
from songfoundry.errors import Cancelled, ConfigError, InputError
from songfoundry.metrics.pitch import aperiodicity, median_cents
from songfoundry.timbre.generator import NoteGenerator
from songfoundry.timbre.pitches import pitch_name
from songfoundry.timbre.timbres import Timbre

__all__ = ["Likeness", "find_like"]

_DRAWN, _KEPT, _STEPS, _RATE = 64, 4, 80, 0.05
_BATCH = 16
_SILENT = 10 ** (-70 / 20)
"""Peak below which a recording is silence, full scale 1."""
_ONSET = 10 ** (-35 / 20)
"""Share of the peak at which the note begins."""
_FLOOR = 0.1
"""So much of an image's range, from -1 on, is taken for silence by degrees: 3 dB."""
_LONGEST_READ = 60.0
_NOISE = 0.6
"""Aperiodicity above which a recording has no pitch."""


@dataclass(frozen=True)
class Likeness:
    """Hold what a search found.

    Attributes
    ----------
    timbre : the nearest. pitch : MIDI, of the recording. cents : how far that is from equal temperament. drawn_db, found_db : mean
        distance between the two notes' images, 60 dB deep, before and after the descent. said : sentences for the user.
    """

    timbre: Timbre
    pitch: int
    cents: float
    drawn_db: float
    found_db: float
    said: tuple[str, ...] = ()


def find_like(
    generator: NoteGenerator, recording: str | os.PathLike | np.ndarray, rate: int | None = None, *, pitch: int | None = None,
    otherwise: int | None = None, instrument: str | None = None, seed: int = 0, drawn: int = _DRAWN, steps: int = _STEPS,
    progress: Callable[[float], bool | None] | None = None, cancel: threading.Event | None = None,
) -> Likeness:  # fmt: skip
    """Find the timbre of a recording of one note.

    Parameters
    ----------
    recording : an audio file, or float (channels, samples) or (samples,), at `rate` Hz. Its first note is looked at.
    pitch : MIDI; None to measure it. otherwise : taken where none can be measured; None to refuse that.
    instrument : to look among its timbres alone. seed, drawn : of the timbres that it begins with.
    steps : of gradient descent on the best of them.

    Raises
    ------
    InputError : silence, or no pitch that can be measured. ConfigError : an unknown instrument, numbers out of range.
    AudioError : the file cannot be read. Cancelled : as asked.
    """
    if not 1 <= drawn <= 10_000 or not 0 <= steps <= 10_000:
        raise ConfigError(f"expected 1 to 10,000 timbres to draw and at most as many steps, found {drawn} and {steps}: choose others")
    if instrument is not None:
        generator.instrument(instrument)
    name, wave = _note_of(recording, rate, generator.rate)
    told: tuple[str, ...] = ()
    if pitch is None:
        measured = median_cents(wave[: round(3 * generator.rate)], generator.rate, 0.0) / 100
        noise = not np.isfinite(measured) or aperiodicity(wave[: round(3 * generator.rate)], generator.rate) > _NOISE
        if noise and otherwise is None:
            found = "noise: give a note, or" if np.isfinite(measured) else "none that can be measured:"
            raise InputError(f"expected a note with a pitch in {name}, found {found} name its one pitch with --pitch")
        if noise:
            measured = float(otherwise)
            told = (f"{name} has no pitch that can be measured: taken for {pitch_name(otherwise)}, as named",)
    else:
        off = median_cents(wave[: round(3 * generator.rate)], generator.rate, pitch) / 100
        # What is further off is an octave error, or another pitch on purpose.
        measured = pitch + (off if abs(off) <= 0.5 else 0.0)
    height = min(max(round(measured), 0), 127)
    timbres = [generator.timbre(instrument, seed, number) for number in range(drawn)]
    base = generator.trained(height, None if instrument is None else timbres[0])
    # What was not trained at this pitch would be made of another one in the end.
    timbres = [timbre for timbre in timbres if generator.trained(base, timbre) == base] or timbres
    if base != measured:
        # Into tune, and to a pitch that the generator knows.
        wave = soxr.resample(wave, 2.0 ** ((base - measured) / 12), 1.0)
    said = told if base == height else (*told, f"its pitch {height} was not trained: compared at {base}, resampled")
    wanted = _image(generator, wave)

    def go_on(share: float) -> None:
        if (progress is not None and progress(share) is False) or (cancel is not None and cancel.is_set()):
            raise Cancelled("expected to search to the end, found the work cancelled: nothing was kept")

    with generator.threaded():
        distances = []
        for first in range(0, len(timbres), _BATCH):
            part = timbres[first : first + _BATCH]
            with torch.no_grad():
                latent = torch.from_numpy(np.stack([timbre.latent for timbre in part])).to(generator.device)
                distances.append(_distance(_made(generator, latent, part, base), wanted))
            go_on(0.5 * (first + len(part)) / len(timbres))
        distance = torch.cat(distances)
        best = distance.argsort(stable=True)[:_KEPT].tolist()
        kept = [timbres[number] for number in best]
        latent, found = _descend(generator, kept, base, wanted, steps, lambda share: go_on(0.5 + 0.5 * share))
    nearest = int(found.argmin())
    timbre = Timbre(latent[nearest].cpu().numpy(), kept[nearest].instrument, kept[nearest].instruments, kept[nearest].model)
    return Likeness(timbre, height, 100 * (measured - height), _db(distance[best[0]], generator), _db(found[nearest], generator), said)


def _descend(generator: NoteGenerator, kept: list[Timbre], pitch: int, wanted: Tensor, steps: int, go_on) -> tuple[Tensor, Tensor]:
    """Move latents towards the image; gives the nearest that each came to, and its distance: (kept, latent), (kept,)."""
    start = torch.from_numpy(np.stack([timbre.latent for timbre in kept])).to(generator.device)
    length = start.norm(dim=1, keepdim=True)
    latent = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([latent], lr=_RATE)
    trained = [parameter for parameter in generator.system.parameters() if parameter.requires_grad]
    best, nearest = start.clone(), torch.full((len(kept),), torch.inf, device=start.device)
    try:
        # What the weights' gradients would cost is saved, and they stay as they are.
        for parameter in trained:
            parameter.requires_grad_(False)
        for step in range(steps + 1):
            distance = _distance(_made(generator, latent, kept, pitch), wanted)
            closer = distance.detach() < nearest
            best[closer], nearest[closer] = latent.detach()[closer], distance.detach()[closer]
            if step == steps:
                break
            optimiser.zero_grad()
            distance.sum().backward()
            optimiser.step()
            with torch.no_grad():
                # On the sphere where noise lies: off it, the net has not been.
                latent *= length / latent.norm(dim=1, keepdim=True)
            go_on((step + 1) / steps)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
    return best, nearest


def _made(generator: NoteGenerator, latent: Tensor, timbres: list[Timbre], pitch: int) -> Tensor:
    instrument = torch.tensor([timbre.pure for timbre in timbres], device=generator.device)
    return generator.system.net.generator(latent, torch.full((len(timbres),), pitch, device=generator.device), instrument)


def _distance(images: Tensor, wanted: Tensor) -> Tensor:
    """Measure the mean difference of images, -1 to 1, from the wanted one: (batch,).

    The recording's image has its peak at 1; made ones are brought there, but for what lies at the floor, which is silence.
    """
    peak = images[:, :1].amax((2, 3), keepdim=True)
    louder = (1 - peak) * ((images[:, :1] + 1) / _FLOOR).clamp(max=1)
    images = torch.cat((images[:, :1] + louder, images[:, 1:]), 1)
    return (images - wanted).abs().mean((1, 2, 3))


def _db(distance: Tensor, generator: NoteGenerator) -> float:
    """Turn a difference of images into dB."""
    return float(distance) * -10 * float(np.log10(generator.system.config.floor))


def _image(generator: NoteGenerator, wave: np.ndarray) -> Tensor:
    """Draw the recording as the generator would: float32 (1, images, mels, frames)."""
    samples = generator.system.config.samples
    cut = np.zeros(samples, np.float32)
    cut[: min(samples, len(wave))] = wave[:samples]
    with torch.no_grad():
        return generator.system.images(torch.from_numpy(cut / max(float(np.abs(cut).max()), 1e-9))[None].to(generator.device))


def _note_of(recording, rate: int | None, wanted_rate: int) -> tuple[str, np.ndarray]:
    """Read a recording from the beginning of its first note on: its name, and float32 (samples,) at the wanted rate."""
    if isinstance(recording, str | os.PathLike):
        name = Path(recording).name
        clip = io.read(recording, duration=_LONGEST_READ)
        samples, rate = clip.samples, clip.rate
    else:
        name, samples = "the recording", np.atleast_2d(np.asarray(recording, np.float32))
        if rate is None:
            raise ConfigError("expected a rate in Hz beside an array, found none: give rate=44100, or what it is")
    mono = conform_channels(samples, 1)
    peak = float(np.abs(mono).max(initial=0))
    if not peak > _SILENT:
        raise InputError(f"expected a recording of a note, {name} is silent: choose another")
    wave = resample(mono, rate, wanted_rate)[0]
    first = int(np.argmax(np.abs(wave) > _ONSET * np.abs(wave).max()))
    return name, wave[max(0, first - round(0.005 * wanted_rate)) :]
