"""Train one recipe in several variants for equally many steps, and print what each change gives on the validation songs.

    python benchmarks/ablations.py --out runs/ablations --markdown docs/results.md

Variants that are there are not trained again; the scores are those of the last step, on the recipe's validation songs. The
other nets are trained for as many steps as cost the recipe's CPU time. CPU minutes are those steps by the CPU seconds of a
step, which a few steps on one thread tell, all variants in one go: the clock of a long training tells how busy the machine was.
What drawing the examples takes, in a process of its own and the same for all, is not in it. The costs stay in OUT/costs.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from songfoundry import config, hardware, training
from songfoundry.evaluating.pages import put_block

RECIPE = Path(__file__).parent.parent / "recipes" / "separate-bsrnn-small.toml"
REAL = (
    'data.folders=[{path="songs",include=["everythingisfree/*"],weight=3.0},'
    '{path="songs",include=["musicdelta/*"],weight=3.0},{path="songs",include=["mir1k/*"],weight=2.0}]'
)
VARIANTS = {
    "base": ("the recipe", []),
    "coherent": ("no remix: all stems of a draw from one moment of one song", ["data.coherent=1.0"]),
    "real_only": ("real songs only: without the rendered LMMS projects and MIDI bands", [REAL]),
    "spectrum_only": ("loss on the spectrum alone, no waveform term", ["system.wave_weight=0.0"]),
    "big": (
        "a larger net (128 features, 128 units, 6 layers: 7.5 M), half the steps: about equal time",
        ["system.net_options={features=128,hidden=128,layers=6}", "train.steps=200"],
    ),
    "no_speed": ("no change of speed", ["data.speed=0.0"]),
    "chunk6": ("chunks of 6 s, half the batch", ["data.chunk_seconds=6.0", "train.batch=2"]),
    # Other nets for the CPU time of the recipe's 400 steps. bf16 is faster than float32 for each of them too (CPU seconds a step,
    # measured on a busy machine: bsrnn small 1.58 and 2.33, scnet tiny 1.70 and 1.84, spec_unet tiny 1.42 and 1.68, small 2.29).
    "scnet_tiny": (
        "scnet tiny (0.64 M), equal time",
        ['system.net="scnet"', 'system.preset="tiny"', 'system.net_options={output="mask"}', "train.steps=370"],
    ),
    "unet_tiny": ("spec_unet tiny (0.54 M), equal time", ['system.net="spec_unet"', 'system.preset="tiny"', "train.steps=440"]),
    "unet_small": ("spec_unet small (5.4 M), equal time", ['system.net="spec_unet"', 'system.preset="small"', "train.steps=275"]),
}
COMMON = ["train.ema=0.99", "train.score_every=200", "train.warmup=50", "train.steps=400"]
#: Steps that tell what a variant's step costs, after two to warm up.
MEASURED_STEPS = 6


def measure(name: str) -> float:
    """Take some steps of a variant in this process; return the CPU seconds of one, which other work changes far less than the clock."""
    hardware.keep_memory()
    recipe = config.recipe(RECIPE, [*COMMON, *VARIANTS[name][1], f"train.steps={MEASURED_STEPS + 3}", "train.threads=1"])
    with tempfile.TemporaryDirectory() as scratch:
        trainer = training.open_trainer(recipe, scratch)
        trainer.measure(1)
        begun = time.process_time()
        trainer.measure(MEASURED_STEPS)  # and one more to warm up
        return (time.process_time() - begun) / (MEASURED_STEPS + 1)


def costs(names: list[str], kept: Path) -> dict[str, float]:
    """Give the CPU seconds of a variant's step, measured where they are not kept yet, each in a process of its own."""
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for name in names:
        if name not in found:
            command = [sys.executable, __file__, "--measure", name]
            found[name] = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found, indent=1))
    return found


def scores(folder: Path) -> dict | None:
    """Read the scores of a finished variant."""
    kept = folder / "scores.json"
    return json.loads(kept.read_text()) if kept.exists() else None


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), help="variants to train and print; default: all")
    parser.add_argument("--no-training", action="store_true", help="print the variants that are there")
    parser.add_argument("--markdown", type=Path, help="put the table into this file")
    parser.add_argument("--measure", choices=list(VARIANTS), help="print the CPU seconds of a step of this variant, no more")
    options = parser.parse_args()
    if options.measure:
        sys.stdout.write(f"{measure(options.measure):.4f}\n")
        return
    lines = ["| variant | steps | CPU minutes | vocals | drums | bass | other | mean |", "|---|---|---|---|---|---|---|---|"]
    names = options.only or list(VARIANTS)
    for name in names if not options.no_training else ():
        sets = [part for assignment in COMMON + VARIANTS[name][1] for part in ("--set", assignment)]
        folder = str(options.out / name)
        command = [sys.executable, "-m", "songfoundry", "train", str(RECIPE), "--out", folder, "--progress", "none"]
        subprocess.run([*command, *sets], check=True)
    trained = {name: found for name in names if (found := scores(options.out / name))}
    seconds = costs(list(trained), options.out / "costs.json")
    for name, found in trained.items():
        cells = [f"{found['step'] * seconds[name] / 60:.1f}"]
        cells += [f"{found['scores'][f'{stem}.sdr']:.2f}" for stem in ("vocals", "drums", "bass", "other")]
        lines.append(f"| {VARIANTS[name][0]} | {found['step']} | {' | '.join(cells)} | {found['scores']['mean']:.2f} |")
    table = "\n".join(lines)
    sys.stdout.write(table + "\n")
    if options.markdown:
        put_block(options.markdown, "What each change gives", f"`python benchmarks/ablations.py --out {options.out}`\n\n{table}")


if __name__ == "__main__":
    main()
