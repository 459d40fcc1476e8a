"""Measure writing music: with and without the cache, eight variations at once and one by one, and against real time.

Run: python benchmarks/compose_speed.py [--model FILE ...] [--prompt FILE.mid] [--markdown docs/speed.md]

Ratios are of CPU seconds of one process, measured in turns in one run, so that they hold on a busy machine; speed does not
depend on what the weights are, so that presets are built with random ones. The net alone is fed the same random tokens in every
way; "in all" is `Compose.generate` under a grammar, drawing included. Real time is what the tokens of the written notes last.
"""

import time
from pathlib import Path

import numpy as np
import torch
from measuring import Table, parser, publish

from songfoundry import checkpoint
from songfoundry.hardware import keep_memory
from songfoundry.notes.grammar import Grammar
from songfoundry.systems.compose import Compose, ComposeConfig

PRESETS = (("lstm", "lstm_128"), ("lstm", "small"), ("music_transformer", "small"), ("music_transformer", "base"))
BARS = 4
"""Length of the made prompt."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", type=Path, nargs="*", help="checkpoints; default: each preset with random weights")
    options.add_argument("--tokens", type=int, default=1024, help="the context, full, at which the cache is compared")
    options.add_argument("--steps", type=int, default=96, help="tokens that are written for each figure")
    options.add_argument("--rounds", type=int, default=3, help="of these the quickest counts")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    keep_memory()
    columns = (
        "net", "weights, M", "net alone, tokens/s", f"cache at {options.tokens} tokens, ratio", "8 at once / 8 single, ratio",
        "in all, tokens/s", "notes/s", "times real time", "training step, tokens/s",
    )  # fmt: skip
    about = f"Writing, {options.threads} thread(s), per CPU second; a cache against reading all again for each token."
    table = Table(about, *columns)
    for name, system in _systems(options.model):
        row = measure(system.eval(), options)
        size = sum(p.numel() for p in system.parameters()) / 1e6
        table.add(name, size, row["alone"], row["cache"], row["batch"], row["all"], row["notes"], row["real"], row["training"])
    table.notes.append("8 at once / 8 single: how many times less CPU time eight variations take as one batch than one after another.")
    table.notes.append("Times real time: at the pace of the made prompt, 24 notes in a bar of 4/4 at 120 quarters a minute: 12 notes/s.")
    table.notes.append("Training: one step in bfloat16 where the processor has it, batch x context of 8 x 512 tokens.")
    publish(table, options, "Writing music")


def _systems(models: list[Path] | None):
    """Give (name, system) of the checkpoints, or of each preset with random weights."""
    for path in models or []:
        yield path.stem, checkpoint.load(path)
    for net, preset in () if models else PRESETS:
        torch.manual_seed(0)
        yield f"{net} `{preset}`", Compose(ComposeConfig(net=net, preset=preset))


def best(rounds: int, *ways) -> list[float]:
    """Run each way in turn, several times, and give the least CPU seconds of each."""
    least = [float("inf")] * len(ways)
    for _ in range(rounds):
        for number, way in enumerate(ways):
            begun = time.process_time()
            way()
            least[number] = min(least[number], time.process_time() - begun)
    return least


def measure(system: Compose, options) -> dict[str, float]:
    """Measure one system; see the table's columns."""
    net, size, steps, full = system.net, system.tokenizer.size, options.steps, options.tokens
    tokens = torch.randint(0, size, (8, full), generator=torch.Generator().manual_seed(1))

    @torch.inference_mode()
    def fed(rows: int, begin: int, count: int) -> None:
        """Feed tokens one by one after `begin` that were read before."""
        caches[rows, begin] = caches.get((rows, begin)) or net(tokens[:rows, :begin], net.start(rows, full + 1))[1]
        cache = net.select(caches[rows, begin], torch.arange(rows))
        for step in range(count):
            _, cache = net(tokens[:rows, begin + step : begin + step + 1], cache)

    @torch.inference_mode()
    def read_again(count: int) -> None:
        """Read the whole context for each token."""
        for _ in range(count):
            net(tokens[:1])

    caches: dict = {}
    begin = full - steps
    fed(1, begin, 1), fed(8, begin, 1)
    one, eight, again = best(
        options.rounds, lambda: fed(1, begin, steps), lambda: fed(8, begin, steps), lambda: read_again(4)
    )  # fmt: skip
    prompt = made_prompt(system.tokenizer)

    def write() -> int:
        grammar = Grammar(system.tokenizer)
        grammar.start(prompt)
        written = [token for _, token in system.generate(prompt, [grammar], steps=4 * steps)]
        return len(written)

    (whole,) = best(options.rounds, write)
    # An untrained net's tokens are no music: a note of the grammar's takes what it takes, position and bar lines included.
    per_note = (len(prompt) - 3) / (24 * BARS)
    speed = 4 * steps / whole
    return {
        "alone": steps / one, "cache": again / 4 / (one / steps), "batch": 8 * one / eight, "all": speed,
        "notes": speed / per_note, "real": speed / per_note / 12, "training": trained(system, options),
    }  # fmt: skip


def made_prompt(coder) -> np.ndarray:
    """Write a prompt of 4/4 bars, 24 notes each: chords of three on the eighths of a piano."""
    ids = list(coder.header("pop", 0))
    velocity = coder.of_kind("Velocity")[16]
    for bar in range(BARS):
        ids += [coder.ids["Bar_None"], coder.ids["TimeSig_4/4"]]
        for eighth in range(8):
            ids.append(coder.ids[f"Position_{6 * eighth}"])
            if bar == eighth == 0:
                ids.append(int(coder.of_kind("Tempo")[41]))
            for pitch in (48, 64, 67 + eighth % 3):
                ids += [coder.ids["Program_0"], coder.ids[f"Pitch_{pitch}"], velocity, coder.ids["Duration_0.6.12"]]
    return np.array(ids, np.int32)


def trained(system: Compose, options) -> float:
    """Measure tokens per CPU second of a training step: forward, backward, update."""
    system.train()
    optimizer = torch.optim.AdamW(system.phases()["model"], lr=1e-6)
    tokens = torch.randint(0, system.tokenizer.size, (8, 513))
    batch = {"tokens": tokens, "weights": torch.ones(8, 512)}
    narrow = torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16")

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(narrow)):
            loss = system("model", batch)["nll"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    (seconds,) = best(options.rounds, step)
    system.eval()
    return 8 * 512 / seconds


if __name__ == "__main__":
    main()
