"""Hold the measurement of pitch to known tones, to librosa, and to real notes whose pitch was checked."""

import numpy as np
import pytest

from songfoundry.audio import io
from songfoundry.data.note_cache import read_note
from songfoundry.data.note_sets import find_notes
from songfoundry.data.tones import TIMBRES, tone
from songfoundry.metrics.pitch import aperiodicity, median_cents, midi_of, yin

RATE = 16000


@pytest.mark.parametrize("pitch", [21, 24, 33, 45.5, 60, 71.3, 84, 96, 105, 108])
def test_tones_from_the_lowest_to_the_highest_piano_key_are_right_to_three_cents(pitch):
    for name in TIMBRES:
        assert abs(median_cents(tone(name, pitch, samples=16000), RATE, pitch)) < 3, name


def test_a_pure_sine_between_the_samples_of_its_period_is_right_and_so_is_another_rate():
    for rate in (8000, 22050, 44100):
        time = np.arange(rate // 2) / rate
        for frequency in (55.0, 1234.5, 3333.3):
            found = yin(np.sin(2 * np.pi * frequency * time), rate, 30, 3900)
            assert np.abs(1200 * np.log2(found / frequency)).max() < 1


def test_it_agrees_with_librosa_on_tones_with_noise():
    librosa = pytest.importorskip("librosa")
    rng = np.random.default_rng(0)
    for pitch in (45, 57.5, 70):
        wave = tone("hollow", pitch, samples=12000) + 0.01 * rng.normal(size=12000)
        ours = np.median(yin(wave[2000:7000], RATE, 100, 1000))
        theirs = np.median(librosa.yin(wave[2000:7000], fmin=100, fmax=1000, sr=RATE, center=False))
        assert abs(1200 * np.log2(ours / theirs)) < 5 and abs(midi_of(ours) - pitch) < 0.02


def test_a_tone_has_a_period_and_noise_has_none():
    rng = np.random.default_rng(3)
    wave = tone("bright", 60, samples=16000)
    noise = rng.normal(size=16000)
    assert aperiodicity(wave, RATE) < 0.02
    assert aperiodicity(noise, RATE) > 0.8
    assert 0.05 < aperiodicity(wave / wave.std() + 0.5 * noise, RATE) < 0.5
    assert np.isnan(aperiodicity(np.zeros(8000), RATE))


def test_a_glide_is_followed():
    time = np.arange(2 * RATE) / RATE
    phase = np.cumsum(2 * np.pi * 200 * 2 ** (time / 2) / RATE)
    wave = sum(np.sin(k * phase + k) / k for k in range(1, 6))
    found = yin(wave, RATE, 100, 1000, hop=160)
    # What lies in two periods of the lowest pitch is compared with what follows it: the pitch is that at the middle of both.
    middle = (np.arange(len(found)) * 160 + 1.5 * RATE / 100) / RATE
    assert np.abs(1200 * np.log2(found / (200 * 2 ** (middle / 2)))).max() < 10


def test_an_even_partial_that_is_strong_does_not_make_it_an_octave():
    time = np.arange(RATE) / RATE
    wave = sum(a * np.sin(2 * np.pi * 110 * k * time) for k, a in ((1, 0.25), (2, 1.0), (3, 0.2), (4, 0.6)))
    assert abs(median_cents(wave, RATE, 45)) < 2
    # Without a fundamental the period is what the partials share.
    missing = sum(np.sin(2 * np.pi * 110 * k * time) for k in (2, 3, 4, 5))
    assert abs(median_cents(missing, RATE, 45)) < 2


def test_silence_is_no_pitch_and_the_loud_part_of_a_note_decides():
    assert np.isnan(yin(np.zeros(8000), RATE, 50, 2000)).all() and np.isnan(median_cents(np.zeros(8000), RATE, 60))
    assert np.isnan(median_cents(np.zeros(0), RATE, 60))
    note = np.concatenate([tone("soft", 60, samples=8000), 1e-3 * tone("soft", 67, samples=24000)])
    assert abs(median_cents(note, RATE, 60)) < 2
    assert median_cents(note, RATE, 48) == pytest.approx(1200, abs=2)
    assert midi_of(440.0) == 69


def test_frequencies_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="0 < low < high < 8000"):
        yin(np.ones(100), RATE, 100, 9000)


def test_real_notes_are_found_at_their_checked_pitch(shared_data):
    chosen = [n for n in find_notes(shared_data / "notes")[1] if n.instrument == "violin"]
    files = {path: io.read(path) for path in {note.path for note in chosen}}
    decoded = {path: (clip.samples.mean(axis=0), clip.rate) for path, clip in files.items()}
    cents = np.array([median_cents(read_note(n, decoded[n.path], RATE, 32768), RATE, n.pitch) for n in chosen])
    assert len(chosen) > 50 and (np.abs(cents) <= 50).mean() > 0.95 and np.median(np.abs(cents)) < 15
