"""Run a command and measure it; make songs and models to measure with; print a table and keep it in docs/speed.md.

The process that measures stays small on purpose (no torch, no scipy): a child's peak memory, as Linux reports it, is never
less than what its parent held when it forked. So songs and models are made by children too:
`python benchmarks/measuring.py song FILE SECONDS` and `python benchmarks/measuring.py model FILE CONFIG_JSON`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from songfoundry.hardware import free_threads

PIECE_SECONDS = 30
"""A long song is a piece of this length over and over."""
NO_PROGRESS = ["--progress", "none"]


@dataclass
class Measured:
    """Hold what a child took: seconds on the clock, CPU seconds (user and system), peak memory in MiB, its output."""

    wall: float
    cpu: float
    peak: float
    output: str


def run(command: list, threads: int | None = None, **environment: str) -> Measured:
    """Run a command to its end and measure it alone; it must end well."""
    variables = {**os.environ, **environment}
    if threads:
        variables |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    begun = time.perf_counter()
    words = [str(part) for part in command]
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, env=variables, text=True)
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(words)} ended with exit code {child.returncode}: {errors.read()[-2000:]}")
    unit = 1 << 10 if sys.platform == "linux" else 1
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / (1 << 20), output)


def separation(song: Path, out: Path, model: Path, *options: str) -> list:
    """Write the command line that separates a file into files, as a user would type it."""
    return [sys.executable, "-m", "songfoundry", "separate", song, "--model", model, "--out", out, *NO_PROGRESS, *options]


def make_song(path: Path, seconds: float) -> Path:
    """Have a child write a made song of 44.1 kHz stereo, 16 bits."""
    run([sys.executable, __file__, "song", path, str(seconds)], threads=1)
    return path


def make_model(path: Path, **config) -> Path:
    """Have a child save a separator of random weights; `config` as in `SeparateConfig`."""
    run([sys.executable, __file__, "model", path, json.dumps(config)], threads=1)
    return path


def default_model(folder: Path, named: str | None = None) -> tuple[Path, str]:
    """Give a model's file and its name: the one that is asked for, else the shipped default, else random weights of its kind."""
    from songfoundry.separating.separator import DEFAULT_MODEL

    shipped = Path(__file__).resolve().parents[1] / f"src/songfoundry/weights/{DEFAULT_MODEL}.safetensors"
    if named:
        return Path(named), Path(named).stem
    if shipped.is_file():
        return shipped, shipped.stem
    return make_model(folder / "random.safetensors", preset="medium"), "bsrnn medium of random weights"


class Table:
    """Hold rows of a Markdown table, with a sentence above and notes below."""

    def __init__(self, about: str, *columns: str):
        self.about, self.columns, self.rows, self.notes = about, columns, [], []

    def add(self, *cells) -> None:
        """Add a row and show it on standard error; numbers are written with three digits."""
        self.rows.append([cell if isinstance(cell, str) else _short(cell) for cell in cells])
        print(" | ".join(self.rows[-1]), file=sys.stderr, flush=True)

    def as_markdown(self) -> str:
        """Write the table, the machine's sentence first."""
        lines = [f"{self.about} {machine()}", ""]
        lines += ["| " + " | ".join(self.columns) + " |", "|" + "---|" * len(self.columns)]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        lines += [""] + [f"- {note}" for note in self.notes] if self.notes else []
        return "\n".join(lines)


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def machine() -> str:
    """Describe processor, cores and how busy they are."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"({name}, {os.cpu_count()} cores{load}; Python {platform.python_version()}.)"


def parser(about: str) -> argparse.ArgumentParser:
    """Make a parser with the options that all benchmarks have."""
    made = argparse.ArgumentParser(description=about.splitlines()[0])
    made.add_argument("--markdown", metavar="FILE", help="put the table between this title's markers in a Markdown file")
    made.add_argument("--title", help="the table's title there")
    made.add_argument("--threads", type=int, default=free_threads(), help="default: the cores that are free")
    return made


def publish(table: Table, options: argparse.Namespace, title: str) -> None:
    """Print a table, and put it into a file where that was asked for."""
    print(table.as_markdown())
    if options.markdown:
        from songfoundry.evaluating.pages import put_block

        # The command as anyone can repeat it: from the checkout's root, no paths of this machine, not the file it goes to.
        words = [word for word in sys.argv[1:] if word not in ("--markdown", "--title", options.markdown, options.title)]
        words = [Path(word).name if os.path.isabs(word) else word for word in words]
        command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
        put_block(options.markdown, options.title or title, f"`{command}`\n\n{table.as_markdown()}")


def _write_song(path: str, seconds: float) -> None:
    import numpy as np
    import soundfile

    from songfoundry.data.synthetic import training_song

    piece = sum(training_song(1234, float(PIECE_SECONDS)).values()).T
    with soundfile.SoundFile(path, "w", 44100, 2) as file:
        left = round(seconds * 44100)
        while left > 0:
            file.write(np.ascontiguousarray(piece[:left]))
            left -= len(piece)


def _write_model(path: str, config: dict) -> None:
    import torch

    from songfoundry import checkpoint
    from songfoundry.systems.separate import Separate, SeparateConfig

    torch.manual_seed(0)
    parsed = SeparateConfig(**config)
    about = checkpoint.Checkpoint("separate", parsed.model_dump(), {"data": "none: random weights"})
    checkpoint.save(path, Separate(parsed).state_dict(), about)


if __name__ == "__main__":
    if sys.argv[1] == "song":
        _write_song(sys.argv[2], float(sys.argv[3]))
    else:
        _write_model(sys.argv[2], json.loads(sys.argv[3]))
