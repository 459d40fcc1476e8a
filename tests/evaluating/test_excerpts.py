"""Cut prompts and held-out pieces, and read tokens as notes."""

import numpy as np
import pytest

pytest.importorskip("miditok")

import small_scores
import tiny_music

from songfoundry import notes as midi
from songfoundry.composing.prompts import notes_of
from songfoundry.errors import DatasetError
from songfoundry.evaluating import excerpts
from songfoundry.notes.tokens import tokenizer


def rows(notes) -> list[tuple]:
    columns = (np.round(notes.starts, 6), np.round(notes.durations, 6), notes.pitches, notes.velocities, notes.programs)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize(("above", "below"), [(4, 4), (6, 8), (3, 4), (7, 8), (13, 16)])
def test_tokens_are_read_as_decode_reads_them(above, below):
    coder = tokenizer()
    ids = coder.encode(midi.read_midi(tiny_music.prompt(above, below, 97.0, drums=True)))
    assert rows(excerpts.notes_of_tokens(coder, ids)) == rows(notes_of(coder.decode(ids)))


def test_real_pieces_are_read_alike(shared_data):
    coder = tokenizer()
    for path in sorted((shared_data / "midi/prompts").glob("*.mid")):
        ids = coder.encode(midi.read_midi(path))
        # A pitch that is struck again while it sounds is ended by decoding, and by nothing here.
        both = excerpts.notes_of_tokens(coder, ids), notes_of(coder.decode(ids))
        fast, slow = ([row[0:1] + row[2:] for row in rows(notes)] for notes in both)
        assert len(set(fast) ^ set(slow)) <= 0.02 * len(slow), path.name


def test_a_prompt_knows_its_bars_and_its_tempo(tmp_path):
    tiny_music.write(tmp_path / "jig.mid", tiny_music.prompt(6, 8, 104.0, bars=5))
    (one,) = excerpts.prompt_excerpts(tmp_path)
    assert (one.name, one.metre, one.music.bars, one.music.bar) == ("jig", (6, 8), 5, 3.0)
    assert one.qpm == pytest.approx(104, rel=1e-5)
    assert one.split_tick == 15 * one.score.ticks_per_quarter
    assert one.music.heard.starts.max() == pytest.approx(one.music.notes.starts.max() * 60 / 104, rel=1e-4)
    with pytest.raises(DatasetError, match="found none"):
        excerpts.prompt_excerpts(tmp_path / "nowhere")


def test_the_mean_tempo_of_the_last_four_bars_is_quarters_by_minutes(shared_data):
    (etude,) = (e for e in excerpts.prompt_excerpts(shared_data / "midi/prompts") if e.name.startswith("02"))
    times = midi.beat_times(etude.score)
    assert etude.qpm == pytest.approx(16 / (times[32 if len(times) > 32 else -1] - times[16]) * 60, rel=0.02)


def test_held_out_excerpts_have_what_really_follows(tmp_path, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path / "cache"))
    archive = str(small_scores.write_folk(tmp_path, test=3))
    coder = tokenizer()
    found = excerpts.held_out_excerpts([archive], coder, count=5, prompt_bars=4, bars=3, seed=1)
    assert len(found) == 3
    assert {one.metre for one in found} == {(6, 8), (4, 4)}
    for one in found:
        assert one.music.bars == 4
        assert one.real.bars == 3
        assert one.real.notes.end <= 3 * one.real.bar + 1e-9
        assert len(one.real.notes)
    again = excerpts.held_out_excerpts([archive], coder, count=5, prompt_bars=4, bars=3, seed=1)
    assert [one.name for one in again] == [one.name for one in found]
    with pytest.raises(DatasetError, match="pieces of 44 bars"):
        excerpts.held_out_excerpts([archive], coder, count=5, prompt_bars=4, bars=40)


def test_a_prompt_said_again_is_the_same_music_later(tmp_path):
    tiny_music.write(tmp_path / "a.mid", tiny_music.prompt(3, 4, 90.0, bars=4))
    (one,) = excerpts.prompt_excerpts(tmp_path)
    twice = excerpts.repeated(one, 8)
    assert twice.bars == 8
    assert len(twice.notes) == 2 * len(one.music.notes)
    assert rows(twice.notes.between(12.0)) == rows(one.music.notes)
    last = excerpts.repeated(one, 2)
    assert rows(last.notes) == rows(one.music.notes.between(6.0))


def test_beats():
    assert excerpts.beat_of((6, 8)) == (2, 1.5)
    assert excerpts.beat_of((12, 8)) == (4, 1.5)
    assert excerpts.beat_of((3, 8)) == (3, 0.5)
    assert excerpts.beat_of((3, 4)) == (3, 1.0)
    assert excerpts.beat_of((2, 2)) == (2, 2.0)
