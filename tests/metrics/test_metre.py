"""Hear the metre of rhythms whose metre is known, however they are played."""

import json

import numpy as np
import pytest

from songfoundry.metrics.metre import alike, estimate_metre, features, names, same
from songfoundry.metrics.music import Notes, join


def oompah(beats: int, division: int, beat: float, bars: int = 8, jitter: float = 0.0, seed: int = 0) -> Notes:
    """A bass note on each downbeat, a chord on the other beats, a melody in parts of beats that rests on the downbeats."""
    draw = np.random.default_rng(seed)
    rows = []
    for bar in range(bars):
        root = (48, 43, 45, 41)[bar % 4]
        for count in range(beats):
            at = (bar * beats + count) * beat
            rows.append((at, beat * 0.9, root if count == 0 else root + 12, 95 if count == 0 else 60))
            rows.append((at, beat * 0.9, root + 16, 60))
            if count == 0:
                rows.append((at, beat, root + 24, 80))
            else:
                rows += [(at + k * beat / division, beat / division, root + int(draw.integers(24, 34)), 80) for k in range(division)]
    starts, durations, pitches, velocities = np.array(rows).T
    starts = np.maximum(0, starts + draw.normal(0, jitter, len(starts)) if jitter else starts)
    return Notes(starts, durations, pitches.astype(int), velocities.astype(int), np.zeros(len(rows), int))


@pytest.mark.parametrize(("beats", "division", "beat"), [(3, 2, 0.62), (4, 2, 0.5), (2, 3, 0.55), (3, 2, 0.42), (4, 2, 0.7)])
def test_plain_rhythms_are_heard(beats, division, beat):
    heard = estimate_metre(oompah(beats, division, beat))
    assert same(heard.bar, beats * beat)
    assert same(heard.beat, beat)
    assert (heard.beats, heard.division) == (beats, division)


@pytest.mark.parametrize(("beats", "division", "beat"), [(3, 2, 0.62), (4, 2, 0.5), (2, 3, 0.55)])
def test_a_player_who_is_not_exact_is_heard_alike(beats, division, beat):
    heard = estimate_metre(oompah(beats, division, beat, jitter=0.012))
    assert same(heard.bar, beats * beat)
    assert same(heard.beat, beat)


def test_a_waltz_that_turns_into_a_march_is_noticed():
    waltz, march = (estimate_metre(oompah(beats, 2, 0.6)) for beats in (3, 4))
    assert not same(march.bar, waltz.bar)
    assert not alike(march.bar, waltz.bar)


def test_168_and_171_beats_are_told_apart_only_beyond_the_tolerance():
    # The estimate is good to about a hundredth; equal means 4 %, so such a slip needs the file's own events to be seen.
    slow, quick, other = (estimate_metre(oompah(4, 2, 60 / qpm)) for qpm in (84, 85.5, 95))
    assert same(quick.beat, slow.beat)
    assert same(quick.beat, 60 / 85.5, 0.01)
    assert not same(other.beat, slow.beat)


def test_the_first_onset_need_not_be_at_zero_nor_a_downbeat():
    piece = oompah(3, 2, 0.6)
    late = piece.keep(piece.starts > 0.5)
    heard = estimate_metre(Notes(late.starts + 7.3, late.durations, late.pitches, late.velocities, late.programs))
    assert same(heard.bar, 1.8)
    assert heard.first == pytest.approx(1.2, abs=0.05)


def test_what_has_no_rhythm_has_no_metre():
    assert estimate_metre(join([])) is None
    one = Notes(np.zeros(1), np.ones(1), np.array([60]), np.array([80]), np.zeros(1, int))
    assert estimate_metre(one) is None


def test_a_feature_for_each_name():
    hypotheses, found = features(oompah(4, 2, 0.5))
    assert found.shape == (len(hypotheses), len(names()))
    assert np.isfinite(found).all()


def test_levels():
    assert alike(2.0, 1.0)
    assert alike(1.0, 3.02)
    assert not alike(1.0, 1.5)
    assert not same(2.0, 1.0)


def test_most_of_the_prompts_are_heard_as_they_are_written(shared_data):
    pytest.importorskip("symusic")
    from songfoundry import notes as midi

    folder = shared_data / "midi/prompts"
    right = levels = 0
    for entry in json.loads((folder / "prompts.json").read_text())["prompts"]:
        found = midi.parts(midi.read_midi(folder / entry["file"]))
        heard = estimate_metre(join([
            Notes(p.starts, p.durations, p.pitches, p.velocities, np.full(len(p.starts), -1 if p.is_drum else p.program)) for p in found
        ]))  # fmt: skip
        bar = entry["length_quarters"] / entry["bars"] * 60 / entry["tempo"]["qpm"]
        right += same(heard.bar, bar)
        levels += alike(heard.bar, bar)
    assert right >= 8
    assert levels >= 11
