import numpy as np
import pytest
import tiny_voices as voices

from songfoundry.errors import ConfigError, InputError
from songfoundry.metrics.melody import drawn, scores
from songfoundry.metrics.pitch import follow
from songfoundry.singing.engine import Controls, WorldSinger
from songfoundry.singing.speaking import speak
from songfoundry.voice.tune import Curve, Tune, TuneNote
from songfoundry.voice.world import PERIOD

pytest.importorskip("pyworld")
RATE = 16000
TUNE = Tune(tuple(TuneNote(0.3 + 0.5 * k, 0.8 + 0.5 * k, pitch) for k, pitch in enumerate((48, 50, 52, 55, 53, 50, 48))))


@pytest.fixture(scope="module")
def prepared():
    return WorldSinger().prepare(voices.speech(4), RATE)


@pytest.fixture(scope="module")
def sung():
    return WorldSinger().sing(voices.speech(4), RATE, TUNE)


def test_what_is_heard_is_the_tune(sung):
    assert sung.samples.dtype == np.float32 and len(sung.samples) == pytest.approx(TUNE.seconds * RATE, abs=RATE * PERIOD)
    assert np.abs(sung.samples).max() < 1 and sung.rate == RATE and len(sung.words) == 4
    found = scores(drawn(TUNE), follow(sung.samples, RATE))
    assert found["rpa"] > 0.85 and found["voicing_error"] < 0.2, found
    assert scores(sung.target, follow(sung.samples, RATE))["f0_rmse_cents"] < 60


def test_the_same_seed_sings_the_same_and_another_does_not(prepared):
    def make(**wishes):
        return np.concatenate(list(WorldSinger().perform(prepared, TUNE, Controls(**wishes)).blocks()))

    assert np.array_equal(make(), make()) and not np.array_equal(make(), make(seed=1))


def test_transposing_moves_the_voice_and_formants_stay_unless_they_are_moved(prepared):
    def spectrum(**wishes):
        show = WorldSinger().perform(prepared, TUNE, Controls(expression=0.0, **wishes))
        return show, show._frames(80, 90)[0].mean(0)

    low, plain = spectrum()
    high, same = spectrum(transpose=12)
    assert np.allclose(high.hertz, 2 * low.hertz) and np.allclose(plain, same)
    _, moved = spectrum(formant_shift=6)
    assert np.argmax(moved) == pytest.approx(np.argmax(plain) * 2**0.5, abs=3)


def test_expression_adds_the_singing_formant_and_the_swell(prepared):
    plain = WorldSinger().perform(prepared, TUNE, Controls(expression=0.0))
    full = WorldSinger().perform(prepared, TUNE, Controls(expression=1.0))
    frequency = np.linspace(0, 8000, 513)
    near = np.argmin(np.abs(frequency - 3000))
    at = round(0.5 / PERIOD)
    lift = 10 * np.log10(full._frames(at, at + 1)[0] / plain._frames(at, at + 1)[0])[0]
    assert 2 < lift[near] - lift[60] < 4
    swing = (full.swing != 0) & (plain._gain > 0)
    assert np.std(full._gain[swing] / plain._gain[swing]) > 0.005 and len(np.unique(plain._gain[swing])) < len(np.unique(full._gain[swing]))


def test_a_curve_is_followed_in_pitch_and_voicing():
    clock = np.arange(500) * 0.004
    hertz = np.where((clock % 0.9 > 0.12), 200 + 30 * np.sin(3 * clock), 0)
    sung = WorldSinger().sing(voices.speech(4), RATE, Curve(hertz, 0.004))
    found = scores(sung.target, follow(sung.samples, RATE))
    assert sung.seconds == pytest.approx(2.0, abs=0.01) and found["rpa"] > 0.9 and found["voicing_error"] < 0.15, found


def test_a_guide_gives_the_timing():
    speech = voices.speech(4)
    slow = voices.speech(4, hertz=200.0, pause=0.4)
    from songfoundry.voice import world

    melody = world.track(slow, RATE)
    sung = WorldSinger().sing(speech, RATE, melody, guide=slow)
    begins = [first for first, _ in sung.marks]
    assert len(begins) == 4 and begins[2] - begins[1] > 0.5  # in the speech itself 0.32 s
    found = scores(melody, follow(sung.samples, RATE))
    assert found["rpa"] > 0.9, found


def test_a_guide_of_other_length_gives_its_notes_alone():
    curve = Curve(np.repeat([0, 200.0, 0, 250.0, 0, 200.0, 0], [100, 900, 60, 900, 60, 900, 60]), PERIOD)
    sung = WorldSinger().sing(voices.speech(4), RATE, curve, guide=np.zeros(16000, np.float32))
    assert any("too different for the same words" in sentence for sentence in sung.said)


@pytest.mark.parametrize(
    ("samples", "words"),
    [(np.zeros(8000), "found silence"), (0.1 * np.random.default_rng(0).standard_normal(16000), "expected a voice"),
     (np.zeros(0), "finite samples"), (np.full(100, np.nan), "finite samples"), (np.ones(16000 * 301), "at most 300 s")],
)  # fmt: skip
def test_a_recording_without_a_voice_is_refused_in_one_sentence(samples, words):
    with pytest.raises(InputError, match=words):
        WorldSinger().prepare(samples.astype(np.float32), RATE)


def test_a_tune_without_notes_is_refused():
    for nothing in (Tune(()), Curve(np.zeros(10), PERIOD)):
        with pytest.raises(InputError, match="expected a melody"):
            WorldSinger().sing(voices.speech(2), RATE, nothing)


def test_speech_that_clips_is_sung_and_told():
    sung = WorldSinger().sing((4 * voices.speech(4)).clip(-1, 1), RATE, TUNE)
    assert any("the speech clips" in sentence for sentence in sung.said)


def test_other_rates_are_sung_at_rates_that_world_knows():
    for rate, wanted in ((8000, 16000), (22050, 22050)):
        assert WorldSinger().sing(voices.speech(2, rate=rate), rate, TUNE).rate == wanted


def test_a_melody_far_away_is_told(prepared):
    far = Tune((TuneNote(0, 1, 76),))
    assert any("octaves above" in sentence for sentence in WorldSinger().perform(prepared, far, Controls()).plan.said)


@pytest.mark.parametrize(
    "wishes",
    [{"transpose": 49}, {"formant_shift": -13}, {"vibrato_rate": 13}, {"vibrato_depth": 201}, {"expression": 1.1}, {"timing": "bars"},
     {"seed": -1}, {"transpose": float("nan")}],
)  # fmt: skip
def test_wishes_out_of_range_are_refused(wishes):
    with pytest.raises(ConfigError, match="expected .* found"):
        Controls(**wishes)


def test_speech_of_a_vocal_is_flatter_and_shorter():
    held = np.concatenate([voices.syllable(k, hertz, RATE, vowel=0.7) for k, hertz in enumerate((150, 200, 240, 180))]).astype(np.float32)
    spoken = speak(held, RATE)
    assert spoken.seconds < 0.6 * len(held) / RATE
    before, after = (np.log2(curve.hertz[curve.hertz > 0]).std() for curve in (spoken.speech, follow(spoken.samples, RATE)))
    assert after < 0.6 * before
