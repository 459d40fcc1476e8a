"""Write between two prompts: each token is drawn from a mixture of what the net expects after the one and after the other.

At weight w the distribution is p ∝ p_first^(1 - w) · p_second^w, the geometric mixture: what is written is something that both
contexts find likely, where an arithmetic one would jump from the one's ideas to the other's. Both contexts then read the token.
All steps draw by the same random numbers, so that they differ by the weight alone; at 0 the first prompt's own continuation
comes out, at 1 the second's.

Reference: Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14, 2002, equation 1.
"""

from collections.abc import Iterator

import numpy as np
import torch

from songfoundry.composing.planning import Plan
from songfoundry.composing.steering import Steered
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
        said.append(f"the prompts differ in metre: {near.metre[0]}/{near.metre[1]}, the nearer one's, is taken")
    return Plan(
        "between", base, 0, None, near.tokens, first.bars, near.metres, near.metre, [(0.0, qpm)], near.key,
        np.any(scales, axis=0) if scales else None, set().union(*programs) if programs else None, near.style, homes=homes,
        said=said,
    )  # fmt: skip


def mixed_tokens(
    system: Compose, prompts: tuple[np.ndarray, np.ndarray], grammar: Steered, weight: float, *, steps: int, seed: int, sampling: Sampling
) -> Iterator[int]:
    """Write one piece after two prompts.

    Parameters
    ----------
    prompts : int (n,) and (m,), tokens. grammar : begun, and pushed further here. weight : of the second, 0 to 1.
    steps : the most tokens. seed : the numbers drawn are those of the first variation of `Compose.generate`.

    Yields
    ------
    token : an id.
    """
    rows = [list(map(int, prompt)) for prompt in prompts]
    rng = np.random.default_rng((seed, 0))
    shares = np.array([[1 - weight], [weight]])
    logits, cache = _begin(system, rows)
    pending: list[int] = []
    for _ in range(steps):
        if grammar.done:
            return
        token = grammar.forced()
        if token is None:
            if pending:
                if system.net.room(cache) < len(pending):
                    logits, cache = _begin(system, rows)
                else:
                    with torch.inference_mode():
                        found, cache = system.net(torch.tensor([pending, pending], device=system.device), cache)
                    logits = found[:, -1].double().cpu().numpy()
                pending = []
            own = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            mixture = (shares * own).sum(0, keepdims=True)
            token = int(choose(mixture, grammar.mask()[None], rng.random((1,)), sampling)[0])
        grammar.push(token)
        pending.append(token)
        for row in rows:
            row.append(token)
        yield token


def _begin(system: Compose, rows: list[list[int]]):
    """Read both contexts, as much of them as leaves room: last logits, float64 (2, vocabulary), and one cache."""
    caches, last = [], []
    for row in rows:
        cache = system.net.start(1, system.config.context)
        ids = np.array(row)
        most = system.config.context * 3 // 4
        if len(ids) > system.net.room(cache) - 1:
            starts = np.asarray(system.tokenizer.bars(ids))
            first = next((n for n, start in enumerate(starts) if len(ids) - start + HEADER + 4 <= most), len(starts) - 1)
            ids = np.asarray(system.tokenizer.cut(ids, first, len(starts)))
            ids = np.concatenate((ids[:HEADER], ids[HEADER:][HEADER - most :]))
        with torch.inference_mode():
            found, cache = system.net(torch.as_tensor(ids, dtype=torch.long, device=system.device)[None], cache)
        caches.append(cache)
        last.append(found[0, -1].double().cpu().numpy())
    return np.stack(last), system.net.join(caches)
