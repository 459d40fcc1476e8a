import numpy as np
import pytest

from songfoundry.data import synthetic, tunes
from songfoundry.errors import InputError


@pytest.fixture(scope="module")
def demo():
    return synthetic.demo_song()


def decibels(audio):
    return 10 * np.log10((np.asarray(audio, dtype=float) ** 2).mean())


def loudest(wave, rate, near):
    """The strongest partial within half a semitone of `near` Hz."""
    size = 1 << 19
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), size))
    frequency = np.fft.rfftfreq(size, 1 / rate)
    around = (frequency > near * 0.97) & (frequency < near * 1.03)
    return frequency[around][spectrum[around].argmax()]


def test_demo_has_its_form(demo):
    assert list(demo) == ["vocals", "drums", "bass", "other"]
    assert all(stem.shape == (2, 24 * 44100) and stem.dtype == np.float32 and np.isfinite(stem).all() for stem in demo.values())
    assert np.abs(sum(demo.values())).max() == pytest.approx(0.85, abs=1e-4)
    song = tunes.compose_demo()
    assert song.sections == ["intro"] * 2 + ["verse"] * 4 + ["chorus"] * 4
    # No voice in the intro (but for the breath and consonant before its first beat), and every stem in the chorus.
    entry = int((song.bars[2] - 0.01) * 44100)
    assert not demo["vocals"][:, :entry].any()
    chorus = slice(int(song.bars[6] * 44100), int(song.bars[10] * 44100))
    assert all(decibels(stem[:, chorus]) > -40 for stem in demo.values())


def test_demo_is_balanced_like_a_song(demo):
    song = tunes.compose_demo()
    sung = slice(int(song.bars[2] * 44100), int(song.bars[10] * 44100))
    vocals, rest = demo["vocals"][:, sung], sum(demo[s] for s in ("drums", "bass", "other"))[:, sung]
    assert abs(decibels(vocals) - decibels(rest)) < 4
    levels = [decibels(stem[:, sung]) for stem in demo.values()]
    assert max(levels) - min(levels) < 8
    for stem in ("drums", "other", "vocals"):
        assert not np.allclose(demo[stem][0], demo[stem][1])  # stereo


def test_same_seed_same_song_other_seed_other_song():
    first, again, other = (synthetic.demo_song(seed, seconds=8, rate=8000) for seed in (5, 5, 6))
    assert all(np.array_equal(first[stem], again[stem]) and not np.array_equal(first[stem], other[stem]) for stem in first)
    first, again, other = (synthetic.training_song(seed, seconds=6, rate=8000) for seed in (1005, 1005, 1006))
    assert all(np.array_equal(first[stem], again[stem]) for stem in first)
    assert not np.array_equal(sum(first.values()), sum(other.values()))


def test_drum_onsets_lie_on_the_grid(demo):
    song = tunes.compose_demo()
    mono, rate, hop = demo["drums"].mean(axis=0), 44100, 220
    frames = mono[: len(mono) // hop * hop].reshape(-1, hop)
    energy = np.log10((frames.astype(float) ** 2).mean(axis=1) + 1e-9)
    rise = energy[2:] - energy[:-2]
    found = [i for i in range(4, len(rise) - 4) if rise[i] > 1.0 and rise[i] == rise[i - 4 : i + 5].max()]
    times = (np.array(found) + 2) * hop / rate
    sixteenth = 60 / song.style.tempo / 4
    off = np.abs((times + sixteenth / 2) % sixteenth - sixteenth / 2)
    assert len(times) > 40 and np.percentile(off, 90) < 0.02


def test_swing_moves_the_offbeats_only():
    draw = np.random.default_rng(0)
    song = tunes._arrange(tunes.Style(swing=1.0, tempo=60.0), 24.0, tunes.DEMO_TUNE, draw)
    hats = sorted(t % 1 for t, piece, _ in song.drums if piece == "hat")
    assert all(min(abs(t), abs(t - 1), abs(t - 2 / 3)) < 0.011 for t in hats) and any(abs(t - 2 / 3) < 0.011 for t in hats)


def test_bass_plays_its_notes_in_tune(demo):
    song = tunes.compose_demo()
    for note in [n for n in song.bass if n.seconds > 0.6][:4]:
        wave = demo["bass"][0, int(note.start * 44100) :][: int(note.seconds * 44100)]
        true = 440 * 2 ** ((note.pitch - 69) / 12)
        assert abs(1200 * np.log2(loudest(wave, 44100, true) / true)) < 5


def test_voice_sings_the_written_tune(demo):
    song = tunes.compose_demo()
    held = [n for n in song.vocals if n.seconds > 0.7 and n.start < song.bars[6]]  # before the harmony comes in
    assert len(held) >= 2
    for note in held:
        wave = demo["vocals"].mean(axis=0)[int((note.start + 0.1) * 44100) : int((note.start + note.seconds - 0.05) * 44100)]
        true = 440 * 2 ** ((note.pitch - 69) / 12)
        # vibrato of 38 cents about the note
        assert abs(1200 * np.log2(loudest(wave, 44100, true) / true)) < 45
    expected = [step for bar in tunes.DEMO_TUNE["verse"] for step, _ in bar if step is not None]
    scale = [62, 64, 66, 67, 69, 71, 73]
    sung = [n.pitch for n in song.vocals if n.start < song.bars[6]]
    assert sung == [scale[step % 7] + 12 * (step // 7) for step in expected]


@pytest.mark.parametrize("seed", [1000, 1003, 1011, 12345])
def test_training_songs_are_songs(seed):
    song = tunes.compose_training(seed, 16)
    scale = {(song.style.key + s) % 12 for s in tunes._SCALES[song.style.mode]}
    chords = [p for _, _, _, hits in song.other for _, _, pitches, _ in hits for p in pitches]
    assert {int(p) % 12 for p in chords + [n.pitch for n in song.bass + song.vocals + song.harmony]} <= scale
    assert all(28 <= n.pitch <= 58 for n in song.bass) and all(40 <= n.pitch <= 86 for n in song.vocals)
    assert all(b.start >= a.start + a.seconds - 1e-9 for a, b in zip(song.vocals, song.vocals[1:], strict=False))
    stems = synthetic.render(song, 16000, seed)
    mixture = sum(stems.values())
    assert np.isfinite(mixture).all() and np.abs(mixture).max() == pytest.approx(0.85, abs=1e-3)
    assert all(decibels(stem) > -50 for stem in stems.values())


def test_training_never_meets_the_demo():
    low, high = tunes.DEMO_TRACTS
    assert low < tunes.DEMO_VOICE.tract < high
    styles, tunes_drawn = [], []
    for seed in range(1000, 1400):
        draw = np.random.default_rng([seed, 1])
        styles.append(tunes._draw_style(draw))
        tunes_drawn.append(tunes._draw_tune(styles[-1], draw))
    tracts = np.array([style.voice.tract for style in styles])
    assert ((tracts <= low) | (tracts >= high)).all() and (tracts < low).any() and (tracts > high).any()
    assert {style.metre for style in styles} == {3, 4} and {style.mode for style in styles} == set(tunes._SCALES)
    assert len({str(tune) for tune in tunes_drawn}) > 390
    demo_steps = sung_phrases(tunes.compose_demo(seconds=30))
    for seed in range(1000, 1060):
        assert demo_steps.isdisjoint(sung_phrases(tunes.compose_training(seed, 30)))


def sung_phrases(song, notes=5):
    """Runs of notes within a section as (scale steps between them, beats from note to note)."""
    scale = sorted(tunes._SCALES[song.style.mode])
    runs = set()
    for section in ("verse", "chorus"):
        bars = [b for b, name in enumerate(song.sections) if name == section][:4]
        if len(bars) < 4:
            continue
        line = [n for n in song.vocals if song.bars[bars[0]] - 1e-6 <= n.start < song.bars[bars[-1] + 1] - 1e-6]
        steps = [scale.index(int(n.pitch - song.style.key) % 12) + 7 * (int(n.pitch - song.style.key) // 12) for n in line]
        beat = 60 / song.style.tempo
        onsets = [round((n.start - song.bars[bars[0]]) / beat * 4) for n in line]
        for i in range(len(line) - notes + 1):
            runs.add((tuple(np.diff(steps[i : i + notes]).tolist()), tuple(np.diff(onsets[i : i + notes]).tolist())))
    return runs


def test_a_drawn_tune_like_the_demos_is_drawn_again(monkeypatch):
    honest = tunes._draw_tune
    # The demo's verse in another octave, as a chorus.
    copied = {"chorus": tuple(tuple((None if s is None else s + 7, b) for s, b in bar) for bar in tunes.DEMO_TUNE["verse"])}
    assert tunes.resembles_demo(copied)
    calls = []

    def cheating(style, draw):
        calls.append(style)
        return copied if len(calls) < 3 else honest(style, draw)

    monkeypatch.setattr(tunes, "_draw_tune", cheating)
    song = tunes.compose_training(1234)
    assert len(calls) >= 3 and sung_phrases(song).isdisjoint(sung_phrases(tunes.compose_demo()))


def test_seeds_of_demo_and_training_are_kept_apart():
    for seed in (0, tunes.DEMO_SEED, 999, -1):
        with pytest.raises(InputError, match="demo"):
            synthetic.training_song(seed)
    for seed in (-1, 1000):
        with pytest.raises(InputError, match="training"):
            synthetic.demo_song(seed)


def test_short_songs_and_bad_numbers():
    song = synthetic.demo_song(seconds=2.5, rate=8000)
    assert song["drums"].shape == (2, 20000) and song["drums"].any()
    for options in ({"seconds": 1}, {"seconds": float("nan")}, {"rate": 4000}):
        with pytest.raises(InputError, match="at least"):
            synthetic.demo_song(**options)


def test_written_songs_are_read_as_training_songs_and_kept(tmp_path):
    from songfoundry.data.songs import find_songs, read_song
    from songfoundry.data.synthetic import training_song, write_songs

    index = write_songs(tmp_path / "made", 1, seed=1001, seconds=4)
    kept = (tmp_path / "made" / "1001" / "drums.flac").stat().st_mtime_ns
    assert write_songs(tmp_path / "made", 2, seed=1001, seconds=4) == index
    assert (tmp_path / "made" / "1001" / "drums.flac").stat().st_mtime_ns == kept
    songs = find_songs(tmp_path / "made")
    assert [(song.name, song.split) for song in songs] == [("made/1001", "train"), ("made/1002", "train")]
    read, true = read_song(songs[0], 44100), training_song(1001, 4)
    assert all(np.abs(read[stem] - true[stem]).max() < 1e-4 for stem in true)
    assert not list((tmp_path / "made").glob(".*"))
