"""Cut music for an evaluation: prompts, and from held-out pieces a prompt with the bars that really follow it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from songfoundry import notes as midi
from songfoundry.composing.prompts import notes_of
from songfoundry.data.scores import ScoreFolder, held_out
from songfoundry.errors import DatasetError
from songfoundry.metrics.metre import FORMS
from songfoundry.metrics.music import Notes, join
from songfoundry.notes import arranging

__all__ = [
    "Excerpt", "Stretch", "beat_of", "expected_tempo", "held_out_excerpts", "notes_of_tokens", "prompt_excerpts", "repeated", "stretch_of",
]  # fmt: skip

_LAST_BARS = 4


@dataclass(frozen=True)
class Stretch:
    """Hold some bars of music: ``notes`` in quarters and ``heard`` in seconds, both from the first bar line.

    ``bar``: quarters in a bar. ``bars``: how many there should be.
    """

    notes: Notes
    heard: Notes
    bar: float
    bars: int


@dataclass(frozen=True)
class Excerpt:
    """Hold a prompt.

    ``score``: a ``symusic.Score``. ``music``: its notes. ``metre``: (numerator, denominator) at its end. ``qpm``: quarters a minute of what
    should follow. ``real``: what follows in the piece, None for a prompt that is whole. ``split_tick``: the bar line at its end.
    """

    name: str
    collection: str
    score: Any
    music: Stretch
    metre: tuple[int, int]
    qpm: float
    split_tick: int
    real: Stretch | None = None


def stretch_of(score, begin: int, end: int, bar: float) -> Stretch:
    """Cut the notes that begin in the ticks [begin, end) out of a score whose bars last ``bar`` quarters."""
    clock = score.ticks_per_quarter
    found = notes_of(score).between(begin / clock, end / clock)
    times = midi.beat_times(score)
    count = len(times)

    def seconds(quarters: np.ndarray) -> np.ndarray:
        beyond = np.maximum(0, quarters - (count - 1)) * (times[-1] - times[-2] if count > 1 else 0.5)
        return np.interp(quarters, np.arange(count), times) + beyond

    starts = seconds(found.starts + begin / clock)
    durations = seconds(found.ends + begin / clock) - starts
    heard = Notes(starts - seconds(np.array(begin / clock)), durations, found.pitches, found.velocities, found.programs)
    return Stretch(found, heard, bar, max(1, round((end - begin) / clock / bar)))


def expected_tempo(score, bars: Sequence[arranging.Bar]) -> float:
    """Give the quarters a minute that should go on: those that hold, or where they change the mean of the last four bars.

    The mean is the bars' quarters by their minutes, taken from the score's own clock.
    """
    held = {round(event.qpm, 3) for event in score.tempos if event.time < bars[-1].end}
    times, clock = midi.beat_times(score), score.ticks_per_quarter
    if len(held) == 1 and all(event.time == 0 for event in score.tempos[:1]):
        return float(score.tempos[0].qpm)
    begin, end = bars[max(0, len(bars) - _LAST_BARS)].tick / clock, bars[-1].end / clock
    at = np.interp([begin, min(end, len(times) - 1)], np.arange(len(times)), times)
    return float((min(end, len(times) - 1) - begin) / (at[1] - at[0]) * 60)


def prompt_excerpts(folder: Path) -> list[Excerpt]:
    """Read the prompts of a folder, all their bars.

    Raises
    ------
    DatasetError : no MIDI files in it.
    """
    files = sorted(path for path in Path(folder).glob("*.mid*"))
    if not files:
        raise DatasetError(f"expected MIDI files in the folder {folder}, found none: name another one after --prompts")
    return [_excerpt(file.stem, "prompts", midi.read_midi(file)) for file in files]


def _excerpt(name: str, collection: str, score, real: Stretch | None = None) -> Excerpt:
    """Look at a prompt's bars."""
    score = arranging.fine_clock(score)
    bars = arranging.bars(score, arranging.last_onset(score) + 1)
    last = bars[-1]
    bar = 4 * last.numerator / last.denominator
    music = stretch_of(score, 0, last.end, bar)
    return Excerpt(
        name, collection, score, music, (last.numerator, last.denominator), expected_tempo(score, bars), last.end, real
    )  # fmt: skip


def held_out_excerpts(
    collections: Iterable[str], tokenizer, *, count: int, prompt_bars: int, bars: int, seed: int = 0, split: str = "test"
) -> list[Excerpt]:  # fmt: skip
    """Cut an excerpt out of each of ``count`` held-out pieces, the collections in turn.

    Each is ``prompt_bars`` bars and the ``bars`` that follow, of one metre and one tempo, from a place in the piece drawn by the
    seed; notes begin in the first and last bar of the prompt and after it. Pieces that have no such place are passed over.

    Raises
    ------
    DatasetError : a collection is not there, or all together have not a single such piece.
    """
    runs = [_cuts(name, tokenizer, prompt_bars, bars, seed, split) for name in collections]
    found: list[Excerpt] = []
    for turn in zip_longest(*runs):
        found += [excerpt for excerpt in turn if excerpt is not None]
        if len(found) >= count:
            break
    if count and not found:
        raise DatasetError(f"expected pieces of {prompt_bars + bars} bars in the split {split}, found none: name other collections")
    return found[:count]


def _cuts(path: str, tokenizer, prompt_bars: int, bars: int, seed: int, split: str) -> Iterator[Excerpt]:
    """Yield an excerpt of each piece of a collection, in an order drawn by the seed."""
    draw = np.random.default_rng(seed)
    pieces = list(held_out(ScoreFolder(path=path), tokenizer.config, split))
    for number in draw.permutation(len(pieces)):
        piece = pieces[number]
        places = len(tokenizer.bars(piece["tokens"])) - prompt_bars - bars + 1
        for place in draw.permutation(max(0, places))[:8]:
            ids = tokenizer.cut(piece["tokens"], int(place), int(place) + prompt_bars + bars)
            ids = ids[ids != tokenizer.eos]
            excerpt = _cut(f"{piece['name']} bar {place + 1}", piece["collection"], ids, tokenizer, prompt_bars)
            if excerpt is not None:
                yield excerpt
                break


def _cut(name: str, collection: str, ids: np.ndarray, tokenizer, prompt_bars: int) -> Excerpt | None:
    """Part tokens into a prompt and what follows; None where metre or tempo change, or a bar that must sound is silent."""
    kinds = tokenizer.kinds[ids]
    if any(len(set(ids[kinds == kind].tolist())) > 1 for kind in ("TimeSig", "Tempo")):
        return None
    whole = tokenizer.decode(ids)
    metre = whole.time_signatures[0]
    length = round(whole.ticks_per_quarter * 4 * metre.numerator / metre.denominator)
    bars = len(tokenizer.bars(ids))
    onsets = np.concatenate([track.notes.numpy()["time"] for track in whole.tracks] or [np.zeros(0)]) // length
    if not {0, prompt_bars - 1, prompt_bars} <= set(onsets.tolist()):
        return None
    real = stretch_of(whole, prompt_bars * length, bars * length, length / whole.ticks_per_quarter)
    prompt = tokenizer.decode(tokenizer.cut(ids, 0, prompt_bars))
    return _excerpt(name, collection, prompt, _closed(real))


def _closed(stretch: Stretch) -> Stretch:
    """End the notes that ring on where the stretch is cut off: they hang by our doing."""
    end = stretch.bar * stretch.bars
    found = stretch.notes
    short = np.minimum(found.durations, end - found.starts)
    heard = Notes(stretch.heard.starts, stretch.heard.durations * short / found.durations, found.pitches, found.velocities, found.programs)
    return Stretch(Notes(found.starts, short, found.pitches, found.velocities, found.programs), heard, stretch.bar, stretch.bars)


def repeated(excerpt: Excerpt, bars: int) -> Stretch:
    """Say a prompt's last ``bars`` bars again, or all it has again and again: the baseline that takes no skill."""
    music = excerpt.music
    length = min(bars, music.bars)
    first = (music.bars - length) * music.bar
    found = music.notes.between(first, music.bars * music.bar)
    copies = [
        Notes(found.starts + k * length * music.bar, found.durations, found.pitches, found.velocities, found.programs)
        for k in range(-(-bars // length))
    ]  # fmt: skip
    notes = join(copies).between(0, bars * music.bar)
    pace = 60 / excerpt.qpm
    heard = Notes(notes.starts * pace, notes.durations * pace, notes.pitches, notes.velocities, notes.programs)
    return _closed(Stretch(notes, heard, music.bar, bars))


def notes_of_tokens(tokenizer, ids: np.ndarray) -> Notes:
    """Read a piece's REMI tokens, int (n,), as notes in quarters, without making a score of them: quicker by far."""
    ids = np.asarray(ids)
    kinds, numbers = tokenizer.kinds[ids], _numbers(tokenizer)[ids]
    metres = np.flatnonzero(kinds == "TimeSig")  # one right after each Bar
    if not len(metres):
        return join([])
    below = np.array([float(tokenizer.names[token].rpartition("/")[2]) for token in ids[metres]])
    step = 4.0 / below / tokenizer.config.positions  # quarters in a position
    begins = np.concatenate([[0.0], np.cumsum(numbers[metres])])[:-1]
    struck = np.flatnonzero((kinds[:-3] == "Program") & (kinds[3:] == "Duration"))
    bar = np.searchsorted(metres, struck) - 1
    places = np.flatnonzero(kinds == "Position")
    position = numbers[places[np.searchsorted(places, struck) - 1]]
    starts, durations = begins[bar] + position * step[bar], numbers[struck + 3] * step[bar]
    return Notes(starts, durations, *(numbers[struck + k].astype(np.int64) for k in (1, 2, 0)))


@lru_cache(maxsize=4)
def _numbers(tokenizer) -> np.ndarray:
    """Read the number in each token's name: a metre's quarters, a duration's positions; float64 (size,)."""
    found = np.zeros(tokenizer.size)
    for kind in ("Position", "Program", "Pitch", "PitchDrum", "Velocity"):
        for token in tokenizer.of_kind(kind):
            found[token] = float(tokenizer.value(token))
    for token in tokenizer.of_kind("TimeSig"):
        above, below = tokenizer.value(token).split("/")
        found[token] = 4 * int(above) / int(below)
    for token, length in tokenizer.lengths.items():
        found[token] = length
    return found


def beat_of(metre: tuple[int, int]) -> tuple[int, float]:
    """Tell the beats of a bar and the quarters of a beat: three eighths make one in 6/8, 9/8 and 12/8."""
    above, below = metre
    compound = below >= 8 and above % 3 == 0 and above > 3 and (above // 3, 3) in FORMS
    return (above // 3, 12 / below) if compound else (above, 4 / below)
