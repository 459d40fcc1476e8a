"""Models and doctor: what is listed is what the files say."""

import json
import re
import subprocess
import sys
import tomllib

import known_models
from typer.testing import CliRunner

from songfoundry import checkpoint, inventory
from songfoundry.cli import app
from songfoundry.cli.progress import tell_licences
from songfoundry.separating.models import find


def test_local_models_are_listed_with_their_cards_and_damaged_ones_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_MODELS", str(tmp_path))
    path = known_models.save(tmp_path / "mine.safetensors", known_models.system())
    (tmp_path / "broken.safetensors").write_bytes(path.read_bytes()[:1000])
    rows = {row["name"]: row for row in inventory.models()}
    assert rows["mine"]["card"]["licence"] == "test"
    assert (rows["mine"]["system"], rows["mine"]["net"], rows["mine"]["shipped"]) == ("separate", "bsrnn", False)
    assert "expected" in rows["broken"]["error"]
    shown = CliRunner().invoke(app, ["models"])
    assert shown.exit_code == 0
    assert "mine" in shown.output and "licence   test" in shown.output


def test_scores_are_told_by_their_names_and_not_by_what_a_training_chose_by():
    shown = CliRunner().invoke(app, ["models"]).output
    for row in (row for row in inventory.models() if row["shipped"] and row["system"] == "compose"):
        (scores,) = row["card"]["scores"].values()
        assert f"nats a token {scores['nll']:.2f}, nats a note {scores['nll_note']:.2f}" in shown
    assert " mean " not in shown


def test_a_shipped_model_has_a_whole_card_and_is_small():
    shipped = [row for row in inventory.models() if row["shipped"]]
    assert shipped, "no weights are shipped"
    for row in shipped:
        assert row["mib"] < 16
        card = row["card"]
        for key in ("licence", "about", "data", "steps", "scores", "versions", "date", "recipe"):
            assert card.get(key), f"{row['name']} lacks {key} in its card"
        assert card.get("hours_seen") or row["system"] != "separate"
        parameters = sum(t.numel() for t in checkpoint.read_tensors(row["path"]).values())
        assert parameters <= 8_000_000
        assert (checkpoint.WEIGHTS.parents[2] / "recipes" / f"{card['recipe']}.toml").exists()
    assert sum(row["mib"] for row in shipped) < 95


def test_licences_are_told_of_each_model_that_is_used(tmp_path, capsys):
    path = known_models.save(tmp_path / "a+b.safetensors", known_models.system())
    tell_licences(*find(path), *find("bsrnn-medium+bsrnn-small"))
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "Licence of the weights of a+b: test" and len(told) == 3
    assert [line.split(":")[0].split()[-1] for line in told[1:]] == ["bsrnn-medium", "bsrnn-small"]
    assert all("research use only" in line for line in told[1:])


def test_doctor_reports_what_a_bug_report_needs():
    run = subprocess.run([sys.executable, "-m", "songfoundry", "doctor", "--json"], capture_output=True, text=True, check=True)
    report = json.loads(run.stdout)
    assert report["packages"]["torch"] and report["codecs"]["libsndfile"] and "cpu" in report["devices"]
    assert report["threads"]["usable cores"] >= report["threads"]["separate"] >= 1
    declared = tomllib.loads((checkpoint.WEIGHTS.parents[2] / "pyproject.toml").read_text())["project"]
    assert set(report["packages"]) == {re.match(r"[\w-]+", line)[0] for line in declared["dependencies"]}
    extras = {extra: {re.match(r"[\w-]+", line)[0] for line in lines} for extra, lines in declared["optional-dependencies"].items()}
    assert {extra: set(found) for extra, found in report["extras"].items()} == {e: n for e, n in extras.items() if e not in ("all", "test")}
    assert "bfloat16" in report["processor"]
    plain = CliRunner().invoke(app, ["doctor"])
    assert plain.exit_code == 0 and "libsndfile" in plain.output
