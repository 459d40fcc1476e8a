"""Let counts write: an n-gram in the place of a net, so that a baseline composes under the very rules that the nets compose under."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from songfoundry.metrics.language import NGram
from songfoundry.notes.vocabulary import TokenConfig
from songfoundry.systems.compose import Compose, ComposeConfig

__all__ = ["CountedNet", "counted_system"]


class CountedNet(nn.Module):
    """Give the log-probabilities of an n-gram as logits; the cache is the last tokens, int64 (batch, order - 1), -1 for none yet."""

    def __init__(self, counts: NGram):
        super().__init__()
        self.counts = counts
        self.register_parameter("anchor", nn.Parameter(torch.zeros(1), requires_grad=False))  # systems ask where parameters are

    def forward(self, tokens: Tensor, cache: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map tokens, int64 (batch, steps), to logits, float32 (batch, steps, vocabulary), and the cache after them."""
        cache = self.start(tokens.shape[0]) if cache is None else cache
        width, size = self.counts.order - 1, self.counts.size
        told = torch.cat([cache, tokens], 1).cpu().numpy()
        told = np.where(told < 0, size, told)  # what stands before a sequence
        base = size + 1
        # Equal contexts, of which a prompt that is read at once has many, are looked up once.
        context = np.zeros((told.shape[0], tokens.shape[1]), np.int64)
        for age in range(width, 0, -1):
            context = context * base + told[:, told.shape[1] - tokens.shape[1] + 1 - age : told.shape[1] + 1 - age]
        known, where = np.unique(context, return_inverse=True)
        codes = (known[:, None] * base + np.arange(size)).ravel()
        logits = np.log(self.counts.probabilities(codes)).reshape(len(known), size).astype(np.float32)
        found = torch.from_numpy(logits[where.reshape(context.shape)]).to(tokens.device)
        return found, torch.cat([cache, tokens], 1)[:, -width:] if width else cache

    def start(self, batch: int = 1, room: int = 0) -> Tensor:
        """Give the cache before the first token; `room` is accepted as every net's."""
        return torch.full((batch, self.counts.order - 1), -1, dtype=torch.int64, device=self.anchor.device)

    def room(self, cache: Tensor) -> float:
        """Say how many tokens a cache still takes: any number."""
        return math.inf

    def select(self, cache: Tensor, rows: Tensor) -> Tensor:
        """Copy the examples that `rows`, int64 (n,), names."""
        return cache[rows]

    def repeat(self, cache: Tensor, count: int) -> Tensor:
        """Copy one example for `count` variations."""
        return cache.repeat(count, 1)

    def join(self, caches: list[Tensor]) -> Tensor:
        """Put caches together into one batch."""
        return torch.cat(caches, 0)


def counted_system(sequences: Sequence[np.ndarray], tokens: TokenConfig, order: int) -> Compose:
    """Count n-grams of pieces' tokens, int (n,) each, and make a system of them that can write but not be trained or saved."""
    system = Compose(ComposeConfig(net="lstm", preset="tiny", tokens=tokens))
    system.net = CountedNet(NGram(sequences, system.tokenizer.size, order))
    return system.eval()
