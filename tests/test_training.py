"""Train a tiny band-split RNN on songs of two seconds: resumed, killed, planned, on two devices."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import RATE, recipe, write_recipe, write_songs

from songfoundry import checkpoint, config, registry, training
from songfoundry.errors import Cancelled, CheckpointError, ConfigError, DatasetError

KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tiny_training import recipe
from songfoundry import training
training.train(recipe(Path(sys.argv[2]), **{options}), sys.argv[3], progress=lambda row: row.get("step") == 7 and os.kill(os.getpid(), 9))
"""


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def tensors(run: Path, name: str = "last") -> dict:
    return checkpoint.read_tensors(run / "checkpoints" / f"{name}.safetensors")


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def start(folder: Path, file: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "songfoundry", "train", str(file), "--out", str(folder), "--progress", "json", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for_step(process: subprocess.Popen, step: int) -> None:
    for line in process.stderr:
        if line.startswith("{") and json.loads(line).get("step", 0) >= step:
            return
    raise AssertionError("the training ended early")


def test_a_killed_training_goes_on_bit_for_bit(tmp_path, songs):
    """Killed by signal 9 between two saves, with a loader's process and the net in bf16."""
    options = {"steps": 12, "log_every": 1, "save_every": 3, "score_every": 5, "workers": 1, "precision": "bf16-mixed"}
    code = KILLED.format(options=options)
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(songs), str(tmp_path / "killed")]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert checkpoint.read_header(tmp_path / "killed" / "checkpoints" / "last.safetensors").card["step"] == 6
    for name in ("killed", "whole"):
        training.train(recipe(songs, **options), tmp_path / name)
    for name in ("last", "model", "best"):
        assert same(tensors(tmp_path / "killed", name), tensors(tmp_path / "whole", name)), name
    logs = [[json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()] for name in ("killed", "whole")]
    figures = [[(row["step"], row.get("loss"), row.get("score")) for row in log] for log in logs]
    assert figures[0] == figures[1] and len(figures[0]) == 12 + 3


@pytest.mark.parametrize("net", registry.nets_for("separate"))
def test_every_net_goes_on_bit_for_bit(tmp_path, songs, net):
    """Stopped and saved after one step of three, and begun again by the same command."""
    plain = recipe(songs, steps=3, precision="bf16-mixed")
    smallest = {**plain.system, "net": net, "preset": next(iter(registry.module("nets", net).PRESETS)), "net_options": {}}
    plain = plain.model_copy(update={"system": smallest})
    with pytest.raises(Cancelled, match="saved at step 1"):
        training.train(plain, tmp_path / "stopped", stop=lambda: True)
    for name in ("stopped", "whole"):
        training.train(plain, tmp_path / name)
    assert same(tensors(tmp_path / "stopped"), tensors(tmp_path / "whole"))


def test_the_loss_falls_and_the_stems_come_apart(tmp_path, songs):
    options = {"steps": 80, "rate": 0.02, "ema": 0.9, "batch": 4, "log_every": 10, "score_every": 80, "save_every": 80}
    plain = recipe(songs, **options)
    coherent = {"coherent": 1.0, "silence": 0.0, "noise": 0.0, "speed": 0.0}
    training.train(plain.model_copy(update={"data": {**plain.data, **coherent}}), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"]["spectrum"] for row in rows if "loss" in row]
    assert losses[-1] < 0.6 * losses[0]
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())["scores"]
    # The stems are tones of equal level far apart: a quarter of the mixture would score 1 to 2 dB.
    assert scores["mean"] > 4.0 and set(scores) == {"mean", "vocals.sdr", "drums.sdr", "bass.sdr", "other.sdr"}
    system = checkpoint.load(tmp_path / "run" / "checkpoints" / "model.safetensors")
    assert system.checkpoint.card["data"]["songs"] == 3 and system.checkpoint.card["data"]["validation"] == ["valid/held 0"]
    assert {file.name for file in (tmp_path / "run" / "results").glob("*.wav")} == {f"preview-{s}.wav" for s in system.stems}


def test_weights_follow_from_the_seed(songs):
    plain = recipe(songs)
    first, again = (training.build(plain)[0].state_dict() for _ in range(2))
    other = training.build(plain.model_copy(update={"seed": 4}))[0].state_dict()
    assert same(first, again) and not same(first, other)


def test_a_new_run_starts_from_other_weights_and_an_old_one_does_not(tmp_path, songs):
    first = training.train(recipe(songs, steps=3), tmp_path / "first")
    trainer = training.open_trainer(recipe(songs), tmp_path / "second", first)
    assert trainer.step == 0 and same(trainer.averages.whole(), checkpoint.read_tensors(first))
    trainer.step = 1
    trainer.system.load_state_dict({name: t + 1 if t.is_floating_point() else t for name, t in trainer.system.state_dict().items()})
    trainer.save()
    again = training.open_trainer(recipe(songs), tmp_path / "second", first)
    assert again.step == 1 and same(again.system.state_dict(), trainer.system.state_dict())
    with pytest.raises(CheckpointError):
        training.open_trainer(recipe(songs), tmp_path / "third", tmp_path / "none.safetensors")
    assert not (tmp_path / "third").exists()


def test_a_plan_says_what_is_to_come(tmp_path, songs):
    run = tmp_path / "run"
    training.train(recipe(songs, steps=2), run)
    before = sorted((file.name, file.stat().st_mtime_ns) for file in run.rglob("*"))
    plan = training.plan(recipe(songs, steps=1002, accumulate=3, score_every=10), run)
    assert plan["steps"] == 1000 and plan["hours_seen"] == round(1002 * 2 * 3 * 0.5 / 3600, 2)
    assert plan["seconds_a_step"] > 0 and 0 <= plan["waiting"] <= 1 and plan["memory_gib"] > 0.1
    scores = 100 * plan["seconds_a_score"]
    assert plan["hours"] == pytest.approx((1000 * plan["seconds_a_step"] + scores) / 3600, abs=0.02 + 0.1 * scores / 3600)
    assert sorted((file.name, file.stat().st_mtime_ns) for file in run.rglob("*")) == before
    whole = training.build(recipe(songs))[0]
    assert plan["parameters"] == sum(p.numel() for p in whole.parameters())
    assert training.plan(recipe(songs).model_copy(update={"train": {"accelerator": "cpu", "workers": 0}}), run)["steps"] == 100_000 - 2


def test_a_wrong_recipe_leaves_no_folder(tmp_path, songs):
    plain = recipe(songs)
    for table, keys, error in (
        ("train", {"stepz": 1}, ConfigError),
        ("system", {"net": "bsrn"}, ConfigError),
        ("system", {"preset": "tinny"}, ConfigError),
        ("data", {"folders": [{"path": str(tmp_path / "nothing")}]}, DatasetError),
    ):
        wrong = plain.model_copy(update={table: {**getattr(plain, table), **keys}})
        with pytest.raises(error) as caught:
            training.train(wrong, tmp_path / "run")
        assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_every_recipe_of_the_repository_is_right():
    """Each builds its system's config, draws' config and trainer's config without an unknown key."""
    from songfoundry.schedule import TrainConfig

    files = sorted((Path(__file__).parents[1] / "recipes").glob("separate-*.toml"))
    assert files
    for file in files:
        found = config.recipe(file)
        assert found.name == file.stem
        for kind, table in (("systems", found.system), ("data", found.data)):
            config.parse(registry.get(kind, table["name"]).Config, table, f"{file.name} {kind}")
        config.parse(TrainConfig, found.train, f"{file.name} train")


@pytest.mark.long
def test_a_training_that_is_killed_again_and_again_ends_bit_equal(tmp_path, songs):
    file = write_recipe(tmp_path / "r.toml", songs, steps=120, log_every=1, save_every=7, score_every=40, workers=1)
    chance, kills, target = random.Random(11), 0, 0
    while kills < 30:
        target += chance.randint(10, 40)
        process = start(tmp_path / "killed", file)
        try:
            wait_for_step(process, target)
        except AssertionError:
            break  # It came to its end.
        time.sleep(chance.random() * 0.1)
        process.kill()
        process.communicate()
        kills += 1
    process.communicate()
    assert process.returncode == 0 and kills > 2
    training.train(config.recipe(file), tmp_path / "whole")
    assert same(tensors(tmp_path / "killed"), tensors(tmp_path / "whole"))
    assert same(tensors(tmp_path / "killed", "best"), tensors(tmp_path / "whole", "best"))


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["fabric", "torchrun"])
def test_two_processes_train_one_net(tmp_path, songs, launcher):
    """Two processes with two examples each take the steps of one with four, and only the first writes and prints."""
    file = write_recipe(tmp_path / "r.toml", songs, steps=4, batch=2, log_every=1, workers=1)
    command = ["-m", "songfoundry", "train", str(file), "--out", str(tmp_path / "two"), "--progress", "json"]
    if launcher == "fabric":
        done = subprocess.run([sys.executable, *command, "--set", "train.devices=2"], capture_output=True, text=True)
    else:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        done = subprocess.run([*torchrun, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("averaged weights are in") == 1 and len((tmp_path / "two" / "log.jsonl").read_text().splitlines()) == 5
    steps = [json.loads(line)["step"] for line in done.stderr.splitlines() if line.startswith('{"step"')]
    assert steps == [1, 2, 3, 4]
    training.train(recipe(songs, steps=4, batch=4, log_every=1), tmp_path / "one")
    one, two = tensors(tmp_path / "one", "model"), tensors(tmp_path / "two", "model")
    assert all(torch.allclose(one[name], two[name], atol=2e-5) for name in one)
    losses = [[json.loads(line)["loss"]["spectrum"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines() if "loss" in line]
              for name in ("one", "two")]  # fmt: skip
    assert np.allclose(*losses, atol=0.02)
    assert not same(one, dict(training.build(recipe(songs))[0].state_dict()))


@pytest.mark.long
def test_a_worker_keeps_the_net_from_waiting(tmp_path, songs):
    """Measured on the smallest net of the repository at its own size: next to no time is spent waiting for examples."""
    plain = config.recipe(Path(__file__).parents[1] / "recipes" / "separate-bsrnn-tiny.toml")
    data = {**plain.data, "folders": [{"path": str(songs)}]}
    trainer = training.open_trainer(plain.model_copy(update={"data": data, "train": {**plain.train, "steps": 9}}), tmp_path / "run")
    assert RATE != trainer.draws.config.sample_rate and trainer.measure(8)["waiting"] < 0.1
