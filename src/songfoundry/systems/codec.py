"""Encode sound as a small latent and decode it: log-mel images whose levels survive, a net by name, losses, waveforms of images."""

import math

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional

from songfoundry import registry
from songfoundry.config import Config
from songfoundry.errors import ConfigError
from songfoundry.nets.posterior import Posterior
from songfoundry.spectral.frames import Frames
from songfoundry.spectral.mel import LogMel, Phase
from songfoundry.systems import Artifact, codec_pictures

__all__ = ["SYSTEM", "Codec", "CodecConfig", "window_starts"]

_LARGEST_RATIO = 100.0
"""By how much a decoded mel may differ from the true one in the loss on spectra: 40 dB either way."""
_SHOWN = 4
"""Sounds of a preview."""
_MOMENTUM = 0.005
"""Share of a batch in what is remembered of the latents."""


class CodecConfig(Config):
    """Say what the system is: net by name and preset, the images that it sees, what it is trained for.

    `net_options` override single values of the preset. An image has `n_mels` bands of `rate` / 2 and a frame for each `hop` samples;
    `floor` is the amplitude below full scale that counts as silence, 1e-5 is -100 dB: what is scored goes 80 dB down from a sound's own
    peak, and stems are 20 dB below full scale. `frames`: of a training window, and of every window for nets that know but one length;
    `latent_dim`: numbers of a latent.

    Weights of the losses: `l1` and `mse` of images (in [-1, 1], so that an error in dB counts less the lower the floor is); `stft`,
    spectral convergence and log magnitude at the resolutions `stft_sizes`, of the first `stft_items` sounds of a batch (0: all), for it
    is the dearest of them; `kl`, of the divergence from a standard normal in nats a unit and step, reached after `kl_warmup` steps,
    where each unit has `free_bits` nats that cost nothing (Kingma et al. 2016, section C.8).
    """

    name: str = "codec"
    net: str = "vae"
    preset: str | None = "small"
    net_options: dict[str, int | float | str | bool | list] = {}
    rate: PositiveInt = 22050
    n_mels: PositiveInt = 128
    n_fft: PositiveInt = 1024
    hop: PositiveInt = 256
    floor: float = Field(1e-5, gt=0, lt=1)
    frames: PositiveInt = 256
    latent_dim: PositiveInt = 64
    l1: NonNegativeFloat = 1.0
    mse: NonNegativeFloat = 1.0
    stft: NonNegativeFloat = 0.0
    stft_sizes: list[PositiveInt] = [512, 1024, 2048]
    stft_items: NonNegativeInt = 0
    kl: NonNegativeFloat = 0.0
    kl_warmup: NonNegativeInt = 0
    free_bits: NonNegativeFloat = 0.0
    clips: NonNegativeInt = 0
    """Clips of an epoch, filled in from the draws: for the table of epochs alone."""

    @model_validator(mode="after")
    def _has_a_loss(self):
        if not self.l1 and not self.mse:
            raise ValueError("the weights l1 and mse are both 0, so that nothing is learnt")
        return self


class Codec(nn.Module):
    """Hold the front end and the net, and know how to train them, score them, and go from sound to latents and back.

    Attributes
    ----------
    mean, covariance, memory : what training latents were like, (latent,), (latent, latent) and (latent,): the last is the correlation of
        a unit with itself a step later. `songfoundry.encoding` draws from it.
    """

    Config = CodecConfig

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.config = config
        try:
            self.front = LogMel(config.rate, config.n_fft, config.hop, config.n_mels, floor=config.floor, reference=1.0)
            self.net = registry.build_net(
                "encode", config.net, config.preset, config.net_options, mels=config.n_mels, frames=config.frames, latent=config.latent_dim
            )
            self.resolutions = nn.ModuleList(Frames(size, size // 4) for size in config.stft_sizes)
        except ValueError as error:
            raise ConfigError(f"expected a [system] whose numbers fit together, found otherwise ({error})") from None
        if config.frames % self.net.stride:
            raise ConfigError(
                f"expected system.frames in multiples of {self.net.stride}, found {config.frames}: choose another number"
            )
        self.register_buffer("mean", torch.zeros(config.latent_dim))
        self.register_buffer("covariance", torch.eye(config.latent_dim))
        self.register_buffer("memory", torch.zeros(config.latent_dim))
        self._kl_weight = config.kl
        self._batch = 0
        self._sounds: list[dict] = []

    @staticmethod
    def fitted(config: CodecConfig, draws) -> CodecConfig:
        """Take up the number of clips; raises `ConfigError` where the draws are of another rate, or none, or too short."""
        rate = getattr(draws.config, "rate", None)
        samples = getattr(draws, "samples", 0)
        if rate != config.rate or samples < config.frames * config.hop:
            raise ConfigError(
                f"expected sounds of at least {config.frames * config.hop / config.rate:.3f} s at {config.rate} Hz in [data], found "
                f"{samples / (rate or 1):.3f} s at {rate} Hz: change data.rate and data.seconds, or [system]"
            )
        return config.model_copy(update={"clips": draws.config.clips})

    @property
    def device(self) -> torch.device:
        """The device that the net is on."""
        return self.mean.device

    @property
    def steps_a_second(self) -> float:
        """Latents of a second of sound, where windows do not overlap."""
        return self.config.rate / self.config.hop / self.net.stride

    @property
    def depth(self) -> float:
        """How many dB an image shows."""
        return -20 * math.log10(self.config.floor)

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the one set of parameters."""
        return {"model": list(self.net.parameters())}

    def begin_step(self, step: int, steps: int) -> None:
        """Take up what depends on the step: the weight of the divergence."""
        self._kl_weight = self.config.kl * min(1.0, (step + 1) / (self.config.kl_warmup or 1))
        self._batch = 0

    def images(self, waveform: Tensor) -> Tensor:
        """Turn waveforms, float (batch, samples), full scale ±1, into images, float32 (batch, 1, mels, frames) in [-1, 1]."""
        return self.front(waveform)

    def encode(self, images: Tensor) -> Posterior:
        """Encode images of whole steps (see `songfoundry.encoding` for sounds of any length)."""
        return self.net.encode(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (batch, latent, steps) into images, float32 (batch, 1, mels, frames) in [-1, 1]."""
        return self.net.decode(latents).clamp(-1, 1)

    def waveforms(self, images: Tensor, phase: Phase = "pghi", iterations: int | None = None) -> Tensor:
        """Turn images into waveforms, float32 (batch, samples); see `LogMel.invert`."""
        return self.front.invert(images.float(), phase=phase, iterations=iterations)

    def forward(self, phase: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses.

        Parameters
        ----------
        batch : "waveform" float (batch, samples); its first `frames` frames are taken.

        Returns
        -------
        losses : "l1", "mse", "kl", "stft", each times its weight, and those of weight 0 left out.
        """
        config = self.config
        waveform = batch["waveform"][:, : config.frames * config.hop]
        self._batch += len(waveform)
        with torch.no_grad():
            images = self.images(waveform)
        posterior = self.net.encode(images)
        self._remember(posterior.mean.detach().float())
        made = self.net.decode(posterior.draw())
        error = made - images
        losses = {"l1": config.l1 * error.abs().mean(), "mse": config.mse * error.square().mean()}
        if config.stft:
            some = slice(config.stft_items or None)
            losses["stft"] = config.stft * self._spectra(waveform[some], images[some], made[some])
        if config.kl and posterior.log_variance is not None:
            # Free nats are a unit's, over the batch: what it says on the whole, not at each step.
            nats = posterior.divergence().mean((0, 2))
            losses["kl"] = self._kl_weight * nats.clamp(min=config.free_bits).mean()
        return {name: value for name, value in losses.items() if getattr(config, name)}

    def _spectra(self, waveform: Tensor, images: Tensor, made: Tensor) -> Tensor:
        """Compare sounds at several resolutions: spectral convergence and log magnitude.

        No phase is looked for: the true spectrum is made louder and softer, band by band, as the decoded image is beside the true
        one, and transformed back. A perfect image gives the very waveform, so what is left is the net's alone, none of it the inverse's.

        Reference: Yamamoto, Song & Kim 2020 (arXiv 1910.11480), eq. 3 to 6; Arık et al. 2019.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            frames, floor = self.front.frames, self.config.floor
            spectrum = frames(waveform.float())
            # An image is the logarithm of power above a soft floor: so is this ratio, and its gradient is never infinite.
            ratio = torch.exp((made - images)[:, 0].float() * (math.log1p(floor**-2) / 4))
            ratio = ratio.clamp(1 / _LARGEST_RATIO, _LARGEST_RATIO)
            weights = self.front.weights
            # Bins that no band holds, at the ends, stay as they are.
            gain = 1 + (weights.T / weights.sum(0)[:, None].clamp(min=1e-9)) @ (ratio - 1)
            true, changed = frames.inverse(spectrum), frames.inverse(spectrum * gain)
            total = waveform.new_zeros(())
            for resolution in self.resolutions:
                there, found = (resolution(wave).abs() for wave in (true, changed))
                norm = (there.square().sum((1, 2)) + 1e-6).sqrt()
                convergence = ((there - found).square().sum((1, 2)) + 1e-9).sqrt() / norm
                total = total + convergence.mean() + ((there + floor).log() - (found + floor).log()).abs().mean()
            return total / len(self.resolutions)

    @torch.no_grad()
    def _remember(self, latents: Tensor) -> None:
        """Follow mean, covariance and memory of the latents (batch, latent, steps)."""
        if not self.training:
            return
        with torch.autocast(latents.device.type, enabled=False):
            away = latents - self.mean[:, None]
            flat = away.transpose(1, 2).flatten(0, 1)
            self.mean.lerp_(latents.mean((0, 2)), _MOMENTUM)
            self.covariance.lerp_(flat.T @ flat / len(flat), _MOMENTUM)
            if latents.shape[2] > 1:
                later = (away[:, :, 1:] * away[:, :, :-1]).mean((0, 2)) / away.square().mean((0, 2)).clamp(min=1e-9)
                self.memory.lerp_(later.clamp(-1, 1), _MOMENTUM)

    @torch.no_grad()
    def through(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Send waveforms (batch, samples) of any length through the net, images before and after, of one shape.

        Windows lie side by side, the last one at the end of the sound; one that is longer than the sound is filled up with silence.
        """
        images = self.images(waveform)
        frames, window = images.shape[-1], self.net.window
        if not window:
            whole = functional.pad(images, (0, -frames % self.net.stride), value=-1)
            return images, self.decode(self.encode(whole).mean)[..., :frames]
        whole = functional.pad(images, (0, max(0, window - frames)), value=-1)
        made = torch.empty_like(whole)
        for start in window_starts(frames, window, window):
            made[..., start : start + window] = self.decode(self.encode(whole[..., start : start + window]).mean)
        return images, made[..., :frames]

    @torch.no_grad()
    def score(self, batch: dict) -> dict[str, float]:
        """Score one held-out sound on images: {"name", "stem", "waveform": float32 numpy (samples,)}.

        Returns
        -------
        scores : "mse" and "mae" of the image, from its floor to full scale, scaled to [0, 1]; "db", the mean absolute error in dB;
            "stem.db", the same by stem; "beside mean frame", the squared error beside that of the sound's mean frame; "mean" = -db, so
            that higher is better.
        """
        if len(self._sounds) < _SHOWN and batch["stem"] not in {sound["stem"] for sound in self._sounds}:
            self._sounds.append(batch)
        images, made = self.through(torch.as_tensor(batch["waveform"], device=self.device)[None])
        error = (made - images) / 2
        decibels = float(error.abs().mean()) * self.depth
        still = ((images.mean(3, keepdim=True) - images) / 2).square().mean()
        return {
            "mean": -decibels, "db": decibels, f"{batch['stem']}.db": decibels, "mse": float(error.square().mean()),
            "mae": float(error.abs().mean()), "beside mean frame": float(error.square().mean() / still.clamp(min=1e-9)),
        }  # fmt: skip

    @torch.no_grad()
    def preview(self, batch: dict) -> list[Artifact]:
        """Show a held-out sound as it was and as it comes back, in two pictures where matplotlib is installed, and some sounds to hear.

        The sounds are the first of each stem that were scored since the last preview, else `batch` alone.
        """
        sounds, self._sounds = self._sounds or [batch], []
        shown = []
        for sound in sounds:
            waveform = torch.as_tensor(sound["waveform"], device=self.device)[None]
            images, made = self.through(waveform)
            waves = [self.waveforms(image)[0, : waveform.shape[1]].cpu().numpy() for image in (images, made)]
            shown.append((sound, images[0, 0].cpu().numpy(), made[0, 0].cpu().numpy(), *waves))
        return codec_pictures.previews(self.config, shown)

    def curves(self, rows: list[dict]) -> list[Artifact]:
        """Show the log's rows: curves of losses and scores, and a table of epochs."""
        return codec_pictures.curves(self.config, rows, self._batch)


def window_starts(frames: int, window: int, hop: int) -> list[int]:
    """Lay windows over a sound, `hop` frames apart and the last one at its end, so that none is filled up where one at least fits in.

    Returns the first frame of each: 0 alone for a sound that is no longer than a window.
    """
    last = max(0, frames - window)
    return [*range(0, last, hop), last]


SYSTEM = Codec
