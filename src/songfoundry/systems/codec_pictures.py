"""Show how the training of a codec goes: images beside each other, sounds, curves, a table of epochs."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np

from songfoundry.audio.io import Clip
from songfoundry.systems import Artifact

__all__ = ["curves", "previews"]


Shown = tuple[dict, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""A sound; its image float (mels, frames) as it was and as it came back; waveforms (samples,) of either image."""


def previews(config, shown: Sequence[Shown]) -> list[Artifact]:
    """Show held-out sounds: the first in two pictures, all to hear, `audio_reconstructed_N` after `audio_original_N`."""
    sounds = []
    for number, (sound, _, _, _, back) in enumerate(shown, 1):
        sounds.append(Artifact(f"audio_original_{number}", "wav", _clip(sound["waveform"], config.rate)))
        sounds.append(Artifact(f"audio_reconstructed_{number}", "wav", _clip(back, config.rate)))
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return sounds
    sound, true, made, ceiling, back = shown[0]
    decibels = -20 * np.log10(config.floor)
    seconds = true.shape[1] * config.hop / config.rate
    figure = Figure(figsize=(8, 7), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, sharey=True)
    for panel, values, title in zip(panels, (true, made, (made - true) / 2 * decibels), ("true", "decoded", "error, dB"), strict=True):
        limits = {"vmin": -20, "vmax": 20, "cmap": "RdBu"} if "error" in title else {"vmin": -1, "vmax": 1}
        drawn = panel.imshow(values, origin="lower", aspect="auto", extent=(0, seconds, 0, len(values)), **limits)
        panel.set(title=title, ylabel="mel band")
        figure.colorbar(drawn, ax=panel)
    panels[-1].set_xlabel("seconds")
    figure.suptitle(sound["name"], fontsize=10)
    comparison = Artifact("spectrogram_comparison", "png", _png(figure))

    figure = Figure(figsize=(8, 7), layout="constrained")
    titles = ("true", "true image, phase found again", "decoded image, phase found again")
    for panel, values, title in zip(figure.subplots(3, 1), (sound["waveform"], ceiling, back), titles, strict=True):
        panel.plot(np.arange(len(values)) / config.rate, values, linewidth=0.4)
        panel.set(title=title, ylim=(-1, 1), ylabel="full scale", xlabel="seconds")
    figure.suptitle(sound["name"], fontsize=10)
    return [comparison, Artifact("inference_comparison", "png", _png(figure)), *sounds]


def curves(config, rows: list[dict], batch: int) -> list[Artifact]:
    """Show rows of a log: losses and scores over steps in one picture, and a table of epochs, those of `config.clips` examples.

    Parameters
    ----------
    batch : examples of a step, over which the table counts epochs; where every clip is a new one, a line of it is a score.
    """
    table = Artifact("epochs", "csv", _epochs(config.clips, rows, batch).encode())
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return [table]
    figure = Figure(figsize=(8, 7), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for panel, kind, wanted in ((panels[0], "loss", None), (panels[1], "score", ("db", "mse", "beside mean frame"))):
        for key in sorted({key for row in rows for key in row.get(kind, {}) if wanted is None or key in wanted}):
            points = [(row["step"], row[kind][key]) for row in rows if key in row.get(kind, {})]
            panel.plot(*zip(*points, strict=True), label=key, linewidth=1, marker="." if kind == "score" else None)
        panel.set(ylabel={"loss": "loss, weighted", "score": "held-out sounds: lower is better"}[kind], yscale="log")
        panel.grid(alpha=0.3)
        if panel.lines:
            panel.legend(fontsize=8)
    panels[1].set_xlabel("step")
    return [Artifact("training_curves", "png", _png(figure)), table]


def _epochs(clips: int, rows: list[dict], batch: int) -> str:
    """Write a line for each epoch: its last step, the means of the losses in it, its last scores."""
    losses = sorted({key for row in rows for key in row.get("loss", {})})
    scores = sorted({key for row in rows for key in row.get("score", {})})
    groups: dict[int, list[dict]] = {}
    scored = 0
    for row in rows:
        # A row tells of the steps up to it.
        epoch = (row["step"] * batch - 1) // clips + 1 if clips and batch else scored + 1
        groups.setdefault(epoch, []).append(row)
        scored += "score" in row
    lines = [",".join(["epoch", "last step", *(f"loss {key}" for key in losses), *(f"score {key}" for key in scores)])]
    for epoch, found in groups.items():
        cells = [str(epoch), str(found[-1]["step"])]
        for key in losses:
            values = [row["loss"][key] for row in found if key in row.get("loss", {})]
            cells.append(f"{np.mean(values):.6g}" if values else "")
        for key in scores:
            values = [row["score"][key] for row in found if key in row.get("score", {})]
            cells.append(f"{values[-1]:.6g}" if values else "")
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def _clip(waveform: np.ndarray, rate: int) -> Clip:
    return Clip(np.asarray(waveform, np.float32)[None].clip(-1, 1), rate)


def _png(figure) -> bytes:
    picture = BytesIO()
    figure.savefig(picture, dpi=100, format="png")
    return picture.getvalue()
