"""Evaluate pictures: what a row says of pictures that are known, with a judge that is trained here in a moment."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_pictures
from commands import run_command

from songfoundry import checkpoint, training
from songfoundry.data.images import ImageDraws, ImagesConfig
from songfoundry.errors import Cancelled, ConfigError
from songfoundry.evaluating import picture as evaluation
from songfoundry.picturing.maker import PictureMaker


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> Path:
    """Train a judge of digits made by code, enough to tell most of them."""
    values = tiny_pictures.values("classifier", epochs=12, batch=32, rate=5e-3, log_every=50, save_every=500)
    values["data"]["count"] = 400
    values["system"] |= {"dropout": 0.0, "turn": 0.0, "scale": 0.0, "move": 0.0}
    found = tiny_pictures.config.parse(tiny_pictures.config.Recipe, values, "judge")
    return training.train(found, tmp_path_factory.mktemp("runs") / "judge")


class Known(PictureMaker):
    """Give pictures that are known in a model's place."""

    def __init__(self, pixels, labels):
        super().__init__(tiny_pictures.system("cdcgan"), "cpu", 1)
        self.pixels, self.given = pixels, labels

    def pictures(self, count, digit=None, *, progress=None, **options):
        if progress:
            progress(1.0)
        return self.pixels[:count], []

    def labels(self, count, digit=None):
        return self.given[:count]


@pytest.fixture(scope="module")
def found(judge):
    """Evaluate training images, new images, one image again and again, and wrong labels."""
    draws = ImageDraws(ImagesConfig(kind="made", count=2000, size=16))
    train, valid = draws.held_out("train"), draws.held_out("valid")
    rng = np.random.default_rng(0)
    rows = {
        "copies": (train.pixels[:100], train.labels[:100]), "new": (valid.pixels, valid.labels),
        "one": (np.repeat(valid.pixels[:1], 100, 0), np.repeat(valid.labels[:1], 100)),
        "noise": (rng.integers(0, 256, (100, 1, 16, 16), np.uint8), valid.labels[:100]),
    }  # fmt: skip
    made = []
    for name, row in rows.items():
        made.append(Known(*row))
        made[-1].name = name
    ddpm = PictureMaker(tiny_pictures.system("ddpm"), "cpu", 1)
    return evaluation.evaluate_picture(
        [*made, ddpm], data="made", judge=judge, count=100, few=10, samplers=("ddpm", "heun"), steps=(2,), guidance=(1.0, 2.5)
    )


def test_rows_tell_new_from_copied_from_collapsed_from_noise(found):
    rows = found.pictures
    assert list(rows) == [evaluation.FLOOR, "copies", "new", "one", "noise", "ddpm_unet"] and found.judge["accuracy"] > 0.6
    assert rows["new"]["frechet"] < 0.2 * rows["one"]["frechet"] and rows["new"]["frechet"] < 0.2 * rows["noise"]["frechet"]
    assert rows["new"]["kid"] < rows["one"]["kid"] and rows["one"]["recall"] < 0.2 < rows["new"]["recall"]
    assert rows["copies"]["memorised"] == 0 and rows["new"]["memorised"] == pytest.approx(1, abs=0.3)
    assert rows["new"]["accuracy"] > 0.6 > 0.4 > rows["noise"]["accuracy"]
    assert rows["one"]["entropy"] < rows["new"]["entropy"] <= np.log(10)
    assert all(row["n"] == 100 for row in rows.values())
    assert rows["new"]["floor"] == rows[evaluation.FLOOR]["frechet"] < 0.5 * rows["noise"]["frechet"]


def test_steps_are_compared_at_equal_numbers(found):
    assert list(found.steps) == ["ddpm_unet, ddpm, 2", "ddpm_unet, heun, 2", "ddpm_unet, ddpm, 50"]
    assert {row["n"] for row in found.steps.values()} == {10} and len({row["floor"] for row in found.steps.values()}) == 1
    # Guided: two guesses each; heun guesses twice a step but the last.
    assert [row["evaluations"] for row in found.steps.values()] == [4, 6, 100]
    assert list(found.guidance) == ["ddpm_unet, 1", "ddpm_unet, 2.5"] and {row["n"] for row in found.guidance.values()} == {10}
    assert [(row["guidance"], row["steps"], row["evaluations"]) for row in found.guidance.values()] == [(1.0, 20, 20), (2.5, 20, 40)]
    page = found.as_markdown()
    assert "| ddpm_unet, 2.5 | 10 |" in page and "ddpm_unet: sampler dpm++, steps 20, guidance 1.5." in page
    assert "lower is better" in page and "| ddpm_unet, heun, 2 | 10 |" in page and found.judge["hash"] in page
    assert json.loads(json.dumps(found.as_json()))["pictures"]["new"]["n"] == 100


def test_models_are_asked_for_the_classes_of_the_real_images(judge, monkeypatch):
    made, asked = PictureMaker(tiny_pictures.system("cdcgan"), "cpu", 1), []
    real = made.pictures

    def pictures(count, digit=None, **options):
        asked.append(made.labels(count, digit))
        return real(count, digit, **options)

    monkeypatch.setattr(made, "pictures", pictures)
    draws = ImageDraws(ImagesConfig(kind="made", size=16))
    for split in ("test", "valid"):
        found = evaluation.evaluate_picture([made], data="made", judge=judge, split=split, count=150, few=0)
        labels = draws.held_out(split).labels
        labels = labels[np.random.default_rng(0).permutation(len(labels))][:150]
        assert np.array_equal(asked.pop(), labels) and f"of split {split}" in found.about[0]
        assert f"Pictures beside the {split} images" in found.as_markdown()


def test_the_command_writes_and_the_release_reads(judge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_pictures.save_model(tmp_path / "mine.safetensors", "cdcgan")
    options = ("--data", "made", "--judge", judge, "--count", 20, "--few", 0, "--device", "cpu", "--threads", 1)
    code, out, err = run_command("evaluate", "picture", "--model", "mine.safetensors", *options, "--json", "s.json", "--markdown", "r.md")
    assert code == 0, err
    page = Path("r.md").read_text()
    assert "lower is better" in out and "<!-- begin Pictures -->" in page and "| training images (the floor) | 20 |" in page
    import importlib.util

    script = Path(__file__).parents[2] / "recipes" / "release.py"
    spec = importlib.util.spec_from_file_location("release", script)
    release = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(release)
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path / "weights")
    options = ["--name", "mine", "--licence", "CC0-1.0", "--scores", "digits", "s.json"]
    monkeypatch.setattr(sys, "argv", ["release.py", "mine.safetensors", *options])
    release.main()
    shipped = tmp_path / "weights" / "mine.safetensors"
    (title, figures), = checkpoint.read_header(shipped).card["scores"].items()
    assert title.startswith("digits: pictures (n = 20), judge ") and figures["frechet"] > 0
    assert list(checkpoint.load(shipped).phases()) == ["generator"]
    assert release.seen(json.loads(Path("s.json").read_text()), "judge")["test images"]["accuracy"] > 0.6


def test_what_cannot_be_judged_is_one_sentence(judge, tmp_path, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_MODELS", str(tmp_path))
    monkeypatch.setattr("songfoundry.checkpoint.WEIGHTS", tmp_path / "none")
    made = PictureMaker(tiny_pictures.system("ddpm"), "cpu", 1)
    for options, words in (
        ({"judge": "mnist-classifier"}, "found none installed: train one"), ({"count": 3}, "a count of 5 or more"),
        ({"samplers": ("euler",)}, "name of a sampler"), ({"split": "train"}, "the split test or valid"),
        ({"few": 5, "steps": (5, 51)}, "expected 1 to 50 steps, which ddpm_unet has, found 51"),
        ({"longest": -4}, "0 or more steps for --longest"),
        ({"few": 5, "steps": (5,), "longest": 51}, "found 51: change --steps or --longest"), ({"few": 5, "steps": (0,)}, "found 0"),
        ({"few": 5, "steps": (5,), "guidance": (1.0, -1.0)}, "guidance of 0 to 20"),
        ({"judge": tiny_pictures.save_model(tmp_path / "m.safetensors", "ddpm")}, "expected a model that judges pictures"),
        ({"judge": tiny_pictures.save_model(tmp_path / "o.safetensors", "classifier", classes=["a", "b"])}, "the judge's classes"),
        ({"judge": tiny_pictures.save_model(tmp_path / "l.safetensors", "classifier", size=20)}, "the judge's .1, 20, 20."),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            evaluation.evaluate_picture([made], **{"data": "made", "judge": judge, "count": 10, "few": 0, **options})
        assert "\n" not in str(caught.value)
    with pytest.raises(Cancelled):
        evaluation.evaluate_picture([made], data="made", judge=judge, count=10, few=0, progress=lambda what, share: False)
