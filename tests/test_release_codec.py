"""Make the shipped form of a model that encodes, with what an evaluation found of it in its card."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import tiny_codec

from songfoundry import checkpoint
from songfoundry.encoding.encoder import Encoder
from songfoundry.evaluating.encode import evaluate_encode

SCRIPT = Path(__file__).parents[1] / "recipes" / "release.py"


def test_a_shipped_model_encodes_nearly_the_same_and_tells_its_scores(tmp_path, monkeypatch):
    path = tiny_codec.save_model(tmp_path / "kept.safetensors")
    found = evaluate_encode([path], data="tones", count=1, seconds=1.0, voices=False)
    (tmp_path / "scores.json").write_text(json.dumps(found.as_json()))
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path / "weights")
    options = ["--name", "kept", "--licence", "CC0-1.0", "--scores", "tones", str(tmp_path / "scores.json")]
    monkeypatch.setattr(sys, "argv", ["release.py", str(path), *options])
    spec = importlib.util.spec_from_file_location("release", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main()
    card = checkpoint.read_header(tmp_path / "weights/kept.safetensors").card
    assert set(card["scores"]) == {
        "tones: kept (n = 1)", "tones: kept, latent at 8 bits (n = 1)", "tones: true mel, same inverse (ceiling) (n = 1)", "tones: latents",
    }  # fmt: skip
    assert card["scores"]["tones: kept (n = 1)"]["error dB (rms)"] > 0 and card["licence"] == "CC0-1.0"
    whole, kept = Encoder(path, "cpu", 1), Encoder(tmp_path / "weights/kept.safetensors", "cpu", 1)
    sound = 0.1 * np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32)
    assert np.allclose(whole.encode(sound, 8000).values, kept.encode(sound, 8000).values, atol=0.02)
    assert whole.hash != kept.hash, "latents belong to the very weights"
