"""Time `songfoundry --help` and `import songfoundry`, beside an empty Python: what a user waits for before anything happens.

Run: python benchmarks/help_time.py [--markdown docs/speed.md]
"""

import statistics
import sys

from measuring import Table, parser, publish, run

COMMANDS = {
    "an empty Python": [sys.executable, "-c", "pass"],
    "`import songfoundry`": [sys.executable, "-c", "import songfoundry"],
    "`songfoundry --help`": [sys.executable, "-m", "songfoundry", "--help"],
    "`songfoundry separate --help`": [sys.executable, "-m", "songfoundry", "separate", "--help"],
}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--times", type=int, default=5)
    options = options.parse_args()
    table = Table(f"Median of {options.times} starts.", "command", "wall s", "CPU s")
    for command in COMMANDS.values():
        run(command)  # what Python compiles, it compiles once
    found = {name: [] for name in COMMANDS}
    for _ in range(options.times):
        for name, command in COMMANDS.items():
            found[name].append(run(command))
    for name, runs in found.items():
        table.add(name, *(statistics.median(getattr(one, what) for one in runs) for what in ("wall", "cpu")))
    table.notes.append("The aim is less than 0.5 s for `songfoundry --help`.")
    publish(table, options, "Starting")


if __name__ == "__main__":
    main()
