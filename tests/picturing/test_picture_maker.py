"""Make pictures with tiny nets of random weights: by seed, by class, by every sampler, stopped half-way, and never by nonsense."""

import threading

import numpy as np
import pytest
import tiny_pictures
import torch

from songfoundry import pictures
from songfoundry.diffusion import SAMPLERS
from songfoundry.errors import Cancelled, CheckpointError, ConfigError
from songfoundry.picturing.maker import PictureMaker
from songfoundry.picturing.verb import animated, picture


def maker(family="ddpm", **options) -> PictureMaker:
    return PictureMaker(tiny_pictures.system(family, **options), "cpu", 1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_gives_the_same_pictures_and_another_others(sampler):
    made = [maker().pictures(6, seed=seed, sampler=sampler, steps=4)[0] for seed in (1, 1, 2)]
    assert made[0].shape == (6, 1, 16, 16) and made[0].dtype == np.uint8
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])
    fewer = maker().pictures(2, seed=1, sampler=sampler, steps=4)[0]
    assert np.abs(fewer.astype(int) - made[0][:2]).max() <= 1, "a picture is not another for those beside it"


@pytest.mark.parametrize("family", ["ddpm", "epsilon", "rectified", "plain", "cdcgan", "cdcgan-plain"])
def test_every_kind_of_model_makes_pictures(family):
    found, frames = maker(family).pictures(3)
    assert found.shape == (3, 1, 16, 16) and frames == [] and found.std() > 0


def test_classes_are_asked_for_in_turn():
    asked = maker()
    assert asked.labels(12).tolist() == [*range(10), 0, 1] and asked.labels(3, 7).tolist() == [7, 7, 7]
    assert asked.labels(5, ["3", "1"]).tolist() == [3, 1, 3, 1, 3]
    seven, two = (asked.pictures(2, digit, steps=3)[0] for digit in (7, 2))
    assert not np.array_equal(seven, two)


def test_guidance_goes_from_no_class_beyond_the_class():
    system = tiny_pictures.system()
    start, label = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2])
    free, none, told, far = (
        system.sample(start, wanted, steps=2, guidance=weight) for wanted, weight in ((None, 3.0), (label, 0), (label, 1), (label, 2.0))
    )
    assert torch.equal(free, none) and not torch.allclose(told, none, atol=1e-6) and not torch.allclose(far, told, atol=1e-6)
    # One step from the start is linear in the guess, where nothing is clipped.
    with torch.no_grad():
        once = [system.sample(0.1 * start, label, sampler="ddim", steps=1, guidance=weight) for weight in (0, 1, 2)]
    assert torch.allclose(once[2], (2 * once[1] - once[0]).clamp(-1, 1), atol=1e-4)


def test_frames_go_from_noise_to_the_picture():
    images, frames = maker().pictures(70, seed=3, steps=5, frames=True)
    assert len(frames) == 6 and all(frame.shape == images.shape for frame in frames)
    assert np.array_equal(frames[-1], images) and frames[0].std() > 40
    assert animated(frames)[:6] == b"GIF89a"


def test_no_more_frames_and_pictures_are_kept_than_an_animation_shows(monkeypatch):
    monkeypatch.setattr("songfoundry.picturing.maker.MOST_FRAMES", 4)
    monkeypatch.setattr("songfoundry.picturing.maker.MOST_MOVING", 66)
    levels, seen = pictures.levels, []
    monkeypatch.setattr("songfoundry.pictures.levels", lambda images: seen.append(len(images)) or levels(images))
    images, frames = maker().pictures(130, steps=6, frames=True)
    assert len(images) == 130 and len(frames) == 4 and all(len(frame) == 66 for frame in frames)
    assert np.array_equal(frames[-1], images[:66])
    assert seen == [64] * 5 + [2] * 4 + [64, 2], "the way of each batch, then its pictures; nothing that is not shown"


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("ddpm", {"digit": 12}, "expected a class of ddpm_unet, found '12'.*known: 0, 1"),
        ("ddpm", {"steps": 0}, "expected 1 to 50 steps, found 0"), ("ddpm", {"steps": 51}, "expected 1 to 50 steps, found 51"),
        ("ddpm", {"sampler": "dpm"}, "did you mean 'ddpm'"), ("ddpm", {"guidance": -1.0}, "guidance of 0 to 20"),
        ("ddpm", {"guidance": float("nan")}, "guidance of 0 to 20"), ("ddpm", {"count": 0}, "1 to 100000 pictures, found 0"),
        ("ddpm", {"seed": -1}, "expected a seed"), ("plain", {"digit": 7}, "told what to make for '7'"),
        ("plain", {"guidance": 2.0}, "told what to make for --guidance"), ("cdcgan", {"steps": 20}, "diffusion model for --steps"),
        ("cdcgan", {"sampler": "ddim"}, "diffusion model for --sampler"), ("cdcgan", {"frames": True}, "diffusion model for --gif"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_one_sentence(family, options, words):
    with pytest.raises(ConfigError, match=words) as caught:
        maker(family).pictures(**options)
    assert "\n" not in str(caught.value)


def test_stopping_keeps_nothing(tmp_path):
    shares: list[float] = []
    with pytest.raises(Cancelled):
        picture(8, model=maker(), steps=5, out=tmp_path / "g.png", progress=lambda share: shares.append(share) or share < 0.5)
    assert list(tmp_path.iterdir()) == [] and 0 < shares[-1] < 1 and shares == sorted(shares)
    event = threading.Event()
    event.set()
    with pytest.raises(Cancelled):
        maker("cdcgan").pictures(8, cancel=event)


def test_models_are_found_or_it_is_said_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_MODELS", str(tmp_path))
    monkeypatch.setattr("songfoundry.checkpoint.WEIGHTS", tmp_path / "none")
    for name, recipe in (("ddpm", "mnist_ddpm"), ("cdcgan", "mnist-cdcgan")):
        with pytest.raises(ConfigError, match=f"found none installed: train one .songfoundry train recipes/{recipe}.toml. and name"):
            PictureMaker(name)
    tiny_pictures.save_model(tmp_path / "mine.safetensors", "plain")
    assert PictureMaker("mine", "cpu", 1).conditional is False
    tiny_pictures.save_model(tmp_path / "judge.safetensors", "classifier")
    with pytest.raises(CheckpointError, match="expected a model that makes pictures, found judge"):
        PictureMaker("judge")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "mine.safetensors").read_bytes()[:2000])
    with pytest.raises(CheckpointError):
        PictureMaker(tmp_path / "cut.safetensors")
