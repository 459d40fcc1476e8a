"""The evaluation of encoders: rows, tables, and what the rows must say whatever the net is."""

import json
import time

import pytest
import tiny_codec
import torch
from commands import run_command
from tiny_training import write_song

from songfoundry.encoding.encoder import Encoder
from songfoundry.errors import ConfigError, DatasetError
from songfoundry.evaluating.encode import CEILING, MEAN_FRAME, EncodeEvaluation, clock, device_name, evaluate_encode


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path / "cache"))


def test_rows_stems_and_the_ceiling(tmp_path):
    write_song(tmp_path / "songs/test", "held", stems=("vocals", "bass"))
    encoder = Encoder(tiny_codec.system(), "cpu", 1)
    found = evaluate_encode([encoder], data=tmp_path / "songs", seconds=1.0, voices=False)
    rows = found.scores["vae"]
    assert set(rows) == {
        "vae", "vae, latent at 8 bits", "vae, Griffin-Lim 32", CEILING, "true mel, Griffin-Lim 32", MEAN_FRAME, "Opus, 6 kbit/s",
    }  # fmt: skip
    assert set(rows["vae"]) == {"vocals", "bass", "mixture", "all"} and rows["vae"]["all"]["n"] == 3
    assert rows[CEILING]["all"]["mse"] < 0.5 * rows["vae"]["all"]["mse"], "an untrained net cannot be near what no net can pass"
    assert found.images["vae"][MEAN_FRAME]["all"]["mse"] < found.images["vae"]["vae"]["all"]["mse"]
    about = found.latents["vae"]
    assert about["kbit/s at 8 bits"] == pytest.approx(8 * 8 * 8000 / 128 / 4 / 1000) and 0 <= about["active units"] <= 8
    assert about["nats a unit"] >= 0 and about["kbit/s of the Opus files"] > 3
    assert set(found.speed["vae"]) == {"encode", "decode, PGHI", "decode, Griffin-Lim 32"}
    phases = found.phases
    assert phases["PGHI + 16 fast Griffin-Lim"]["convergence"] < phases["PGHI alone"]["convergence"] < 0
    text = found.as_markdown()
    assert "| vae | vocals | 1 |" in text and "mse beside mean frame" in text and json.dumps(found.as_json())


def test_eight_bits_cost_something_even_where_a_sound_has_two_latents():
    encoder = Encoder(tiny_codec.system("ae64"), "cpu", 1)
    rows = evaluate_encode([encoder], data="tones", count=1, seconds=1.4, voices=False, baselines=False).scores["ae64"]
    assert rows["ae64, latent at 8 bits"]["all"] != rows["ae64"]["all"]
    assert rows["ae64, latent at 8 bits"]["all"]["mse"] == pytest.approx(rows["ae64"]["all"]["mse"], rel=0.2)


def test_speed_on_a_device_is_of_all_that_it_was_told_and_names_it(monkeypatch):
    waited = []
    monkeypatch.setattr("torch.accelerator.synchronize", lambda device: waited.append(str(device)) or time.sleep(0.05))
    begun = clock(torch.device("mps"))
    assert 0.05 < clock(torch.device("mps")) - begun and waited == ["mps", "mps"], "no processor works while it waits"
    begun = clock(torch.device("cpu"))
    time.sleep(0.05)
    assert clock(torch.device("cpu")) - begun < 0.05 and len(waited) == 2
    page = EncodeEvaluation(device=device_name(torch.device("mps"))).as_markdown()
    assert "Speed on mps" in page and "one core" not in page and device_name(torch.device("cpu")) == "one core"


def test_the_command_writes_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_codec.save_model(tmp_path / "m.safetensors", "ae64")
    options = ("--data", "tones", "--count", 1, "--seconds", 1, "--no-baselines", "--json", "e.json", "--markdown", "e.md")
    code, out, err = run_command("evaluate", "encode", "--model", "m.safetensors", *options)
    assert code == 0 and "harmonics" in out and "active" in out
    about = json.loads((tmp_path / "e.json").read_text())
    assert about["scores"]["m"]["m"]["harmonics"]["n"] == 1 and about["latents"]["m"]["units"] == 8
    assert "songfoundry" in (tmp_path / "e.md").read_text()


def test_what_cannot_be_evaluated_is_told(tmp_path):
    write_song(tmp_path / "songs/train", "a", stems=("vocals",))
    encoder = Encoder(tiny_codec.system(), "cpu", 1)
    with pytest.raises(DatasetError, match="split 'test'"):
        evaluate_encode([encoder], data=tmp_path / "songs")
    with pytest.raises(ConfigError, match="name one"):
        evaluate_encode([])
    with pytest.raises(ConfigError, match="count of 1"):
        evaluate_encode([encoder], count=0)
