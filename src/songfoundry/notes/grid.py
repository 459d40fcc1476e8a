"""Put a score on the grid of the tokens: bars that are whole, onsets on positions, durations and levels that have a token.

Scores on the grid have a clock of `positions` x 4 ticks a quarter, the position of a sixteenth-note beat; one position of a metre
with denominator d takes 16 / d of them.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from songfoundry.errors import InputError
from songfoundry.notes.midi import _symusic

MAX_BARS = 50_000
"""Most bars that are tokenised: a three-hour piece has a fifth of them."""
DRUM_PITCHES = (27, 88)
"""Lowest and highest key of General MIDI 2's drum kit."""
METRES = {16: tuple(range(1, 17)), 8: tuple(range(1, 17)), 4: tuple(range(1, 13)), 2: (1, 2, 3, 4, 6)}
"""Metres that have a token: numerators by denominator."""


@dataclass(frozen=True)
class Grid:
    """Hold what has a token: `positions` in a beat; ascending `velocities`, `tempi` (quarters a minute), `durations` (positions)."""

    positions: int
    velocities: np.ndarray
    tempi: np.ndarray
    durations: np.ndarray

    @property
    def quarter(self) -> int:
        """Ticks in a quarter note."""
        return 4 * self.positions


@dataclass
class _Section:
    """Hold bars of one metre: where the first begins, in ticks of the grid."""

    start: int
    numerator: int
    denominator: int


@dataclass
class _Losses:
    """Count what the grid does not keep, and say it."""

    counts: Counter = field(default_factory=Counter)
    tempi: list[tuple[float, float]] = field(default_factory=list)
    notes: int = 0

    def sentences(self) -> list[str]:
        """Say each loss in a sentence."""
        said = []
        if self.tempi:
            exact, told = max(self.tempi, key=lambda pair: abs(np.log(pair[0] / pair[1])))
            more = f" ({len(self.tempi)} of them)" if len(self.tempi) > 1 else ""
            said.append(f"Tempi are told in levels{more}: {exact:.6g} quarters a minute becomes {told:.6g}.")
        texts = {
            "no tempo": "There is no tempo at the beginning: 120 quarters a minute is taken.",
            "no metre": "There is no time signature at the beginning: 4/4 is taken.",
            "tempo between": "{n} tempo changes between two beats move to the nearest beat.",
            "tempo after": "{n} tempo changes after the last note are left out.",
            "short bar": "{n} bars are cut short by a new time signature and written in a metre of their own.",
            "late metre": "{n} time signatures that do not come on a bar line move to the next one.",
            "moved": "{n} of {notes} onsets move to the grid.",
            "lengths": "{n} of {notes} durations are rounded.",
            "long": "{n} notes are longer than a token can tell and are shortened.",
            "velocities": "{n} of {notes} velocities are rounded to levels.",
            "double": "{n} notes at one place, of one pitch and one instrument with another, become one.",
            "overlap": "{n} notes are cut short where the same pitch is struck again.",
            "drums": f"{{n}} drum notes outside the keys {DRUM_PITCHES[0]}-{DRUM_PITCHES[1]} are left out.",
            "merged": "{n} tracks join another one of the same instrument.",
            "pedals": "{n} uses of the sustain pedal become longer notes.",
            "controls": "{n} controllers other than the sustain pedal are left out.",
            "bends": "{n} pitch bends are left out.",
            "keys": "{n} key signatures are left out.",
            "texts": "{n} lyrics and markers are left out.",
        }
        return said + [text.format(n=self.counts[name], notes=self.notes) for name, text in texts.items() if self.counts[name]]


def on_grid(score, grid: Grid, *, sustain: bool = True):
    """Copy a score onto the grid, one track a program, drums last.

    Returns
    -------
    copy : `symusic.Score` with `grid.quarter` ticks a quarter.
    lost : list of sentences, what the copy does not keep.

    Raises
    ------
    InputError : no notes, a metre that has no token, or more than `MAX_BARS` bars.
    """
    symusic = _symusic()
    losses = _Losses()
    scale = grid.quarter / score.ticks_per_quarter
    sections = _sections(score, scale, grid, losses)
    programs = _by_program(score, scale, sustain, losses)
    out = symusic.Score(grid.quarter)
    last = 0
    for program in sorted(programs, key=lambda program: program % 129):  # -1, drums, comes last
        time, length, pitch, velocity = _placed(programs[program], sections, grid, losses)
        track = symusic.Track(program=max(program, 0), is_drum=program < 0)
        track.notes = symusic.Note.from_numpy(
            time.astype(np.int32), length.astype(np.int32), pitch.astype(np.int8), velocity.astype(np.int8)
        )
        out.tracks.append(track)
        last = max(last, int(time.max(initial=0)))
    if not out.note_num():
        raise InputError("expected a piece with notes, found none that can be told in tokens: choose another file")
    held = [section for section in sections if section.start <= last]
    ends = [section.start for section in held[1:]] + [last]
    bars = sum(-(-(end - section.start) // _bar(section, grid)) for section, end in zip(held, ends, strict=True))
    if bars > MAX_BARS:
        raise InputError(f"expected at most {MAX_BARS} bars, found {bars:.6g}: cut the piece")
    for section in held:
        out.time_signatures.append(symusic.TimeSignature(section.start, section.numerator, section.denominator))
    for tick, qpm in _tempi(score, scale, held, last, grid, losses):
        out.tempos.append(symusic.Tempo(tick, float(qpm)))
    _count_the_rest(score, losses)
    return out, losses.sentences()


def _bar(section: _Section, grid: Grid) -> int:
    """Ticks in a bar."""
    return section.numerator * 16 // section.denominator * grid.positions


def _sections(score, scale: float, grid: Grid, losses: _Losses) -> list[_Section]:
    """List the metres, each beginning on a bar line; a bar that is cut short gets a metre of its own length."""
    sections = [_Section(0, 4, 4)]
    changes = sorted(((event.time * scale, event.numerator, event.denominator) for event in score.time_signatures), key=lambda x: x[0])
    tolerance, sixteenth = grid.positions / 6, grid.positions
    losses.counts["no metre"] = int(not changes or changes[0][0] > tolerance)
    for time, numerator, denominator in changes:
        if numerator not in METRES.get(denominator, ()):
            raise InputError(
                f"expected metres of up to 16/16, 16/8, 12/4 or 6/2, found {numerator}/{denominator}: "
                "write it in another metre of the same length"
            )
        held = sections[-1]
        bar = _bar(held, grid)
        line = held.start + round((time - held.start) / bar) * bar
        if abs(time - line) <= tolerance:
            start = max(line, held.start)
        else:
            begun = held.start + int((time - held.start) // bar) * bar
            rest = round((time - begun) / sixteenth)
            short = _metre_of(rest, held.denominator) if abs(time - begun - rest * sixteenth) <= tolerance else None
            start = begun + rest * sixteenth if short else begun + bar
            losses.counts["short bar" if short else "late metre"] += 1
            if short:
                _add(sections, _Section(begun, *short), held.start == begun)
        _add(sections, _Section(start, numerator, denominator), sections[-1].start == start)
    return sections


def _add(sections: list[_Section], new: _Section, instead: bool) -> None:
    """Append a section, in the place of the last one where both begin at one tick; one of the same metre goes on."""
    if instead:
        sections.pop()
    if not sections or (sections[-1].numerator, sections[-1].denominator) != (new.numerator, new.denominator):
        sections.append(new)


def _metre_of(sixteenths: int, denominator: int) -> tuple[int, int] | None:
    """Find a metre for a bar of so many sixteenths, with the denominator of its neighbour where that is possible."""
    for below in (denominator, 4, 8, 16):
        if sixteenths * below % 16 == 0 and sixteenths * below // 16 in METRES[below]:
            return sixteenths * below // 16, below
    return None


def _by_program(score, scale: float, sustain: bool, losses: _Losses) -> dict[int, np.ndarray]:
    """Gather the notes of each program (drums -1): float64 (4, notes) with the rows onset, duration, pitch, velocity."""
    found: dict[int, list[np.ndarray]] = {}
    for track in score.tracks:
        if not len(track.notes):
            continue
        columns = track.notes.numpy()
        notes = np.stack([columns[name].astype(np.float64) for name in ("time", "duration", "pitch", "velocity")])
        if sustain and not track.is_drum:
            notes[1], uses = sustained(notes, pedals(track))
            losses.counts["pedals"] += uses
        notes[:2] *= scale
        if track.is_drum:
            known = (notes[2] >= DRUM_PITCHES[0]) & (notes[2] <= DRUM_PITCHES[1])
            losses.counts["drums"] += int((~known).sum())
            notes = notes[:, known]
        if notes.shape[1]:
            found.setdefault(-1 if track.is_drum else int(track.program), []).append(notes)
    losses.counts["merged"] = sum(len(tracks) - 1 for tracks in found.values())
    return {program: np.concatenate(tracks, axis=1) for program, tracks in found.items()}


def pedals(track) -> np.ndarray:
    """List when the sustain pedal of a track is down: float64 (uses, 2), ticks of pressing and releasing, inf where it stays down."""
    columns = track.controls.numpy()
    chosen = columns["number"] == 64
    times, down = columns["time"][chosen].astype(np.float64), columns["value"][chosen] >= 64
    order = np.argsort(times, kind="stable")
    times, down = times[order], down[order]
    # A half-pedal sends many values: only the turns count.
    turns = np.flatnonzero(np.diff(np.concatenate([[0], down.astype(np.int8)])))
    edges = times[turns]
    if len(edges) % 2:
        edges = np.append(edges, np.inf)
    return edges.reshape(-1, 2)


def sustained(notes: np.ndarray, uses: np.ndarray) -> tuple[np.ndarray, int]:
    """Prolong notes that end while the pedal is down until it is released or the same pitch is struck again.

    `notes`: float64 (4, notes) with the rows onset, duration, pitch, velocity; `uses`: see `pedals`, in the same unit.
    Returns the durations, float64 (notes,), and how many uses of the pedal prolonged a note.
    """
    onset, length, pitch, _ = notes
    if not len(uses) or not len(onset):
        return length, 0
    ends = onset + length
    use = np.searchsorted(uses[:, 0], ends, side="right") - 1
    inside = (use >= 0) & (ends < uses[np.maximum(use, 0), 1])
    released = uses[np.maximum(use, 0), 1]
    released = np.where(np.isinf(released), ends.max(), released)
    longer = np.where(inside, np.minimum(released, np.maximum(next_onsets(onset, pitch), ends)), ends)
    return longer - onset, len(np.unique(use[inside & (longer > ends)]))


def next_onsets(onset: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Tell for each note when its pitch is struck next, later than it: float64 (notes,), inf where it is not."""
    if not len(onset):
        return np.zeros(0)
    order = np.lexsort((onset, pitch))
    time, key = onset[order], pitch[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (np.diff(time) != 0) | (np.diff(key) != 0)
    group, first = np.cumsum(begins) - 1, np.flatnonzero(begins)
    following = np.full(len(first), np.inf)
    following[:-1] = np.where(np.diff(key[first]) == 0, time[first][1:], np.inf)
    out = np.empty(len(order))
    out[order] = following[group]
    return out


def _placed(notes: np.ndarray, sections: list[_Section], grid: Grid, losses: _Losses) -> tuple[np.ndarray, ...]:
    """Place the notes of a program on the grid: onset and duration in ticks, pitch, velocity, each int64 (notes,), sorted."""
    starts = np.array([section.start for section in sections])
    steps = np.array([16 // section.denominator for section in sections])
    onset, length, pitch, velocity = notes

    def section_of(time: np.ndarray) -> np.ndarray:
        return np.maximum(np.searchsorted(starts, time, side="right") - 1, 0)

    at = section_of(onset)
    place = starts[at] + np.floor((onset - starts[at]) / steps[at] + 0.5) * steps[at]
    losses.notes += len(onset)
    losses.counts["moved"] += int((np.abs(place - onset) > 1e-6).sum())
    pitch = pitch.astype(np.int64)
    # Of notes at one place the longest is kept, as loud as the loudest.
    order = np.lexsort((-length, pitch, place))
    place, length, pitch, velocity = place[order].astype(np.int64), length[order], pitch[order], velocity[order]
    new = np.ones(len(place), bool)
    new[1:] = (np.diff(place) != 0) | (np.diff(pitch) != 0)
    losses.counts["double"] += int((~new).sum())
    velocity = np.maximum.reduceat(velocity, np.flatnonzero(new)) if len(new) else velocity
    place, length, pitch = place[new], length[new], pitch[new]
    step = steps[section_of(place)]
    wanted = length / step
    told = grid.durations[_nearest(grid.durations, wanted)]
    gap = (next_onsets(place.astype(np.float64), pitch) - place) / step
    room = grid.durations[np.maximum(np.searchsorted(grid.durations, gap + 1e-9, side="right") - 1, 0)]
    losses.counts["overlap"] += int((wanted > gap + 1e-6).sum())
    losses.counts["long"] += int((wanted > grid.durations[-1] + 0.5).sum())
    told = np.minimum(told, room)
    losses.counts["lengths"] += int(((np.abs(told - wanted) > 1e-6) & (wanted <= np.minimum(gap, grid.durations[-1]))).sum())
    levels = grid.velocities[_nearest(grid.velocities, velocity)]
    losses.counts["velocities"] += int((levels != velocity).sum())
    return place, told * step, pitch, levels


def _nearest(values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the index of the nearest of some ascending values for each that is asked, the lower of two: int64."""
    middles = (values[1:] + values[:-1]) / 2
    return np.searchsorted(middles, asked, side="left")


def _tempi(score, scale: float, sections: list[_Section], last: int, grid: Grid, losses: _Losses) -> list[tuple[int, float]]:
    """List the tempi as (tick, level): on beats, none twice in a row, the first at tick 0."""
    changes = [(event.time * scale, 6e7 / event.mspq if event.mspq else np.inf) for event in score.tempos]
    if not changes or min(changes)[0] > grid.positions / 6:
        losses.counts["no tempo"] = 1
        changes.insert(0, (0.0, 120.0))
    found: dict[int, float] = {}
    starts = np.array([section.start for section in sections])
    for time, qpm in sorted(changes, key=lambda change: change[0]):
        section = sections[max(int(np.searchsorted(starts, time, side="right")) - 1, 0)]
        beat = 16 // section.denominator * grid.positions
        tick = section.start + int((time - section.start) / beat + 0.5) * beat
        level = float(grid.tempi[np.abs(np.log(grid.tempi / np.clip(qpm, 1e-3, 1e6))).argmin()])
        if tick > last:
            losses.counts["tempo after"] += 1
            continue
        losses.counts["tempo between"] += int(abs(tick - time) > 1e-6)
        if abs(level / qpm - 1) > 1e-5:
            losses.tempi.append((qpm, level))
        found[tick] = level
    kept: list[tuple[int, float]] = []
    for tick in sorted(found):
        if not kept or kept[-1][1] != found[tick]:
            kept.append((tick, found[tick]))
    return kept


def _count_the_rest(score, losses: _Losses) -> None:
    """Count what has no token at all."""
    losses.counts["keys"] = len(score.key_signatures)
    losses.counts["texts"] = len(score.markers)
    for track in score.tracks:
        numbers = track.controls.numpy()["number"]
        losses.counts["controls"] += int((numbers != 64).sum())
        losses.counts["bends"] += len(track.pitch_bends)
        losses.counts["texts"] += len(track.lyrics)
