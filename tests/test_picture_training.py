"""Train tiny systems of pictures on digits made by code: every family, epoch by epoch, killed and gone on with, as the study typed it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_pictures
import torch
from commands import files, run_command
from tiny_pictures import SYSTEMS, recipe

from songfoundry import checkpoint, config, training
from songfoundry.errors import ConfigError

KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tiny_pictures import recipe
from songfoundry import training
training.train(recipe({family!r}, log_every=1), sys.argv[2], progress=lambda row: row.get("step") == 7 and os.kill(os.getpid(), 9))
"""


def tensors(run: Path, name: str = "last") -> dict:
    return checkpoint.read_tensors(run / "checkpoints" / f"{name}.safetensors")


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("family", SYSTEMS)
def test_every_family_trains_by_epochs_and_shows_them(tmp_path, family, monkeypatch):
    if family != "ddpm":
        # Drawing curves takes longer than the training.
        monkeypatch.setattr("songfoundry.systems.pictured.curves", lambda *_: [])
        monkeypatch.setattr("songfoundry.runs.Run.plot", lambda *_: None)
    trained = training.train(recipe(family), tmp_path)
    before, after = training.build(recipe(family))[0].state_dict(), tensors(tmp_path)
    moved = [not torch.equal(after[f"weights/{name}"], before[name]) for name in before]
    assert sum(moved) > 0.8 * len(moved)
    found = rows(tmp_path)
    # Two epochs of 40 examples in batches of 8.
    assert found[-1]["step"] == 10 and "mean" in found[-1]["score"]
    built = checkpoint.load(trained)
    assert built.classes == list("0123456789") and built.checkpoint.card["images_seen"] == 80
    assert built.checkpoint.card["data"]["licences"] == ["none needed (made by code)"]
    if family == "classifier":
        return
    assert [row["epoch"]["epoch"] for row in found if "epoch" in row] == [1, 2]
    sheets = [f"results/epoch_comparisons/samples_epoch_00{k}.png" for k in (1, 2)]
    assert {*sheets, "results/final_samples.png"} <= set(files(tmp_path))
    assert (tmp_path / sheets[0]).read_bytes() != (tmp_path / sheets[1]).read_bytes()
    assert family != "ddpm" or {"results/metrics_comparison.png", "results/training_loss.png"} <= set(files(tmp_path))


@pytest.mark.parametrize("family", [pytest.param("ddpm", marks=pytest.mark.long), "cdcgan-plain"])
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, family):
    command = [sys.executable, "-c", KILLED.format(family=family), str(Path(__file__).parent), str(tmp_path / "killed")]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert checkpoint.read_header(tmp_path / "killed" / "checkpoints" / "last.safetensors").card["step"] == 5
    for name in ("killed", "whole"):
        training.train(recipe(family, log_every=1), tmp_path / name)
    one, other = (tensors(tmp_path / name) for name in ("killed", "whole"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    figures = [[(row["step"], row.get("loss"), row.get("epoch")) for row in rows(tmp_path / name)] for name in ("killed", "whole")]
    assert figures[0] == figures[1]


def test_the_command_of_the_earlier_study_works_as_it_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mnist.toml").write_text(config.to_toml(tiny_pictures.values("ddpm")), encoding="utf-8")
    code, out, err = run_command("train", "mnist.toml", "--set", "epochs=1", "batch_size=20", "learning_rate=2e-3", "--progress", "none")
    assert code == 0, err
    assert "songfoundry picture --model runs/tiny-ddpm/checkpoints/model.safetensors" in out
    run = tmp_path / "runs" / "tiny-ddpm"
    kept = config.recipe(run / "recipe.toml").train
    assert (kept["epochs"], kept["batch"], kept["rate"], kept["steps"]) == (1, 20, 2e-3, 2) and rows(run)[-1]["step"] == 2
    # More epochs go on with the same run; steps take the place of epochs.
    code, _, err = run_command("train", "mnist.toml", "--set", "train.steps=3", "batch_size=20", "--progress", "none")
    assert code == 0 and rows(run)[-1]["step"] == 3
    code, out, _ = run_command("train", "mnist.toml", "--set", "epochs=4", "--plan")
    assert code == 0 and "17 steps" in out and "160 images seen then" in out
    code, _, err = run_command("train", "mnist.toml", "--set", "epochs=1", "twenty")
    assert code == 2 and "expected KEY.KEY=VALUE after --set, found 'twenty'" in err


def test_recipes_that_do_not_fit_are_refused(tmp_path):
    for family, table, keys, what in (
        ("ddpm", "system", {"classes": ["a"]}, "in their order"),
        ("ddpm", "system", {"size": 32}, "give .system. and .data. the same"),
        ("ddpm", "system", {"size": 18}, "give .system. and .data. the same"),
        ("rectified", "system", {"prediction": "epsilon"}, "system.prediction = 'v'"),
        ("ddpm", "system", {"net": "dcgan"}, "TASK is 'picture'"),
        ("cdcgan", "system", {"net_options": {"judging": False}}, "both sides of the game"),
        ("cdcgan-plain", "system", {"net_options": {"modern": False, "spectral_norm": True}}, "modern blocks alone"),
        ("ddpm", "train", {"epochs": 0}, "greater than 0"),
        ("ddpm", "data", {"kind": "idx", "path": str(tmp_path)}, "expected files such as"),
    ):
        plain = recipe(family)
        wrong = plain.model_copy(update={table: {**getattr(plain, table), **keys}})
        with pytest.raises(Exception, match=what) as caught:
            training.open_trainer(wrong, tmp_path / "run")
        assert "\n" not in str(caught.value) and caught.type.__module__ == "songfoundry.errors", caught.value
    assert not (tmp_path / "run").exists()


def test_epochs_of_draws_without_an_end_are_refused():
    from songfoundry.schedule import TrainConfig

    with pytest.raises(ConfigError, match="expected train.steps for draws that have no end"):
        TrainConfig(epochs=2).counted(object())
    assert TrainConfig(epochs=2, batch=4, accumulate=2, devices=2).counted(range(100)).steps == 13
