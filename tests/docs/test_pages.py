"""Pages that must stay true: the command line's, the README's Python, the licence of the weights."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

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


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
