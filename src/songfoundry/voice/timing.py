"""Put syllables on notes: vowels begin where notes do and are stretched, consonants keep their length and go before.

Where the words are too few for the notes they are sung again from their beginning, as often as comes nearest to a syllable a note; what is
left over goes to syllables that are held over two notes. Where they are too many, notes carry several syllables, down to `SHORTEST` seconds
each; what does not fit even so is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from songfoundry.voice.syllables import Syllable
from songfoundry.voice.tune import TuneNote
from songfoundry.voice.world import PERIOD

__all__ = ["Plan", "SHORTEST", "fit", "follow"]

SHORTEST = 0.09
"""Seconds that a syllable gets at least."""
_STOLEN = 0.2
"""Share of a note that coda and the next syllable's consonants take at most."""
_STEADY = (0.35, 0.75)
"""Share of a vowel between which it is stretched; its ends keep their pace."""
_REST = 0.03
"""Seconds: shorter rests are no rests."""


@dataclass
class Plan:
    """Hold where each frame of the result comes from.

    Attributes
    ----------
    source : float64 (frames,), frame of the recording; NaN in rests. vowel : bool (frames,), within a vowel.
    marks, words : (first, last) seconds of each syllable and word as sung. said : sentences.
    """

    source: np.ndarray
    vowel: np.ndarray
    marks: list[tuple[float, float]] = field(default_factory=list)
    words: list[tuple[float, float]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@dataclass
class _Event:
    """Hold a syllable on its place: seconds of its vowel's begin and of the end of its notes, and whether it begins a word."""

    syllable: Syllable
    start: float
    end: float
    new_word: bool


def fit(syllables: Sequence[Syllable], notes: Sequence[TuneNote], frames: int, mode: str = "syllables") -> Plan:
    """Plan which frame of the speech is sung when.

    Parameters
    ----------
    syllables : of the speech, at least one. notes : of the tune, at least one. frames : of the result.
    mode : "syllables", one a note; "words", one word a note; "free", the rhythm of the speech, stretched evenly.
    """
    plan = Plan(np.full(frames, np.nan), np.zeros(frames, bool))
    if mode == "free":
        return _free(plan, syllables, notes)
    units = _words(syllables) if mode == "words" else [[syllable] for syllable in syllables]
    passes = max(1, round(len(notes) / len(units)))
    kind = mode[:-1]
    if passes > 1:
        plan.said.append(f"{_count(len(units), kind)} for {len(notes)} notes: the words are sung {passes} times")
    events: list[_Event] = []
    left = 0
    for group in _groups(notes, passes):
        placed, missing = _place(units, group)
        events += placed
        left += missing
    if left:
        plan.said.append(f"{_count(len(units), kind)} for {_count(len(notes), 'note')}: {_count(left, 'syllable')} found no room")
    elif passes == 1 and len(units) > len(notes):
        plan.said.append(f"{_count(len(units), kind)} for {_count(len(notes), 'note')}: some notes carry several")
    _lay(plan, events)
    return plan


def follow(source: np.ndarray, syllables: Sequence[Syllable]) -> Plan:
    """Plan by a way through the speech that is known: float (frames,), frame of the speech at each moment, never going back."""
    plan = Plan(np.asarray(source, np.float64), np.zeros(len(source), bool))
    words: dict[int, list[float]] = {}
    for syllable in syllables:
        first, last = np.searchsorted(source, (syllable.begin, syllable.end))
        begin, end = np.searchsorted(source, (syllable.vowel, syllable.coda))
        plan.vowel[begin:end] = True
        if last > first:
            plan.marks.append((float(first * PERIOD), float(last * PERIOD)))
            words.setdefault(syllable.word, []).extend(plan.marks[-1])
    plan.words = [(min(times), max(times)) for times in words.values()]
    return plan


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _words(syllables: Sequence[Syllable]) -> list[list[Syllable]]:
    """Gather the syllables of each word."""
    words: dict[int, list[Syllable]] = {}
    for syllable in syllables:
        words.setdefault(syllable.word, []).append(syllable)
    return list(words.values())


def _groups(notes: Sequence[TuneNote], passes: int) -> list[list[TuneNote]]:
    """Share notes out among the passes evenly; a pass rather begins after a rest, where one is near."""
    size = len(notes) / passes
    rests = [k for k in range(1, len(notes)) if notes[k].start - notes[k - 1].end >= 0.08]
    cuts = [0]
    for number in range(1, passes):
        goal = round(number * size)
        near = [rest for rest in rests if abs(rest - goal) <= size / 4 and rest > cuts[-1]]
        cuts.append(max(cuts[-1] + 1, min(near, key=lambda rest: abs(rest - goal)) if near else goal))
    cuts.append(len(notes))
    return [list(notes[first:last]) for first, last in zip(cuts, cuts[1:], strict=False) if last > first]


def _place(units: list[list[Syllable]], notes: list[TuneNote]) -> tuple[list[_Event], int]:
    """Put units on the notes of one pass; gives how many syllables found no room, too."""
    events, left = [], 0
    count, many = len(notes), len(units)
    if count >= many:
        shares = [([unit], notes[k * count // many : (k + 1) * count // many]) for k, unit in enumerate(units)]
    else:
        shares = [(units[k * many // count : (k + 1) * many // count], [note]) for k, note in enumerate(notes)]
    before = None
    for several, held in shares:
        syllables = [syllable for unit in several for syllable in unit]
        start, end = held[0].start, held[-1].end
        room = max(1, int((end - start) / SHORTEST))
        left += max(0, len(syllables) - room)
        syllables = syllables[:room]
        lengths = np.array([max(one.end - one.begin, 1) for one in syllables], float)
        # One syllable of a word that shares a note with others takes what is left: the one with the longest vowel.
        longest = int(np.argmax([one.coda - one.vowel for one in syllables]))
        spare = (end - start) / PERIOD - lengths.sum()
        lengths = lengths * min(1.0, (end - start) / PERIOD / lengths.sum())
        lengths[longest] += max(0.0, spare)
        edges = start + np.concatenate(([0.0], np.cumsum(lengths) * PERIOD))
        for number, syllable in enumerate(syllables):
            new = before is None or before.word != syllable.word
            events.append(_Event(syllable, float(edges[number]), float(min(edges[number + 1], end)), new))
            before = syllable
    return events, left


def _lay(plan: Plan, events: list[_Event]) -> None:
    """Write the frames of events, which are in order, into a plan."""
    seconds = len(plan.source) * PERIOD
    for number, event in enumerate(events):
        syllable = event.syllable
        after = events[number + 1] if number + 1 < len(events) else None
        before = events[number - 1] if number else None
        onset = (syllable.vowel - syllable.begin) * PERIOD
        coda = (syllable.end - syllable.coda) * PERIOD
        room = event.start - (before.end if before else 0.0)
        if before is not None and room < onset:
            # What the rest before does not hold is taken from the note before it.
            onset = min(onset, room + _share(before, event)[1])
        begin = max(0.0, event.start - min(onset, room if before is None else onset))
        close = event.end
        if after is not None:
            kept, taken = _share(event, after)
            close -= max(0.0, taken - (after.start - event.end))
            coda = min(coda, kept)
        else:
            coda = min(coda, _STOLEN * (event.end - event.start))
        anchors = _anchors(syllable, begin, event.start, max(event.start + PERIOD, close - coda), max(close, event.start + 2 * PERIOD))
        first, last = round(begin / PERIOD), min(len(plan.source), round(anchors[-1][0] / PERIOD))
        clock = np.arange(first, last) * PERIOD
        plan.source[first:last] = np.interp(clock, *zip(*anchors, strict=True))
        plan.vowel[round(event.start / PERIOD) : round((close - coda) / PERIOD)] = True
        plan.marks.append((begin, min(anchors[-1][0], seconds)))
        if event.new_word or not plan.words:
            plan.words.append(plan.marks[-1])
        else:
            plan.words[-1] = (plan.words[-1][0], plan.marks[-1][1])


def _share(event: _Event, after: _Event) -> tuple[float, float]:
    """Share the end of a note out between its own coda and the next syllable's consonants: seconds of each."""
    coda = (event.syllable.end - event.syllable.coda) * PERIOD
    onset = (after.syllable.vowel - after.syllable.begin) * PERIOD
    gap = max(0.0, after.start - event.end)
    needed = coda + max(0.0, onset - gap)
    scale = min(1.0, _STOLEN * (event.end - event.start) / max(needed, 1e-9))
    return coda * scale, min(onset, gap + max(0.0, onset - gap) * scale)


def _anchors(syllable: Syllable, begin: float, vowel: float, coda: float, end: float) -> list[tuple[float, float]]:
    """Give pairs of a moment of the result (seconds, growing) and a frame of the speech."""
    length, natural = coda - vowel, (syllable.coda - syllable.vowel) * PERIOD
    anchors = [(begin, syllable.begin), (vowel, syllable.vowel)] if vowel > begin else [(vowel, syllable.vowel)]
    if length > natural:
        low, high = (syllable.vowel + share * (syllable.coda - syllable.vowel) for share in _STEADY)
        anchors += [(vowel + _STEADY[0] * natural, low), (coda - (1 - _STEADY[1]) * natural, high)]
    anchors.append((coda, syllable.coda))
    if end > coda:
        anchors.append((end, syllable.end))
    return anchors


def _free(plan: Plan, syllables: Sequence[Syllable], notes: Sequence[TuneNote]) -> Plan:
    """Sing the speech in its own rhythm over the whole tune, again and again where the tune is longer."""
    first, last = syllables[0].begin, syllables[-1].end
    start, end = notes[0].start, notes[-1].end
    passes = max(1, round((end - start) / ((last - first) * PERIOD)))
    if passes > 1:
        spoken = (last - first) * PERIOD
        plan.said.append(f"the tune is {end - start:.1f} s long, the speech {spoken:.1f} s: the words are sung {passes} times")
    edges = np.linspace(start, end, passes + 1)
    for begin, stop in zip(edges, edges[1:], strict=False):
        low, high = round(begin / PERIOD), min(len(plan.source), round(stop / PERIOD))
        part = follow(np.linspace(first, last, high - low, endpoint=False), syllables)
        plan.source[low:high], plan.vowel[low:high] = part.source, part.vowel
        plan.marks += [(a + low * PERIOD, b + low * PERIOD) for a, b in part.marks]
        plan.words += [(a + low * PERIOD, b + low * PERIOD) for a, b in part.words]
    return plan

