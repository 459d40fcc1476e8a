"""Show how the training of a singer goes: images beside each other, sounds, the losses of four nets."""

from io import BytesIO

import numpy as np

from songfoundry.audio.io import Clip
from songfoundry.systems import Artifact

__all__ = ["NETS", "curves", "previews"]

NETS = {
    "generator that sings": ("adversarial_voice", "cycle_voice", "identity_voice", "paired_voice", "f0_voice", "voicing_voice"),
    "generator that speaks": ("adversarial_speech", "cycle_speech", "identity_speech", "paired_speech", "f0_speech", "voicing_speech"),
    "discriminator of singing": ("discriminator_voice", "swapped_voice"),
    "discriminator of speech": ("discriminator_speech",),
}
"""The four nets and the losses of each."""
_GAME = {
    "discriminator of singing": ("right_real_voice", "right_made_voice", "fit_voice", "learning_voice"),
    "discriminator of speech": ("right_real_speech", "right_made_speech", "learning_speech"),
}


def previews(config, images: dict[str, np.ndarray], waves: np.ndarray, title: str) -> list[Artifact]:
    """Show images, float (mels, frames) by name, in one picture, and their waveforms, float (images, samples), to hear."""
    sounds = [
        Artifact("preview_" + name.replace(" ", "_").replace("(", "").replace(")", ""), "wav", Clip(wave[None].clip(-1, 1), config.rate))
        for name, wave in zip(images, waves.astype(np.float32), strict=True)
    ]
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return sounds
    figure = Figure(figsize=(8, 8), layout="constrained")
    for panel, (name, image) in zip(figure.subplots(len(images), 1, sharex=True), images.items(), strict=True):
        extent = (0, image.shape[1] * config.hop / config.rate, 0, len(image))
        panel.imshow(image, origin="lower", aspect="auto", vmin=-1, vmax=1, extent=extent)
        panel.set(title=name, ylabel="mel band")
    panel.set_xlabel("seconds")
    figure.suptitle(title, fontsize=10)
    return [Artifact("preview_images", "png", _png(figure)), *sounds]


def curves(rows: list[dict]) -> list[Artifact]:
    """Show rows of a log: of each of the four nets its losses over steps, in a picture and as a table, and how often judges are right."""
    found = [row for row in rows if "loss" in row]
    names = [name for own in NETS.values() for name in own if any(name in row["loss"] for row in found)]
    lines = [",".join(("step", *names))]
    lines += [",".join((str(row["step"]), *(f"{row['loss'][name]:.6g}" if name in row["loss"] else "" for name in names))) for row in found]
    table = Artifact("four_networks", "csv", ("\n".join(lines) + "\n").encode())
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return [table]
    figure = Figure(figsize=(10, 11), layout="constrained")
    panels = figure.subplots(3, 2, sharex=True)
    shown = [(title, "loss", own) for title, own in NETS.items()]
    shown += [(f"{title}: how often right", "game", own) for title, own in _GAME.items()]
    for panel, (title, kind, own) in zip(panels.flat, shown, strict=True):
        for name in own:
            points = [(row["step"], row[kind][name]) for row in rows if name in row.get(kind, {})]
            if points:
                panel.plot(*zip(*points, strict=True), label=name.rsplit("_", 1)[0].replace("_", " "), linewidth=1)
        panel.set_title(title, fontsize=9)
        panel.grid(alpha=0.3)
        panel.set(**({"yscale": "log", "ylabel": "loss, weighted"} if kind == "loss" else {"ylim": (-0.02, 1.02), "xlabel": "step"}))
        if panel.lines:
            panel.legend(fontsize=7)
    return [Artifact("four_networks", "png", _png(figure)), table]


def _png(figure) -> bytes:
    picture = BytesIO()
    figure.savefig(picture, dpi=90, format="png")
    return picture.getvalue()
