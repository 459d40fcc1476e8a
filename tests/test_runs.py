"""Hold the run folder to its word: what is kept, what is refused, what a full disk or a kill leaves."""

import base64
import errno
import json
import multiprocessing
import os
import re
import sys
import tomllib

import numpy as np
import pytest
from tiny_training import recipe, values, write_songs

from songfoundry import config
from songfoundry.audio import io
from songfoundry.errors import ConfigError, OutputError, TrainingError
from songfoundry.runs import Run, complete
from songfoundry.systems import Artifact


@pytest.fixture
def plain(tmp_path):
    return recipe(write_songs(tmp_path / "songs", 1, 0))


def changed(plain, table, **keys):
    return plain.model_copy(update={table: {**getattr(plain, table), **keys}})


def test_the_recipe_is_kept_whole_and_goes_on_from_its_own_copy(tmp_path, plain):
    Run(tmp_path / "run", plain)
    kept = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())
    assert kept["data"]["coherent"] == 0.25 and kept["system"]["wave_weight"] == 1.0 and kept["data"]["folders"][0]["weight"] == 1.0
    Run(tmp_path / "run", config.recipe(tmp_path / "run" / "recipe.toml"))
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_run_that_kept_its_recipe_without_defaults_goes_on(tmp_path, plain):
    """So did the first version; a default that is written out is no other recipe."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").write_text(config.to_toml(plain.model_dump()))
    Run(tmp_path / "run", changed(plain, "data", coherent=0.25))
    Run(tmp_path / "run", plain)


def test_training_may_change_and_system_data_and_seed_may_not(tmp_path, plain):
    Run(tmp_path / "run", plain)
    Run(tmp_path / "run", changed(plain, "train", steps=99).model_copy(update={"about": "in other words"}))
    for other, what in (
        (changed(plain, "data", coherent=0.5), "another data.coherent: choose another run folder"),
        (changed(plain, "data", folders=[]), "another data.folders"),
        (changed(plain, "system", n_fft=512, hop_length=128), "another system.n_fft, system.hop_length"),
        (plain.model_copy(update={"seed": 4}), "seed = 4 in place of 3"),
    ):
        with pytest.raises(TrainingError, match=re.escape(what)):
            Run(tmp_path / "run", other)
    assert tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())["train"]["steps"] == 99


def test_misspelt_keys_and_names_name_the_nearest(plain):
    with pytest.raises(ConfigError, match="did you mean 'coherent'"):
        complete(changed(plain, "data", coherant=0.5))
    with pytest.raises(ConfigError, match="did you mean 'weight'"):
        complete(changed(plain, "data", folders=[{"path": "x", "wieght": 1}]))
    with pytest.raises(ConfigError, match="did you mean 'separate'"):
        complete(changed(plain, "system", name="seperate"))
    with pytest.raises(ConfigError, match=r"expected a name in the recipe's table \[data\].*remix"):
        complete(plain.model_copy(update={"data": {"folders": []}}))


def test_no_folder_is_made_where_none_can_be(tmp_path, plain):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        Run(tmp_path / "file" / "run", plain)


def test_processes_that_only_compute_make_no_file(tmp_path, plain):
    Run(tmp_path / "run", plain, writes=False)
    assert not (tmp_path / "run").exists()
    Run(tmp_path / "run", plain)
    with pytest.raises(TrainingError, match="data.mp3"):
        Run(tmp_path / "run", changed(plain, "data", mp3=1.0), writes=False)


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_two_trainings_in_one_folder_are_refused(tmp_path, plain):
    kept = Run(tmp_path / "run", plain)

    def refused() -> bool:
        """Open the run in a process of its own, forked as a loader's is."""
        def open_it():
            try:
                Run(tmp_path / "run", plain)
            except TrainingError as error:
                os._exit(7 if "found one that is running" in str(error) else 8)
            os._exit(0)

        process = multiprocessing.get_context("fork").Process(target=open_it)
        process.start()
        process.join()
        assert process.exitcode in (0, 7)
        return process.exitcode == 7

    assert refused()
    kept._lock.close()
    assert not refused()


def test_half_a_row_is_passed_over_and_cut(tmp_path, plain):
    run = Run(tmp_path / "run", plain)
    for step in (1, 2, 3):
        run.log({"step": step, "loss": {"a": 0.5}})
    with open(tmp_path / "run" / "log.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    assert [row["step"] for row in run.rows()] == [1, 2, 3]
    run.cut(last_step=2)
    run.log({"step": 3, "loss": {"a": 0.25}})
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3] and json.loads(lines[-1])["loss"] == {"a": 0.25}


def test_the_report_needs_no_other_file(tmp_path, plain):
    run = Run(tmp_path / "run", plain.model_copy(update={"about": "<b> & co"}))
    for step in (1, 2, 3):
        run.log({"step": step, "loss": {"spectrum": 1 / step}})
    run.log({"step": 3, "score": {"vocals.sdr": 4.321}})
    sound = np.linspace(-1, 1, 800, dtype=np.float32)[None]
    run.artifacts([Artifact("hear", "wav", io.Clip(sound, 8000)), Artifact("see", "png", b"\x89PNG")])
    run.plot()
    assert np.allclose(io.read(tmp_path / "run" / "results" / "hear.wav").samples, sound, atol=1e-4)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "&lt;b&gt; &amp; co" in page and "<td>vocals.sdr<td>4.32" in page and "coherent = 0.25" in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert all(source.startswith("data:") for source in sources) and "href" not in page and "http" not in page
    embedded = {base64.b64decode(source.partition(",")[2]) for source in sources}
    files = {file.name: file.read_bytes() for file in (tmp_path / "run" / "results").iterdir()}
    assert embedded == set(files.values()) and {"hear.wav", "see.png"} <= files.keys()
    if "losses.png" in files:
        assert {"losses.png", "scores.png"} <= files.keys() and files["losses.png"][:4] == b"\x89PNG"


def test_without_matplotlib_there_is_still_a_report(tmp_path, plain, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    run = Run(tmp_path / "run", plain)
    run.log({"step": 1, "loss": {"a": 1.0}})
    run.plot()
    assert "Recipe" in (tmp_path / "run" / "report.html").read_text() and not list((tmp_path / "run" / "results").iterdir())


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path, plain, monkeypatch):
    run = Run(tmp_path / "run", plain)
    run.scores({"best": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        run.scores({"best": 2})
    monkeypatch.undo()
    assert json.loads((tmp_path / "run" / "scores.json").read_text()) == {"best": 1}
    assert not [file for file in (tmp_path / "run").iterdir() if file.suffix == ".part"]


def test_values_come_back_from_toml_as_they_went(tmp_path):
    given = values(tmp_path, betas=[0.8, 0.99])
    (tmp_path / "recipe.toml").write_text(config.to_toml(given))
    assert config.recipe(tmp_path / "recipe.toml").model_dump() == {**given, "about": ""}
