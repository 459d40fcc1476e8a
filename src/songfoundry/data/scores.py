"""Draw training examples for composing: tokens of pieces, transposed, at other tempi, whole or with a gap to fill.

Every random number of example n comes from a generator seeded by (seed, n), so a resumed training sees the examples that it
would have seen. Gaps are taught by order alone, as in Bavarian et al. 2022 ("Efficient training of language models to fill in
the middle", arXiv 2207.14255): what comes after the gap, what comes before it, then the gap.
"""

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from songfoundry.config import Config
from songfoundry.data.score_cache import TokenSet, tokenised
from songfoundry.data.score_sets import allowed, find_collection
from songfoundry.errors import ConfigError, DatasetError
from songfoundry.notes.tokens import tokenizer
from songfoundry.notes.vocabulary import HEADER, TokenConfig

__all__ = ["DRAWS", "ScoreFolder", "Scores", "ScoresConfig", "held_out"]

_LEAST = 64
"""Fewer tokens than that are not filled with the beginning of another piece."""
_LONGEST_GAP = 8

Chance = Annotated[float, Field(ge=0, le=1)]


class ScoreFolder(Config):
    """Name a collection (an archive beside its index, or a folder of MIDI files), what is taken of it, and how often.

    `include`: shell patterns of names such as `multitrack/freedoom/*`; `licences`: only pieces under one of these, by the words of
    the index; the word "permissive" stands for MIT, BSD-3-Clause, CC BY 4.0, CC0 and "public domain" (what states no licence is none
    of them: name its words), and an empty list for any; `style`: the style that its pieces are labelled with, by default that of
    the collection; `weight`: its share of the draws.
    """

    path: str
    include: list[str] = ["*"]
    licences: list[str] = []
    weight: NonNegativeFloat = 1.0
    style: str | None = None


class ScoresConfig(Config):
    """Say which pieces are drawn and how they are varied.

    `context`: tokens that are foretold in an example; `transpose`: lowest and highest shift, semitones; `tempo_steps`: largest
    change of tempo, in the tokenizer's levels, and `free_tempo_steps` that of pieces which have no tempo of their own; `fill`:
    chance of a gap to fill; `ending`: chance that a crop of a long piece is its end; `no_key`: chance that the key is not told.
    """

    name: str = "scores"
    folders: list[ScoreFolder]
    tokens: TokenConfig = TokenConfig()
    context: PositiveInt = 1024
    transpose: tuple[int, int] = (-5, 6)
    tempo_steps: NonNegativeInt = 2
    free_tempo_steps: NonNegativeInt = 8
    fill: Chance = 0.15
    ending: Chance = 0.1
    no_key: Chance = 0.1


class Scores:
    """Give example n as {"tokens", "weights"}.

    `tokens`: int64 (context + 1,); `weights`: float32 (context,), 1 where the next token counts, 0 where it is padding, the header
    of a piece or the mark of a gap. A crop begins at a bar, under the header of its piece, in the key that holds there; a piece
    that is shorter than the context is followed by another.

    Pieces of split "test" are never opened by drawing or `validation`.

    Parameters
    ----------
    progress : called with the fraction of the collections that are encoded, while they are not in the cache.

    Raises
    ------
    DatasetError : a collection is not there, or no piece of all collections is for training.
    ConfigError : a style that the tokenizer has no token for, or transpositions in the wrong order.
    OutputError : the cache of tokens cannot be written.
    """

    Config = ScoresConfig

    def __init__(self, config: ScoresConfig, seed: int = 0, progress: Callable[[float], None] | None = None):
        if config.transpose[0] > config.transpose[1]:
            raise ConfigError(f"expected the lower transposition first, found {list(config.transpose)}: turn data.transpose round")
        self.config, self.seed = config, seed
        self.tokenizer = tokenizer(config.tokens)
        # What is told and never foretold: bool (size,) by id.
        self._given = np.isin(self.tokenizer.kinds, ("Style", "Key", "Fill"))
        self._given[[self.tokenizer.pad, self.tokenizer.bos]] = True
        self._sets, self._valid, self._chosen, chances = [], [], [], []
        parts = 2 * len(config.folders)
        for number, folder in enumerate(config.folders):
            _style(self.tokenizer, folder)
            split_sets = []
            for half, split in enumerate(("train", "valid")):
                done = 2 * number + half
                part = (lambda f, done=done: progress((done + f) / parts)) if progress else None
                split_sets.append(_open(folder, config.tokens, split, part))
                if progress:
                    progress((done + 1) / parts)
            (train, chosen), valid = split_sets
            self._sets.append(train)
            self._valid.append(valid)
            self._chosen.append(chosen)
            lengths = np.diff(train.bounds)[chosen].astype(np.float64)
            chances.append(lengths / lengths.sum() if len(lengths) else lengths)
        shares = np.array([f.weight * bool(len(c)) for f, c in zip(config.folders, self._chosen, strict=True)])
        if not shares.any():
            paths = ", ".join(folder.path for folder in config.folders) or "data.folders"
            raise DatasetError(f"expected pieces for training in {paths}, found none: check paths, patterns, licences and weights")
        self._shares, self._chances = shares / shares.sum(), chances

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Draw example `number`, always the same for one seed and the same collections; see the class for what it holds."""
        rng = np.random.default_rng((self.seed, number))
        room = self.config.context + 1
        folder = rng.choice(len(self._shares), p=self._shares)
        parts, filled = [], 0
        while not parts or room - filled > _LEAST:
            ids = self._piece(rng, folder, room - filled)
            parts.append(ids)
            filled += len(ids)
        tokens = np.concatenate(parts)[:room].astype(np.int64)
        tokens = np.pad(tokens, (0, room - len(tokens)), constant_values=self.tokenizer.pad)
        counted = ~self._given[tokens]
        return {"tokens": torch.from_numpy(tokens), "weights": torch.from_numpy(counted[1:].astype(np.float32))}

    def _piece(self, rng: np.random.Generator, folder: int, room: int) -> np.ndarray:
        """Draw a piece or a crop of one: header, bars, and the end where it is reached; the last bar may pass `room`."""
        config, coder, found = self.config, self.tokenizer, self._sets[folder]
        number = int(rng.choice(self._chosen[folder], p=self._chances[folder]))
        ids, facts = found.ids(number), found.facts[number]
        starts = coder.bars(ids)
        kind = rng.random()
        first, ids = self._crop(rng, ids, starts, room)
        if kind < config.fill:
            ids = self._with_gap(rng, ids, room)
        ids = np.array(ids[:room], np.int64)
        style = config.folders[folder].style
        if style is not None:
            ids[1] = coder.ids[f"Style_{style}"]
        ids[2] = self._key(rng, facts["keys"], first)
        steps = config.free_tempo_steps if facts["free_tempo"] else config.tempo_steps
        ids = coder.retempo(ids, int(rng.integers(-steps, steps + 1)))
        return coder.transpose(ids, int(rng.integers(config.transpose[0], config.transpose[1] + 1)))

    def _crop(self, rng: np.random.Generator, ids: np.ndarray, starts: np.ndarray, room: int) -> tuple[int, np.ndarray]:
        """Choose where to begin; return the number of the first bar, and header and tokens from there on."""
        if len(ids) <= room:
            return 0, ids
        # The first bar from which the crop reaches the end of the piece, the tempo said again in two tokens.
        ending = min(int(np.searchsorted(starts, len(ids) - room + HEADER + 2)), len(starts) - 1)
        first = ending if rng.random() < self.config.ending else int(rng.integers(0, ending + 1))
        last = int(np.searchsorted(starts, starts[first] + room))
        return first, self.tokenizer.cut(ids, first, len(starts) if last >= len(starts) else last)

    def _with_gap(self, rng: np.random.Generator, ids: np.ndarray, room: int) -> np.ndarray:
        """Turn a crop into one with a gap: header, what is after the gap, what is before it, the gap, the end."""
        coder = self.tokenizer
        starts = coder.bars(ids)
        # Each part may say again the tempo that holds, and three marks come in.
        bars = int(np.searchsorted(starts, room - 8, side="right")) - 1
        if bars < 3:
            return ids
        gap = int(rng.integers(1, min(_LONGEST_GAP, bars - 2) + 1))
        begin = int(rng.integers(1, bars - gap))
        return coder.fill(coder.cut(ids, 0, bars), begin, begin + gap)

    def _key(self, rng: np.random.Generator, keys: list[list[int]], bar: int) -> int:
        """Give the token of the key that holds at a bar."""
        held = [key for begin, key in keys if begin <= bar]
        told = bool(held) and rng.random() >= self.config.no_key
        return self.tokenizer.ids[f"Key_{held[-1]}" if told else "Key_none"]

    def validation(self) -> Iterator[dict]:
        """Give the validation pieces, one of each collection in turn; see `held_out`."""
        folders = zip(self.config.folders, self._valid, strict=True)
        runs = [_pieces(self.tokenizer, folder, found, chosen) for folder, (found, chosen) in folders]
        for turn in zip_longest(*runs):
            yield from (piece for piece in turn if piece is not None)

    def seen(self, examples: int) -> dict:
        """Say how much so many examples are, in tokens, for the card."""
        return {"tokens_seen": self.config.context * examples}

    def describe(self) -> dict:
        """Say what the examples are drawn from: pieces, tokens, notes and licences, for the card."""
        facts = [found.facts[n] for found, chosen in zip(self._sets, self._chosen, strict=True) for n in chosen]
        return {
            "pieces": len(facts),
            "tokens": int(sum(np.diff(s.bounds)[c].sum() for s, c in zip(self._sets, self._chosen, strict=True))),
            "notes": sum(fact["notes"] for fact in facts),
            "folders": [folder.path for folder in self.config.folders],
            "licences": sorted({fact["licence"] for fact in facts}),
            "validation": sum(len(chosen) for _, chosen in self._valid),
            "skipped": sum(len(found.skipped) for found in self._sets),
        }


def held_out(
    folder: ScoreFolder, tokens: TokenConfig, split: str = "test", progress: Callable[[float], None] | None = None
) -> Iterator[dict]:
    """Give the whole pieces of a split: {"name", "tokens": int32 (tokens,), "notes": int, "style": str, "collection": str}.

    Raises
    ------
    DatasetError : the collection is not there.
    ConfigError : a style that the tokenizer has no token for.
    """
    coder = tokenizer(tokens)
    _style(coder, folder)
    yield from _pieces(coder, folder, *_open(folder, tokens, split, progress))


def _open(
    folder: ScoreFolder, tokens: TokenConfig, split: str, progress: Callable[[float], None] | None
) -> tuple[TokenSet, np.ndarray]:
    """Open a split of a collection; return it and the numbers of the pieces that the folder's patterns and licences allow."""
    found = tokenised(find_collection(folder.path), split, tokens, progress)
    chosen = [n for n, f in enumerate(found.facts) if allowed(f["name"], f["licence"], folder.include, folder.licences)]
    return found, np.array(chosen, np.int64)


def _pieces(coder, folder: ScoreFolder, found: TokenSet, chosen: np.ndarray) -> Iterator[dict]:
    for number in chosen:
        facts, ids = found.facts[number], found.ids(number).astype(np.int32)
        style = folder.style or facts["style"]
        ids[1] = coder.ids[f"Style_{style}"]
        collection = facts["name"].partition("/")[0]
        yield {"name": facts["name"], "tokens": ids, "notes": facts["notes"], "style": style, "collection": collection}


def _style(coder, folder: ScoreFolder) -> None:
    """Refuse a style that the tokenizer does not know."""
    if folder.style is not None and f"Style_{folder.style}" not in coder.ids:
        known = ", ".join(name.removeprefix("Style_") for name in coder.names if name.startswith("Style_"))
        raise ConfigError(f"expected a style in data.folders for {folder.path}, found {folder.style!r}: take one of {known}")


DRAWS = Scores
