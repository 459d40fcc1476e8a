"""Train tiny pairs of nets on tones: every family of recipes, killed and gone on with, on two devices, and ended when a side is dead."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from tiny_notes import FAMILIES, recipe

from songfoundry import checkpoint, config, training
from songfoundry.data.tones import tone
from songfoundry.errors import ConfigError, TrainingError

KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tiny_notes import recipe
from songfoundry import training
training.train(recipe({family!r}, **{options}), sys.argv[2], progress=lambda row: row.get("step") == 5 and os.kill(os.getpid(), 9))
"""


def tensors(run: Path, name: str = "last") -> dict:
    return checkpoint.read_tensors(run / "checkpoints" / f"{name}.safetensors")


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_recipes_trains(tmp_path, family):
    trained = training.train(recipe(family), tmp_path)
    before = training.build(recipe(family))[0].state_dict()
    after = tensors(tmp_path, "last")
    for side in ("_discriminator", "_generator"):
        moved = [not torch.equal(after[f"weights/{name}"], before[name]) for name in before if side in name]
        assert sum(moved) > 0.8 * len(moved)  # what a bias adds may cancel
    found = rows(tmp_path)
    assert found[-1]["score"].keys() >= {"mean", "in_tune", "level", "shape", "spread"}
    assert {"discriminator", "generator"} <= {name for row in found for name in row.get("norm", {})}
    assert {"right_real", "right_made", "gap"} <= {name for row in found for name in row.get("game", {})}
    system = checkpoint.load(trained)
    assert system.instruments == ["bright", "hollow"] and system.config.pitches == (60, 67)
    assert system.checkpoint.card["data"]["licences"] == ["none needed (made by code)"] and "hours_seen" in system.checkpoint.card
    waves = system.notes(system.latents(2), torch.tensor([60, 67]), torch.tensor([0, 1]))
    assert waves.shape == (2, system.config.samples) and waves.abs().amax(1).tolist() == pytest.approx([1, 1])
    assert (tmp_path / "results" / "preview-notes.wav").stat().st_size > 1000 and (tmp_path / "results" / "game.png").exists()


def test_each_phase_keeps_to_its_own_schedule(tmp_path):
    training.train(recipe("multistep", log_every=1, warmup=0), tmp_path)
    found = [row for row in rows(tmp_path) if "loss" in row]
    taught = [set(row["norm"]) for row in found]
    assert taught == [{"discriminator"}, {"generator"}, {"generator"}, *[{"discriminator", "generator"}] * 3]
    assert [row["rates"]["generator"] for row in found] == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4])
    falling = [row["rates"]["discriminator"] for row in found]
    assert falling[0] == falling[3] == 2e-3 and falling[0] > falling[1] > falling[2] and falling[4] == falling[1]
    # Only the game's last step has the penalty due: it is taken every third step, the discriminator learns at 0, 3, 4, 5.
    assert [("penalty" in row["loss"]) for row in found] == [True, False, False, True, False, False]


@pytest.mark.parametrize("family", ["multistep", "growth"])
def test_a_killed_game_goes_on_bit_for_bit(tmp_path, family):
    options = {"log_every": 1, "score_every": 4, "precision": "bf16-mixed", "steps": 8, "workers": 1}
    code = KILLED.format(family=family, options=options)
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "killed")]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert checkpoint.read_header(tmp_path / "killed" / "checkpoints" / "last.safetensors").card["step"] == 4
    for name in ("killed", "whole"):
        training.train(recipe(family, **options), tmp_path / name)
    for name in ("last", "model", "best"):
        assert same(tensors(tmp_path / "killed", name), tensors(tmp_path / "whole", name)), name
    figures = [[(row["step"], row.get("loss"), row.get("game"), row.get("norm"), row.get("score")) for row in rows(tmp_path / name)]
               for name in ("killed", "whole")]  # fmt: skip
    assert figures[0] == figures[1] and len(figures[0]) == 8 + 2


def test_a_dead_discriminator_ends_the_training(tmp_path):
    # A rate of nothing: what it says of real and made images stays as far apart as it was, next to nothing.
    options = {"dead_after": 3, "phases": {"discriminator": {"rate": 1e-12}, "generator": {"rate": 1e-12}}}
    dead = recipe("comb", **options)
    dead = dead.model_copy(update={"system": {**dead.system, "net_options": {"channels": [16, 12, 8], "spectral_norm": False}}})
    trainer = training.open_trainer(dead, tmp_path)
    with torch.no_grad():
        for parameter in trainer.system.phases()["discriminator"]:
            parameter.mul_(1e-6)
    with pytest.raises(TrainingError, match="entropy floor for 3 steps"):
        trainer.fit()


def test_recipes_that_do_not_fit_are_refused(tmp_path):
    plain = recipe()
    for table, keys, what in (
        ("system", {"instruments": ["hollow", "bright"]}, "in their order"),
        ("system", {"frames": 12}, "at most 3072 samples"),
        ("system", {"frames": 18}, "multiples of 4"),
        ("system", {"rate": 8000}, r"\[system\] and \[data\] the same"),
        ("system", {"loss": "least squares"}, "nonsaturating"),
        ("system", {"net_options": {"combs": 1}}, "net_options"),
        ("train", {"phases": {"generatr": {"rate": 1e-3}}}, "did you mean 'generator'"),
    ):
        wrong = plain.model_copy(update={table: {**getattr(plain, table), **keys}})
        with pytest.raises(ConfigError, match=what) as caught:
            training.open_trainer(wrong, tmp_path / "run")
        assert "\n" not in str(caught.value)


def test_a_plan_says_what_is_to_come(tmp_path):
    plan = training.plan(recipe(steps=1000), tmp_path, steps=1)
    assert plan["steps"] == 1000 and plan["hours_seen"] == round(1000 * 4 * 4096 / 16000 / 3600, 2) and plan["memory_gib"] > 0


@pytest.mark.long
def test_two_processes_play_one_game(tmp_path):
    """Two processes take the same steps; with a recipe of two phases each leaves the other's parameters alone."""
    file = tmp_path / "r.toml"
    phases = {"phases": {"generator": {"rate": 1e-3}, "discriminator": {"rate": 1e-3}}}
    file.write_text(config.to_toml(recipe("comb", steps=4, batch=2, log_every=1, **phases).model_dump()), encoding="utf-8")
    command = [sys.executable, "-m", "songfoundry", "train", str(file), "--out", str(tmp_path / "two"), "--set", "train.devices=2"]
    done = subprocess.run([*command, "--progress", "json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in rows(tmp_path / "two") if "loss" in row] == [1, 2, 3, 4]


def test_gansynth_s_recipe_trains_on_a_folder_in_nsynth_s_layout(tmp_path):
    """The recipe as it stands, with fewer channels: 4 s, 1024 mels with instantaneous frequency, growth, splits as folders."""
    for split, pitches in (("train", (48, 55, 60)), ("valid", (55,))):
        folder, examples = tmp_path / "sets" / f"nsynth-{split}", {}
        (folder / "audio").mkdir(parents=True)
        for family in ("flute", "guitar"):
            for pitch in pitches:
                name = f"{family}_acoustic_00{split == 'valid':d}-{pitch:03d}-100"
                soundfile.write(folder / "audio" / f"{name}.wav", 0.5 * tone("soft", pitch, samples=64000), 16000)
                examples[name] = {
                    "pitch": pitch, "velocity": 100, "instrument_str": name.rsplit("-", 2)[0], "instrument_family_str": family,
                }  # fmt: skip
        (folder / "examples.json").write_text(json.dumps(examples))
    changes = [
        f'data.folders=[{{path="{tmp_path / "sets"}", kind="nsynth", include=["*acoustic*"]}}]',
        "system.net_options.channels=[8,8,8,8,8,8,8]", "system.net_options.latent=8", "system.net_options.style=16", "train.steps=3",
        "train.batch=2", "train.score_songs=1", "train.log_every=1", "train.workers=0", "train.accelerator=cpu",
    ]  # fmt: skip
    found = config.recipe(Path(__file__).parents[1] / "recipes" / "nsynth_gansynth.toml", changes)
    system = checkpoint.load(training.train(found, tmp_path / "run"))
    assert system.instruments == ["flute", "guitar"] and system.checkpoint.card["data"]["notes"] == 6
    wave = system.notes(system.latents(1), torch.tensor([52]), torch.tensor([1]))
    assert wave.shape == (1, 64000) and wave.isfinite().all() and system.net.state_dict()["stage"] > 1
    assert {"penalty", "drift"} <= rows(tmp_path / "run")[0]["loss"].keys()
