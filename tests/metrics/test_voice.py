"""Hold the comparison of voices to sounds that differ in one thing alone."""

import numpy as np
import pytest

from songfoundry.metrics import voice
from songfoundry.synth import Note, Voice, sing

RATE = 16000


def said(words, seconds=0.35, tract=1.0, pitch=57.0, seed=0):
    """Sing vowels with consonants between."""
    notes = [Note(0.1 + n * seconds, 0.85 * seconds, pitch, 0.8, word) for n, word in enumerate(words)]
    return sing(Voice(tract=tract), notes, 0.4 + seconds * len(words), RATE, np.random.default_rng(seed)).astype(np.float32)


FIRST = [("", "a"), ("t", "i"), ("m", "o"), ("s", "u"), ("", "a")]
OTHER = [("s", "u"), ("", "i"), ("t", "a"), ("m", "i"), ("", "o")]


@pytest.fixture(scope="module")
def voices():
    sounds = {
        "spoken": said(FIRST), "slower": said(FIRST, 0.5, seed=1), "taller": said(FIRST, tract=0.82, seed=2),
        "others": said(OTHER, seed=3), "softer": 0.1 * said(FIRST),
    }  # fmt: skip
    return {name: voice.describe(sound, RATE) for name, sound in sounds.items()}


def test_the_same_sound_differs_by_nothing_also_when_it_is_softer(voices):
    assert voice.scores(voices["spoken"], voices["spoken"]) == pytest.approx(dict.fromkeys(voice.DEFINITIONS, 0.0), abs=1e-4)
    assert voice.scores(voices["spoken"], voices["softer"])["mcd"] < 0.1
    assert voice.scores(voices["spoken"], voices["softer"])["lsd"] < 1.0


def test_distortion_is_the_difference_of_smooth_spectra_in_decibels():
    noise = np.random.default_rng(0).normal(size=4 * RATE)
    # A one-pole filter tilts the spectrum by a known curve: the distortion is its root mean square over the mel scale.
    from scipy.signal import freqz, lfilter

    one, other = voice.describe(noise, RATE), voice.describe(lfilter([1], [1, -0.6], noise), RATE)
    mel = np.linspace(2595 * np.log10(1 + 80 / 700), 2595 * np.log10(1 + 7600 / 700), 400)
    curve = 20 * np.log10(np.abs(freqz([1], [1, -0.6], 700 * (10 ** (mel / 2595) - 1), fs=RATE)[1]))
    assert voice.scores(one, other)["mcd"] == pytest.approx(curve.std(), rel=0.25)


def test_time_does_not_count_but_words_do(voices):
    slower, others = (voice.scores(voices["spoken"], voices[name]) for name in ("slower", "others"))
    assert slower["mcd"] < 0.7 * others["mcd"] and slower["words"] < 0.8 * others["words"]
    assert voice.recognised(voices["slower"], [voices["others"], voices["spoken"]]) == 1
    assert voice.recognised(voices["taller"], [voices["others"], voices["spoken"]]) == 1


def test_another_mouth_is_another_speaker(voices):
    same, other = (voice.speaker_distance(voices["spoken"], voices[name]) for name in ("slower", "taller"))
    assert same < 0.5 * other


def test_silence_has_no_scores(voices):
    silence = voice.describe(np.zeros(RATE), RATE)
    assert len(silence) == 0 and np.isnan(list(voice.scores(voices["spoken"], silence).values())).all()
    assert voice.recognised(silence, [voices["spoken"]]) == -1
    assert len(voice.describe(np.zeros(3), RATE)) == 0
