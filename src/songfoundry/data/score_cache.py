"""Keep collections as tokens in the cache: each split is encoded once, and opened in milliseconds afterwards.

A split lies in a folder of its own, so that a training never opens a token of the test part.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from songfoundry.data.score_readers import readings
from songfoundry.data.score_sets import Collection
from songfoundry.data.songs import cache_root
from songfoundry.errors import InputError, OutputError
from songfoundry.notes.tokens import tokenizer
from songfoundry.notes.vocabulary import TokenConfig

VERSION = 2
"""Raised when the readers or the tokenizer give other tokens for the same files; what older ones made is then not opened."""
NOTE_KINDS = ("Pitch", "PitchDrum", "NoteOn")
"""The kinds of token that stand for one note each."""


@dataclass(frozen=True)
class TokenSet:
    """Hold the pieces of a split as tokens.

    `tokens`: int16 (all tokens,), a memory map; `bounds`: int64 (pieces + 1,), where each piece begins;
    `facts`: of each piece {"name", "licence", "style", "notes", "keys": [[bar, key], ...], "free_tempo"};
    `skipped`: a sentence for each piece that could not be read or encoded.
    """

    tokens: np.ndarray
    bounds: np.ndarray
    facts: list[dict]
    skipped: list[str]

    def __len__(self) -> int:
        """Count the pieces."""
        return len(self.facts)

    def ids(self, number: int) -> np.ndarray:
        """Give the tokens of a piece: int16 (tokens,), a view."""
        return self.tokens[self.bounds[number] : self.bounds[number + 1]]


def tokenised(
    collection: Collection, split: str, config: TokenConfig, progress: Callable[[float], None] | None = None
) -> TokenSet:
    """Open the tokens of a split, encoding it first where it is not in the cache.

    Parameters
    ----------
    progress : called with the fraction of the pieces that are encoded.

    Raises
    ------
    DatasetError : an archive does not hold what its index names.
    OutputError : the cache cannot be written.
    """
    identity = [VERSION, config.model_dump(), tokenizer(config).fingerprint, collection.name, collection.mark, split]
    place = cache_root() / "scores" / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]
    found = _open(place)
    if found is not None:
        return found
    tokens, bounds, facts, skipped = _encode(collection, split, config, progress)
    # Two processes that encode one split at once write the same; each aside, and the later rename finds the place taken.
    aside = place.with_suffix(f".{os.getpid()}.part")
    try:
        aside.mkdir(parents=True)
        np.save(aside / "tokens.npy", tokens)
        np.save(aside / "bounds.npy", bounds)
        about = {"collection": collection.name, "split": split, "pieces": facts, "skipped": skipped}
        (aside / "about.json").write_text(json.dumps(about), encoding="utf-8")
        if _open(place) is None:
            shutil.rmtree(place, ignore_errors=True)
            os.replace(aside, place)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"expected to keep {collection.name} as tokens in {place.parent}, found: {reason}; free space there or name another "
            "folder by the variable SONGFOUNDRY_CACHE"
        ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return TokenSet(tokens, bounds, facts, skipped)


def _encode(
    collection: Collection, split: str, config: TokenConfig, progress: Callable[[float], None] | None
) -> tuple[np.ndarray, np.ndarray, list[dict], list[str]]:
    """Encode the pieces of a split."""
    coder = tokenizer(config)
    is_note = np.isin(coder.kinds, NOTE_KINDS)
    parts, facts, skipped = [], [], []
    total = len(collection.part(split))
    for number, reading in enumerate(readings(collection, split, bars=config.kind == "remi", skipped=skipped)):
        piece = reading.piece
        try:
            ids = coder.encode(reading.score, style=piece.style, key=reading.keys[0][1] if reading.keys else None)
        except InputError as error:
            skipped.append(f"{piece.name}: {error}")
            continue
        notes = int(is_note[ids].sum())
        if not notes:
            skipped.append(f"{piece.name}: expected notes, found none")
            continue
        parts.append(ids.astype(np.int16))
        facts.append({
            "name": piece.name, "licence": piece.licence, "style": piece.style, "notes": notes,
            "keys": [list(key) for key in reading.keys], "free_tempo": reading.free_tempo,
        })  # fmt: skip
        if progress:
            progress(min(1.0, (number + 1) / total))
    tokens = np.concatenate(parts) if parts else np.zeros(0, np.int16)
    return tokens, np.cumsum([0, *map(len, parts)]), facts, skipped


def _open(place: Path) -> TokenSet | None:
    """Map a split's tokens; None where they are not there or not whole."""
    try:
        about = json.loads((place / "about.json").read_text(encoding="utf-8"))
        bounds = np.load(place / "bounds.npy")
        # An empty file cannot be mapped, a short one need not be.
        tokens = np.load(place / "tokens.npy", mmap_mode="r" if bounds[-1] else None)
        if len(tokens) != bounds[-1] or len(bounds) != len(about["pieces"]) + 1:
            return None
        return TokenSet(tokens, bounds, about["pieces"], about["skipped"])
    except (FileNotFoundError, NotADirectoryError, EOFError, ValueError, KeyError, IndexError):
        return None
