"""Draw pictures: IDX files whole and damaged, folders, digits made by code; each once an epoch, the test part never."""

import gzip
import struct
from collections import Counter

import numpy as np
import pytest
import torch

from songfoundry import config, pictures
from songfoundry.data import digits
from songfoundry.data.image_sets import find_images, read_idx
from songfoundry.data.images import ImageDraws, ImagesConfig
from songfoundry.errors import DatasetError


def idx(array: np.ndarray) -> bytes:
    return b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_set(folder, count=48, size=28, packed=True):
    """Write a set in MNIST's layout; the first pixel of each image tells its number."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, number in (("train", count), ("t10k", 10)):
        pixels = np.zeros((number, size, size), np.uint8)
        pixels[:, 0, 0] = np.arange(number) + (100 if name == "t10k" else 0)
        for what, array in (("images-idx3", pixels), ("labels-idx1", (np.arange(number) % 10).astype(np.uint8))):
            data = idx(array)
            place = folder / f"{name}-{what}-ubyte{'.gz' if packed else ''}"
            place.write_bytes(gzip.compress(data) if packed else data)
    return folder


def draws(path, seed=0, **options) -> ImageDraws:
    return ImageDraws(config.parse(ImagesConfig, {"path": str(path), **options}, "test"), seed)


@pytest.mark.parametrize("packed", [True, False])
def test_each_image_comes_once_an_epoch_and_those_of_the_test_never(tmp_path, packed):
    made = draws(write_set(tmp_path / "set", packed=packed), seed=3)
    assert len(made) == 44 and made.classes == tuple("0123456789")
    numbers = [[round((float(made[n]["image"][0, 0, 0]) + 1) * 127.5) for n in range(44 * e, 44 * e + 44)] for e in (0, 1)]
    assert sorted(numbers[0]) == sorted(numbers[1]) == list(range(44)) and numbers[0] != numbers[1]
    example = made[17]
    assert example["image"].shape == (1, 28, 28) and example["image"].dtype == torch.float32
    assert int(example["label"]) == numbers[0][17] % 10
    # Pure in (number, seed), in whatever order they are asked for.
    assert torch.equal(draws(tmp_path / "set", seed=3)[17]["image"], example["image"])
    held = [round((float(x) + 1) * 127.5) for group in made.validation() for x in group["image"][:, 0, 0, 0]]
    assert held == [44, 45, 46, 47] and made.held_out("test").pixels[:, 0, 0, 0].tolist() == list(range(100, 110))


def test_a_larger_size_pads_and_a_smaller_one_is_refused(tmp_path):
    write_set(tmp_path / "set")
    padded = draws(tmp_path / "set", size=32)
    assert padded[0]["image"].shape == (1, 32, 32) and (padded[0]["image"][:, :2] == -1).all()
    with pytest.raises(DatasetError, match="at most 16 x 16 pixels in t10k-images.*found 28 x 28: raise data.size"):
        draws(tmp_path / "set", size=16)


def damage(folder, name, change):
    file = folder / f"{name}-ubyte.gz"
    file.write_bytes(change(file.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("train-images-idx3", lambda data: data[: len(data) // 2], "expected a whole gzip file in train-images-idx3-ubyte.gz"),
        ("train-images-idx3", lambda data: b"", "found another beginning"),
        ("train-images-idx3", lambda data: gzip.compress(b"\x00\x00\x0d\x03" + bytes(12)), "found another beginning"),
        ("train-images-idx3", lambda data: gzip.compress(gzip.decompress(data)[:-5]), "expected 37632 bytes after the header"),
        ("train-images-idx3", lambda data: gzip.compress(gzip.decompress(data) + b"x"), "found more"),
        ("train-images-idx3", lambda data: gzip.compress(b"\x00\x00\x08\x03" + b"\xff" * 12), "by its header"),
        ("train-labels-idx1", lambda data: gzip.compress(idx(np.zeros(7, np.uint8))), "as many labels as images"),
    ],
)
def test_a_damaged_idx_file_is_one_sentence(tmp_path, name, change, words):
    damage(write_set(tmp_path / "set"), name, change)
    with pytest.raises(DatasetError, match=words) as caught:
        draws(tmp_path / "set")
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("SONGFOUNDRY_DATA", raising=False)
    (write_set(tmp_path / "set") / "train-labels-idx1-ubyte.gz").unlink()
    (tmp_path / "empty").mkdir()
    for path, options, words in (
        ("set", {}, "expected the labels of train-images-idx3-ubyte.gz"), ("empty", {}, "expected pictures or IDX files"),
        ("empty", {"kind": "idx"}, "expected files such as train-images"), ("none", {}, "SONGFOUNDRY_DATA is not set"),
        ("set", {"channels": 3}, "data.channels = 1"),
    ):  # fmt: skip
        with pytest.raises(DatasetError, match=words):
            draws(tmp_path / path, **options)
    with pytest.raises(DatasetError, match="expected to read none.idx"):
        read_idx(tmp_path / "none.idx", 3)


def test_folders_of_pictures_have_classes_and_splits(tmp_path):
    pytest.importorskip("PIL")
    for split, number in (("train", 3), ("valid", 1), ("test", 2)):
        for shade, name in ((40, "cats"), (200, "dogs")):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for k in range(number):
                picture = pictures.png(np.full((40, 60), shade + k, np.uint8))
                (tmp_path / "pets" / split / name / f"{k}.png").write_bytes(picture)
    made = draws(tmp_path / "pets", size=16)
    assert made.classes == ("cats", "dogs") and len(made) == 6 and len(made.held_out("test")) == 4
    assert made.describe()["licences"] == ["not stated"] and made.describe()["validation"] == 2
    assert all((float(made[n]["image"].mean()) > 0) == (int(made[n]["label"]) == 1) for n in range(6))
    coloured = draws(tmp_path / "pets", size=16, channels=3)
    assert coloured[0]["image"].shape == (3, 16, 16)
    (tmp_path / "pets" / "train" / "cats" / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="expected a picture in bad.png"):
        draws(tmp_path / "pets", size=16)


def test_a_plain_folder_is_split_by_names(tmp_path):
    pytest.importorskip("PIL")
    (tmp_path / "plain").mkdir()
    for k in range(60):
        (tmp_path / "plain" / f"{k}.png").write_bytes(pictures.png(np.full((8, 8), k, np.uint8)))
    found, classes = find_images(str(tmp_path / "plain"), "auto", 8, 1)
    assert classes == ("image",) and {name: len(part) for name, part in found.items()}.keys() == {"train", "valid", "test"}
    shades = [set(part.pixels[:, 0, 0, 0].tolist()) for part in found.values()]
    assert sum(map(len, shades)) == 60 == len(set.union(*shades))


def test_made_digits_differ_and_can_be_told_apart():
    made = draws("", kind="made", count=400)
    assert len(made) == 400 and made.describe()["folders"] == ["made by code"]
    pixels = {split: made.held_out(split) for split in ("train", "test")}
    assert Counter(pixels["test"].labels.tolist()) == dict.fromkeys(range(10), 10)
    assert np.array_equal(digits.digit(3, 7), digits.digit(3, 7)) and not np.array_equal(digits.digit(3, 7), digits.digit(3, 8))
    # The nearest training digit has the same label, nearly always.
    train, test = (part.pixels.reshape(len(part), -1).astype(float) for part in pixels.values())
    nearest = ((test[:, None] - train[None]) ** 2).sum(-1).argmin(1)
    assert (pixels["train"].labels[nearest] == pixels["test"].labels).mean() > 0.9
    assert len(draws("", kind="made", count=400, only=30)) == 30


def test_mnist_is_read_as_it_is(shared_data):
    if not (shared_data / "images").is_dir():
        pytest.skip("no images")
    made = draws(shared_data / "images")
    assert len(made) == 55_000 and len(made.held_out("valid")) == 5000 and len(made.held_out("test")) == 10_000
    assert made.held_out("test").labels[:5].tolist() == [7, 2, 1, 0, 4]
