"""Make the shipped form of a model of notes, and hold it against the trained one."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import tiny_notes
import torch

from songfoundry import checkpoint, config, training
from songfoundry.checkpoint import Checkpoint
from songfoundry.errors import CheckpointError, ConfigError
from songfoundry.timbre.generator import NoteGenerator

SCRIPT = Path(__file__).parents[1] / "recipes" / "release.py"
ASKED = {"n": 8, "pitch": 1.0, "within 50": 0.98765, "within 20": 0.9, "median cents": 4.0, "instrument": 0.8}
ALIKE = {"n": 8, "frechet": 9.0, "floor of frechet": 3.0, "precision": 0.7, "recall": 0.6, "memorised": 1.2}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Release the tiny system as `kept`; gives it and the file."""
    system = tiny_notes.system()
    card = {"about": "Tones", "steps": 6, "scores": {"validation": {"in_tune": 0.5}}, "versions": {"songfoundry": "0", "commit": None}}
    about = Checkpoint("note", system.config.model_dump(mode="json"), card)
    checkpoint.save(tmp_path / "trained.safetensors", system.state_dict(), about)
    judge = {"name": "judge", "hash": "abc"}
    (tmp_path / "scores.json").write_text(json.dumps({"judge": judge, "asked": {"kept": ASKED}, "alike": {"kept": ALIKE}}))
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path / "weights")
    options = ["--name", "kept", "--licence", "CC0-1.0", "--scores", "notes", str(tmp_path / "scores.json")]
    monkeypatch.setattr(sys, "argv", ["release.py", str(tmp_path / "trained.safetensors"), *options])
    spec = importlib.util.spec_from_file_location("release", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main()
    # And once more without an evaluation, to another name.
    options = [*options[:-3], "--commit", "1234567"]
    monkeypatch.setattr(sys, "argv", ["release.py", str(tmp_path / "trained.safetensors"), *options, "--name", "bare"])
    script.main()
    return system.eval(), tmp_path / "weights" / "kept.safetensors"


def test_a_shipped_model_of_notes_holds_the_generator_alone_and_makes_the_same_images(shipped):
    system, file = shipped
    held, own = checkpoint.read_tensors(file), system.state_dict()
    assert held.keys() == {name for name in own if "_discriminator" not in name} and len(held) < len(own)
    assert {tensor.dtype for tensor in held.values()} == {torch.float16}
    labels = (system.latents(2), torch.tensor([60, 67]), torch.tensor([0, 1]))
    with torch.no_grad():
        torch.testing.assert_close(checkpoint.load(file).net.generator(*labels), system.net.generator(*labels), atol=2e-2, rtol=0)
    assert NoteGenerator(file, "cpu", 1).notes("C4", instrument="hollow")[0].samples.any()
    card = checkpoint.read_header(file).card
    assert card["licence"] == "CC0-1.0"
    assert card["scores"]["notes: notes as asked for (n = 8), judge abc"]["within 50"] == 0.988
    bare = checkpoint.read_header(file.with_name("bare.safetensors")).card
    assert bare["scores"] == {"validation part of its data, crops": {"in_tune": 0.5}} and bare["versions"]["commit"] == "1234567"


def test_half_a_game_is_not_trained(shipped, tmp_path):
    recipe = tiny_notes.recipe()
    half = recipe.model_copy(update={"system": config.override(recipe.system, ["net_options.judging=false"])})
    with pytest.raises(ConfigError, match="both sides of the game") as caught:
        training.open_trainer(half, tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()
    with pytest.raises(CheckpointError, match="weights of the recipe's own net"):
        training.open_trainer(recipe, tmp_path / "other", start_from=shipped[1])
