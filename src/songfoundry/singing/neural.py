"""Sing with a model that was trained: the plan of the engine `world`, the voice of two nets and a vocoder.

Words are put in time and the melody is made as `WorldSinger` does it. The image of the speech is then read in that time, sent through the
generator in windows that overlap, and turned into sound chunk by chunk, each going on in the phase that the one before it ended with: a
song of any length takes the memory of a few windows, and its last minute is made as its first.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from songfoundry import inventory
from songfoundry.audio.pieces import resample
from songfoundry.data.speech import levelled
from songfoundry.encoding.vocoding import check_vocoder, waveform_blocks
from songfoundry.engine import Engine
from songfoundry.errors import ConfigError, InputError
from songfoundry.singing import speaking
from songfoundry.singing.controls import Controls, Sung
from songfoundry.singing.engine import Performance, Speech, WorldSinger
from songfoundry.systems.sing import Sing
from songfoundry.systems.sing_melody import warped
from songfoundry.voice.tune import Curve, Tune
from songfoundry.voice.world import PERIOD

__all__ = ["DEFAULT_MODEL", "WINDOW", "NeuralSinger", "find"]

DEFAULT_MODEL = "sing"
"""Name of the model that sings where none is named."""
WINDOW, _OVERLAP = 256, 64
"""Frames that the net gets at once, and how many of them neighbouring windows share in a cross-fade."""
_FORMANTS = (-12.0, 12.0)


class NeuralSinger(Engine):
    """Hold one model, ready to sing any number of times.

    Parameters
    ----------
    model : name of a shipped or local model, path of a `.safetensors`, or a system that is built.
    device : "auto", "cpu", "cuda", "cuda:1" or "mps". threads : CPU threads; None for the cores that are free now.
    vocoder : one of `songfoundry.encoding.vocoding.VOCODERS`, how images become sound.

    Raises
    ------
    ConfigError : an unknown model, device or vocoder. CheckpointError : the file is damaged, or no model that sings.
    """

    def __init__(
        self, model: str | os.PathLike | Sing = DEFAULT_MODEL, device: str = "auto", threads: int | None = None, *, vocoder: str = "pghi"
    ):
        check_vocoder(vocoder)
        super().__init__(model, device, threads, find=find, kinds=("sing",), does="sings")
        self.system: Sing
        self.vocoder, self.rate = vocoder, self.system.config.rate

    def sing(
        self, speech: np.ndarray, rate: int, target: Tune | Curve, controls: Controls | None = None, guide: np.ndarray | None = None, *,
        backing: np.ndarray | None = None, backing_rate: int = 0,
    ) -> Sung:  # fmt: skip
        """Sing a recording of speech on a tune or along an F0 curve, as `WorldSinger.sing` does, at `self.rate` Hz.

        Parameters
        ----------
        backing : float32 (samples,) at `backing_rate` Hz: the band that is heard to the voice from the melody's second 0 on; or None.

        Raises
        ------
        InputError : no voice in the recording, or no melody. MissingExtraError : pyworld is not installed.
        """
        prepared = self.prepare(speech, rate)
        show = self.perform(prepared, target, controls or Controls(), guide, rate, backing=backing, backing_rate=backing_rate)
        return self._made(prepared, show)

    def speak(self, vocal: np.ndarray, rate: int, controls: Controls | None = None) -> Sung:
        """Speak what someone sings, float32 (samples,) at `rate` Hz, in the pace and pitch that `speaking.speak` plans; raises as that."""
        prepared = self.prepare(vocal, rate)
        return self._made(prepared, self._neural(speaking.performance(prepared, controls or Controls()), None, reverse=True))

    def _made(self, prepared: "HeardSpeech", show: "NeuralPerformance") -> Sung:
        samples = np.concatenate(list(show.blocks()))
        samples *= np.float32(min(1.0, 0.99 / max(float(np.abs(samples).max(initial=0)), 1e-9)))
        said = prepared.said + show.plan.said
        return Sung(samples, self.rate, show.target, prepared.voice.curve, show.plan.words, show.plan.marks, said)

    def prepare(self, speech: np.ndarray, rate: int) -> "HeardSpeech":
        """Take speech apart, float32 (samples,) at `rate` Hz, and show its image to the nets; raises as `WorldSinger.prepare`."""
        plain = WorldSinger().prepare(speech, rate)
        heard = levelled(resample(np.asarray(speech, np.float32)[None], rate, self.rate)[0], self.rate)
        with self.threaded(), torch.no_grad():
            image = self.system.images(torch.from_numpy(heard)[None].to(self.device))
        return HeardSpeech(plain.voice, plain.syllables, plain.said, image)

    def perform(
        self, speech: "HeardSpeech", target: Tune | Curve, controls: Controls, guide: np.ndarray | None = None, guide_rate: int = 0, *,
        backing: np.ndarray | None = None, backing_rate: int = 0,
    ) -> "NeuralPerformance":  # fmt: skip
        """Plan a performance, whose sound is made by its `blocks`; arguments as of `sing`."""
        plan = WorldSinger().perform(speech, target, controls, guide, guide_rate)
        band = None
        if backing is not None:
            backing = np.asarray(backing, np.float32)
            if backing.ndim != 1 or not np.isfinite(backing).all():
                raise InputError(f"expected a backing of one channel, finite, found shape {backing.shape}: mix it down first")
            band = levelled(resample(backing[None], backing_rate, self.rate)[0], self.rate)
        return self._neural(plan, band)

    def _neural(self, show: Performance, band: np.ndarray | None, reverse: bool = False) -> "NeuralPerformance":
        """Take over a plan."""
        given = {name: getattr(show, name) for name in ("speech", "target", "swing", "plan", "controls", "wanted")}
        return NeuralPerformance(**given, singer=self, backing=band, reverse=reverse)


@dataclass
class HeardSpeech(Speech):
    """Hold speech taken apart, and its image, float32 (1, mels, frames)."""

    image: Tensor


@dataclass
class NeuralPerformance(Performance):
    """Hold a plan of what is sung, and make its sound with a singer's nets.

    Attributes
    ----------
    singer : whose nets. backing : float32 (samples,) at its rate, as loud as bands are in training; or None. reverse : speak instead.
    """

    singer: NeuralSinger
    backing: np.ndarray | None
    reverse: bool

    def blocks(self) -> Iterator[np.ndarray]:
        """Make the sound: float32 (samples,) each, at the singer's rate; `seconds` in all."""
        singer = self.singer
        left = round(self.seconds * singer.rate)
        made = waveform_blocks(singer.system.front, (image[:, None] for image in self.images()), singer.vocoder)
        while left > 0:
            # Entered anew for each block, so that the caller's own work is not changed.
            with singer.threaded(), torch.inference_mode():
                block = next(made)[0, :left]
            left -= len(block)
            yield block

    def images(self) -> Iterator[Tensor]:
        """Make the images, float32 (1, mels, frames) each, joined where windows overlap."""
        config = self.singer.system.config
        total = -(-round(self.seconds * config.rate) // config.hop)
        ramp = ((torch.arange(_OVERLAP) + 0.5) / _OVERLAP).to(self.singer.device)
        held: Tensor | None = None
        for first in range(0, max(1, total - _OVERLAP), WINDOW - _OVERLAP):
            image = self._window(first, min(first + WINDOW, total))
            if held is not None:
                image[..., :_OVERLAP] = held * (1 - ramp) + image[..., :_OVERLAP] * ramp
            last = first + WINDOW >= total
            keep = image.shape[-1] if last else WINDOW - _OVERLAP
            held = image[..., keep:].clone()
            yield image[..., :keep]

    def _window(self, first: int, last: int) -> Tensor:
        """Sing the frames from the first to before the last: float32 (1, mels, frames)."""
        system, config = self.singer.system, self.singer.system.config
        seconds = config.hop / config.rate
        near = np.minimum(np.rint((np.arange(first, last) + 0.5) * seconds / PERIOD).astype(int), len(self.hertz) - 1)
        places = torch.from_numpy(self._place[near] * (PERIOD / seconds) - 0.5).float()[None].to(self.singer.device)
        speech = warped(self.speech.image, places)
        if (shift := float(np.clip(self.controls.formant_shift, *_FORMANTS))) != 0:
            speech = _shifted(speech, system.front.centres, 2 ** (shift / 12))
        resting = torch.from_numpy(np.isnan(self.plan.source)[near]).to(self.singer.device)
        speech = torch.where(resting, -1.0, speech)
        hertz = torch.from_numpy(self.hertz[near]).float()[None].to(self.singer.device)
        made = system.convert(speech, hertz, self._band(first, last), self.reverse)
        # Level is added, for an image is a logarithm: from -1 to 1 it spans so many decibels.
        span = -20 * np.log10(config.floor)
        gain = torch.from_numpy(40 / span * np.log10(np.maximum(self._gain[near], 1e-6))).float().to(self.singer.device)
        return (made + gain).clamp(-1, 1)

    def _band(self, first: int, last: int) -> Tensor | None:
        """Show the band at frames: float32 (1, mels, frames), with what lies around them; None where there is none."""
        if self.backing is None:
            return None
        front = self.singer.system.front
        margin = -(-front.frames.margin // front.hop)
        begin, end = (first - margin) * front.hop, (last + margin) * front.hop
        piece = self.backing[max(0, begin) : max(0, end)]
        piece = np.pad(piece, (max(0, -begin), max(0, end - max(0, begin) - len(piece))))
        return self.singer.system.images(torch.from_numpy(piece)[None].to(self.singer.device))[..., margin : margin + last - first]


def find(model: str | os.PathLike) -> Path:
    """Find the file of a model that sings; raises `ConfigError`, which says so where none is shipped."""
    try:
        return inventory.find_model(model, "sing")
    except ConfigError:
        if os.fspath(model) != DEFAULT_MODEL:
            raise
        raise ConfigError(
            "expected a model for the engine cyclegan, found none in this release: train one with recipes/sing-cyclegan.toml and name it "
            "by --model, or use the engine world"
        ) from None


def _shifted(image: Tensor, centres: Tensor, ratio: float) -> Tensor:
    """Move what lies at f to f times ratio, in images (batch, mels, frames) whose rows stand at `centres` Hz."""
    wanted = (centres / ratio).clamp(float(centres[0]), float(centres[-1]))
    high = torch.searchsorted(centres, wanted).clamp(1, len(centres) - 1)
    share = ((wanted - centres[high - 1]) / (centres[high] - centres[high - 1]))[:, None]
    return torch.lerp(image[:, high - 1], image[:, high], share)
