"""Notes are the same by seed, at every pitch that MIDI has, as long and as loud as asked; bad wishes are one sentence."""

import numpy as np
import pytest
import tone_notes

from songfoundry.errors import Cancelled, CheckpointError, ConfigError, InputError
from songfoundry.metrics.pitch import median_cents
from songfoundry.timbre.generator import NoteGenerator
from songfoundry.timbre.timbres import between, save_timbre


@pytest.fixture(scope="module")
def tones():
    """A generator of additive tones, C3 to C5."""
    return tone_notes.Tones()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint of a tiny net with random weights."""
    return tone_notes.save_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


def test_a_seed_is_a_timbre_whatever_else_is_asked_for(model):
    first, second = NoteGenerator(model, "cpu", 1), NoteGenerator(model, "cpu", 1)
    assert first.hash == second.hash and first.name == "tiny" and first.instruments == ("bright", "hollow")
    many = first.notes("60..62", seed=5, count=3)
    again = second.notes("60..62", seed=5, count=3)
    assert len(many) == 9 and [(n.pitch, n.number) for n in many[:4]] == [(60, 0), (61, 0), (62, 0), (60, 1)]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(many, again, strict=True))
    alone = second.notes(60, seed=5)[0]
    assert np.array_equal(alone.timbre.latent, many[0].timbre.latent) and alone.timbre.pure == many[0].timbre.pure
    assert np.array_equal(alone.samples, many[0].samples)
    other = second.notes(60, seed=6)[0]
    assert not np.array_equal(other.timbre.latent, alone.timbre.latent)
    assert len({n.timbre.pure for n in first.notes(60, seed=1, count=12)}) == 2, "instruments are drawn"
    assert {n.timbre.name for n in first.notes(60, instrument="hollow", count=4)} == {"hollow"}


def test_what_lies_between_instruments_goes_through_the_net(model):
    generator = NoteGenerator(model, "cpu", 1)
    a, b = generator.timbre("bright"), generator.timbre("hollow", seed=1)
    start, half = (generator.make([between(a, b, share)], [60])[0].samples for share in (0, 0.5))
    assert np.isfinite(half).all() and np.abs(half).max() > 0.1 and not np.allclose(start, half, atol=0.05)
    assert np.array_equal(start, generator.make([a], [60])[0].samples)


@pytest.mark.parametrize("pitch", [0, 12, 30, 47, 48, 60, 72, 73, 96, 108, 119, 127])
def test_every_pitch_of_midi_sounds_at_its_pitch(tones, pitch):
    note = tones.notes(pitch, instrument="bright", duration=1.0)[0]
    assert note.rate == (16000 if pitch <= 113 else 48000) and abs(note.seconds - 1) < 1e-3 and 0.3 < np.abs(note.samples).max() <= 0.95
    spectrum = np.abs(np.fft.rfft(note.samples * np.hanning(len(note.samples)), 1 << 18))
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    axis = np.fft.rfftfreq(1 << 18, 1 / note.rate)
    near = np.abs(1200 * np.log2(np.maximum(axis, 1e-3) / hertz)) < 200
    assert abs(1200 * np.log2(axis[near][spectrum[near].argmax()] / hertz)) < (25 if pitch < 12 else 5)
    if 20 <= pitch <= 108:
        assert abs(note.cents) < 3
    else:
        assert note.cents is None
    said = " ".join(note.said)
    assert ("resampled" in said) == (not 48 <= pitch <= 72) and ("48000 Hz" in said) == (pitch > 113)


def test_each_instrument_keeps_to_the_pitches_that_it_was_trained_at(tmp_path):
    generator = NoteGenerator(tone_notes.save_model(tmp_path / "m.safetensors", {"bright": [60, 62], "hollow": [64, 67]}), "cpu", 1)
    bright, hollow = generator.timbre("bright", seed=1), generator.timbre("hollow", seed=2)
    assert generator.ranges == ((60, 62), (64, 67)) and generator.pitches == (60, 67)
    assert [generator.range(timbre) for timbre in (bright, hollow, between(bright, hollow, 0.5), None)] == [
        (60, 62), (64, 67), (60, 67), (60, 67),
    ]  # fmt: skip
    high = generator.notes(66, timbre=bright)[0]
    assert "F#4 was not trained with bright (C4 to D4 were): made of D4, resampled" in high.said
    assert len(high.samples) == len(generator.notes(62, timbre=bright)[0].samples), "held, then played faster"
    assert generator.notes(66, timbre=hollow)[0].said == []
    for told in ({"bright": [0, 127], "hollow": "64"}, {"bright": [62, 60], "hollow": [64]}, {}):
        careless = NoteGenerator(tone_notes.save_model(tmp_path / "n.safetensors", told), "cpu", 1)
        assert careless.ranges == ((60, 67), (60, 67))


def test_cents_are_those_of_the_sound(tones, monkeypatch):
    real = tone_notes.tone
    monkeypatch.setattr(tone_notes, "tone", lambda name, pitch, seed: real(name, pitch + 0.37, seed=seed))
    assert tones.notes(60, instrument="vocal")[0].cents == pytest.approx(37, abs=2)


def test_velocity_is_loudness_and_brightness(tones):
    soft, middle, loud = (tones.notes(60, instrument="bright", velocity=v)[0].samples for v in (30, 90, 127))
    assert np.abs(loud).max() == pytest.approx(0.95, abs=1e-3) and np.abs(middle).max() == pytest.approx(0.95 * (90 / 127) ** 2, abs=1e-3)

    def high(wave):
        power = np.abs(np.fft.rfft(wave)) ** 2
        return power[len(power) // 4 :].sum() / power.sum()

    assert high(soft) < 0.5 * high(middle) < 0.5 * high(loud) and abs(median_cents(soft, 16000, 60)) < 3


@pytest.mark.parametrize("seconds", [0.05, 0.5, 2.0, 7.0])
def test_durations_are_met(tones, seconds):
    wave = tones.notes(60, instrument="hollow", duration=seconds)[0].samples
    assert abs(len(wave) / 16000 - seconds) < 1e-3 and abs(wave[-1]) < 0.01
    middle = wave[len(wave) // 2 :][: len(wave) // 5]
    assert np.sqrt((middle**2).mean()) > 0.15


BAD = {
    "pitch": ({"pitches": 200}, "200"),
    "name": ({"pitches": "H9"}, "H9"),
    "instrument": ({"instrument": "brihgt"}, "did you mean 'bright'"),
    "none": ({"count": 0}, "1 to 4096 notes"),
    "too many": ({"pitches": "C-1..G9", "count": 33}, "4224"),
    "too long together": ({"pitches": "C-1..G9", "count": 30, "duration": 600.0}, "3,333 seconds of notes together, found 3840 of 600 s"),
    "velocity": ({"velocity": 0}, "1 to 127"),
    "duration": ({"duration": 0.0}, "0.02 to 600"),
    "not a number": ({"duration": float("nan")}, "0.02 to 600"),
    "seed": ({"seed": -1}, "seed"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_wishes_are_one_sentence(tones, name):
    options, words = BAD[name]
    with pytest.raises(ConfigError) as caught:
        tones.notes(**{"pitches": 60} | options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_net_makes_that_is_no_sound_is_refused(model, monkeypatch):
    import torch

    generator = NoteGenerator(model, "cpu", 1)
    monkeypatch.setattr(generator.system, "notes", lambda latent, *_: torch.full((len(latent), 4096), torch.nan))
    with pytest.raises(InputError, match="finite"):
        generator.notes(60)


def test_a_timbre_of_another_model_is_refused(tones, model, tmp_path):
    generator = NoteGenerator(model, "cpu", 1)
    save_timbre(tmp_path / "own.npz", generator.timbre("bright"))
    save_timbre(tmp_path / "other.npz", tones.timbre("bright"))
    assert generator.load_timbre(tmp_path / "own.npz").name == "bright"
    with pytest.raises(ConfigError, match="other.npz belongs to another"):
        generator.load_timbre(tmp_path / "other.npz")


def test_models_that_make_no_notes(tmp_path, monkeypatch):
    import known_models

    monkeypatch.setenv("SONGFOUNDRY_MODELS", str(tmp_path))
    other = known_models.save(tmp_path / "separator.safetensors", known_models.system())
    with pytest.raises(CheckpointError, match="made to separate"):
        NoteGenerator(other, "cpu")
    with pytest.raises(ConfigError, match="threads"):
        NoteGenerator(other, "cpu", 0)


def test_stopping(tones):
    shares = []
    tones.notes("C3..C5", count=2, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 2
    with pytest.raises(Cancelled):
        tones.notes("C3..C5", progress=lambda share: False)
