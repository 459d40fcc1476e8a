"""Hold the scores of sung curves to mir_eval's, and the onsets to curves whose onsets are known."""

import numpy as np
import pytest

from songfoundry.audio import io
from songfoundry.metrics import melody
from songfoundry.metrics.pitch import follow
from songfoundry.voice.tune import Curve, Tune, TuneNote

TUNE = Tune((TuneNote(0.2, 0.7, 60), TuneNote(0.7, 1.2, 64), TuneNote(1.4, 1.9, 64), TuneNote(1.9, 2.4, 62)))


def hertz(pitch):
    return 440 * 2 ** ((np.asarray(pitch) - 69) / 12)


def wavering(seed: int, frames: int = 400, voiced: float = 0.7) -> np.ndarray:
    """A curve that wanders, with breaks and leaps by an octave."""
    rng = np.random.default_rng(seed)
    curve = hertz(60 + np.cumsum(rng.normal(0, 0.3, frames)) + 12 * (rng.random(frames) < 0.1))
    return np.where(np.repeat(rng.random(frames // 20), 20) < voiced, curve, 0.0)


def test_scores_are_those_of_mir_eval_on_one_grid_and_on_two():
    mir = pytest.importorskip("mir_eval").melody
    for seed in range(5):
        wanted = wavering(seed)
        sung = np.where(np.random.default_rng(seed).random(400) < 0.9, wanted * 2 ** (wavering(seed + 50) / 9000), 0.0)
        sung[:40] *= 2
        for period in (0.01, 0.006):
            times, own = np.arange(400) * 0.01, np.arange(400) * period
            # mir_eval holds the last frame to the reference's end: both end in silence.
            estimate = np.append(sung[:-1], 0.0)
            theirs = mir.to_cent_voicing(times, wanted, own, estimate)
            found = melody.scores(Curve(wanted, 0.01), Curve(estimate, period))
            recall, alarm = mir.voicing_measures(theirs[0], theirs[2])
            assert found["rpa"] == pytest.approx(mir.raw_pitch_accuracy(*theirs), abs=0.004)
            assert found["rca"] == pytest.approx(mir.raw_chroma_accuracy(*theirs), abs=0.004)
            assert found["overall"] == pytest.approx(mir.overall_accuracy(*theirs), abs=0.004)
            assert (found["voicing_recall"], found["voicing_false_alarm"]) == pytest.approx((recall, alarm), abs=0.004)
            assert found["voicing_error"] == pytest.approx((theirs[0] != theirs[2]).mean(), abs=0.004)


def test_a_curve_that_is_sharp_by_thirty_cents_is_right_and_one_by_seventy_is_not():
    wanted = melody.drawn(TUNE)
    for cents, right in ((30, 1.0), (70, 0.0), (1200, 0.0)):
        found = melody.scores(wanted, Curve(wanted.hertz * 2 ** (cents / 1200), 0.01))
        assert found["rpa"] == right and found["f0_rmse_cents"] == pytest.approx(cents) and found["voicing_error"] == 0
    assert found["rca"] == 1
    nothing = melody.scores(wanted, Curve(np.zeros(0), 0.01))
    assert nothing["rpa"] == 0 == nothing["voicing_recall"] and np.isnan(nothing["f0_rmse_cents"])


def test_onsets_are_found_where_the_voice_begins_and_where_it_moves_on():
    late = Tune(tuple(TuneNote(note.start + 0.03, note.end + 0.03, note.pitch) for note in TUNE.notes))
    deviations = melody.onset_deviations(TUNE, melody.drawn(late, 0.005))
    assert deviations == pytest.approx([0.03] * 4, abs=0.0051)
    assert melody.onset_scores(TUNE, melody.drawn(late, 0.005))["onset_ms"] == pytest.approx(30, abs=6)


def test_an_onset_that_is_not_sung_is_not_found_elsewhere():
    joined = Tune((TuneNote(0.2, 0.7, 60), TuneNote(0.7, 1.9, 64)))
    # The third note repeats the second, and the voice joins them; the last pitch never comes.
    deviations = melody.onset_deviations(TUNE, melody.drawn(joined, 0.005, seconds=2.5))
    assert np.isfinite(deviations).tolist() == [True, True, False, False]
    assert melody.onset_scores(TUNE, melody.drawn(joined))["onset_found"] == 0.5
    assert melody.onset_scores(TUNE, Curve(np.zeros(300), 0.01)) == pytest.approx(
        {"onset_ms": np.nan, "onset_mean_ms": np.nan, "onset_found": 0.0}, nan_ok=True
    )


def test_a_slide_is_heard_half_way():
    pitch = np.interp(np.arange(0, 2, 0.005), [0.9, 1.1], [60, 64])
    tune = Tune((TuneNote(0.0, 1.0, 60), TuneNote(1.0, 2.0, 64)))
    assert melody.onset_deviations(tune, Curve(hertz(pitch), 0.005))[1] == pytest.approx(0, abs=0.006)


def test_a_voice_is_followed_through_glides_octaves_and_breaks():
    rate = 16000
    time = np.arange(2 * rate) / rate
    pitch = 57 + 7 * time + 0.5 * np.sin(2 * np.pi * 5 * time)
    phase = 2 * np.pi * np.cumsum(hertz(pitch)) / rate
    wave = sum(np.sin(n * phase) / n for n in range(1, 9)) * (np.abs(time - 1) > 0.1)
    wave += 1e-3 * np.random.default_rng(0).normal(size=len(wave))
    curve = follow(0.2 * wave, rate)
    truth = np.where(np.abs(np.arange(200) * 0.01 - 1) > 0.1, hertz(pitch[::160]), 0.0)
    found = melody.scores(Curve(truth, 0.01), curve)
    assert len(curve.hertz) == 200 and found["rpa"] > 0.95 and found["voicing_error"] < 0.04 and found["f0_rmse_cents"] < 12
    assert not follow(np.zeros(rate), rate).hertz.any() and len(follow(np.zeros(0), rate).hertz) == 0
    noise = follow(np.random.default_rng(1).normal(size=rate), rate)
    assert (noise.hertz > 0).mean() < 0.02


def test_real_singing_is_followed_as_its_labels_have_it(shared_data):
    import json

    folder = shared_data / "songs" / "mir1k"
    name, start, length = json.loads((folder / "index.json").read_text())["Kenshin_1"][0]
    voice = io.read(folder / "Kenshin_1.voc.opus", start=start / 16000, duration=length / 16000).samples[0]
    with np.load(folder / "pitch.npz") as labels:
        pitch = labels[name]
    # A label's frame is centred 20 ms after its number times 20 ms.
    truth = Curve(np.concatenate([[0.0], np.where(pitch > 0, hertz(pitch), 0.0)]), 0.02)
    found = melody.scores(truth, follow(voice, 16000))
    assert found["rpa"] > 0.85 and found["voicing_error"] < 0.15
