"""The command `songfoundry compose` as a user runs it, with a net of random weights."""

import json
import os
import signal
import struct
import subprocess
import sys
import time

import midi_bytes
import numpy as np
import pytest
import soundfile
import tiny_music
from commands import files, run_command

import songfoundry
from songfoundry import notes
from songfoundry.audio.loudness import integrated, true_peak
from songfoundry.composing import verb as composing
from songfoundry.composing.composer import Composer
from songfoundry.errors import ConfigError, InputError, MissingExtraError, OutputError

PROGRAM = [sys.executable, "-m", "songfoundry"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(tiny_music.checkpoint(tmp_path_factory.mktemp("weights") / "random.safetensors"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a prompt in 6/8."""
    monkeypatch.chdir(tmp_path)
    tiny_music.write(tmp_path / "jig ♪.mid", tiny_music.prompt(6, 8, 104.0))
    return tmp_path


def run(*arguments, weights=None, quiet=True):
    """Run the command in this process, as `main` does."""
    arguments = [*arguments, *(("--model", weights) if weights else ()), *(("--no-audio", "--no-picture") if quiet else ())]
    return run_command("compose", *arguments)


def test_each_variation_is_a_midi_file_a_sound_a_picture_and_a_line(folder, weights):
    code, out, err = run("jig ♪.mid", "--variations", 2, "--bars", 2, "--seed", 4, "--json", "report.jsonl", weights=weights, quiet=False)
    names = [f"composed/jig ♪-{number}.{kind}" for number in (1, 2) for kind in ("mid", "wav", "png")]
    assert code == 0 and out.splitlines() == names and files(folder) == sorted([*names, "jig ♪.mid", "report.jsonl"])
    assert "jig ♪.mid: 2 x 2 bars of 6/8, 104 quarter notes a minute, A minor;" in err and "with random, seed 4" in err
    rows = [json.loads(line) for line in (folder / "report.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["variation"] for row in rows] == [1, 2] and {row["metre"] for row in rows} == {"6/8"}
    prompt = notes.read_midi(folder / "jig ♪.mid")
    for row in rows:
        score = notes.read_midi(row["files"]["mid"])
        assert [(t.time, t.mspq) for t in score.tempos] == [(0, 576923)] and row["qpm"] == pytest.approx(104, abs=1e-3)
        assert [tiny_music.rows(t, 4 * 1440) for t in score.tracks] == [tiny_music.rows(t) for t in prompt.tracks]
        sound, rate = soundfile.read(row["files"]["wav"], always_2d=True, dtype="float32")
        assert true_peak(sound.T) < -0.9 and row["notes"] > 0
        seam = round(row["split_seconds"] * rate)
        end = round(score.to("Second").end() * rate)
        assert row["split_seconds"] == pytest.approx(4 * 3 * 60 / 104, abs=1e-4)
        assert abs(integrated(sound.T[:, :seam], rate) - integrated(sound.T[:, seam:end], rate)) < 1.0
        assert open(row["files"]["png"], "rb").read(8) == b"\x89PNG\r\n\x1a\n"


def test_the_continuation_is_as_loud_as_its_prompt_in_the_file_itself(folder, weights):
    from songfoundry.playing import rendering

    (folder / "soft.mid").write_bytes(midi_bytes.midi([midi_bytes.part(0, 0, [(480 * n, 470, 60 + n % 5, 24) for n in range(16)])]))
    run("soft.mid", "--variations", 1, "--bars", 4, weights=weights)
    before, after = rendering.loudness_of_parts(notes.read_midi(folder / "composed" / "soft-1.mid"), 16 * 480)
    assert abs(before - after) < 1.0


def test_the_same_command_gives_the_same_bytes(folder, weights):
    for out in ("a", "b"):
        run("jig ♪.mid", "--variations", 1, "--bars", 2, "--seed", 9, "--out", out, weights=weights)
    run("jig ♪.mid", "--variations", 1, "--bars", 2, "--seed", 10, "--out", "c", weights=weights)
    first, again, other = ((folder / name / "jig ♪-1.mid").read_bytes() for name in "abc")
    assert first == again != other


def test_only_what_is_new_is_written_when_asked(folder, weights):
    run("jig ♪.mid", "--variations", 1, "--bars", 2, "--only-new", weights=weights)
    score = notes.read_midi(folder / "composed" / "jig ♪-1.mid")
    assert score.end() <= 2 * 1440 and score.time_signatures[0].numerator == 6 and score.tempos[0].mspq == 576923


def test_from_nothing_and_between_two(folder, weights):
    wishes = ("--key", "D minor", "--metre", "3/4", "--tempo", 90, "--style", "folk", "--lock", "instruments,metre")
    code, out, _ = run(*wishes, "--bars", 1, "--variations", 1, weights=weights)
    assert (code, out.split()) == (0, ["composed/new-1.mid"])
    made = notes.read_midi(folder / "composed" / "new-1.mid")
    assert made.time_signatures[0].numerator == 3 and [(key.key, key.tonality) for key in made.key_signatures] == [(-1, 1)]
    tiny_music.write(folder / "b.mid", tiny_music.prompt(6, 8, 80.0))
    tiny_music.write(folder / "c.mid", tiny_music.prompt(3, 4, 80.0))
    code, out, said = run("--between", "jig ♪.mid", "c.mid", "--steps", 2, "--bars", 1, weights=weights)
    assert code == 0 and "6/8, 104 quarter" in said and "; then 3/4, 80 quarter" in said
    assert said.count("prompts differ in metre (6/8 and 3/4)") == 1
    code, out, _ = run("--between", "jig ♪.mid", "b.mid", "--steps", 3, "--bars", 1, weights=weights)
    assert (code, out.splitlines()) == (0, [f"composed/jig ♪-b-{step}.mid" for step in (1, 2, 3)])
    assert "found both" in run("jig ♪.mid", "--between", "jig ♪.mid", "b.mid", weights=weights)[2]


@pytest.mark.parametrize(
    "options",
    [("--melody", "1"), ("--replace-bars", "2-3"), ("--chords", "Am E7", "--end", "--bars", 2), ("--lock", "key=hard", "--bars", 1),
     ("--top-k", "5", "--min-p", "0.01", "--repetition-penalty", "1.2", "--temperature", "0.8", "--top-p", "0.9", "--bars", 1)],
)  # fmt: skip
def test_each_mode_runs(folder, weights, options):
    code, out, _ = run("jig ♪.mid", "--variations", 1, *options, "--json", "-", weights=weights)
    row = json.loads(out)
    assert code == 0 and row["metre"] == "6/8" and os.path.isfile(row["files"]["mid"])


def test_a_score_is_engraved_when_asked(folder, weights):
    pytest.importorskip("music21")
    pytest.importorskip("verovio")
    code, out, _ = run("jig ♪.mid", "--variations", 1, "--bars", 1, "--score", weights=weights)
    assert (code, out.splitlines()) == (0, [f"composed/jig ♪-1{end}" for end in (".mid", ".musicxml", "-page-01.svg")])
    assert "<score-partwise" in (folder / "composed" / "jig ♪-1.musicxml").read_text(encoding="utf-8")


def test_a_folder_is_worked_through_and_what_fails_says_why(folder, weights):
    (folder / "some").mkdir()
    tiny_music.write(folder / "some" / "good.mid", tiny_music.prompt())
    tiny_music.write(folder / "some" / "bad.mid", b"no music")
    tiny_music.write(folder / "some" / "good.midi", tiny_music.prompt(3, 4))
    (folder / "some" / "notes.txt").write_text("not a prompt")
    code, out, err = run("some", "--variations", 1, "--bars", 1, weights=weights)
    assert code == 1 and out.splitlines() == ["composed/good-mid-1.mid", "composed/good-midi-1.mid"]
    assert "bad.mid does not begin like one" in err and "1 of 3 prompts failed" in err


def crowd(count):
    """A file of so many short notes, made at once."""
    strikes = b"".join(b"\x05\x90" + bytes([40 + n % 40, 80]) + b"\x05\x80" + bytes([40 + n % 40, 0]) for n in range(40)) * (count // 40)
    body = b"\x00\xc0\x00" + strikes + b"\x00\xff\x2f\x00"
    return midi_bytes.midi([b"MTrk" + struct.pack(">I", len(body)) + body])


BACKWARDS = b"\x00\x90\x3c\x50\xff\xff\xff\xff\x7f\x80\x3c\x00\x00"
BAD = {
    "no MIDI": (b"RIFF and then something else altogether", "does not begin like one"),
    "nothing": (b"", "does not begin like one"),
    "cut short": (tiny_music.prompt()[:-30], "ends within one"),
    "no notes": (midi_bytes.midi([midi_bytes.track([midi_bytes.tempo(0, 99)])]), "expected notes in bad.mid, found none"),
    "three hours": (
        midi_bytes.midi([midi_bytes.part(0, 0, [(0, 480, 60, 80), (480 * 120 * 180, 480, 60, 80)])]), "at most 60 minutes, found 180",
    ),
    "too many notes": (crowd(200_040), "at most 200,000 notes, found 200,040"),
    "one million notes": (crowd(1_000_000), "notes"),
    "0 bpm": (midi_bytes.midi([midi_bytes.track([midi_bytes.tempo(0, 0)]), midi_bytes.part(0, 0, [(0, 480, 60, 80)])]), "0 s"),
    "negative delta": (tiny_music.prompt()[:14] + b"MTrk" + struct.pack(">I", len(BACKWARDS)) + BACKWARDS, "expected"),
    "type 2": (tiny_music.prompt()[:8] + b"\x00\x02" + tiny_music.prompt()[10:], "type 2"),
    "a strange metre": (
        midi_bytes.midi([midi_bytes.track([tiny_music.metre(0, 29, 32)]), midi_bytes.part(0, 0, [(0, 480, 60, 80)])]), "found 29/32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, weights, name):
    data, sentence = BAD[name]
    tiny_music.write(folder / "bad.mid", data)
    before = files(folder)
    code, out, err = run("bad.mid", "--json", "report.jsonl", weights=weights)
    assert (code, out) == (2, "") and sentence in err and err.strip().count("\n") == 0 and "expected" in err
    assert files(folder) == before and not (folder / "composed").exists()


STRANGE = {
    "only drums": (tiny_music.drum_prompt(), "0 pitched notes tell no key"),
    "a single note": (midi_bytes.midi([midi_bytes.part(0, 0, [(0, 480, 60, 80)])]), "1 pitched notes tell no key"),
    "1/1": (tiny_music.prompt(1, 1), "1 bar of 1/1"),
    "13/16": (tiny_music.prompt(13, 16), "1 bar of 13/16"),
    "no tempo": (tiny_music.prompt(qpm=None), "the prompt names no tempo"),
    "longer than the context": (tiny_music.prompt(bars=60), "reads the last"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_input_is_gone_on_from_and_what_was_done_is_said(folder, weights, name):
    data, sentence = STRANGE[name]
    tiny_music.write(folder / "odd.mid", data)
    code, out, err = run("odd.mid", "--variations", 1, "--bars", 1, weights=weights)
    assert (code, out.split()) == (0, ["composed/odd-1.mid"]) and sentence in err
    made, prompt = notes.read_midi(folder / "composed" / "odd-1.mid"), notes.read_midi(data)
    assert [(s.numerator, s.denominator) for s in made.time_signatures] == [(s.numerator, s.denominator) for s in prompt.time_signatures]
    assert [t.mspq for t in made.tempos] == [t.mspq for t in prompt.tempos]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("missing.mid",), "missing.mid cannot be read"), ((".", "--bars", "0"), "bars"), (("--melody", "1"), "expected a prompt"),
        (("jig ♪.mid", "jig ♪.mid"), "2 called 'jig ♪-mid'"), (("jig ♪.mid", "--out", "jig ♪.mid"), "expected to write"),
        (("jig ♪.mid", "--progress", "loud"), "--progress"), (("jig ♪.mid", "--device", "abacus"), "device"),
        (("jig ♪.mid", "--chords", "C H"), "'H'"), (("jig ♪.mid", "--between", "jig ♪.mid", "b.mid"), "found both"),
        (("jig ♪.mid", "--json", "nowhere/report.jsonl"), "its folder does not exist"),
        (("jig ♪.mid", "--steps", "3"), "only with --between"),
        (("--between", "jig ♪.mid", "b.mid", "--variations", "2"), "found --variations"),
        (("jig ♪.mid", "--lock", ""), "or none, found ''"),
        (("jig ♪.mid", "--lock", "key=hard,key"), "each lock once"), (("jig ♪.mid", "--only-new", "--melody", "1"), "found both"),
        (("jig ♪.mid", "--soundfont", "auto"), "found --no-audio"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence(folder, weights, options, sentence):
    before = files(folder)
    code, out, err = run(*options, weights=weights)
    assert (code, out) == (2, "") and sentence in err and err.strip().count("\n") == 0 and files(folder) == before


def test_an_empty_folder_and_an_unknown_model_are_refused(folder, weights):
    (folder / "empty").mkdir()
    assert "expected MIDI files in the folder 'empty', found none" in run("empty", weights=weights)[2]
    assert "expected the name of a model, found 'transfomer'" in run("jig ♪.mid", weights="transfomer")[2]


def test_the_prompt_is_never_written_over(folder, weights):
    data = tiny_music.write(folder / "a-1.mid", tiny_music.prompt()).read_bytes()
    composer = Composer(weights, threads=1)
    with pytest.raises(OutputError, match="expected another file than the prompt"):
        composing.compose(folder / "a-1.mid", model=composer, out=folder, name="a", variations=1, bars=1, audio=False, picture=False)
    assert (folder / "a-1.mid").read_bytes() == data and files(folder) == ["a-1.mid", "jig ♪.mid"]


def test_the_report_is_never_written_over_a_prompt(folder, weights):
    data = (folder / "jig ♪.mid").read_bytes()
    for asked in (("jig ♪.mid",), (".",), ("--between", "jig ♪.mid", "jig ♪.mid")):
        code, out, err = run(*asked, "--bars", 1, "--json", folder / "jig ♪.mid", weights=weights)
        assert (code, out) == (2, "") and "expected another file than a prompt to write to" in err
    assert (folder / "jig ♪.mid").read_bytes() == data and files(folder) == ["jig ♪.mid"]


def test_a_prompt_without_the_bars_that_were_asked_for_stops_no_other(folder, weights):
    tiny_music.write(folder / "a.mid", tiny_music.prompt(bars=2))
    tiny_music.write(folder / "z.mid", tiny_music.prompt(bars=6))
    code, out, err = run(
        "a.mid", "jig ♪.mid", "z.mid", "--replace-bars", "3-4", "--variations", 1, "--json", "report.jsonl", weights=weights
    )  # fmt: skip
    assert code == 1 and out.splitlines() == ["composed/jig ♪-1.mid", "composed/z-1.mid"]
    assert "expected bars from 1 to 2 of a.mid after --replace-bars, found 3-4" in err and "1 of 3 prompts failed" in err
    rows = [json.loads(line) for line in (folder / "report.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["source"] for row in rows] == ["jig ♪.mid", "z.mid"]


def test_what_a_soft_piece_gets_is_as_soft(folder, weights):
    """What is written in the place of other notes has their level, not the model's."""
    pytest.importorskip("pyloudnorm")
    soft = notes.read_midi(tiny_music.prompt(bars=4))
    for track in soft.tracks:
        for note in track.notes:
            note.velocity = 12
    composer = Composer(weights, threads=1)
    for wish in ({"replace_bars": "2-3"}, {"melody": "1"}):
        (piece,), (raw,) = (
            songfoundry.compose(soft, model=composer, variations=1, balance=even, **wish) for even in (True, False)
        )
        score, before = piece.composition.score, raw.composition.score
        kept = piece.composition.plan.kept
        begin, end = piece.composition.split_tick, piece.composition.end_tick
        new, loud = ([note.velocity for number, track in enumerate(one.tracks) for note in track.notes
                      if number != kept and begin <= note.time < end] for one in (score, before))  # fmt: skip
        old = [note.velocity for number, track in enumerate(score.tracks) for note in track.notes
               if number == kept or not begin <= note.time < end]  # fmt: skip
        assert np.mean(loud) > 40 and np.mean(new) < 0.6 * np.mean(loud) and set(old) == {12}


def test_forty_instruments_are_said_to_share_channels(folder, weights):
    many = [midi_bytes.part(number % 9, 3 * number, [(480 * number, 480, 40 + number, 90)]) for number in range(40)]
    (folder / "many.mid").write_bytes(midi_bytes.midi(many))
    code, _, err = run("many.mid", "--variations", 1, "--bars", 1, weights=weights)
    assert code == 0 and "a MIDI file has 15 channels for pitched instruments: 4" in err


def test_nothing_is_left_of_a_work_that_fails_half_way(folder, weights, monkeypatch):
    from songfoundry.playing import rendering

    done = []

    def fail(*_, **options):
        done.append(options)
        if len(done) == 2:
            raise InputError("expected a disk, found none: buy one")
        return real(*_, **options)

    real = rendering.render
    monkeypatch.setattr(rendering, "render", fail)
    code, _, err = run("jig ♪.mid", "--variations", 3, "--bars", 1, weights=weights, quiet=False)
    assert code == 2 and "buy one" in err and files(folder) == ["jig ♪.mid"] and not (folder / "composed").exists()


def test_a_missing_picture_library_is_said_and_stops_nothing(folder, weights, monkeypatch):
    from songfoundry.playing import pianoroll

    def fail(*_, **__):
        raise MissingExtraError("expected matplotlib, found none: install it")

    monkeypatch.setattr(pianoroll, "picture", fail)
    code, out, err = run("jig ♪.mid", "--variations", 1, "--bars", 1, "--no-audio", weights=weights, quiet=False)
    assert code == 0 and out.split("\n")[0] == "composed/jig ♪-1.mid" and "no picture: expected matplotlib" in err


def test_in_python_notes_come_while_they_are_written(folder, weights):
    composer = songfoundry.Composer(weights, threads=1)
    stream = composer.stream(folder / "jig ♪.mid", bars=2, seed=4)
    assert next(stream).seconds >= 0 and stream.first_seconds < 10
    (piece,) = songfoundry.compose(folder / "jig ♪.mid", model=composer, bars=2, seed=4, variations=1, balance=False)
    assert piece.composition.notes[1:] == list(stream) and piece.paths == {}
    assert np.isclose(piece.notes_per_second, len(piece.composition.notes) / piece.composition.elapsed)
    with pytest.raises(ConfigError):
        songfoundry.compose(folder / "jig ♪.mid", model=composer, bars=-2)


def test_a_soundfont_that_is_not_there_is_said_before_the_work(folder, weights):
    code, out, err = run("jig ♪.mid", "--soundfont", "gone.sf2", weights=weights, quiet=False)
    assert (code, out) == (2, "") and "there is none at 'gone.sf2'" in err and "jig ♪.mid:" not in err and files(folder) == ["jig ♪.mid"]


def test_ctrl_c_leaves_nothing(folder, weights):
    work = subprocess.Popen(
        [*PROGRAM, "compose", "jig ♪.mid", "--bars", "500", "--variations", "8", "--model", weights, "--progress", "json"],
        stderr=subprocess.PIPE, cwd=folder,
    )  # fmt: skip
    line = work.stderr.readline()
    assert json.loads(line)["file"] == "jig ♪.mid"
    work.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = work.communicate(timeout=120)
    assert work.returncode == 130 and b"stopped: no unfinished file was left" in err and time.monotonic() - begun < 60
    assert files(folder) == ["jig ♪.mid"] and not (folder / "composed").exists()
