"""Compare ways to make glibc reuse memory, each in a process of its own: a training step and a separated chunk of bsrnn small.

Run: python benchmarks/allocator.py [--steps 3] [--batch 4] [--markdown docs/speed.md]

Large arrays are given back to the kernel when they are freed and come back zeroed, page by page, when they are next asked
for. The ways: glibc's variables in the environment; the same by `mallopt` while the program runs; larger pages (torch's own
variable, or glibc's tunable).
"""

import json
import resource
import sys
import time

from measuring import Table, parser, publish, run

ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "268435456"}
WAYS = {
    "as it comes": ({}, False),
    "`MALLOC_` variables before the start": (ENVIRONMENT, False),
    "`mallopt` while it runs": ({}, True),
    "`THP_MEM_ALLOC_ENABLE=1` (torch asks for large pages)": ({"THP_MEM_ALLOC_ENABLE": "1"}, False),
    "`GLIBC_TUNABLES=glibc.malloc.hugetlb=1`": ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}, False),
    "`mallopt` and `THP_MEM_ALLOC_ENABLE=1`": ({"THP_MEM_ALLOC_ENABLE": "1"}, True),
}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=3)
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--seconds", type=float, default=3.0, help="of each example")
    options = options.parse_args()
    # What `training.plan` and the recipes do: autocast to bfloat16, AdamW.
    sizes = [str(options.threads), str(options.steps), str(options.batch), str(options.seconds)]
    about = f"bsrnn small: training steps of {options.batch} x {options.seconds:g} s in bfloat16, separated chunks of 8 s in float32"
    columns = ("allocator", "step, CPU s", "ratio", "peak MiB", "chunk, CPU s", "ratio", "peak MiB")
    table = Table(f"{about}; CPU seconds, the least of {options.steps}; {options.threads} thread(s).", *columns)
    first = None
    for name, (environment, mallopt) in WAYS.items():
        found = []
        for what in ("train", "separate"):
            command = [sys.executable, __file__, "--child", what, str(int(mallopt)), *sizes]
            found.append(json.loads(run(command, options.threads, **environment).output))
        first = first or found
        cells = [(one["cpu"], one["cpu"] / base["cpu"], one["peak"]) for one, base in zip(found, first, strict=True)]
        table.add(name, *cells[0], *cells[1])
    publish(table, options, "Memory given back and asked for")


def _child(what: str, mallopt: str, threads: str, steps: str, batch: str, seconds: str) -> None:
    """Take steps, and print the CPU seconds of the fastest and the peak memory as JSON."""
    import torch

    from songfoundry.hardware import keep_memory
    from songfoundry.systems.separate import Separate, SeparateConfig

    if mallopt == "1" and not keep_memory():
        raise SystemExit("mallopt refused a setting")
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    system = Separate(SeparateConfig(preset="small"))
    if what == "separate":
        system.eval()
        mixture = torch.randn(1, 2, 8 * 44100) / 10

        @torch.inference_mode()
        def step() -> None:
            system.separate(mixture)
    else:
        optimiser = torch.optim.AdamW(system.parameters())
        stems = torch.randn(int(batch), 4, 2, round(44100 * float(seconds))) / 10
        no = torch.zeros(int(batch), dtype=torch.bool)
        examples = {"mixture": stems.sum(1), "stems": stems, "two_stems": no, "band_limited": no}

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16):
                loss = sum(system("model", examples).values())
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()

    step()
    taken = []
    for _ in range(int(steps)):
        begun = time.process_time()
        step()
        taken.append(time.process_time() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 10 if sys.platform == "linux" else 1 << 20)
    print(json.dumps({"cpu": min(taken), "peak": peak}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(*sys.argv[2:])
    else:
        main()
