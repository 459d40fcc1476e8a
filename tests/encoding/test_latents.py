"""Files of latents: kept at 32 or 8 bits, read without running anything, refused when they are none."""

import zipfile

import numpy as np
import pytest

from songfoundry.encoding.latents import FORMAT, Latents, between, load_latents, quantised, save_latents
from songfoundry.errors import ConfigError, InputError


def latents(seed=0, steps=20, channels=2):
    values = np.random.default_rng(seed).normal(3, 2, (channels, 5, steps)).astype(np.float32)
    return Latents(values, 8000, steps * 512 - 3, 4, "abc", "tiny")


def test_they_come_back_as_they_were(tmp_path):
    one = latents()
    save_latents(tmp_path / "a.npz", one)
    again = load_latents(tmp_path / "a.npz")
    assert np.array_equal(again.values, one.values)
    assert (again.rate, again.samples, again.hop, again.model, again.name) == (8000, 10237, 4, "abc", "tiny")


def test_eight_bits_are_a_quarter_and_half_a_step_off(tmp_path):
    one = latents(steps=4000)
    save_latents(tmp_path / "a.npz", one)
    save_latents(tmp_path / "b.npz", one, bits=8)
    again = load_latents(tmp_path / "b.npz").values
    width = one.values.max((0, 2)) - one.values.min((0, 2))
    assert (np.abs(again - one.values).max((0, 2)) <= width / 255 * 0.501).all() and not np.array_equal(again, one.values)
    assert np.array_equal(quantised(one).values, again)
    assert (tmp_path / "b.npz").stat().st_size < 0.3 * (tmp_path / "a.npz").stat().st_size
    assert one.bitrate(8) == pytest.approx(one.values.size * 8 / one.seconds / 1000)
    with pytest.raises(ConfigError, match="32 or 8 bits"):
        save_latents(tmp_path / "c.npz", one, bits=7)


def test_bounds_that_are_the_models_round_two_steps_too(tmp_path):
    values = np.random.default_rng(0).normal(3, 2, (1, 5, 2)).astype(np.float32)
    values[0, 0, 0] = 99.0
    bounds = {"low": np.full(5, -9.0, np.float32), "high": np.full(5, 15.0, np.float32)}
    one = Latents(values, 8000, 1000, 4, "abc", "tiny", **bounds)
    again = quantised(one).values
    assert again[0, 0, 0] == 15.0, "what lies beyond is cut off"
    away = np.abs(again - values)[values < 15]
    assert 0.01 < away.max() <= 24 / 255 * 0.501
    save_latents(tmp_path / "a.npz", one, bits=8)
    back = load_latents(tmp_path / "a.npz")
    assert np.array_equal(back.values, again) and np.array_equal(back.low, bounds["low"]) and np.array_equal(back.high, bounds["high"])
    assert np.array_equal(quantised(back).values, again)


def test_between_numbers_of_channels_that_do_not_fit_there_is_no_way():
    with pytest.raises(ConfigError, match="found 2 and 3: mix one down"):
        between(latents(channels=2), latents(channels=3), 0.5)


def test_between_has_both_ends_and_the_shorter_length():
    one, other = latents(0, 20, 1), latents(1, 12, 2)
    assert np.array_equal(between(one, other, 1.0).values, other.values)
    half = between(one, other, 0.5)
    assert half.values.shape == (2, 5, 12) and half.samples == other.samples
    assert np.allclose(half.values[1], (one.values[0, :, :12] + other.values[1]) / 2)


def changed(tmp_path, **keys):
    values = {
        "format": FORMAT, "model": "abc", "name": "tiny", "rate": 8000, "samples": 100, "hop": 4, "steps": np.zeros((1, 5, 3), np.float32),
        "low": np.zeros(5, np.float32), "high": np.ones(5, np.float32), **keys,
    }  # fmt: skip
    np.savez(tmp_path / "x.npz", **{key: np.asarray(value) for key, value in values.items() if value is not None})
    return tmp_path / "x.npz"


@pytest.mark.parametrize(
    "keys",
    [
        {"format": "songfoundry-latents-0"}, {"model": None}, {"steps": np.zeros((5, 3), np.float32)}, {"steps": np.zeros((1, 5, 3))},
        {"steps": np.zeros((1, 5, 0), np.float32)}, {"steps": np.zeros((99, 5, 3), np.float32)}, {"low": np.zeros(4, np.float32)},
        {"high": np.full(5, np.inf, np.float32)},
        {"steps": np.full((1, 5, 3), np.nan, np.float32)}, {"rate": 0}, {"samples": -1}, {"hop": 1.5}, {"samples": [3]}, {"model": 7},
    ],
)  # fmt: skip
def test_numbers_that_are_no_latents_are_refused(tmp_path, keys):
    with pytest.raises(InputError, match="songfoundry encode wrote"):
        load_latents(changed(tmp_path, **keys))


def test_files_that_are_none_are_refused_and_nothing_in_them_is_run(tmp_path):
    save_latents(tmp_path / "a.npz", latents())
    whole = (tmp_path / "a.npz").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        with pytest.raises(InputError):
            load_latents(tmp_path / "cut.npz")
    with pytest.raises(InputError, match="cannot be read"):
        load_latents(tmp_path / "none.npz")
    ran = []

    class Trap:
        def __reduce__(self):
            return ran.append, (1,)

    np.savez(tmp_path / "trap.npz", format=np.array([Trap()], dtype=object))
    with pytest.raises(InputError):
        load_latents(tmp_path / "trap.npz")
    assert ran == []


def test_what_would_unpack_to_too_much_is_refused_before_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("songfoundry.encoding.latents._MAX_BYTES", 1 << 16)
    save_latents(tmp_path / "a.npz", latents())
    assert load_latents(tmp_path / "a.npz").channels == 2
    with zipfile.ZipFile(tmp_path / "a.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big.npy", bytes(1 << 16))
    with pytest.raises(InputError, match="unpacks to"):
        load_latents(tmp_path / "a.npz")
