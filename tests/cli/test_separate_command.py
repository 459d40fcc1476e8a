"""The command `songfoundry separate` as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import known_models
import numpy as np
import pytest
import soundfile
from commands import files, run_command
from known_models import song

import songfoundry
from songfoundry import cli
from songfoundry.audio import io

PROGRAM = [sys.executable, "-m", "songfoundry"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(known_models.save(tmp_path_factory.mktemp("weights") / "shares.safetensors", known_models.system()))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a song."""
    monkeypatch.chdir(tmp_path)
    io.write(tmp_path / "söng 🎵.wav", song(1.2), 44100)
    return tmp_path


def run(*arguments, weights=None):
    """Run the command in this process, as `main` does."""
    arguments = [*arguments, *(("--model", weights) if weights else ())]
    return run_command("separate", *arguments)


def test_a_song_becomes_four_files(folder, weights):
    code, out, err = run("söng 🎵.wav", weights=weights)
    assert code == 0
    assert out.splitlines() == [f"separated/söng 🎵/{stem}.wav" for stem in known_models.STEMS]
    assert re.search(r"söng 🎵.wav: 1.2 s in .* times real time\) with shares on cpu, \d+ thread", err)
    assert files(folder / "separated") == [f"söng 🎵/{stem}.wav" for stem in sorted(known_models.STEMS)]


def test_the_report_as_json_and_progress_as_json(folder, weights):
    code, out, err = run("söng 🎵.wav", "--json", "--progress", "json", "--exact-sum", "--out", "o", weights=weights)
    (row,) = json.loads(out)
    assert code == 0 and row["source"] == "söng 🎵.wav" and set(row["paths"]) == set(known_models.STEMS)
    assert row["seconds"] == 1.2 and row["exact_sum_cost_db"] < -60 and row["realtime_factor"] > 0
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert [line["fraction"] for line in lines] == sorted(line["fraction"] for line in lines) and lines[-1]["fraction"] == 1
    assert lines[-1] == {"file": "söng 🎵.wav", "fraction": 1.0, "number": 1, "count": 1}


def test_every_option_is_taken(folder, weights):
    code, out, _ = run(
        "söng 🎵.wav", "--model", f"{weights}+{weights}", "--out", "o", "--name-template", "{model}/{track}-{stem}.{ext}",
        "--format", "flac", "--depth", "int24", "--two-stems", "vocals", "--start", "0.2", "--duration", "0.5", "--threads", "1",
        "--device", "cpu", "--precision", "float32", "--overlap", "0.5", "--chunk-seconds", "0.4", "--shifts", "1",
        "--clip-mode", "clamp", "--progress", "none", "--jobs", "1", "--recursive", "--skip-existing", "--repair",
    )  # fmt: skip
    assert code == 0 and out.splitlines() == [f"o/shares+shares/söng 🎵-{name}.flac" for name in ("vocals", "accompaniment")]
    clip = io.read(out.splitlines()[0])
    assert np.abs(clip.samples - 0.4 * io.read("söng 🎵.wav", start=0.2, duration=0.5).samples).max() < 2e-6
    code, _, err = run(
        "söng 🎵.wav", "--model", f"{weights}+{weights}", "--out", "o", "--name-template", "{model}/{track}-{stem}.{ext}",
        "--format", "flac", "--two-stems", "vocals", "--start", "0.2", "--duration", "0.5", "--skip-existing",
    )  # fmt: skip
    assert code == 0 and "skipped" in err
    less = ("--minus", "bass", "--format", "mp3", "--bitrate", "96", "--preview", "0.5")
    code, out, _ = run("söng 🎵.wav", *less, weights=weights)
    assert code == 0 and out == "separated/söng 🎵/no_bass.mp3\n"
    code, out, _ = run("söng 🎵.wav", "--stems", "bass", "--out", "bass.opus", weights=weights)
    assert code == 0 and out == "bass.opus\n"


def test_exit_codes_of_a_batch(folder, weights):
    (folder / "bad.mp3").write_text("no music")
    code, out, err = run(".", "--stems", "bass", weights=weights)
    assert code == 1 and "no decoder knows" in err and "1 of 2 songs failed" in err and "bass.wav" in out
    code, _, err = run("bad.mp3", weights=weights)
    assert code == 2 and len(err.strip().splitlines()) == 1
    code, _, err = run("bad.mp3", "gone.mp3", weights=weights)
    assert code == 2 and "2 of 2 songs failed" in err
    assert files(folder / "separated") == ["söng 🎵/bass.wav"]


def test_progress_as_json_names_the_song_that_failed(folder, weights):
    (folder / "bad.mp3").write_text("no music")
    code, _, err = run("bad.mp3", "söng 🎵.wav", "--stems", "bass", "--progress", "json", weights=weights)
    rows = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert code == 1 and list(rows[0]) == ["file", "number", "count", "error"]
    assert (rows[0]["file"], rows[0]["number"], rows[0]["count"]) == ("bad.mp3", 1, 2) and "no decoder knows" in rows[0]["error"]
    assert rows[-1] == {"file": "söng 🎵.wav", "fraction": 1.0, "number": 2, "count": 2}
    assert not any("error" in row for row in rows[1:])
    # a song that is there already is told as done
    code, _, err = run("söng 🎵.wav", "--stems", "bass", "--progress", "json", "--skip-existing", weights=weights)
    assert code == 0 and "skipped" in err and json.loads(err.splitlines()[0]) == {**rows[-1], "number": 1, "count": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--progress", "dots"), "bar, json or none"), (("--model", "nothing"), "name of a model, found 'nothing'"),
        (("--stems", "vokals"), "did you mean 'vocals'"), (("--overlap", "1"), "overlap"),
        (("--out", "x.wav"), "a folder for 4 stems"), (("--exact-sum", "--format", "mp3"), "int24 or float32"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_sentence(folder, weights, arguments, words):
    code, out, err = run("söng 🎵.wav", *arguments, weights=None if "--model" in arguments else weights)
    assert code == 2 and words in err and out == "" and len(err.strip().splitlines()) == 1
    assert files(folder) == ["söng 🎵.wav"]


def test_unknown_options_and_no_arguments_are_usage_errors(folder):
    assert run("--no-such-option")[0] == 2
    assert run()[0] == 2
    assert run("x.wav", "--threads", "many")[0] == 2


def test_standard_input_to_standard_output(folder, weights):
    """Sound in, sound out, through pipes, and nothing else on standard output."""
    with open("söng 🎵.wav", "rb") as song_file:
        command = [*PROGRAM, "separate", "-", "--stems", "vocals", "--out", "-", "--model", weights, "--depth", "int24"]
        done = subprocess.run(command, stdin=song_file, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder / "out.wav").write_bytes(done.stdout)
    got, rate = soundfile.read("out.wav", always_2d=True)
    assert rate == 44100 and np.abs(got.T - 0.4 * io.read("söng 🎵.wav").samples).max() < 2e-6
    assert b"real time" in done.stderr


def test_a_sentence_and_exit_code_2_from_the_program(folder, weights):
    done = subprocess.run([*PROGRAM, "separate", "gone.mp3", "--model", weights], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    reason = "found that it cannot be opened (No such file or directory); check the path"
    assert done.stderr.strip() == f"expected an audio file at 'gone.mp3', {reason}"


@pytest.mark.parametrize(
    ("number", "code", "jobs"),
    [
        (signal.SIGINT, 130, 1), pytest.param(signal.SIGTERM, 143, 1, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, 130, 2, marks=pytest.mark.long), pytest.param(signal.SIGTERM, 143, 2, marks=pytest.mark.long),
    ],
)  # fmt: skip
def test_a_signal_leaves_no_partial_files(folder, weights, number, code, jobs):
    io.write(folder / "long.wav", np.zeros((2, 44100 * 240), np.float32), 44100)
    io.write(folder / "more.wav", np.zeros((2, 44100 * 240), np.float32), 44100)
    before = files(folder)
    songs = ["long.wav"] if jobs == 1 else ["long.wav", "more.wav"]
    options = ["--model", weights, "--chunk-seconds", "0.1", "--jobs", str(jobs), "--threads", "1"]
    process = subprocess.Popen(
        [*PROGRAM, "separate", *songs, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while len(files(folder)) < len(before) + 4 * jobs and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    assert len(files(folder)) == len(before) + 4 * jobs  # at work
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code and out == "" and err.strip() == "stopped: no unfinished file was left"
    assert sorted(p.name for p in folder.rglob("*")) == sorted(before)


def test_help_is_fast_and_complete():
    before = os.times()
    done = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, timeout=60)
    after = os.times()
    assert done.returncode == 0 and all(name in done.stdout for name, _ in cli.COMMANDS)
    # processor time: on a busy machine the wall's clock says little
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5
    text = subprocess.run([*PROGRAM, "separate", "--help"], capture_output=True, text=True, timeout=60).stdout
    for option in (
        "model", "out", "format", "depth", "bitrate", "stems", "two-stems", "minus", "start", "duration", "preview", "recursive",
        "skip-existing", "jobs", "threads", "device", "overlap", "chunk-seconds", "shifts", "exact-sum", "clip-mode", "progress",
    ):  # fmt: skip
        assert f"--{option}" in text
    version = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, timeout=60)
    assert version.stdout.strip() == f"songfoundry {songfoundry.__version__}"
