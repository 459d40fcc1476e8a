import json
from importlib import util

import numpy as np
import pytest

from songfoundry.errors import InputError
from songfoundry.metrics import separation as sep
from songfoundry.metrics.bsseval import bss_eval

RATE = 8000


def noise(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype) * dtype(0.1)


def museval_sdr(references, estimates, rate, taps=4, **frames):
    """The reference implementation; its SDR does not depend on the number of filter taps, its time does."""
    if util.find_spec("museval") is None:
        pytest.skip("no museval")
    return bss_eval(references, estimates, rate, filter_taps=taps, **frames)["SDR"]


def read_stems(path, seconds):
    """Decode the streams of a MUSDB18 file by PyAV: float32 (stems, channels, samples) of drums, bass, other, vocals."""
    av = pytest.importorskip("av")
    streams = []
    for number in range(1, 5):
        with av.open(str(path)) as container:
            blocks = [frame.to_ndarray() for frame in container.decode(container.streams.audio[number])]
        streams.append(np.concatenate(blocks, axis=1)[:, : int(seconds * 44100)])
    return np.stack(streams)


@pytest.mark.parametrize("seconds", [3.0, 3.7, 0.6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_museval_on_frames_with_silence(seconds, dtype):
    n = int(seconds * RATE)
    references, errors = noise(3, 2, n, dtype=dtype), noise(3, 2, n, seed=1, dtype=dtype)
    estimates = references + errors * dtype(0.3)
    if seconds > 1:
        references[1, :, RATE : 2 * RATE] = 0  # one reference silent in frame 1
        estimates[2, 0, 2 * RATE : 3 * RATE] = -estimates[2, 1, 2 * RATE : 3 * RATE]  # "silent" by its sum in frame 2
        estimates[0, 0, : RATE // 2] = 0  # not silent: the other channel sounds
    ours, theirs = sep.frame_sdr(references, estimates, RATE), museval_sdr(references, estimates, RATE)
    assert ours.shape == theirs.shape == (3, max(1, int(seconds)))
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    if seconds > 1:
        assert np.isnan(ours).tolist() == [[False, True, True]] * 3
    np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("window, hop", [(1.0, 0.5), (0.5, 0.8), (0.3, 0.1)])
def test_equals_museval_with_other_windows_and_hops(window, hop):
    references = noise(2, 1, int(2.35 * RATE))
    references[0, 0, RATE : int(1.4 * RATE)] = 0
    estimates = references * 0.8 + noise(*references.shape, seed=3) * 0.2
    ours = sep.frame_sdr(references, estimates, RATE, window, hop)
    theirs = museval_sdr(references, estimates, RATE, window_seconds=window, hop_seconds=hop)
    np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)


def test_many_frames_are_the_frames_of_a_loop():
    references, estimates = noise(2, 2, 5050), noise(2, 2, 5050, seed=1)
    ours = sep.frame_sdr(references, estimates, 100, 1.0, 0.7)
    for frame in range(ours.shape[1]):
        span = slice(frame * 70, frame * 70 + 100)
        true = references[..., span].astype(float)
        error = true - estimates[..., span]
        expected = 10 * np.log10((true**2).sum((1, 2)) / (error**2).sum((1, 2)))
        np.testing.assert_allclose(ours[:, frame], expected, atol=1e-10)
    assert ours.shape[1] == (5050 - 100) // 70 + 1 > 2 * sep._FRAMES_AT_ONCE


def test_equals_museval_on_real_stems(shared_data):
    references = read_stems(shared_data / "test/musdb/The Easton Ellises - Falcon 69.stem.mp4", 5.9)
    assert references.shape == (4, 2, 260190) and np.abs(references).max() > 0.1
    estimates = 0.9 * references + 0.05 * references.sum(axis=0) + 0.003 * noise(*references.shape, seed=2)
    ours, theirs = sep.frame_sdr(references, estimates, 44100), museval_sdr(references, estimates, 44100, taps=2)
    assert ours.shape == (4, 5) and np.isfinite(ours).any()
    np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)


def test_equals_musevals_published_scores(shared_data):
    folder = shared_data / "test/musdb"
    expected = json.loads((folder / "Music Delta - 80s Rock.museval.json").read_text())
    stems = read_stems(folder / "Music Delta - 80s Rock.stem.mp4", 300032 / 44100)
    references = np.stack([stems[3], stems[:3].sum(axis=0)])
    np.random.seed(0)
    estimates = np.stack([np.random.random((300032, 2)).T for _ in range(2)])
    whole = 6 * 44100  # decoders differ in where the last AAC frame ends, and the tail of 0.8 s counts for nothing
    ours = sep.frame_sdr(references[..., :whole], estimates[..., :whole], 44100)
    theirs = [[frame["metrics"]["SDR"] for frame in target["frames"]] for target in expected["targets"]]
    # They are rounded to five digits.
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.long
def test_equals_museval_with_its_own_filters(shared_data):
    references = read_stems(shared_data / "test/musdb/Music Delta - 80s Rock.stem.mp4", 3.0)
    estimates = 0.8 * references + 0.01 * noise(*references.shape, seed=2)
    theirs = museval_sdr(references, estimates, 44100, taps=512)
    np.testing.assert_allclose(sep.frame_sdr(references, estimates, 44100), theirs, atol=1e-6, rtol=0)


def test_dropping_by_references_cannot_be_played():
    references = noise(2, 2, 4 * RATE)
    references[1, :, :RATE] = 0
    estimates = references + 0.5 * noise(2, 2, 4 * RATE, seed=1)
    estimates[:, :, 3 * RATE :] += 5 * noise(2, 2, RATE, seed=2)  # a bad second ...
    cheat = estimates.copy()
    cheat[0, :, 3 * RATE :] = 0  # ... that zeros take out of museval's count
    honest, frames = sep.sdr_v4(references, estimates, RATE)
    better, fewer = sep.sdr_v4(references, cheat, RATE)
    assert (frames, fewer) == (3, 2) and (better > honest).all()
    framewise = sep.frame_sdr(references, cheat, RATE, drop="references")
    assert np.isnan(framewise).tolist() == [[True, False, False, False]] * 2
    assert framewise[0, 3] == 0.0
    assert sep.sdr_v4(references, cheat, RATE, drop="references")[1] == 3


def test_absent_stem_neither_scores_nor_drops_frames():
    references = noise(3, 1, 3 * RATE)
    references[1] = 0
    estimates = references + 0.1 * noise(3, 1, 3 * RATE, seed=1)
    assert sep.present_stems(references) == [True, False, True]
    assert sep.sdr_v4(references, estimates, RATE)[1] == 0
    scores, frames = sep.sdr_v4(references, estimates, RATE, present=[True, False, True])
    assert frames == 3 and np.isnan(scores[1])
    np.testing.assert_allclose(scores[[0, 2]], 20.0, atol=0.3)
    with pytest.raises(InputError, match="at least one yes"):
        sep.sdr_v4(references, estimates, RATE, present=[False] * 3)


def test_utterance_sdr_is_the_challenges_formula():
    references, estimates = noise(4, 2, 5000), noise(4, 2, 5000, seed=1)
    references[3] = estimates[3] = 0
    scores = sep.utterance_sdr(references, estimates)
    # The published scorer works on (stems, samples, channels).
    true, guess = np.moveaxis(references, 1, 2).astype(float), np.moveaxis(estimates, 1, 2).astype(float)
    delta = 1e-7
    expected = 10 * np.log10((np.sum(true**2, (1, 2)) + delta) / (np.sum((true - guess) ** 2, (1, 2)) + delta))
    np.testing.assert_allclose(scores, expected, atol=1e-9)
    assert scores[3] == 0
    assert (sep.utterance_sdr(references, np.zeros_like(references)) == 0).all()


def test_si_sdr_ignores_gain_and_measures_orthogonal_noise():
    time = np.arange(RATE) / RATE
    target = np.sin(2 * np.pi * 100 * time)
    error = np.sin(2 * np.pi * 300 * time)  # orthogonal over whole periods
    references = np.stack([target, target, target, 0 * target])
    estimates = np.stack([target + 0.1 * error, 7 * (target + 0.1 * error), 0 * target, target])
    scores = sep.si_sdr(references, estimates)
    np.testing.assert_allclose(scores[:2], 20.0, atol=1e-9)
    assert scores[2] == -np.inf and np.isnan(scores[3])
    # one gain for both channels: a wrong panorama costs
    stereo = np.stack([target, target])[None]
    assert sep.si_sdr(stereo, stereo * np.array([1.0, 0.5])[:, None])[0] == pytest.approx(10 * np.log10(9), abs=1e-9)


@pytest.mark.parametrize(
    "references, estimates, words",
    [
        (noise(2, 2, 100), noise(2, 2, 99), "same shape"),
        (noise(100), noise(100), "axes"),
        (noise(2, 2, 0), noise(2, 2, 0), "axes"),
        (np.ones((2, 2, 100), dtype=np.int16), noise(2, 2, 100), "floating point"),
        (noise(2, 2, 100), np.full((2, 2, 100), np.nan, dtype=np.float32), "finite"),
    ],
)
def test_bad_arrays_are_one_sentence(references, estimates, words):
    for metric in (lambda r, e: sep.frame_sdr(r, e, 50), sep.utterance_sdr, sep.si_sdr):
        with pytest.raises(InputError, match=words) as caught:
            metric(references, estimates)
        assert "\n" not in str(caught.value) and str(caught.value).startswith("expected ")


def test_bad_options_are_named():
    with pytest.raises(InputError, match="any, references"):
        sep.frame_sdr(noise(1, 1, 10), noise(1, 1, 10), 10, drop="estimates")
    with pytest.raises(InputError, match="0 samples"):
        sep.frame_sdr(noise(1, 1, 10), noise(1, 1, 10), 10, window_seconds=0.01)


def test_scores_of_songs_become_rows():
    stems = ("vocals", "bass")
    full = noise(2, 2, 3 * RATE)
    partial = noise(2, 2, 5 * RATE, seed=5)
    partial[0] = 0
    songs = [
        sep.score_song(song, song + gain * noise(*song.shape, seed=9), RATE, stems)
        for song, gain in ((full, 0.1), (partial, 1.0), (full, 0.01))
    ]
    assert songs[1]["scores"][sep.SDR_V4].keys() == {"bass"}
    rows = {(row.definition, row.stem): row for row in sep.aggregate(songs)}
    assert set(rows) == {(definition, stem) for definition in sep.DEFINITIONS for stem in stems}
    bass = rows[sep.SDR_V4, "bass"]
    each = [song["scores"][sep.SDR_V4]["bass"] for song in songs]
    assert (bass.songs, bass.frames) == (3, 11)
    assert bass.mean == pytest.approx(np.mean(each)) and bass.median == pytest.approx(np.median(each))
    np.testing.assert_allclose(sorted(each), [0, 20, 40], atol=0.5)
    vocals = rows[sep.SDR_V4_REFERENCES, "vocals"]
    assert (vocals.songs, vocals.frames) == (2, 6)
    assert rows[sep.UTTERANCE_SDR, "vocals"].frames is None
