"""Draw notes as a contact sheet of spectrograms."""

import math
import os
from collections.abc import Sequence

import numpy as np
import torch

from songfoundry.errors import InputError
from songfoundry.playing import figures
from songfoundry.spectral import LogMel
from songfoundry.timbre.generator import GeneratedNote
from songfoundry.timbre.pitches import pitch_name

__all__ = ["MOST", "sheet"]

MOST = 96
"""Notes that a sheet shows; of more, so many evenly chosen."""
_SECONDS = 4.0
"""What is shown of a long note."""
_MELS = 128


def sheet(notes: Sequence[GeneratedNote], path: str | os.PathLike | None = None, *, title: str = "") -> bytes:
    """Draw notes as a PNG: one panel a note, mel-scaled frequency up, time to the right, 60 dB from its own peak from bright to dark.

    Args:
        notes: at least one.
        path: the file to write; None to return the picture alone.
        title: a line above it.

    Returns:
        the PNG's bytes.

    Raises:
        InputError: there are no notes.
        OutputError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    if not notes:
        raise InputError("expected notes to draw, found none: make some first")
    chosen = [notes[round(n)] for n in np.linspace(0, len(notes) - 1, min(MOST, len(notes)))]
    columns = min(len(chosen), max(4, math.ceil(math.sqrt(1.6 * len(chosen)))))
    rows = math.ceil(len(chosen) / columns)
    figure = figures.blank("spectrograms", figsize=(1.75 * columns + 0.6, 1.9 * rows + 0.5), dpi=100, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    fronts: dict[int, LogMel] = {}
    for panel, note in zip(panels.flat, chosen, strict=False):
        if note.rate not in fronts:
            # The same resolution in Hz at every rate.
            size = 1 << round(math.log2(note.rate * 0.064))
            fronts[note.rate] = LogMel(note.rate, size, size // 8, _MELS, high=min(8000.0, note.rate / 2))
        _panel(panel, note, fronts[note.rate])
    for panel in panels.flat[len(chosen) :]:
        panel.set_axis_off()
    if len(chosen) < len(notes):
        title = f"{title} ({len(chosen)} of {len(notes)} notes)".strip()
    if title:
        figure.suptitle(title, fontsize=10)
    return figures.save(figure, path)


def _panel(panel, note: GeneratedNote, front: LogMel) -> None:
    """Draw one note."""
    samples = note.samples[: round(_SECONDS * note.rate)]
    with torch.no_grad():
        image = front(torch.from_numpy(samples)[None])[0, 0].numpy()
    seconds = len(samples) / note.rate
    panel.imshow(image, origin="lower", aspect="auto", vmin=-1, vmax=1, cmap="magma", extent=(0, seconds, 0, _MELS))
    cents = "" if note.cents is None else f" {note.cents:+.0f}"
    panel.set_title(f"{note.timbre.name} {pitch_name(note.pitch, '♯')}{cents}", fontsize=7)
    centres = front.centres.numpy()
    marks = [hertz for hertz in (250, 1000, 4000) if hertz < centres[-1]]
    panel.set_yticks(np.searchsorted(centres, marks), [f"{hertz / 1000:g}k" for hertz in marks], fontsize=5)
    panel.set_xticks([0, round(seconds, 1)], [0, f"{seconds:.1f} s"], fontsize=5)
    panel.tick_params(length=2, pad=1)
