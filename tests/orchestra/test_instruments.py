"""The instruments are in tune, sound, and differ."""

import numpy as np
import pytest
from scipy import signal

from songfoundry import synth
from songfoundry.orchestra.instruments import INSTRUMENTS, note
from songfoundry.orchestra.percussion import KEYS, kit_of, strike

RATE = 44100
FAMILIES = (0, 11, 19, 24, 33, 40, 48, 56, 65, 73, 80, 88, 98, 107, 114, 124)
"""One program of each family; in the last, the telephone: the sea has no pitch."""


def deviation(program: int, pitch: int, rate: int = RATE) -> float:
    """Cents between the strongest partial within a semitone of the note's frequency, and that frequency."""
    wave = note(INSTRUMENTS[program], pitch, 1.3, 0.7, rate, np.random.default_rng(pitch)).mean(axis=0).astype(float)[rate // 50 :]
    want = float(synth.hertz(pitch))
    low, high, points = want * 2 ** (-1 / 12), want * 2 ** (1 / 12), 2001
    spectrum = np.abs(signal.zoom_fft(wave * np.hanning(len(wave)), [low, high], points, fs=rate, endpoint=True))
    return 1200 * np.log2((low + (high - low) * spectrum.argmax() / (points - 1)) / want)


@pytest.mark.parametrize("program", FAMILIES)
def test_every_family_is_in_tune(program):
    off = {pitch: deviation(program, pitch) for pitch in (*range(21, 108, 6), 108)}
    assert max(map(abs, off.values())) < 3, off


@pytest.mark.long
@pytest.mark.parametrize("program", range(128))
def test_every_program_is_in_tune(program):
    assert max(abs(deviation(program, pitch)) for pitch in range(21, 109)) < 3


@pytest.mark.parametrize("rate", [22050, 48000, 96000])
def test_in_tune_at_other_rates(rate):
    for program in (0, 25, 48, 73):
        assert abs(deviation(program, 93, rate)) < 3


def test_the_strongest_low_partials_are_the_note_itself():
    """A partial an octave below, or missing, would be another note."""
    for program in FAMILIES:
        wave = note(INSTRUMENTS[program], 60, 1.0, 0.7, RATE, np.random.default_rng(0)).mean(axis=0)
        power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
        hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
        own = power[np.abs(hertz / 261.63 - 1) < 0.02].sum()
        assert own > 5 * power[(hertz > 30) & (hertz < 245)].sum(), program
        assert own > 0.01 * power.sum(), program


def test_all_programs_sound_at_all_pitches_and_differ():
    seen = set()
    for program, instrument in enumerate(INSTRUMENTS):
        for pitch in (0, 60, 127) if program % 4 == 0 else (60,):
            wave = note(instrument, pitch, 0.12, 0.7, RATE, np.random.default_rng(0))
            assert wave.dtype == np.float32 and wave.shape[0] in (1, 2) and wave.shape[1] == round(0.12 * RATE), program
            assert np.isfinite(wave).all() and 1e-4 < np.abs(wave).max() < 20, (program, pitch)
        seen.add(note(instrument, 60, 0.12, 0.7, RATE, np.random.default_rng(0)).tobytes())
    assert len(INSTRUMENTS) == 128 and len(seen) > 110


def test_harder_is_brighter():
    def centre(program, velocity):
        wave = note(INSTRUMENTS[program], 57, 0.5, velocity, RATE, np.random.default_rng(0)).mean(axis=0)
        power = np.abs(np.fft.rfft(wave)) ** 2
        return (power * np.fft.rfftfreq(len(wave), 1 / RATE)).sum() / power.sum()

    for program in (0, 11, 25, 56, 81):
        assert centre(program, 0.9) > 1.02 * centre(program, 0.3), program


def test_what_is_above_the_band_is_silent_and_does_not_fold_back():
    assert not note(INSTRUMENTS[0], 127, 0.2, 0.8, 22050, np.random.default_rng(0)).any()
    assert note(INSTRUMENTS[0], 120, 0.2, 0.8, 22050, np.random.default_rng(0)).any()


def test_every_drum_of_general_midi_sounds_and_dies_away():
    assert set(range(35, 82)) == set(KEYS)
    sounds = {}
    for key in range(35, 82):
        wave = strike(kit_of(0), key, 0.8, RATE, np.random.default_rng(0))
        assert wave.shape[0] == 1 and np.isfinite(wave).all() and 0.05 < np.abs(wave).max() < 4, key
        assert np.abs(wave[:, -50:]).max() < 0.05 * np.abs(wave).max(), key
        assert np.abs(wave[:, : RATE // 20]).max() > 0.3 * np.abs(wave).max(), key
        sounds[key] = wave.tobytes()
    assert len(set(sounds.values())) >= 37  # some keys are doubles of one piece: kicks, snares, toms, cymbals
    assert strike(kit_of(0), 100, 0.8, RATE, np.random.default_rng(0)) is None
    assert strike(kit_of(0), 26, 0.8, RATE, np.random.default_rng(0)).tobytes() == sounds[46]


def test_kits_differ_and_unknown_ones_are_the_standard():
    snares = {program: strike(kit_of(program), 38, 0.8, RATE, np.random.default_rng(0)).tobytes() for program in (0, 8, 16, 25, 32, 40, 48)}
    assert len(set(snares.values())) == 7
    assert kit_of(3) == kit_of(0) and kit_of(127) == kit_of(0) and kit_of(33) == kit_of(32)
