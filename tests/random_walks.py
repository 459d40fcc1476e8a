"""Write music without a net: tokens drawn at random under a steered grammar's mask."""

import numpy as np

from songfoundry.composing.steering import Steered
from songfoundry.notes import Grammar, Locks


def begun(tokens, rules, bars=4, written=1, programs=None, metre="4/4", scale=None, **options):
    """Begin in the first bar of a piece that is to have one bar more than `bars`."""
    grammar = Grammar(tokens, locks=Locks(**options), bars=bars, programs=programs, scale=scale)
    grammar.start([*tokens.header("band", 0), tokens.ids["Bar_None"], tokens.ids[f"TimeSig_{metre}"]])
    return Steered(grammar, tokens, rules, written=written)


def walk(grammar, seed=0, most=4000, taste=0.0):
    """Take tokens at random under the mask, and `taste` as a net's logits, until the piece ends."""
    rng, taken = np.random.default_rng(seed), []
    while not grammar.done and len(taken) < most:
        logits = grammar.mask().astype(float) + taste
        weights = np.exp(logits - logits.max())
        taken.append(grammar.push(int(rng.choice(len(weights), p=weights / weights.sum()))))
    return taken
