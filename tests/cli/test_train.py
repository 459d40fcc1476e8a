"""Train from the command line, as a user does: first steps, more steps, a plan, Ctrl-C, mistakes."""

import json
import re
import signal
import subprocess
import sys

import pytest
from tiny_training import write_recipe, write_songs
from typer.testing import CliRunner

from songfoundry import checkpoint
from songfoundry.cli import app
from songfoundry.errors import ConfigError, TrainingError


@pytest.fixture(autouse=True)
def _settings(tmp_path_factory, monkeypatch, tmp_path):
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs"))


def train(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_three_steps_and_then_two_more(tmp_path, songs):
    file = write_recipe(tmp_path / "recipe.toml", songs, log_every=1)
    first = train(file, "--set", "train.steps=3", "--progress", "json")
    assert first.exit_code == 0, first.output
    path = tmp_path / "runs" / "tiny" / "checkpoints" / "model.safetensors"
    assert "songfoundry separate --model runs/tiny/checkpoints/model.safetensors SONG" in first.stdout
    rows = [json.loads(line) for line in first.stderr.splitlines() if line.startswith("{")]
    assert [row["step"] for row in rows if "step" in row] == [1, 2, 3] and rows[-1]["seconds_left"] == 0
    assert checkpoint.load(path).checkpoint.card["steps"] == 3
    second = train(file, "--set", "train.steps=5")
    assert second.exit_code == 0 and "step 5/5" in second.stderr
    assert re.search(r"spectrum \d\.\d+ .* s a step, 0 min 00 s left", second.stderr)
    assert checkpoint.load(path).checkpoint.card["steps"] == 5
    log = [json.loads(line) for line in (tmp_path / "runs" / "tiny" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log if "loss" in row] == [1, 2, 3, 4, 5]


def test_a_plan_says_time_memory_and_the_end_and_trains_nothing(tmp_path, songs):
    file = write_recipe(tmp_path / "recipe.toml", songs)
    said = train(file, "--plan", "--set", "train.steps=20000")
    assert said.exit_code == 0, said.output
    assert re.search(r"a step: +[\d.]+ s, [\d.]+ % of it waiting", said.stdout) and re.search(r"memory: +\d\.\d\d GiB", said.stdout)
    assert re.search(r"to the end: 20000 steps, [\d.]+ h: \w+day \d\d:\d\d; 5\.6 h of audio", said.stdout)
    assert not (tmp_path / "runs").exists()
    figures = json.loads(train(file, "--plan", "--progress", "json").stdout)
    assert figures["steps"] == 6 and figures["seconds_a_step"] > 0


def test_mistakes_are_errors_of_one_sentence(tmp_path, songs):
    file = write_recipe(tmp_path / "recipe.toml", songs, steps=1)
    for arguments, error, words in (
        ((file, "--set", "train.stepz=3"), ConfigError, "did you mean 'steps'"),
        ((file, "--set", "data.chunk_second=3"), ConfigError, "did you mean 'chunk_seconds'"),
        ((file, "--progress", "bars"), ConfigError, "bar, json or none"),
        ((tmp_path / "none.toml",), ConfigError, "expected a TOML recipe"),
    ):
        found = train(*arguments)
        assert isinstance(found.exception, error) and words in str(found.exception) and "\n" not in str(found.exception)
    assert not (tmp_path / "runs").exists()
    assert train(file, "--progress", "none").exit_code == 0
    found = train(file, "--set", "data.coherent=1.0")
    assert isinstance(found.exception, TrainingError) and "another data.coherent" in str(found.exception)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, songs):
    file = write_recipe(tmp_path / "recipe.toml", songs, steps=100_000, log_every=1, save_every=100_000, score_every=100_000, workers=1)
    command = [sys.executable, "-m", "songfoundry", "train", str(file), "--progress", "json"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stderr:
        if line.startswith('{"step": 3,'):
            break
    # To the loader's process too, as a terminal sends it.
    subprocess.run(["kill", "-INT", "--", f"-{process.pid}"], check=True)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT
    *rows, last = said.splitlines()
    stopped = re.fullmatch(r"The training was stopped and saved at step (\d+); the same command goes on from there\.", last)
    assert stopped and all(row.startswith("{") for row in rows)
    saved = checkpoint.read_header(tmp_path / "runs" / "tiny" / "checkpoints" / "last.safetensors")
    assert saved.card["step"] == int(stopped[1]) >= 3
