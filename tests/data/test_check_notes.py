"""Plant what may be wrong with notes, and let `songfoundry data check` find it."""

import json

import numpy as np
import pytest
import soundfile
from note_files import RATE, sine, write_index, write_note, write_nsynth
from typer.testing import CliRunner

from songfoundry.cli import app
from songfoundry.data.check_notes import KINDS, check_notes
from songfoundry.data.note_sets import find_notes
from songfoundry.metrics.pitch import median_cents


def findings(folder) -> set[tuple[str, str]]:
    return {(found.song, found.kind) for found in check_notes(find_notes(folder)[1], median_cents)}


def test_each_kind_of_trouble_is_found_and_nothing_else(tmp_path):
    for pitch in (40, 60, 80):
        write_note(tmp_path / f"flute_{pitch}.wav", pitch)
    assert findings(tmp_path) == set()
    write_note(tmp_path / "flute_62.wav", 61.2)
    write_note(tmp_path / "flute_64.wav", 64, seconds=0.05)
    soundfile.write(tmp_path / "flute_65.wav", np.clip(4 * sine(65), -1, 1), RATE, subtype="FLOAT")
    write_note(tmp_path / "flute_66.wav", 66)
    (tmp_path / "oboe_66.wav").write_bytes((tmp_path / "flute_66.wav").read_bytes())
    soundfile.write(tmp_path / "flute_67.wav", np.zeros(9000), RATE)
    (tmp_path / "flute_68.wav").write_bytes(b"no sound")
    found = findings(tmp_path)
    assert found == {
        ("flute_62", "off pitch"), ("flute_64", "short"), ("flute_65", "clipped"), ("oboe_66", "duplicate"), ("flute_67", "unreadable"),
        ("flute_68", "unreadable"),
    }  # fmt: skip
    assert {kind for _, kind in found} == set(KINDS)


def test_an_index_is_checked_note_by_note(tmp_path):
    folder = write_index(tmp_path, [{"instrument": "flute", "pitch": pitch} for pitch in (50, 60, 70)])
    rows = json.loads((folder / "index.json").read_text())
    rows[1]["pitch"] = 72
    rows[2]["start_sample"] = 10**6
    (folder / "index.json").write_text(json.dumps(rows))
    assert findings(folder) == {("made/flute/72/1", "off pitch"), ("made/flute/70/2", "unreadable")}


@pytest.mark.parametrize("write", [write_nsynth, lambda place, pitches: [write_note(place / f"{p}.wav", p) for p in pitches]])
def test_the_command_knows_notes_from_songs(tmp_path, write):
    write(tmp_path / "here", [60, 62])
    said = CliRunner().invoke(app, ["data", "check", str(tmp_path / "here")])
    assert said.exit_code == 0 and said.stdout == "2 notes, 0 findings\n"
    first = next((tmp_path / "here").rglob("*60*.wav"))
    soundfile.write(first, sine(66), RATE)
    said = CliRunner().invoke(app, ["data", "check", str(tmp_path / "here"), "--json"])
    (found,) = json.loads(said.stdout)
    assert said.exit_code == 1 and found["kind"] == "off pitch" and "found +600 cents" in found["sentence"]
