"""Look at data and render bands from the command line."""

import json

import numpy as np
import pytest
import soundfile
from midi_bytes import band
from tiny_training import RATE, write_song
from typer.testing import CliRunner

from songfoundry.cli import app
from songfoundry.cli import data as module
from songfoundry.data.synthetic import write_songs
from songfoundry.errors import DatasetError, InputError


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_check_says_what_is_wrong_and_by_its_exit_code_that_something_is(tmp_path):
    place = write_song(tmp_path / "songs", "a song")
    good = run("check", tmp_path / "songs")
    assert good.exit_code == 0 and "1 songs, 0 findings" in good.stdout
    soundfile.write(place / "bass.wav", np.zeros((2 * RATE, 2)), RATE)
    # The mixture lacks half of its level, so that the difference is as loud as it is.
    mixture = sum(soundfile.read(file)[0] for file in place.iterdir())
    soundfile.write(place / "mixture.wav", 0.5 * mixture, RATE, subtype="FLOAT")
    bad = run("check", tmp_path / "songs")
    assert bad.exit_code == 1 and "2 findings" in bad.stdout and "found a difference of 0.0 dB" in bad.stdout
    findings = json.loads(run("check", tmp_path / "songs", "--json").stdout)
    assert {(finding["stem"], finding["kind"]) for finding in findings} == {("bass", "silent"), ("mixture", "bad sum")}


def test_list_names_songs_splits_licences_and_stems(tmp_path):
    write_song(tmp_path / "test", "a", ("vocals", "drums"))
    said = run("list", tmp_path)
    assert said.exit_code == 0 and said.stdout == "test/a  [test; not stated]  vocals, drums\n"


def test_bands_are_rendered_with_the_systems_soundfont(tmp_path, soundfont):
    pytest.importorskip("symusic")
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "one.mid").write_bytes(band(qpm=120, beats=20))
    (tmp_path / "midi" / "bad.mid").write_bytes(b"no midi")
    made = run("bands", tmp_path / "midi", "--out", tmp_path / "out", "--seconds", 8)
    assert made.exit_code == 0, made.output
    assert "1 songs are in" in made.stdout and "1 were left out" in made.stdout and "left out: bad.mid" in made.stderr
    (song,) = json.loads((tmp_path / "out" / "index.json").read_text())["songs"]
    assert set(song["stems"]) == {"drums", "bass", "other"}
    listed = run("list", tmp_path / "out")
    assert listed.exit_code == 0 and "drums, bass, other" in listed.stdout


def test_no_songs_at_all_is_a_sentence_of_its_own(tmp_path):
    made = run("made", "--out", tmp_path / "mm", "--count", 0)
    assert made.exit_code != 0 and not (tmp_path / "mm").exists()
    with pytest.raises(InputError, match="expected 1 song or more to make, found 0"):
        write_songs(tmp_path / "mm", 0)


def test_without_a_soundfont_it_says_where_one_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module.Path, "glob", lambda self, pattern: iter(()))
    with pytest.raises(DatasetError, match="Debian: fluid-soundfont-gm"):
        module._system_soundfont()
