"""Draw Bach's chorales on the grid of sixteenths: soprano, alto, tenor and bass of each step in turn.

This is the form in which likelihoods of the JSB chorales are published with the split of Boulanger-Lewandowski et al. 2012 (229 for
training, 76 validation, 77 test), as in Huang et al. 2018 ("Music Transformer", arXiv 1809.04281, section 4.1).
"""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveInt

from songfoundry.config import Config
from songfoundry.data.score_readers import chorale_arrays
from songfoundry.data.score_sets import find_collection
from songfoundry.errors import ConfigError
from songfoundry.notes.tokens import tokenizer
from songfoundry.notes.vocabulary import HEADER, TokenConfig

__all__ = ["DRAWS", "Chorales", "ChoralesConfig", "held_out_chorales"]

LICENCE = "none stated (music: public domain)"


class ChoralesConfig(Config):
    """Say how chorales are drawn.

    `path`: the archive; `context`: tokens that are foretold in an example, four to a sixteenth note; `transpose`: lowest and
    highest shift, semitones; "voices" takes, of these, only shifts that keep each voice of the chorale within the range
    that this voice has in the training part.
    """

    name: str = "chorales"
    path: str = "midi/jsb.zip"
    tokens: TokenConfig = TokenConfig(kind="chorale")
    context: PositiveInt = 1024
    transpose: tuple[int, int] = (-6, 6)
    keep: Literal["voices", "all"] = "voices"


class Chorales:
    """Give example n as {"tokens", "weights"}: int64 (context + 1,), float32 (context,), as `data.scores.Scores` does.

    A chorale that is longer than the context begins at a random bar line of 16 sixteenths; after a shorter one another begins.
    The test part is never opened.

    Raises
    ------
    DatasetError : no archive, or no chorales in it.
    ConfigError : transpositions that leave out the chorale as it is, or tokens of another kind.
    """

    Config = ChoralesConfig

    def __init__(self, config: ChoralesConfig, seed: int = 0, progress: Callable[[float], None] | None = None):
        if not config.transpose[0] <= 0 <= config.transpose[1]:
            raise ConfigError(f"expected transpositions around 0 in data.transpose, found {list(config.transpose)}: take [-6, 6]")
        self.config, self.seed = config, seed
        self.tokenizer = _coder(config.tokens)
        collection = find_collection(config.path)
        arrays = chorale_arrays(collection, "train")
        # No key is told: the published figures are told none.
        self._train = [self.tokenizer.encode_steps(steps) for steps in arrays]
        self._starts = [self.tokenizer.bars(ids) for ids in self._train]
        self._valid = list(held_out_chorales(config.path, config.tokens, "valid"))
        self._shifts = _shifts(arrays, config)
        lengths = np.array([len(ids) for ids in self._train], np.float64)
        self._chances = lengths / lengths.sum()
        if progress:
            progress(1.0)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Draw example `number`, always the same for one seed."""
        rng = np.random.default_rng((self.seed, number))
        room = self.config.context + 1
        parts, filled = [], 0
        while filled < room:
            chosen = int(rng.choice(len(self._train), p=self._chances))
            ids, starts = self._train[chosen], self._starts[chosen]
            if len(ids) > room:
                latest = min(int(np.searchsorted(starts, len(ids) - room + HEADER)), len(starts) - 1)
                ids = self.tokenizer.cut(ids, int(rng.integers(0, latest + 1)), len(starts))
            parts.append(self.tokenizer.transpose(ids, int(rng.choice(self._shifts[chosen]))))
            filled += len(ids)
        tokens = np.concatenate(parts)[:room].astype(np.int64)
        given = np.isin(self.tokenizer.kinds, ("BOS", "Style", "Key"))[tokens]
        return {"tokens": torch.from_numpy(tokens), "weights": torch.from_numpy((~given[1:]).astype(np.float32))}

    def validation(self) -> Iterator[dict]:
        """Give the validation chorales; see `held_out_chorales`."""
        yield from self._valid

    def seen(self, examples: int) -> dict:
        """Say how much so many examples are, in tokens, for the card."""
        return {"tokens_seen": self.config.context * examples}

    def describe(self) -> dict:
        """Say what the examples are drawn from, for the card."""
        return {
            "pieces": len(self._train),
            "tokens": sum(map(len, self._train)),
            "folders": [self.config.path],
            "licences": [LICENCE],
            "validation": len(self._valid),
        }


def held_out_chorales(path: str, tokens: TokenConfig, split: str) -> Iterator[dict]:
    """Give the whole chorales of a split: {"name", "tokens": int32 (tokens,), "notes", "style", "collection"}.

    `notes` are those that are struck where equal neighbours are held; the tokens repeat a pitch at each sixteenth.

    Raises
    ------
    DatasetError : no archive, or no chorales in it.
    """
    coder = _coder(tokens)
    collection = find_collection(path)
    for number, steps in enumerate(chorale_arrays(collection, split)):
        struck = (np.diff(steps, axis=0, prepend=-2) != 0) & (steps >= 0)
        yield {
            "name": f"{collection.name}/{split}{number:03d}", "tokens": coder.encode_steps(steps), "notes": int(struck.sum()),
            "style": "chorale", "collection": collection.name,
        }  # fmt: skip


def _coder(config: TokenConfig):
    """Build the tokenizer, which must be that of chorales."""
    if config.kind != "chorale":
        raise ConfigError(f'expected data.tokens.kind = "chorale" for the draws `chorales`, found {config.kind!r}: use `scores` for it')
    return tokenizer(config)


def _shifts(arrays: list[np.ndarray], config: ChoralesConfig) -> list[np.ndarray]:
    """List the transpositions of each chorale, in semitones."""
    sounding = [np.ma.masked_less(steps, 0) for steps in arrays]
    low = np.ma.min([steps.min(0).filled(127) for steps in sounding], axis=0)
    high = np.ma.max([steps.max(0).filled(0) for steps in sounding], axis=0)
    found = []
    for steps in sounding:
        down, up = config.transpose
        if config.keep == "voices":
            down = max(down, int((low - steps.min(0)).max()))
            up = min(up, int((high - steps.max(0)).min()))
        found.append(np.arange(min(down, 0), max(up, 0) + 1))
    return found


DRAWS = Chorales
