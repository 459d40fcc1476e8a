import numpy as np
import pytest

from songfoundry.errors import InputError
from songfoundry.voice import curves
from songfoundry.voice.tune import Curve, Tune, TuneNote
from songfoundry.voice.world import PERIOD

TUNE = Tune((TuneNote(0.2, 1.0, 60), TuneNote(1.0, 1.8, 64), TuneNote(2.2, 3.6, 62)))


def cents(curve, second, pitch):
    """How far a curve is off a pitch at some moment."""
    return 1200 * np.log2(curve.hertz[round(second / PERIOD)] / curves.hertz_of(pitch))


def test_without_expression_the_notes_are_straight():
    curve, swing = curves.curve_of(TUNE, expression=0.0)
    for note in TUNE.notes:
        inside = curve.hertz[round(note.start / PERIOD) + 1 : round(note.end / PERIOD) - 1]
        assert np.allclose(inside, curves.hertz_of(note.pitch))
    assert (curve.hertz[: round(0.2 / PERIOD)] == 0).all() and (curve.hertz[round(1.81 / PERIOD) : round(2.19 / PERIOD)] == 0).all()
    assert len(curve.hertz) == len(swing) == round(3.6 / PERIOD)


def test_a_singer_overshoots_and_prepares_and_comes_to_rest():
    curve, _ = curves.curve_of(TUNE, expression=1.0, vibrato_depth=0.0)
    around = [cents(curve, second, 64) for second in np.arange(1.0, 1.3, PERIOD)]
    assert 15 < max(around) < 90  # over the higher note
    before = [cents(curve, second, 60) for second in np.arange(0.8, 0.97, PERIOD)]
    assert min(before) < -10  # below the lower one
    assert abs(cents(curve, 1.6, 64)) < 25
    # The middle of the glide lies where the note begins.
    crossing = next(second for second in np.arange(0.9, 1.2, PERIOD) if cents(curve, second, 62) > 0)
    assert abs(crossing - 1.0) < 0.03


def test_quick_notes_reach_their_pitch():
    quick = Tune(tuple(TuneNote(0.18 * k, 0.18 * (k + 1), 60 + 4 * (k % 2)) for k in range(10)))
    curve, _ = curves.curve_of(quick, expression=1.0)
    for note in quick.notes[1:]:
        assert abs(cents(curve, (note.start + note.end) / 2, note.pitch)) < 60


def test_vibrato_has_the_rate_and_depth_that_were_asked_for():
    note = Tune((TuneNote(0.0, 4.0, 57),))
    plain, _ = curves.curve_of(note, vibrato_depth=0.0, seed=3)
    swung, swing = curves.curve_of(note, vibrato_depth=80.0, vibrato_rate=6.0, seed=3)
    difference = 1200 * np.log2(swung.hertz / plain.hertz)[round(1.0 / PERIOD) : round(3.5 / PERIOD)]
    assert 75 < np.abs(difference).max() <= 80.1
    spectrum = np.abs(np.fft.rfft(difference))
    assert np.fft.rfftfreq(len(difference), PERIOD)[spectrum.argmax()] == pytest.approx(6.0, abs=0.2)
    assert np.abs(swing).max() <= 1 and (swing[: round(0.25 / PERIOD)] == 0).all()


def test_the_seed_makes_the_fluctuation():
    one, two, other = (curves.curve_of(TUNE, seed=seed)[0].hertz for seed in (1, 1, 2))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_notes_are_found_in_a_curve_again():
    curve, _ = curves.curve_of(TUNE, expression=0.6)
    found = curves.notes_of(curve).notes
    assert [round(note.pitch) for note in found] == [60, 64, 62]
    assert np.allclose([note.start for note in found], [note.start for note in TUNE.notes], atol=0.06)


def test_a_curve_comes_back_from_its_file(tmp_path):
    curve, _ = curves.curve_of(TUNE)
    (tmp_path / "a.csv").write_text(curves.write_curve(curve))
    back = curves.read_curve(tmp_path / "a.csv")
    assert len(back.hertz) == len(curve.hertz) and np.allclose(back.hertz, curve.hertz, atol=2e-3)
    up = curves.transposed(back, 12)
    assert np.allclose(up.hertz, 2 * back.hertz)


def test_a_curve_of_another_pace_is_read_in_between(tmp_path):
    (tmp_path / "a.csv").write_text("0,0\n0.1,200\n0.2,400\n0.3,0\n")
    curve = curves.read_curve(tmp_path / "a.csv")
    assert curve.period == PERIOD and curve.hertz[round(0.15 / PERIOD)] == pytest.approx(200 * 2**0.5, rel=0.01)
    assert curve.hertz[0] == 0 and curve.hertz[-1] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "found other numbers"), ("0,100\n0,200\n", "growing seconds"), ("0,9000\n", "20 to 4000"), ("0,1\n1,nothing\n", "line 2"),
     ("a,b\n0,0\n1,0\n", "0 where nothing is voiced"), ("0,100\n1e9,100\n", "growing seconds"), ("0,100\nnan,100\n", "growing seconds")],
)  # fmt: skip
def test_a_file_that_holds_no_curve_is_told_in_one_sentence(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        curves.read_curve(tmp_path / "a.csv")


def test_a_curve_that_is_not_there_or_is_no_text_is_told(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x81")
    for name in ("a.csv", "none.csv"):
        with pytest.raises(InputError, match="cannot be read"):
            curves.read_curve(tmp_path / name)


def test_transposing_moves_a_tune():
    assert [note.pitch for note in curves.transposed(TUNE, -12).notes] == [48, 52, 50]
    assert isinstance(curves.transposed(Curve(np.ones(3), PERIOD), 0), Curve)
