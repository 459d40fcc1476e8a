"""Draw a piece as a piano roll: prompt and continuation in two colours, bar lines, names of pitches, drums by their names."""

import math
import os

import numpy as np

from songfoundry.errors import InputError
from songfoundry.notes.arranging import bars as bars_of
from songfoundry.playing import figures

__all__ = ["picture"]

_PROMPT, _NEW = "#3b6ea5", "#d9822b"
"""Blue and orange: told apart by people who do not see red or green, and in print by lightness."""
_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
_BLACK = (1, 3, 6, 8, 10)
_MOST_TRACKS = 16
"""Tracks that get a panel of their own; those with the fewest notes share the last one beyond it."""
_MOST_BARS = 96
"""Bars for which a line is drawn; in longer pieces only every second, fourth ... has one."""
_TOO_MANY_BARS = 20_000
_TALLEST = 36.0
"""Inches."""
_DRUMS = {
    35: "kick 2", 36: "kick", 37: "side stick", 38: "snare", 39: "clap", 40: "snare 2", 41: "low tom 2", 42: "closed hat", 43: "low tom",
    44: "pedal hat", 45: "mid tom 2", 46: "open hat", 47: "mid tom", 48: "high tom 2", 49: "crash", 50: "high tom", 51: "ride", 52: "china",
    53: "ride bell", 54: "tambourine", 55: "splash", 56: "cowbell", 57: "crash 2", 58: "vibraslap", 59: "ride 2", 60: "high bongo",
    61: "low bongo", 62: "muted conga", 63: "high conga", 64: "low conga", 65: "high timbale", 66: "low timbale", 67: "high agogô",
    68: "low agogô", 69: "cabasa", 70: "maracas", 71: "short whistle", 72: "long whistle", 73: "short guiro", 74: "long guiro",
    75: "claves", 76: "high block", 77: "low block", 78: "muted cuica", 79: "cuica", 80: "muted triangle", 81: "triangle",
}  # fmt: skip


def picture(score, split_tick: int | None = None, path: str | os.PathLike | None = None, *, title: str = "") -> bytes:
    """Draw a score as a PNG.

    One panel a track, pitched ones first; time runs in bars. Loud notes are drawn stronger than soft ones.

    Args:
        score: a ``symusic.Score`` in ticks.
        split_tick: where the continuation begins; None where there is none.
        path: the file to write; None to return the picture alone.
        title: a line above it.

    Returns:
        the PNG's bytes.

    Raises:
        InputError: the score has no notes.
        OutputError: the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    tracks = _panels(score)
    last = max(int((columns["time"] + columns["duration"]).max()) for _, _, columns in tracks)
    bars = [(bar.tick, f"{bar.numerator}/{bar.denominator}") for bar in _bars(score, last)]
    rows = [_rows(drum, columns["pitch"]) for _, drum, columns in tracks]
    heights = [0.45 + 0.085 * max(8, len(row)) for row in rows]
    shrink = min(1.0, _TALLEST / sum(heights))
    width = float(np.clip(2.2 + 0.85 * len(bars), 7, 26))
    figure = figures.blank("a piano roll", figsize=(width, shrink * sum(heights) + 0.9), dpi=110, layout="constrained")
    axes = figure.subplots(len(tracks), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (name, drum, columns), row in zip(axes, tracks, rows, strict=True):
        _panel(axis, name, drum, columns, row, split_tick, last)
        _bar_lines(axis, bars)
        axis.set_xlim(bars[0][0], max(last, bars[-1][0]))
    _number_bars(axes, bars)
    _explain(figure, split_tick, last, title)
    return figures.save(figure, path)


def _panels(score) -> list[tuple[str, bool, dict[str, np.ndarray]]]:
    """List (name, is drum, columns of its notes) for each panel."""
    found = []
    for number, track in enumerate(score.tracks, 1):
        if len(track.notes):
            name = " ".join(track.name.split())[:28] or ("Drums" if track.is_drum else f"Track {number}")
            program = "" if track.is_drum else f" ({track.program})"
            found.append((name + program, bool(track.is_drum), track.notes.numpy()))
    if not found:
        raise InputError("expected notes to draw, found none: check that it is the right file")
    found.sort(key=lambda panel: panel[1])
    if len(found) <= _MOST_TRACKS:
        return found
    kept = sorted(range(len(found)), key=lambda i: -len(found[i][2]["time"]))[: _MOST_TRACKS - 1]
    rest = [panel for i, panel in enumerate(found) if i not in kept and not panel[1]]
    panels = [panel for i, panel in enumerate(found) if i in kept]
    if rest:
        joined = {key: np.concatenate([columns[key] for _, _, columns in rest]) for key in ("time", "duration", "pitch", "velocity")}
        panels.insert(sum(not drum for _, drum, _ in panels), (f"{len(rest)} more tracks", False, joined))
    return panels


def _bars(score, last: int):
    """List the bars, every second (fourth, ...) one of a long piece."""
    metres = [(event.numerator, event.denominator) for event in score.time_signatures] or [(4, 4)]
    shortest = min(score.ticks_per_quarter * 4 * above / below for above, below in metres)
    if last / shortest > _TOO_MANY_BARS:
        raise InputError(f"expected at most {_TOO_MANY_BARS:,} bars to draw, found about {last / shortest:,.0f}: cut the piece")
    every = bars_of(score, last + 1)
    step = 1
    while len(every) / step > _MOST_BARS:
        step *= 2
    return every[::step]


def _rows(drum: bool, pitches: np.ndarray) -> list[int]:
    """Choose the pitches of a panel from low to high: the drums that are struck; else all between the lowest and the highest."""
    if drum:
        return sorted(set(pitches.tolist()))
    low, high = int(pitches.min()), int(pitches.max())
    centre, reach = (low + high) / 2, max(6, (high - low) / 2 + 1)
    return list(range(max(0, math.floor(centre - reach)), min(127, math.ceil(centre + reach)) + 1))


def _panel(axis, name: str, drum: bool, columns: dict[str, np.ndarray], rows: list[int], split: int | None, last: int) -> None:
    """Draw the notes of one track."""
    from matplotlib.collections import PolyCollection

    place = {pitch: index for index, pitch in enumerate(rows)}
    start, length = columns["time"].astype(float), columns["duration"].astype(float)
    if drum:
        # The length of a stroke means nothing; what is drawn can be seen.
        length = np.full_like(start, max(1.0, last / 250))
    length = np.maximum(length, last / 2000)
    low = np.array([place[pitch] for pitch in columns["pitch"].tolist()]) - 0.42
    corners = np.stack([np.stack([start, low], 1), np.stack([start + length, low], 1),
                        np.stack([start + length, low + 0.84], 1), np.stack([start, low + 0.84], 1)], 1)  # fmt: skip
    new = np.zeros(len(start), bool) if split is None else columns["time"] >= split
    strength = 0.35 + 0.65 * columns["velocity"].astype(float) / 127
    for chosen, colour in ((~new, _PROMPT), (new, _NEW)):
        if chosen.any():
            axis.add_collection(PolyCollection(corners[chosen], facecolors=colour, edgecolors="white", linewidths=0.25,
                                               alpha=strength[chosen], zorder=3))  # fmt: skip
    axis.set_ylim(-0.7, len(rows) - 0.3)
    axis.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center", labelpad=8)
    if drum:
        ticks, labels = range(len(rows)), [_DRUMS.get(pitch, f"drum {pitch}") for pitch in rows]
    else:
        for index, pitch in enumerate(rows):
            if pitch % 12 in _BLACK:
                axis.axhspan(index - 0.5, index + 0.5, color="#f0f0f0", zorder=0, linewidth=0)
        shown = (0,) if len(rows) > 40 else (0, 7) if len(rows) > 24 else (0, 4, 7, 9)
        ticks = [index for index, pitch in enumerate(rows) if pitch % 12 in shown]
        labels = [f"{_NAMES[rows[index] % 12]}{rows[index] // 12 - 1}" for index in ticks]
    axis.set_yticks(list(ticks), labels, fontsize=6)
    axis.tick_params(axis="y", length=2)
    if split is not None and 0 < split < last:
        axis.axvline(split, color="#b00020", linewidth=1.4, zorder=4)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _bar_lines(axis, bars: list[tuple[int, str]]) -> None:
    for tick, _ in bars:
        axis.axvline(tick, color="#9a9a9a", linewidth=0.6, zorder=1)


def _number_bars(axes, bars: list[tuple[int, str]]) -> None:
    """Number the bars below the last panel, and name the metre where it changes."""
    step = max(1, len(bars) // 32)
    labels, held = [], ""
    for number, (_, metre) in enumerate(bars):
        change = f"\n{metre}" if metre != held else ""
        labels.append(f"{number + 1}{change}" if number % step == 0 or change else "")
        held = metre
    axes[-1].set_xticks([tick for tick, _ in bars], labels, fontsize=7)
    axes[-1].set_xlabel("bar", fontsize=8)
    for axis in axes[:-1]:
        axis.tick_params(axis="x", length=0)


def _explain(figure, split: int | None, last: int, title: str) -> None:
    """Write the title and name the colours."""
    from matplotlib.patches import Patch

    if title:
        figure.suptitle(title, fontsize=10)
    if split is not None and 0 < split < last:
        handles = [Patch(color=_PROMPT, label="prompt"), Patch(color=_NEW, label="continuation")]
        figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
