"""Notes get their length and loudness without a click: looped, released, cut short, tilted."""

import numpy as np
import pytest

from songfoundry.data.tones import tone
from songfoundry.metrics.pitch import median_cents
from songfoundry.timbre.pitches import hertz
from songfoundry.timbre.shaping import Sound, Stroke, brightened, find_loop, release_seconds, skipped

RATE = 16000


def edge(wave: np.ndarray) -> float:
    """Measure the sharpest corner between samples."""
    return float(np.abs(np.diff(wave, 2)).max())


def level(wave: np.ndarray, second: float, span: float = 0.1) -> float:
    part = wave[round(second * RATE) : round((second + span) * RATE)]
    return float(np.sqrt((part.astype(np.float64) ** 2).mean()))


@pytest.mark.parametrize("pitch", [36, 60, 84])
@pytest.mark.parametrize("name", ["bright", "hollow", "soft", "vocal"])
def test_a_held_note_goes_on_for_seconds_without_a_click_and_in_tune(name, pitch):
    made = tone(name, pitch)
    sound = Sound(made, RATE, hertz(pitch))
    stroke = Stroke(sound, 8 * RATE, 2000)
    wave = stroke.read(0, stroke.length)
    later = wave[round(1.5 * RATE) : 8 * RATE]
    assert stroke.looped and sound.loop.match > 0.97
    assert edge(later) < 1.02 * edge(made[3000:28000]) and np.abs(np.diff(later)).max() < 1.02 * np.abs(np.diff(made)).max()
    assert abs(median_cents(later, RATE, pitch)) < 1
    assert 0.8 < level(wave, 7.5) / level(wave, 1.0) < 1.1
    assert abs(wave[-1]) < 1e-3 and level(wave, 8.1, 0.02) < 0.1 * level(wave, 7.5)


def test_the_loop_is_where_waves_agree_and_not_anywhere():
    """A vibrato of 5 Hz: joined at another place than a whole number of its swings, it would jump."""
    time = np.arange(32768) / RATE
    wave = 0.5 * np.sin(2 * np.pi * 220 * time - 8 * np.cos(2 * np.pi * 5 * time)) * np.minimum(1, time / 0.05)
    found = find_loop(wave.astype(np.float32), RATE, 220.0)
    swings = (found.end - found.start) / RATE * 5
    assert found.match > 0.95 and abs(swings - round(swings)) < 0.05
    anywhere = wave[found.end - found.cross : found.end] @ wave[found.start - found.cross - 300 : found.start - 300]
    assert abs(anywhere) < 0.9 * float((wave[found.end - found.cross : found.end] ** 2).sum())


def test_noise_is_looped_at_the_same_power():
    """Waves that do not agree: a straight cross-fade would lose 3 dB in its middle."""
    wave = np.random.default_rng(0).standard_normal(32768).astype(np.float32) * 0.1
    sound = Sound(wave, RATE, 220.0)
    loop = sound.loop
    long = sound.read(0, 6 * RATE, looped=True)
    seams = [long[loop.end - loop.cross + k * (loop.end - loop.start) :][: loop.cross] for k in range(3)]
    assert loop.match < 0.5 and all(abs(20 * np.log10(seam.std() / 0.1)) < 1.0 for seam in seams)


@pytest.mark.parametrize(("fade", "later"), [(9, 9), (15, 15), (3, 0)])
def test_what_fades_goes_on_fading_and_a_diminuendo_is_held(fade, later):
    time = np.arange(32768) / RATE
    wave = (np.sin(2 * np.pi * 110 * time) * 10 ** (-fade * time / 20)).astype(np.float32)
    sound = Sound(wave, RATE, 110.0)
    long = sound.read(0, 6 * RATE, looped=True)
    assert sound.loop.slope * 20 / np.log(10) * RATE == pytest.approx(fade, abs=0.5)
    for first, second in ((2, 3), (3, 5)):
        assert 20 * np.log10(level(long, second) / level(long, first)) == pytest.approx(-later * (second - first), abs=0.5)
    assert edge(long[4000:]) < 1.05 * edge(wave)


@pytest.mark.parametrize("pitch", [36, 60, 84])
def test_what_must_last_is_held_by_its_flattest_stretch(pitch):
    """Loud at first, even for half a second, then a fall of 20 dB a second: as nets make notes of winds."""
    made = tone("bright", pitch)
    time = np.arange(len(made)) / RATE
    wave = (made * 10 ** (-np.interp(time, [0, 0.2, 0.3, 0.8, 1.6, 2.1], [0, 1, 4, 5, 21, 70]) / 20)).astype(np.float32)
    sound = Sound(wave, RATE, hertz(pitch), lasts=True)
    held = Stroke(sound, 6 * RATE, 2000).read(0, 6 * RATE)
    assert 0.05 < sound.loop.start / RATE and sound.loop.end / RATE < 0.95 and sound.loop.decay == 0
    assert abs(20 * np.log10(level(held, 5) / level(held, 0.6))) < 1.5
    assert edge(held[RATE:]) < 1.05 * edge(wave) and abs(median_cents(held[RATE:], RATE, pitch)) < 1
    # Every turn of the loop is as loud as the others: no pumping.
    levels = [20 * np.log10(level(held, second, 0.1)) for second in np.arange(1, 5, 0.1)]
    assert np.ptp(levels) < 1
    assert find_loop(wave, RATE, hertz(pitch)) is None or find_loop(wave, RATE, hertz(pitch)).decay > 0, "unknown: it goes by the sound"


def test_what_is_struck_fades_where_a_net_made_it_stand():
    sound = Sound(tone("bright", 48), RATE, hertz(48), lasts=False)
    wave = sound.read(0, 6 * RATE, looped=True)
    assert 20 * np.log10(level(wave, 5) / level(wave, 3)) == pytest.approx(-8, abs=1)


@pytest.mark.parametrize("name", ["bell", "plucked"])
def test_what_dies_is_let_die(name):
    stroke = Stroke(Sound(tone(name, 60), RATE, hertz(60)), 5 * RATE, 800)
    wave = stroke.read(0, stroke.length)
    assert not stroke.looped and np.abs(wave[3 * RATE :]).max() == 0 and len(wave) == 5 * RATE + 800


def test_silence_and_splinters_are_no_loops():
    assert find_loop(np.zeros(32768, np.float32), RATE, 220.0) is None
    assert find_loop(tone("bright", 60)[:1500], RATE, hertz(60)) is None


def test_a_note_read_in_pieces_is_the_note():
    stroke = Stroke(Sound(tone("bright", 50), RATE, hertz(50)), 3 * RATE, 1500, skip=200)
    whole = stroke.read(0, stroke.length)
    cuts = [0, 1, 7, 5000, 33000, 48100, stroke.length]
    pieces = [stroke.read(a, b - a) for a, b in zip(cuts, cuts[1:], strict=False)]
    assert np.allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_short_notes_are_short_and_speak_at_once():
    sound = Sound(tone("soft", 60), RATE, hertz(60))
    held = round(0.1 * RATE)
    assert sound.onset > held / 2
    stroke = Stroke(sound, held, round(release_seconds(0.1) * RATE), skipped(sound, held))
    wave = stroke.read(0, stroke.length)
    assert level(wave, 0.05, 0.05) > 0.3 and abs(wave[0]) < 0.02 and abs(wave[-1]) < 0.01 and len(wave) < 0.14 * RATE
    assert release_seconds(0.01) == pytest.approx(0.03) and release_seconds(9) == pytest.approx(0.16)


def test_a_bent_note_is_higher():
    sound = Sound(tone("bright", 57), RATE, 220.0)
    stroke = Stroke(sound, 4 * RATE, 1000, stretch=2.0)
    places = 2 ** (2 / 12) * np.arange(4 * RATE)
    wave = stroke.read(0, 4 * RATE, places)
    assert abs(median_cents(wave[4000:60000], RATE, 59)) < 2 and edge(wave[30000:60000]) < 1.4 * edge(sound.samples)


def test_soft_is_dark_and_as_strong():
    made = tone("bright", 60)

    def centre(wave):
        power = np.abs(np.fft.rfft(wave)) ** 2
        return float((power * np.fft.rfftfreq(len(wave), 1 / RATE)).sum() / power.sum())

    soft, loud = (brightened(made, RATE, hertz(60), velocity) for velocity in (20, 127))
    assert centre(soft) < 0.8 * centre(made) < 0.8 * centre(loud)
    assert np.square(soft).sum() == pytest.approx(np.square(made).sum(), rel=1e-3)
    assert brightened(made, RATE, hertz(60), 100) is made and abs(median_cents(soft, RATE, 60)) < 1
