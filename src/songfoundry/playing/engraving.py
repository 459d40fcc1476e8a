"""Write a piece as a score to be read: MusicXML by music21, and its pages engraved by Verovio.

What is played is not what is written: notes are put on sixteenths or triplets, whichever is nearer in each quarter of each
staff, and a staff has two voices at the most; a note that a third would need is cut where the next one begins.
"""

import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from songfoundry.audio.io import write_atomic_text
from songfoundry.errors import InputError, MissingExtraError, OutputError
from songfoundry.notes.arranging import Bar
from songfoundry.notes.arranging import bars as bars_of

__all__ = ["contents", "musicxml", "pages", "write", "write_contents"]

_UNITS = 12
"""Parts of a quarter note: both thirds and quarters of it are whole."""
_MOST_BARS = 1000
_MOST_NOTES = 50_000
_KEYBOARDS = (*range(0, 24), 46)
_SPLIT = 60
# Where drums stand on a staff of five lines, and the head of their notes (Weinberg 1998, as most publishers have it).
_DRUMS = {
    35: ("E4", "normal"), 36: ("F4", "normal"), 37: ("C5", "x"), 38: ("C5", "normal"), 39: ("C5", "x"), 40: ("C5", "normal"),
    41: ("G4", "normal"), 43: ("A4", "normal"), 45: ("B4", "normal"), 47: ("D5", "normal"), 48: ("D5", "normal"), 50: ("E5", "normal"),
    42: ("G5", "x"), 44: ("D4", "x"), 46: ("G5", "circle-x"), 49: ("A5", "x"), 52: ("A5", "x"), 55: ("B5", "x"), 57: ("A5", "x"),
    51: ("F5", "x"), 53: ("F5", "diamond"), 59: ("F5", "x"), 54: ("E5", "x"), 56: ("E5", "triangle"),
}  # fmt: skip


@dataclass
class _Staff:
    """Hold one staff: (start, end, pitches) of each voice in `_UNITS`, without overlaps."""

    name: str
    program: int
    drum: bool
    braced: bool = False
    low: bool = False
    voices: list[list[tuple[int, int, tuple[int, ...]]]] = field(default_factory=list)


def write(score, folder: str | os.PathLike, *, title: str = "") -> list[Path]:
    """Write ``score.musicxml`` and ``page-01.svg`` ... into a folder, which is made if need be.

    Args:
        score: a ``symusic.Score`` in ticks.
        folder: where to write.
        title: above the first page.

    Returns:
        the files, the MusicXML first.

    Raises:
        InputError: no notes, or far too many to read.
        OutputError: the files cannot be written; then none is left.
        MissingExtraError: music21 or Verovio is not installed.
    """
    return write_contents(contents(score, title=title), folder)


def contents(score, *, title: str = "") -> dict[str, str]:
    """Make the files of a score, by name, the MusicXML first; raises as `write` does, but for what the disk says."""
    _verovio()  # before the work
    text = musicxml(score, title=title)
    return {"score.musicxml": text} | {f"page-{n:02}.svg": page for n, page in enumerate(pages(text), 1)}


def write_contents(contents: dict[str, str], folder: str | os.PathLike) -> list[Path]:
    """Write what `contents` made into a folder, all of it or none; raises `OutputError`."""
    folder, done = Path(folder), []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomic_text(folder / name, content)
            done.append(folder / name)
    except OSError as error:
        raise OutputError(f"expected to make the folder '{folder}', but {error.strerror}; choose another one") from error
    except OutputError:
        for path in done:
            path.unlink(missing_ok=True)
        raise
    return done


def pages(text: str) -> list[str]:
    """Engrave MusicXML: one SVG for each page of A4.

    Raises:
        InputError: Verovio cannot read it.
        MissingExtraError: Verovio is not installed.
    """
    verovio = _verovio()
    verovio.enableLog(verovio.LOG_OFF)
    engraver = verovio.toolkit()
    # A4 in tenths of a millimetre, cut off below the last line; staves of 4 mm.
    engraver.setOptions({"pageWidth": 2100, "pageHeight": 2970, "scale": 60, "scaleToPageSize": True,
                         "adjustPageHeight": True, "footer": "none", "smuflTextFont": "embedded"})  # fmt: skip
    if not engraver.loadData(text):
        raise InputError("expected MusicXML that can be engraved, found that Verovio does not read it: open it in a notation program")
    return [engraver.renderToSVG(number) for number in range(1, engraver.getPageCount() + 1)]


def musicxml(score, *, title: str = "") -> str:
    """Write a score as MusicXML 4.0.

    Args:
        score: a ``symusic.Score`` in ticks.
        title: of the piece.

    Raises:
        InputError: no notes, or far too many to read.
        MissingExtraError: music21 is not installed.
    """
    music21 = _music21()
    count = sum(len(track.notes) for track in score.tracks)
    if not count:
        raise InputError("expected notes to write as a score, found none: check that it is the right file")
    quarter = score.ticks_per_quarter
    last = max(int((c["time"] + c["duration"]).max()) for c in (track.notes.numpy() for track in score.tracks if len(track.notes)))
    metres = [(event.numerator, event.denominator) for event in score.time_signatures] or [(4, 4)]
    about = last / min(quarter * 4 * above / below for above, below in metres)
    if about > _MOST_BARS or count > _MOST_NOTES:
        raise InputError(
            f"expected at most {_MOST_BARS:,} bars and {_MOST_NOTES:,} notes to write as a score, "
            f"found {about:,.0f} and {count:,}: cut the piece"
        )
    bars = bars_of(score, last)
    sharps = _signature(score)
    made = music21.stream.Score()
    made.insert(0, music21.metadata.Metadata(title=title or "Untitled", composer=""))
    compound = any(_beat(metre) != _UNITS for metre in metres)
    staves = [staff for track in score.tracks if len(track.notes) for staff in _staves(track, quarter, not compound)]
    built = [_part(music21, staff, bars, quarter, sharps, _tempi(score) if n == 0 else []) for n, staff in enumerate(staves)]
    for part in built:
        made.insert(0, part)
    for upper, lower, staff in zip(built, built[1:], staves[1:], strict=False):
        if staff.low:
            made.insert(0, music21.layout.StaffGroup([upper, lower], symbol="brace", barTogether=True, name=staff.name))
    # What music21 would "make" of it, it would make of notes that are in their measures already.
    exporter = music21.musicxml.m21ToXml.GeneralObjectExporter(made)
    exporter.makeNotation = False
    return exporter.parse().decode("utf-8")


def _signature(score) -> int:
    """Tell how many sharps (negative: flats) the key has: by the file, or so that the fewest accidentals are needed."""
    if score.key_signatures:
        return int(np.clip(score.key_signatures[0].key, -7, 7))
    pitched = [track.notes.numpy() for track in score.tracks if len(track.notes) and not track.is_drum]
    if not pitched:
        return 0
    weights = np.bincount(
        np.concatenate([c["pitch"] for c in pitched]) % 12, np.concatenate([c["duration"] for c in pitched]).astype(float), minlength=12
    )
    scale = np.array((0, 2, 4, 5, 7, 9, 11))
    inside = {sharps: weights[(scale + 7 * sharps) % 12].sum() for sharps in range(-6, 6)}
    return max(inside, key=lambda s: (round(inside[s] / max(weights.sum(), 1e-9), 3), -abs(s)))


def _tempi(score) -> list[tuple[Fraction, float]]:
    """List (quarter, quarters a minute) where the tempo changes by more than a metronome's step; the first alone of a tempo map."""
    found: list[tuple[Fraction, float]] = []
    for event in sorted(score.tempos, key=lambda event: event.time):
        if not found or abs(event.qpm / found[-1][1] - 1) > 0.02:
            found.append((Fraction(event.time, score.ticks_per_quarter), event.qpm))
    return found if len(found) <= 4 else found[:1]


def _staves(track, quarter: int, triplets: bool) -> list[_Staff]:
    """Divide a track into staves (two for a keyboard that uses both hands) and these into voices."""
    columns = track.notes.numpy()
    pitch = columns["pitch"]
    name = " ".join(track.name.split())[:20] or ("Drums" if track.is_drum else f"Program {track.program}")
    drum, program = bool(track.is_drum), int(track.program)
    if not drum and program in _KEYBOARDS and pitch.min() < 53 and pitch.max() > 67:
        sides = ((pitch >= _SPLIT, False), (pitch < _SPLIT, True))
    else:
        sides = ((np.ones(len(pitch), bool), False),)
    staves = []
    for chosen, low in sides:
        start, end = _snapped(columns["time"][chosen], columns["duration"][chosen], quarter, triplets)
        if drum:
            # A stroke has no length: it is written as long as the next one, or the next quarter, lets it be.
            onsets = np.unique(start)
            following = np.append(onsets[1:], onsets[-1] + _UNITS)[np.searchsorted(onsets, start)]
            end = np.minimum(following, (start // _UNITS + 1) * _UNITS)
        staff = _Staff(name, program, drum, len(sides) > 1, low)
        staff.voices = _voices(start, end, pitch[chosen])
        staves.append(staff)
    return staves


def _snapped(time: np.ndarray, duration: np.ndarray, quarter: int, triplets: bool) -> tuple[np.ndarray, np.ndarray]:
    """Put notes on sixteenths or triplets, whichever is nearer in each quarter: starts and ends in `_UNITS`, int64 (notes,)."""
    exact = time.astype(np.float64) * _UNITS / quarter
    stop = exact + duration * (_UNITS / quarter)
    beat = np.floor(exact / _UNITS + 1e-6).astype(int)
    # A quarter takes triplets if its onsets lie nearer to them by more than rounding.
    errors = [np.abs(exact - np.round(exact / step) * step) for step in (3, 4)]
    straight, triple = (np.bincount(beat, error) for error in errors)
    ternary = np.flatnonzero((triple + 0.35 < straight) & triplets)

    def snap(values: np.ndarray) -> np.ndarray:
        step = np.where(np.isin(np.floor(values / _UNITS + 1e-6).astype(int), ternary), 4, 3)
        return (np.round(values / step) * step).astype(np.int64)

    first, last = snap(exact), snap(stop)
    least = np.where(np.isin(first // _UNITS, ternary), 4, 3)
    return first, np.maximum(last, first + least)


def _voices(start: np.ndarray, end: np.ndarray, pitch: np.ndarray) -> list[list[tuple[int, int, tuple[int, ...]]]]:
    """Sort notes into chords and these into two voices at most."""
    chords: dict[tuple[int, int], list[int]] = {}
    for first, last, key in zip(start.tolist(), end.tolist(), pitch.tolist(), strict=True):
        chords.setdefault((first, last), []).append(key)
    voices: list[list[tuple[int, int, tuple[int, ...]]]] = [[], []]
    for (first, last), keys in sorted(chords.items(), key=lambda item: (item[0][0], -max(item[1]), item[0][1])):
        keys = tuple(sorted(set(keys)))
        free = [voice for voice in voices if not voice or voice[-1][1] <= first]
        if free:
            free[0].append((first, last, keys))
            continue
        # Both sound: the one that has sounded longer makes room; one that begins here too takes the notes in.
        oldest = min(voices, key=lambda voice: voice[-1][0])
        begun, until, held = oldest[-1]
        if begun == first:
            oldest[-1] = (begun, min(until, last), tuple(sorted({*held, *keys})))
        else:
            oldest[-1] = (begun, first, held)
            oldest.append((first, last, keys))
    return [voice for voice in voices if voice]


def _part(music21, staff: _Staff, bars: list[Bar], quarter: int, sharps: int, tempi: list):
    """Build a music21 part, measure by measure."""
    part = music21.stream.PartStaff() if staff.braced else music21.stream.Part()
    part.partName = part.partAbbreviation = "" if staff.low else staff.name
    if not staff.drum:
        part.insert(0, music21.instrument.instrumentFromMidiProgram(staff.program))
        part.getInstrument().partName = part.partName
        part.getInstrument().instrumentAbbreviation = part.partName
    metre, marks = None, list(tempi)
    for number, bar in enumerate(bars, 1):
        measure = music21.stream.Measure(number=number)
        begin, finish = (round(tick * _UNITS / quarter) for tick in (bar.tick, bar.end))
        if number == 1:
            measure.insert(0, _clef(music21, staff))
            if not staff.drum:
                measure.insert(0, music21.key.KeySignature(sharps))
        if metre != (bar.numerator, bar.denominator):
            metre = (bar.numerator, bar.denominator)
            measure.insert(0, music21.meter.TimeSignature(f"{bar.numerator}/{bar.denominator}"))
        while marks and marks[0][0] * _UNITS < finish:
            at, qpm = marks.pop(0)
            measure.insert(max(Fraction(0), at - Fraction(begin, _UNITS)), music21.tempo.MetronomeMark(number=round(qpm, 1)))
        sounding = [[chord for chord in voice if chord[0] < finish and chord[1] > begin] for voice in staff.voices]
        filled = [voice for voice in sounding if voice] or [[]]
        for voice_number, voice in enumerate(filled, 1):
            target = measure
            if len(filled) > 1:
                target = music21.stream.Voice(id=str(voice_number))
            for element in _elements(music21, staff, voice, begin, finish, _beat(metre), sharps):
                # The rests of a second voice would only clutter the staff.
                element.style.hideObjectOnPrint = voice_number > 1 and element.isRest
                target.append(element)
            if target is not measure:
                measure.insert(0, target)
        part.append(measure)
    part.makeBeams(inPlace=True, failOnNoTimeSignature=False)
    music21.stream.makeNotation.makeTupletBrackets(part, inPlace=True)
    part.makeAccidentals(inPlace=True)
    return part


def _elements(music21, staff: _Staff, voice, begin: int, finish: int, beat: int, sharps: int) -> list:
    """Write the notes and rests of one voice in one bar, cut and tied at bar lines and beats."""
    found, at = [], begin
    for first, last, keys in voice:
        found += [_lengthened(music21.note.Rest(), span) for span in _spans(at, max(at, first), begin, beat)]
        spans = _spans(max(first, begin), min(last, finish), begin, beat)
        for a, b in spans:
            element = _lengthened(_chord(music21, staff, keys, sharps), (a, b))
            if not staff.drum and (a > first or b < last):
                element.tie = music21.tie.Tie("continue" if a > first and b < last else "stop" if a > first else "start")
            found.append(element)
        at = min(last, finish)
    if at == begin:
        rest = _lengthened(music21.note.Rest(), (begin, finish))
        rest.fullMeasure = True
        return [rest]
    return found + [_lengthened(music21.note.Rest(), span) for span in _spans(at, finish, begin, beat)]


def _spans(first: int, last: int, begin: int, beat: int) -> list[tuple[int, int]]:
    """Cut a stretch so that each piece is a length that has a note, and none but whole beats reaches over a beat."""
    cuts = []
    while first < last:
        within = (first - begin) % beat
        left = last - first
        if within == 0 and left >= beat:
            lengths = (72, 36, 18) if beat == 18 else (96, 72, 48, 36, 24, 18, 12)
            # A dotted quarter only where it ends the stretch: before anything else it would hide a beat.
            length = next(n for n in lengths if n <= left and (n != 18 or beat == 18 or n == left))
        else:
            length = min(left, beat - within)
            if length % 3 == 0 and length not in (3, 6, 9, 12):
                length = 12
        cuts.append((first, first + length))
        first += length
    return cuts


def _lengthened(element, span: tuple[int, int]):
    element.quarterLength = Fraction(span[1] - span[0], _UNITS)
    return element


def _chord(music21, staff: _Staff, keys: tuple[int, ...], sharps: int):
    """Make a note, a chord, or a stroke of a drum (of the highest, where several are struck at once)."""
    if staff.drum:
        strokes = []
        for key in keys:
            step, head = _DRUMS.get(key, ("C5", "diamond"))
            stroke = music21.note.Unpitched(displayName=step)
            stroke.notehead = head
            strokes.append(stroke)
        return strokes[0] if len(strokes) == 1 else music21.percussion.PercussionChord(strokes)
    # By its parts: music21 does not read the octave -1 behind a sharp or a flat.
    spelled = [_spelled(key, sharps) for key in keys]
    pitches = [music21.pitch.Pitch(step=step, accidental=float(up) if up else None, octave=octave) for step, up, octave in spelled]
    return music21.note.Note(pitches[0]) if len(pitches) == 1 else music21.chord.Chord(pitches)


def _spelled(key: int, sharps: int) -> tuple[str, int, int]:
    """Spell a pitch in a key: letter, semitones up, octave; of the twelve fifths from the flat third to the sharp fifth of its scale."""
    fifths = sharps - 3 + (7 * key - (sharps - 3)) % 12
    sign, letter = divmod(fifths + 1, 7)
    return "FCGDAEB"[letter], sign, (key - sign) // 12 - 1


def _beat(metre: tuple[int, int]) -> int:
    """Give the beat of a metre in `_UNITS`: a dotted quarter in 6/8 and its like, else a quarter."""
    return 18 if metre[1] == 8 and metre[0] % 3 == 0 else _UNITS


def _clef(music21, staff: _Staff):
    if staff.drum:
        return music21.clef.PercussionClef()
    pitches = [key for voice in staff.voices for _, _, keys in voice for key in keys]
    return music21.clef.BassClef() if staff.low or np.mean(pitches) < 57 else music21.clef.TrebleClef()


def _music21():
    """Import music21."""
    try:
        import music21
    except ImportError as error:
        raise MissingExtraError(
            "expected the package music21 to write a score, found none: install it with `pip install songfoundry[score]`"
        ) from error
    return music21


def _verovio():
    """Import Verovio."""
    try:
        import verovio
    except ImportError as error:
        raise MissingExtraError(
            "expected the package verovio to engrave a score, found none: install it with `pip install songfoundry[score]`"
        ) from error
    return verovio
