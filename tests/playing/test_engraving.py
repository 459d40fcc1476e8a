"""Scores hold the notes of the piece, in full bars, and can be read by others."""

import re
import sys
import xml.etree.ElementTree as ET

import pytest
from midi_bytes import band, midi, part, tempo, track

from songfoundry import notes
from songfoundry.errors import InputError, MissingExtraError, OutputError
from songfoundry.playing import engraving

pytest.importorskip("symusic")
music21 = pytest.importorskip("music21")
pytest.importorskip("verovio")


def signature(tick, numerator, power):
    return tick, bytes([0xFF, 0x58, 4, numerator, power, 24, 8])


def read(text):
    """The pitched notes of MusicXML as music21 reads it: {(quarter, pitch): quarters}, ties joined."""
    found = {}
    for element in music21.converter.parseData(text, format="musicxml").stripTies().flatten().notes:
        for pitch in element.pitches if not isinstance(element, music21.note.Unpitched) else ():
            found[round(float(element.getOffsetInHierarchy(element.activeSite)), 3), pitch.midi] = float(element.quarterLength)
    return found


def bars_are_full(text, quarters):
    """Every voice of every bar of every part lasts a bar (in divisions), as a strict reader wants it."""
    for part_ in ET.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", text)).iter("part"):
        divisions = None
        for number, measure in enumerate(part_.iter("measure")):
            found = measure.find("attributes/divisions")
            divisions = int(found.text) if found is not None else divisions
            at = reach = 0
            for element in measure:
                length = int(element.findtext("duration") or 0)
                if element.tag == "backup":
                    at -= length
                elif element.tag == "forward" or (element.tag == "note" and element.find("chord") is None):
                    at += length
                reach = max(reach, at)
                assert at >= 0
            assert reach == quarters[number] * divisions, number
    return True


def test_every_pitch_that_midi_has_can_be_written():
    for sharps in (b"\x06\x00", b"\xfb\x00"):
        every = [(480 * n, 480, pitch, 90) for n, pitch in enumerate(range(128))]
        score = notes.read_midi(midi([track([tempo(0, 100), (0, b"\xff\x59\x02" + sharps)]), part(0, 73, every)]))
        assert [pitch for _, pitch in sorted(read(engraving.musicxml(score)))] == list(range(128))


def test_a_tune_with_triplets_and_ties_is_written_as_played():
    tune = [(0, 720, 60, 90), (720, 240, 62, 90), (960, 160, 64, 90), (1120, 160, 65, 90), (1280, 160, 67, 90), (1440, 960, 69, 90)]
    score = notes.read_midi(midi([track([tempo(0, 100)]), part(0, 73, tune)]))
    text = engraving.musicxml(score, title="A tune")
    got = read(text)
    assert set(got) == {(0.0, 60), (1.5, 62), (2.0, 64), (2.333, 65), (2.667, 67), (3.0, 69)}
    assert got[0.0, 60] == 1.5 and got[3.0, 69] == 2.0 and bars_are_full(text, [4, 4])
    assert "A tune" in text and text.count("<tuplet ") >= 2 and "Flute" in text or "Track" in text or "Program 73" in text


def test_metres_keys_and_tempi_are_written():
    notes_ = [(240 * e, 240, (69, 73, 76)[e % 3], 90) for e in range(24)]
    head = [signature(0, 6, 3), signature(2880, 3, 2), tempo(0, 150), (0, b"\xff\x59\x02\x03\x00")]
    text = engraving.musicxml(notes.read_midi(midi([track(head), part(0, 73, notes_)])))
    assert re.findall(r"<beats>(\d+)</beats>\s*<beat-type>(\d+)", text) == [("6", "8"), ("3", "4")]
    assert "<fifths>3</fifths>" in text and "<per-minute>150" in text and bars_are_full(text, [3, 3, 3, 3])
    assert len(read(text)) == 24 and "<alter>1</alter>" in text and "<accidental>" not in text


def test_the_key_is_found_and_the_leading_note_is_sharp():
    minor = [62, 64, 65, 67, 69, 70, 73, 74] * 2
    text = engraving.musicxml(notes.read_midi(midi([part(0, 40, [(480 * i, 480, p, 90) for i, p in enumerate(minor)])])))
    assert "<fifths>-1</fifths>" in text
    assert re.search(r"<step>C</step>\s*<alter>1</alter>", text) and not re.search(r"<step>D</step>\s*<alter>-1", text)


def test_two_hands_and_drums_have_their_staves():
    hands = [(480 * b, 480, p, 90) for b in range(8) for p in (43, 72, 76)]
    drums = [(480 * b, 60, p, 90) for b in range(8) for p in (36, 42)]
    text = engraving.musicxml(notes.read_midi(midi([part(0, 0, hands), part(9, 0, drums)])))
    assert text.count("<sign>G</sign>") == 1 and text.count("<sign>F</sign>") == 1 and "percussion" in text
    assert text.count("<unpitched>") == 16 and "<staves>2<" in text and "<notehead" in text
    assert len(read(text)) == 24 and bars_are_full(text, [4, 4])
    assert text.count("<type>quarter</type>") == 24 + 16  # a stroke a beat is a quarter note: no rests


def test_notes_that_cross_are_in_two_voices_and_a_third_one_cuts():
    crossing = [(0, 1920, 60, 90), (480, 480, 64, 90), (960, 480, 67, 90)]
    text = engraving.musicxml(notes.read_midi(midi([part(0, 73, crossing)])))
    assert "<voice>2</voice>" in text and read(text)[0.0, 60] == 4.0 and bars_are_full(text, [4])
    three = [(0, 1920, 60, 90), (480, 1440, 64, 90), (960, 960, 67, 90)]
    text = engraving.musicxml(notes.read_midi(midi([part(0, 73, three)])))
    assert set(read(text)) == {(0.0, 60), (1.0, 64), (2.0, 67)} and bars_are_full(text, [4])


def test_files_are_written_and_engraved(tmp_path):
    made = engraving.write(notes.read_midi(band(beats=16)), tmp_path / "new" / "piece", title="Ein Stück & mehr")
    assert [path.name for path in made] == ["score.musicxml", "page-01.svg"]
    page = ET.fromstring(made[1].read_text(encoding="utf-8"))
    marks = [element.get("class", "") for element in page.iter()]
    assert page.tag.endswith("svg") and sum(mark.startswith("note ") or mark == "note" for mark in marks) > 40
    assert sum(mark.startswith("measure") for mark in marks) == 4
    assert "Ein Stück &amp; mehr" in made[0].read_text(encoding="utf-8")


def test_long_pieces_have_pages(tmp_path):
    long = [(240 * e, 240, 60 + e % 12, 90) for e in range(8 * 60)]
    made = engraving.write(notes.read_midi(midi([part(c, 0, long) for c in range(6)])), tmp_path)
    assert len(made) > 3


def test_what_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="notes to write"):
        engraving.write(notes.read_midi(midi([track([tempo(0, 120)])])), tmp_path / "a")
    endless = notes.read_midi(midi([track([tempo(0, 3000)]), part(0, 0, [(0, 1, 60, 90), (1_000_000, 1, 60, 90)])], division=1))
    with pytest.raises(InputError, match="1,000 bars"):
        engraving.write(endless, tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="folder"):
        engraving.write(notes.read_midi(band(beats=4)), tmp_path / "file")
    for name in ("music21", "verovio"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(MissingExtraError, match=r"songfoundry\[score\]"):
                engraving.write(notes.read_midi(band(beats=4)), tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_prompts_become_scores(shared_data):
    truth = {"07_jig_6-8_major_fast": "6/8", "10_chorale_3-4_C_major": "3/4", "11_band_4-4_fast": "4/4"}
    for name, metre in truth.items():
        score = notes.read_midi(shared_data / "midi" / "prompts" / f"{name}.mid")
        text = engraving.musicxml(score)
        assert "/".join(re.search(r"<beats>(\d+)</beats>\s*<beat-type>(\d+)", text).groups()) == metre
        if not name.startswith("11"):
            length = {"6/8": 3, "3/4": 3}[metre]
            assert bars_are_full(text, [length] * 64)
            assert len(read(text)) > 0.9 * sum(len(t.notes) for t in score.tracks)
