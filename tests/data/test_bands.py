import json
import zipfile

import numpy as np
import pytest
import soundfile
from midi_bytes import band, midi, part, tempo, track
from scipy.signal import sosfreqz

from songfoundry import notes
from songfoundry.audio.io import read
from songfoundry.data.bands import RATE, _shelf, choose_excerpt, midi_files, render_bands
from songfoundry.data.drumkit import GM_KEYS, Drumkit
from songfoundry.errors import DatasetError, InputError, MissingExtraError

pytest.importorskip("symusic")


def drum_part(starts, pitches, velocities) -> notes.Part:
    n = len(starts)
    return notes.Part(0, True, "", np.array(starts, float), np.full(n, 0.1), np.array(pitches), np.array(velocities),
                      np.zeros((0, 3)), np.zeros((0, 2)))  # fmt: skip


@pytest.fixture(scope="module")
def kit_folder(tmp_path_factory):
    """Three pieces of clicks that tell which hit was struck: the harder, the louder; open hats ring for two seconds."""
    folder = tmp_path_factory.mktemp("kit")
    pieces = {}
    sounds = (("KdrumR", 60, 0.2), ("Snare", 900, 0.1), ("HihatOpen", 7000, 2.0), ("HihatClosed", 9000, 0.05))
    for piece, hertz, seconds in sounds:
        pieces[piece] = []
        for n, level in enumerate((0.05, 0.1, 0.2, 0.4)):
            time = np.arange(round(seconds * 48000)) / 48000
            name = f"{piece}-{n}.wav"
            hit = level * np.cos(2 * np.pi * hertz * time) * np.exp(-2 * time / seconds)
            soundfile.write(folder / name, hit if piece == "Snare" else np.stack([hit, hit], 1), 48000, subtype="FLOAT")
            pieces[piece].append({"file": name})
    (folder / "index.json").write_text(json.dumps({"pieces": pieces}))
    return folder


@pytest.fixture
def midi_folder(tmp_path):
    folder = tmp_path / "midi"
    folder.mkdir()
    (folder / "one.mid").write_bytes(band(qpm=120))
    (folder / "two.mid").write_bytes(band(qpm=90))
    (folder / "broken.mid").write_bytes(band()[:-9])
    return folder


def onsets(samples: np.ndarray, above: float) -> np.ndarray:
    """Seconds at which the level rises over a threshold after 20 ms below it."""
    loud = np.flatnonzero(np.abs(samples).max(0) > above)
    return loud[np.concatenate([[True], np.diff(loud) > 0.02 * RATE])] / RATE


def test_the_kit_strikes_at_the_notes(kit_folder):
    kit = Drumkit.open(kit_folder, RATE)
    starts = [0.1, 0.5, 0.75, 1.3]
    sound = kit.play(drum_part(starts, [36, 38, 38, 36], [100] * 4), 2.0, np.random.default_rng(0))
    assert sound.shape == (2, 2 * RATE) and sound.dtype == np.float32
    assert np.allclose(onsets(sound, 0.02), starts, atol=0.002)


def test_hard_notes_choose_hard_hits_and_never_the_same_twice(kit_folder):
    kit = Drumkit.open(kit_folder, RATE)
    rng = np.random.default_rng(1)
    peaks = {v: [np.abs(kit.play(drum_part([0.0], [38], [v]), 0.2, rng)).max() for _ in range(20)] for v in (10, 64, 127)}
    assert np.mean(peaks[10]) < np.mean(peaks[64]) < np.mean(peaks[127])
    assert len(np.unique(peaks[64])) == 20


def test_an_open_hat_is_choked_by_the_next_stroke(kit_folder):
    kit = Drumkit.open(kit_folder, RATE)
    rings = kit.play(drum_part([0.0, 0.5], [46, 38], [100, 1]), 1.5, np.random.default_rng(2))
    choked = kit.play(drum_part([0.0, 0.5], [46, 42], [100, 1]), 1.5, np.random.default_rng(2))
    tail = slice(round(0.7 * RATE), RATE)
    assert np.abs(rings[:, tail]).max() > 0.05 and np.abs(choked[:, tail]).max() == 0


def test_notes_without_a_piece_are_left_out_and_said(kit_folder):
    kit = Drumkit.open(kit_folder, RATE)
    assert sorted(kit.keys) == sorted(key for key, piece in GM_KEYS.items() if piece in kit.pieces)
    assert not kit.play(drum_part([0.1], [49], [100]), 0.5, np.random.default_rng(0)).any()


def test_names_a_folder_that_is_no_kit(tmp_path):
    with pytest.raises(DatasetError, match="index.json"):
        Drumkit.open(tmp_path, RATE)


def test_takes_only_training_files_of_an_indexed_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for name in ("a.mid", "b.mid"):
            archive.writestr(name, band())
    assert [file.path for file in midi_files(tmp_path / "some.zip")] == ["a.mid", "b.mid"]
    items = [{"path": "a.mid", "split": "test"}, {"path": "b.mid", "split": "train", "licence": "CC0-1.0"}]
    (tmp_path / "index.json").write_text(json.dumps({"datasets": {"some": {"file": "some.zip", "items": items}}}))
    assert [(file.path, file.licence) for file in midi_files(tmp_path / "some.zip")] == [("b.mid", "CC0-1.0")]
    assert midi_files(tmp_path / "some.zip")[0].read().note_num() > 100
    with pytest.raises(DatasetError, match="none"):
        midi_files(tmp_path / "none")


def test_says_when_no_file_can_be_used(tmp_path, soundfont):
    (tmp_path / "broken.mid").write_bytes(band()[:-9])
    with pytest.raises(DatasetError, match="broken.mid"):
        bands(tmp_path, tmp_path / "out", soundfont=soundfont, count=1)


def test_an_excerpt_avoids_silence():
    starts = np.concatenate([np.arange(0, 10, 0.5), np.arange(60, 100, 0.5)])
    piece = drum_part(starts, [36] * len(starts), [90] * len(starts))
    for seed in range(5):
        start, length = choose_excerpt([piece], 20.0, np.random.default_rng(seed))
        assert length == 20.0 and start > 49 and start + length <= 100.2
    with pytest.raises(InputError, match="five seconds"):
        choose_excerpt([drum_part([0.0, 1.0], [36, 36], [90, 90])], 20.0, np.random.default_rng(0))


@pytest.mark.parametrize(("high", "expected"), [(False, [6, 3, 0]), (True, [0, 3, 6])])
def test_shelves_lift_their_side(high, expected):
    _, response = sosfreqz([_shelf(1000, 6, high=high)], [10, 1000, 21000], fs=RATE)
    assert np.allclose(20 * np.log10(np.abs(response)), expected, atol=0.01)


def bands(*arguments, **options) -> dict:
    try:
        return render_bands(*arguments, **options)
    except MissingExtraError as error:
        pytest.skip(str(error))


def test_renders_songs_whose_stems_sum(midi_folder, tmp_path, soundfont, kit_folder):
    out = tmp_path / "bands"
    index = bands(midi_folder, out, soundfont=soundfont, drum_kit=kit_folder, count=6, seconds=8.0, seed=3)
    assert json.loads((out / "index.json").read_text()) == index
    assert len(index["songs"]) == 4 and all("broken.mid" in why for why in index["skipped"]) and len(index["skipped"]) == 2
    assert {song["drawn"]["drummer"] for song in index["songs"]} == {"soundfont", "kit"}
    assert len({song["song"] for song in index["songs"]}) == 4
    for song in index["songs"]:
        assert song["split"] == "train" and song["licence"] == "unknown" and song["rate"] == RATE
        assert list(song["stems"]) == ["drums", "bass", "other"]
        stems = {name: read(out / files[0]["file"]) for name, files in song["stems"].items()}
        assert {(clip.samples.shape, clip.rate) for clip in stems.values()} == {((2, 8 * RATE), RATE)}
        mixture = sum(clip.samples for clip in stems.values())
        assert np.abs(mixture).max() <= 0.99 and all(np.abs(clip.samples).max() <= 0.99 for clip in stems.values())
        levels = {name: 20 * np.log10(clip.samples.std()) for name, clip in stems.items()}
        assert all(-45 < level < -8 for level in levels.values()), levels
        assert max(levels.values()) - min(levels.values()) < 17
        low = np.abs(np.fft.rfft(stems["bass"].samples.mean(0))) ** 2
        assert low[: 8 * 400].sum() > 0.7 * low.sum()  # 8 s: eight bins to the Hz


def test_kit_drums_start_where_the_midi_says(midi_folder, tmp_path, soundfont, kit_folder):
    out = tmp_path / "bands"
    index = bands(midi_folder, out, soundfont=soundfont, drum_kit=kit_folder, count=6, seconds=8.0, seed=3)
    song = next(song for song in index["songs"] if song["drawn"]["drummer"] == "kit")
    drawn = song["drawn"]
    piece = next(p for p in notes.parts(notes.read_midi(midi_folder / drawn["file"])) if p.is_drum)
    expected = np.unique(np.round(piece.starts / drawn["tempo"] - drawn["start"], 3))
    expected = expected[(expected >= 0) & (expected < 7.8)]
    drums = read(out / song["stems"]["drums"][0]["file"]).samples
    power = np.convolve(drums.astype(np.float64).mean(0) ** 2, np.ones(64) / 64, "same")

    def rise(time: float) -> float:
        """Power just after a time over the power just before it."""
        before = power[max(round((time - 0.02) * RATE), 0) : max(round((time - 0.003) * RATE), 1)].max()
        return power[round((time + 0.001) * RATE) : round((time + 0.02) * RATE)].max() / (before + 1e-9)

    between = (expected[1:] + expected[:-1]) / 2
    assert len(expected) > 20
    assert np.median([rise(t) for t in expected]) > 5 and np.median([rise(t) for t in between]) < 2


def test_resumes_and_repeats_bit_for_bit(midi_folder, tmp_path, soundfont, kit_folder):
    options = dict(soundfont=soundfont, drum_kit=kit_folder, seconds=6.0, seed=5)
    whole = bands(midi_folder, tmp_path / "whole", count=3, **options)
    bands(midi_folder, tmp_path / "cut", count=1, **options)
    kept = [p.stat().st_mtime_ns for p in sorted((tmp_path / "cut").glob("*/*.flac"))]
    again = bands(midi_folder, tmp_path / "cut", count=3, jobs=2, **options)
    assert [p.stat().st_mtime_ns for p in sorted((tmp_path / "cut").glob("0000*/*.flac"))] == kept
    assert again == whole and len(whole["songs"]) == 2
    for path in sorted((tmp_path / "whole").glob("*/*.flac")):
        assert path.read_bytes() == (tmp_path / "cut" / path.relative_to(tmp_path / "whole")).read_bytes()


def test_a_performance_plays_at_the_tempo_of_the_song(midi_folder, tmp_path, soundfont, kit_folder):
    (midi_folder / "broken.mid").unlink()
    (tmp_path / "groove").mkdir()
    beat = part(9, 0, [(480 * b, 60, 36, 120) for b in range(8)])  # one kick a beat, where the band has hats on the eighths
    (tmp_path / "groove" / "beat.mid").write_bytes(midi([track([tempo(0, 100)]), beat]))
    index = bands(midi_folder, tmp_path / "out", soundfont=soundfont, drum_kit=kit_folder, groove=tmp_path / "groove", count=8,
                  seconds=8.0, seed=0)  # fmt: skip
    played = [song for song in index["songs"] if song["drawn"]["drummer"] == "groove"]
    assert played
    for song in played:
        drums = read(tmp_path / "out" / song["stems"]["drums"][0]["file"]).samples
        beat_length = 60 / ({"one.mid": 120, "two.mid": 90}[song["drawn"]["file"]] * song["drawn"]["tempo"])
        gaps = np.diff(onsets(drums, 0.5 * np.abs(drums).max()))
        assert abs(np.median(gaps) - beat_length) < 0.01


def test_a_real_band(shared_data, tmp_path, soundfont):
    data = shared_data
    index = bands(data / "midi" / "multitrack.zip", tmp_path, soundfont=soundfont, drum_kit=data / "songs" / "muldjord_kit",
                  groove=data / "midi" / "groove.zip", count=1, seconds=10.0, seed=4)  # fmt: skip
    (song,) = index["songs"]
    assert song["licence"] in {"BSD-3-Clause", "Artistic-1.0", "GPL-2.0", "CC-BY-4.0", "CC0-1.0"}
    stems = {name: read(tmp_path / files[0]["file"]).samples for name, files in song["stems"].items()}
    assert all(samples.shape == (2, 10 * RATE) and samples.std() > 0.005 for samples in stems.values())
    assert np.abs(sum(stems.values())).max() <= 0.99
