"""A recording's timbre is found again; silence is refused. Sheets show what was made."""

import io as bytes_io

import numpy as np
import pytest
import soundfile
import tone_notes

from songfoundry.errors import AudioError, Cancelled, ConfigError, InputError
from songfoundry.timbre import verb
from songfoundry.timbre.generator import NoteGenerator
from songfoundry.timbre.search import find_like
from songfoundry.timbre.sheet import sheet


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    """A tiny net with random weights."""
    return NoteGenerator(tone_notes.save_model(tmp_path_factory.mktemp("model") / "tiny.safetensors"), "cpu", 1)


@pytest.fixture(scope="module")
def steady():
    """A recording of 0.26 s, 63.2 of MIDI."""
    return tone_notes.tone("bright", 63.2, samples=4096)


def test_descent_comes_nearer_than_what_was_drawn(generator, steady):
    shares = []
    found = find_like(generator, steady, 16000, seed=1, drawn=8, steps=12, progress=shares.append)
    assert found.pitch == 63 and found.cents == pytest.approx(20, abs=3) and found.said == ()
    assert found.found_db < 0.99 * found.drawn_db and found.timbre.model == generator.hash and found.timbre.pure is not None
    assert shares == sorted(shares) and shares[-1] == 1.0
    again = find_like(generator, steady, 16000, seed=1, drawn=8, steps=12)
    assert np.array_equal(again.timbre.latent, found.timbre.latent) and again.found_db == found.found_db
    more = find_like(generator, steady, 16000, seed=1, drawn=16, steps=0)
    fewer = find_like(generator, steady, 16000, seed=1, drawn=8, steps=0)
    assert more.found_db <= fewer.found_db == pytest.approx(found.drawn_db, abs=1e-4)
    assert all(parameter.requires_grad for parameter in generator.system.net.parameters())


@pytest.mark.parametrize("number", [2, 4])
def test_a_note_of_the_model_is_found_among_the_drawn(generator, number):
    """The recording is a note of one of the latents, softer and later: none is nearer to it."""
    timbre = generator.timbre("hollow", seed=4, number=number)
    wave = generator.waves([timbre], [64])[0]
    found = find_like(generator, np.concatenate([np.zeros(5000, np.float32), 0.1 * wave]), 16000, pitch=64, instrument="hollow", seed=4,
                      drawn=6, steps=0)  # fmt: skip
    assert np.array_equal(found.timbre.latent, timbre.latent)


def test_pitches_beyond_the_trained_ones_are_compared_at_the_nearest(generator):
    found = find_like(generator, tone_notes.tone("bright", 76, samples=4096), 16000, drawn=2, steps=1)
    assert found.pitch == 76 and "compared at 67" in found.said[0]


def test_only_instruments_that_were_trained_at_the_pitch_are_looked_among(tmp_path):
    generator = NoteGenerator(tone_notes.save_model(tmp_path / "m.safetensors", {"bright": [60, 62], "hollow": [64, 67]}), "cpu", 1)
    recording = tone_notes.tone("bright", 66, samples=4096)
    names = {find_like(generator, recording, 16000, seed=seed, drawn=6, steps=0).timbre.name for seed in range(4)}
    assert names == {"hollow"}
    found = find_like(generator, recording, 16000, instrument="bright", drawn=2, steps=0)
    assert found.timbre.name == "bright" and "compared at 62" in found.said[0]


def test_bad_recordings_are_one_sentence(generator, tmp_path, steady):
    rng = np.random.default_rng(0)
    for name, samples in (("silence.wav", np.zeros(16000)), ("empty.wav", np.zeros(0)), ("faint.wav", 1e-5 * rng.standard_normal(16000))):
        soundfile.write(tmp_path / name, samples, 16000, "FLOAT")
        with pytest.raises((InputError, AudioError)) as caught:
            find_like(generator, tmp_path / name)
        assert "\n" not in str(caught.value) and (name in str(caught.value) or "empty" in str(caught.value))
    soundfile.write(tmp_path / "wind.wav", 0.3 * rng.standard_normal(16000), 16000, "FLOAT")
    with pytest.raises(InputError, match=r"wind\.wav, found noise"):
        find_like(generator, tmp_path / "wind.wav")
    assert find_like(generator, tmp_path / "wind.wav", pitch=60, drawn=2, steps=0).pitch == 60
    with pytest.raises(AudioError, match=r"gone\.wav"):
        find_like(generator, tmp_path / "gone.wav")
    with pytest.raises(ConfigError, match="rate"):
        find_like(generator, steady)
    with pytest.raises(ConfigError, match="did you mean 'hollow'"):
        find_like(generator, steady, 16000, instrument="hollo")
    with pytest.raises(ConfigError, match="1 to 10,000"):
        find_like(generator, steady, 16000, drawn=0)
    with pytest.raises(Cancelled):
        find_like(generator, steady, 16000, drawn=2, steps=4, progress=lambda share: share < 0.6)
    assert all(parameter.requires_grad for parameter in generator.system.net.parameters())


def test_the_verbs_write_all_or_nothing(generator, tmp_path, steady):
    soundfile.write(tmp_path / "note.wav", 0.2 * steady, 16000)
    found = verb.like(tmp_path / "note.wav", model=generator, out=tmp_path / "out", save=tmp_path / "like.npz", drawn=2, steps=1)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{found.notes[0].timbre.name}-Ds4.wav", "notes.png"]
    a = generator.load_timbre(tmp_path / "like.npz")
    made = verb.morph(a, generator.timbre("bright", seed=9), steps=3, pitch="C4,D4", model=generator, out=tmp_path / "way", picture=False)
    assert [(one.number, one.pitch) for one in made.notes] == [(0, 60), (0, 62), (1, 60), (1, 62), (2, 60), (2, 62)]
    assert len({*made.paths}) == 6 and sorted(map(str, (tmp_path / "way").iterdir())) == sorted(made.paths)
    assert np.array_equal(made.notes[0].timbre.latent, a.latent) and np.array_equal(made.notes[-1].timbre.instrument, [1, 0])
    shares = []
    with pytest.raises(Cancelled):
        verb.note("C4", count=2, model=generator, out=tmp_path / "none", save=tmp_path / "none.npz",
                  progress=lambda share: (shares.append(share), share < 0.95)[1])  # fmt: skip
    with pytest.raises(ConfigError, match=r"ends in \.npz"):
        verb.note("C4", model=generator, out=tmp_path / "none", save=tmp_path / "none.txt")
    with pytest.raises(ConfigError, match="seconds of notes together"):
        verb.morph(a, a, steps=32, pitch="0..127", duration=60.0, model=generator, out=tmp_path / "none")
    with pytest.raises(ConfigError, match="1 to 4096 notes"):
        verb.morph(a, a, steps=256, pitch="0..127,0..127", model=generator, out=tmp_path / "none")
    with pytest.raises(ConfigError, match="2 to 256"):
        verb.morph(a, a, steps=1, model=generator)
    assert not (tmp_path / "none").exists() and not (tmp_path / "none.npz").exists()


def test_sheets(generator, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib.image")
    few = generator.notes("C4..D4")
    sizes = [matplotlib.imread(bytes_io.BytesIO(sheet(notes))).shape for notes in (few, 3 * few)]
    assert sizes[1][0] > 1.5 * sizes[0][0] and sizes[0][1] > 300
    assert sheet(few) == sheet(few) != sheet(few, title="a title")
    monkeypatch.setattr("songfoundry.timbre.sheet.MOST", 2)
    assert matplotlib.imread(bytes_io.BytesIO(sheet(5 * few))).shape < sizes[0]
    with pytest.raises(InputError, match="notes to draw"):
        sheet([])
