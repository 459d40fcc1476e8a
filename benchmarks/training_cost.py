"""Measure what training each separation net and preset costs: audio seen per hour of one core, in one run.

Run: python benchmarks/training_cost.py [--only bsrnn ...] [--markdown docs/speed.md]

One step is forward, backward and AdamW on random stems, in bfloat16 where the processor has it; CPU seconds of one process, so
that it holds on a busy machine. Drawing examples is not in it: that is another process's work.
"""

import time

import torch
from measuring import Table, parser, publish

from songfoundry import registry
from songfoundry.hardware import keep_memory
from songfoundry.systems.separate import Separate, SeparateConfig

SECONDS = 3.0


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", nargs="*", help="nets; default: all")
    options.add_argument("--batch", type=int, default=2)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    keep_memory()
    table = Table(
        f"One training step of {options.batch} x {SECONDS:g} s, {options.threads} thread(s).",
        "net", "weights, M", "CPU seconds per second of audio", "hours of audio seen per CPU hour",
    )  # fmt: skip
    for net in options.only or registry.nets_for("separate"):
        for preset in registry.module("nets", net).PRESETS:
            torch.manual_seed(0)
            system = Separate(SeparateConfig(net=net, preset=preset))
            cost = step(system.train(), options.batch) / (options.batch * SECONDS)
            table.add(f"{net} `{preset}`", sum(p.numel() for p in system.parameters()) / 1e6, cost, 1 / cost)
    publish(table, options, "Training a separator")


def step(system: Separate, batch: int) -> float:
    """Give the CPU seconds of a training step, the lesser of two after one to warm up."""
    optimizer = torch.optim.AdamW(system.phases()["model"], lr=1e-6)
    stems = 0.1 * torch.randn(batch, len(system.stems), system.config.channels, round(SECONDS * system.config.sample_rate))
    whole = torch.zeros(batch, dtype=torch.bool)
    drawn = {"mixture": stems.sum(1), "stems": stems, "two_stems": whole, "band_limited": whole}
    able = torch.cpu.get_capabilities()
    found = []
    for _ in range(3):
        begun = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(able.get("avx512_bf16") or able.get("amx_bf16"))):
            loss = sum(system("model", drawn).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(time.process_time() - begun)
    return min(found[1:])


if __name__ == "__main__":
    main()
