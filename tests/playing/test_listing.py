"""Events stand beside the tokens that were made of them."""

import pytest
from midi_bytes import midi, part, tempo, track

from songfoundry import notes
from songfoundry.errors import InputError
from songfoundry.playing import listing

pytest.importorskip("symusic")
pytest.importorskip("miditok")

METRE = (0, b"\xff\x58\x04\x03\x02\x18\x08")


def test_every_note_has_its_tokens_and_every_bar_its_metre():
    tune = [(0, 480, 60, 90), (480, 240, 64, 80), (1440, 1440, 67, 100)]
    data = midi([track([METRE, tempo(0, 90)]), part(0, 40, tune), part(9, 0, [(0, 60, 36, 99)])])
    rows, lost = listing.beside_tokens(notes.read_midi(data))
    sounding = [(row.bar, row.event, row.tokens) for row in rows if "Velocity" in row.tokens]
    pitches = [(bar, tokens.split("Pitch")[1].split(" ")[0]) for bar, _, tokens in sounding]
    assert pitches == [(1, "_60"), (1, "Drum_36"), (1, "_64"), (2, "_67")]
    for event, words in zip((e for _, e, _ in sounding), ("C4 for 1, velocity 90", "drum 36", "E4 for 0.5", "G4 for 3"), strict=True):
        assert words in event
    assert "2.000 s" in sounding[-1][1] and "quarter    3.000" in sounding[-1][1]
    assert [row.event for row in rows if "TimeSig" in row.tokens] == ["bar 1 in 3/4", "bar 2 in 3/4"]
    assert any("tempo 90" in row.event and "Tempo_" in row.tokens for row in rows)
    assert rows[0].tokens.startswith("BOS_None") and rows[-1].tokens == "EOS_None"
    assert any("90 quarters" in sentence for sentence in lost)


def test_a_note_that_tokens_do_not_hold_stands_alone():
    twice = [(0, 480, 60, 90), (480, 480, 62, 90)]
    rows, _ = listing.beside_tokens(notes.read_midi(midi([part(0, 0, twice), part(1, 0, [(0, 240, 60, 50)])])))
    alone = [row.event for row in rows if row.event and not row.tokens]
    assert len(alone) == 1 and "C4" in alone[0]
    assert sum("Velocity" in row.tokens and row.event != "" for row in rows) == 2
    assert any("no tempo is told" in row.event for row in rows)


def test_what_cannot_be_listed_is_one_sentence():
    with pytest.raises(InputError):
        listing.beside_tokens(notes.read_midi(midi([track([tempo(0, 90)])])))
    fast = midi([track([tempo(0, 3000)]), part(0, 0, [(0, 1, 60, 90), (1_000_000, 1, 60, 90)])], division=1)
    with pytest.raises(InputError):
        listing.beside_tokens(notes.read_midi(fast))


def test_the_prompts_match_note_for_note(shared_data):
    for path in sorted((shared_data / "midi" / "prompts").glob("*.mid"))[::3]:
        score = notes.read_midi(path)
        rows, _ = listing.beside_tokens(score)
        with_tokens = [row for row in rows if "Velocity" in row.tokens]
        assert all(row.event for row in with_tokens), path.name
        alone = sum(bool(row.event) and not row.tokens for row in rows)
        assert len(with_tokens) + alone == sum(len(t.notes) for t in score.tracks)
