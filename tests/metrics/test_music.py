"""Compare the measures of notes with what MusPy 0.5.0 gives, and with pieces small enough to count by hand."""

import numpy as np
import pytest

from songfoundry.errors import InputError
from songfoundry.metrics import music
from songfoundry.metrics.music import Notes

# What muspy.metrics of MusPy 0.5.0 gave for `random_piece` of the same arguments, in the order of `all_measures`.
MUSPY = {
    (1, 40, 1, 1500): [37, 25, 11, 1.3884976525821595, 0.01341381623071764, 0.20858484238765929, 0.675, 4.484183719779189,
                       3.255798022035007, 0.9493055555555555, 0.9479166666666666, 0.19047619047619047, 0.04761904761904767],
    (2, 300, 4, 2000): [39, 40, 12, 3.40955448201825, 0.5517751479289941, 0.7273175542406312, 0.6293103448275862,
                        5.2403899303914425, 3.5594618825550643, 0.7743055555555556, 0.7554563492063492, 0, 0],
    (3, 6, 2, 1000): [23, 6, 6, 1.136, 0, 0.019698725376593278, 0.8333333333333334, 2.584962500721156, 2.584962500721156,
                      0.9908854166666666, 0.9873737373737373, 0.7222222222222222, 0.6666666666666667],
    (4, 80, 3, 96): [37, 26, 11, 7.794326241134752, 0.8571428571428571, 0.891156462585034, 0.6888888888888889,
                     4.552638373963222, 3.3028865749070553, 0.4375, 0.6111111111111112, 0, 0],
}  # fmt: skip


def random_piece(seed: int, notes: int, tracks: int, span: int) -> Notes:
    """Draw a piece in ticks, 24 a quarter; the third track is drums."""
    draw = np.random.default_rng(seed)
    starts, durations = draw.integers(0, span, notes), draw.integers(1, 60, notes)
    pitches, track = draw.integers(40, 80, notes), draw.integers(0, tracks, notes)
    return Notes(starts, durations, pitches, np.full(notes, 64), np.where(track == 2, -1, track))


def all_measures(notes: Notes) -> list[float]:
    return [
        music.pitch_range(notes), music.n_pitches_used(notes), music.n_pitch_classes_used(notes), music.polyphony(notes),
        music.polyphony_rate(notes), music.polyphony_rate(notes, 1), music.scale_consistency(notes), music.pitch_entropy(notes),
        music.pitch_class_entropy(notes), music.groove_consistency(notes, 96), music.groove_consistency(notes, 72),
        music.empty_beat_rate(notes), music.empty_measure_rate(notes, 72),
    ]  # fmt: skip


def quarters(*notes, program: int = 0) -> Notes:
    """Make a piece of (start, duration, pitch) in quarters."""
    starts, durations, pitches = (np.array(column, np.float64) for column in zip(*notes, strict=True))
    count = len(notes)
    return Notes(starts, durations, pitches.astype(np.int64), np.full(count, 80), np.full(count, program))


@pytest.mark.parametrize("drawn", MUSPY)
def test_the_measures_are_muspys(drawn):
    np.testing.assert_allclose(all_measures(random_piece(*drawn)), MUSPY[drawn], rtol=0, atol=1e-12)


def test_the_table_takes_measures_at_24_ticks_a_quarter():
    piece = random_piece(2, 300, 4, 2000)
    in_quarters = Notes(piece.starts / 24, piece.durations / 24, piece.pitches, piece.velocities, piece.programs)
    table = music.measures(in_quarters, 3.0)
    expected = MUSPY[2, 300, 4, 2000]
    assert table["groove consistency"] == pytest.approx(expected[10])
    assert table["empty-bar rate"] == pytest.approx(expected[12])
    assert table["polyphony"] == pytest.approx(expected[3])
    assert list(table) == list(music.MEASURES)


def test_nothing_and_drums_alone_have_no_scale():
    for notes in (music.join([]), quarters((0, 1, 38), (1, 1, 42), program=-1)):
        table = music.measures(notes, 4.0)
        assert table["pitch range"] == 0
        assert table["pitches used"] == 0
        for name in ("polyphony", "scale consistency", "pitch entropy", "pitch-class entropy"):
            assert np.isnan(table[name]), name
    assert music.measures(quarters((0, 1, 38), (2.5, 1, 42), program=-1), 4.0)["empty-beat rate"] == pytest.approx(0)


def test_empty_bars_are_counted_up_to_the_bar_that_was_asked_for():
    piece = quarters((0, 4, 60), (8, 9, 62))  # bar 0 to its end, then bar 2 on into bar 4
    assert music.empty_bars(piece, 4.0, 5) == 1
    assert music.empty_bars(piece, 4.0, 8) == 4
    assert music.empty_bars(music.join([]), 4.0, 3) == 3


def test_notes_that_hang():
    piece = quarters((0, 4, 60), (2, 2.5, 62), (3, 0, 64), (3, np.inf, 65))
    assert music.hanging_notes(piece, 4.0) == 3
    assert music.hanging_notes(piece, 5.0) == 2


def test_between_moves_the_cut_to_the_beginning():
    cut = quarters((0, 1, 60), (4, 1, 62), (7.5, 2, 64), (8, 1, 65)).between(4, 8)
    assert cut.starts.tolist() == [0, 3.5]
    assert cut.pitches.tolist() == [62, 64]
    assert cut.end == 5.5


def test_arrays_of_two_lengths_are_refused():
    with pytest.raises(InputError, match=r"one length, found \[2, 3\]"):
        Notes(np.zeros(3), np.zeros(3), np.zeros(2, int), np.zeros(3, int), np.zeros(3, int))
