"""Make single notes: images of magnitude, a generator and a discriminator by name, the game between them, and waveforms of images."""

import zlib
from io import BytesIO
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from songfoundry import registry
from songfoundry.audio.io import Clip
from songfoundry.config import Config
from songfoundry.errors import ConfigError
from songfoundry.metrics.pitch import median_cents
from songfoundry.spectral.instantaneous import InstantaneousMel
from songfoundry.spectral.mel import LogMel, mel_centres
from songfoundry.systems import Artifact
from songfoundry.systems.adversarial import discriminator_loss, frozen, generator_loss, slope, steepness

__all__ = ["SYSTEM", "Note", "NoteConfig"]

Pitch = Annotated[int, Field(ge=0, le=127)]


class NoteConfig(Config):
    """Say what the system is: net by name and preset, the images that it makes, the game that it learns by.

    `net_options` override single values of the preset; `instruments` and `pitches` are those of the draws, which fill them in where
    they are empty. An image is `frames` of `mels` at `hop` samples of `rate` Hz; `samples` of it are sound. `representation`: "mel" is
    log-magnitude alone, whose phase is found again; "if_mel" is GANSynth's, with instantaneous frequency.

    `loss`: "nonsaturating" (with `r1`), "hinge" (with `r1`) or "wgan_gp" (with `penalty`); `r1` is the weight of the squared gradient at
    real images (Mescheder et al. 2018), taken every `r1_every` steps (Karras et al. 2020, appendix B); `pitch_weight` and
    `instrument_weight` are those of the discriminator's heads.
    """

    name: str = "note"
    net: str = "comb_gan"
    preset: str | None = "small"
    net_options: dict[str, int | float | str | bool | list] = {}
    instruments: list[str] = []
    pitches: tuple[Pitch, Pitch] | None = None
    representation: Literal["mel", "if_mel"] = "mel"
    rate: PositiveInt = 16000
    samples: PositiveInt = 32768
    frames: PositiveInt = 128
    mels: PositiveInt = 256
    n_fft: PositiveInt = 1024
    hop: PositiveInt = 256
    floor: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    loss: Literal["nonsaturating", "hinge", "wgan_gp"] = "nonsaturating"
    r1: NonNegativeFloat = 1.0
    r1_every: PositiveInt = 16
    penalty: NonNegativeFloat = 10.0
    pitch_weight: NonNegativeFloat = 1.0
    instrument_weight: NonNegativeFloat = 1.0


class Note(nn.Module):
    """Hold the front end and both sides of the game, and know how to train them, score them and make notes.

    A note's level is taken away: images are relative to their peak, waveforms have a peak of 1.
    """

    Config = NoteConfig

    def __init__(self, config: NoteConfig):
        super().__init__()
        self.config = config
        if not config.instruments or config.pitches is None:
            raise ConfigError("expected the instruments and pitches of a system of notes, found none: name them in [system]")
        if config.pitches[0] > config.pitches[1]:
            raise ConfigError(f"expected the lower pitch first, found {list(config.pitches)}: turn system.pitches round")
        if config.samples > config.frames * config.hop:
            raise ConfigError(
                f"expected at most {config.frames * config.hop} samples in {config.frames} frames of {config.hop}, found {config.samples}: "
                "raise system.frames"
            )
        self.front, centres = _front(config)
        try:
            self.net = registry.build_net(
                "note", config.net, config.preset, config.net_options, instruments=len(config.instruments), pitches=config.pitches,
                centres=centres, resolution=config.rate / config.n_fft, frames=config.frames,
                images=1 if config.representation == "mel" else 2,
            )  # fmt: skip
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self._penalise = True
        self._seen: dict[str, Tensor] = {}

    @classmethod
    def fitted(cls, config: NoteConfig, draws) -> NoteConfig:
        """Fill in the instruments and the pitches of draws.

        Raises
        ------
        ConfigError : the recipe names other instruments, or in another order, than the draws number; or but one side of the game.
        """
        if not config.net_options.get("judging", True):
            raise ConfigError(
                "expected both sides of the game for a training, found system.net_options.judging = false, as in a shipped model: "
                "take that key out"
            )
        drawn = list(draws.instruments)
        if config.instruments and config.instruments != drawn:
            raise ConfigError(
                f"expected in system.instruments those of the draws in their order ({', '.join(drawn)}), found "
                f"{', '.join(config.instruments)}: leave the key out"
            )
        if (config.rate, config.samples) != (draws.config.rate, draws.config.samples):
            raise ConfigError(
                f"expected draws of {config.samples} samples at {config.rate} Hz, found {draws.config.samples} at {draws.config.rate}: "
                "give [system] and [data] the same"
            )
        return config.model_copy(update={"instruments": drawn, "pitches": config.pitches or tuple(draws.pitches)})

    @staticmethod
    def shipped(config: dict) -> dict:
        """Give the config, plain values, of the same system as it is shipped: without the side that judges, for it makes no notes."""
        return {**config, "net_options": {**config["net_options"], "judging": False}}

    @property
    def instruments(self) -> list[str]:
        """Name the instruments in the order of their numbers."""
        return self.config.instruments

    @property
    def learned(self) -> dict[str, tuple[int, int]]:
        """Say from which MIDI pitch to which each instrument was trained: as the checkpoint's card tells it, else all pitches."""
        about = getattr(self, "checkpoint", None)
        data = about.card.get("data") if about is not None else None
        told = data.get("instruments") if isinstance(data, dict) else None
        found = dict.fromkeys(self.instruments, tuple(self.config.pitches))
        for name, (low, high) in found.items():
            # A card is a file's word: what is no range within the net's own is passed over.
            match told.get(name) if isinstance(told, dict) else None:
                case [int(first), int(last)] if low <= first <= last <= high:
                    found[name] = (first, last)
        return found

    @property
    def device(self) -> torch.device:
        """The device that the net is on."""
        return next(self.net.parameters()).device

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the sets of parameters that are updated in turn: "discriminator", then "generator"."""
        return self.net.phases()

    def begin_step(self, step: int, steps: int) -> None:
        """Take up what depends on the step: how far the net has grown, whether the gradient at real images is penalised."""
        self.net.grow(step / steps)
        self._penalise = step % self.config.r1_every == 0

    def images(self, waveform: Tensor) -> Tensor:
        """Turn waveforms, float (batch, samples), into images, float32 (batch, images, mels, frames) in -1..1."""
        missing = self.config.frames * self.config.hop - waveform.shape[-1]
        return self.front(functional.pad(waveform, (0, missing)) if missing else waveform)

    def latents(self, count: int, seed: int = 0) -> Tensor:
        """Draw noise by a seed, float32 (count, latent), the same on every device."""
        return torch.randn(count, self.net.latent, generator=torch.Generator().manual_seed(seed)).to(self.device)

    @torch.no_grad()
    def notes(self, latent: Tensor, pitch: Tensor, instrument: Tensor, phase: str | None = None) -> Tensor:
        """Make notes.

        Parameters
        ----------
        latent : float (batch, latent), standard normal.
        pitch, instrument : int64 (batch,): MIDI; place in `instruments`.
        phase : how the phase is found; default: `LogMel.invert`'s own. Without meaning for "if_mel".

        Returns
        -------
        waveform : float32 (batch, samples), peak 1, at `config.rate` Hz.
        """
        return self.waveforms(self.net.generator(latent, pitch, instrument), phase)

    def waveforms(self, image: Tensor, phase: str | None = None, iterations: int | None = None) -> Tensor:
        """Turn images into waveforms, float32 (batch, samples), peak 1; `phase` and `iterations` as of `LogMel.invert`, for "mel" alone."""
        options: dict = {"phase": phase, "iterations": iterations} if phase and self.config.representation == "mel" else {}
        made = self.front.invert(image.float(), **options)[:, : self.config.samples]
        return made / made.abs().amax(1, keepdim=True).clamp(min=1e-9)

    def forward(self, phase: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses of one side.

        Parameters
        ----------
        batch : "waveform" float (batch, samples), "pitch" and "instrument" int64 (batch,).

        Returns
        -------
        losses : the side's own loss by its name; what the heads say, of real images for the discriminator and of made ones for the
            generator, as weighted cross-entropies in nats; "penalty" of the gradient, where it is due.
        """
        pitch, instrument = batch["pitch"], batch["instrument"]
        latent = torch.randn(len(pitch), self.net.latent, device=pitch.device)
        if phase == "generator":
            return self._generator_losses(latent, pitch, instrument)
        with torch.no_grad():
            real, made = self.images(batch["waveform"]), self.net.generator(latent, pitch, instrument)
        return self._discriminator_losses(real, made, pitch, instrument)

    def _discriminator_losses(self, real: Tensor, made: Tensor, pitch: Tensor, instrument: Tensor) -> dict[str, Tensor]:
        of_real = self.net.discriminator(real, pitch, instrument)
        of_made = self.net.discriminator(made, pitch, instrument)
        high, low = of_real.score, of_made.score
        losses = {"discriminator": discriminator_loss(self.config.loss, high, low)}
        losses |= self._heads("real", of_real, pitch, instrument)
        if self.config.loss == "wgan_gp":
            losses["penalty"] = self.config.penalty * self._slope(real, made, pitch, instrument)
            # Keeps the scores near zero (Karras et al. 2018, appendix A.1).
            losses["drift"] = 1e-3 * high.square().mean()
        elif self.config.r1 and self._penalise:
            # Weighed by how seldom it is taken.
            losses["penalty"] = self.config.r1 / 2 * self.config.r1_every * self._steepness(real, pitch, instrument).mean()
        with torch.no_grad():
            # Scores of the Wasserstein game have no zero of their own.
            middle = (high.mean() + low.mean()) / 2 if self.config.loss == "wgan_gp" else 0.0
            self._seen = {
                "right_real": (high > middle).float().mean(), "right_made": (low < middle).float().mean(), "gap": high.mean() - low.mean(),
                "head_pitch": (of_real.pitch.argmax(1) == self._place(pitch)).float().mean(),
                "head_instrument": (of_real.instrument.argmax(1) == instrument).float().mean(),
            }  # fmt: skip
        return losses

    def _generator_losses(self, latent: Tensor, pitch: Tensor, instrument: Tensor) -> dict[str, Tensor]:
        with frozen(self.net.phases()["discriminator"]):
            found = self.net.discriminator(self.net.generator(latent, pitch, instrument), pitch, instrument)
        loss = generator_loss(self.config.loss, found.score)
        return {"generator": loss, **self._heads("made", found, pitch, instrument)}

    def watch(self) -> dict[str, Tensor]:
        """Say what the discriminator last saw, once.

        Returns
        -------
        figures : "right_real" and "right_made", shares of images that it told right; "gap" between their mean scores;
            "head_pitch" and "head_instrument", shares of real images of which its heads name these.
        """
        seen, self._seen = self._seen, {}
        return seen

    def _place(self, pitch: Tensor) -> Tensor:
        low, high = self.config.pitches
        return pitch.clamp(low, high) - low

    def _heads(self, what: str, found, pitch: Tensor, instrument: Tensor) -> dict[str, Tensor]:
        """Measure how well an image's pitch and instrument are named by the heads."""
        return {
            f"{what}_pitch": self.config.pitch_weight * functional.cross_entropy(found.pitch, self._place(pitch)),
            f"{what}_instrument": self.config.instrument_weight * functional.cross_entropy(found.instrument, instrument),
        }

    def _steepness(self, image: Tensor, pitch: Tensor, instrument: Tensor) -> Tensor:
        """Measure the squared gradient of the scores at images, (batch,), so that it can be differentiated itself."""
        return steepness(lambda each: self.net.discriminator(each, pitch, instrument).score, image)

    def _slope(self, real: Tensor, made: Tensor, pitch: Tensor, instrument: Tensor) -> Tensor:
        """Measure how far the slope is from 1 between real and made images."""
        return slope(lambda each: self.net.discriminator(each, pitch, instrument).score, real, made)

    @torch.no_grad()
    def score(self, batch: dict) -> dict[str, float]:
        """Score notes that are made beside one validation note: of its pitch and instrument, of four latents that follow from its name.

        `batch` holds "name", "waveform" float32 numpy (samples,), "pitch" and "instrument".

        Returns
        -------
        scores : "in_tune", the share of notes whose YIN pitch is within 50 cents of the wanted one, measured on the waveform; "level",
            the distance in dB between the mean spectrum of the real note and that of the nearest made one, "shape", likewise between
            their courses in time; "spread", the mean distance of made notes' spectra from each other; "head_pitch" and
            "head_instrument", whether the discriminator's heads name the real note rightly, for a dead head says nothing of made ones;
            "mean" = 10 in_tune - (level + shape) / 2: a note out of tune weighs like 10 dB.
        """
        pitch = torch.full((4,), int(batch["pitch"]), device=self.device)
        instrument = torch.full((4,), int(batch["instrument"]), device=self.device)
        image = self.net.generator(self.latents(4, zlib.crc32(str(batch["name"]).encode())), pitch, instrument)
        real = self.images(torch.as_tensor(batch["waveform"], device=self.device)[None])
        found = self.net.discriminator(real, pitch[:1], instrument[:1])
        decibels = -10 * np.log10(self.config.floor)
        spectra, courses = image[:, 0].mean(2) * decibels, image[:, 0].mean(1) * decibels
        level = (spectra - real[:, 0].mean(2) * decibels).square().mean(1).sqrt().amin()
        shape = (courses - real[:, 0].mean(1) * decibels).square().mean(1).sqrt().amin()
        spread = (spectra[:, None] - spectra[None]).square().mean(2).sqrt().sum() / 12
        # Two of the notes, by a quick way to a phase that keeps the pitch: this is done for every validation note.
        waves = self.waveforms(image[:2], "fast_griffinlim", 8).cpu().numpy()
        in_tune = np.mean([abs(median_cents(wave, self.config.rate, int(batch["pitch"]))) <= 50 for wave in waves])
        return {
            "mean": float(10 * in_tune - (level + shape) / 2), "in_tune": float(in_tune), "level": float(level), "shape": float(shape),
            "spread": float(spread), "head_pitch": float(found.pitch.argmax() == self._place(pitch)[0]),
            "head_instrument": float(found.instrument.argmax() == instrument[0]),
        }  # fmt: skip

    @torch.no_grad()
    def preview(self, batch: dict) -> list[Artifact]:
        """Show notes of fixed latents: of each instrument a picture at four pitches, where matplotlib is installed, and a scale to hear.

        `batch` is a validation note as for `score`; beside it stand made ones of its pitch and instrument.
        """
        low, high = self.config.pitches
        count = min(len(self.instruments), 6)
        chosen = [round(k * (len(self.instruments) - 1) / max(1, count - 1)) for k in range(count)]
        heights = [round(low + (high - low) * share) for share in (0.2, 0.4, 0.6, 0.8)]
        pairs = [(pitch, instrument) for instrument in chosen for pitch in heights]
        pitch, instrument = torch.tensor(pairs, device=self.device).T
        image = self.net.generator(self.latents(len(pairs)), pitch, instrument)
        heard = range(0, len(pairs), 2)
        waves = self.waveforms(image[list(heard)], "fast_griffinlim")
        sounds = Artifact("preview-notes", "wav", Clip(0.5 * waves.flatten()[None].cpu().numpy(), self.config.rate))
        sheet = _sheet(image, [f"{self.instruments[i]} {p}" for p, i in pairs], len(heights))
        return [sounds] if sheet is None else [Artifact("preview-sheet", "png", sheet), sounds]


def _front(config: NoteConfig) -> tuple[nn.Module, list[float]]:
    """Build the front end that a representation names, and say where its rows stand, in Hz."""
    if config.representation == "if_mel":
        front = InstantaneousMel(config.rate, config.n_fft, config.hop, config.mels)
        return front, mel_centres(config.rate, config.mels, scale="htk").tolist()
    front = LogMel(config.rate, config.n_fft, config.hop, config.mels, floor=config.floor)
    return front, front.centres.tolist()


def _sheet(image: Tensor, titles: list[str], rows: int) -> bytes | None:
    """Draw images (count, images, mels, frames), `rows` in a column, as a png; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    columns = -(-len(titles) // rows)
    figure = Figure(figsize=(1.7 * columns, 1.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for panel, values, title in zip(panels.T.flat, image.cpu().numpy(), titles, strict=False):
        panel.imshow(values[0], origin="lower", aspect="auto", vmin=-1, vmax=1)
        panel.set_title(title, fontsize=7)
        panel.set(xticks=[], yticks=[])
    picture = BytesIO()
    figure.savefig(picture, dpi=90, format="png")
    return picture.getvalue()


SYSTEM = Note
