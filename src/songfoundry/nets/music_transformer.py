"""Predict the next token of a piece with a causal Transformer that knows distances, not places.

References: Huang et al. 2019 ("Music Transformer", ICLR; arXiv 1809.04281, eq. 3 and section 3.4.1) for relative attention with
its memory-saving shift; Su et al. 2021 ("RoFormer", arXiv 2104.09864, eq. 34) for rotary positions; Zhang & Sennrich 2019 for
root-mean-square norms before each part; Shazeer 2020 ("GLU variants improve Transformer", arXiv 2002.05202, eq. 6) for the
gated feed-forward part.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NET", "PRESETS", "TASK", "Cache", "MusicTransformer"]

TASK = "compose"
# Weights with 780 tokens, in millions: 0.05, 1.9, 3.3 and 7.6; `jsb`, whose tokens are few: 1.8. Its turn is a bar of four voices.
PRESETS = {
    "tiny": {"width": 32, "heads": 2, "layers": 2, "reach": 64, "dropout": 0.0},
    "jsb": {"width": 192, "heads": 3, "layers": 4, "reach": 256, "dropout": 0.3, "period": 64, "restart": 1},
    "small": {"width": 256, "heads": 4, "layers": 4, "dropout": 0.1},
    "base": {"width": 320, "heads": 5, "layers": 6, "dropout": 0.1},
}


@dataclass
class Cache:
    """Hold keys and values of what was read: float (layers, batch, heads, room, width / heads), filled up to `length`.

    `first`: int64 (batch,), the first column that counts in each row, where rows of several lengths stand aligned at their
    ends; None where all count. `count`: int64 (batch,), how many tokens came since the piece began.
    """

    keys: Tensor
    values: Tensor
    count: Tensor
    length: int = 0
    first: Tensor | None = None


@dataclass
class _Place:
    """Hold what every layer needs to know of the tokens' places: cosines and sines of rotary positions, and who sees whom."""

    turn: tuple[Tensor, Tensor] | None
    seen: Tensor | None
    causal: bool


class _Attention(nn.Module):
    """Attend to all tokens up to the present one."""

    def __init__(self, width: int, heads: int, reach: int | None):
        super().__init__()
        self.heads = heads
        self.enter = nn.Linear(width, 3 * width, bias=False)
        self.leave = nn.Linear(width, width, bias=False)
        self.distances = None
        if reach is not None:
            self.distances = nn.Parameter(torch.randn(heads, reach, width // heads) * (width // heads) ** -0.5)

    def forward(self, x: Tensor, place: _Place, keep) -> Tensor:
        """Map (batch, steps, width) to the same; `keep` takes the new keys and values and gives all there are."""
        batch, steps, width = x.shape
        query, key, value = self.enter(x).reshape(batch, steps, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if place.turn is not None:
            query, key = _rotate(query, *place.turn), _rotate(key, *place.turn)
        key, value = keep(key, value)
        mask = place.seen
        if self.distances is not None:
            mask = self._bias(query, key.shape[2]).masked_fill(~place.seen, -torch.inf)
        # No dropout of attention weights: on a CPU it would take the slow way, a third of a training's time.
        mixed = functional.scaled_dot_product_attention(
            query, key, value.to(query.dtype), attn_mask=mask, is_causal=place.causal and mask is None
        )
        return self.leave(mixed.transpose(1, 2).reshape(batch, steps, width))

    def _bias(self, query: Tensor, length: int) -> Tensor:
        """Compute what distances add to the scores, (batch, heads, steps, length), by the shift of Huang et al. 2019, section 3.4.1.

        Distances from `reach` on count as the largest.
        """
        batch, heads, steps, size = query.shape
        backwards = torch.arange(length - 1, -1, -1, device=query.device).clamp(max=self.distances.shape[1] - 1)
        scores = query @ self.distances[:, backwards].transpose(1, 2).to(query.dtype) * size**-0.5
        padded = functional.pad(scores, (1, 0)).reshape(batch, heads, -1)
        # Reading rows that are one longer as if they were not moves each row one place against the one before it.
        return padded[..., steps:].reshape(batch, heads, steps, length)


def _rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn pairs of values, (batch, heads, steps, size), by angles that grow with the place; cosines and sines (steps, size / 2)."""
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosines - second * sines, first * sines + second * cosines), -1).to(x.dtype)


class _Layer(nn.Module):
    """Attend, then transform each token alone; each on the norm of what came before, and added to it."""

    def __init__(self, width: int, heads: int, dropout: float, reach: int | None):
        super().__init__()
        # Two thirds of 4 widths, for there are three matrices and not two.
        hidden = round(8 * width / 3 / 32) * 32
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-5) for _ in range(2))
        self.attention = _Attention(width, heads, reach)
        self.widen = nn.Linear(width, 2 * hidden, bias=False)
        self.narrow = nn.Linear(hidden, width, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, place: _Place, keep) -> Tensor:
        """Map (batch, steps, width) to the same."""
        x = x + self.drop(self.attention(self.norms[0](x), place, keep))
        gate, values = self.widen(self.norms[1](x)).chunk(2, -1)
        return x + self.drop(self.narrow(functional.silu(gate) * values))


class MusicTransformer(nn.Module):
    """Give the logits of each next token, and the keys and values with which the next call goes on.

    Parameters
    ----------
    vocabulary : how many tokens there are.
    width, heads, layers : size of a token's vector, attention heads (which share it), how many layers.
    dropout : share of values that are zeroed in training: of the embedding and of what each part adds.
    positions : "rotary", or "relative" with vectors that are learned for each distance and head.
    reach : relative only: from this distance on all distances are one.
    period, restart : where a piece's tokens come in turns, as a chorale's four voices do, the place of each in a turn of `period`
        tokens has a learned vector too, counted from the last token `restart`; 0 for no such vector, -1 for no such token.
    """

    def __init__(
        self, *, vocabulary: int = 512, width: int = 256, heads: int = 4, layers: int = 4, dropout: float = 0.1,
        positions: Literal["rotary", "relative"] = "rotary", reach: int = 512,
        period: int = 0, restart: int = -1,
    ):  # fmt: skip
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.turn, self.restart = nn.Embedding(period, width) if period else None, restart
        self.layers = nn.ModuleList(
            _Layer(width, heads, dropout, reach if positions == "relative" else None) for _ in range(layers)
        )  # fmt: skip
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.drop = nn.Dropout(dropout)
        size = width // heads
        rotary = positions == "rotary"
        self.register_buffer("speeds", 1e4 ** (-torch.arange(0, size, 2) / size) if rotary else None, persistent=False)
        # The stream grows with each part that is added to it: begin with small ones (Radford et al. 2019, section 2.3).
        for table in (self.embed, self.turn):
            if table is not None:
                nn.init.normal_(table.weight, std=0.02)
        for name, parameter in self.layers.named_parameters():
            if name.endswith(("leave.weight", "narrow.weight")):
                nn.init.normal_(parameter, std=0.02 * (2 * layers) ** -0.5)
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache | None]:
        """Map tokens, int64 (batch, steps), to logits, float (batch, steps, vocabulary).

        With a `cache` (from `start`) the tokens follow what it has read; it is filled further, in place, and given back.

        Raises
        ------
        ValueError : the cache has no room for so many tokens.
        """
        steps, before = tokens.shape[1], cache.length if cache is not None else 0
        if cache is not None and steps > self.room(cache):
            raise ValueError(f"expected at most {self.room(cache)} tokens more in the cache, found {steps}: start another")
        place = self._place(before, steps, cache)
        # Of the size of the other parts' sums, though its own values are small for the logits' sake.
        values = self.embed(tokens)
        if self.turn is not None:
            counts = self._counts(tokens, cache)
            values = values + self.turn(counts % self.turn.num_embeddings)
            if cache is not None:
                cache.count = counts[:, -1] + 1
        x = self.drop(values * self.embed.embedding_dim**0.5)
        for number, layer in enumerate(self.layers):

            def keep(key: Tensor, value: Tensor, number: int = number) -> tuple[Tensor, Tensor]:
                if cache is None:
                    return key, value
                cache.keys[number, :, :, before : before + steps] = key
                cache.values[number, :, :, before : before + steps] = value
                return cache.keys[number, :, :, : before + steps].to(key.dtype), cache.values[number, :, :, : before + steps]

            x = layer(x, place, keep)
        if cache is not None:
            cache.length += steps
        return functional.linear(self.norm(x), self.embed.weight), cache

    def _counts(self, tokens: Tensor, cache: Cache | None) -> Tensor:
        """Count tokens since the piece began, 0 for its first: int64 (batch, steps)."""
        index = torch.arange(tokens.shape[1], device=tokens.device)
        begun = torch.where(tokens == self.restart, index, -1).cummax(1).values
        before = cache.count[:, None] if cache is not None else 0
        return torch.where(begun >= 0, index - begun, before + index)

    def _place(self, before: int, steps: int, cache: Cache | None) -> _Place:
        """Work out positions and masks of `steps` tokens that follow `before` others."""
        device, length = self.embed.weight.device, before + steps
        turn = None
        if self.speeds is not None:
            angles = torch.arange(before, length, device=device)[:, None] * self.speeds
            turn = angles.cos(), angles.sin()
        first = cache.first if cache is not None else None
        seen = None
        if self.speeds is None or first is not None or (before and steps > 1):
            seen = torch.arange(length, device=device) <= torch.arange(before, length, device=device)[:, None]
            if first is not None:
                seen = seen & (torch.arange(length, device=device) >= first[:, None, None, None])
        return _Place(turn, seen, causal=steps > 1)

    def start(self, batch: int = 1, room: int = 1024) -> Cache:
        """Make an empty cache for `room` tokens a row."""
        attention = self.layers[0].attention
        width = self.embed.embedding_dim
        keys = self.embed.weight.new_zeros(len(self.layers), batch, attention.heads, room, width // attention.heads)
        return Cache(keys, torch.zeros_like(keys), torch.zeros(batch, dtype=torch.long, device=keys.device))

    def room(self, cache: Cache) -> int:
        """Say how many tokens a cache still takes."""
        return cache.keys.shape[3] - cache.length

    def select(self, cache: Cache, rows: Tensor) -> Cache:
        """Copy the rows that `rows`, int64 (n,), names, in that order and as often."""
        first = None if cache.first is None else cache.first[rows]
        return Cache(cache.keys[:, rows], cache.values[:, rows], cache.count[rows], cache.length, first)

    def repeat(self, cache: Cache, count: int) -> Cache:
        """Copy the cache of one row for `count` variations of what follows."""
        return self.select(cache, torch.zeros(count, dtype=torch.long, device=cache.keys.device))

    def join(self, caches: list[Cache]) -> Cache:
        """Put caches of one row each together, aligned at their ends.

        As only distances count, rotary keys that move to other columns are turned on by as much.
        """
        begins = [0 if cache.first is None else int(cache.first) for cache in caches]
        length = max(cache.length - begin for cache, begin in zip(caches, begins, strict=True))
        whole = self.start(len(caches), caches[0].keys.shape[3])
        first = [length - cache.length + begin for cache, begin in zip(caches, begins, strict=True)]
        for row, (cache, old, new) in enumerate(zip(caches, begins, first, strict=True)):
            keys = cache.keys[:, 0, :, old : cache.length]
            if self.speeds is not None and new != old:
                angles = (new - old) * self.speeds
                keys = _rotate(keys, angles.cos(), angles.sin())
            whole.keys[:, row, :, new:length] = keys
            whole.values[:, row, :, new:length] = cache.values[:, 0, :, old : cache.length]
        whole.length, whole.count = length, torch.cat([cache.count for cache in caches])
        if any(first):
            whole.first = torch.tensor(first, device=whole.keys.device)
        return whole


NET = MusicTransformer
