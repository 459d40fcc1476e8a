"""Enforce the floors of the house: imports only point down, and some things are done in one room alone.

The source is read as syntax trees, so that imports within functions count like those at the top of a file.
"""

import ast
import json
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "songfoundry"
FILES = sorted(SOURCE.rglob("*.py"))

FLOORS = {
    "errors": 0, "config": 0, "registry": 0,
    "audio": 1, "notes": 1, "orchestra": 1, "spectral": 1, "synth": 1, "voice": 1, "diffusion": 1, "hardware": 1, "pictures": 1,
    "nets": 2, "data": 2, "metrics": 2,
    "checkpoint": 3, "systems": 3,
    "runs": 4, "averages": 4, "schedule": 4, "loading": 4, "game": 4, "trainer": 4,
    # A room of the package that is not named in this table is on this floor: nothing below may use it.
    "product": 5,
    "cli": 6, "serve": 6, "ui": 6, "__main__": 6,
}  # fmt: skip
HEAVY = {"torch", "numpy", "scipy", "soundfile", "soxr", "safetensors", "lightning_fabric", "matplotlib", "av", "onnx"}


def room(path: Path) -> str:
    """Name the room of a file: its folder within the package, or the file itself."""
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def floor(name: str) -> int:
    return FLOORS.get(name, FLOORS["product"])


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(nodes, path: Path) -> list[tuple[str, int]]:
    """List the full names of the modules that nodes import, each with its line."""
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ("songfoundry", *path.relative_to(SOURCE).parts[:-1])
                base = ".".join((*package[: len(package) - node.level + 1], *filter(None, [base])))
            found += [(f"{base}.{alias.name}", node.lineno) for alias in node.names]
    return found


def imports(path: Path) -> list[tuple[str, int]]:
    return imports_of(ast.walk(tree(path)), path)


def calls(path: Path) -> list[tuple[str, int]]:
    """List what a file calls, as written: `print`, `torch.load`."""
    return [(ast.unparse(node.func), node.lineno) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def importers(package: str) -> set[str]:
    """Name the files, below the package, that import a library anywhere."""
    return {str(path.relative_to(SOURCE)) for path in FILES for name, _ in imports(path) if name.split(".")[0] == package}


def test_the_walk_sees_the_house():
    assert len(FILES) > 30 and "checkpoint.py" in importers("safetensors")


def test_imports_only_point_down():
    wrong = []
    for path in FILES:
        if path == SOURCE / "__init__.py":
            continue
        for name, line in imports(path):
            package, *parts = name.split(".")
            if package == "songfoundry" and parts and not parts[0].startswith("__") and floor(parts[0]) > floor(room(path)):
                wrong.append(f"{where(path, line)}: floor {floor(room(path))} imports {name} of floor {floor(parts[0])}")
    assert wrong == []


def test_nets_data_and_metrics_are_blind_to_each_other():
    blind = {"nets", "data", "metrics"}
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in FILES
        if room(path) in blind
        for name, line in imports(path)
        if name.startswith("songfoundry.") and name.split(".")[1] in blind - {room(path)}
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("soundfile", {"audio"}), ("av", {"audio"}), ("symusic", {"notes"}), ("miditok", {"notes"}), ("safetensors", {"checkpoint"}),
        ("lightning_fabric", {"trainer"}), ("typer", {"cli", "__main__"}), ("rich", {"cli"}),
        ("PIL", {"pictures"}), ("pickle", set()), ("marshal", set()), ("shelve", set()), ("joblib", set()), ("lightning", set()),
        ("torchaudio", set()), ("torchvision", set()), ("torchcodec", set()), ("dill", set()),
        ("socket", {"serve", "batch"}), ("http", {"serve", "batch"}), ("urllib", {"serve", "batch"}), ("requests", set()),
    ],
)  # fmt: skip
def test_a_library_stays_in_its_room(library, rooms):
    assert {room(SOURCE / name) for name in importers(library)} <= rooms


def test_only_audio_calls_ffmpeg():
    def programs(path: Path) -> set[str]:
        """Collect the words that are handed to subprocess and its like as the program to run."""
        strings = (node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str))
        return {text for text in strings if text in ("ffmpeg", "ffprobe")}

    runs = {path for path in FILES if any(name.split(".")[0] == "subprocess" for name, _ in imports(path))}
    assert {room(path) for path in runs if programs(path)} <= {"audio"}


def test_only_the_command_line_prints():
    silent = [path for path in FILES if room(path) not in ("cli", "serve")]
    found = [where(path, line) for path in silent for name, line in calls(path) if name == "print"]
    assert found == []


def test_nothing_runs_what_a_file_says():
    forbidden = {"eval", "exec", "compile", "__import__", "torch.load", "torch.save", "np.fromfile", "os.system"}
    found = [f"{where(path, line)}: {name}" for path in FILES for name, line in calls(path) if name in forbidden]
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant) and node.value.value is True:
                found += [f"{where(path, node.value.lineno)}: {node.arg}=True"] if node.arg in ("allow_pickle", "shell") else []
    assert found == []


def test_nets_know_no_files_paths_seeds_or_processes():
    forbidden = {"os", "io", "pathlib", "sys", "random", "subprocess", "tempfile", "logging", "numpy", "json"}
    seeded = {"open", "torch.manual_seed", "torch.Generator", "torch.seed"}
    nets = [path for path in FILES if room(path) == "nets"]
    wrong = [f"{where(path, line)}: {name}" for path in nets for name, line in imports(path) if name.split(".")[0] in forbidden]
    wrong += [f"{where(path, line)}: {name}" for path in nets for name, line in calls(path) if name in seeded]
    assert wrong == []


def test_light_rooms_import_nothing_heavy_at_their_top():
    light = [path for path in FILES if room(path) in ("__init__", "errors", "config", "registry", "cli", "__main__")]
    wrong = [
        f"{where(path, line)}: {name}"
        for path in light
        for name, line in imports_of(tree(path).body, path)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter; return the packages that it has loaded."""
    tail = "\nimport sys, json\nsys.stderr.write('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import songfoundry; dir(songfoundry)",
        "from songfoundry import registry; registry.names('nets'); registry.names('data'); registry.names('systems')",
        "import sys; sys.argv[1:] = ['--help']\nfrom songfoundry.__main__ import main\ntry: main()\nexcept SystemExit: pass",
    ],
    ids=["import", "registry", "help"],
)
def test_light_use_loads_nothing_heavy(code):
    assert loaded_after(code) & HEAVY == set()


def test_requirements_leave_out_what_breaks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    named = {line.split(";")[0].split("[")[0].strip().rstrip("0123456789.,<>=!~ *").lower() for line in lines}
    assert {"torch", "numpy", "lightning-fabric"} <= named
    assert named & {"torchaudio", "torchvision", "torchcodec", "lightning", "pytorch-lightning"} == set()
