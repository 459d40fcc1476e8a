"""Make singing of speech and speech of singing: two generators and two discriminators in a game with cycles, and their losses.

References: Zhu et al. 2017 (CycleGAN, arXiv 1703.10593), eq. 1 to 3, section 5.2 (identity); Mao et al. 2017 (arXiv 1611.04076) for least
squares; Reed et al. 2016 (arXiv 1605.05396), algorithm 1, for real pairs that do not belong together: a voice and another song's band.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from songfoundry import registry
from songfoundry.config import Config
from songfoundry.errors import ConfigError
from songfoundry.metrics.pitch import yin
from songfoundry.spectral.mel import LogMel, Phase
from songfoundry.systems import Artifact, sing_pictures
from songfoundry.systems.adversarial import frozen
from songfoundry.systems.sing_melody import Combs, Converter, filled, warped

__all__ = ["SYSTEM", "Sing", "SingConfig"]

_MEMORY = 0.9
"""Of the running loss that gates a discriminator."""
_LOW, _HIGH = 65.0, 1100.0
"""Hz, between which the scores look for a pitch."""


class SingConfig(Config):
    """Say what the system is: nets by name and preset, images, the game and what each of its losses weighs.

    An image is `mels` by `frames` at `hop` samples of `rate` Hz; `reference` is the amplitude of its top, `floor` its bottom beside that.
    `adversarial`, `cycle`, `identity`: as in a CycleGAN, for both directions, L1 of images in -1..1; `paired`: L1 of what one person
    spoke and sang, for draws that say so; `f0`, `voicing`: cross-entropies of hearing the wanted pitch; `swapped`: of telling that a band
    is another song's. A discriminator whose running loss is below `gate` rests until it is above (0: never rests). `judging`: whether
    there are discriminators at all; without them the system sings and cannot be trained.
    """

    name: str = "sing"
    net: str = "wave_unet"
    preset: str | None = "small"
    net_options: dict[str, int | float | str | bool | list] = {}
    judge: str = "minirocket"
    judge_preset: str | None = "small"
    judge_options: dict[str, int | float | str | bool | list] = {}
    rate: PositiveInt = 16000
    n_fft: PositiveInt = 1024
    hop: PositiveInt = 256
    mels: PositiveInt = 128
    frames: PositiveInt = 256
    floor: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    reference: Annotated[float, Field(gt=0, le=1)] = 0.25
    loss: Literal["least_squares", "cross_entropy"] = "least_squares"
    adversarial: NonNegativeFloat = 1.0
    cycle: NonNegativeFloat = 10.0
    identity: NonNegativeFloat = 5.0
    paired: NonNegativeFloat = 0.0
    f0: NonNegativeFloat = 0.1
    voicing: NonNegativeFloat = 0.1
    swapped: NonNegativeFloat = 0.5
    gate: NonNegativeFloat = 0.0
    judging: bool = True


class Sing(nn.Module):
    """Hold front end, generators and discriminators, and know how to train them, score them and convert images."""

    Config = SingConfig

    def __init__(self, config: SingConfig):
        super().__init__()
        self.config = config
        try:
            self.front = LogMel(
                config.rate, config.n_fft, config.hop, config.mels, floor=config.floor, reference=config.reference
            )
            self.combs = Combs(self.front)
            build = (config.net, config.preset, config.net_options)
            self.to_voice, self.to_speech = Converter(self.combs, True, *build), Converter(self.combs, False, *build)
            if config.judging:
                judge = ("judge", config.judge, config.judge_preset, config.judge_options)
                self.judge_voice = registry.build_net(*judge, channels=2 * config.mels, steps=config.frames)
                self.judge_speech = registry.build_net(*judge, channels=config.mels, steps=config.frames)
        except ValueError as error:
            raise ConfigError(f"expected a [system] whose numbers fit together, found otherwise ({error}): change them") from None
        if config.judging:
            # What gates the discriminators is part of the state: a resumed training goes on alike.
            self.register_buffer("running", torch.ones(2))
        self._seen: dict[str, Tensor] = {}

    @staticmethod
    def fitted(config: SingConfig, draws) -> SingConfig:
        """Take the config as it is; raises `ConfigError` where the draws are of other windows, or the recipe names but one side."""
        if not config.judging:
            raise ConfigError(
                "expected both sides of the game for a training, found system.judging = false, as in a shipped model: take that key out"
            )
        own, drawn = ((c.rate, c.hop, c.frames) for c in (config, draws.config))
        if own != drawn:
            raise ConfigError(
                f"expected draws at {own[0]} Hz of {own[2]} frames of {own[1]} samples, found {drawn[0]} Hz, {drawn[2]} and {drawn[1]}: "
                "give [system] and [data] the same rate, frames and hop"
            )
        return config

    @staticmethod
    def shipped(config: dict) -> dict:
        """Give the config, plain values, of the same system as it is shipped: without those who judge, for they do not sing."""
        return {**config, "judging": False}

    @property
    def device(self) -> torch.device:
        """The device that the nets are on."""
        return self.combs.table.device

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the sets of parameters that are updated in turn: "discriminator", then "generator"; two nets each."""
        sides = {"discriminator": self._judges() if self.config.judging else [], "generator": [self.to_voice, self.to_speech]}
        return {name: [p for net in nets for p in net.parameters()] for name, nets in sides.items() if nets}

    def _judges(self) -> list[nn.Module]:
        return [self.judge_voice, self.judge_speech]

    def images(self, waveform: Tensor) -> Tensor:
        """Turn waveforms, float (batch, samples), full scale ±1, into images, float32 (batch, mels, frames) in -1..1."""
        return self.front(waveform)[:, 0]

    def waveforms(self, image: Tensor, phase: Phase = "pghi", iterations: int | None = None) -> Tensor:
        """Turn images (batch, mels, frames) into waveforms, float32 (batch, samples); `phase`, `iterations` as of `LogMel.invert`."""
        return self.front.invert(image[:, None].float(), phase=phase, iterations=iterations)

    @torch.no_grad()
    def convert(self, image: Tensor, hertz: Tensor, backing: Tensor | None = None, reverse: bool = False) -> Tensor:
        """Sing what images show, or, in reverse, speak what they show as sung.

        Parameters
        ----------
        image : float (batch, mels, frames), any number of frames. hertz : (batch, frames), the wanted pitch in Hz, 0 for none.
        backing : as image, of the band; None where there is none.

        Returns
        -------
        image : float32 (batch, mels, frames) in -1..1.
        """
        if reverse:
            return self.to_speech(image, hertz, self.combs).clamp(-1, 1)
        band = torch.full_like(image, -1.0) if backing is None else backing
        return self.to_voice(image, hertz, self.combs, band).clamp(-1, 1)

    @torch.no_grad()
    def shown(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Show a batch of draws: images "speech" (in the song's time), "voice", "backing", their "spoken" and "sung" pitches, "wanted".

        What is wanted of the generator that sings is the singer's own pitch where it is the same sentence; else the song's melody wherever
        the speaker is voiced.
        """
        speech = warped(self.images(batch["speech"]), batch["map"])
        spoken, sung = warped(batch["speech_hertz"], batch["map"], nearest=True), batch["voice_hertz"]
        melody = torch.where(spoken > 0, filled(sung), 0.0)
        return {
            "speech": speech, "voice": self.images(batch["voice"]), "backing": self.images(batch["backing"]), "spoken": spoken,
            "sung": sung, "wanted": torch.where(batch["paired"][:, None], sung, melody),
        }  # fmt: skip

    def forward(self, phase: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses of one side; `batch` as of the draws "speech", with a batch's axis first.

        Returns
        -------
        losses : named by what they are and whose: "_voice" is the generator or discriminator of sung voices, "_speech" that of speech.
            Those of weight 0 are left out.
        """
        shown = self.shown(batch)
        return self._generators(shown, batch["paired"]) if phase == "generator" else self._discriminators(shown, batch["backed"])

    def _discriminators(self, shown: dict[str, Tensor], backed: Tensor) -> dict[str, Tensor]:
        speech, voice, backing = shown["speech"], shown["voice"], shown["backing"]
        with torch.no_grad():
            sung = self.to_voice(speech, shown["wanted"], self.combs, backing)
            spoken = self.to_speech(voice, shown["spoken"], self.combs)
            if not self.judge_voice.fitted:
                self.judge_voice.fit(torch.cat((voice, backing), 1))
                self.judge_speech.fit(speech)
        both = {
            "voice": (self.judge_voice, torch.cat((voice, backing), 1), torch.cat((sung, backing), 1)),
            "speech": (self.judge_speech, speech, spoken),
        }
        losses, seen = {}, {}
        for place, (side, (judge, real, made)) in enumerate(both.items()):
            resting = bool(self.running[place] < self.config.gate)
            high, low = judge(torch.cat((real, made))).chunk(2)
            loss = self._told(high, low)
            if side == "voice" and self.config.swapped and int(backed.sum()) > 1:
                others = judge(torch.cat((voice[backed], backing[backed].roll(1, 0)), 1))
                other_loss = self.config.swapped * self._as(others, 0.0)
                losses["swapped_voice"] = other_loss.detach() if resting else other_loss
                seen["fit_voice"] = (high[backed].mean(1) > others.mean(1)).float().mean().detach()
            losses[f"discriminator_{side}"] = loss.detach() if resting else loss
            with torch.no_grad():
                self.running[place].mul_(_MEMORY).add_((1 - _MEMORY) * loss.detach().float())
                middle = 0.5 if self.config.loss == "least_squares" else 0.0
                seen |= {
                    f"right_real_{side}": (high > middle).float().mean(), f"right_made_{side}": (low < middle).float().mean(),
                    f"gap_{side}": high.mean() - low.mean(), f"learning_{side}": torch.tensor(float(not resting)),
                }  # fmt: skip
        if not any(loss.requires_grad for loss in losses.values()):
            # Both rest: a gradient of nothing for one number, that the loop has something to go back along; all others have none.
            losses["discriminator_voice"] = losses["discriminator_voice"] + 0 * self.phases()["discriminator"][0].sum()
        self._seen = {"gap": (seen["gap_voice"] + seen["gap_speech"]) / 2, **seen}
        return losses

    def _as(self, score: Tensor, wanted: float) -> Tensor:
        """Measure how far scores are from saying "real" (1) or "made" (0)."""
        if self.config.loss == "least_squares":
            return (score - wanted).square().mean()
        return functional.softplus(-score if wanted else score).mean()

    def _told(self, real: Tensor, made: Tensor) -> Tensor:
        """Compute a discriminator's loss, half of the sum over real and made."""
        return (self._as(real, 1.0) + self._as(made, 0.0)) / 2

    def _generators(self, shown: dict[str, Tensor], paired: Tensor) -> dict[str, Tensor]:
        config, combs = self.config, self.combs
        speech, voice, backing = shown["speech"], shown["voice"], shown["backing"]
        count = len(speech)
        # What goes through the same net goes through it at once.
        for_voice = [(speech, shown["wanted"])] + ([(voice, shown["sung"])] if config.identity else [])
        for_speech = [(voice, shown["spoken"])] + ([(speech, shown["spoken"])] if config.identity else [])
        images, hertz = (torch.cat(parts) for parts in zip(*for_voice, strict=True))
        made = self.to_voice(images, hertz, combs, torch.cat([backing] * len(for_voice)))
        sung, same_voice = made[:count], made[count:]
        images, hertz = (torch.cat(parts) for parts in zip(*for_speech, strict=True))
        made = self.to_speech(images, hertz, combs)
        spoken, same_speech = made[:count], made[count:]
        losses: dict[str, Tensor] = {}
        if config.adversarial:
            with frozen(self.phases()["discriminator"]):
                losses["adversarial_voice"] = config.adversarial * self._as(self.judge_voice(torch.cat((sung, backing), 1)), 1.0)
                losses["adversarial_speech"] = config.adversarial * self._as(self.judge_speech(spoken), 1.0)
        if config.cycle:
            # The second half of a cycle is asked for the pitch that the first half began with.
            losses["cycle_voice"] = config.cycle * _distance(self.to_voice(spoken, shown["sung"], combs, backing), voice)
            losses["cycle_speech"] = config.cycle * _distance(self.to_speech(sung, shown["spoken"], combs), speech)
        if config.identity:
            losses["identity_voice"] = config.identity * _distance(same_voice, voice)
            losses["identity_speech"] = config.identity * _distance(same_speech, speech)
        if config.paired:
            share = paired.float().mean()
            for side, made, true in (("voice", sung, voice), ("speech", spoken, speech)):
                apart = (made - true).abs().mean((1, 2)) * paired
                losses[f"paired_{side}"] = config.paired * share * apart.sum() / paired.sum().clamp(min=1)
        if config.f0 or config.voicing:
            with torch.autocast(speech.device.type, enabled=False):
                for side, made, wanted in (("voice", sung, shown["wanted"]), ("speech", spoken, shown["spoken"])):
                    pitch, voicing = combs.losses(made, wanted)
                    losses |= {f"f0_{side}": config.f0 * pitch, f"voicing_{side}": config.voicing * voicing}
        return {name: loss for name, loss in losses.items() if getattr(config, name.split("_")[0])}

    def watch(self) -> dict[str, Tensor]:
        """Say what the discriminators last saw, once.

        Returns
        -------
        figures : for each side "right_real", "right_made", shares that it told right, "gap" between mean scores, "learning", whether it
            was updated; "fit_voice", the share of voices that it scored higher with their own band than with another song's.
        """
        seen, self._seen = self._seen, {}
        return seen

    def _batch(self, held: dict) -> dict[str, Tensor]:
        """Make a batch of one of a held-out sentence."""
        return {name: torch.as_tensor(value, device=self.device)[None] for name, value in held.items() if not isinstance(value, str)}

    @torch.no_grad()
    def score(self, batch: dict) -> dict[str, float]:
        """Sing one held-out sentence as it was sung by the person who spoke it, and score that: numpy arrays as of the draws.

        Returns
        -------
        scores : "db", the mean distance of images in decibels from the true one, where that sounds; "gain", how much nearer that is than
            the speech itself; "pitch", the share of voiced frames whose YIN pitch, measured on the waveform, is within 50 cents; "voicing",
            cross-entropy in nats; "back", as "db" for the way from singing to speech; "mean" = 10 pitch - db.
        """
        shown = self.shown(self._batch(batch))
        voice, speech = shown["voice"], shown["speech"]
        sung = self.convert(speech, shown["wanted"], shown["backing"])
        spoken = self.convert(voice, shown["spoken"], reverse=True)
        sounding = (voice.amax(1) > -0.5)[0]
        scale = -10 * np.log10(self.config.floor)
        away, before, back = (
            float((one - other)[0, :, sounding].abs().mean()) * scale if sounding.any() else 0.0
            for one, other in ((sung, voice), (speech, voice), (spoken, speech))
        )
        wave = self.waveforms(sung, "fast_griffinlim", 8)[0].cpu().numpy()
        share = pitch_accuracy(wave, self.config.rate, self.config.hop, batch["voice_hertz"])
        return {
            "mean": 10 * share - away, "db": away, "gain": before - away, "pitch": share, "back": back,
            "voicing": float(self.combs.losses(sung, shown["wanted"])[1]),
        }  # fmt: skip

    @torch.no_grad()
    def preview(self, batch: dict) -> list[Artifact]:
        """Let one held-out sentence be seen, where matplotlib is installed, and heard: spoken, made sung, really sung, made spoken."""
        shown = self.shown(self._batch(batch))
        made = {
            "speech": shown["speech"], "sung (made)": self.convert(shown["speech"], shown["wanted"], shown["backing"]),
            "sung (true)": shown["voice"], "spoken (made)": self.convert(shown["voice"], shown["spoken"], reverse=True),
        }  # fmt: skip
        waves = self.waveforms(torch.cat(list(made.values()))).cpu().numpy()
        return sing_pictures.previews(self.config, {name: image[0].cpu().numpy() for name, image in made.items()}, waves, batch["name"])

    def curves(self, rows: list[dict]) -> list[Artifact]:
        """Show the losses of the four nets, term by term, and how the game goes, from the log's rows."""
        return sing_pictures.curves(rows)


def pitch_accuracy(wave: np.ndarray, rate: int, hop: int, wanted: np.ndarray) -> float:
    """Measure in which share of the voiced frames, Hz (frames,) of `hop` samples, YIN hears a pitch within 50 cents; 0 for no frames."""
    # YIN looks at three of its longest periods at once: it begins so far before the centre of a spectrum's frame.
    longest = int(np.ceil(rate / _LOW)) + 2
    found = yin(np.pad(wave, (max(0, 3 * longest // 2 - hop // 2), 3 * longest)), rate, _LOW, _HIGH, hop=hop)
    count = min(len(found), len(wanted))
    voiced = wanted[:count] > 0
    if not voiced.any():
        return 0.0
    with np.errstate(invalid="ignore"):
        cents = np.abs(1200 * np.log2(found[:count][voiced] / wanted[:count][voiced]))
    return float(np.mean(cents <= 50))


def _distance(made: Tensor, true: Tensor) -> Tensor:
    return (made - true).abs().mean()


SYSTEM = Sing
