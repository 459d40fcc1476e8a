"""Write pictures with our own code and read them with somebody else's."""

import io

import numpy as np
import pytest

from songfoundry import pictures
from songfoundry.errors import InputError

Image = pytest.importorskip("PIL.Image")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (13, 31), (28, 28, 3)])
def test_a_png_is_read_back_bit_for_bit(shape):
    pixels = noise(*shape)
    with Image.open(io.BytesIO(pictures.png(pixels))) as opened:
        assert opened.format == "PNG" and np.array_equal(np.asarray(opened), pixels)


@pytest.mark.parametrize("frames", [[noise(90, 80, seed=k) for k in range(3)], [np.full((64, 64), 40 * k, np.uint8) for k in range(4)]])
def test_an_animation_is_read_back_bit_for_bit(frames):
    """Noise fills the dictionary and starts it anew; an even picture makes the longest words."""
    with Image.open(io.BytesIO(pictures.animation(frames, 0.07, 1.5))) as opened:
        assert opened.n_frames == len(frames) and opened.info["loop"] == 0
        for number, frame in enumerate(frames):
            opened.seek(number)
            assert np.array_equal(np.asarray(opened.convert("L")), frame)
            assert opened.info["duration"] == (1500 if number == len(frames) - 1 else 70)


def test_colours_of_an_animation_are_near():
    frame = noise(20, 20, 3)
    with Image.open(io.BytesIO(pictures.animation([frame]))) as opened:
        assert np.abs(np.asarray(opened.convert("RGB")).astype(int) - frame).max() <= 26


def test_a_grid_is_square_and_in_reading_order():
    images = np.stack([np.full((1, 4, 4), 10 * (k + 1), np.uint8) for k in range(5)])
    page = pictures.grid(images, gap=1)
    assert page.shape == (16, 16) and page[0].max() == 0
    assert [page[2, 2], page[2, 7], page[2, 12], page[7, 2], page[7, 7], page[7, 12], page[12, 2]] == [10, 20, 30, 40, 50, 0, 0]
    assert pictures.grid(noise(4, 3, 8, 8)).shape == (22, 22, 3)


def test_levels_cover_the_range_and_no_more():
    assert pictures.levels(np.array([-9, -1, 0, 1, 9.0])).tolist() == [0, 0, 128, 255, 255]


def test_a_picture_is_read_from_its_middle(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = (200, 100, 50)
    (tmp_path / "wide.png").write_bytes(pictures.png(wide))
    found = pictures.read(tmp_path / "wide.png", 10, 3)
    assert found.shape == (3, 10, 10) and found[:, 5, 5].tolist() == [200, 100, 50] and found.std(axis=(1, 2)).max() == 0
    assert pictures.read(tmp_path / "wide.png", 28).shape == (1, 28, 28)


def test_what_is_no_picture_is_one_sentence(tmp_path, monkeypatch):
    whole = pictures.png(noise(40, 40))
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "good.png").write_bytes(whole)
    for name in ("cut.png", "text.png", "none.png"):
        with pytest.raises(InputError, match=f"expected a picture in {name}") as caught:
            pictures.read(tmp_path / name, 28)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(pictures, "MOST_PIXELS", 1000)
    with pytest.raises(InputError, match="at most 1000 pixels in good.png, found 40 x 40"):
        pictures.read(tmp_path / "good.png", 28)
