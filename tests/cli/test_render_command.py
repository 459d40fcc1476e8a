"""The command `songfoundry render` as a user runs it."""

import json
import re
import subprocess
import sys

import pytest
import soundfile
from commands import files, run_command
from midi_bytes import band, midi, part, tempo, track

from songfoundry.audio import io
from songfoundry.errors import OutputError
from songfoundry.playing import rendering

pytest.importorskip("symusic")
pytest.importorskip("pyloudnorm")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a piece."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jöy 🎵.mid").write_bytes(band(beats=4))
    return tmp_path


def run(*arguments):
    """Run the command in this process, as `main` does."""
    return run_command("render", *arguments)


def test_a_piece_becomes_a_wav(folder):
    code, out, err = run("jöy 🎵.mid", "--rate", "22050")
    assert code == 0 and out == "jöy 🎵.wav\n"
    assert re.search(r"jöy 🎵.mid: 4\.5 s in .* times real time\), -1\d\.\d LUFS, true peak -\d+\.\d dBTP, played by builtin", err)
    assert files(folder) == ["jöy 🎵.mid", "jöy 🎵.wav"] and io.probe("jöy 🎵.wav").rate == 22050


def test_every_option_is_taken(folder):
    code, out, err = run("jöy 🎵.mid", "--out", "o.flac", "--format", "flac", "--depth", "int24", "--rate", "22050", "--loudness", "-23",
                         "--soundfont", "builtin", "--picture", "--json", "--progress", "json")  # fmt: skip
    row = json.loads(out)
    assert code == 0 and row["path"] == "o.flac" and abs(row["lufs"] + 23) < 0.2 and row["others"] == ["o.png"]
    shares = [json.loads(line)["fraction"] for line in err.splitlines() if line.startswith("{")]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert soundfile.info("o.flac").subtype == "PCM_24" and files(folder) == ["jöy 🎵.mid", "o.flac", "o.png"]
    assert run("jöy 🎵.mid", "--format", "mp3", "--bitrate", "96", "--rate", "22050")[1] == "jöy 🎵.mp3\n"


def test_tokens_are_shown_beside_events(folder):
    pytest.importorskip("miditok")
    code, out, err = run("jöy 🎵.mid", "--show-tokens", "--rate", "8000")
    lines = out.splitlines()
    assert code == 0 and lines[-1] == "jöy 🎵.wav" and "Velocity_" in out and "BOS_None" in lines[0]
    assert sum(" velocity " in line and "Pitch" in line for line in lines) == 4 + 2 + 8 + 8 + 3
    assert "Tempi are told in levels" in err or "rounded" in err


def test_the_report_is_json_beside_shown_tokens(folder):
    pytest.importorskip("miditok")
    code, out, err = run("jöy 🎵.mid", "--show-tokens", "--rate", "8000", "--json")
    assert code == 0 and json.loads(out)["path"] == "jöy 🎵.wav" and "Velocity_" in err


def test_nothing_is_left_where_a_score_or_picture_cannot_be_written(folder, monkeypatch):
    pytest.importorskip("verovio")
    (folder / "a-score").write_bytes(b"mine")
    (folder / "b.png").mkdir()
    before = files(folder)
    for name, wish in (("a.wav", "--score"), ("b.wav", "--picture")):
        code, out, err = run("jöy 🎵.mid", "--rate", "8000", "--out", name, wish)
        assert (code, out) == (2, "") and err.startswith("expected to write '") and files(folder) == before
    # And where only the disk says so in the end.
    real = io.write_atomic_bytes

    def full(path, data):
        if str(path).endswith(".png"):
            raise OutputError("expected to write it, but the disk is full; free some space")
        real(path, data)

    monkeypatch.setattr(io, "write_atomic_bytes", full)
    assert run("jöy 🎵.mid", "--rate", "8000", "--out", "c.wav", "--picture")[0] == 2 and files(folder) == before


def test_a_score_comes_along(folder):
    pytest.importorskip("music21")
    pytest.importorskip("verovio")
    code, out, _ = run("jöy 🎵.mid", "--score", "--rate", "8000")
    assert code == 0 and out.splitlines() == ["jöy 🎵.wav", "jöy 🎵-score"]
    assert "jöy 🎵-score/score.musicxml" in files(folder) and "jöy 🎵-score/page-01.svg" in files(folder)


def test_sound_to_standard_output_is_nothing_but_sound(folder):
    command = [sys.executable, "-m", "songfoundry", "render", "jöy 🎵.mid", "--out", "-", "--rate", "8000", "--show-tokens"]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder / "out.wav").write_bytes(done.stdout)
    clip = io.read("out.wav")
    assert clip.rate == 8000 and abs(clip.seconds - 4.46) < 0.01 and b"times real time" in done.stderr


BAD = {
    "missing": (b"", ("gone.mid",), "gone.mid"),
    "no midi": (b"Dear diary", (), "standard MIDI file"),
    "cut short": (band(beats=4)[:-9], (), "whole tracks"),
    "empty": (b"", (), "standard MIDI file"),
    "no notes": (midi([track([tempo(0, 120)])]), (), "notes"),
    "three hours": (midi([part(0, 0, [(0, 480, 60, 90), (480 * 21600, 480, 60, 90)])]), (), "at most 60 minutes"),
    "SoundFont": (band(beats=4), ("--soundfont", "none.sf2"), "none.sf2"),
    "suffix": (band(beats=4), ("--out", "o.xyz"), "ends in .wav"),
    "format": (band(beats=4), ("--format", "xyz"), "wav, flac"),
    "folder": (band(beats=4), ("--out", "none/o.wav"), "none/o.wav"),
    "rate": (band(beats=4), ("--rate", "7"), "8000 to 192000"),
    "loudness": (band(beats=4), ("--loudness", "0"), "LUFS"),
    "progress": (band(beats=4), ("--progress", "dots"), "bar, json or none"),
    "itself": (band(beats=4), ("--out", "bad.mid", "--format", "wav"), "both places"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, options, words = BAD[name]
    (tmp_path / "bad.mid").write_bytes(data)
    code, out, err = run(*(("gone.mid",) if name == "missing" else ("bad.mid", *options)), "--picture")
    assert code == 2 and words in err and out == "" and len(err.strip().splitlines()) == 1
    assert files(tmp_path) == ["bad.mid"] and (tmp_path / "bad.mid").read_bytes() == data


def test_the_sentence_and_exit_code_2_from_the_program(tmp_path):
    (tmp_path / "bad.mid").write_bytes(b"no music")
    done = subprocess.run([sys.executable, "-m", "songfoundry", "render", str(tmp_path / "bad.mid")], capture_output=True, text=True,
                          timeout=120, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.mid"]


def test_stopping_leaves_no_file(folder, monkeypatch):
    import os
    import signal

    real = rendering.Orchestra.perform

    def perform(self, pieces, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return real(self, pieces, **options)

    monkeypatch.setattr(rendering.Orchestra, "perform", perform)
    code, out, err = run("jöy 🎵.mid", "--rate", "8000")
    assert code == 130 and out == "" and "no unfinished file" in err and files(folder) == ["jöy 🎵.mid"]
