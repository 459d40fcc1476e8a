"""Print the learning curve of a run, or of runs that began where the one before stood, and draw it.

    python benchmarks/learning_curve.py runs/separate-bsrnn-small --markdown docs/results.md --picture docs/learning-curve.png

`RUN:STEP` counts a run only up to the step at which the next began. Scores are those of the averaged weights on the recipe's
validation songs: v4 SDR, frames dropped by the references alone, mean over songs.
"""

import argparse
import json
import sys
import tomllib
from pathlib import Path

from songfoundry.evaluating.pages import put_block

STEMS = ("vocals", "drums", "bass", "other")


def rows_of(run: str, steps: int, hours: float, time: float) -> tuple[list[dict], int, float, float]:
    """Read the scored rows of one run, counted on from those before; return them and the new counts."""
    folder, _, until = run.rpartition(":") if run.rpartition(":")[2].isdigit() else (run, "", "")
    recipe = tomllib.loads((Path(folder) / "recipe.toml").read_text())
    seconds = recipe["train"]["batch"] * recipe["train"].get("accumulate", 1) * recipe["data"]["chunk_seconds"]
    log = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    pace = next((row["seconds_a_step"] for row in reversed(log) if "seconds_a_step" in row), 0)
    last = int(until) if until else max(row["step"] for row in log)
    scored = [
        {
            "run": Path(folder).name, "step": steps + row["step"], "seen": hours + row["step"] * seconds / 3600,
            "time": time + row["step"] * pace / 3600, "score": row["score"],
        }
        for row in log if "score" in row and row["step"] <= last
    ]  # fmt: skip
    return scored, steps + last, hours + last * seconds / 3600, time + last * pace / 3600


def draw(rows: list[dict], path: Path) -> None:
    """Draw the scores over the hours of audio seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="hours of audio seen", ylabel="SDR, dB", title="Validation songs")
    for stem in (*STEMS, "mean"):
        key = "mean" if stem == "mean" else f"{stem}.sdr"
        axes.plot([row["seen"] for row in rows], [row["score"][key] for row in rows], marker="o", markersize=3, label=stem)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Read the logs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="run folders in the order in which they followed each other, RUN or RUN:STEP")
    parser.add_argument("--markdown", type=Path, help="put the table into this file")
    parser.add_argument("--picture", type=Path, help="draw the curve to this file")
    options = parser.parse_args()
    rows, steps, hours, time = [], 0, 0.0, 0.0
    for run in options.runs:
        scored, steps, hours, time = rows_of(run, steps, hours, time)
        rows += scored
    lines = ["| run | step | hours of audio seen | hours of training | vocals | drums | bass | other | mean |", "|---" * 9 + "|"]
    for row in rows:
        cells = " | ".join(f"{row['score'][f'{stem}.sdr']:.2f}" for stem in STEMS)
        lines.append(
            f"| {row['run']} | {row['step']} | {row['seen']:.1f} | {row['time']:.2f} | {cells} | {row['score']['mean']:.2f} |"
        )
    table = "\n".join(lines)
    sys.stdout.write(table + "\n")
    if options.picture:
        draw(rows, options.picture)
    if options.markdown:
        picture = f"\n\n![learning curve]({options.picture.name})" if options.picture else ""
        command = f"python benchmarks/learning_curve.py {' '.join(Path(run).name for run in options.runs)}"
        put_block(options.markdown, "Learning curve", f"`{command}`\n\n{table}{picture}")


if __name__ == "__main__":
    main()
