"""Hear which pitch and which instrument a note has: a small net that judges notes from outside, whatever made them.

It shares nothing with the systems that make notes: its picture of a sound is laid on a logarithmic frequency axis, where another pitch is
the same picture moved, and it is trained on recordings alone.
"""

import math
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from songfoundry.config import Config
from songfoundry.errors import ConfigError
from songfoundry.spectral import Frames
from songfoundry.systems import Artifact

__all__ = ["SYSTEM", "LogFrequency", "NoteClassifier", "NoteClassifierConfig"]

LOWEST, PITCHES, SEMITONES = 21, 88, 96
"""MIDI number of the axis' first semitone, how many pitches are told apart (a piano's), how many semitones are seen (to 7 kHz)."""
_PARTS = 3
"""Bands a semitone: the middle one is on the pitch, the others 33 cents beside it."""
_BELOW, _ABOVE = 24, 40
"""Semitones around a pitch that speak for or against it: sub-octaves, and partials up to the tenth."""
_BATCH = 64


class NoteClassifierConfig(Config):
    """Say what the net hears and how large it is.

    `instruments` are those of the draws, which fill them in where they are empty; `samples`, at `rate` Hz, are heard at most; `windows`, in
    samples, are those of the pictures: the long one parts low partials, the short one shows how a note begins; `floor` is the
    amplitude below a note's peak that is nothing. `channels` are those of the four layers, `features` the numbers that a note is
    described by, `dropout` is applied to them.

    In training a note is moved in time by at most `move` seconds, its spectrum tilted and bent by about `colour` dB, and white noise added
    at `noise` dB below its peak or less.
    """

    name: str = "note_classifier"
    instruments: list[str] = []
    rate: PositiveInt = 16000
    samples: PositiveInt = 32768
    windows: tuple[PositiveInt, PositiveInt] = (4096, 1024)
    hop: PositiveInt = 512
    floor: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    channels: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (16, 24, 32, 48)
    features: PositiveInt = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    move: NonNegativeFloat = 0.1
    colour: NonNegativeFloat = 4.0
    noise: float = -35.0


class LogFrequency(nn.Module):
    """Turn waveforms into magnitudes on a logarithmic frequency axis, one picture for each window.

    Triangles lie a third of a semitone apart, `SEMITONES` from MIDI `LOWEST` on; where they would be narrower than a bin of the
    transform they are as wide as one. Each picture is relative to its own peak: levels are lost.
    """

    def __init__(self, rate: int, windows: tuple[int, ...], hop: int, floor: float):
        super().__init__()
        self.floor = floor
        self.frames = nn.ModuleList(Frames(window, hop) for window in windows)
        for number, window in enumerate(windows):
            # They follow from the config: kept out of checkpoints.
            self.register_buffer(f"weights_{number}", _triangles(rate, window), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Turn float (batch, samples) into float32 (batch, windows, 3 * SEMITONES, ceil(samples / hop)) in [-1, 1]."""
        with torch.autocast(waveform.device.type, enabled=False):
            pictures = []
            for number, frames in enumerate(self.frames):
                level = getattr(self, f"weights_{number}") @ frames(waveform.float()).abs()
                relative = level / level.amax((1, 2), keepdim=True).clamp(min=1e-9)
                # As in `LogMel`: the floor is approached smoothly, as noise of that level would have it.
                pictures.append(torch.log(relative**2 + self.floor**2) / -math.log(self.floor) + 1)
            return torch.stack(pictures, 1)


def _triangles(rate: int, window: int) -> Tensor:
    """Lay triangles evenly on the logarithm of frequency: float32 (3 * SEMITONES, bins); the weights of each sum to 1."""
    centres = 440 * 2 ** ((LOWEST - 69 + (torch.arange(_PARTS * SEMITONES, dtype=torch.float64) - 1) / _PARTS) / 12)
    width = (centres * (2 ** (1 / (12 * _PARTS)) - 1)).clamp(min=rate / window)
    bins = torch.linspace(0, rate / 2, window // 2 + 1, dtype=torch.float64)
    weights = (1 - (bins - centres[:, None]).abs() / width[:, None]).clamp(min=0)
    return (weights / weights.sum(1, keepdim=True).clamp(min=1e-12)).float()


class _Layer(nn.Sequential):
    """Convolve, normalise, bend."""

    def __init__(self, before: int, after: int, kernel: tuple[int, int], stride: tuple[int, int]):
        padding = (kernel[0] // 2 if stride[0] == 1 else (kernel[0] - stride[0]) // 2, kernel[1] // 2)
        super().__init__(nn.Conv2d(before, after, kernel, stride, padding), nn.GroupNorm(math.gcd(4, after), after), nn.GELU())


class NoteClassifier(nn.Module):
    """Hold the pictures and the net: layers that keep the axis of semitones, a head for pitch and one for the instrument.

    The pitch head looks from every semitone at the same places around it, so that what it learns at one pitch holds at all.
    """

    Config = NoteClassifierConfig

    def __init__(self, config: NoteClassifierConfig):
        super().__init__()
        self.config = config
        if not config.instruments:
            raise ConfigError("expected the instruments of a note classifier, found none: name them in [system]")
        self.front = LogFrequency(config.rate, config.windows, config.hop, config.floor)
        a, b, c, d = config.channels
        self.layers = nn.Sequential(
            _Layer(len(config.windows), a, (5, 3), (_PARTS, 2)), _Layer(a, b, (3, 3), (1, 2)), _Layer(b, c, (3, 3), (1, 2)),
            _Layer(c, d, (3, 3), (1, 1)),
        )  # fmt: skip
        self.around = nn.Conv1d(d, 32, _BELOW + 1 + _ABOVE)
        self.pitch = nn.Conv1d(32, 1, 1)
        bands = SEMITONES // 6
        self.describe = nn.Linear(2 * d * bands, config.features)
        self.instrument = nn.Linear(config.features, len(config.instruments))
        self._bands = bands

    @classmethod
    def fitted(cls, config: NoteClassifierConfig, draws) -> NoteClassifierConfig:
        """Fill in the instruments of draws.

        Raises
        ------
        ConfigError : the recipe names other instruments, or another rate, than the draws have; or their pitches are not a piano's.
        """
        drawn = list(draws.instruments)
        if config.instruments and config.instruments != drawn:
            raise ConfigError(
                f"expected in system.instruments those of the draws in their order ({', '.join(drawn)}), found "
                f"{', '.join(config.instruments)}: leave the key out"
            )
        if config.rate != draws.config.rate:
            raise ConfigError(f"expected draws at {config.rate} Hz, found {draws.config.rate}: give [system] and [data] the same rate")
        low, high = draws.pitches
        if low < LOWEST or high >= LOWEST + PITCHES:
            raise ConfigError(
                f"expected pitches from {LOWEST} to {LOWEST + PITCHES - 1} for a note classifier, found {low} to {high}: set data.pitches"
            )
        return config.model_copy(update={"instruments": drawn})

    @property
    def instruments(self) -> list[str]:
        """Name the instruments in the order of their numbers."""
        return self.config.instruments

    @property
    def device(self) -> torch.device:
        """The device that the net is on."""
        return self.instrument.weight.device

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the sets of parameters that are updated in turn: one, "model"."""
        return {"model": list(self.parameters())}

    def _heard(self, waveform: Tensor) -> Tensor:
        """Look at waveforms: (batch, channels, SEMITONES, frames)."""
        return self.layers(self.front(waveform[:, : self.config.samples]))

    def _pitches(self, heard: Tensor) -> Tensor:
        """Weigh the pitches: logits (batch, PITCHES), the first that of MIDI `LOWEST`."""
        rows = functional.pad(heard.mean(3), (_BELOW, _ABOVE))
        return self.pitch(functional.gelu(self.around(rows)))[:, 0, :PITCHES].float()

    def _features(self, heard: Tensor) -> Tensor:
        bands = heard.unflatten(2, (self._bands, -1)).mean(3)
        return self.describe(torch.cat((bands.mean(3), bands.amax(3)), 1).flatten(1)).float()

    def _instruments(self, features: Tensor) -> Tensor:
        dropped = functional.dropout(features, self.config.dropout, self.training)
        return self.instrument(functional.gelu(dropped)).float()

    def forward(self, phase: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses of a batch, each waveform changed at random as the config says.

        Parameters
        ----------
        batch : "waveform" float (batch, samples), "pitch" (MIDI) and "instrument" int64 (batch,).

        Returns
        -------
        losses : "pitch" and "instrument", cross-entropies in nats (the second with label smoothing).
        """
        heard = self._heard(self._varied(batch["waveform"]))
        smooth = self.config.label_smoothing
        return {
            "pitch": functional.cross_entropy(self._pitches(heard), batch["pitch"] - LOWEST),
            "instrument": functional.cross_entropy(self._instruments(self._features(heard)), batch["instrument"], label_smoothing=smooth),
        }

    def _varied(self, waveform: Tensor) -> Tensor:
        """Move, colour and disturb waveforms (batch, samples); the random numbers are torch's own."""
        config, (count, samples) = self.config, waveform.shape
        spectrum = torch.fft.rfft(waveform.float())
        bins = torch.linspace(0, 1, spectrum.shape[1], device=waveform.device)
        # Cosines on the frequency axis, the more they wind the weaker: smooth, so that no partial is cut out.
        octave = torch.log2(1 + 31 * bins) / 5
        waves = torch.cos(math.pi * torch.arange(1, 5, device=waveform.device)[:, None] * octave)
        decibels = config.colour * torch.randn(count, 4, device=waveform.device) / torch.arange(1, 5, device=waveform.device) @ waves
        coloured = torch.fft.irfft(spectrum * 10 ** (decibels / 20), n=samples)
        later = (torch.rand(count, 1, device=waveform.device) * config.move * config.rate).long()
        places = torch.arange(samples, device=waveform.device) - later
        moved = coloured.gather(1, places.clamp(min=0)) * (places >= 0)
        peak = moved.abs().amax(1, keepdim=True)
        level = 10 ** ((config.noise - 40 * torch.rand(count, 1, device=waveform.device)) / 20)
        return moved + peak * level * torch.randn_like(moved)

    @torch.no_grad()
    def judged(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Hear notes, in evaluation mode.

        Parameters
        ----------
        waveform : float (batch, samples), any level, at `config.rate` Hz; what is longer than `config.samples` is not heard.

        Returns
        -------
        pitch : float32 (batch, 88), probabilities of the MIDI numbers from 21 on; instrument : float32 (batch, instruments), likewise.
        """
        parts = [self._heard(part) for part in waveform.to(self.device).split(_BATCH)]
        pitch = torch.cat([self._pitches(heard).softmax(1) for heard in parts])
        return pitch, torch.cat([self._instruments(self._features(heard)).softmax(1) for heard in parts])

    @torch.no_grad()
    def features(self, waveform: Tensor) -> Tensor:
        """Describe the timbre of notes, float (batch, samples) as in `judged`, by float32 (batch, features)."""
        return torch.cat([self._features(self._heard(part)) for part in waveform.to(self.device).split(_BATCH)])

    @torch.no_grad()
    def score(self, batch: dict) -> dict[str, float]:
        """Score one validation note: "waveform" float32 numpy (samples,), "pitch", "instrument".

        Returns
        -------
        scores : "pitch" and "instrument", 1 where it is told rightly; "mean", the negative sum of both cross-entropies in nats.
        """
        pitch, instrument = self.judged(torch.as_tensor(batch["waveform"])[None])
        right, player = int(batch["pitch"]) - LOWEST, int(batch["instrument"])
        certain = pitch[0, right].clamp(min=1e-9).log() + instrument[0, player].clamp(min=1e-9).log()
        return {
            "mean": float(certain), "pitch": float(pitch[0].argmax() == right), "instrument": float(instrument[0].argmax() == player),
        }  # fmt: skip

    def preview(self, batch: dict) -> list[Artifact]:
        """Give nothing: a judge makes nothing to look at or listen to."""
        return []


SYSTEM = NoteClassifier
