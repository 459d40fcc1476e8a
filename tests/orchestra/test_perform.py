"""Performances obey times, velocities, controllers and bends, and cost little."""

import time

import numpy as np
import pytest

from songfoundry import notes, orchestra
from songfoundry.errors import Cancelled, InputError
from songfoundry.notes import Part
from songfoundry.orchestra import Orchestra, perform

RATE = 44100


def part(pitch=60, program=0, seconds=1.0, velocity=100, drum=False, **changes) -> Part:
    """One note that begins at 0.5 s."""
    fields = dict(
        program=program, is_drum=drum, name="", starts=np.array([0.5]), durations=np.array([seconds]), pitches=np.array([pitch]),
        velocities=np.array([velocity]), controls=np.zeros((0, 3)), bends=np.zeros((0, 2)),
    )  # fmt: skip
    return Part(**(fields | changes))


def play(*pieces, rate=RATE, **options):
    return perform(list(pieces), rate, **({"wet": 0.0} | options))


def rms(samples, first, last):
    return float(np.sqrt((samples[..., round(first * RATE) : round(last * RATE)].astype(float) ** 2).mean()))


def pitch_of(samples, first, last):
    middle = samples.mean(0)[round(first * RATE) : round(last * RATE)].astype(float)
    size = 1 << 20
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), size))
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    k = spectrum.argmax()
    return 69 + 12 * np.log2(hertz[k] / 440)


def test_notes_begin_and_end_when_they_should():
    sound = play(part(program=16), seconds=2.5)
    assert sound.dtype == np.float32 and sound.shape == (2, round(2.5 * RATE))
    assert np.abs(sound[:, : round(0.499 * RATE)]).max() == 0
    assert np.abs(sound[:, round(0.5 * RATE) : round(0.52 * RATE)]).max() > 0.01
    assert rms(sound, 1.4, 1.5) > 0.01 and np.abs(sound[:, round(1.6 * RATE) :]).max() == 0


def test_the_length_is_the_last_note_and_a_tail():
    assert play(part()).shape[1] == round((1.5 + 2.5) * RATE)
    assert play().shape == (2, round(2.5 * RATE)) and not play().any()


@pytest.mark.parametrize("drum", [False, True])
def test_levels_go_with_the_square_of_velocity_volume_and_expression(drum):
    make = dict(pitch=38 if drum else 60, program=0 if drum else 19, drum=drum)
    whole = play(part(velocity=127, **make), seconds=2)
    within = play(part(velocity=100, **make), seconds=2)  # the same velocity layer: the same colour
    assert abs(rms(within, 0.5, 1.5) / rms(whole, 0.5, 1.5) - (100 / 127) ** 2) < 1e-3
    for number in (7, 11):
        soft = play(part(velocity=127, controls=np.array([[0.0, number, 50]]), **make), seconds=2)
        default = {7: 100, 11: 127}[number]
        assert abs(rms(soft, 0.5, 1.5) / rms(whole, 0.5, 1.5) - (50 / default) ** 2) < 1e-3


def test_a_swell_follows_its_controller():
    swell = np.array([[0.5 + k / 100, 11, int(20 + k)] for k in range(100)])
    sound = play(part(program=19, controls=swell), seconds=2)
    plain = play(part(program=19), seconds=2)
    for at in (0.7, 1.0, 1.3):
        want = ((20 + 100 * (at - 0.5)) / 127) ** 2
        assert abs(rms(sound, at - 0.05, at + 0.05) / rms(plain, at - 0.05, at + 0.05) / want - 1) < 0.08


def test_pan_moves_left_and_right_at_one_power():
    def sides(value):
        sound = play(part(program=19, controls=np.array([[0.0, 10, value]])), seconds=2)
        return [rms(row, 0.6, 1.4) for row in sound]

    left, middle, right = sides(0), sides(64), sides(127)
    assert left[1] < 1e-6 and right[0] < 1e-6 and abs(middle[0] / middle[1] - 1) < 1e-3
    for one in (left, right):
        assert abs(np.hypot(*one) / np.hypot(*middle) - 1) < 1e-3


def test_the_pedal_holds_what_the_key_lets_go():
    pedal = np.array([[0.4, 64, 127], [2.0, 64, 0]])
    short, held = play(part(seconds=0.2), seconds=3), play(part(seconds=0.2, controls=pedal), seconds=3)
    assert rms(short, 1.5, 1.9) < 1e-4 < 0.1 * rms(held, 1.5, 1.9)
    assert rms(held, 2.3, 2.6) < 1e-4
    twice = dict(starts=np.array([0.5, 1.0]), durations=np.array([0.1, 0.1]), pitches=np.array([60, 60]), velocities=np.array([100, 100]))
    again = play(part(controls=pedal, **twice), seconds=3)
    assert rms(again, 1.5, 1.9) > 1e-3 and rms(again, 2.3, 2.6) < 1e-4
    for_ever = play(part(seconds=0.2, controls=pedal[:1]), seconds=4)
    assert rms(for_ever, 2.5, 3.5) > 1e-4


@pytest.mark.parametrize(("wheel", "semitones", "controls"), [
    (8191, 2, []), (-8192, -2, []), (4096, 1, []), (8191, 12, [[0.0, 101, 0], [0.0, 100, 0], [0.0, 6, 12]]),
])  # fmt: skip
def test_bends_reach_their_pitch(wheel, semitones, controls):
    bent = play(part(program=73, bends=np.array([[0.0, wheel]]), controls=np.array(controls).reshape(-1, 3)), seconds=2)
    assert abs(pitch_of(bent, 0.6, 1.4) - 60 - semitones) < 0.03
    assert rms(bent, 0.7, 1.4) > 0.5 * rms(play(part(program=73), seconds=2), 0.7, 1.4)


def test_a_bend_within_a_note_and_vibrato():
    glide = play(part(program=73, seconds=2.0, bends=np.array([[0.0, 0], [1.5, 8191]])), seconds=3)
    assert abs(pitch_of(glide, 0.6, 1.4) - 60) < 0.03 and abs(pitch_of(glide, 1.6, 2.4) - 62) < 0.03
    shaken = play(part(program=73, seconds=2.0, controls=np.array([[0.0, 1, 127]])), seconds=3)
    peaks = [pitch_of(shaken, at, at + 0.06) for at in np.arange(1.0, 2.0, 0.03)]
    assert 0.4 < max(peaks) - min(peaks) < 1.3 and abs(np.mean(peaks) - 60) < 0.1


def test_long_notes_last_or_die_away():
    organ = play(part(program=19, seconds=25.0), seconds=27)
    levels = [rms(organ, at, at + 0.5) for at in np.arange(1, 25, 0.5)]
    assert min(levels) > 0.7 * max(levels)
    assert abs(pitch_of(organ, 20, 21) - 60) < 0.03
    piano = play(part(program=0, seconds=25.0), seconds=27)
    assert rms(piano, 20, 25) < 1e-3 * rms(piano, 0.5, 1.5)


def test_a_closed_hat_stops_an_open_one():
    both = dict(drum=True, starts=np.array([0.5, 0.6]), durations=np.full(2, 0.05), velocities=np.array([100, 1]))
    choked = play(part(pitches=np.array([46, 42]), **both), seconds=2)
    rings = play(part(pitches=np.array([46, 36]), **both), seconds=2)
    assert rms(choked, 0.64, 0.8) < 0.1 * rms(rings, 0.64, 0.8)


def test_the_room_is_added_whatever_the_length(monkeypatch):
    pair = dict(durations=np.full(2, 0.3), pitches=np.array([60, 64]), velocities=np.array([90, 90]))
    pieces = [part(program=0, starts=np.array([0.5, 2.9]), **pair)]
    whole = play(*pieces, wet=0.3)
    monkeypatch.setattr(orchestra, "_ROOM_BLOCK", 1.0)
    assert np.abs(play(*pieces, wet=0.3) - whole).max() < 1e-5
    assert rms(whole, 1.2, 1.6) > 3 * rms(play(*pieces), 1.2, 1.6)


def test_playing_twice_gives_the_same_samples():
    pieces = [part(), part(pitch=64, program=48), part(pitch=38, drum=True)]
    players = Orchestra(RATE)
    first = players.perform(pieces)
    assert np.array_equal(first, players.perform(pieces)) and np.array_equal(first, play(*pieces, wet=0.25))


def test_hostile_parts_neither_hang_nor_break():
    none = part(starts=np.zeros(0), durations=np.zeros(0), pitches=np.zeros(0, int), velocities=np.zeros(0, int))
    assert not play(none).any()
    odd = part(seconds=0.0, program=999, controls=np.array([[9e5, 7, 0], [0.0, 64, 127]]), bends=np.array([[9e5, 3]]))
    assert np.isfinite(play(odd)).all()
    assert not play(part(velocity=0)).any()
    with pytest.raises(InputError, match="cut the piece"):
        play(part(seconds=1e6))


def test_progress_rises_and_can_stop():
    seen = []
    play(part(), part(pitch=38, drum=True), progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0
    with pytest.raises(Cancelled):
        play(part(), progress=lambda share: False)


def test_a_band_plays_many_times_faster_than_real_time(shared_data):
    pytest.importorskip("symusic")
    score = notes.read_midi(shared_data / "midi" / "prompts" / "12_band_4-4_slow.mid")
    begin = time.process_time()
    sound = perform(notes.parts(score), RATE)
    assert sound.shape[1] / RATE > 4 * (time.process_time() - begin)
    assert 0.05 < np.abs(sound).max() < 4
