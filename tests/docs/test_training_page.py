"""Hold docs/training.md to the code: its tables of keys and the commands that it names."""

import json
import re
from pathlib import Path

import pytest
import typer

from songfoundry.cli import app
from songfoundry.data.remix import RemixConfig, SongFolder
from songfoundry.schedule import PhaseConfig, TrainConfig

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("table", "model"),
    [("data", RemixConfig), ("data.folders", SongFolder), ("train", TrainConfig), ("train.phases.NAME", PhaseConfig)],
)
def test_tables_of_keys_are_those_of_the_code(table, model):
    rows = PAGE.split(f"| `[{table}]` | default | |\n|---|---|---|\n")[1].split("\n\n")[0].splitlines()
    found = dict(re.match(r"\| `(\w+)` \| (.*?) \| .*\|$", row).groups() for row in rows)
    assert found == {
        key: "" if field.is_required() else "none" if field.default is None else f"`{json.dumps(field.default)}`"
        for key, field in model.model_fields.items()
    }


def test_commands_and_options_are_there():
    commands = typer.main.get_command(app)
    seen = 0
    for line in re.findall(r"^(?:torchrun .* -m )?songfoundry (.*?)(?:  +#.*)?$", PAGE, re.M):
        words, command = line.split("#")[0].split(), commands
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
        seen += 1
    assert seen >= 6
    for recipe in re.findall(r"recipes/[\w-]+\.toml", PAGE):
        assert (Path(__file__).parents[2] / recipe).is_file()
