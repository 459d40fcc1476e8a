"""Make tunes for backings whose key, beats and chords are known."""

import tracemalloc

import numpy as np
import pytest

from songfoundry.data.synthetic import training_song
from songfoundry.data.tunes import compose_training
from songfoundry.errors import ConfigError, InputError
from songfoundry.metrics.beats import to_nearest
from songfoundry.metrics.chroma import in_key
from songfoundry.metrics.melody import drawn
from songfoundry.singing.tunesmith import hear, make_tune, tune_for

RATE, SEED, SECONDS = 11025, 1002, 24.0


@pytest.fixture(scope="module")
def backing():
    stems = training_song(SEED, SECONDS, RATE)
    return sum(stems[stem] for stem in ("drums", "bass", "other"))


@pytest.fixture(scope="module")
def heard(backing):
    return hear(backing, RATE)


def test_what_is_heard_is_what_was_played(heard):
    style = compose_training(SEED, SECONDS).style
    assert heard.key == style.key + 12 and heard.tempo == pytest.approx(style.tempo, rel=0.03) and heard.seconds == SECONDS
    assert "minor" in heard.said[0] and f"{style.tempo:.0f}" in heard.said[0]
    assert heard.beats[0] < 1 and heard.beats[-1] >= SECONDS - 1


def test_a_tune_is_in_the_key_on_the_beats_and_easy_to_sing(heard):
    for seed in range(4):
        tune = tune_for(heard, seed=seed, centre=57)
        pitches = np.array([note.pitch for note in tune.notes])
        assert in_key(drawn(tune), heard.key, heard.chroma.tuning) == 1
        assert np.abs(to_nearest([note.start for note in tune.notes], heard.beats, 2)).max() < 1e-6
        assert np.abs(pitches - 57).max() < 11 and np.abs(np.diff(pitches)).max() <= 12 and np.abs(np.diff(pitches)).mean() < 4
        assert 12 < len(tune.notes) < 120 and tune.seconds <= SECONDS
        assert round(pitches[-1] - heard.chroma.tuning / 100) % 12 == heard.key % 12
        # Breaths: some notes do not begin where the one before has ended.
        assert any(after.start - before.end > 0.2 for before, after in zip(tune.notes, tune.notes[1:], strict=False))


def test_seeds_make_tunes_the_same_and_other_ones(heard, backing):
    assert make_tune(backing, RATE, seed=3) == tune_for(heard, seed=3) != tune_for(heard, seed=4)


def test_a_tune_ends_when_it_should(heard):
    tune = tune_for(heard, seconds=9.0)
    assert 5 < tune.seconds <= 9.0
    assert tune_for(heard, seconds=1.5).seconds <= 1.5


def test_hours_take_little_memory():
    rng = np.random.default_rng(0)
    time = np.arange(8000)
    block = 0.1 * np.sin(2 * np.pi * 220 * time / 8000) * (time % 4000 < 3000) + 0.001 * rng.normal(size=8000)

    def blocks(seconds):
        for _ in range(seconds):
            yield np.stack([block, block])

    peaks = []
    for seconds in (20, 60):
        tracemalloc.start()
        assert make_tune(blocks(seconds), 8000).notes
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 40 < 40_000


def test_backings_that_nobody_can_sing_to_are_refused_in_a_sentence(heard):
    with pytest.raises(InputError, match="found none in it"):
        hear(np.zeros(5 * RATE, np.float32), RATE)
    with pytest.raises(InputError, match="at least 1 s"):
        hear(np.zeros(10, np.float32), RATE)
    for wish in ({"seed": -1}, {"seconds": 0.2}, {"seconds": float("nan")}, {"centre": 200}):
        with pytest.raises(ConfigError, match="expected a seed"):
            tune_for(heard, **wish)
