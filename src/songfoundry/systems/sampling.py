"""Choose the next token from logits: temperature, top-k, top-p, min-p, a penalty on repetition, under a grammar's mask.

References: Fan et al. 2018 for top-k; Holtzman et al. 2020 ("The curious case of neural text degeneration", ICLR) for top-p;
Nguyen et al. 2024 ("Turning up the heat: min-p sampling", arXiv 2407.01082) for min-p; Keskar et al. 2019 ("CTRL",
arXiv 1909.05858, section 4.1) for the penalty.
"""

from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from songfoundry.config import Config

__all__ = ["Sampling", "choose", "penalised"]

Share = Annotated[float, Field(ge=0, le=1)]


class Sampling(Config):
    """Say how tokens are drawn.

    `temperature` 0 takes the likeliest; `top_k` keeps so many of the likeliest (0: all), `top_p` the fewest that have this share of
    the probability, `min_p` those at least this share of the likeliest one's; `repetition_penalty` from 1 makes pitches that were
    struck lately less likely.
    """

    temperature: NonNegativeFloat = 1.0
    top_k: NonNegativeInt = 0
    top_p: Share = 1.0
    min_p: Share = 0.0
    repetition_penalty: PositiveFloat = 1.0


def penalised(logits: np.ndarray, recent: np.ndarray, penalty: float) -> np.ndarray:
    """Multiply the log-probabilities of tokens that came lately by a penalty: above 1 they become less likely.

    Keskar et al. divide logits, whose zero means nothing; log-probabilities are never above zero, so that the penalty has a side.

    Parameters
    ----------
    logits : float (vocabulary,). recent : int (n,), token ids.
    """
    scores = logits - np.logaddexp.reduce(logits)
    ids = np.unique(recent)
    scores[ids] *= penalty
    return scores


def choose(logits: np.ndarray, masks: np.ndarray, uniform: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Choose one token a row.

    Parameters
    ----------
    logits : float (rows, vocabulary). masks : float (rows, vocabulary), added: 0 allows, -inf forbids, between makes unlikely.
    uniform : float (rows,), in [0, 1): the random numbers that decide.

    Returns
    -------
    ids : int64 (rows,); never one that a mask forbids.
    """
    if sampling.temperature == 0:
        return (logits + masks).argmax(1)
    # The masks are not divided: how strong a lock is does not depend on the temperature.
    scores = logits.astype(np.float64) / sampling.temperature + masks
    chances = np.exp(scores - scores.max(1, keepdims=True))
    if 0 < sampling.top_k < chances.shape[1]:
        least = np.partition(chances, -sampling.top_k, axis=1)[:, -sampling.top_k, None]
        chances[chances < least] = 0
    if sampling.min_p > 0:
        chances[chances < sampling.min_p * chances.max(1, keepdims=True)] = 0
    if sampling.top_p < 1:
        order = np.argsort(-chances, axis=1, kind="stable")
        falling = np.take_along_axis(chances, order, 1)
        before = falling.cumsum(1) - falling
        falling[before >= sampling.top_p * falling.sum(1, keepdims=True)] = 0
        # The likeliest stays, even with top_p = 0.
        falling[:, 0] = 1 if sampling.top_p == 0 else falling[:, 0]
        np.put_along_axis(chances, order, falling, 1)
    sums = chances.cumsum(1)
    # The first whose sum is above the number: a token of no probability is never the first.
    numbers = np.minimum(uniform * sums[:, -1], np.nextafter(sums[:, -1], 0))
    return (sums > numbers[:, None]).argmax(1)
