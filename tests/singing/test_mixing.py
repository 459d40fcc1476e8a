import numpy as np
import pytest

from songfoundry.singing import mixing


def test_a_take_gives_back_what_it_was_given():
    sound = np.random.default_rng(0).standard_normal((2, 100_000)).astype(np.float32)
    with mixing.Take(8000, 2) as take:
        for at in range(0, 100_000, 33_333):
            take.add(sound[:, at : at + 33_333])
        assert take.frames == 100_000 and take.peak == np.abs(sound).max() and take.seconds == 12.5
        assert np.array_equal(np.concatenate(list(take.blocks()), 1), sound)
        assert np.allclose(np.concatenate(list(take.blocks(0.5)), 1), 0.5 * sound)


def test_a_room_answers_alike_however_the_voice_is_cut():
    voice = np.random.default_rng(0).standard_normal((1, 20_000)).astype(np.float32)
    whole = np.concatenate(list(mixing.in_a_room([voice], 8000)), 1)
    cut = np.concatenate(list(mixing.in_a_room([voice[:, :777], voice[:, 777:15_000], voice[:, 15_000:]], 8000)), 1)
    assert whole.shape == cut.shape and whole.shape[1] > 20_000 + 8000 and np.allclose(whole, cut, atol=1e-4)
    wet = whole[:, :20_000] - voice
    assert -18 < 10 * np.log10(np.square(wet).mean() / np.square(voice).mean()) < -13
    assert np.corrcoef(wet)[0, 1] < 0.3  # two sides, not one in the middle


def test_a_mix_is_the_sum_at_the_backing_s_rate_until_the_later_end():
    music = np.ones((2, 5000), np.float32) * 0.25
    voice = np.ones((2, 1000), np.float32) * 0.5
    made = np.concatenate(list(mixing.mixed([voice[:, :300], voice[:, 300:]], 8000, [music[:, :2345], music[:, 2345:]], 16000)), 1)
    assert made.shape == (2, 5000)
    assert np.allclose(made[:, 200:1800], 0.75, atol=0.01) and np.allclose(made[:, 2200:], 0.25, atol=0.01)
    longer = np.concatenate(list(mixing.mixed([np.repeat(voice, 8, 1)], 16000, [music], 16000)), 1)
    assert longer.shape == (2, 8000)


def test_loudness_is_of_what_sounds():
    pytest.importorskip("pyloudnorm")
    time = np.arange(8000 * 40) / 8000
    tone = (0.1 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[None]
    whole = mixing.Loudness(8000).of([tone])
    assert mixing.Loudness(8000).of([tone, *[np.zeros((1, 240_000), np.float32)] * 9]) == pytest.approx(whole, abs=0.2)
    assert mixing.Loudness(8000).of([2 * tone]) == pytest.approx(whole + 6.02, abs=0.1)
    assert mixing.Loudness(8000).of([np.zeros((1, 8000), np.float32)]) == -np.inf


def test_a_limited_stream_is_the_whole_turned_up_but_for_its_peaks(monkeypatch):
    from songfoundry.audio.loudness import true_peak

    monkeypatch.setattr(mixing, "_LIMIT_SECONDS", 0.5)
    sound = 0.04 * np.random.default_rng(0).standard_normal((2, 30_000)).astype(np.float32)
    sound[:, 12_000:12_100] *= 20
    made = np.concatenate(list(mixing.limited(iter(np.split(sound, 6, 1)), 8000, 2.0)), 1)
    assert made.shape == sound.shape and true_peak(made) <= -0.99
    assert np.allclose(made[:, :9000], 2 * sound[:, :9000], atol=0.02) and np.allclose(made[:, 16_000:], 2 * sound[:, 16_000:], atol=0.02)
