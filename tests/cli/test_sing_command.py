"""The command `songfoundry sing` as a user runs it."""

import json
from pathlib import Path

import known_models
import numpy as np
import pytest
import soundfile
import tiny_voices as voices
from commands import files, run_command
from midi_bytes import midi, part, tempo, track

from songfoundry.singing import verb
from songfoundry.voice.tune import Tune, TuneNote

pytest.importorskip("pyworld")
pytest.importorskip("symusic")
RATE = 16000


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with speech, a tune and a backing of another rate."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("speech.wav", voices.speech(4), RATE)
    line = [(k * 480, 480, pitch, 90) for k, pitch in enumerate((48, 50, 52, 55))]
    Path("tune.mid").write_bytes(midi([track([tempo(0, 120)]), part(0, 0, line)]))
    time = np.arange(4 * 22050) / 22050
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (130.8, 164.8, 196.0)) * (0.6 + 0.4 * np.cos(4 * np.pi * time))
    soundfile.write("band.wav", np.stack([0.1 * chord, 0.08 * chord], 1), 22050)
    return tmp_path


def sing(*arguments):
    return run_command("sing", *arguments, "--threads", 1)


def test_speech_is_sung_on_a_tune_and_mixed_with_a_backing(folder):
    pytest.importorskip("matplotlib")
    pytest.importorskip("pyloudnorm")
    code, out, err = sing("speech.wav", "--melody", "tune.mid", "--backing", "band.wav", "--out", "o/sung.wav", "--save-pitch", "o/p.csv")
    assert code == 0 and out.splitlines() == ["o/sung.wav", "o/sung-mix.wav", "o/sung.png", "o/p.csv"]
    assert "on 4 notes" in err and "LUFS" in err
    voice, mix = soundfile.info("o/sung.wav"), soundfile.info("o/sung-mix.wav")
    assert (voice.samplerate, voice.channels, mix.samplerate, mix.channels) == (RATE, 1, 22050, 2)
    assert voice.duration == pytest.approx(2.0, abs=0.01) and mix.duration >= 4.0
    assert Path("o/sung.png").read_bytes().startswith(b"\x89PNG")
    # The curve that was kept sings the same melody.
    code, out, _ = sing("speech.wav", "--pitch-from", "o/p.csv", "--out", "again.wav", "--no-picture")
    assert code == 0 and soundfile.info("again.wav").duration == pytest.approx(2.0, abs=0.02)


def test_a_backing_alone_gets_a_tune_of_its_own(folder):
    pytest.importorskip("pyloudnorm")
    code, out, err = sing("speech.wav", "--backing", "band.wav", "--no-picture", "--json", "--dry")
    made = json.loads(out)
    assert code == 0 and made["notes"] and made["mix"] == "sung/speech-mix.wav"
    assert any("heard in the backing" in one for one in made["said"])
    assert all(note[1] <= 4.1 for note in made["notes"])


def test_a_song_is_taken_apart_and_its_melody_sung(folder):
    pytest.importorskip("pyloudnorm")
    from songfoundry.separating.separator import Separator

    separator = Separator(known_models.system(chunk_seconds=1.0), "cpu", 1)
    soundfile.write("song.wav", np.stack([voices.speech(6, 200.0, pause=0.2)] * 2, 1), RATE)
    made = verb.sing("speech.wav", song="song.wav", separator=separator, out="s.wav", mix="m.wav")
    assert made.paths == ["s.wav", "m.wav"] and soundfile.info("m.wav").duration >= soundfile.info("song.wav").duration - 0.01


def test_a_vocal_becomes_speech(folder):
    soundfile.write("vocal.wav", np.concatenate([voices.syllable(k, 200, RATE, vowel=0.6) for k in range(4)]), RATE)
    code, out, _ = sing("--reverse", "vocal.wav", "--out", "plain.wav", "--no-picture")
    assert code == 0 and out == "plain.wav\n" and soundfile.info("plain.wav").duration < 2.0
    assert sing("--reverse", "vocal.wav", "--melody", "tune.mid")[2].startswith("expected --reverse without --melody")


def test_one_word_for_four_minutes_is_repeated_and_said(folder):
    soundfile.write("word.wav", voices.speech(1), RATE)
    tune = Tune(tuple(TuneNote(2.0 * k, 2.0 * k + 1.9, 50 + k % 5) for k in range(120)))
    made = verb.sing("word.wav", melody=tune)
    assert made.seconds == pytest.approx(239.9, abs=0.1) and any("sung 120 times" in one for one in made.said)
    tenths = np.abs(made.samples[0]).reshape(-1, 1600).max(1)[:2380]
    assert (tenths.reshape(-1, 20).max(1) > 0.05).all()


def test_a_polyphonic_tune_is_sung_by_its_top_line_and_said(folder):
    chords = [(k * 960, 960, pitch + up, 90) for k, pitch in enumerate((48, 50)) for up in (0, 4, 7)]
    Path("chords.mid").write_bytes(midi([track([tempo(0, 120)]), part(0, 0, chords)]))
    code, out, err = sing("speech.wav", "--melody", "chords.mid", "--no-picture", "--json")
    assert code == 0 and [note[2] for note in json.loads(out)["notes"]] == [55, 57] and "top line" in err


def write(name, samples, rate=RATE):
    soundfile.write(name, samples, rate)
    return name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["silent.wav", "--melody", "tune.mid"], "expected a voice in the recording, found silence"),
        (["noise.wav", "--melody", "tune.mid"], "expected a voice in the recording"),
        (["band.wav", "--song", "silent.wav"], "expected"),
        (["none.wav", "--melody", "tune.mid"], "cannot be opened"),
        (["speech.wav"], "expected one melody"),
        (["speech.wav", "--melody", "tune.mid", "--pitch-from", "p.csv"], "found melody and pitch_from"),
        (["speech.wav", "--song", "band.wav", "--backing", "band.wav"], "leave one out"),
        (["speech.wav", "--melody", "tune.mid", "--mix", "m.wav"], "expected a backing or a song"),
        (["speech.wav", "--melody", "speech.wav"], "expected"),
        (["speech.wav", "--melody", "tune.mid", "--out", "speech.wav"], "expected another file"),
        (["speech.wav", "--melody", "tune.mid", "--out", "a.wav", "--backing", "band.wav", "--mix", "a.wav"], "expected a file each"),
        (["speech.wav", "--melody", "tune.mid", "--engine", "choir"], "world, cyclegan"),
        (["speech.wav", "--melody", "tune.mid", "--vocoder", "griffinlim"], "beside engine cyclegan"),
        (["speech.wav", "--melody", "tune.mid", "--separator", "x"], "beside --separator"),
        (["speech.wav", "--melody", "tune.mid", "--expression", "2"], "expected expression from 0 to 1"),
        (["speech.wav", "--melody", "tune.mid", "--save-pitch", "p.txt"], "ends in .csv"),
        (["speech.wav", "--melody", "tune.mid", "--format", "xyz"], "expected"),
        (["speech.wav", "--backing", "silent.wav"], "expected"),
    ],
)
def test_what_cannot_be_sung_is_told_in_one_sentence_and_leaves_nothing(folder, arguments, words):
    write("silent.wav", np.zeros(RATE * 2))
    write("noise.wav", 0.1 * np.random.default_rng(0).standard_normal(RATE))
    before = files(folder)
    code, out, err = sing(*arguments, "--no-picture")
    assert code == 2 and words in err and "\n" not in err.strip() and out == "", err
    assert files(folder) == before


def test_a_song_in_which_nobody_sings_is_refused(folder):
    from songfoundry.separating.separator import Separator

    separator = Separator(known_models.system(chunk_seconds=1.0), "cpu", 1)
    write("drums.wav", 0.1 * np.random.default_rng(0).standard_normal((RATE * 2, 2)))
    with pytest.raises(Exception, match="expected someone to sing"):
        verb.sing("speech.wav", song="drums.wav", separator=separator, out="a.wav")
    assert not Path("a.wav").exists()


def test_work_that_is_stopped_leaves_nothing(folder):
    before = files(folder)
    with pytest.raises(Exception, match="nothing was kept"):
        verb.sing("speech.wav", melody="tune.mid", out="a.wav", progress=lambda share: share < 0.4)
    assert files(folder) == before


LONG = """
import resource, sys
from songfoundry.singing.verb import sing
sing(sys.argv[1], melody=sys.argv[2], backing=sys.argv[3], out=sys.argv[4], mix=sys.argv[5])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.long
def test_two_hours_of_backing_take_the_memory_of_two_minutes(folder):
    import subprocess
    import sys

    block, _ = soundfile.read("band.wav", dtype="float32")
    peaks = []
    for seconds in (120, 7200):
        with soundfile.SoundFile("long.flac", "w", 22050, 2) as file:
            for _ in range(seconds // 4):
                file.write(block)
        command = [sys.executable, "-c", LONG, "speech.wav", "tune.mid", "long.flac", "v.wav", "m.flac"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
        assert soundfile.info("m.flac").duration == pytest.approx(seconds, abs=0.1)
    assert peaks[1] < 1.2 * peaks[0], peaks
