"""The commands `songfoundry note` and `songfoundry render --timbre generated` as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import files, run_command
from midi_bytes import band, midi, tempo, track
from tone_notes import save_model, tone

from songfoundry.audio import io

pytest.importorskip("symusic")
pytest.importorskip("pyloudnorm")
pytest.importorskip("matplotlib")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a model, a piece and a recording."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "m.safetensors")
    (tmp_path / "song.mid").write_bytes(band(beats=4))
    soundfile.write("note.wav", 0.3 * tone("bright", 64, samples=4096), 16000)
    return tmp_path


def run(*arguments):
    """Run the command in this process with the tiny model."""
    return run_command("note", "--model", "m.safetensors", "--device", "cpu", "--threads", 1, *arguments)


def test_notes_become_files_and_a_sheet_and_their_pitch_is_told(folder):
    options = ("--instrument", "hollow", "--seed", 3, "--duration", 0.2, "--velocity", 90)
    code, out, err = run("--pitch", "C4..D4", "--count", 2, *options, "--out", "o")
    names = [f"o/hollow-{name}-{number}.wav" for number in (1, 2) for name in ("C4", "Cs4", "D4")]
    assert code == 0 and out.splitlines() == [*names, "o/notes.png"]
    assert err.count(" number ") == 6 and "hollow C#4 number 2: " in err and "6 notes in " in err and "within 20 cents" in err
    assert all(soundfile.info(name).duration == pytest.approx(0.2, abs=1e-3) and soundfile.info(name).samplerate == 16000 for name in names)
    first = Path(names[0]).read_bytes()
    assert run("--pitch", "60", *options, "--no-picture")[0] == 0
    assert Path("notes/hollow-C4.wav").read_bytes() == first, "the same by seed, whatever else was made"


def test_json_says_it_all(folder):
    code, out, _ = run("--pitch", "C4,D6", "--format", "flac", "--json", "--progress", "json")
    row = json.loads(out)
    assert code == 0 and row["picture"] == "notes/notes.png" and row["model"] == "m"
    assert [note["pitch"] for note in row["notes"]] == [60, 86]
    assert all(Path(note["path"]).suffix == ".flac" and note["instrument"] in ("bright", "hollow") for note in row["notes"])
    assert "was not trained" in row["said"][0] and isinstance(row["notes"][0]["cents"], float)


def test_timbres_are_kept_loaded_and_gone_between(folder):
    assert run("--seed", 1, "--save-timbre", "a.npz", "--instrument", "bright", "--no-picture")[1].splitlines()[-1] == "a.npz"
    assert run("--seed", 2, "--save-timbre", "b.npz", "--instrument", "hollow", "--no-picture", "--out", "b")[0] == 0
    code, out, _ = run("--load-timbre", "a.npz", "--no-picture", "--out", "again")
    assert code == 0 and Path("again/bright-C4.wav").read_bytes() == Path("notes/bright-C4.wav").read_bytes()
    code, out, err = run("--morph", "a.npz", "b.npz", "--steps", 5, "--out", "way")
    names = out.splitlines()
    assert code == 0 and len(names) == 6 and names[-1] == "way/notes.png" and names[2] == "way/bright+hollow-C4-3.wav"
    assert Path(names[0]).read_bytes() == Path("notes/bright-C4.wav").read_bytes()
    assert Path(names[4]).read_bytes() == Path("b/hollow-C4.wav").read_bytes()
    assert run("--seed", 1, "--count", 2, "--save-timbre", "c.npz", "--no-picture")[1].splitlines()[-2:] == ["c-1.npz", "c-2.npz"]


def test_a_recording_is_looked_for(folder):
    code, out, err = run("--like", "note.wav", "--save-timbre", "like.npz", "--out", "o")
    assert code == 0 and out.splitlines()[-1] == "like.npz" and "recording: pitch 64" in err and "dB after the search" in err
    assert files(folder / "o")[0].endswith("-E4.wav")


def test_what_has_no_pitch_is_taken_for_the_one_that_is_named(folder):
    soundfile.write("wind.wav", 0.3 * np.random.default_rng(0).standard_normal(8000), 16000)
    code, out, err = run("--like", "wind.wav")
    assert code == 2 and "name its one pitch with --pitch" in err and files(folder) == ["m.safetensors", "note.wav", "song.mid", "wind.wav"]
    assert run("--like", "wind.wav", "--pitch", "C4,E4")[0] == 2
    code, out, err = run("--like", "wind.wav", "--pitch", "C4", "--no-picture")
    assert code == 0 and out.strip().endswith("-C4.wav") and "wind.wav has no pitch that can be measured: taken for C4" in err
    # A pitch beside a recording that has its own is that of the note alone.
    code, out, err = run("--like", "note.wav", "--pitch", "C4", "--no-picture")
    assert code == 0 and "recording: pitch 64" in err and out.strip().endswith("-C4.wav")


@pytest.mark.parametrize("blocked", ["sv/t-2.npz", "o/t-2.npz"])
def test_one_timbre_that_cannot_be_saved_leaves_nothing_of_all(folder, blocked):
    (folder / blocked).mkdir(parents=True)
    before = files(folder)
    code, out, err = run("--count", "2", "--save-timbre", str(Path(blocked).parent / "t.npz"), "--out", "o", "--no-picture")
    assert code == 2 and out == "" and "t-2.npz" in err and "a folder has that name" in err and files(folder) == before


def test_a_folder_in_the_place_of_a_note_leaves_nothing_of_all(folder):
    (folder / "notes" / "hollow-D4.wav").mkdir(parents=True)
    before = files(folder)
    code, out, err = run("--pitch", "C4..E4", "--instrument", "hollow", "--no-picture", "--save-timbre", "t.npz")
    assert code == 2 and out == "" and "hollow-D4.wav" in err and files(folder) == before


def test_a_timbre_may_lie_beside_its_notes(folder):
    code, out, _ = run("--instrument", "hollow", "--count", 2, "--out", "new", "--save-timbre", "new/t.npz", "--no-picture")
    assert code == 0 and out.splitlines()[-2:] == ["new/t-1.npz", "new/t-2.npz"] and set(out.splitlines()) <= set(files(folder))
    assert run("--load-timbre", "new/t-2.npz", "--no-picture")[0] == 0
    assert Path("notes/hollow-C4.wav").read_bytes() == Path("new/hollow-C4-2.wav").read_bytes()


def test_a_name_that_cannot_be_saved_is_told_before_the_search(folder, monkeypatch):
    monkeypatch.setattr("songfoundry.timbre.verb.find_like", lambda *_, **__: pytest.fail("it was searched"))
    assert run("--like", "note.wav", "--save-timbre", "a.txt")[0] == 2


def test_a_piece_is_played(folder):
    options = ("--instrument-per-track", "hollow,bright", "--interpolate", "1.5", "--rate", 16000, "--seed", 2)
    code, out, err = run("--midi", "song.mid", *options)
    assert code == 0 and out == "notes/song.wav\n" and "LUFS" in err and "hollow -> " in err and "built-in orchestra" in err
    clip = io.read("notes/song.wav")
    assert clip.channels == 2 and clip.rate == 16000 and np.abs(clip.samples).max() > 0.1
    code, out, _ = run("--midi", "song.mid", "--out", "s.ogg", "--rate", 16000, "--json")
    row = json.loads(out)
    assert code == 0 and row["path"] == "s.ogg" and row["notes"] == 4 + 2 + 8 + 8 + 3 and Path("s.ogg").is_file()


def test_render_has_the_same_options(folder):
    options = ("--instrument-per-track", "hollow,bright", "--interpolate", "1.5", "--rate", 16000, "--seed", 2)
    code, _, err = run_command("render", "song.mid", "--timbre", "generated", "--model", "m.safetensors", *options)
    assert code == 0 and "hollow -> " in err and "as asked" in err
    assert run("--midi", "song.mid", *options)[0] == 0
    one, other = (io.read(name).samples for name in ("song.wav", "notes/song.wav"))
    assert np.corrcoef(one[0, :16000], other[0, :16000])[0, 1] > 0.99
    for option in ("--instrument-per-track", "--interpolate"):
        code, out, err = run_command("render", "song.mid", option, "1")
        assert code == 2 and f"--timbre generated beside {option}" in err and out == ""
    code, out, err = run_command("render", "song.mid", "--out", "q.wav", "--format", "mp3")
    assert code == 2 and "change one of them" in err and not Path("q.wav").exists()


def test_render_takes_generated_timbres(folder):
    code, out, err = run_command("render", "song.mid", "--timbre", "generated", "--model", "m.safetensors", "--rate", 16000)
    assert code == 0 and out == "song.wav\n" and "played by generated timbres of m" in err and "nearest to program 33" in err
    assert "Licence of the weights of m: test" in err
    for options, words in (
        (("--timbre", "other"), "builtin or generated"), (("--model", "m.safetensors"), "--timbre generated beside"),
        (("--timbre", "generated", "--soundfont", "auto"), "found both"),
    ):  # fmt: skip
        code, out, err = run_command("render", "song.mid", *options)
        assert code == 2 and words in err and out == ""


SILENT = midi([track([tempo(0, 120)])])
BAD = {
    "pitch 200": (("--pitch", "200"), "'200'"),
    "pitch H9": (("--pitch", "H9"), "'H9'"),
    "instrument": (("--instrument", "brigt"), "did you mean 'bright'"),
    "zero notes": (("--count", "0"), "1 to 4096"),
    "velocity": (("--velocity", "200"), "1 to 127"),
    "silence": (("--like", "silence.wav"), "silence.wav is silent"),
    "no recording": (("--like", "gone.wav"), "gone.wav"),
    "no notes": (("--midi", "silent.mid"), "found none"),
    "no piece": (("--midi", "gone.mid"), "gone.mid"),
    "track": (("--midi", "song.mid", "--instrument-per-track", "7=bright"), "'7'"),
    "no timbre": (("--load-timbre", "song.mid"), "expected a timbre"),
    "too much": (("--midi", "song.mid", "--like", "note.wav"), "leave all but one out"),
    "not with midi": (("--midi", "song.mid", "--pitch", "60"), "--pitch without --midi"),
    "midi alone": (("--interpolate", "6"), "--midi FILE.mid beside --interpolate"),
    "count": (("--load-timbre", "a.npz", "--count", "2"), "--count without --load-timbre"),
    "format": (("--format", "xyz"), "wav, flac"),
    "folder": (("--out", "song.mid/o"), "song.mid/o"),
    "progress": (("--progress", "dots"), "bar, json or none"),
    "no pitch": (("--pitch", ""), "expected a pitch"),
    "folder like a sound": (("--out", "a.wav"), "a folder for the notes, found 'a.wav'"),
    "format and name": (("--midi", "song.mid", "--out", "q.wav", "--format", "mp3"), "change one of them"),
    "not a file": (("--out", "-"), "expected a folder after --out"),
    "steps alone": (("--steps", "5"), "--morph A.npz B.npz beside --steps"),
    "loudness alone": (("--loudness", "-20"), "--midi FILE.mid beside --loudness"),
    "rate alone": (("--like", "note.wav", "--rate", "48000"), "--midi FILE.mid beside --rate"),
    "velocity of a piece": (("--midi", "song.mid", "--velocity", "3"), "--velocity without --midi"),
    "picture of a piece": (("--midi", "song.mid", "--no-picture"), "--picture without --midi"),
    "name of a timbre": (("--save-timbre", "a.txt"), "ends in .npz"),
    "folder of a timbre": (("--like", "note.wav", "--save-timbre", "gone/a.npz"), "gone/a.npz"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(name, folder):
    options, words = BAD[name]
    soundfile.write("silence.wav", np.zeros(8000), 16000)
    (folder / "silent.mid").write_bytes(SILENT)
    before = files(folder)
    code, out, err = run(*options)
    assert code == 2 and words in err and out == "" and len(err.strip().splitlines()) == 1
    assert files(folder) == before


def test_the_shipped_model_plays_scales_in_tune_as_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_command("note", "--pitch", "C4..B4", "--instrument", "cello", "--seed", "3", "--no-picture")
    assert code == 0 and "12 of 12 within 20 cents" in err and "Licence of the weights of note: CC BY-SA 3.0" in err
    assert len(out.splitlines()) == len(list((tmp_path / "notes").iterdir())) == 12


def test_stopping_leaves_no_file(folder, monkeypatch):
    import os
    import signal

    from songfoundry.timbre.generator import NoteGenerator

    real = NoteGenerator.waves

    def waves(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return real(self, *arguments)

    before = files(folder)
    monkeypatch.setattr(NoteGenerator, "waves", waves)
    for options in (("--pitch", "60"), ("--midi", "song.mid", "--rate", 8000)):
        code, out, err = run(*options)
        assert code == 130 and out == "" and "no unfinished file" in err and files(folder) == before
