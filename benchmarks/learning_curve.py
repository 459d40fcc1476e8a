"""Print the learning curve of a run, or of runs that began where the one before stood, and draw it.

    python benchmarks/learning_curve.py runs/separate-bsrnn-small --markdown docs/results.md --picture docs/learning-curve.png
    python benchmarks/learning_curve.py runs/compose-lstm-128 --markdown docs/results.md --title "Learning curve of the LSTM of 128"

`RUN:STEP` counts a run only up to the step at which the next began. Scores are those of the averaged weights on the recipe's
validation pieces: of separators v4 SDR, frames dropped by the references alone, mean over songs; of nets that compose nats.
"""

import argparse
import json
import math
import shlex
import sys
import tomllib
from pathlib import Path

from songfoundry.evaluating.pages import put_block

STEMS = ("vocals", "drums", "bass", "other")


def rows_of(run: str, steps: int, seen: float, time: float) -> tuple[list[dict], int, float, float]:
    """Read the scored rows of one run, counted on from those before (steps, what was seen, hours); return them and the new counts."""
    folder, _, until = run.rpartition(":") if run.rpartition(":")[2].isdigit() else (run, "", "")
    recipe = tomllib.loads((Path(folder) / "recipe.toml").read_text())
    each = recipe["data"]["context"] if recipe["system"]["name"] == "compose" else recipe["data"]["chunk_seconds"] / 3600
    each *= recipe["train"]["batch"] * recipe["train"].get("accumulate", 1)
    log = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    pace = next((row["seconds_a_step"] for row in reversed(log) if "seconds_a_step" in row), 0)
    last = int(until) if until else max(row["step"] for row in log)
    scored = [
        {
            "run": Path(folder).name, "step": steps + row["step"], "seen": seen + row["step"] * each,
            "time": time + row["step"] * pace / 3600, "score": row["score"],
        }
        for row in log if "score" in row and row["step"] <= last
    ]  # fmt: skip
    return scored, steps + last, seen + last * each, time + last * pace / 3600


def separation(rows: list[dict]) -> list[str]:
    """Write the table of a separator."""
    lines = ["| run | step | hours of audio seen | hours of training | vocals | drums | bass | other | mean |", "|---" * 9 + "|"]
    for row in rows:
        cells = " | ".join(f"{row['score'][f'{stem}.sdr']:.2f}" for stem in STEMS)
        lines.append(
            f"| {row['run']} | {row['step']} | {row['seen']:.1f} | {row['time']:.2f} | {cells} | {row['score']['mean']:.2f} |"
        )
    return lines


def composing(rows: list[dict]) -> list[str]:
    """Write the table of a net that composes."""
    lines = ["| run | step | tokens seen, M | nats a token | perplexity | nats a note |", "|---" * 6 + "|"]
    for row in rows:
        nats, note = row["score"]["nll"], row["score"]["nll_note"]
        figures = f"{nats:.3f} | {math.exp(nats):.2f} | {note:.3f}"
        lines.append(f"| {row['run']} | {row['step']} | {row['seen'] / 1e6:.1f} | {figures} |")
    return lines


def draw(rows: list[dict], path: Path) -> None:
    """Draw the scores over what was seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    if "nll" in rows[0]["score"]:
        axes = figure.add_subplot(xlabel="million tokens seen", ylabel="perplexity of a token", title="Validation pieces")
        curves = {"validation": ([row["seen"] / 1e6 for row in rows], [math.exp(row["score"]["nll"]) for row in rows])}
    else:
        axes = figure.add_subplot(xlabel="hours of audio seen", ylabel="SDR, dB", title="Validation songs")
        keys = {**{stem: f"{stem}.sdr" for stem in STEMS}, "mean": "mean"}
        curves = {name: ([row["seen"] for row in rows], [row["score"][key] for row in rows]) for name, key in keys.items()}
    for name, curve in curves.items():
        axes.plot(*curve, marker="o", markersize=3, label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Read the logs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="run folders in the order in which they followed each other, RUN or RUN:STEP")
    parser.add_argument("--title", default="Learning curve", help="of the table there")
    parser.add_argument("--markdown", type=Path, help="put the table into this file")
    parser.add_argument("--picture", type=Path, help="draw the curve to this file")
    options = parser.parse_args()
    rows, steps, seen, time = [], 0, 0.0, 0.0
    for run in options.runs:
        scored, steps, seen, time = rows_of(run, steps, seen, time)
        rows += scored
    table = "\n".join((composing if "nll" in rows[0]["score"] else separation)(rows))
    sys.stdout.write(table + "\n")
    if options.picture:
        draw(rows, options.picture)
    if options.markdown:
        picture = f"\n\n![learning curve]({options.picture.name})" if options.picture else ""
        command = f"python benchmarks/learning_curve.py {' '.join(Path(run).name for run in options.runs)}"
        command += f" --title {shlex.quote(options.title)}" if options.title != parser.get_default("title") else ""
        put_block(options.markdown, options.title, f"`{command}`\n\n{table}{picture}")


if __name__ == "__main__":
    main()
