"""Check the driven guitars that `recipes/guitars.py` makes for separation."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from midi_bytes import band

from songfoundry import notes

SCRIPT = Path(__file__).parents[1] / "recipes" / "guitars.py"


@pytest.fixture(scope="module")
def guitars():
    pytest.importorskip("symusic")
    spec = importlib.util.spec_from_file_location("guitars", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tone(hertz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(44100) / 44100)


def level_at(samples: np.ndarray, hertz: int) -> float:
    """Level in dB of a second's sound at a whole frequency, beside its loudest one."""
    spectrum = np.abs(np.fft.rfft(samples[:44100] * np.hanning(44100)))
    return 20 * np.log10(spectrum[hertz - 2 : hertz + 3].max() / spectrum.max() + 1e-9)


def test_a_chord_goes_through_the_amplifier_as_one_sound(guitars):
    together = guitars.amplify(tone(330) + tone(440), np.random.default_rng(1))
    apart = sum(guitars.amplify(tone(hertz), np.random.default_rng(1)) for hertz in (330, 440))
    # 550 Hz = 2 x 440 - 330 is in neither tone: intermodulation alone makes it.
    assert level_at(together, 550) > -30
    assert level_at(apart, 550) < -50
    assert len(together) == 44100


def test_a_power_chord_has_a_fifth_and_an_octave(guitars):
    part = notes.Part(27, False, "", np.array([0.5]), np.array([1.0]), np.array([40]), np.array([90]), np.zeros((0, 3)), np.zeros((0, 2)))
    chord = guitars.power_chords(part)
    assert chord.pitches.tolist() == [40, 47, 52]
    assert chord.starts.tolist() == [0.5] * 3 and chord.velocities.tolist() == [90] * 3


def test_songs_of_guitars_are_written_with_their_index_and_are_the_same_again(guitars, tmp_path, soundfont):
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "one.mid").write_bytes(band(qpm=120))
    for out in ("a", "b"):
        command = [sys.executable, SCRIPT, "--midi", tmp_path / "midi", "--soundfont", soundfont, "--out", tmp_path / out]
        subprocess.run([*command, "--count", "2", "--seconds", "8"], check=True)
    songs = json.loads((tmp_path / "a" / "index.json").read_text())["songs"]
    assert len(songs) == 2
    for song in songs:
        assert list(song["stems"]) == ["other"] and song["split"] == "train"
        (source,) = song["stems"]["other"]
        samples, rate = soundfile.read(tmp_path / "a" / source["file"])
        assert rate == 44100 and samples.shape[1] == 2 and 0.4 < np.abs(samples).max() <= 0.51
        np.testing.assert_array_equal(samples, soundfile.read(tmp_path / "b" / source["file"])[0])
