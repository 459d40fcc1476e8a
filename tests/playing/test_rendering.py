"""Pieces sound at one loudness, never clipped, from any player; prompt and continuation are equally loud."""

import sys

import numpy as np
import pytest
from midi_bytes import band, midi, part, tempo, track

from songfoundry import notes
from songfoundry.audio import io
from songfoundry.audio.loudness import integrated, true_peak
from songfoundry.errors import Cancelled, ConfigError, InputError, MissingExtraError, OutputError
from songfoundry.playing import rendering

pytest.importorskip("symusic")
pytest.importorskip("pyloudnorm")
RATE = 22050


def two_sides(first: int, second: int, program: int = 0, bars: int = 4) -> bytes:
    """Four bars of chords at one velocity and four at another; the seam is at tick 4 * 4 * 480."""
    chords = [(480 * b, 420, p, first if b < 4 * bars else second) for b in range(8 * bars) for p in (55 + b % 3, 60, 64)]
    return midi([track([tempo(0, 120)]), part(0, program, chords)])


SEAM = 4 * 4 * 480


@pytest.mark.parametrize(("name", "rate"), [("a.wav", 44100), ("a.flac", 22050), ("a.mp3", 44100), ("a.ogg", 44100), ("a.opus", 48000)])
def test_every_format_comes_out_at_the_loudness(tmp_path, name, rate):
    made = rendering.render(band(beats=8), rate=rate, out=tmp_path / name)
    clip = io.read(tmp_path / name)
    assert clip.rate == made.rate == rate and clip.channels == 2 and made.player == "builtin" and made.path.endswith(name)
    assert abs(clip.seconds - 6.4) < 0.2
    assert abs(integrated(clip.samples, clip.rate) + 16) < 0.3 and true_peak(clip.samples) < (-0.95 if name[-3:] in ("wav", "lac") else 0)
    assert abs(made.lufs + 16) < 0.2 and made.dbtp <= -1 and not made.notes
    assert made.as_json()["seconds"] == pytest.approx(made.seconds, abs=1e-3) and "samples" not in made.as_json()


def test_a_path_bytes_and_a_score_give_the_same(tmp_path):
    (tmp_path / "s.mid").write_bytes(band(beats=4))
    first = rendering.render(tmp_path / "s.mid", rate=RATE)
    assert first.source == "s.mid" and first.path is None
    for source in (band(beats=4), notes.read_midi(band(beats=4))):
        assert np.array_equal(rendering.render(source, rate=RATE).samples, first.samples)


def test_notes_that_never_end_are_told_and_left_out():
    hanging = midi([part(0, 0, [(0, 480, 60, 100)]), track([(0, b"\x90\x40\x64")])])
    made = rendering.render(hanging, rate=RATE)
    assert "1 of 2 notes in the MIDI data never end: left out" in made.notes
    assert np.array_equal(made.samples, rendering.render(midi([part(0, 0, [(0, 480, 60, 100)])]), rate=RATE).samples)


@pytest.mark.parametrize("target", [-30.0, -16.0, -12.0])
def test_loudness_is_asked_for(target):
    made = rendering.render(band(beats=8), rate=RATE, loudness=target)
    assert abs(integrated(made.samples, RATE) - target) < 0.3 and made.dbtp <= -1


def test_what_cannot_be_that_loud_says_so():
    hit = midi([part(9, 0, [(0, 60, 37, 100), (4800, 60, 37, 100)])])
    made = rendering.render(hit, rate=RATE)
    assert made.dbtp <= -1 and made.lufs < -16.5 and "instead of -16" in made.notes[0]


def test_opus_takes_its_own_rate(tmp_path):
    made = rendering.render(band(beats=4), rate=44100, out=tmp_path / "a.opus")
    assert made.rate == 48000 and "opus has no rate of 44100 Hz" in made.notes[0]


@pytest.mark.parametrize("velocities", [(100, 12), (30, 120), (60, 70)])
@pytest.mark.parametrize("program", [0, 48])
def test_balance_makes_the_file_itself_even(velocities, program):
    score = notes.read_midi(two_sides(*velocities, program=program))
    made = rendering.balance(score, SEAM)
    before, after = rendering.loudness_of_parts(made, SEAM)
    assert abs(before - after) < 0.5
    kept = [(n.time, n.pitch, n.velocity) for n in score.tracks[0].notes if n.time < SEAM]
    assert [(n.time, n.pitch, n.velocity) for n in made.tracks[0].notes if n.time < SEAM] == kept
    assert made.note_num() == score.note_num() and {n.velocity for n in score.tracks[0].notes} == set(velocities)


def test_balance_of_accents_keeps_them_and_of_silence_nothing():
    accents = [(480 * b, 400, 60, (40, 80)[b % 2] if b >= 16 else 100) for b in range(32)]
    score = notes.read_midi(midi([track([tempo(0, 120)]), part(0, 0, accents)]))
    loud = [n.velocity for n in rendering.balance(score, SEAM).tracks[0].notes if n.time >= SEAM]
    assert 1.9 < loud[1] / loud[0] < 2.1 and loud[1] > 100
    assert rendering.balance(score, 10**6).tracks[0].notes == score.tracks[0].notes
    assert rendering.balance(score, 0).tracks[0].notes == score.tracks[0].notes


@pytest.mark.parametrize("velocities", [(110, 20), (25, 110)])
def test_rendering_evens_a_seam_within_a_decibel(velocities):
    made = rendering.render(two_sides(*velocities), rate=RATE, split_tick=SEAM)
    cut = 8 * RATE
    before, after = integrated(made.samples[:, :cut], RATE), integrated(made.samples[:, cut : 2 * cut], RATE)
    assert abs(before - after) < 0.5
    assert abs(made.prompt_lufs - before) < 0.1 and abs(made.continuation_lufs - after) < 0.1
    plain = rendering.render(two_sides(*velocities), rate=RATE)
    assert abs(integrated(plain.samples[:, :cut], RATE) - integrated(plain.samples[:, cut : 2 * cut], RATE)) > 10
    # The step is drawn out over the beat of half a second round the seam, and nothing else changes by more than a gain.
    ratio = np.abs(made.samples).max(axis=0) / np.maximum(np.abs(plain.samples).max(axis=0), 1e-9)
    early, late = ratio[2 * RATE : 7 * RATE], ratio[9 * RATE : 15 * RATE]
    assert np.ptp(np.log10(early[early > 0])) < 0.02 and np.ptp(np.log10(late[late > 0])) < 0.02


def test_a_soundfont_plays(soundfont, tmp_path):
    try:
        made = rendering.render(two_sides(110, 30), soundfont=soundfont, rate=RATE, split_tick=SEAM)
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert made.player == soundfont.name and abs(made.lufs + 16) < 0.2 and made.dbtp <= -1
    assert abs(made.prompt_lufs - made.continuation_lufs) < 0.5
    assert not np.array_equal(made.samples, rendering.render(two_sides(110, 30), rate=RATE, split_tick=SEAM).samples)
    auto = rendering.render(band(beats=4), soundfont="auto", rate=RATE)
    assert auto.player == rendering.system_soundfonts()[0].name


def test_auto_without_soundfonts_or_fluidsynth_is_the_orchestra(monkeypatch):
    monkeypatch.setattr(rendering, "_FOLDERS", ())
    made = rendering.render(band(beats=4), soundfont="auto", rate=RATE)
    assert made.player == "builtin" and "no SoundFont was found" in made.notes[0]
    monkeypatch.undo()

    def missing(*_, **__):
        raise MissingExtraError("no library")

    monkeypatch.setattr(notes, "render", missing)
    monkeypatch.setattr(rendering, "system_soundfonts", lambda: [rendering.Path(__file__)])
    made = rendering.render(band(beats=4), soundfont="auto", rate=RATE)
    assert made.player == "builtin" and "FluidSynth library was not found" in made.notes[0]
    with pytest.raises(MissingExtraError):
        rendering.render(band(beats=4), soundfont=__file__, rate=RATE)


def test_system_soundfonts_are_ranked(tmp_path, monkeypatch):
    for name, size in (("big.sf2", 900), ("small.sf2", 10), ("TimGM6mb.sf2", 50), ("FluidR3_GM.sf2", 20), ("no.txt", 5)):
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "link.sf2").symlink_to(tmp_path / "big.sf2")
    monkeypatch.setattr(rendering, "_FOLDERS", (str(tmp_path), str(tmp_path / "none")))
    found = [file.name for file in rendering.system_soundfonts()]
    assert found[:2] == ["FluidR3_GM.sf2", "TimGM6mb.sf2"] and found[3:] == ["small.sf2"] and len(found) == 4


BAD = {
    "nothing there": (dict(source="none.mid"), InputError, "none.mid"),
    "no MIDI": (dict(source=b"Dear diary"), InputError, "standard MIDI file"),
    "cut short": (dict(source=band(beats=4)[:-9]), InputError, "whole tracks"),
    "no notes": (dict(source=midi([track([tempo(0, 120)])])), InputError, "expected notes to play"),
    "two hours": (dict(source=midi([part(0, 0, [(0, 480, 60, 90), (480 * 14400, 480, 60, 90)])])), InputError, "at most 60 minutes"),
    "no such SoundFont": (dict(soundfont="none.sf2"), InputError, "none.sf2"),
    "rate": (dict(rate=100), ConfigError, "8000 to 192000 Hz"),
    "loudness": (dict(loudness=3.0), ConfigError, "LUFS"),
    "suffix": (dict(out="a.xyz"), OutputError, "a.xyz"),
    "folder": (dict(out="none/a.wav"), OutputError, "none/a.wav"),
    "depth": (dict(out="a.mp3", depth="int24"), OutputError, "no bit depth"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options, kind, words = BAD[name]
    source = options.get("source", band(beats=4))
    with pytest.raises(kind, match=words) as caught:
        rendering.render(source, **({"out": "a.wav", "rate": RATE} | {k: v for k, v in options.items() if k != "source"}))
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_stopping_leaves_nothing(tmp_path):
    with pytest.raises(Cancelled):
        rendering.render(band(beats=4), rate=RATE, out=tmp_path / "a.wav", progress=lambda share: False)
    assert not list(tmp_path.iterdir())


def test_silent_notes_are_silence():
    made = rendering.render(midi([part(0, 0, [(0, 480, 127, 1)])]), rate=RATE)
    assert np.isfinite(made.samples).all() and made.dbtp <= -1


def test_names_the_missing_meter(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    with pytest.raises(MissingExtraError, match=r"songfoundry\[midi\]"):
        rendering.render(band(beats=4), rate=RATE)


def test_the_prompts_come_out_even(shared_data):
    for name in ("03_pop_4-4_major_fast", "07_jig_6-8_major_fast", "09_chorale_4-4_B_minor"):
        path = shared_data / "midi" / "prompts" / f"{name}.mid"
        made = rendering.render(path, rate=RATE)
        assert abs(made.lufs + 16) < 0.3 and made.dbtp <= -1, name


def test_a_picture_and_a_score_come_along_or_nothing_does(tmp_path):
    pytest.importorskip("music21")
    pytest.importorskip("verovio")
    (tmp_path / "s.mid").write_bytes(band(beats=4))
    wanted = dict(out=tmp_path / "s.wav", picture=tmp_path / "s.png", score=tmp_path / "s-score", rate=RATE)
    made = rendering.render(tmp_path / "s.mid", **wanted)
    assert made.others == [str(tmp_path / "s.png"), str(tmp_path / "s-score")]
    names = sorted(path.name for path in tmp_path.rglob("*"))
    assert names == ["page-01.svg", "s-score", "s.mid", "s.png", "s.wav", "score.musicxml"]
    with pytest.raises(InputError, match="notes"):
        rendering.render(midi([track([tempo(0, 120)])]), **{key: tmp_path / "new" for key in ("picture", "score")})
    with pytest.raises(OutputError, match="both places"):
        rendering.render(tmp_path / "s.mid", out=tmp_path / "s.mid", format="wav")
    assert (tmp_path / "s.mid").read_bytes() == band(beats=4) and not (tmp_path / "new").exists()
