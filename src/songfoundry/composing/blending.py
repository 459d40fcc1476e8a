"""Write between two prompts: each token is drawn from a mixture of what the net expects after the one and after the other.

At weight w the distribution is p ∝ p_first^(1 - w) · p_second^w, the geometric mixture: what is written is something that both
contexts find likely, where an arithmetic one would jump from the one's ideas to the other's. Both contexts then read the token.
All steps draw by the same random numbers, so that they differ by the weight alone; at 0 the first prompt's own continuation
comes out, at 1 the second's.

Reference: Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14, 2002, equation 1.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from songfoundry.composing.planning import Plan
from songfoundry.composing.steering import Steered
from songfoundry.composing.texture import texture_between
from songfoundry.notes import arranging
from songfoundry.notes.vocabulary import HEADER
from songfoundry.systems.compose import Compose
from songfoundry.systems.sampling import Sampling, choose

__all__ = ["mixed_tokens", "plan_between"]


def plan_between(first: Plan, second: Plan, weight: float) -> Plan:
    """Plan a piece of its own between the continuations of two prompts.

    Metre and style are the nearer prompt's, the tempo lies between theirs (in proportion, so in equal ratios), and the
    instruments and scales of both may be heard except at the ends.
    """
    near, far = (first, second) if weight < 0.5 else (second, first)
    qpm = first.pace[0][1] ** (1 - weight) * second.pace[0][1] ** weight
    base = arranging.new_score(*near.metre, qpm)
    homes: dict[int, int] = {}
    sources = [near] if weight in (0, 1) else [near, far]
    for source in sources:
        for program, track in source.homes.items():
            if program not in homes:
                homes[program] = arranging.add_track(base, source.base.tracks[track])
    scales = [plan.scale for plan in sources if plan.scale is not None]
    programs = [plan.programs for plan in sources if plan.programs is not None]
    said = [f"{name}: {sentence}" for name, plan in (("the first", first), ("the second", second)) for sentence in plan.said]
    if first.metre != second.metre:
        metres = " and ".join(f"{above}/{below}" for above, below in (first.metre, second.metre))
        said.append(f"the prompts differ in metre ({metres}): each step has the nearer one's")
    return Plan(
        "between", base, 0, None, near.tokens, first.bars, near.metres, near.metre, [(0.0, qpm)], near.key,
        np.any(scales, axis=0) if scales else None, set().union(*programs) if programs else None, near.style, homes=homes,
        said=said, usual=_mixed(first.usual, second.usual, weight), texture=texture_between(first.texture, second.texture, weight),
    )  # fmt: skip


def _mixed(first: np.ndarray | None, second: np.ndarray | None, weight: float) -> np.ndarray | None:
    """Mix how long each pitch class sounds in two prompts."""
    if weight in (0, 1) or first is None or second is None:
        return first if weight == 0 else second if weight == 1 else None
    return (1 - weight) * first / max(1e-9, first.sum()) + weight * second / max(1e-9, second.sum())


class _Row:
    """Hold one context of one piece: its tokens, those the net has not read, and how many the net sees, these among them."""

    def __init__(self, prompt: np.ndarray):
        self.ids = list(map(int, prompt))
        self.pending: list[int] = []
        self.window = 0

    def take(self, token: int) -> None:
        """Go on by a token."""
        self.ids.append(token)
        self.pending.append(token)
        self.window += 1


class _Piece:
    """Hold one piece under way: what it may be, what it is drawn by, and both contexts."""

    def __init__(self, number: int, prompts: tuple[np.ndarray, np.ndarray], grammar: Steered, weight: float, steps: int, seed: int):
        self.number, self.grammar, self.left = number, grammar, steps
        self.rng, self.shares = np.random.default_rng((seed, 0)), np.array([[1 - weight], [weight]])
        self.rows = [_Row(prompt) for prompt in prompts]

    @property
    def done(self) -> bool:
        return self.left <= 0 or self.grammar.done

    def take(self, token: int | None) -> Iterator[int]:
        """Take a token, and after it those that the grammar forces; give each."""
        while token is not None:
            self.grammar.push(token)
            for row in self.rows:
                row.take(token)
            self.left -= 1
            yield token
            token = None if self.done else self.grammar.forced()


def mixed_tokens(
    system: Compose, prompts: tuple[np.ndarray, np.ndarray], grammars: Sequence[Steered], weights: Sequence[float], *,
    steps: int, seed: int, sampling: Sampling,
) -> Iterator[tuple[int, int]]:  # fmt: skip
    """Write pieces after two prompts, all at once; none depends on the others.

    Parameters
    ----------
    prompts : int (n,) and (m,), tokens. grammars : of each piece, begun, and pushed further here. weights : of the second prompt, 0
        to 1. steps : the most tokens of a piece. seed : the numbers drawn are those of the first variation of `Compose.generate`.

    Yields
    ------
    written : (number of the piece, token id), in the order of writing.
    """
    pairs = zip(grammars, weights, strict=True)
    pieces = [_Piece(number, prompts, grammar, weight, steps, seed) for number, (grammar, weight) in enumerate(pairs)]
    pieces = [piece for piece in pieces if not piece.done]
    cache = None
    while pieces:
        rows = [row for piece in pieces for row in piece.rows]
        with torch.inference_mode():
            cache = _room_for(system, rows, cache)
            width = min(len(row.pending) for row in rows)
            found, cache = system.net(torch.tensor([row.pending[:width] for row in rows], device=system.device), cache)
            logits = found[:, -1].double().cpu().numpy().reshape(len(pieces), 2, -1)
        for row in rows:
            del row.pending[:width]
        own = logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)
        for piece, expected in zip(pieces, own, strict=True):
            if not piece.rows[0].pending:  # else forced tokens are still to be read
                held = [system.penalised(side, row.ids, sampling) for side, row in zip(expected, piece.rows, strict=True)]
                mixture = (piece.shares * held).sum(0, keepdims=True)
                token = int(choose(mixture, piece.grammar.mask()[None], piece.rng.random((1,)), sampling)[0])
                yield from ((piece.number, taken) for taken in piece.take(token))
        kept = [place for place, piece in enumerate(pieces) if not piece.done]
        if len(kept) < len(pieces):
            pieces = [pieces[place] for place in kept]
            places = [2 * place + side for place in kept for side in (0, 1)]
            cache = system.net.select(cache, torch.tensor(places, device=system.device)) if places else None


def _room_for(system: Compose, rows: list[_Row], cache):
    """Give a cache with room for what is to be read: each context is read anew when its own window is full."""
    if cache is None:
        return system.net.join([_opened(system, row) for row in rows])
    full = [row.window > system.net.room(system.net.start(1, system.config.context)) for row in rows]
    cramped = system.net.room(cache) < min(len(row.pending) for row in rows)
    if not cramped and not any(full):
        return cache
    places = [torch.tensor([place], device=system.device) for place in range(len(rows))]
    return system.net.join([
        _opened(system, row) if over else system.net.select(cache, place) for row, over, place in zip(rows, full, places, strict=True)
    ])  # fmt: skip


def _opened(system: Compose, row: _Row):
    """Read a context but for its last token, or as much of its end as leaves room: a cache of one row."""
    cache, ids = system.net.start(1, system.config.context), np.array(row.ids)
    if len(ids) >= system.net.room(cache):
        most = system.config.context * 3 // 4
        starts = np.asarray(system.tokenizer.bars(ids))
        first = next((n for n, start in enumerate(starts) if len(ids) - start + HEADER + 4 <= most), len(starts) - 1)
        ids = np.asarray(system.tokenizer.cut(ids, first, len(starts)))
        ids = np.concatenate((ids[:HEADER], ids[HEADER:][HEADER - most :]))
    waiting = max(1, len(row.pending))  # both contexts of a piece read on in step
    if len(ids) > waiting:
        _, cache = system.net(torch.as_tensor(ids[:-waiting], dtype=torch.long, device=system.device)[None], cache)
    row.window, row.pending = len(ids), ids[-waiting:].tolist()
    return cache
