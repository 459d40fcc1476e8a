"""Find copies that were planted, and only those."""

import time
from dataclasses import replace

import numpy as np
import pytest

from songfoundry.metrics.copies import CopyIndex, symbols
from songfoundry.metrics.music import Notes, join


def melody(seed: int, count: int, program: int = 0) -> Notes:
    draw = np.random.default_rng(seed)
    durations = draw.choice([0.25, 0.5, 0.75, 1.0, 1.5, 2.0], count)
    starts = np.concatenate([[0], np.cumsum(durations)[:-1]])
    return Notes(starts, durations, draw.integers(48, 84, count), np.full(count, 80), np.full(count, program))


def planted(into: Notes, source: Notes, first: int, count: int, at: int, semitones: int) -> Notes:
    """Write notes first..first+count of the source over those of the other from ``at`` on, transposed."""
    durations, pitches = into.durations.copy(), into.pitches.copy()
    durations[at : at + count] = source.durations[first : first + count]
    pitches[at : at + count] = source.pitches[first : first + count] + semitones
    starts = np.concatenate([[0], np.cumsum(durations)[:-1]])
    return Notes(starts, durations, pitches, into.velocities, into.programs)


def by_brute_force(text: list[np.ndarray], query: np.ndarray) -> int:
    """Measure the longest common run of two sequences by the usual table."""
    best = 0
    for part in text:
        before = np.zeros(len(part) + 1, int)
        for symbol in query:
            now = np.zeros_like(before)
            now[1:] = np.where(part == symbol, before[:-1] + 1, 0)
            best, before = max(best, int(now.max())), now
    return best


def test_a_planted_transposed_copy_is_found_with_its_place():
    training = [(f"piece {number}", melody(number, 400)) for number in range(20)]
    query = planted(melody(99, 200), training[13][1], 100, 37, 50, -5)
    copy = CopyIndex(training).longest(query)
    # The first planted note is reached by another interval: its symbol is not the training piece's.
    assert copy.notes == 37
    assert copy.piece == "piece 13"
    assert copy.start == 50
    assert copy.different > 15


def test_lengths_are_those_of_brute_force():
    draw = np.random.default_rng(5)
    for _ in range(30):
        few = [Notes(np.arange(60.0), np.full(60, 1.0), draw.integers(60, 62, 60), np.full(60, 9), np.zeros(60, int)) for _ in range(4)]
        index = CopyIndex([(str(number), piece) for number, piece in enumerate(few[1:])])
        expected = by_brute_force([symbols(piece)[0] for piece in few[1:]], symbols(few[0])[0])
        assert index.longest(few[0]).notes == expected + 1


def test_a_whole_piece_is_a_copy_of_itself_and_no_run_crosses_two_pieces():
    first, second = melody(1, 50), melody(2, 50)
    index = CopyIndex([("first", first), ("second", second)])
    assert index.longest(first).notes == 50
    both = join([first, replace(second, starts=second.starts + first.end)])
    assert index.longest(both).notes == 50


def test_parts_are_searched_one_by_one_and_drums_not_at_all():
    theme = melody(3, 60, program=40)
    noise = melody(4, 300, program=0)
    index = CopyIndex([("theme", join([theme, melody(5, 100, program=33)]))])
    assert index.longest(join([noise, theme])).notes == 60
    drums = Notes(theme.starts, theme.durations, theme.pitches, theme.velocities, np.full(60, -1))
    assert index.longest(drums).notes == 0
    assert CopyIndex([]).longest(theme).notes == 0


def test_one_note_repeated_is_told_from_a_theme():
    pulse = Notes(np.arange(64) / 2, np.full(64, 0.5), np.full(64, 36), np.full(64, 80), np.full(64, 33))
    copy = CopyIndex([("bass", pulse)]).longest(pulse)
    assert (copy.notes, copy.different) == (64, 1)


@pytest.mark.long
def test_a_million_notes_are_searched_in_seconds():
    training = [(str(number), melody(number, 10_000)) for number in range(100)]
    began = time.process_time()
    index = CopyIndex(training)
    for seed in range(50):
        index.longest(melody(1000 + seed, 300))
    assert time.process_time() - began < 30
