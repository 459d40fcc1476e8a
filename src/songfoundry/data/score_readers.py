"""Read the pieces of a collection as scores with true bars: each collection has its own idea of where beats are.

POP909 and MAESTRO are laid on their annotated beats: what their files say of metre (POP909) or of anything but seconds
(MAESTRO) is a placeholder. The others are taken as their files say. Tracks of one program are told apart (`notes.quantising.apart`).
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from songfoundry.data.score_sets import Collection, Piece
from songfoundry.errors import DatasetError, InputError
from songfoundry.notes import read_midi
from songfoundry.notes.quantising import apart, from_voices, on_beats

CHOIR = 52
"""General MIDI's choir: the four voices of a chorale become 52 to 55 when they are told apart."""
CHORALE_QPM = 80.0
"""The tempo written for chorales, which have none; a draw varies it widely."""
_LARGEST_NUMERATOR = 16
# Keys of the Roland TD-11 that Groove was played on, mapped as its authors do (Gillick et al. 2019, table 5).
_HI_HAT_EDGES = {22: 42, 26: 46}
_SCALE = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class Reading:
    """Hold a piece as it was read.

    `keys`: (bar from 0, key 0-23: tonic pitch class + 12 for minor) in order, each until the next; empty where unknown.
    `free_tempo`: the tempo is not the music's own but one that was made up.
    """

    piece: Piece
    score: object
    keys: tuple[tuple[int, int], ...] = ()
    free_tempo: bool = False


def readings(collection: Collection, split: str, *, bars: bool = True, skipped: list[str] | None = None) -> Iterator[Reading]:
    """Read the pieces of a split, in their order.

    Parameters
    ----------
    bars : lay the music on beats; without, MAESTRO's whole recordings are given as they were played.
    skipped : gets a sentence for each file of a user's folder that cannot be read; without it the first such file is an error.

    Raises
    ------
    DatasetError : an archive does not hold what its index names.
    InputError : a file of a folder cannot be read, and there is no list `skipped`.
    """
    pieces = collection.part(split)
    if collection.path.is_dir():
        for piece in pieces:
            try:
                score = read_midi(piece.place)
            except InputError as error:
                if skipped is None:
                    raise
                skipped.append(str(error))
                continue
            yield Reading(piece, apart(score)[0], free_tempo=not len(score.tempos))
        return
    read = _READERS.get(collection.name, _plain)
    if collection.name == "maestro" and not bars:
        read = _plain
    try:
        with zipfile.ZipFile(collection.path) as archive:
            yield from read(archive, pieces)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: an encrypted member
        raise DatasetError(
            f"expected in {collection.path.name} what its index names, found it lacking ({error}): restore archive and index"
        ) from error


def _plain(archive: zipfile.ZipFile, pieces: Sequence[Piece]) -> Iterator[Reading]:
    """Take scores as their files have them; a folk tune's key comes from the index."""
    for piece in pieces:
        score = read_midi(archive.read(piece.member))
        keys = ()
        if "key_sharps" in piece.facts:
            keys = ((0, key_of_signature(piece.facts["key_sharps"], piece.facts["key_minor"])),)
        yield Reading(piece, apart(score)[0], keys, free_tempo=not len(score.tempos))


def _pop909(archive: zipfile.ZipFile, pieces: Sequence[Piece]) -> Iterator[Reading]:
    for piece in pieces:
        folder = piece.member.rpartition("/")[0]
        labels = np.loadtxt(io.BytesIO(archive.read(f"{folder}/beat_midi.txt")), ndmin=2)
        numerator, denominator = map(int, piece.facts["meter"].split("/"))
        # In 4/4 the second column flags half bars, the third every second of them; in the other metres the second flags bars.
        downbeats = np.flatnonzero(labels[:, 2 if (numerator, denominator) == (4, 4) else 1])
        quarters, metres, starts = lay_bars(len(labels), downbeats, [(numerator, denominator)] * len(downbeats))
        qpm = 60 * (quarters[-1] - quarters[0]) / (labels[-1, 0] - labels[0, 0])
        score = on_beats(read_midi(archive.read(piece.member)), labels[:, 0], quarters, metres, qpm)
        keys = []
        for begin, _, name in piece.facts.get("keys", ()):
            quarter = np.interp(begin, labels[:, 0], quarters)
            # A label begins with the sounding key: the nearest bar line is meant.
            keys.append((int(np.argmin(np.abs(starts - quarter))) if keys else 0, key_of_name(name)))
        yield Reading(piece, apart(score)[0], tuple(keys))


def _maestro(archive: zipfile.ZipFile, pieces: Sequence[Piece]) -> Iterator[Reading]:
    """Take the movements that have annotated beats; the rest of MAESTRO has no bars."""
    path = Path(archive.filename)
    try:
        with zipfile.ZipFile(path.with_name(f"{path.stem}_beats.zip")) as beside:
            annotated = json.loads(beside.read("asap_maestro_beats.json"))
    except OSError as error:
        raise DatasetError(
            f"expected the beats of MAESTRO in {path.stem}_beats.zip beside {path.name}, found none ({error.strerror}): restore it, "
            "or train on tokens of kind performance, which need no beats"
        ) from error
    by_member: dict[str, list[dict]] = {}
    for movement in annotated:
        by_member.setdefault(movement["path"], []).append(movement)
    for piece in pieces:
        if piece.member not in by_member:
            continue
        recording = read_midi(archive.read(piece.member))
        for movement in by_member[piece.member]:
            beats = np.array(movement["beats"])
            downbeats = np.searchsorted(beats, np.array(movement["downbeats"]) - 1e-3)
            told = movement["time_signatures"]
            metres = []
            for downbeat in downbeats:
                text = [metre for begin, metre in told if begin <= beats[downbeat] + 0.02][-1:] or [told[0][1]]
                metres.append(tuple(map(int, text[0].split("/"))))
            quarters, signatures, _ = lay_bars(len(beats), downbeats, metres)
            qpm = 60 * (quarters[-1] - quarters[0]) / (beats[-1] - beats[0])
            last = beats[-1] + 4 * (beats[-1] - beats[-2])
            score = on_beats(recording, beats, quarters, signatures, qpm, between=(beats[0] - 0.1, last))
            yield Reading(replace(piece, name=f"{piece.name}#{movement['asap_title']}"), score)


def _jsb(archive: zipfile.ZipFile, pieces: Sequence[Piece]) -> Iterator[Reading]:
    """Take the chorales whose metre is known."""
    arrays = _chorale_arrays(archive)
    for piece in pieces:
        if "meter" not in piece.facts:
            continue
        numerator, denominator = map(int, piece.facts["meter"].split("/"))
        score = from_voices(
            arrays[piece.split][piece.facts["number"]], numerator, denominator, CHORALE_QPM, programs=(CHOIR,) * 4,
            pickup=piece.facts.get("pickup_quarters", 0.0),
        )  # fmt: skip
        keys = ((0, key_of_name(piece.facts["key"])),) if "key" in piece.facts else ()
        yield Reading(piece, apart(score)[0], keys, free_tempo=True)


def _groove(archive: zipfile.ZipFile, pieces: Sequence[Piece]) -> Iterator[Reading]:
    """Take the drummers' files; the edges of the hi-hat, which General MIDI has no keys for, become closed and open hi-hat."""
    for reading in _plain(archive, pieces):
        for track in reading.score.tracks:
            for note in track.notes:
                note.pitch = _HI_HAT_EDGES.get(note.pitch, note.pitch)
        yield reading


def _chorale_arrays(archive: zipfile.ZipFile) -> dict[str, list[np.ndarray]]:
    """Read the voices of all chorales: split -> int16 (sixteenths, 4), pitches of soprano to bass, -1 where silent."""
    splits = json.loads(archive.read("jsb_satb_16th.json"))
    names = {"validation": "valid"}
    return {names.get(split, split): [np.array(steps, np.int16) for steps in found] for split, found in splits.items()}


def chorale_arrays(collection: Collection, split: str) -> list[np.ndarray]:
    """Read the chorales of a split, in the published order: int16 (sixteenths, 4) each, soprano to bass, -1 where silent.

    Raises
    ------
    DatasetError : the archive holds no chorales.
    """
    try:
        return _voices(collection.path, collection.mark)[split]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"expected the chorales' voices (jsb_satb_16th.json) in {collection.path.name}, found none ({error}): name jsb.zip"
        ) from error


@lru_cache(maxsize=2)
def _voices(path: Path, _mark: str) -> dict[str, list[np.ndarray]]:
    """Keep what was read: the text takes a second."""
    with zipfile.ZipFile(path) as archive:
        return _chorale_arrays(archive)


def lay_bars(
    beats: int, downbeats: np.ndarray, metres: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, list[tuple[float, int, int]], np.ndarray]:
    """Place beats on a line of quarter notes so that each annotated bar is one bar.

    The beat of a compound metre (6/8, 9/8, 12/16 ...) is three of its denominator. A bar with more or fewer beats than its metre
    has gets as many whole bars as fit and one of what is left over, in its own metre. What precedes the first bar line
    becomes the end of a whole first bar.

    Parameters
    ----------
    downbeats : int (bars,), rising: the beats that begin bars. metres : of each bar, (numerator, denominator).

    Returns
    -------
    quarters : float64 (beats,), the place of each beat. metres : (quarter, numerator, denominator) of every bar.
    starts : float64 (bars,), the place of every bar line.
    """
    quarters = np.zeros(beats)
    found: list[tuple[float, int, int]] = []
    numerator, denominator = metres[0]
    each = _beat(numerator, denominator)
    pickup, whole = downbeats[0] * each / denominator * 4, numerator / denominator * 4
    at = -(-pickup // whole) * whole
    quarters[: downbeats[0] + 1] = at - np.arange(downbeats[0], -1, -1) * each / denominator * 4
    found += [(bar * whole, numerator, denominator) for bar in range(round(at / whole))]
    for number, begin in enumerate(downbeats):
        numerator, denominator = metres[number]
        each = _beat(numerator, denominator)
        last = number + 1 == len(downbeats)
        count = (beats if last else downbeats[number + 1]) - begin
        quarters[begin : begin + count] = at + np.arange(count) * each / denominator * 4
        left = count * each
        if last:
            left = -(-left // numerator) * numerator
        while left > 0:
            parts = min(left, numerator, _LARGEST_NUMERATOR if numerator % 12 else 12)
            found.append((at, parts, denominator))
            at += parts / denominator * 4
            left -= parts
    return quarters, found, np.array([quarter for quarter, _, _ in found])


def _beat(numerator: int, denominator: int) -> int:
    """Count the notes of the denominator in a beat: three in a compound metre."""
    return 3 if numerator % 3 == 0 and numerator > 3 and denominator >= 8 else 1


def key_of_signature(sharps: int, minor: bool) -> int:
    """Turn a key signature (sharps, flats negative) into a key 0-23."""
    tonic = 7 * sharps % 12
    return (tonic + 9) % 12 + 12 if minor else tonic


def key_of_name(name: str) -> int:
    """Turn "Gb:maj", "Eb:min" (POP909) or "B-", "f#" (chorales: lower case is minor, - is flat) into a key 0-23."""
    tonic, colon, mode = name.partition(":")
    minor = mode.startswith("min") if colon else tonic[0].islower()
    shift = tonic[1:].count("#") - tonic[1:].count("b") - tonic[1:].count("-")
    return (_SCALE[tonic[0].upper()] + shift) % 12 + 12 * minor


_READERS: dict[str, Callable[[zipfile.ZipFile, Sequence[Piece]], Iterator[Reading]]] = {
    "pop909": _pop909, "maestro": _maestro, "jsb": _jsb, "groove": _groove,
}  # fmt: skip
