"""Print a run's learning curve: validation scores over steps and hours of audio seen, and draw it.

python benchmarks/learning_curve.py runs/separate-bsrnn-small --markdown docs/results.md --picture docs/learning-curve.png
"""

import argparse
import json
import shutil
import sys
import tomllib
from pathlib import Path

from songfoundry.evaluation import put_block

STEMS = ("vocals", "drums", "bass", "other")


def main() -> None:
    """Read log.jsonl and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--every", type=int, default=1, help="print every n-th score")
    parser.add_argument("--markdown", type=Path, help="put the table into this file")
    parser.add_argument("--picture", type=Path, help="copy the run's plot of scores here")
    options = parser.parse_args()
    recipe = tomllib.loads((options.run / "recipe.toml").read_text())
    seconds = recipe["train"]["batch"] * recipe["train"].get("accumulate", 1) * recipe["data"]["chunk_seconds"]
    rows = [json.loads(line) for line in (options.run / "log.jsonl").read_text().splitlines()]
    pace = next((row["seconds_a_step"] for row in reversed(rows) if "seconds_a_step" in row), 0)
    scored = [row for row in rows if "score" in row]
    lines = ["| step | hours of audio seen | hours of training | vocals | drums | bass | other | mean |", "|---" * 8 + "|"]
    for row in scored[:: options.every] + ([] if (len(scored) - 1) % options.every == 0 else scored[-1:]):
        cells = " | ".join(f"{row['score'][f'{stem}.sdr']:.2f}" for stem in STEMS)
        seen, trained = row["step"] * seconds / 3600, row["step"] * pace / 3600
        lines.append(f"| {row['step']} | {seen:.1f} | {trained:.2f} | {cells} | {row['score']['mean']:.2f} |")
    table = "\n".join(lines)
    sys.stdout.write(table + "\n")
    if options.picture:
        shutil.copyfile(options.run / "results" / "scores.png", options.picture)
    if options.markdown:
        picture = f"\n\n![learning curve]({options.picture.name})" if options.picture else ""
        put_block(options.markdown, "Learning curve", f"`python benchmarks/learning_curve.py {options.run}`\n\n{table}{picture}")


if __name__ == "__main__":
    main()
