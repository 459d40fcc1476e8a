"""Draw what was sung over a piano roll: F0 of the speech, of the target and of the result; names of notes, boundaries of words."""

import os
from collections.abc import Sequence

import numpy as np

from songfoundry.playing import figures
from songfoundry.timbre.pitches import pitch_name
from songfoundry.voice.tune import Curve, TuneNote

__all__ = ["MOST_SECONDS", "draw"]

MOST_SECONDS = 30.0
"""What is shown, from the first note on."""
_BLACK = (1, 3, 6, 8, 10)
_COLOURS = {"speech": "#8a8a8a", "target": "#d9822b", "sung": "#3b6ea5"}
"""Grey, orange and blue: told apart by people who do not see red or green."""
_MOST_NAMES = 80


def draw(
    curves: dict[str, Curve], notes: Sequence[TuneNote] = (), words: Sequence[tuple[float, float]] = (),
    path: str | os.PathLike | None = None, *, title: str = "",
) -> bytes:  # fmt: skip
    """Draw curves by their names, of `speech`, `target` and `sung` those that there are, and give the PNG's bytes.

    Parameters
    ----------
    notes : the tune. words : (first, last) seconds. path : the file to write; None to return the picture alone.

    Raises
    ------
    MissingExtraError : matplotlib is not installed. OutputError : the file cannot be written.
    """
    begin = max(0.0, (notes[0].start if notes else _first(curves["target"])) - 0.5)
    longest = max([curve.seconds for curve in curves.values()] + [note.end for note in notes[-1:]])
    end = min(begin + MOST_SECONDS, max(longest, begin + 1.0))
    lines = {name: _line(curve, 0.0 if name == "speech" else begin, end - begin) for name, curve in curves.items()}
    shown = [note for note in notes if note.start < end and note.end > begin]
    heights = np.concatenate([pitch[np.isfinite(pitch)] for _, pitch in lines.values()] + [[note.pitch for note in shown]])
    low, high = (np.floor(heights.min()) - 2, np.ceil(heights.max()) + 2) if len(heights) else (57, 72)
    size = float(np.clip(3 + 0.55 * (end - begin), 8, 20)), float(np.clip(0.16 * (high - low), 4, 9))
    figure = figures.blank("a melody", "sing", figsize=size, dpi=110, layout="constrained")
    axis = figure.subplots()
    for row in range(int(low), int(high) + 1):
        if row % 12 in _BLACK:
            axis.axhspan(row - 0.5, row + 0.5, color="#f0f0f0", linewidth=0, zorder=0)
    for note in shown:
        axis.broken_barh([(note.start, note.end - note.start)], (note.pitch - 0.42, 0.84), facecolors="#f6d9b8", edgecolors="#d9822b",
                         linewidth=0.6, zorder=1)  # fmt: skip
        if len(shown) <= _MOST_NAMES:
            axis.text(note.start, note.pitch + 0.5, pitch_name(int(round(note.pitch))), fontsize=6, va="bottom", zorder=4)
    for number, word in enumerate(word for word in words if begin <= word[0] < end):
        label = "words" if number == 0 else None
        axis.axvline(word[0], color="#5b8c5a", linewidth=0.8, linestyle=":", zorder=1, label=label)
    for name, (clock, pitch) in lines.items():
        moved = clock + begin if name == "speech" else clock
        axis.plot(moved, pitch, color=_COLOURS.get(name, "black"), linewidth=2.4 if name == "target" else 1.2, label=f"F0, {name}",
                  alpha=0.6 if name == "target" else 1.0, zorder=2 if name == "target" else 3)  # fmt: skip
    ticks = [row for row in range(int(low), int(high) + 1) if row % 12 in (0, 4, 7, 9)]
    axis.set_yticks(ticks, [pitch_name(row) for row in ticks], fontsize=7)
    axis.set_ylim(low, high)
    axis.set_xlim(begin, end)
    axis.set_xlabel("seconds", fontsize=8)
    axis.tick_params(labelsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    figure.legend(loc="outside upper right", ncols=4, fontsize=7, frameon=False)
    if title:
        figure.suptitle(title, fontsize=9, x=0.02, ha="left")
    return figures.save(figure, path)


def _first(curve: Curve) -> float:
    """Say when a curve is first voiced."""
    places = np.flatnonzero(curve.hertz > 0)
    return float(places[0] * curve.period) if len(places) else 0.0


def _line(curve: Curve, first: float, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Give times and MIDI numbers of what is shown of a curve, NaN where unvoiced."""
    low, high = (round(time / curve.period) for time in (first, first + seconds))
    hertz = np.asarray(curve.hertz[low:high], np.float64)
    pitch = np.where(hertz > 0, 69 + 12 * np.log2(np.maximum(hertz, 1e-3) / 440), np.nan)
    return (low + np.arange(len(hertz))) * curve.period, pitch
