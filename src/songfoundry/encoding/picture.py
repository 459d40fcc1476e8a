"""Draw sounds as spectrograms below each other, at one scale."""

import os
from collections.abc import Sequence

import numpy as np

from songfoundry.metrics.audio import TOP_DB, mel_image
from songfoundry.playing import figures

__all__ = ["MOST_SECONDS", "draw"]

MOST_SECONDS = 30.0
"""What is shown of a sound."""


def draw(
    sounds: Sequence[tuple[str, np.ndarray]], rate: int, path: str | os.PathLike | None = None, start: int = 0, before: int = 0
) -> bytes:
    """Draw (title, float (samples,)) each as a log-mel image, 80 dB down from the first one's peak, and give the PNG's bytes.

    Parameters
    ----------
    path : the file to write; None to return the picture alone. start : first sample that is shown, of `MOST_SECONDS`.
    before : samples of the file before these, for the scale of time.

    Raises
    ------
    MissingExtraError : matplotlib is not installed. OutputError : the file cannot be written.
    """
    figure = figures.blank("spectrograms", "train", figsize=(9, 2.3 * len(sounds) + 0.4), dpi=100, layout="constrained")
    panels = figure.subplots(len(sounds), 1, sharex=True, squeeze=False)[:, 0]
    peak = None
    for panel, (title, samples) in zip(panels, sounds, strict=True):
        shown = samples[start : start + round(MOST_SECONDS * rate)]
        image, found = mel_image(shown, rate, peak)
        peak = found if peak is None else peak
        seconds = (before + start) / rate
        extent = (seconds, seconds + len(shown) / rate, 0, len(image))
        drawn = panel.imshow((image - 1) * TOP_DB, origin="lower", aspect="auto", vmin=-TOP_DB, vmax=0, cmap="magma", extent=extent)
        panel.set_title(title, fontsize=8)
        panel.set_ylabel("mel band", fontsize=7)
        panel.tick_params(labelsize=7)
    panels[-1].set_xlabel("seconds", fontsize=7)
    figure.colorbar(drawn, ax=panels, label="dB")
    return figures.save(figure, path)
