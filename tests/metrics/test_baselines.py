import numpy as np
import pytest
from scipy import signal

from songfoundry.errors import InputError
from songfoundry.metrics import baselines, separation

RATE = 8000


def tones(seconds=2.0):
    """Two stems that hardly share a time-frequency cell: float32 (stems, channels, samples)."""
    time = np.arange(int(seconds * RATE)) / RATE
    low, high = np.sin(2 * np.pi * 220 * time), np.sin(2 * np.pi * 1800 * time) * (time % 0.5 < 0.3)
    return np.stack([[low, 0.5 * low], [0.3 * high, high]]).astype(np.float32) * 0.3


def test_oracle_beats_every_row_that_takes_no_skill():
    references = tones()
    mixture = references.sum(axis=0)
    oracle = baselines.ideal_ratio_mask(references, mixture)
    assert oracle.shape == references.shape and oracle.dtype == np.float32
    np.testing.assert_allclose(oracle.sum(axis=0), mixture, atol=1e-5)
    score = separation.utterance_sdr(references, oracle)
    assert (score > 20).all()
    for name, estimate in baselines.baseline_estimates(mixture, ("low", "high")).items():
        assert (separation.utterance_sdr(references, estimate) < score - 10).all(), name


def test_oracle_is_the_formula_and_does_not_depend_on_its_pieces():
    references = np.random.default_rng(0).standard_normal((3, 2, 9001)).astype(np.float32)
    mixture = references.sum(axis=0)
    whole = baselines.ideal_ratio_mask(references, mixture, n_fft=512, hop=128)
    form = {"nperseg": 512, "noverlap": 384}
    spectra = np.abs(signal.stft(references.astype(float), **form)[2])
    expected = signal.istft(spectra / spectra.sum(axis=0) * signal.stft(mixture.astype(float), **form)[2], **form)[1]
    # At the song's end scipy pads by less than a window there, and by one here.
    np.testing.assert_allclose(whole[..., :-512], expected[..., : 9001 - 512], atol=1e-4)
    pieces = baselines.ideal_ratio_mask(references, mixture, n_fft=512, hop=128, seconds_at_once=1000 / 44100)
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_oracle_takes_a_song_shorter_than_its_window_and_silence():
    references = np.zeros((2, 1, 700), dtype=np.float32)
    references[0, 0, 100:200] = 0.5
    estimate = baselines.ideal_ratio_mask(references, references.sum(axis=0))
    np.testing.assert_allclose(estimate, references, atol=1e-6)


def test_oracle_names_what_does_not_fit():
    references = tones()
    with pytest.raises(InputError, match="expected a mixture"):
        baselines.ideal_ratio_mask(references, references.sum(axis=0)[:, :-1])
    with pytest.raises(InputError, match="divides the window"):
        baselines.ideal_ratio_mask(references, references.sum(axis=0), hop=1000)


def test_baselines_are_silence_mixture_and_its_share():
    mixture = tones().sum(axis=0)
    rows = baselines.baseline_estimates(mixture, 4)
    assert list(rows) == ["silence", "mixture", "a quarter of the mixture"]
    assert all(row.shape == (4, *mixture.shape) and row.dtype == np.float32 for row in rows.values())
    assert not rows["silence"].any()
    np.testing.assert_array_equal(rows["mixture"][2], mixture)
    np.testing.assert_array_equal(rows["a quarter of the mixture"].sum(axis=0), mixture)
    assert list(baselines.baseline_estimates(mixture, 5))[2] == "mixture / 5"
    with pytest.raises(InputError):
        baselines.baseline_estimates(mixture, ())


def test_silence_scores_zero_decibels():
    references = tones(3.0) + 1e-3
    silence = baselines.baseline_estimates(references.sum(axis=0), 2)["silence"]
    scores, frames = separation.sdr_v4(references, silence, RATE, drop="references")
    assert scores.tolist() == [0.0, 0.0] and frames == 3
    assert separation.sdr_v4(references, silence, RATE)[1] == 0
