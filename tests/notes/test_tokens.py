import json
import sys

import numpy as np
import pytest
from midi_bytes import band, midi, part, tempo, track

from songfoundry import notes
from songfoundry.errors import InputError, MissingExtraError
from songfoundry.notes.tokens import HEADER, KEYS, TokenConfig, Tokenizer, tokenizer

symusic = pytest.importorskip("symusic")
pytest.importorskip("miditok")
REMI = tokenizer()


def metre(tick: int, numerator: int, power: int) -> tuple[int, bytes]:
    """A time signature; the denominator is 2 ** power."""
    return tick, bytes([0xFF, 0x58, 4, numerator, power, 24, 8])


def heard(score) -> list[tuple]:
    """All notes, in quarters, whatever the order of tracks."""
    clock = score.ticks_per_quarter
    return sorted(
        (-1 if line.is_drum else line.program, note.start / clock, note.duration / clock, note.pitch, note.velocity)
        for line in score.tracks
        for note in line.notes
    )


def metres(score) -> list[tuple]:
    return [(event.time / score.ticks_per_quarter, event.numerator, event.denominator) for event in score.time_signatures]


def names(ids) -> list[str]:
    return [REMI.names[token] for token in ids]


def there_and_back(data: bytes):
    score = notes.read_midi(data)
    return score, REMI.decode(REMI.encode(score)), REMI.lost(score)


def test_symusic_is_the_release_that_was_tried():
    # Its 0.6.0 plays nothing (Synthesizer.render raises TypeError).
    import tomllib
    from importlib.metadata import version
    from pathlib import Path

    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "symusic==0.5.9" in extras["midi"] and version("symusic") == "0.5.9"


def test_a_piece_reads_as_the_field_writes_it():
    lines = [part(0, 5, [(0, 480, 60, 95), (640, 160, 64, 95)]), part(9, 0, [(480, 80, 38, 127)])]
    data = midi([track([tempo(0, 120), metre(0, 3, 2)]), *lines])
    written = names(REMI.encode(notes.read_midi(data), style="pop", key=9))
    assert written == [
        "BOS_None", "Style_pop", "Key_9", "Bar_None", "TimeSig_3/4", "Position_0", "Tempo_121.52",
        "Program_5", "Pitch_60", "Velocity_95", "Duration_1.0.12", "Position_12", "Program_-1", "PitchDrum_38", "Velocity_127",
        "Duration_0.2.12", "Position_16", "Program_5", "Pitch_64", "Velocity_95", "Duration_0.4.12", "EOS_None",
    ]  # fmt: skip
    assert KEYS[9] == "A major" and KEYS[12 + 9] == "A minor"


def test_nothing_is_lost_of_what_is_on_the_grid():
    level = float(REMI.grid.tempi[30])
    triplets = [(160 * n, 160, 60 + n, 91) for n in range(12)]
    data = midi([track([tempo(0, level), metre(0, 4, 2)]), part(0, 0, triplets), part(9, 0, [(0, 240, 36, 127)])])
    score, back, lost = there_and_back(data)
    assert lost == [] and heard(back) == heard(score) and metres(back) == metres(score)


def test_decoding_reads_what_miditok_reads():
    score = notes.read_midi(band(beats=8))
    ids = REMI.encode(score)
    theirs = REMI._remi.decode([int(token) for token in ids if REMI.kinds[token] not in ("BOS", "EOS", "Style", "Key")])
    assert heard(theirs) == heard(REMI.decode(ids))


@pytest.mark.parametrize(("numerator", "power"), [(3, 2), (6, 3), (2, 1), (13, 4), (5, 2), (12, 3), (1, 4)])
def test_metres_come_back(numerator, power):
    data = midi([track([metre(0, numerator, power)]), part(0, 0, [(480 * n, 240, 60, 91) for n in range(12)])])
    score, back, _ = there_and_back(data)
    assert metres(back) == [(0, numerator, 2**power)] and heard(back) == heard(score)


def test_metre_and_tempo_changes_come_back():
    levels = [float(REMI.grid.tempi[n]) for n in (10, 40, 20)]
    events = [metre(0, 4, 2), metre(1920, 6, 3), metre(1920 + 3 * 1440, 2, 2)]
    tempi = [tempo(0, levels[0]), tempo(960, levels[1]), tempo(1920, levels[2])]
    score, back, lost = there_and_back(midi([track(events + tempi), part(0, 0, [(240 * n, 240, 60, 91) for n in range(40)])]))
    assert lost == [] and metres(back) == metres(score) == [(0, 4, 4), (4, 6, 8), (13, 2, 4)]
    assert [round(event.time / 48, 3) for event in back.tempos] == [0, 2, 4]
    assert np.allclose([event.qpm for event in back.tempos], levels, rtol=1e-5)


def test_a_pick_up_becomes_a_bar_of_its_own_length():
    # One beat, then 4/4 begins anew.
    upbeat = midi([track([metre(0, 4, 2), metre(480, 4, 2)]), part(0, 0, [(480 * n, 480, 60 + n, 91) for n in range(9)])])
    score, back, lost = there_and_back(upbeat)
    assert metres(back) == [(0, 1, 4), (1, 4, 4)] and heard(back) == heard(score)
    assert any("1 bars are cut short" in sentence for sentence in lost)
    assert len(REMI.bars(REMI.encode(score))) == 3
    assert metres(REMI.decode(REMI.encode(back))) == metres(back)


def test_a_metre_that_comes_askew_moves_to_the_bar_line():
    data = midi([track([metre(0, 4, 2), metre(1000, 3, 2)]), part(0, 0, [(480 * n, 480, 60, 91) for n in range(9)])])
    _, back, lost = there_and_back(data)
    assert metres(back) == [(0, 4, 4), (4, 3, 4)] and any("move to the next one" in sentence for sentence in lost)


def test_exact_tempi_are_put_back():
    score = notes.read_midi(midi([track([tempo(0, 116), tempo(960, 93.7)]), part(0, 0, [(480 * n, 240, 60, 91) for n in range(8)])]))
    ids = REMI.encode(score, ends=False)
    assert abs(REMI.decode(ids).tempos[0].qpm - 116) > 0.1
    exact = REMI.decode(ids, like=score)
    assert [(event.time, event.mspq) for event in exact.tempos] == [(event.time // 10, event.mspq) for event in score.tempos]
    # Written on at the last level and then at another: the last tempo holds exactly until then.
    first, last = (REMI.ids[f"Tempo_{round(float(REMI.grid.tempi[n]), 2)}"] for n in (3, int(np.abs(REMI.grid.tempi - 93.7).argmin())))
    bar = [REMI.ids[name] for name in ("Bar_None", "TimeSig_4/4", "Position_0")]
    note = [REMI.ids[name] for name in ("Program_0", "Pitch_60", "Velocity_91", "Duration_1.0.12")]
    written = REMI.decode([*ids, *bar, last, *note, *bar, first, *note], like=score)
    assert np.allclose([event.qpm for event in written.tempos[:2]], [116, 93.7], rtol=1e-5)
    assert np.isclose(written.tempos[-1].qpm, REMI.grid.tempi[3], rtol=1e-3) and written.tempos[-1].time == 12 * 48


def test_the_sustain_pedal_prolongs_notes():
    pedal = [(0, bytes([0xB0, 64, 127])), (960, bytes([0xB0, 64, 0]))]
    line = [(0, b"\x90\x3c\x5b"), (240, b"\x80\x3c\x00"), (480, b"\x90\x3c\x5b"), (600, b"\x80\x3c\x00")]
    line += [(720, b"\x90\x40\x5b"), (1200, b"\x80\x40\x00")]
    score, back, lost = there_and_back(midi([track(pedal + line)]))
    # To the next stroke of the same key, to the release of the pedal, and not at all.
    assert [note[1:4] for note in heard(back)] == [(0, 1, 60), (1, 1, 60), (1.5, 1, 64)]
    assert "1 uses of the sustain pedal become longer notes." in lost
    dry = tokenizer(TokenConfig(sustain=False))
    assert [note[2] for note in heard(dry.decode(dry.encode(score)))] == [0.5, 0.25, 1]


def test_overlapping_notes_end_where_their_pitch_is_struck_again():
    score = symusic.Score(480)
    line = symusic.Track(program=0)
    line.notes.extend([symusic.Note(0, 1920, 60, 91), symusic.Note(480, 480, 60, 91), symusic.Note(480, 960, 60, 71)])
    score.tracks.append(line)
    assert heard(REMI.decode(REMI.encode(score))) == [(0, 0, 1, 60, 91), (0, 1, 2, 60, 91)]
    lost = REMI.lost(score)
    assert any("struck again" in sentence for sentence in lost) and any("become one" in sentence for sentence in lost)


def test_forty_tracks_become_one_for_each_instrument():
    score = symusic.Score(480)
    for number in range(40):
        line = symusic.Track(program=number % 25, is_drum=number == 39)
        line.notes.append(symusic.Note(480 * number, 480, 40 + number, 91))
        score.tracks.append(line)
    back = REMI.decode(REMI.encode(score))
    assert heard(back) == heard(score) and len(back.tracks) == 26 and back.tracks[-1].is_drum
    assert "14 tracks join another one of the same instrument." in REMI.lost(score)


def test_no_tempo_and_no_metre_are_said():
    _, back, lost = there_and_back(midi([part(0, 0, [(0, 480, 60, 91)])]))
    assert any("120 quarters" in sentence for sentence in lost) and any("4/4" in sentence for sentence in lost)
    assert metres(back) == [(0, 4, 4)] and back.tempos[0].qpm == pytest.approx(121.52, abs=0.01)


def test_what_has_no_token_is_said():
    note = [(0, b"\x90\x3c\x5b"), (17280, b"\x80\x3c\x00"), (100, b"\xb0\x07\x50"), (200, b"\xe0\x00\x50"), (0, b"\xff\x59\x02\x01\x00")]
    _, back, lost = there_and_back(midi([track([tempo(0, 500), *note]), part(9, 0, [(0, 60, 100, 99), (0, 60, 36, 99)])]))
    texts = ("500 quarters a minute becomes 320", "longer than a token", "controllers", "pitch bends", "key signatures", "1 drum notes")
    for said in texts:
        assert any(said in sentence for sentence in lost), (said, lost)
    assert max(length for _, _, length, _, _ in heard(back)) == 17


def test_bars_may_be_asked_for():
    score = notes.read_midi(band(beats=4))
    ids = REMI.encode(score, bars=3)
    assert len(REMI.bars(ids)) == 3 and heard(REMI.decode(ids)) == heard(REMI.decode(REMI.encode(score)))
    assert len(REMI.bars(REMI.encode(score, bars=1))) == len(REMI.bars(REMI.encode(score)))


def test_cuts_are_whole_bars_with_their_tempo():
    score = notes.read_midi(band(beats=32))
    ids = REMI.encode(score, style="band", key=0)
    part_ids = REMI.cut(ids, 2, 4)
    assert names(part_ids[:7]) == [*names(ids[:3]), "Bar_None", "TimeSig_4/4", "Position_0", names(ids[6:7])[0]]
    assert len(REMI.bars(part_ids)) == 2 and part_ids[-1] != REMI.eos and REMI.cut(ids, 6, 8)[-1] == REMI.eos
    expected = [note for note in heard(REMI.decode(ids)) if 8 <= note[1] < 16]
    assert [(p, start + 8, *rest) for p, start, *rest in heard(REMI.decode(part_ids))] == expected
    assert np.array_equal(REMI.cut(ids, 0, 8), ids)


def test_filling_tasks_decode_in_order():
    ids = REMI.encode(notes.read_midi(band(beats=32)))
    task = REMI.fill(ids, 3, 5)
    assert names(task)[HEADER] == "Fill_after" and task[-1] == REMI.eos and list(task).count(REMI.ids["Fill_before"]) == 1
    assert heard(REMI.decode(task)) == heard(REMI.decode(ids))
    with pytest.raises(ValueError, match="0-8"):
        REMI.fill(ids, 5, 9)


def test_transposing_moves_pitches_and_key_but_no_drums():
    ids = REMI.encode(notes.read_midi(band(beats=8)), key=21)
    up = REMI.transpose(ids, 4)
    moved = [(p, s, d, pitch if p == -1 else pitch + 4, v) for p, s, d, pitch, v in heard(REMI.decode(ids))]
    assert heard(REMI.decode(up)) == sorted(moved) and names(up)[2] == "Key_13" and up.dtype == ids.dtype
    assert np.array_equal(REMI.transpose(up, -4), ids)
    edge = np.array([REMI.ids["Pitch_126"], REMI.ids["Pitch_2"]])
    assert names(REMI.transpose(edge, 3)) == ["Pitch_117", "Pitch_5"] and names(REMI.transpose(edge, -3)) == ["Pitch_123", "Pitch_11"]


def test_tempi_move_by_levels_and_are_clipped():
    ids = REMI.encode(notes.read_midi(band(qpm=120)))
    place = int(np.flatnonzero(REMI.kinds[ids] == "Tempo")[0])
    assert REMI.retempo(ids, 2)[place] == ids[place] + 2 and names(REMI.retempo(ids, 500))[place] == "Tempo_320.0"


def test_any_tokens_decode():
    rng = np.random.default_rng(1)
    ids = REMI.encode(notes.read_midi(band(beats=8)))
    for cut in (*range(0, 40), *rng.integers(0, len(ids), 20)):
        score = REMI.decode(ids[:cut])
        assert score.note_num() == sum(name.startswith("Duration") for name in names(ids[:cut]))
        REMI.decode(ids[cut:])
    for _ in range(20):
        assert REMI.decode(rng.integers(0, REMI.size, 300)).to("Second").end() >= 0


def test_names_a_style_or_key_that_is_not_there():
    score = notes.read_midi(band(beats=4))
    for options in ({"style": "polka"}, {"key": 24}):
        with pytest.raises(ValueError, match="style of pop"):
            REMI.encode(score, **options)


def test_configs_change_the_vocabulary_and_its_fingerprint():
    coarse = Tokenizer(TokenConfig(positions=4, velocities=8, tempi=16))
    assert coarse.size < REMI.size and coarse.fingerprint != REMI.fingerprint == Tokenizer().fingerprint
    _, lost = coarse.decode(coarse.encode(notes.read_midi(band(beats=8)))), coarse.lost(notes.read_midi(band(beats=8)))
    assert any("8 levels" in sentence or "levels" in sentence for sentence in lost)
    with pytest.raises(ValueError, match="multiple of 4"):
        TokenConfig(positions=6)


def test_names_the_extra(monkeypatch):
    score = notes.read_midi(band(beats=4))
    monkeypatch.setitem(sys.modules, "miditok", None)
    with pytest.raises(MissingExtraError, match=r"songfoundry\[midi\]"):
        Tokenizer(TokenConfig(tempi=32)).encode(score)


@pytest.mark.parametrize("numerator,power", [(1, 0), (17, 3), (5, 1), (4, 5)])
def test_a_metre_without_a_token_is_one_sentence(numerator, power):
    score = notes.read_midi(midi([track([metre(0, numerator, power)]), part(0, 0, [(0, 480, 60, 91)])]))
    with pytest.raises(InputError, match=f"found {numerator}/{2**power}: write it in another metre"):
        REMI.encode(score)


def test_a_piece_without_notes_is_one_sentence():
    for data in (midi([track([])]), midi([track([tempo(0, 90)])]), midi([part(9, 0, [(0, 60, 5, 99)])])):
        with pytest.raises(InputError, match="expected a piece with notes, found none"):
            REMI.encode(notes.read_midi(data))


def test_only_drums_and_a_single_note_are_pieces():
    drums = there_and_back(midi([part(9, 0, [(480 * n, 60, 36, 99) for n in range(8)])]))
    single = there_and_back(midi([part(0, 0, [(4800, 480, 60, 91)])]))
    for score, back, _ in (drums, single):
        assert [note[:2] for note in heard(back)] == [note[:2] for note in heard(score)]


def test_bars_without_end_are_one_sentence():
    # A million quarters at 3000 a minute: five hours and a half.
    far = [(1_000_000, b"\x90\x3c\x5a"), (1_000_001, b"\x80\x3c\x00")]
    data = midi([track([tempo(0, 3000), *far])], division=1)
    with pytest.raises(InputError, match="at most 50000 bars"):
        REMI.encode(notes.read_midi(data))


def test_real_prompts_keep_every_note_to_half_a_step(shared_data):
    folder = shared_data / "midi" / "prompts"
    truths = json.loads((folder / "prompts.json").read_text())
    assert len(list(folder.glob("*.mid"))) == 12 == len(truths if isinstance(truths, list) else truths.get("prompts", truths))
    for path in sorted(folder.glob("*.mid")):
        score = notes.read_midi(path)
        ids = REMI.encode(score)
        back = REMI.decode(ids, like=score)
        given = {(program, pitch, start) for program, start, _, pitch, _ in heard(score)}
        found = {(program, pitch, start) for program, start, _, pitch, _ in heard(back)}
        far = [note for note in given if not any(note[:2] == other[:2] and abs(note[2] - other[2]) <= 1 / 24 + 1e-9 for other in found)]
        assert far == [] and len(found) == back.note_num(), path.name
        assert [(event.time * 10, event.mspq) for event in back.tempos] == [(event.time, event.mspq) for event in score.tempos], path.name
        assert metres(back) == metres(score) and np.array_equal(REMI.encode(back), REMI.encode(REMI.decode(ids))), path.name
