import json
import zipfile

import numpy as np
import pytest
from midi_bytes import band, midi, part, track

from songfoundry import notes
from songfoundry.errors import InputError
from songfoundry.notes.tokens import HEADER, TokenConfig, tokenizer

symusic = pytest.importorskip("symusic")
PERFORMANCE, CHORALE = (tokenizer(TokenConfig(kind=kind)) for kind in ("performance", "chorale"))


def seconds(score) -> list[tuple]:
    """All notes as onset, duration (10 ms), pitch and velocity."""
    found = [(round(100 * n.start), round(100 * n.duration), n.pitch, n.velocity) for t in score.to("Second").tracks for n in t.notes]
    return sorted(found)


def names(coder, ids) -> list[str]:
    return [coder.names[token] for token in ids]


def test_the_vocabulary_is_the_published_one():
    counts = {kind: len(PERFORMANCE.of_kind(kind)) for kind in ("NoteOn", "NoteOff", "TimeShift", "Velocity")}
    assert counts == {"NoteOn": 128, "NoteOff": 128, "TimeShift": 100, "Velocity": 32} and sum(counts.values()) == 388
    assert len(CHORALE.of_kind("Pitch", "Rest")) == 81 - 36 + 2


def test_events_come_in_the_order_of_the_paper():
    # A quarter is half a second; the second note begins as the first ends, the third after more than a second.
    line = part(0, 0, [(0, 480, 60, 90), (480, 480, 60, 90), (480, 96, 64, 30), (2400, 480, 67, 30)])
    ids = PERFORMANCE.encode(notes.read_midi(midi([line])), style="piano")
    assert names(PERFORMANCE, ids) == [
        "BOS_None", "Style_piano", "Key_none", "Velocity_23", "NoteOn_60", "TimeShift_50", "NoteOff_60", "NoteOn_60", "Velocity_8",
        "NoteOn_64", "TimeShift_10", "NoteOff_64", "TimeShift_40", "NoteOff_60", "TimeShift_100", "TimeShift_50", "NoteOn_67",
        "TimeShift_50", "NoteOff_67", "EOS_None",
    ]  # fmt: skip


def test_performances_come_back_to_10_ms():
    rng = np.random.default_rng(3)
    score = symusic.Score(100)
    line = symusic.Track(program=0)
    begin = {pitch: 0 for pitch in range(40, 80)}
    for _ in range(300):
        pitch = int(rng.integers(40, 80))
        start = begin[pitch] + int(rng.integers(0, 600))
        length = int(rng.integers(1, 500))
        begin[pitch] = start + length
        line.notes.append(symusic.Note(2 * start, 2 * length, pitch, 4 * int(rng.integers(1, 33)) - 2))
    score.tracks.append(line)
    back = PERFORMANCE.decode(PERFORMANCE.encode(score))
    assert seconds(back) == seconds(score)


def test_a_performer_s_pedal_prolongs_notes():
    pedal = [(0, b"\xb0\x40\x7f"), (960, b"\xb0\x40\x00")]
    data = midi([track([*pedal, (0, b"\x90\x3c\x5a"), (240, b"\x80\x3c\x00"), (480, b"\x90\x3c\x5a"), (600, b"\x80\x3c\x00")])])
    score = notes.read_midi(data)
    assert [note[:3] for note in seconds(PERFORMANCE.decode(PERFORMANCE.encode(score)))] == [(0, 50, 60), (50, 50, 60)]
    assert any("1 uses of the sustain pedal" in sentence for sentence in PERFORMANCE.lost(score))


def test_a_performance_is_cut_at_2_s_with_nothing_hanging():
    score = notes.read_midi(band(qpm=120, beats=32))
    ids = PERFORMANCE.encode(score)
    assert len(PERFORMANCE.bars(ids)) == 8
    cut = PERFORMANCE.cut(ids, 2, 4)
    inside = [(start - 400, length, *rest) for start, length, *rest in seconds(PERFORMANCE.decode(ids)) if 400 <= start < 800]
    found = seconds(PERFORMANCE.decode(cut))
    assert [note[0] for note in found] == [note[0] for note in inside] and [note[2:] for note in found] == [note[2:] for note in inside]
    assert np.array_equal(PERFORMANCE.cut(ids, 0, 8), ids)
    down = set()
    for name in names(PERFORMANCE, cut):
        kind, _, value = name.partition("_")
        down |= {value} if kind == "NoteOn" else set()
        assert kind != "NoteOff" or value in down


def test_performances_say_what_they_lose():
    sentences = " ".join(PERFORMANCE.lost(notes.read_midi(band())))
    assert "10 ms" in sentences and "drum notes are left out" in sentences and "2 tracks become one piano" in sentences
    with pytest.raises(InputError, match="other than drums"):
        PERFORMANCE.encode(notes.read_midi(midi([part(9, 0, [(0, 60, 36, 90)])])))


def test_transposition_takes_releases_along():
    ids = PERFORMANCE.encode(notes.read_midi(band(beats=8)))
    moved = seconds(PERFORMANCE.decode(PERFORMANCE.transpose(ids, 3)))
    assert moved == sorted((s, d, p + 3, v) for s, d, p, v in seconds(PERFORMANCE.decode(ids)))
    assert np.array_equal(PERFORMANCE.retempo(ids, 3), ids)


STEPS = np.array([[72, 67, 64, 48]] * 4 + [[74, 67, 65, -1]] * 2 + [[74, 69, 65, 50]] * 2)


def test_chorales_are_four_tokens_a_step():
    ids = CHORALE.encode_steps(STEPS, key=0)
    assert names(CHORALE, ids)[:8] == ["BOS_None", "Style_chorale", "Key_0", "Pitch_72", "Pitch_67", "Pitch_64", "Pitch_48", "Pitch_72"]
    assert len(ids) == HEADER + 4 * 8 + 1 and "Rest_None" in names(CHORALE, ids)
    assert np.array_equal(CHORALE.decode_steps(ids), STEPS)
    assert np.array_equal(CHORALE.decode_steps(ids[:-3])[-1], [74, 69, -1, -1])


def test_chorales_are_scores_of_four_voices():
    score = CHORALE.decode(CHORALE.encode_steps(STEPS))
    assert [len(line.notes) for line in score.tracks] == [2, 2, 2, 2] and score.tracks[0].notes[1].duration == 48
    assert np.array_equal(CHORALE.decode_steps(CHORALE.encode(score)), STEPS)
    # In one track the voices are told by their height.
    merged = symusic.Score(48)
    line = symusic.Track(program=0)
    line.notes.extend([note for track_ in score.tracks for note in track_.notes])
    merged.tracks.append(line)
    top_down = -np.sort(-STEPS, axis=1)
    assert np.array_equal(CHORALE.decode_steps(CHORALE.encode(merged)), top_down)
    assert len(CHORALE.bars(CHORALE.encode(score, bars=3))) == 3 and "sixteenths" in CHORALE.lost(score)[0]


def test_chorales_refuse_what_is_none():
    with pytest.raises(InputError, match="36-81, found 30-90"):
        CHORALE.encode_steps(np.array([[90, 60, 55, 30]]))
    with pytest.raises(InputError, match="four voices"):
        CHORALE.encode_steps(np.zeros((3, 5), int))
    five = symusic.Score(48)
    line = symusic.Track(program=0)
    line.notes.extend([symusic.Note(0, 48, pitch, 80) for pitch in (50, 55, 60, 65, 70)])
    five.tracks.append(line)
    with pytest.raises(InputError, match="at most four notes at a time, found 5"):
        CHORALE.encode(five)
    with pytest.raises(InputError, match="other than drums"):
        CHORALE.encode(symusic.Score(48))


def test_chorales_transpose_within_their_range():
    ids = CHORALE.encode_steps(STEPS)
    assert np.array_equal(CHORALE.decode_steps(CHORALE.transpose(ids, 5)), np.where(STEPS < 0, -1, STEPS + 5))
    assert CHORALE.decode_steps(CHORALE.transpose(ids, 12)).max() <= 81


def test_real_chorales_and_performances_come_back(shared_data):
    with zipfile.ZipFile(shared_data / "midi" / "jsb.zip") as archive:
        member = next(name for name in archive.namelist() if name.endswith("jsb_satb_16th.json"))
        chorales = json.loads(archive.read(member))
    for split in chorales.values():
        for steps in split[::20]:
            assert np.array_equal(CHORALE.decode_steps(CHORALE.encode_steps(np.array(steps))), np.array(steps))
    archive = shared_data / "midi" / "maestro.zip"
    with zipfile.ZipFile(archive) as opened:
        pieces = [info for info in opened.infolist() if info.filename.endswith((".mid", ".midi"))]
        name = min(pieces, key=lambda info: info.file_size).filename
    score = notes.read_member(archive, name)
    ids = PERFORMANCE.encode(score)
    back = PERFORMANCE.decode(ids)
    assert back.note_num() > 0.98 * score.note_num()
    assert np.array_equal(PERFORMANCE.encode(back), ids)
    struck = [{note[0::2] for note in seconds(piece)} for piece in (score, back)]
    assert all({(start - 1, pitch), (start, pitch), (start + 1, pitch)} & struck[0] for start, pitch in {n[:2] for n in struck[1]})
