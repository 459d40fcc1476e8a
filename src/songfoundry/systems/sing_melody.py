"""Draw a melody on mel images as the partials of its pitch, hear which pitch an image has, and build a generator around that.

A voice's image is nearly a smooth envelope (the vowel) and, where it is voiced, the comb of its partials (the note): added, for images are
logarithms. The generators here answer with just these two: an envelope that is smooth along frequency, and how deep the comb of the
*wanted* pitch cuts at each place. A melody is then followed from the first step on, and what is learned is the singer.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from songfoundry import registry
from songfoundry.spectral.mel import LogMel

__all__ = ["Combs", "Converter", "filled", "warped"]

LOW, HIGH = 45.0, 1200.0
"""Hz, the lowest and the highest pitch that there is a comb of; others have that of the nearest."""
_CENTS = 10
_EVERY = 5
"""Pitches are told apart in steps of so many combs: half a semitone."""
_NOISE = 3e-2
"""Amplitude between the partials beside theirs: breath, and pitch that moves within a frame."""
_BROAD, _NARROW = 8.0, 2.0
"""Mel bands (deviation of a Gaussian) over which an image is smoothed to see its comb, to have an envelope."""
_SHARP = 16.0
"""How sure it makes that a comb fits: nats for a correlation of 1."""
_VOICED = 0.45
"""Correlation with the best comb from which on a frame is rather voiced: of real training voices nine in ten that are lie above."""
_DEEPEST = 1.3
_LEAK = 0.05


class Combs(nn.Module):
    """Hold the image of an even row of partials for every pitch, as a front end shows it.

    Attributes
    ----------
    table : float32 (pitches, mels), images less their smooth part, in units of the image.
    """

    def __init__(self, front: LogMel):
        super().__init__()
        n_fft, mels = front.frames.n_fft, len(front.weights)
        count = int(1200 / _CENTS * math.log2(HIGH / LOW)) + 1
        hertz = LOW * 2 ** (torch.arange(count, dtype=torch.float64) * _CENTS / 1200)
        number = torch.arange(n_fft // 2 + 1) * (front.rate / n_fft) / hertz[:, None]
        # Distance of each bin from the nearest partial, in bins, and what a Hann window shows of it there.
        away = (number - number.round().clamp(min=1)) * hertz[:, None] * (n_fft / front.rate)
        lobe = torch.sinc(away) / (1 - away**2).where((away.abs() - 1).abs() > 1e-6, torch.tensor(1.0, dtype=torch.float64))
        lobe = torch.where((away.abs() - 1).abs() > 1e-6, lobe.abs(), torch.tensor(0.5, dtype=torch.float64)) * (away.abs() < 2)
        seen = lobe.float() @ front.weights.T
        scale = 2 / abs(math.log(front.floor**2))
        level = scale * torch.log(seen**2 + _NOISE**2)
        table = level - level @ _blur(mels, _BROAD).T
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("broad", _blur(mels, _BROAD), persistent=False)
        # Above 3 kHz partials say little of the pitch.
        weights = torch.sigmoid((3000 - front.centres) / 300)
        self.register_buffer("weights", weights[:, None], persistent=False)
        heard = table[::_EVERY] * weights
        self.register_buffer("heard", heard / heard.norm(dim=1, keepdim=True), persistent=False)

    def maps(self, hertz: Tensor) -> Tensor:
        """Draw the combs of pitches, float (batch, frames) in Hz: float32 (batch, mels, frames), 0 where a pitch is 0."""
        place = (1200 / _CENTS * torch.log2(hertz.float().clamp(min=LOW) / LOW)).clamp(max=len(self.table) - 1)
        low = place.floor().long().clamp(max=len(self.table) - 2)
        comb = torch.lerp(self.table[low], self.table[low + 1], (place - low)[..., None])
        return (comb * (hertz > 0)[..., None]).transpose(1, 2)

    def flags(self, hertz: Tensor) -> Tensor:
        """Say of pitches (batch, frames) whether there is one, 0 or 1, and how high, -1..1: float32 (batch, 2, frames)."""
        height = torch.log2(hertz.float().clamp(LOW, HIGH) / LOW) / math.log2(HIGH / LOW)
        voiced = (hertz > 0).float()
        return torch.stack((voiced, (2 * height - 1) * voiced), 1)

    def hear(self, image: Tensor) -> Tensor:
        """Correlate images (batch, mels, frames) with the combs of pitches half a semitone apart: float (batch, pitches, frames), -1..1."""
        detail = (image - self.broad @ image) * self.weights
        return self.heard @ (detail / (detail.square().sum(1, keepdim=True) + 1e-3).sqrt())

    def losses(self, image: Tensor, hertz: Tensor) -> tuple[Tensor, Tensor]:
        """Measure how far images, float (batch, mels, frames), are from having pitches, float (batch, frames) in Hz, 0 for none.

        Returns
        -------
        pitch : cross-entropy, in nats, of hearing that pitch where there is one. voicing : of hearing any there, and none elsewhere.
        """
        found = self.hear(image)
        voiced = hertz > 0
        best = found.amax(1)
        voicing = functional.binary_cross_entropy_with_logits(_SHARP * (best - _VOICED), voiced.float())
        if not voiced.any():
            return image.sum() * 0, voicing
        place = 1200 / _CENTS / _EVERY * torch.log2(hertz.clamp(LOW, HIGH) / LOW)
        away = torch.arange(found.shape[1], device=image.device)[None, :, None] - place[:, None]
        wanted = torch.exp(-0.5 * (away / 0.6) ** 2)
        wanted = wanted / wanted.sum(1, keepdim=True)
        nats = -(wanted * (_SHARP * found).log_softmax(1)).sum(1)
        return (nats * voiced).sum() / voiced.sum(), voicing

    @torch.no_grad()
    def pitch(self, image: Tensor) -> Tensor:
        """Name the pitch that images, float (batch, mels, frames), have: Hz (batch, frames) in half semitones, 0 where none is heard."""
        best, which = self.hear(image).max(1)
        return torch.where(best > _VOICED, LOW * 2 ** (which * _EVERY * _CENTS / 1200), 0.0)


class Converter(nn.Module):
    """Turn images of one kind of voice into images of another, at wanted pitches.

    Parameters
    ----------
    combs : of the front end that made the images. backing : whether it hears a band too.
    net, preset, options : of a net whose task is "convert".
    """

    def __init__(self, combs: Combs, backing: bool, net: str, preset: str | None, options: dict):
        super().__init__()
        mels = combs.table.shape[1]
        self.backing = backing
        self.net = registry.build_net("convert", net, preset, options, inputs=mels * (3 if backing else 2) + 2, outputs=2 * mels)
        self.register_buffer("narrow", _blur(mels, _NARROW), persistent=False)

    def forward(self, image: Tensor, hertz: Tensor, combs: Combs, backing: Tensor | None = None) -> Tensor:
        """Convert.

        Parameters
        ----------
        image, backing : float (batch, mels, frames) in -1..1. hertz : float (batch, frames), the wanted pitch, 0 for none.

        Returns
        -------
        image : float32 (batch, mels, frames), in -1..1 or hardly beyond.
        """
        comb = combs.maps(hertz)
        seen = [image, backing] if self.backing else [image]
        said = self.net(torch.cat((*seen, comb, combs.flags(hertz)), 1))
        with torch.autocast(image.device.type, enabled=False):
            envelope, depth = said.float().chunk(2, 1)
            made = self.narrow @ (image.float() + envelope) + _DEEPEST * torch.sigmoid(depth + 1) * comb
            inside = made.clamp(-1, 1)
            return inside + _LEAK * (made - inside)


def filled(hertz: Tensor) -> Tensor:
    """Give every frame a pitch: that of the last voiced frame, before the first one that of the first; (batch, frames), 0 where none is."""
    place = torch.arange(hertz.shape[1], device=hertz.device).expand_as(hertz)
    last = torch.where(hertz > 0, place, -1).cummax(1).values
    first = (hertz > 0).float().argmax(1, keepdim=True)
    return hertz.gather(1, torch.where(last < 0, first, last))


def warped(series: Tensor, places: Tensor, nearest: bool = False) -> Tensor:
    """Read series (batch, ..., frames) at places, float (batch, wanted) in frames: on the line between two frames, or at the nearest."""
    last = series.shape[-1] - 1

    def at(index: Tensor) -> Tensor:
        index = index.long().clamp(0, last).view(len(series), *[1] * (series.dim() - 2), -1)
        return series.gather(-1, index.expand(*series.shape[:-1], -1))

    if nearest:
        return at(places.round())
    share = (places - places.floor()).view(len(series), *[1] * (series.dim() - 2), -1)
    return torch.lerp(at(places.floor()), at(places.floor() + 1), share)


def _blur(mels: int, deviation: float) -> Tensor:
    """Give the matrix (mels, mels) that smooths along frequency; its rows sum to 1."""
    place = torch.arange(mels, dtype=torch.float32)
    weights = torch.exp(-0.5 * ((place[:, None] - place) / deviation) ** 2)
    return weights / weights.sum(1, keepdim=True)
