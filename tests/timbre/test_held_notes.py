"""The shipped model's notes last as long as they are held, where their instruments' do: level, clicks, pitch, at any pitch."""

import numpy as np
import pytest

from songfoundry.metrics.pitch import median_cents
from songfoundry.timbre.generator import NoteGenerator
from songfoundry.timbre.programs import instrument_for, sustains
from songfoundry.timbre.timbres import between

DIES = {"banjo", "guitar", "piano"}


@pytest.fixture(scope="module")
def shipped():
    return NoteGenerator("note", "cpu", 1)


def decibels(wave: np.ndarray, rate: int, begin: float, end: float) -> float:
    part = wave[round(begin * rate) : round(end * rate)].astype(np.float64)
    return 10 * np.log10(max((part**2).mean(), 1e-20))


def test_what_is_blown_or_bowed_is_held_without_a_click_and_the_rest_dies(shipped):
    # Trombone, violin and flute end soonest as they are made, baritone_sax after 0.4 s.
    for number, (name, (low, high)) in enumerate(zip(shipped.instruments, shipped.ranges, strict=True)):
        pitch = low + (high - low) * (1 + number % 3) // 4
        timbre = shipped.timbre(name, seed=number % 2)
        note = shipped.make([timbre], [pitch], duration=6.0)[0]
        wave, rate = note.samples, note.rate
        fallen = decibels(wave, rate, 4.9, 5.2) - decibels(wave, rate, 0.5, 1.0)
        died = any("dies away before 6 s" in sentence for sentence in note.said)
        if name in DIES:
            assert fallen < -8, name
            assert died == (decibels(wave, rate, 5.7, 5.8) < decibels(wave, rate, 0.0, 0.2) - 20), name
            continue
        assert abs(fallen) < 6 and not died, (name, pitch, fallen)
        later = wave[2 * rate : round(5.8 * rate)]
        assert np.abs(np.diff(later)).max() < 1.3 * np.abs(np.diff(wave[: 2 * rate])).max(), name
        if name != "double_bass":  # low notes of which are in tune by their partials alone
            assert abs(median_cents(later, rate, pitch)) < 30, name


@pytest.mark.parametrize(("name", "pitch"), [("flute", 127), ("flute", 110), ("double_bass", 96), ("trumpet", 100)])
def test_pitches_far_above_the_trained_ones_last_too(shipped, name, pitch):
    for note in (shipped.notes(pitch, instrument=name, duration=6.0)[0], shipped.notes(pitch, instrument=name)[0]):
        last = note.seconds * (0.75 if note.seconds > 3 else 0.6)
        level = decibels(note.samples, note.rate, last, last + 0.3)
        assert level > decibels(note.samples, note.rate, 0, note.seconds) - 10 and note.seconds > 2, (name, pitch, note.seconds)
        spectrum = np.abs(np.fft.rfft(note.samples[round(last * note.rate) :][: round(0.3 * note.rate)], 1 << 17))
        axis = np.fft.rfftfreq(1 << 17, 1 / note.rate)
        near = np.abs(12 * np.log2(np.maximum(axis, 1) / 440) + 69 - pitch) < 1.5
        assert abs(1200 * np.log2(axis[near][spectrum[near].argmax()] / 440) + 6900 - 100 * pitch) < 60


def test_names_say_what_lasts():
    assert all(sustains(name) for name in ("alto_sax", "double_bass", "English Horn", "synth_lead", "string", "harmonica", "vocal"))
    dying = ("piano", "electric-piano", "banjo", "bass_guitar", "mallet", "harpsichord", "plucked", "bell")
    assert not any(sustains(name) for name in dying) and None not in map(sustains, dying)
    assert sustains("a") is None and sustains("bass") is None and sustains(instrument_for(40, ["piano", "violin"]))


def test_a_mixture_lasts_as_what_most_of_it_does(shipped):
    flute, piano = shipped.timbre("flute"), shipped.timbre("piano")
    assert [shipped.lasts(between(flute, piano, share)) for share in (0, 0.3, 0.7, 1)] == [True, True, False, False]
