"""Plan a composition before any net is asked: what is kept, where the writing begins, its metre, tempo, key and instruments.

A `Plan` holds the tokens that the net reads first and the score that the written notes go into. The prompt's own notes, metres
and tempi are copied into that score and never pass through tokens, so they come out as they went in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from songfoundry.composing.prompts import find_track, key_and_scale, notes_of, program_of, programs_of, read, scale_of, token_metre
from songfoundry.composing.steering import part_tokens
from songfoundry.composing.texture import Texture, texture_of
from songfoundry.errors import InputError
from songfoundry.metrics.key import sounding
from songfoundry.notes import arranging
from songfoundry.notes.arranging import Bar

__all__ = ["Plan", "accompany", "anew", "continued", "infill", "seconds_at"]

_LAST_BARS = 4
"""So many bars at a prompt's end give the tempo that goes on."""
_USUAL_BARS = 8
"""So many bars at a prompt's end tell how many notes its instruments play."""


@dataclass
class Plan:
    """Hold what is written, where, and what it must keep.

    Attributes
    ----------
    mode : "continue", "new", "accompany" or "infill". base : the score that written notes go into, a copy.
    origin, limit : ticks of `base` where the writing begins and (None: nowhere) must end. tokens : int32 (n,), what the net
        reads; they end within the first bar that is written. bars : how many are written, that one included.
    metres : (numerator, denominator) of each written bar as the tokens say it. pace : (quarter notes from the origin, quarters
        a minute), where each tempo begins. key : 0-23 or None. scale : bool (12,) or None. programs : those that may play, or None.
    part : notes that are forced, by written bar. part_programs : the programs of that part, as the tokens say them.
    homes : the track of `base` that each program of the tokens stands for.
    heard : int32, tokens of the prompt by which its style is told; none where there is no prompt.
    prompt_bars : bars of the prompt. usual : float (12,), how long each pitch class sounds in the
        prompt, or None. texture : how thick the prompt is, by the tokens' programs, or None.
    replaced : a score of the notes in whose place others are written, which tell how loud these are to be; of an accompaniment to
        a part that was alone, the part. None where the prompt before the seam tells it. kept : the track that is kept whole, or None.
    free_metre, free_tempo : whether tokens may say others. said : sentences for the user.
    """

    mode: str
    base: Any
    origin: int
    limit: int | None
    tokens: np.ndarray
    bars: int
    metres: list[tuple[int, int]]
    metre: tuple[int, int]
    pace: list[tuple[float, float]]
    key: int | None = None
    scale: np.ndarray | None = None
    programs: set[int] | None = None
    style: str | None = None
    part: dict[int, list[tuple[int, list[int]]]] = field(default_factory=dict)
    part_programs: tuple[int, ...] = ()
    homes: dict[int, int] = field(default_factory=dict)
    heard: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    prompt_bars: int = 0
    usual: np.ndarray | None = None
    texture: Texture | None = None
    replaced: Any = None
    kept: int | None = None
    free_metre: bool = False
    free_tempo: bool = False
    said: list[str] = field(default_factory=list)

    def metre_of(self, bar: int) -> tuple[int, int]:
        """Give the metre of the written bar `bar` (from 0)."""
        return self.metres[min(bar, len(self.metres) - 1)]


def seconds_at(pace: Sequence[tuple[float, float]], quarters: float) -> float:
    """Turn quarter notes from the origin into seconds from there, by a `Plan.pace`."""
    total = 0.0
    for number, (begin, qpm) in enumerate(pace):
        end = pace[number + 1][0] if number + 1 < len(pace) else np.inf
        total += max(0.0, min(quarters, end) - begin) * 60 / qpm
    return total


def continued(tokenizer, score, *, name: str, bars: int, room: int, style: str | None, key: int | None, find_key: bool) -> Plan:
    """Plan `bars` bars that follow a prompt; at most `room` tokens of it are read."""
    prompt = read(score, tokenizer, name)
    last = prompt.bars[-1]
    metre = token_metre(tokenizer, last.numerator, last.denominator)
    base, said = prompt.score, prompt.said
    before = prompt.bars[max(0, len(prompt.bars) - _LAST_BARS)].tick
    qpm, changes = arranging.mean_qpm(base, before, prompt.end)
    if changes:
        said.append(f"the prompt's tempo changes: the mean of its last {_LAST_BARS} bars, {qpm:.1f} quarter notes a minute, goes on")
    key, scale = key_and_scale(prompt.notes, key, find_key, said, prompt.score)
    tokens = _last_bars(tokenizer, _encoded(tokenizer, prompt.spread, prompt.bars, style, key), len(prompt.bars), room, said)
    heard, tokens = tokens, np.concatenate((tokens, _bar(tokenizer, metre)))
    clock = base.ticks_per_quarter
    since = prompt.bars[max(0, len(prompt.bars) - _USUAL_BARS)].tick / clock
    quarters = prompt.end / clock - since
    base = base.copy()
    arranging.set_course(base, prompt.end, [(0.0, last.numerator, last.denominator)], [(0.0, qpm)] if changes else [])
    arranging.release(base, prompt.end)
    return Plan(
        "continue", base, prompt.end, None, tokens, bars, [metre], (last.numerator, last.denominator), [(0.0, qpm)], key, scale,
        programs_of(prompt.spread), style, homes=prompt.homes, heard=heard, prompt_bars=len(prompt.bars), said=said,
        usual=sounding(prompt.notes), texture=texture_of(notes_of(prompt.spread), quarters, since),
    )  # fmt: skip


def anew(tokenizer, *, bars: int, metre: tuple[int, int], qpm: float, style: str | None, key: int | None) -> Plan:
    """Plan `bars` bars from nothing."""
    base = arranging.new_score(*metre, qpm, key)
    held = token_metre(tokenizer, *metre)
    tokens = _opening(tokenizer, base, held, style, key)
    scale = scale_of(key) if key is not None else None
    return Plan("new", base, 0, None, tokens, bars, [held], metre, [(0.0, qpm)], key, scale, {-1} if style == "drums" else None, style)


def accompany(
    tokenizer, score, *, name: str, part: str, bars: int | None, style: str | None, key: int | None, find_key: bool
) -> Plan:  # fmt: skip
    """Plan an accompaniment: one track is kept note for note, the others are written anew for all its bars (or the first `bars`).

    The instruments of the other tracks play; where the kept track is alone, any may.

    Raises
    ------
    InputError : there is no such track.
    """
    prompt = read(score, tokenizer, name)
    number = find_track(prompt.score, part, name)
    others = [n for n, track in enumerate(prompt.score.tracks) if n != number and len(track.notes)]
    key, scale = key_and_scale(prompt.notes, key, find_key, prompt.said, prompt.score)
    programs = {program_of(prompt.spread.tracks[n]) for n in others} or None
    base, alone = arranging.without(prompt.score, 0, prompt.end + 1, others), prompt.spread.copy()
    for other in reversed([n for n in range(len(alone.tracks)) if n != number]):
        alone.tracks.pop(other)
    kept = program_of(alone.tracks[0])
    lines = prompt.bars if bars is None else prompt.bars[:bars]
    ids = _encoded(tokenizer, alone, lines, style, key)
    limit, after = lines[-1].end, np.iinfo(np.int32).max
    if bars is not None and bars > len(lines):
        prompt.said.append(f"the part has {len(lines)} bars: {bars} were asked for, so many are written")
    base = arranging.without(base, limit, after)
    replaced = arranging.without(prompt.score, limit, after)
    if others:
        replaced = arranging.without(replaced, 0, after, [number])
    metres = [token_metre(tokenizer, bar.numerator, bar.denominator) for bar in lines]
    pace, clock = _pace(base, 0), base.ticks_per_quarter
    return Plan(
        "accompany", base, 0, limit, _opening(tokenizer, base, metres[0], style, key), len(lines), metres,
        (lines[0].numerator, lines[0].denominator), pace, key, scale, None if programs is None else programs | {kept}, style,
        part_tokens(tokenizer, ids), (kept,), prompt.homes, _encoded(tokenizer, prompt.spread, prompt.bars, style, key), said=prompt.said,
        usual=sounding(prompt.notes), texture=texture_of(notes_of(prompt.spread), prompt.end / clock), replaced=replaced, kept=number,
    )  # fmt: skip


def infill(
    tokenizer, score, *, name: str, first: int, last: int, room: int, style: str | None, key: int | None, find_key: bool
) -> Plan:  # fmt: skip
    """Plan bars `first` to `last` (from 1, both included) of a piece anew; all that begins outside them stays note for note.

    Raises
    ------
    InputError : the piece has no such bars. CheckpointError : the model knows no filling.
    """
    prompt = read(score, tokenizer, name)
    count, said = len(prompt.bars), prompt.said
    if not 1 <= first <= last <= count:
        raise InputError(f"expected bars from 1 to {count} of {name} after --replace-bars, found {first}-{last}: choose among them")
    gap = prompt.bars[first - 1 : last]
    begin, end = gap[0].tick, gap[-1].end
    key, scale = key_and_scale(prompt.notes, key, find_key, said, prompt.score)
    ids = _encoded(tokenizer, prompt.spread, prompt.bars, style, key)
    header = tokenizer.bars(ids)[0]
    half = max(1, room // 2)
    after = _first_bars(tokenizer, tokenizer.cut(ids, last, count) if last < count else ids[:header], count - last, half, said)
    before = tokenizer.cut(ids, 0, first - 1) if first > 1 else ids[:header]
    before = _last_bars(tokenizer, before, first - 1, room - half, said, "what precedes the gap")
    metres = [token_metre(tokenizer, bar.numerator, bar.denominator) for bar in gap]
    fill = [[tokenizer.ids[f"Fill_{side}"]] for side in ("after", "before")]
    tokens = np.concatenate((ids[:header], fill[0], after[header:], fill[1], before[header:], _bar(tokenizer, metres[0]))).astype(np.int32)
    base, clock = arranging.without(prompt.score, begin, end), prompt.score.ticks_per_quarter
    notes = notes_of(prompt.spread)
    around = notes.keep((notes.starts < begin / clock) | (notes.starts >= end / clock))
    return Plan(
        "infill", base, begin, end, tokens, len(gap), metres, (gap[0].numerator, gap[0].denominator), _pace(base, begin), key, scale,
        programs_of(prompt.spread), style, homes=prompt.homes, heard=ids, prompt_bars=count, said=said,
        usual=sounding(prompt.notes), texture=texture_of(around, (prompt.end - end + begin) / clock),
        replaced=arranging.without(arranging.without(prompt.score, 0, begin), end, np.iinfo(np.int32).max),
    )  # fmt: skip


def _encoded(tokenizer, score, bars: Sequence[Bar], style: str | None, key: int | None) -> np.ndarray:
    """Encode the bars of a score, no more and no fewer, whatever its metres are called."""
    names = {(s.numerator, s.denominator): token_metre(tokenizer, s.numerator, s.denominator) for s in score.time_signatures
             if s.time < bars[-1].end}  # fmt: skip
    if any(told != said for told, said in names.items()) or any(s.time >= bars[-1].end for s in score.time_signatures):
        score = score.copy()
        arranging.set_course(score, bars[-1].end, [], [])
        for signature in score.time_signatures:
            signature.numerator, signature.denominator = names[signature.numerator, signature.denominator]
    ids = np.asarray(tokenizer.encode(score, style=style, key=key, ends=False), np.int32)
    written = len(tokenizer.bars(ids))
    if written > len(bars):
        return tokenizer.cut(ids, 0, len(bars))
    tails = [_bar(tokenizer, token_metre(tokenizer, bar.numerator, bar.denominator)) for bar in bars[written:]]
    return np.concatenate((ids, *tails)).astype(np.int32)


def _bar(tokenizer, metre: tuple[int, int]) -> np.ndarray:
    """Give the tokens that begin a bar."""
    return np.array([tokenizer.ids["Bar_None"], tokenizer.ids[f"TimeSig_{metre[0]}/{metre[1]}"]], np.int32)


def _opening(tokenizer, score, metre: tuple[int, int], style: str | None, key: int | None) -> np.ndarray:
    """Give the tokens with which a piece begins, up to its first note: header, bar, metre, tempo."""
    qpm = sorted((event.time, event.qpm) for event in score.tempos)[0][1] if score.tempos else 120.0
    one = arranging.new_score(*metre, qpm)
    arranging.insert(one, [arranging.NoteEvent(0, 0.0, 1.0, 60, 80, 0, 0.0, 0.0)], 0)
    ids = np.asarray(tokenizer.encode(one, style=style, key=key, ends=False), np.int32)
    kinds = tokenizer.kinds[ids]
    return ids[: int(np.flatnonzero(kinds == "Program")[0])]


def _last_bars(tokenizer, ids: np.ndarray, count: int, room: int, said: list[str], what: str = "the prompt") -> np.ndarray:
    """Cut tokens of `count` bars to the last bars that fit in the room, and say so; of a bar that is longer itself, its end."""
    starts = tokenizer.bars(ids)
    if len(ids) <= room or not len(starts):
        return ids
    lead = int(starts[0])
    first = next((n for n, start in enumerate(starts) if lead + len(ids) - start + 2 <= room), count - 1)
    said.append(f"{what} is longer than the model's context: it reads the last {count - first} of {count} bars")
    ids = np.asarray(tokenizer.cut(ids, first, count), np.int32)
    if len(ids) > room:
        lead = int(tokenizer.bars(ids)[0]) + 2
        places = np.flatnonzero(tokenizer.kinds[ids] == "Position")
        ids = np.concatenate((ids[:lead], ids[next((int(at) for at in places if lead + len(ids) - at <= room), len(ids)) :]))
    return ids


def _first_bars(tokenizer, ids: np.ndarray, count: int, room: int, said: list[str]) -> np.ndarray:
    """Cut tokens of the `count` bars behind a gap to the first bars that fit in the room, and say so."""
    starts = tokenizer.bars(ids)
    ends = [*map(int, starts[1:]), len(ids)]
    fitting = sum(end <= room for end in ends)
    if fitting < len(starts):
        said.append(f"what follows the gap is longer than the model's context: it reads the first {fitting} of {count} bars")
    return ids if fitting == len(starts) else ids[: ends[fitting - 1]] if fitting else ids[: int(starts[0])]


def _pace(score, origin: int) -> list[tuple[float, float]]:
    """List the tempi that hold from a tick on, in quarter notes from there."""
    events = sorted((event.time, event.qpm) for event in score.tempos)
    held = [qpm for time, qpm in events if time <= origin]
    return [(0.0, held[-1] if held else 120.0), *(((t - origin) / score.ticks_per_quarter, qpm) for t, qpm in events if t > origin)]
