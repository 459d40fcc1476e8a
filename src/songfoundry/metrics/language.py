"""Measure how well a sequence of tokens is foretold: baselines that count, and likelihood per token and per note.

Three baselines stand beside a learned net: the unigram, an interpolated n-gram, and one that says the music of some bars ago
again. Each gives every token a probability, and all probabilities of one moment sum to one, so that their negative
log-likelihoods compare with a net's on the same tokens. Likelihood per token depends on the tokenizer; per note it does not:
the nats of all tokens of a piece are divided by its notes.

A sequence is int (tokens,), ids from 0 to `size` - 1; its first `HEADER` ids (begin, style, key) are given and not scored.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from songfoundry.errors import ConfigError

HEADER = 3
"""Ids at the head of each sequence that are told and not foretold: begin, style, key."""


class Foreteller(Protocol):
    """Give each token of each sequence its negative log-likelihood."""

    def nats(self, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return float64 (tokens,) for each sequence: the nats of each token after those before it."""


@dataclass(frozen=True)
class Likelihood:
    """Hold the sums over held-out pieces; the means are over all tokens or notes, not over pieces."""

    nats: float
    tokens: int
    notes: int

    @property
    def nll(self) -> float:
        """Nats a token."""
        return self.nats / self.tokens if self.tokens else float("nan")

    @property
    def nll_note(self) -> float:
        """Nats a note, independent of how notes are cut into tokens; NaN where there are no notes."""
        return self.nats / self.notes if self.notes else float("nan")

    @property
    def perplexity(self) -> float:
        """Tokens among which an equal choice would be as hard: exp of `nll`."""
        return float(np.exp(self.nll))


def likelihood(model: Foreteller, pieces: Iterable[tuple[np.ndarray, int]], header: int = HEADER) -> Likelihood:
    """Sum a model's nats over pieces.

    Parameters
    ----------
    pieces : of each the sequence, int (tokens,), and its number of notes.
    header : ids at the head of each sequence that are not scored.
    """
    pieces = list(pieces)
    nats = list(model.nats([np.asarray(tokens) for tokens, _ in pieces]))
    return Likelihood(
        float(sum(values[header:].sum() for values in nats)),
        sum(max(0, len(values) - header) for values in nats),
        sum(notes for _, notes in pieces),
    )


class Unigram:
    """Foretell each token by how often it was seen at all, one added to every count (Laplace), so that none is impossible."""

    def __init__(self, sequences: Iterable[np.ndarray], size: int, header: int = HEADER):
        counts = np.ones(size)
        for tokens in sequences:
            counts += np.bincount(tokens[header:], minlength=size)
        self._nats = -np.log(counts / counts.sum())

    def nats(self, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return float64 (tokens,) for each sequence, in nats."""
        return [self._nats[tokens] for tokens in sequences]


@dataclass(frozen=True)
class _Order:
    """Hold the n-grams of one length: sorted codes with counts, and sorted contexts with totals and back-off weights."""

    codes: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    backoff: np.ndarray
    discounts: np.ndarray


class NGram:
    """Foretell a token from the `order` - 1 before it: interpolated modified Kneser-Ney smoothing.

    An n-gram is one int64, its tokens the digits of a number, the newest the lowest; so counting is a sort and looking up a
    bisection, and millions of tokens take seconds. The shortest order is interpolated with the uniform distribution.

    Raises
    ------
    ConfigError : n-grams of that order over so large a vocabulary do not fit 63 bits.

    Reference
    ---------
    Chen & Goodman 1998, "An empirical study of smoothing techniques for language modeling", Harvard TR-10-98, section 3.
    """

    def __init__(self, sequences: Iterable[np.ndarray], size: int, order: int = 5):
        if (size + 1) ** order >= 2**63:
            raise ConfigError(f"expected n-grams that fit 63 bits, found order {order} over {size} tokens: lower the order")
        self.size, self.order = size, order
        self._base = size + 1
        codes = self._codes(list(sequences))
        self._orders: list[_Order] = []
        codes, counts = np.unique(codes, return_counts=True)
        for length in range(order, 0, -1):
            self._orders.insert(0, self._count(codes, counts))
            # Kneser and Ney: a shorter n-gram counts by how many different tokens it follows, not by how often it stands.
            codes, counts = np.unique(codes % self._base ** (length - 1), return_counts=True)

    def _codes(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """Return int64 (all tokens,): the longest n-gram that ends at each; before a sequence stands a mark of its own."""
        parts = []
        for tokens in sequences:
            padded = np.concatenate([np.full(self.order - 1, self.size, np.int64), tokens])
            code = np.zeros(len(tokens), np.int64)
            for age in range(self.order - 1, -1, -1):
                begin = self.order - 1 - age
                code = code * self._base + padded[begin : begin + len(tokens)]
            parts.append(code)
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _count(self, codes: np.ndarray, counts: np.ndarray) -> _Order:
        """Gather what one order needs; `codes` sorted, so that those of one context lie together."""
        contexts, first = np.unique(codes // self._base, return_index=True)
        # Equations 17: discounts for n-grams seen once, twice, and more often, from how many there are of each.
        n1, n2, n3, n4 = (int((counts == times).sum()) for times in (1, 2, 3, 4))
        discounts = np.zeros(4)
        if n1 and n2:
            y = n1 / (n1 + 2 * n2)
            discounts[1:] = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, (3 - 4 * y * n4 / n3 if n3 else 1.0)
        else:  # Too little text for the formulae.
            discounts[1:] = 0.5, 0.75, 1.0
        # The formulae may give nothing or less; where nothing is taken, nothing is left for what was never seen.
        discounts[1:] = np.clip(discounts[1:], 0.1, [1.0, 2.0, 3.0])
        if not len(codes):
            return _Order(codes, counts, contexts, counts, np.zeros(0), discounts)
        totals = np.add.reduceat(counts, first)
        taken = np.add.reduceat(discounts[np.minimum(counts, 3)], first)
        return _Order(codes, counts, contexts, totals, taken / totals, discounts)

    def probabilities(self, codes: np.ndarray) -> np.ndarray:
        """Return float64 (n,): the chance of each n-gram's newest token after the others."""
        chance = np.full(len(codes), 1.0 / self.size)
        for length, known in enumerate(self._orders, start=1):
            if not len(known.codes):
                continue
            code = codes % self._base**length
            at = np.minimum(np.searchsorted(known.codes, code), len(known.codes) - 1)
            counts = np.where(known.codes[at] == code, known.counts[at], 0)
            context = code // self._base
            at = np.minimum(np.searchsorted(known.contexts, context), len(known.contexts) - 1)
            seen = known.contexts[at] == context
            kept = counts - known.discounts[np.minimum(counts, 3)]
            chance = np.where(seen, kept / known.totals[at] + known.backoff[at] * chance, chance)
        return chance

    def nats(self, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return float64 (tokens,) for each sequence, in nats."""
        nats = -np.log(self.probabilities(self._codes(sequences)))
        return np.split(nats, np.cumsum([len(tokens) for tokens in sequences])[:-1]) if len(sequences) else []


class Repeat:
    """Foretell that the music of `lag` bars ago is said again, with a share of certainty; else as another model does.

    The token said again is the one which, in the bar `lag` bars before, first followed the same three tokens; where there is
    none, and in a piece's first bars, the other model speaks alone. `fit` chooses the share, and the lag among some.

    Parameters
    ----------
    beside : the model that the rest of the chance is left to.
    bar : id of the token that begins a bar.
    """

    def __init__(self, beside: Foreteller, bar: int, size: int, lag: int = 4, share: float = 0.5):
        self.beside, self.bar, self.size, self.lag, self.share = beside, bar, size, lag, share

    def guesses(self, tokens: np.ndarray, lag: int) -> np.ndarray:
        """Return int64 (tokens,): the token that is said again at each place, -1 where none is."""
        tokens = np.asarray(tokens, np.int64)
        guesses = np.full(len(tokens), -1)
        if len(tokens) < 4:
            return guesses
        bars = np.cumsum(tokens == self.bar)
        # A place's context is its bar and the three tokens before it; that of the bar token itself lies in the bar before.
        place = np.concatenate([[0], bars[:-1]])[3:]
        before = (tokens[:-3] * self.size + tokens[1:-2]) * self.size + tokens[2:-1]
        key = place * self.size**3 + before
        known, first = np.unique(key, return_index=True)
        asked = key - lag * self.size**3
        at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        found = (known[at] == asked) & (place >= lag)
        guesses[3:] = np.where(found, tokens[3 + first[at]], -1)
        return guesses

    def fit(self, sequences: Sequence[np.ndarray], lags: Sequence[int] = (1, 2, 4, 8), header: int = HEADER) -> "Repeat":
        """Choose lag and share on sequences that are not in the test; returns itself.

        The share is found by expectation maximisation, as that of any mixture of two distributions.
        """
        chances = np.exp(-np.concatenate([values[header:] for values in self.beside.nats(sequences)]))
        best = np.inf
        for lag in lags:
            guesses = [self.guesses(tokens, lag)[header:] for tokens in sequences]
            hit = np.concatenate([guess == tokens[header:] for guess, tokens in zip(guesses, sequences, strict=True)])
            made = np.concatenate(guesses) >= 0
            share = 0.5
            for _ in range(30):
                both = share * hit[made] + (1 - share) * chances[made]
                share = float(np.clip((share * hit[made] / both).mean(), 1e-4, 1 - 1e-4)) if made.any() else 0.0
            nats = -np.log(np.where(made, share * hit + (1 - share) * chances, chances)).mean()
            if nats < best:
                best, self.lag, self.share = nats, lag, share
        return self

    def nats(self, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return float64 (tokens,) for each sequence, in nats."""
        result = []
        for tokens, beside in zip(sequences, self.beside.nats(sequences), strict=True):
            guesses = self.guesses(tokens, self.lag)
            mixed = self.share * (guesses == tokens) + (1 - self.share) * np.exp(-beside)
            result.append(np.where(guesses >= 0, -np.log(mixed), beside))
        return result
