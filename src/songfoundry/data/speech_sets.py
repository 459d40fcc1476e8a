"""Find recordings of people who speak and who sing: who, which words, for what they may be used.

Collections, told apart by what is there:

- an `index.json` of clips that lie one after the other in longer files (the keys `clip`, `file`, `start_sample`, `num_samples`);
- RAVDESS as it is handed out: files named by seven numbers, `03-02-05-01-02-01-13.wav`, the second 01 for speech and 02 for song;
- LibriSpeech as it is handed out: files named `speaker-chapter-utterance.flac` in folders such as `train-clean-100`.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from songfoundry.data.places import folder_of, named_like
from songfoundry.data.songs import AUDIO_SUFFIXES, SPLITS
from songfoundry.errors import DatasetError

__all__ = ["Utterance", "find_utterances"]

_RAVDESS = re.compile(r"\d\d(-\d\d){6}")
_LIBRISPEECH = re.compile(r"(\d+)-(\d+)-(\d+)")
_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
_LICENCES = {"ravdess": "CC BY-NC-SA 4.0", "librispeech": "CC BY 4.0"}


@dataclass(frozen=True)
class Utterance:
    """Describe one recording: a sentence, spoken or sung.

    `start` and `frames` say which samples of the file it is, at `rate` Hz; None for all of it. Of the same `speaker` and `text` a
    spoken and a sung one are a pair; an empty text is like no other. `split` is "train", "valid", "test" or "unused".
    """

    name: str
    path: Path
    sung: bool
    speaker: str
    text: str = ""
    emotion: str = ""
    split: str = "train"
    licence: str = "not stated"
    start: int = 0
    frames: int | None = None
    rate: int = 16000

    def slice(self, rate: int, samples: int) -> tuple[int, int]:
        """Say from which to before which sample of its decoded file it lies, at `rate` Hz, of `samples` in all."""
        scale = rate / self.rate
        first = min(round(self.start * scale), samples)
        return first, samples if self.frames is None else min(round((self.start + self.frames) * scale), samples)


def find_utterances(folder: str | os.PathLike, include: Iterable[str] = ("*",)) -> list[Utterance]:
    """List the recordings below a folder, in a steady order, of those whose name matches a pattern.

    Parameters
    ----------
    folder : a path; a relative one that does not exist here is looked for below SONGFOUNDRY_DATA.
    include : shell patterns of names.

    Raises
    ------
    DatasetError : no such folder, no recordings in it, none that matches, or an index that is none.
    """
    path = folder_of(folder, "recordings of people")
    found = _from_index(path) if (path / "index.json").is_file() else _from_names(path)
    if not found:
        raise DatasetError(
            f"expected recordings of people in {path} (an index.json of clips, or files named as those of RAVDESS or LibriSpeech), found "
            "none: point at the folder that holds them"
        )
    return named_like(found, include, "recordings", path)


def _from_index(folder: Path) -> list[Utterance]:
    index = folder / "index.json"
    try:
        about = json.loads(index.read_text(encoding="utf-8"))
        rate, found = int(about.get("sample_rate", 16000)), [_from_entry(folder, entry) for entry in about["clips"]]
    except OSError as error:
        raise DatasetError(f"expected an index of clips in {index}, found it unreadable ({error.strerror}): mend that") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"no key {error}" if isinstance(error, KeyError) else f"something else ({error})"
        raise DatasetError(f"expected an index of clips in {index}, found {what}: mend or remove it") from None
    for one in found:
        if one.split not in SPLITS:
            raise DatasetError(f"expected a split ({', '.join(SPLITS)}) for {one.name!r} of {index}, found {one.split!r}: mend the index")
    missing = next((one.path for one in found if not one.path.is_file()), None)
    if missing is not None:
        raise DatasetError(f"expected the file {missing} that {index.name} names, found none: restore it or mend the index")
    return [one if one.rate == rate else _at(one, rate) for one in found]


def _at(one: Utterance, rate: int) -> Utterance:
    return Utterance(**{**one.__dict__, "rate": rate})


def _from_entry(folder: Path, entry: dict) -> Utterance:
    name = str(entry["clip"])
    acted = bool(_RAVDESS.fullmatch(name))
    return Utterance(
        name, folder / str(entry["file"]), entry.get("kind", "speech") == "song", str(entry.get("actor", entry.get("speaker", ""))),
        # The same sentence in the same mood is a pair; other texts are said once.
        text=str(entry.get("statement", "")), emotion=str(entry.get("emotion", "")), split=str(entry.get("split", "train")),
        licence=str(entry.get("licence", _LICENCES["ravdess" if acted else "librispeech"])), start=int(entry["start_sample"]),
        frames=int(entry["num_samples"]),
    )  # fmt: skip


def _from_names(folder: Path) -> list[Utterance]:
    found = []
    for place, _, names in sorted(os.walk(folder, followlinks=False)):
        for file in sorted(names):
            path = Path(place, file)
            if path.suffix.lower() not in AUDIO_SUFFIXES or file.startswith("."):
                continue
            if _RAVDESS.fullmatch(path.stem):
                _, channel, emotion, _, statement, _, actor = map(int, path.stem.split("-"))
                split = "test" if actor > 20 else "valid" if actor > 18 else "train"
                mood = _EMOTIONS[emotion - 1] if 1 <= emotion <= len(_EMOTIONS) else str(emotion)
                found.append(
                    Utterance(path.stem, path, channel == 2, str(actor), str(statement), mood, split, _LICENCES["ravdess"], rate=48000)
                )
            elif match := _LIBRISPEECH.fullmatch(path.stem):
                parts = path.relative_to(folder).parts[:-1]
                named = [name for name, word in (("valid", "dev"), ("test", "test")) if any(part.startswith(word) for part in parts)]
                split = named[0] if named else "train"
                found.append(Utterance(path.stem, path, False, match[1], split=split, licence=_LICENCES["librispeech"]))
    return found
