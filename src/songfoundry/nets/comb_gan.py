"""Make images of notes from noise, pitch and instrument, and tell them from real ones: a generator and a discriminator.

The generator is told the wanted pitch as a *harmonic comb*: a map of the frequency axis that is 1 where the pitch has a partial.
Partials then need not be learned for each pitch on its own. Convolutions over maps that do not change along time cost next to
nothing, so that every resolution gets them.

References: Engel et al. 2019 ("GANSynth", arXiv 1902.08710) for notes as images; Karras et al. 2018 ("Progressive growing of
GANs", arXiv 1710.10196) for growth (section 2), the deviation within the batch (3), even rates (4.1) and pixel norm (4.2); Miyato et
al. 2018 (arXiv 1802.05957) for spectral norm; Miyato & Koyama 2018 (arXiv 1802.05637, eq. 4) for projection; Odena et al. 2017
(arXiv 1610.09585) for the heads; Chen et al. 2019 (arXiv 1810.01365, eq. 4) for modulation by the latent.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm as normalise
from torch.nn.utils.parametrize import register_parametrization

__all__ = ["NET", "PRESETS", "TASK", "CombGan", "Judgement", "comb_maps"]

TASK = "note"
# Channels from the coarsest to the finest resolution; each is twice as fine as the one before on both axes.
PRESETS = {
    "tiny": {"channels": [24, 16, 12, 8], "latent": 16, "style": 32},
    "small": {"channels": [256, 192, 128, 64, 32, 16], "latent": 128, "style": 192},
    "gansynth": {"channels": [256, 256, 192, 128, 64, 32, 16], "latent": 256, "style": 256},
}
_MAPS = {"comb": 5, "onehot": 1}
_KEYS = 128  # pitches that MIDI has
_BOUND = 1.8
"""The spectral norm of a layer of the discriminator: with 1, random filters lose half of a signal in each, and nothing arrives."""


class Judgement(NamedTuple):
    """Hold what the discriminator says of images: float (batch,) score, higher is more real; logits of pitch and instrument."""

    score: Tensor
    pitch: Tensor
    instrument: Tensor


def comb_maps(centres: Tensor, resolution: float, condition: str = "comb") -> Tensor:
    """Draw the maps that the generator is told each pitch by, float32 (128, maps, mels).

    Parameters
    ----------
    centres : float (mels,), Hz, rising.
    resolution : Hz, the least width of a partial.
    condition : "comb" gives a frequency coordinate in -1..1, a comb of all partials and one of the odd ones (0..1), the number of
        the partial as log2 / 4, and how far partials stand apart, in widths; "onehot" the frequency coordinate alone.
    """
    mels = len(centres)
    coordinate = torch.linspace(-1, 1, mels).expand(_KEYS, 1, mels)
    if condition == "onehot":
        return coordinate.contiguous()
    pitch = 440 * 2 ** ((torch.arange(_KEYS, dtype=torch.float64)[:, None] - 69) / 12)
    hertz = centres.double()[None]
    width = torch.gradient(hertz[0])[0].clamp(min=resolution)[None]
    number = hertz / pitch

    def comb(step: int, first: int) -> Tensor:
        nearest = ((number - first) / step).round().clamp(min=0) * step + first
        return torch.exp(-0.5 * ((number - nearest) * pitch / width) ** 2)

    apart = torch.tanh(pitch / (4 * width)).expand(_KEYS, mels)
    partial = (torch.log2(number.clamp(min=2**-4)) / 4).clamp(-1, 2)
    return torch.cat((coordinate, torch.stack((comb(1, 1), comb(2, 1), partial, apart), 1).float()), 1).contiguous()


def _pixel_norm(values: Tensor) -> Tensor:
    """Scale each pixel's (or row's) channels to a root mean square of 1 (Karras et al. 2018, section 4.2)."""
    return values * torch.rsqrt((values * values).mean(1, keepdim=True) + 1e-6)


def _act(values: Tensor) -> Tensor:
    return functional.leaky_relu(values, 0.2)


def _up(values: Tensor) -> Tensor:
    return functional.interpolate(values, scale_factor=2.0, mode="nearest")


class _Scale(nn.Module):
    """Multiply a weight by a constant."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


def _even(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """Keep a layer's weights at a deviation of 1 and scale them as they are used: one step of Adam then turns every layer alike."""
    nn.init.normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    register_parametrization(layer, "weight", _Scale(gain / math.sqrt(layer.weight[0].numel())))
    return layer


def _normalised(layer: nn.Module) -> nn.Module:
    """Hold a layer to a spectral norm; its weights have a deviation of 1 at first, for the same reason as in `_even`."""
    nn.init.normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    normalise(layer)
    register_parametrization(layer, "weight", _Scale(_BOUND))
    return layer


class _Rise(nn.Module):
    """Double the resolution (or keep it): norm, modulation, convolution; up-sampling; the same with the maps of the pitch."""

    def __init__(self, entering: int, leaving: int, style: int, maps: int, up: bool):
        super().__init__()
        self.up = up
        self.first = _even(nn.Conv2d(entering, leaving, 3, padding=1), 2**0.5)
        self.second = _even(nn.Conv2d(leaving, leaving, 3, padding=1), 2**0.5)
        self.skip = _even(nn.Conv2d(entering, leaving, 1, bias=False)) if entering != leaving else nn.Identity()
        self.style = _even(nn.Linear(style, 2 * (entering + leaving)), 0.5)
        self.widths = (entering, leaving)
        # Over maps (batch, maps, mels, 1): what they say of gain and offset of each channel, at each mel.
        self.near = _even(nn.Conv2d(maps, leaving, (5, 1), padding=(2, 0)), 2**0.5)
        self.told = _even(nn.Conv2d(leaving, 2 * leaving, 1))
        self.toned = _even(nn.Linear(style, leaving))

    def forward(self, values: Tensor, style: Tensor, maps: Tensor) -> Tensor:
        entering, leaving = self.widths
        gain, offset, gain_2, offset_2 = self.style(style)[:, :, None, None].split((entering, entering, leaving, leaving), 1)
        inner = self.first(_act(torch.addcmul(offset, _pixel_norm(values), 1 + gain)))
        values = self.skip(values)
        if self.up:
            inner, values = _up(inner), _up(values)
        # The style changes what the maps mean: one instrument's odd partials, another's bright ones.
        told = self.told(_act(self.near(maps) + self.toned(style)[:, :, None, None]))
        gain, offset = gain_2 + told[:, :leaving], offset_2 + told[:, leaving:]
        # No norm here: at the finest resolution it would cost as much as the convolution.
        inner = self.second(_act(torch.addcmul(offset, inner, 1 + gain)))
        return (values + inner) * math.sqrt(0.5)


class _Generator(nn.Module):
    """Make images: a dense layer to the coarsest resolution, then residual blocks that double it."""

    def __init__(self, images, channels, latent, style, instruments, pitches, sizes, growing):
        super().__init__()
        (self.low, self.high), self.sizes = pitches, sizes
        self.instrument = nn.Embedding(instruments, style)
        self.pitch = nn.Embedding(self.high - self.low + 1, style)
        self.mapping = nn.ModuleList([_even(nn.Linear(latent, style)), _even(nn.Linear(style, style), 2**0.5)])
        self.begin = _even(nn.Linear(style, channels[0] * math.prod(sizes[0][:2])))
        pairs = [(channels[0], channels[0]), *zip(channels, channels[1:], strict=False)]
        maps = sizes[-1][2]
        self.blocks = nn.ModuleList([_Rise(a, b, style, maps, up=index > 0) for index, (a, b) in enumerate(pairs)])
        # Image by image: only the finest where the net does not grow.
        self.leave = nn.ModuleDict({
            str(index): _even(nn.Conv2d(width, images, 3, padding=1))
            for index, width in enumerate(channels) if (growing and index) or index == len(channels) - 1
        })  # fmt: skip
        for layer in self.leave.values():
            # Most of an image is silence.
            nn.init.constant_(layer.bias, -1.0)

    def styles(self, latent: Tensor, pitch: Tensor, instrument: Tensor) -> Tensor:
        """Map noise and labels to styles, float (batch, style)."""
        inner = self.mapping[0](_pixel_norm(latent))
        # A mixture of instruments, float (batch, instruments), lies between their embeddings.
        played = instrument @ self.instrument.weight if instrument.is_floating_point() else self.instrument(instrument)
        inner = inner + played + self.pitch(pitch.clamp(self.low, self.high) - self.low)
        return _act(self.mapping[1](_act(_pixel_norm(inner))))

    def forward(self, latent: Tensor, pitch: Tensor, instrument: Tensor, maps: list[Tensor], stage: float) -> Tensor:
        style = self.styles(latent, pitch, instrument)
        mels, frames, _ = self.sizes[0]
        values = self.begin(style).view(len(latent), -1, mels, frames)
        last = math.ceil(stage)
        image = None
        for index, block in enumerate(self.blocks[: last + 1]):
            values = block(values, style, maps[index])
            # The image of the level before fades out while this one fades in.
            if index == last or (index == last - 1 and stage < last):
                made = self.leave[str(index)](_act(values))
                image = made if image is None else torch.lerp(_up(image), made, _fade(stage))
        image = torch.tanh(image.float())
        return image if last == len(self.blocks) - 1 else functional.interpolate(image, size=self.sizes[-1][:2], mode="nearest")


def _fade(stage: float) -> float:
    """Say how much of a new level is seen: it fades in for half of its time, then stands."""
    return min(1.0, 2 * (stage - math.floor(stage))) if stage != math.floor(stage) else 1.0


class _Fall(nn.Module):
    """Halve the resolution: residual block with a convolution at each side of it."""

    def __init__(self, entering: int, leaving: int, norm):
        super().__init__()
        self.first = norm(nn.Conv2d(entering, entering, 3, padding=1))
        self.second = norm(nn.Conv2d(entering, leaving, 4, stride=2, padding=1))
        self.skip = norm(nn.Conv2d(entering, leaving, 1, bias=False))

    def forward(self, values: Tensor) -> Tensor:
        inner = self.second(_act(self.first(_act(values))))
        return (inner + self.skip(functional.avg_pool2d(values, 2))) * math.sqrt(0.5)


class _Discriminator(nn.Module):
    """Judge images: residual blocks, the deviation within the batch, then score, projection and heads."""

    def __init__(self, images, channels, instruments, pitches, sizes, growing, norm, listening):
        super().__init__()
        (self.low, self.high), self.sizes, self.listening = pitches, sizes, listening
        last = len(channels) - 1
        # A stem reads the image of its level at half its resolution: full resolution is where time goes.
        self.stems = nn.ModuleDict({
            str(index): norm(nn.Conv2d(images, channels[index - 1], 4, stride=2, padding=1))
            for index in range(1, last + 1) if growing or index == last
        })  # fmt: skip
        # Where on the frequency axis a filter stands, which convolutions do not know.
        self.places = nn.ParameterDict({
            key: nn.Parameter(0.1 * torch.randn(1, channels[int(key) - 1], sizes[int(key) - 1][0], 1)) for key in self.stems
        })  # fmt: skip
        # Block i takes features at level i to those at level i - 1.
        self.blocks = nn.ModuleList([_Fall(channels[index], channels[index - 1], norm) for index in range(1, last)])
        width, mels = channels[0], sizes[0][0]
        self.end = norm(nn.Conv2d(width + 1, width, 3, padding=1))
        self.score = norm(nn.Linear(width * mels, 1))
        self.pitch_projection = nn.Embedding(self.high - self.low + 1, width * mels)
        self.instrument_projection = nn.Embedding(instruments, width * mels)
        self.pitch_head = _even(nn.Linear(width * mels, self.high - self.low + 1))
        self.instrument_head = _even(nn.Linear(width * mels, instruments))
        if listening:
            # How the image lies on the comb of the pitch that it is said to have; kept from the heads, which would read the label.
            frames = sizes[-1][1]
            self.listen = nn.ModuleList([norm(nn.Linear(2 * images * frames, 64)), norm(nn.Linear(64, 1))])

    def forward(self, image: Tensor, pitch: Tensor, instrument: Tensor, comb: Tensor | None, stage: float) -> Judgement:
        last, fade = math.ceil(stage), _fade(stage)
        values = self._read(image, last)
        for index in range(last - 1, 0, -1):
            values = self.blocks[index - 1](values)
            if index == last - 1 and fade < 1:
                values = torch.lerp(self._read(image, last - 1), values, fade)
        values = _act(values)
        # With one example there is no deviation, and 0 is said of it.
        deviation = values.float().var(0, correction=0).add(1e-8).sqrt().mean().to(values.dtype)
        values = torch.cat((values, deviation.expand(len(values), 1, *values.shape[2:])), 1)
        features = _act(self.end(values)).mean(3).flatten(1).float()
        label = self.pitch_projection(pitch.clamp(self.low, self.high) - self.low) + self.instrument_projection(instrument)
        score = self.score(features)[:, 0].float() + (label * features).sum(1) / math.sqrt(features.shape[1])
        if self.listening:
            score = score + self._listened(image, comb)
        return Judgement(score, self.pitch_head(features).float(), self.instrument_head(features).float())

    def _read(self, image: Tensor, level: int) -> Tensor:
        """Read the image at a level's resolution: features at half of it."""
        if level < len(self.sizes) - 1:
            image = functional.adaptive_avg_pool2d(image, self.sizes[level][:2])
        read = self.stems[str(level)](image)
        return read + self.places[str(level)].to(read.dtype)

    def _listened(self, image: Tensor, comb: Tensor) -> Tensor:
        """Score how each frame lies on the partials of a pitch and between them, (batch,)."""
        parts = [(image * map).sum(2) / map.sum(2).clamp(min=1e-3) for map in (comb, 1 - comb)]
        return self.listen[1](_act(self.listen[0](torch.cat(parts, 1).flatten(1))))[:, 0].float()


class CombGan(nn.Module):
    """Build a generator of note images and the discriminator that it is trained against.

    Parameters
    ----------
    instruments : how many there are.
    pitches : lowest and highest MIDI pitch that is learned; others are made with the embedding of the nearest, on their own comb.
    centres : Hz of each mel, low to high; the images' height. None: 256 places on the HTK scale up to 8 kHz.
    resolution : Hz, the least width of a partial (rate / n_fft).
    images, frames : channels of an image (1: magnitude; 2: and instantaneous frequency), its width.
    channels : of each resolution, coarse to fine; height and width must be multiples of 2 ** (how many - 1).
    latent, style : numbers of noise a note; of a style, which modulates every layer.
    condition : what the generator is told the pitch by: "comb", or "onehot" where it is an embedding alone.
    listening : whether the discriminator is shown, beside its projections and heads, how an image lies on the comb of its pitch.
    growth : share of the training during which resolutions are added one by one; 0 for all from the start.
    spectral_norm : whether each layer of the discriminator is held to a spectral norm (its heads are not).
    judging : whether there is a discriminator at all; without it the net makes images and cannot be trained.
    """

    def __init__(
        self, *, instruments: int = 16, pitches: tuple[int, int] = (24, 84), centres: list[float] | None = None,
        resolution: float = 15.625, images: int = 1, frames: int = 128, channels: list[int] | None = None, latent: int = 128,
        style: int = 192, condition: str = "comb", growth: float = 0.0, spectral_norm: bool = True,
        listening: bool = True, judging: bool = True,
    ):  # fmt: skip
        super().__init__()
        channels = list(channels or PRESETS["small"]["channels"])
        if centres is None:
            centres = (700 * (torch.logspace(0, math.log10(1 + 8000 / 700), 258) - 1))[1:-1].tolist()
        halvings = 2 ** (len(channels) - 1)
        if len(centres) % halvings or frames % halvings or len(channels) < 3:
            raise ValueError(
                f"expected at least 3 resolutions and an image whose height and width are multiples of {halvings}, "
                f"found {len(channels)} and {len(centres)} by {frames}: change channels, mels or samples"
            )
        if condition not in _MAPS:
            raise ValueError(f"expected the condition 'comb' or 'onehot', found {condition!r}: choose one")
        self.latent, self.growth, self.levels = latent, growth, len(channels) - 1
        maps = _MAPS[condition]
        sizes = [(len(centres) // 2**k, frames // 2**k, maps) for k in range(self.levels, -1, -1)]
        norm = _normalised if spectral_norm else lambda layer: _even(layer, 2**0.5)
        growing = growth > 0
        self._generator = _Generator(images, channels, latent, style, instruments, pitches, sizes, growing)
        judge = (images, channels, instruments, pitches, sizes, growing, norm, listening)
        self._discriminator = _Discriminator(*judge) if judging else None
        table = comb_maps(torch.tensor(centres), resolution, condition)
        if judging and listening:
            combs = table if condition == "comb" else comb_maps(torch.tensor(centres), resolution)
            self.register_buffer("_comb", combs[:, 1:2, :, None].contiguous(), persistent=False)
        for index, (mels, _, _) in enumerate(sizes):
            # Kept out of checkpoints: they follow from the config.
            self.register_buffer(f"_maps_{index}", functional.adaptive_avg_pool1d(table, mels)[..., None], persistent=False)
        if growing:
            # How many levels are in use, counted from 1; a saved net knows how far it has grown.
            self.register_buffer("stage", torch.tensor(1.0))

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the parameters of the two sides, in the order in which they are updated; of the generator alone without a judge."""
        sides = {"discriminator": self._discriminator, "generator": self._generator}
        return {name: list(side.parameters()) for name, side in sides.items() if side is not None}

    def grow(self, progress: float) -> None:
        """Say what share of the training, 0..1, is over: resolutions are added by it, where `growth` asks for that."""
        if self.growth > 0:
            self.stage.fill_(min(float(self.levels), 1 + (self.levels - 1) * progress / self.growth))

    def _stage(self) -> float:
        return float(self.stage) if self.growth > 0 else float(self.levels)

    def _maps(self, pitch: Tensor) -> list[Tensor]:
        return [getattr(self, f"_maps_{index}")[pitch.clamp(0, _KEYS - 1)] for index in range(self.levels + 1)]

    def generator(self, latent: Tensor, pitch: Tensor, instrument: Tensor) -> Tensor:
        """Make images of notes.

        Parameters
        ----------
        latent : float (batch, latent), standard normal.
        pitch : int64 (batch,), MIDI, 0..127.
        instrument : int64 (batch,); or float (batch, instruments), how much of each, of length 1.

        Returns
        -------
        image : float32 (batch, images, mels, frames) in -1..1.
        """
        return self._generator(latent, pitch, instrument, self._maps(pitch), self._stage())

    def discriminator(self, image: Tensor, pitch: Tensor, instrument: Tensor) -> Judgement:
        """Judge images, float (batch, images, mels, frames) in -1..1, as notes of a pitch and an instrument, int64 (batch,).

        The judgement of one depends on the others beside it: a batch of equal images is told from a batch of different ones.
        """
        comb = self._comb[pitch.clamp(0, _KEYS - 1)] if self._discriminator.listening else None
        return self._discriminator(image, pitch, instrument, comb, self._stage())


NET = CombGan
