"""List what a MIDI file says beside the tokens that a net would read for it."""

from dataclasses import dataclass

import numpy as np

from songfoundry import notes
from songfoundry.errors import InputError
from songfoundry.notes.arranging import bars as bars_of

__all__ = ["Row", "beside_tokens"]

_MOST_BARS = 20_000
_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


@dataclass(frozen=True)
class Row:
    """Hold one line: the bar (from 1), the event as the file has it ("" for none), and the tokens for it ("" for none)."""

    bar: int
    event: str
    tokens: str


def beside_tokens(score, config: notes.TokenConfig | None = None) -> tuple[list[Row], list[str]]:
    """Set the events of a score beside its REMI tokens.

    Notes are matched by instrument, pitch and the nearest time; a note without tokens (a second one on the same key at the
    same time) and a token without a note stand alone.

    Args:
        score: a ``symusic.Score`` in ticks.
        config: of the tokenizer; None for the default of the nets that write music.

    Returns:
        the rows in the order of the tokens, and sentences about what the tokens do not keep.

    Raises:
        InputError: no notes, or a metre that has no token, or too many bars.
        MissingExtraError: symusic or MidiTok is not installed.
    """
    coder = notes.tokenizer(config or notes.TokenConfig())
    ids = coder.encode(score)
    lost = coder.lost(score)
    bars = _bars(score)
    events = _Events(score)
    rows, held, header = [], [], []
    bar = position = -1
    program = pitch = None
    metre = (4, 4)
    for name in (coder.names[token] for token in ids):
        kind, _, value = name.partition("_")
        if kind in ("BOS", "Style", "Key"):
            header.append(name)
            continue
        if header:
            rows.append(Row(0, "", " ".join(header)))
            header = []
        held.append(name)
        if kind == "Bar":
            bar, position = bar + 1, 0
        elif kind == "Position":
            position = int(value)
        elif kind == "TimeSig":
            above, _, below = value.partition("/")
            metre = (int(above), int(below))
            rows.append(Row(bar + 1, f"bar {bar + 1} {events.metre(bars, bar)}", " ".join(held)))
            held = []
        elif kind == "Tempo":
            tick = _tick(bars, bar, position, metre, coder.config.positions, score.ticks_per_quarter)
            rows.append(Row(bar + 1, events.tempo(tick), " ".join(held)))
            held = []
        elif kind == "Program":
            program = int(value)
        elif kind in ("Pitch", "PitchDrum"):
            pitch = int(value)
        elif kind == "Duration":
            tick = _tick(bars, bar, position, metre, coder.config.positions, score.ticks_per_quarter)
            rows.append(Row(bar + 1, events.note(program, pitch, tick), " ".join(held)))
            held = []
    if held:
        rows.append(Row(bar + 1, "", " ".join(held)))
    rows += [Row(0, event, "") for event in events.rest()]
    return rows, lost


def _bars(score) -> list:
    """List the bars of the file, with a look at how many there would be."""
    last = max(score.end(), 1)
    metres = [(event.numerator, event.denominator) for event in score.time_signatures] or [(4, 4)]
    about = last / min(score.ticks_per_quarter * 4 * above / below for above, below in metres)
    if about > _MOST_BARS:
        raise InputError(f"expected at most {_MOST_BARS:,} bars to list, found about {about:,.0f}: cut the piece")
    return bars_of(score, last + 1)


def _tick(bars: list, bar: int, position: int, metre: tuple[int, int], positions: int, quarter: int) -> int:
    """Give the file's tick of a position in a bar; bars beyond the file's last go on in its metre."""
    last = bars[min(bar, len(bars) - 1)]
    begin = last.tick + max(0, bar - len(bars) + 1) * last.ticks
    return round(begin + position * quarter * 4 / metre[1] / positions)


class _Events:
    """Hold the events of a file, and give each away once."""

    def __init__(self, score) -> None:
        times = notes.beat_times(score)
        self._quarter, self._times = score.ticks_per_quarter, times
        self._tempos = sorted(score.tempos, key=lambda event: event.time)
        self._waiting: dict[tuple[int, int], list[tuple[int, str]]] = {}
        for track in score.tracks:
            program = -1 if track.is_drum else int(track.program)
            columns = [column.tolist() for column in (track.notes.numpy()[k] for k in ("time", "duration", "pitch", "velocity"))]
            for tick, length, pitch, velocity in zip(*columns, strict=True):
                text = f"{self._place(tick)} {_named(pitch, track.is_drum)} for {length / self._quarter:.3g}, velocity {velocity}"
                name = " ".join(track.name.split())[:20] or ("drums" if track.is_drum else f"program {program}")
                self._waiting.setdefault((program, pitch), []).append((tick, f"{text}, {name}"))
        for waiting in self._waiting.values():
            waiting.sort()

    def _place(self, tick: int) -> str:
        seconds = float(np.interp(tick / self._quarter, np.arange(len(self._times)), self._times))
        return f"{seconds:8.3f} s  quarter {tick / self._quarter:8.3f} "

    def note(self, program: int, pitch: int, tick: int) -> str:
        """Give the note of an instrument and a pitch that is nearest to a tick, or an empty text."""
        waiting = self._waiting.get((program, pitch), [])
        if not waiting:
            return ""
        # They come in order of time: the nearest is among the first few.
        index = min(range(min(len(waiting), 8)), key=lambda i: abs(waiting[i][0] - tick))
        if abs(waiting[index][0] - tick) > 4 * self._quarter:
            return ""
        return waiting.pop(index)[1]

    def tempo(self, tick: int) -> str:
        """Give the tempo that holds at a tick."""
        before = [event for event in self._tempos if event.time <= tick + 1]
        if not before:
            return f"{self._place(tick)} no tempo is told: 120 quarters a minute"
        return f"{self._place(before[-1].time)} tempo {before[-1].qpm:.6g} quarters a minute"

    def metre(self, bars: list, bar: int) -> str:
        """Give the metre of a bar of the file."""
        return f"in {bars[bar].numerator}/{bars[bar].denominator}" if bar < len(bars) else "after the last of the file"

    def rest(self) -> list[str]:
        """List what nobody asked for."""
        return [text for _, text in sorted(event for waiting in self._waiting.values() for event in waiting)]


def _named(pitch: int, drum: bool) -> str:
    return f"drum {pitch}" if drum else f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"
