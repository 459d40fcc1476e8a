"""Train one recipe in several variants for equally many steps, and print what each change gives on the validation songs.

    python benchmarks/ablations.py --out runs/ablations --markdown docs/results.md

Variants that are there are not trained again; the scores are those of the last step, on the recipe's validation songs.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from songfoundry.evaluation import put_block

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
}
COMMON = ["train.ema=0.99", "train.score_every=200", "train.warmup=50", "train.steps=400"]


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
    options = parser.parse_args()
    lines = ["| variant | steps | vocals | drums | bass | other | mean |", "|---|---|---|---|---|---|---|"]
    for name in options.only or VARIANTS:
        about, assignments = VARIANTS[name]
        folder = options.out / name
        if not options.no_training:
            sets = [part for assignment in COMMON + assignments for part in ("--set", assignment)]
            command = [sys.executable, "-m", "songfoundry", "train", str(RECIPE), "--out", str(folder), "--progress", "none"]
            subprocess.run([*command, *sets], check=True)
        found = scores(folder)
        if found:
            cells = [f"{found['scores'][f'{stem}.sdr']:.2f}" for stem in ("vocals", "drums", "bass", "other")]
            lines.append(f"| {about} | {found['step']} | {' | '.join(cells)} | {found['scores']['mean']:.2f} |")
    table = "\n".join(lines)
    sys.stdout.write(table + "\n")
    if options.markdown:
        put_block(options.markdown, "What each change gives", f"`python benchmarks/ablations.py --out {options.out}`\n\n{table}")


if __name__ == "__main__":
    main()
