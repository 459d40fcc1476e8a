"""Pages that must stay true: the command line's, the README's Python, the licence of the weights."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tiny_music
from known_models import song

from songfoundry.audio import io

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_the_command_line_is_what_the_program_says():
    run = subprocess.run(
        [sys.executable, "-m", "typer", "songfoundry.cli", "utils", "docs", "--name", "songfoundry", "--title", "The command line"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page.strip() == run.stdout.strip(), "run: make docs/cli.md"


def test_the_page_of_the_models_is_what_their_files_say():
    run = subprocess.run([sys.executable, "-m", "songfoundry", "models", "--markdown"], capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert page.strip() == run.stdout.strip(), "run: songfoundry models --markdown > docs/models.md"


COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?songfoundry (\w[\w-]*)(.*)$", re.M)


def test_the_commands_of_the_readme_are_those_that_there_are():
    """Each command of a shell block, with its options, is one that the program's own page lists."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = [one for block in re.findall(r"```sh\n(.*?)```", readme, flags=re.S) for one in COMMAND.findall(block)]
    assert len(found) > 10
    for command, rest in found:
        section = page.split(f"## `songfoundry {command}`", 1)[1].split("\n## ")[0]
        for option in re.findall(r"(?<!\S)(--[a-z][a-z-]*)", rest.partition("#")[0]):
            assert f"{option}`" in section or f"{option} " in section or f"{option}/" in section, f"{command} has no {option}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    for target in re.findall(r"^make ([a-z-]+)", readme, flags=re.M):
        assert target in targets


def test_the_extras_of_the_readme_are_those_of_the_package():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    table = readme.split("| extra |", 1)[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.M)) == set(extras) - {"all"}


def test_the_python_of_the_readme_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", readme, flags=re.S):
        run = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert "vocals" in run.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    "title", ["Take a song apart", "Go on from a MIDI prompt", "Make a MIDI file sound", "Make notes of your own timbres"]
)
def test_the_shell_of_the_readme_runs_word_for_word(title, tmp_path):
    """Each line, in its order, on short files of the names that stand there."""
    for extra in ("symusic", "miditok", "pyloudnorm", "matplotlib", "verovio", "music21"):
        pytest.importorskip(extra)
    from songfoundry.notes import read_midi

    (tmp_path / "album").mkdir()
    for name in ("song.mp3", "album/one.mp3"):
        io.write(tmp_path / name, song(2.0), 44100)
    for name in ("prompt.mid", "song.mid", "piece.mid"):
        score = read_midi(tiny_music.prompt(bars=8))
        score.tracks[0].name = "MELODY"
        (tmp_path / name).write_bytes(score.dumps_midi())
    (tmp_path / "composed").mkdir()
    (tmp_path / "composed" / "prompt-1.mid").write_bytes(tiny_music.prompt())
    time = np.arange(32000) / 16000
    tone = sum(np.sin(2 * np.pi * 440 * k * time) / k for k in range(1, 6)) * np.exp(-time) * 0.2
    io.write(tmp_path / "recording.wav", tone[None].astype(np.float32), 16000)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```sh\n(.*?)```", readme.split(f"## {title}\n", 1)[1], flags=re.S)[1]
    lines = [line for line in block.splitlines() if line.startswith("songfoundry ")]
    assert len(lines) >= 3
    for line in lines:
        command = [sys.executable, "-m", *shlex.split(line, comments=True)]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
        assert run.returncode == 0, f"{line}\n{run.stderr}"
        assert any(tmp_path.joinpath(path).is_file() for path in run.stdout.splitlines()) or "skipped" in run.stderr, line


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
