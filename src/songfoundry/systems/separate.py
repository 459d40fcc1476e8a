"""Separate a mixture into stems: front end, a net by name, losses and the separation of long signals."""

from io import BytesIO

import numpy as np
import torch
from torch import Tensor, nn

from songfoundry import registry
from songfoundry.audio.io import Clip
from songfoundry.audio.overlap import overlap_add
from songfoundry.config import Config
from songfoundry.metrics import separation as metrics
from songfoundry.spectral import Stft
from songfoundry.systems import Artifact

__all__ = ["SYSTEM", "Separate", "SeparateConfig"]


class SeparateConfig(Config):
    """Say what the system is: net by name and preset, front end, stems.

    `net_options` override single values of the preset; `chunk_seconds` is what the net is asked to see at once
    when it separates a long signal; `residual` shares what the net gives to no stem among those it names.
    """

    name: str = "separate"
    net: str = "bsrnn"
    preset: str | None = "small"
    net_options: dict[str, int | float | str | bool | list] = {}
    stems: list[str] = ["vocals", "drums", "bass", "other"]
    channels: int = 2
    sample_rate: int = 44100
    n_fft: int = 4096
    hop_length: int = 1024
    chunk_seconds: float = 8.0
    wave_weight: float = 1.0
    residual: dict[str, float] = {}


class Separate(nn.Module):
    """Hold the front end and a net, and know how to train it, score it and separate with it.

    The waveform's scale is taken away before the net and given back after it, so that a soft recording
    and a loud one are separated alike.
    """

    Config = SeparateConfig

    def __init__(self, config: SeparateConfig):
        super().__init__()
        self.config = config
        self.stft = Stft(config.n_fft, config.hop_length)
        self.net = registry.build_net(
            "separate", config.net, config.preset, config.net_options,
            stems=len(config.stems), channels=config.channels, sample_rate=config.sample_rate, n_fft=config.n_fft,
        )  # fmt: skip

    @property
    def stems(self) -> list[str]:
        """Name the stems in the order of the output's axis."""
        return self.config.stems

    def phases(self) -> dict[str, list[nn.Parameter]]:
        """Name the sets of parameters that are updated in turn: one, "model"."""
        return {"model": list(self.net.parameters())}

    def estimate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems' spectra, (batch, channels, samples) -> (batch, stems, channels, 2, bins, frames).

        What the net gives to no stem goes to those that `config.residual` names, in these shares; where the shares add
        up to 1, so do the stems to the mixture (mixture consistency: Wisdom et al. 2019, "Differentiable consistency
        constraints for improved deep speech enhancement", eq. 12).
        """
        spectrum = self.stft(mixture)
        estimates = self.net(spectrum)
        if not self.config.residual:
            return estimates
        shares = estimates.new_tensor([self.config.residual.get(stem, 0.0) for stem in self.stems])
        unclaimed = spectrum[:, None] - estimates.sum(1, keepdim=True)
        return estimates + shares.view(1, -1, 1, 1, 1, 1) * unclaimed

    def separate(self, mixture: Tensor) -> Tensor:
        """Separate one chunk, all of it seen at once.

        Parameters
        ----------
        mixture : float (batch, channels, samples), full scale ±1, at `config.sample_rate` Hz.

        Returns
        -------
        stems : float (batch, stems, channels, samples), same scale.
        """
        scale = self._scale(mixture)
        spectra = self.estimate(mixture / scale)
        return self.stft.inverse(spectra.float(), mixture.shape[-1]) * scale[:, None]

    @staticmethod
    def _scale(mixture: Tensor) -> Tensor:
        """Measure the root mean square of each example, (batch, channels, samples) -> (batch, 1, 1)."""
        return mixture.square().mean((1, 2), keepdim=True).sqrt() + 1e-5

    def forward(self, phase: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses of a batch of true stems.

        Parameters
        ----------
        batch : "mixture" float (batch, channels, samples); "stems" float (batch, stems, channels, samples), whose sum it is
            (but for what a coder does to it); "two_stems" bool (batch,):
            only the first stem and the sum of the others are known; "band_limited" bool (batch,): nothing above 8 kHz.

        Returns
        -------
        losses : "spectrum", the root mean square error of the complex spectrum for each stem and second, averaged;
            "wave", the mean absolute error of the waveform. Both relative to the mixture's root mean square.
        """
        stems = batch["stems"]
        mixture = batch["mixture"]
        scale = self._scale(mixture)
        stems, mixture = stems / scale[:, None], mixture / scale
        estimates = self.estimate(mixture).float()
        truths = self.stft(stems)
        two = batch["two_stems"]
        if two.any():
            estimates, truths = _merge(estimates, two), _merge(truths, two)
            stems = _merge(stems, two)
        error = estimates - truths
        limit = int(7500 / self.config.sample_rate * self.config.n_fft)
        squares = error.square().sum((2, 3))  # (batch, stems, bins, frames)
        low = squares[:, :, :limit].sum(2)
        high = squares[:, :, limit:].sum(2) * (~batch["band_limited"])[:, None, None]
        per_frame = low + high
        second = max(1, round(self.config.sample_rate / self.config.hop_length))
        whole = per_frame.shape[-1] // second * second
        per_second = per_frame[..., :whole].unflatten(-1, (-1, second)) if whole else per_frame[..., None, :]
        # Orthonormal transform, 75 % overlap: the spectrum's energy a second is that of the waveform times n_fft / hop.
        energy = per_second.sum(-1) / (per_second.shape[-1] * self.config.n_fft * self.config.channels)
        losses = {"spectrum": (energy + 1e-7).sqrt().mean()}
        if self.config.wave_weight:
            waves = self.stft.inverse(estimates, stems.shape[-1])
            clear = (~batch["band_limited"]).float()[:, None, None, None]
            difference = (waves - stems).abs() * clear
            losses["wave"] = self.config.wave_weight * difference.mean() / clear.mean().clamp(min=1e-3)
        return losses

    @torch.no_grad()
    def score(self, batch: dict) -> dict[str, float]:
        """Score one validation song: v4 SDR (median over 1 s frames) of each stem that it has, in dB.

        `batch` holds "stems" float32 numpy (stems, channels, samples), "present" names and "two_stems".
        """
        truth = torch.from_numpy(batch["stems"])
        estimate = self.separate_long(truth.sum(0))
        if batch["two_stems"]:
            truth = torch.stack((truth[0], truth[1:].sum(0)))
            estimate = torch.stack((estimate[0], estimate[1:].sum(0)))
            names = ["vocals", "accompaniment"]
        else:
            names = self.stems
        present = [name in batch["present"] for name in names]
        scores, _ = metrics.sdr_v4(truth.numpy(), estimate.numpy(), self.config.sample_rate, drop="references", present=present)
        group = "two_stems." if batch["two_stems"] else ""
        return {f"{group}{name}.sdr": float(score) for name, score, there in zip(names, scores, present, strict=True) if there}

    @torch.no_grad()
    def preview(self, batch: dict) -> list[Artifact]:
        """Show the middle four seconds of a validation song: the estimated stems to listen to, mono, and beside the true ones
        as spectrograms, where matplotlib is installed.

        `batch` is a song as for `score`.
        """
        rate, length = self.config.sample_rate, batch["stems"].shape[-1]
        start = max(0, length // 2 - 2 * rate)
        truth = torch.from_numpy(batch["stems"][..., start : start + 4 * rate].copy())
        estimate = self.separate_long(truth.sum(0))
        mono = estimate.mean(1).numpy()
        mono = mono / max(1.0, float(np.abs(mono).max(initial=0)))
        sounds = [Artifact(f"preview-{name}", "wav", Clip(stem[None], rate)) for name, stem in zip(self.stems, mono, strict=True)]
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return sounds
        figure = Figure(figsize=(9, 1.6 * len(self.stems)), layout="constrained")
        panels = figure.subplots(len(self.stems), 2, sharex=True, sharey=True, squeeze=False)
        for row, name in enumerate(self.stems):
            for panel, stem, what in zip(panels[row], (truth[row], estimate[row]), ("true", "estimated"), strict=True):
                power = self.stft(stem[None].to(self.stft.window.device)).square().sum((0, 1, 2)).cpu().numpy()
                hertz = (0, rate / 2000)
                panel.imshow(10 * np.log10(power + 1e-6), origin="lower", aspect="auto", vmin=-30, vmax=40,
                             extent=(0, stem.shape[-1] / rate, *hertz))  # fmt: skip
                panel.set_title(f"{what} {name}", fontsize=8)
                panel.set_ylim(0, min(8.0, hertz[1]))
        figure.supxlabel("s", fontsize=8)
        figure.supylabel("kHz", fontsize=8)
        picture = BytesIO()
        figure.savefig(picture, dpi=80, format="png")
        return [Artifact("preview-spectrograms", "png", picture.getvalue()), *sounds]

    @torch.no_grad()
    def separate_long(self, mixture: Tensor, overlap: float = 0.25) -> Tensor:
        """Separate a signal that fits into memory in cross-faded chunks, (channels, samples) -> (stems, channels, samples)."""
        chunk = round(self.config.chunk_seconds * self.config.sample_rate)
        device = self.stft.window.device

        def process(piece: np.ndarray) -> np.ndarray:
            return self.separate(torch.from_numpy(piece)[None].to(device))[0].float().cpu().numpy()

        blocks = overlap_add([mixture.float().cpu().numpy()], chunk=chunk, hop=chunk - round(chunk * overlap), process=process)
        return torch.from_numpy(np.concatenate(list(blocks), axis=-1))


def _merge(stems: Tensor, two: Tensor) -> Tensor:
    """Put the sum of all stems but the first into the last, zero between, for the examples that `two` marks."""
    merged = torch.zeros_like(stems)
    merged[:, 0], merged[:, -1] = stems[:, 0], stems[:, 1:].sum(1)
    return torch.where(two.view(-1, *[1] * (stems.ndim - 1)), merged, stems)


SYSTEM = Separate
