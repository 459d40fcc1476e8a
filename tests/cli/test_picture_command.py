"""The command `songfoundry picture` as a user runs it."""

import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from commands import files, run_command
from tiny_pictures import save_model

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with models."""
    monkeypatch.chdir(tmp_path)
    for family in ("ddpm", "plain", "cdcgan"):
        save_model(tmp_path / f"{family}.safetensors", family)
    return tmp_path


def run(*arguments, model="ddpm"):
    """Run the command in this process with a tiny model."""
    return run_command("picture", "--model", f"{model}.safetensors", "--device", "cpu", "--threads", 1, *arguments)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_grid_is_square_and_the_same_by_seed(folder):
    options = ("--digit", 7, "--count", 9, "--seed", 5, "--sampler", "ddim", "--steps", 3, "--guidance", 2)
    code, out, err = run(*options, "--out", "grid.png", "--gif", "way.gif")
    assert code == 0 and out.splitlines() == ["grid.png", "way.gif"]
    assert "9 pictures in" in err and "sampler ddim, steps 3, guidance 2.0" in err and "Licence of the weights of ddpm: test" in err
    grid = Path("grid.png").read_bytes()
    assert pixels(grid).shape == (3 * 18 + 2, 3 * 18 + 2)
    with Image.open("way.gif") as way:
        assert way.n_frames == 4 and way.size == (3 * 56, 3 * 56)
    assert run(*options, "--out", "again.png")[0] == 0 and Path("again.png").read_bytes() == grid


def test_each_picture_gets_a_file(folder):
    code, out, _ = run("--count", 12, "--steps", 2, "--each", "--out", "o")
    assert code == 0 and out.splitlines() == [f"o/{n:02d}-{n % 10}.png" for n in range(12)]
    assert pixels(Path("o/03-3.png").read_bytes()).shape == (16, 16)
    code, out, _ = run("--count", 2, "--each", model="plain")
    assert code == 0 and out.splitlines() == ["pictures/0.png", "pictures/1.png"]


def test_json_says_it_all(folder):
    code, out, err = run("--count", 3, "--json", "--progress", "json", model="cdcgan")
    row = json.loads(out)
    assert code == 0 and row["grid"] == "grid.png" and row["labels"] == ["0", "1", "2"] and "sampler" not in row
    assert json.loads(err.splitlines()[0])["fraction"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--digit", 12), "found '12'"), (("--steps", 0), "expected 1 to 50 steps, found 0"), (("--count", 0), "found 0"),
        (("--sampler", "euler"), "expected the name of a sampler, found 'euler'"), (("--out", "grid.jpg"), "ends in .png"),
        (("--gif", "way.png"), "ends in .gif"), (("--out", "none/grid.png"), "its folder does not exist"),
        (("--device", "cud"), "did you mean 'cuda'"), (("--seed", -3), "expected a seed"), (("--progress", "bars"), "bar, json or none"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence_and_leave_nothing(folder, options, words):
    before = files(folder)
    code, out, err = run(*options)
    assert code == 2 and out == "" and words in err and "\n" not in err.strip() and files(folder) == before


def test_without_a_shipped_model_it_says_what_to_do(folder, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_MODELS", str(folder / "empty"))
    monkeypatch.setattr("songfoundry.checkpoint.WEIGHTS", folder / "none")
    code, _, err = run_command("picture")
    assert code == 2 and "found none installed" in err and "songfoundry train recipes/mnist_ddpm.toml" in err


def test_stopping_leaves_no_file(folder, monkeypatch):
    from songfoundry.systems.ddpm import Ddpm

    real = Ddpm.sample

    def sample(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return real(self, *arguments, **options)

    before = files(folder)
    monkeypatch.setattr(Ddpm, "sample", sample)
    code, out, err = run("--gif", "way.gif")
    assert code == 130 and out == "" and "no unfinished file" in err and files(folder) == before
