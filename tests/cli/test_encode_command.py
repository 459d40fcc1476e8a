"""The commands `songfoundry encode` and `songfoundry decode` as a user runs them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_codec
from commands import files, run_command

from songfoundry.encoding.latents import load_latents


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a model and two sounds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SONGFOUNDRY_MODELS", str(tmp_path / "none"))
    tiny_codec.save_model(tmp_path / "m.safetensors")
    time = np.arange(11025) / 11025
    left, right = 0.4 * np.sin(2 * np.pi * 440 * time), 0.1 * np.sin(2 * np.pi * 220 * time)
    soundfile.write("a.wav", np.stack([left, right], 1), 11025)
    soundfile.write("b.wav", 0.3 * np.sin(2 * np.pi * 660 * time[:6000]), 11025)
    return tmp_path


def run(*arguments):
    """Run a command in this process with the tiny model."""
    return run_command(arguments[0], "--model", "m.safetensors", "--device", "cpu", "--threads", 1, *arguments[1:])


def test_a_song_becomes_latents_and_a_sound_again(folder):
    code, out, err = run("encode", "a.wav", "--out", "latents.npz")
    assert code == 0 and out == "latents.npz\n" and "2 x 8 x 16 numbers for 1.00 s" in err and "Licence of the weights of m: test" in err
    assert load_latents("latents.npz").values.shape == (2, 8, 16)
    code, out, err = run("decode", "latents.npz", "--vocoder", "griffinlim", "--iterations", 2, "--out", "back.wav")
    assert code == 0 and out == "back.wav\n"
    about = soundfile.info("back.wav")
    assert (about.samplerate, about.channels, about.frames) == (8000, 2, 8000)
    assert run("encode", "a.wav", "--bits", 8)[1] == "encoded/a.npz\n"
    assert run("decode", "encoded/a.npz", "--format", "flac", "--iterations", 0)[1] == "decoded/a.flac\n"


def test_there_and_back_gives_a_sound_a_picture_and_scores(folder):
    pytest.importorskip("matplotlib")
    code, out, err = run("encode", "--roundtrip", "b.wav", "--out", "o")
    assert code == 0 and out.splitlines() == ["o/b-roundtrip.wav", "o/b-roundtrip.png"]
    assert all(word in err for word in ("mse", "cosine", "lsd", "si_sdr")) and files(folder / "o") == ["b-roundtrip.png", "b-roundtrip.wav"]
    row = json.loads(run("encode", "--roundtrip", "b.wav", "--out", "o", "--json", "--vocoder", "fast_griffinlim")[1])
    assert row["scores"]["mae"] > 0 and row["latents"][0]["shape"] == [1, 8, 9]


def test_between_two_sounds_and_from_nothing(folder):
    pytest.importorskip("matplotlib")
    code, out, _ = run("encode", "--interpolate", "a.wav", "b.wav", "--steps", 3, "--out", "i")
    assert code == 0 and out.splitlines() == [f"i/interpolation-{n}.wav" for n in (1, 2, 3)] + ["i/interpolation.png"]
    assert {soundfile.info(f"i/interpolation-{n}.wav").frames for n in (1, 2, 3)} == {round(6000 * 8000 / 11025)}
    code, out, _ = run("encode", "--sample", 2, "--seconds", 0.5, "--seed", 4, "--out", "s")
    assert code == 0 and out.splitlines() == ["s/sample-1.wav", "s/sample-2.wav", "s/sample.png"]
    first = Path("s/sample-1.wav").read_bytes()
    assert run("encode", "--sample", 1, "--seconds", 0.5, "--seed", 4, "--out", "t")[0] == 0
    assert Path("t/sample-1.wav").read_bytes() == first != Path("s/sample-2.wav").read_bytes()


def test_what_is_no_audio_is_refused_or_taken_for_silence(folder):
    damaged = 0.1 * np.ones(4000, np.float32)
    damaged[100:103] = np.nan
    soundfile.write("nan.wav", damaged, 8000, subtype="FLOAT")
    code, _, err = run("encode", "nan.wav", "--out", "n.npz")
    assert code == 2 and "--repair" in err
    for options in ((), ("--roundtrip",)):
        code, _, err = run("encode", "nan.wav", "--repair", *options, "--out", "o" if options else "n.npz")
        assert code == 0 and "3 values of 'nan.wav' were no audio and became silence" in err


def test_silence_a_tenth_of_a_second_and_eight_channels_are_sounds(folder):
    soundfile.write("silent.wav", np.zeros(8000), 8000)
    code, _, err = run("encode", "silent.wav", "--out", "s.npz")
    assert code == 0 and "is silent" in err
    soundfile.write("short.wav", 0.1 * np.ones((800, 8)), 8000)
    code, _, err = run("encode", "short.wav", "--out", "short.npz")
    assert code == 0 and "8 x 8 x 2 numbers for 0.10 s" in err
    assert run("decode", "short.npz", "--out", "short-back.wav", "--iterations", 0)[0] == 0
    about = soundfile.info("short-back.wav")
    assert (about.channels, about.frames) == (8, 800)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("encode",), "expected one of SONG"),
        (("encode", "a.wav", "--sample", 2), "SONG and --sample"),
        (("encode", "a.wav", "--steps", 3), "--steps beside --interpolate"),
        (("encode", "a.wav", "--vocoder", "pghi"), "--vocoder beside"),
        (("encode", "a.wav", "--bits", 12), "32 or 8 bits"),
        (("encode", "a.wav", "--out", "a.txt"), "ends in .npz"),
        (("encode", "none.wav"), "none.wav"),
        (("encode", "--roundtrip", "a.wav", "--vocoder", "x"), "expected a vocoder"),
        (("encode", "--interpolate", "a.wav", "b.wav", "--steps", 1), "2 to 256 steps"),
        (("encode", "--interpolate", "a.wav", "three.wav"), "found 2 and 3: mix one down"),
        (("encode", "--sample", 2, "--repair"), "--repair beside SONG or --roundtrip"),
        (("encode", "--sample", 0), "1 to 256 samples"),
        (("encode", "--sample", 1, "--seconds", 0), "seconds"),
        (("encode", "--sample", 1, "--prior", "flat"), "expected a prior"),
        (("decode", "a.wav"), "a.wav is none or is damaged"),
        (("decode", "none.npz"), "cannot be read"),
        (("decode", "cut.npz"), "is none or is damaged"),
        (("decode", "other.npz"), "those of another"),
        (("decode", "other.npz", "--out", "x.mid"), ".wav"),
        (("decode", "other.npz", "--out", "x.wav", "--format", "flac"), "which is a name of wav: change one of them"),
        (("decode", "other.npz", "--iterations", -1), "0 to 1000 iterations"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, arguments, words):
    tiny_codec.save_model(Path("other.safetensors"), seed=2)
    assert run_command("encode", "b.wav", "--out", "other.npz", "--model", "other.safetensors")[0] == 0
    soundfile.write("three.wav", np.zeros((4000, 3)), 8000)
    Path("cut.npz").write_bytes(Path("other.npz").read_bytes()[:200])
    before = files(folder)
    code, out, err = run(*arguments)
    assert code == 2 and words in err and out == "" and "\n" not in err.strip() and files(folder) == before


def test_a_model_that_is_not_shipped_says_what_to_do(folder, monkeypatch):
    monkeypatch.setattr("songfoundry.checkpoint.WEIGHTS", folder / "nothing")
    for name in (None, "ae64"):
        code, _, err = run_command("encode", "a.wav", *(["--model", name] if name else []))
        assert code == 2 and f"recipes/encode-{name or 'vae'}.toml" in err and "--model runs/" in err
    assert not os.path.exists("encoded")
