"""Find single notes, whatever the folder's layout, and say of each what it may be used for: pitch, instrument, split, licence.

Kinds of folder, told apart by what is there:

- "index": an `index.json` that lists notes: file, start_sample, num_samples, pitch, instrument, split, licence, and of several
  more facts `dynamic`, `pitch_ok` (notes whose pitch was found wrong are left out) and `cents_off`;
- "nsynth": `examples.json` beside a folder `audio`, or folders of that kind named by their split (`nsynth-train`, ...);
- "folder": sound files whose names say their pitch: `flute_C4.wav`, `60.wav`, `oboe/A3.wav`, `strings_010-060-100.wav`.

Splits are binding. An index says them, and so do folders that are named train, valid or test; else a hash decides in which all
takes of one note (instrument, pitch, dynamic) stand together. NSynth: Engel et al. 2017, arXiv 1704.01279.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from songfoundry.data.note_names import dynamic_in, pitch_in, says_pitch
from songfoundry.data.places import folder_of, place_of
from songfoundry.data.score_sets import PERMISSIVE, allowed
from songfoundry.data.songs import AUDIO_SUFFIXES
from songfoundry.errors import ConfigError, DatasetError
from songfoundry.registry import nearest

KINDS = ("index", "nsynth", "folder")
SPLITS = ("train", "valid", "test")
NOT_STATED = "not stated"
_RATE = 16000
"""Of `start_sample` and `num_samples` in an index that names no rate."""


@dataclass(frozen=True)
class Note:
    """Describe a note: where it lies, what it is, what it may be used for.

    `start`, `frames`: where it lies in its file, in samples at `rate` Hz; without frames it is the file from its first sound on.
    `pitch`: MIDI number; `velocity`: loudness of playing, 0 to 1; `cents`: how far the recording is off its pitch, as measured.
    """

    name: str
    path: Path
    pitch: int
    instrument: str
    family: str
    velocity: float
    split: str
    licence: str = NOT_STATED
    start: int = 0
    frames: int | None = None
    rate: int = _RATE
    cents: float = 0.0
    trim: bool = False


def find_notes(path: str | os.PathLike, kind: str = "auto", licence: str = "") -> tuple[str, list[Note]]:
    """List the notes of a folder in a steady order, and say of which kind it is.

    Parameters
    ----------
    path : a relative one that does not exist here is looked for below SONGFOUNDRY_DATA.
    licence : what notes are under whose folder states none.

    Raises
    ------
    DatasetError : no such folder, no notes in it, audio that is missing, a name without a pitch, an index of something else.
    """
    place = folder_of(path, "notes")
    kind = kind_of(place) if kind == "auto" else kind
    reader = {"index": _from_index, "nsynth": _from_nsynth, "folder": _from_files}[kind]
    notes = list(reader(place, licence or NOT_STATED))
    if not notes:
        raise DatasetError(
            f"expected notes in {place} (an index.json, NSynth's examples.json, or sound files named by pitch such as flute_C4.wav), "
            "found none: point at the folder that holds them"
        )
    return kind, notes


def holds_notes(path: str | os.PathLike) -> bool:
    """Tell whether a folder holds single notes in a layout that is known here; of sound files, whether a name says a pitch."""
    place = place_of(path)
    if not place.is_dir():
        return False
    if kind_of(place) != "folder":
        return True
    files = (file for file in place.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES)
    return any(says_pitch(file) for file in files)


def choose(path: str | os.PathLike, notes: Sequence[Note], include: Sequence[str] = ("*",), licences: Sequence[str] = ()) -> list[int]:
    """Say which notes of a folder have a name that matches and a licence that is wanted: their places in the list.

    Parameters
    ----------
    path : of the folder, for an error's sentence.
    include : shell patterns of note names, such as `philharmonia/*`.
    licences : only notes under one of these; "permissive" is as in `data.score_sets`; none: any.

    Raises
    ------
    ConfigError : patterns or licences that leave no note, or a licence that nobody knows and no note is under.
    """
    stated = sorted({note.licence for note in notes})
    for word in licences:
        if word.lower() not in {known.lower() for known in (*stated, *PERMISSIVE, "permissive")}:
            raise ConfigError(
                f"expected in data.folders.licences a licence of the notes in {path}, found {word!r}: {nearest(word, stated)}"
            )
    found = [number for number, note in enumerate(notes) if allowed(note.name, note.licence, include, licences)]
    if not found:
        under = f" under {' or '.join(licences)}" if licences else ""
        raise ConfigError(
            f"expected notes in {path} named like {' or '.join(include)}{under}, found none among {len(notes)} such as "
            f"{notes[0].name!r} ({', '.join(stated)}): mend include or licences in data.folders"
        )
    return found


def kind_of(place: Path) -> str:
    """Tell which kind of folder of notes this is; "folder" where nothing says more."""
    if any(True for _ in _nsynth_parts(place)):
        return "nsynth"
    try:
        listed = isinstance(json.loads((place / "index.json").read_text(encoding="utf-8")), list)
    except (OSError, ValueError):
        listed = False
    return "index" if listed else "folder"


def hashed_split(*what) -> str:
    """Choose a split by what a note is, so that its takes stand together: 90 % train, 5 % valid, 5 % test."""
    share = int(hashlib.md5("|".join(map(str, what)).encode(), usedforsecurity=False).hexdigest(), 16) % 1000
    return "train" if share < 900 else "valid" if share < 950 else "test"


def _named_split(name: str) -> str | None:
    """Tell the split that a folder's name means: `valid`, `nsynth-valid`."""
    word = name.lower().rpartition("-")[2]
    return {"validation": "valid"}.get(word, word) if word in (*SPLITS, "validation") else None


def _pitch(value, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 127:
        raise DatasetError(f"expected a MIDI pitch from 0 to 127 for {where}, found {value!r}: mend it")
    return value


def _read_json(file: Path, what: str):
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"expected {what} in {file}, found it unreadable ({error.strerror}): restore it") from None
    except ValueError as error:
        raise DatasetError(f"expected {what} in {file}, found no JSON ({error}): mend or restore it") from None


def _from_index(place: Path, licence: str) -> Iterator[Note]:
    index = place / "index.json"
    rows = _read_json(index, "a list of notes")
    try:
        rows = [row for row in rows if row.get("pitch_ok", True)]
        layers: dict[tuple, int] = {}
        for row in rows:
            group, layer = _group(row), _layer(row.get("dynamic", ""))
            layers[group] = max(layers.get(group, 0), layer)
        for number, row in enumerate(rows):
            where = f"note {number} of {index}"
            dynamic, layer = row.get("dynamic", ""), _layer(row.get("dynamic", ""))
            # A recorder's own layers, soft to loud, are spread over the loudnesses of playing.
            velocity = (layer - 0.5) / layers[_group(row)] if layer else dynamic_in([dynamic])
            pitch, instrument = _pitch(row["pitch"], where), str(row["instrument"])
            split = row.get("split") or hashed_split(row.get("source", ""), instrument, pitch, dynamic)
            if split not in (*SPLITS, "unused"):
                raise DatasetError(f"expected a split ({', '.join(SPLITS)}) for {where}, found {split!r}: mend it")
            parts = (row.get("source", place.name), instrument, row.get("articulation"), pitch, dynamic, row.get("variant"))
            yield Note(
                "/".join(str(part) for part in parts if part not in (None, "")), place / row["file"], pitch, instrument,
                str(row.get("family", instrument)), velocity, split, row.get("licence", licence), int(row.get("start_sample", 0)),
                int(row["num_samples"]), int(row.get("rate", _RATE)), float(row.get("cents_off", 0)),
            )  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"no key {error}" if isinstance(error, KeyError) else f"something else ({error})"
        raise DatasetError(f"expected a list of notes with file, pitch and instrument in {index}, found {what}: mend it") from None


def _group(row: dict) -> tuple:
    """Name what a recorder's velocity layers belong to."""
    return row.get("source"), row["instrument"], row.get("articulation")


def _layer(dynamic: str) -> int:
    """Read the number of a velocity layer, `vl3`; 0 for what is none."""
    return int(dynamic[2:]) if dynamic.startswith("vl") and dynamic[2:].isdigit() else 0


def _nsynth_parts(place: Path) -> Iterator[Path]:
    """Give the folders that hold an examples.json: this one, or those right below."""
    if (place / "examples.json").is_file():
        yield place
    else:
        yield from (folder for folder in sorted(place.iterdir()) if (folder / "examples.json").is_file())


def _from_nsynth(place: Path, licence: str) -> Iterator[Note]:
    parts = list(_nsynth_parts(place))
    if not parts:
        raise DatasetError(f"expected NSynth's examples.json in {place}, or in a folder right below, found none: unpack the data there")
    for part in parts:
        examples, audio = _read_json(part / "examples.json", "NSynth's notes"), part / "audio"
        try:
            with os.scandir(audio) as files:
                there = {file.name for file in files}
        except OSError:
            raise DatasetError(f"expected the audio of {part / 'examples.json'} in {audio}, found no such folder: unpack it") from None
        try:
            missing = [name for name in examples if f"{name}.wav" not in there]
            if missing:
                raise DatasetError(
                    f"expected a WAV in {audio} for each of the {len(examples)} notes of examples.json, found none for "
                    f"{len(missing)}, such as {missing[0]}.wav: unpack the data again, or take those out of examples.json"
                )
            for name, facts in sorted(examples.items()):
                pitch = _pitch(facts["pitch"], f"{name} of {part / 'examples.json'}")
                instrument, velocity = str(facts["instrument_str"]), float(facts["velocity"])
                yield Note(
                    name, audio / f"{name}.wav", pitch, instrument, str(facts.get("instrument_family_str", instrument)),
                    min(1.0, velocity / 127), _named_split(part.name) or hashed_split(instrument, pitch, velocity), licence,
                )  # fmt: skip
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DatasetError(
                f"expected pitch, velocity and instrument_str of each note in {part / 'examples.json'}, found others ({error!r}): mend it"
            ) from None


def _from_files(place: Path, licence: str) -> Iterator[Note]:
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(folder).relative_to(place).parts
        split = next((named for part in reversed((place.name, *inside)) if (named := _named_split(part))), None)
        above = [part for part in inside if not _named_split(part)]
        for name in sorted(names):
            file = Path(folder, name)
            if name.startswith(".") or file.suffix.lower() not in AUDIO_SUFFIXES:
                continue
            found = pitch_in(file)
            instrument = above[-1] if above else found.before or place.name
            decided = split or hashed_split(instrument, found.pitch, found.velocity)
            full = file.relative_to(place).with_suffix("").as_posix()
            yield Note(full, file, found.pitch, instrument, instrument, found.velocity, decided, licence, trim=True)
