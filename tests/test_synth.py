import numpy as np
import pytest

from songfoundry import synth
from songfoundry.synth import Kit, Note, Patch, Voice

RATE = 44100


def draw(seed=0):
    return np.random.default_rng(seed)


def peak_hertz(wave, near, rate=RATE):
    """The strongest partial within a semitone of `near`, by a zero-padded FFT."""
    size = 1 << 20
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), size))
    frequency = np.fft.rfftfreq(size, 1 / rate)
    around = np.abs(np.log2(frequency[1:] / near)) < 1 / 12
    return frequency[1:][around][spectrum[1:][around].argmax()]


def cents(found, true):
    return 1200 * np.log2(found / true)


def share(wave, low, high, rate=RATE):
    """The share of the energy that lies between two frequencies."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    frequency = np.fft.rfftfreq(len(wave), 1 / rate)
    return power[(frequency >= low) & (frequency < high)].sum() / power.sum()


@pytest.mark.parametrize("kind", ["saw", "square", "string", "keys", "organ"])
@pytest.mark.parametrize("pitch", [36, 57, 69.5, 81])
def test_instruments_are_in_tune(kind, pitch):
    wave = synth.play(Patch(kind, decay=2.0), (pitch,), 1.0, 0.8, RATE, draw())
    assert wave.shape[0] == 2
    assert abs(cents(peak_hertz(wave[0], synth.hertz(pitch)), 440 * 2 ** ((pitch - 69) / 12))) < 5


@pytest.mark.parametrize("pitch", [45, 57, 69, 76])
def test_voice_is_in_tune_and_vibrates_round_its_note(pitch):
    straight = Voice(vibrato_cents=0, jitter=0, shimmer=0)
    wave = synth.sing(straight, [Note(0.1, 1.4, pitch, 0.8, ("", "a"))], 1.6, RATE, draw())
    assert abs(cents(peak_hertz(wave[RATE // 2 : RATE], synth.hertz(pitch)), synth.hertz(pitch))) < 5
    vibrato = Voice(vibrato_cents=60, jitter=0, shimmer=0, vibrato_hz=5)
    wave = synth.sing(vibrato, [Note(0.1, 1.4, pitch, 0.8, ("", "a"))], 1.6, RATE, draw())
    # Quarter periods of 5 Hz after 0.1 s: sharp at 0.95 s, flat at 1.05 s.
    sharp, flat = (peak_hertz(wave[int(t * RATE) - 2000 : int(t * RATE) + 2000], synth.hertz(pitch)) for t in (0.95, 1.05))
    assert 50 < cents(sharp, flat) < 125


def test_vowels_have_their_formants():
    def sung(vowel):
        return synth.sing(Voice(breath=0), [Note(0.1, 0.9, 48, 0.8, ("", vowel))], 1.0, RATE, draw())[RATE // 4 : 3 * RATE // 4]

    assert share(sung("i"), 2000, 3500) > 20 * share(sung("u"), 2000, 3500)
    assert share(sung("a"), 600, 1500) > 3 * share(sung("i"), 600, 1500)
    # A shorter tract moves the second formant of "i" (2250 Hz) up by its scale.
    short = synth.sing(Voice(tract=1.25, breath=0), [Note(0.1, 0.9, 48, 0.8, ("", "i"))], 1.0, RATE, draw())
    assert share(short[RATE // 4 :], 2600, 3100) > 3 * share(short[RATE // 4 :], 2000, 2500)


def test_consonants_come_before_the_beat_and_vowels_on_it():
    wave = synth.sing(Voice(breath=0), [Note(0.5, 0.4, 57, 0.8, ("s", "a"))], 1.0, RATE, draw())
    before, after = wave[int(0.41 * RATE) : int(0.49 * RATE)], wave[int(0.55 * RATE) : int(0.85 * RATE)]
    assert share(before, 4000, 22050) > 0.9 and share(after, 4000, 22050) < 0.05
    assert np.abs(wave[: int(0.35 * RATE)]).max() == 0 and np.abs(before).max() > 0.01


def test_voice_takes_no_notes_and_a_low_rate():
    assert not synth.sing(Voice(), [], 0.5, 8000, draw()).any()
    wave = synth.sing(Voice(), [Note(0.0, 0.4, 60, 0.8, ("sh", "ou")), Note(0.4, 0.2, 64, 0.8, ("m", "i"))], 0.5, 8000, draw())
    assert wave.shape == (4000,) and np.isfinite(wave).all() and wave.any()


def test_saw_hardly_aliases():
    frequency = 1864.7
    wave = synth.saw(frequency, RATE, RATE)
    spectrum = np.abs(np.fft.rfft(wave * np.blackman(RATE))) ** 2
    bins = np.arange(len(spectrum))
    harmonic = np.abs((bins + frequency / 2) % frequency - frequency / 2) < 5
    assert spectrum[~harmonic & (bins < 5000)].sum() < 1e-5 * spectrum.sum()


@pytest.mark.parametrize("rate", [8000, RATE])
def test_strings_die_away_at_every_pitch(rate):
    for pitch in range(24, 97):
        wave = synth.play(Patch("string", decay=0.8, sustain=1.0), (pitch,), 0.3, 1.0, rate, draw(pitch))
        assert np.abs(wave).max() < 6 and np.abs(wave[:, len(wave[0]) // 2 :]).max() <= np.abs(wave).max()


def test_drums_lie_where_drums_lie():
    pieces = ("kick", "snare", "hat", "open", "crash", "clap", "tom1")
    sounds = {piece: synth.hit(Kit(), piece, 1.0, RATE, draw()) for piece in pieces}
    assert share(sounds["kick"], 0, 150) > 0.8
    assert share(sounds["hat"], 5000, 22050) > 0.9
    assert 0.05 < share(sounds["snare"], 0, 500) < 0.95
    energy = {piece: np.cumsum(sound**2) / (sound**2).sum() for piece, sound in sounds.items()}
    lasts = {piece: np.argmax(total > 0.9) / RATE for piece, total in energy.items()}
    assert lasts["hat"] < lasts["open"] < lasts["crash"]
    assert all(np.abs(sound[-5:]).max() < 0.01 for sound in sounds.values())


def test_louder_keys_are_brighter():
    soft, hard = (synth.play(Patch("saw"), (48,), 0.5, velocity, RATE, draw())[0] for velocity in (0.3, 1.0))
    assert share(hard, 1000, 22050) > 1.5 * share(soft, 1000, 22050)


def test_room_keeps_the_dry_sound_and_decays():
    dry = np.zeros((2, RATE))
    dry[:, 100] = 1.0
    wet = synth.reverberate(dry, 0.5, 0.3, RATE, draw())
    assert wet.shape == dry.shape and wet[0, 100] == pytest.approx(1.0, abs=0.05)
    early, late = (np.sqrt((wet[0, int(t * RATE) : int((t + 0.05) * RATE)] ** 2).mean()) for t in (0.05, 0.35))
    assert 20 * np.log10(early / late) == pytest.approx(36, abs=4)
    assert abs(np.corrcoef(wet[0, 200:], wet[1, 200:])[0, 1]) < 0.2


def test_sounds_outside_the_track_are_cut():
    track = np.zeros((2, 100))
    for start in (-0.05, 0.95, 2.0, -2.0):
        synth.place(track, np.ones((2, 10)), start, 100)
    assert track[0].tolist() == [1.0] * 5 + [0.0] * 90 + [1.0] * 5


def test_same_chance_same_sound():
    notes = [Note(0.1, 0.5, 60, 0.8, ("t", "ai"))]
    first, again, other = (synth.sing(Voice(), notes, 0.8, RATE, draw(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
