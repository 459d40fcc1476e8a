"""Print the likelihood that counting baselines and trained models give to held-out music, per token and per note.

    python benchmarks/compose_language.py [CHECKPOINT ...] --markdown docs/results.md
    python benchmarks/compose_language.py --kind chorale [CHECKPOINT ...] --markdown docs/results.md
    python benchmarks/compose_language.py --kind performance --collections maestro [CHECKPOINT ...] --markdown docs/results.md

A checkpoint is a model of the system `compose` (a name or a path). Baselines count the training parts in the tokens of the first
checkpoint, or in the default ones; models with other tokens stand in the same table, where only nats a note compare.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from songfoundry.data.chorales import held_out_chorales
from songfoundry.data.scores import ScoreFolder, held_out
from songfoundry.evaluating.pages import put_block
from songfoundry.metrics.language import Likelihood, NGram, Repeat, Unigram, likelihood
from songfoundry.notes.tokens import tokenizer
from songfoundry.notes.vocabulary import HEADER, TokenConfig

COLLECTIONS = {"remi": ["pop909", "nottingham", "jsb", "maestro", "multitrack", "groove"], "chorale": ["jsb"], "performance": ["maestro"]}
SPLITS = {"remi": ["test"], "chorale": ["valid", "test"], "performance": ["valid", "test"]}
TITLES = {
    "remi": "Likelihood of held-out music",
    "chorale": "Likelihood of the JSB chorales, published split",
    "performance": "Likelihood of MAESTRO performances",
}
PUBLISHED = {
    # arXiv 1809.04281: relative attention with pitch and time relations, 16th-note grid; arXiv 1810.12247 for the other.
    "chorale": ("jsb valid", "published: Music Transformer (Huang et al. 2018)", "0.335"),
    "performance": ("maestro", "published: Music Transformer, all training pieces (Hawthorne et al. 2019)", "1.84-1.92"),
}
LAGS = (1, 2, 4, 8)


class Net:
    """Foretell with a trained system."""

    def __init__(self, system):
        self.system = system

    def nats(self, sequences) -> Iterator[np.ndarray]:
        """Yield float64 (tokens,) for each sequence; what is given (the header) costs nothing."""
        for tokens in sequences:
            yield np.concatenate([[0.0], self.system.likelihood(tokens)])


def pieces(name: str, tokens: TokenConfig, split: str) -> list[dict]:
    """Open the whole pieces of a split of one collection."""
    if tokens.kind == "chorale":
        return list(held_out_chorales(f"midi/{name}.zip", tokens, split))
    return list(held_out(ScoreFolder(path=f"midi/{name}.zip"), tokens, split))


def row(collection: str, split: str, method: str, found: Likelihood, count: int) -> str:
    """Write a line of the table."""
    cells = [f"{found.nll:.3f}", f"{found.nll_note:.3f}", f"{found.perplexity:.2f}"]
    return f"| {collection} {split} | {method} | {count} | {found.tokens:,} | {found.notes:,} | {' | '.join(cells)} |"


def main() -> None:
    """Count, measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="*", help="names or paths of models")
    parser.add_argument("--kind", choices=list(COLLECTIONS), default="remi")
    parser.add_argument("--collections", nargs="*", help="names of archives below SONGFOUNDRY_DATA/midi")
    parser.add_argument("--splits", nargs="*", choices=["valid", "test"])
    parser.add_argument("--orders", type=int, nargs="+", default=[5], help="of the n-grams; 9 sees two steps of a chorale's voices")
    parser.add_argument("--pieces", type=int, help="score only the first so many pieces of each part")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", type=Path, help="put the table into this file")
    parser.add_argument("--title", help="of the section that the table becomes; default: that of the kind")
    options = parser.parse_args()
    systems = load(options)
    config = next((s.tokenizer.config for s in systems.values() if s.tokenizer.config.kind == options.kind), TokenConfig(kind=options.kind))
    coder, names = tokenizer(config), options.collections or COLLECTIONS[options.kind]
    train = {name: [p["tokens"] for p in pieces(name, config, "train")] for name in names}
    valid = {name: [p["tokens"] for p in pieces(name, config, "valid")] for name in names}
    everything = [ids for found in train.values() for ids in found]
    whole = NGram(everything, coder.size, options.orders[-1]) if len(names) > 1 else None
    lines = [
        "| music | foretold by | pieces | tokens | notes | nats a token | nats a note | perplexity |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in names:
        unigram = Unigram(train[name], coder.size)
        methods = {"unigram": unigram}
        methods |= {f"{order}-gram": NGram(train[name], coder.size, order) for order in options.orders}
        for beside in list(methods) if "Bar_None" in coder.ids else ():
            again = Repeat(methods[beside], coder.ids["Bar_None"], coder.size).fit(valid[name], LAGS)
            methods[f"repeat (bar {again.lag} bars ago, else {beside})"] = again
        if whole is not None:
            methods[f"{options.orders[-1]}-gram over all collections"] = whole
        for split in options.splits or SPLITS[options.kind]:
            tests = pieces(name, config, split)[: options.pieces]
            for method, model in methods.items():
                found = likelihood(model, [(p["tokens"], p["notes"]) for p in tests], HEADER)
                lines.append(row(name, split, method, found, len(tests)))
            for method, system in systems.items():
                mine = tests if system.tokenizer.config == config else pieces(name, system.tokenizer.config, split)[: options.pieces]
                started = time.perf_counter()
                found = likelihood(Net(system), [(p["tokens"], p["notes"]) for p in mine], HEADER)
                print(f"{method}: {name} {split} in {time.perf_counter() - started:.0f} s", file=sys.stderr)
                lines.append(row(name, split, f"**{method}**", found, len(mine)))
    if options.kind in PUBLISHED:
        music, method, nll = PUBLISHED[options.kind]
        lines.append(f"| {music} | {method} | | | | {nll} | | |")
    command = f"python benchmarks/compose_language.py {shlex.join(sys.argv[1:])}".strip()
    sizes = ", ".join(f"{name} {sum(map(len, found)):,}" for name, found in train.items())
    about = (
        f"Vocabulary of {coder.size} tokens ({config.kind}); tokens counted by the baselines: {sizes}. The n-gram is interpolated with "
        "modified Kneser-Ney smoothing. Means over all tokens or notes of a part; begin, style and key are given, the end is foretold."
    )
    if options.kind == "performance":
        about += (
            " The published figures are of MAESTRO v1 with all its training pieces (962 in v3) and that paper's own events; here 190 of "
            "962 training pieces were counted or trained on, so they are no comparison of models."
        )
    print("\n".join(lines))
    if options.markdown:
        put_block(options.markdown, options.title or TITLES[options.kind], f"`{command}`\n\n{about}\n\n" + "\n".join(lines))


def load(options) -> dict:
    """Load the checkpoints, by the name that the table gives them."""
    if not options.checkpoints:
        return {}
    import torch

    from songfoundry import checkpoint

    torch.set_num_threads(options.threads)
    found = {}
    for name in options.checkpoints:
        path = checkpoint.resolve(name)
        system = checkpoint.load(path).to(options.device)
        if system.tokenizer.config.kind != options.kind:
            raise SystemExit(f"{name} writes tokens of kind {system.tokenizer.config.kind!r}: run again with --kind of that")
        # A run folder's checkpoints are all called best or model.
        label = path.stem if path.parent.name != "checkpoints" else f"{path.parent.parent.name} ({path.stem})"
        found[label] = system
    return found


if __name__ == "__main__":
    main()
