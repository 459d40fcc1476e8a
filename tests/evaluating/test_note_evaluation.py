"""Evaluate notes: what each row says of notes that are known, on tones made by code."""

import json
import math

import numpy as np
import pytest
import tone_notes
import torch

from songfoundry import checkpoint
from songfoundry.audio import io
from songfoundry.checkpoint import Checkpoint
from songfoundry.data.tones import tone
from songfoundry.errors import Cancelled, ConfigError
from songfoundry.evaluating import note as evaluation
from songfoundry.evaluating.note_held import held_rows
from songfoundry.evaluating.note_measures import Heard, beyond, flaws, heard_as_asked, likeness, same_timbre, scale
from songfoundry.evaluating.note_sources import Additive, NoteSet, Shifted, fitted
from songfoundry.evaluating.note_tables import tables
from songfoundry.evaluating.pages import write_markdown
from songfoundry.metrics.pitch import median_cents
from songfoundry.systems.note import Note, NoteConfig
from songfoundry.systems.note_classifier import NoteClassifier, NoteClassifierConfig

RATE, SAMPLES = 16000, 8192
NAMES = ["bright", "hollow"]


def library() -> NoteSet:
    """Give tones at two pitches of each instrument."""
    labels = [(p, i) for i in range(2) for p in (60, 64)]
    waves = np.stack([fitted(tone(NAMES[i], p, samples=SAMPLES, seed=p), SAMPLES) for p, i in labels])
    pitch, instrument = np.array(labels).T
    return NoteSet(np.round(waves * 32767).astype(np.int16), pitch, instrument)


def heard(pitch, instrument, features=None, names=2) -> Heard:
    """Give the opinion of a judge who is sure of pitches and instruments."""
    count = len(pitch)
    rows = np.arange(count)
    of_pitch, of_instrument = np.zeros((count, 88)), np.zeros((count, names))
    of_pitch[rows, np.array(pitch) - 21] = 1
    of_instrument[rows, instrument] = 1
    features = np.random.default_rng(0).normal(size=(count, 4)) if features is None else features
    return Heard(of_pitch, of_instrument, features, features)


def test_a_resampled_note_has_the_pitch_that_was_asked_for_and_is_another_pitch_s():
    source = Shifted(library())
    assert source.train.pitch[source.near(60, 0, 0)] == 64 and source.train.pitch[source.near(62, 1, 3)] == 60
    made = source.make(np.array([60, 62]), np.array([0, 1]), np.array([0, 5]))
    assert made.shape == (2, SAMPLES) and np.abs(made).max(axis=1) == pytest.approx([1, 1])
    assert abs(median_cents(made[0], RATE, 60)) < 15 and abs(median_cents(made[1], RATE, 62)) < 15


def test_added_sines_are_in_tune_and_keep_the_balance_of_the_partials():
    source = Additive(library(), RATE)
    made = source.make(np.array([62, 62]), np.array([0, 1]), np.array([0, 0]))
    assert all(abs(median_cents(wave, RATE, 62)) < 10 for wave in made)
    base = 440 * 2 ** ((62 - 69) / 12) / RATE * SAMPLES
    spectrum = np.abs(np.fft.rfft(made * np.hanning(SAMPLES)))
    first, second = (spectrum[:, round(k * base) - 3 : round(k * base) + 4].max(axis=1) for k in (1, 2))
    # The hollow tone has nearly no even partials.
    assert second[0] / first[0] > 0.2 > second[1] / first[1]


def test_what_is_heard_is_compared_with_what_was_asked_for():
    waves = np.stack([tone("bright", p, samples=SAMPLES) for p in (60.0, 62.3, 64.6)])
    row, cents = heard_as_asked(waves, heard([60, 62, 65], [0, 0, 1]), np.array([60, 62, 64]), np.array([0, 0, 0]), RATE)
    assert row["n"] == 3 and row["pitch"] == pytest.approx(2 / 3) and row["instrument"] == pytest.approx(2 / 3)
    assert row["within 20"] == pytest.approx(1 / 3) and row["within 50"] == pytest.approx(2 / 3)
    assert cents == pytest.approx([0, 30, 60], abs=4) and row["median cents"] == pytest.approx(30, abs=4)
    assert row["entropy"] == pytest.approx(-(2 * math.log(2 / 3) + math.log(1 / 3)) / 3)
    silent, _ = heard_as_asked(np.zeros((1, SAMPLES)), heard([60], [0]), np.array([60]), np.array([0]), RATE)
    assert silent["within 50"] == 0 and silent["median cents"] == math.inf


def test_likeness_tells_the_same_from_another_distribution_and_a_copy_from_what_is_new():
    rng = np.random.default_rng(1)
    real, same, train = (rng.normal(size=(64, 4)) for _ in range(3))
    labels = np.arange(64) % 2
    rows = {name: likeness(*(heard([60] * 64, labels, f) for f in (real, made, train)), labels)
            for name, made in {"same": same, "far": 5 + same, "one": 0.01 * same, "copy": train}.items()}  # fmt: skip
    assert rows["far"]["frechet"] > 50 > 2 > rows["same"]["frechet"]
    assert rows["same"]["precision"] > 0.8 > 0.1 > rows["far"]["precision"]
    assert rows["one"]["recall"] < 0.3 < 0.7 < rows["same"]["recall"] and rows["one"]["diversity"] < 0.1 * rows["same"]["diversity"]
    assert rows["copy"]["nearest"] == 0 and rows["copy"]["memorised"] == 0 and rows["same"]["memorised"] == pytest.approx(1, abs=0.3)
    assert rows["copy"]["closest"] == 0 and rows["copy"]["too near"] == 1 and rows["same"]["too near"] < 0.1 < rows["same"]["closest"] * 10
    # A median hides a few copies.
    few = np.concatenate([train[:6], 2 + same[6:]])
    row = likeness(heard([60] * 64, labels, real), heard([60] * 64, labels, few), heard([60] * 64, labels, train), labels)
    assert row["memorised"] > 1.5 and row["closest"] == 0 and row["too near"] == pytest.approx(6 / 64)
    assert rows["far"]["ndb"] > rows["same"]["ndb"] and rows["same"]["bins"] == 8


def test_a_latent_that_keeps_its_timbre_is_told():
    pitch, instrument, latent = (np.array(x) for x in ([60, 64, 60, 64, 90], [0, 0, 0, 0, 0], [0, 0, 1, 1, 0]))
    row = same_timbre(np.array([[0.0], [1.0], [10.0], [11.0], [99.0]]), pitch, instrument, latent)
    # Notes more than an octave away do not count.
    assert row == {"pairs": 2, "same": 1.0, "other": 10.0}


def test_a_click_is_beyond_what_real_notes_of_about_that_pitch_do():
    clean = np.stack([tone("soft", p, samples=SAMPLES) for p in (40, 80)])
    clicked = clean.copy()
    clicked[0, 4000] += 0.9
    pitch = np.array([40, 80])
    real = flaws(clean, pitch, RATE)
    assert beyond(flaws(clean, pitch, RATE), real)["clicks"] == 0
    assert beyond(flaws(clicked, pitch, RATE), real)["clicks"] == 1
    # Far from any real note's pitch all real notes say what is usual.
    assert beyond(flaws(clean[:1], np.array([60]), RATE), real)["clicks"] == 0


def test_a_burst_of_noise_is_told_from_an_attack_and_from_a_new_partial():
    seconds, rng = np.arange(2 * RATE) / RATE, np.random.default_rng(3)
    struck = np.exp(-3 * seconds) * sum(np.sin(2 * np.pi * 220 * k * seconds) / k for k in range(1, 20))
    struck = (0.5 * struck + 0.2 * np.exp(-60 * seconds) * rng.normal(size=2 * RATE)).astype(np.float32)
    hiss, partial = struck.copy(), struck.copy()
    hiss[RATE : RATE + 2000] += 0.05 * rng.normal(size=2000)
    partial[RATE:] += 0.1 * np.minimum(1, 50 * seconds[:RATE]) * np.sin(2 * np.pi * 1760 * seconds[RATE:])
    rises = flaws(np.stack([struck, hiss, partial]), np.full(3, 57), RATE).burst
    assert rises[0] < 4 and rises[2] < 4 and rises[1] > 8
    real = flaws(struck[None], np.array([57]), RATE)
    assert [beyond(flaws(x[None], np.array([57]), RATE), real)["bursts"] for x in (struck, hiss)] == [0, 1]
    # Silence, and a note that dies at once, are none.
    assert np.all(flaws(np.stack([0 * struck, np.where(seconds < 0.2, struck, 0)]).astype(np.float32), np.full(2, 57), RATE).burst < 3)


def test_scales_are_told_among_all_and_among_those_that_play():
    row = scale(heard([60] * 4, [0, 2, 1, 2], names=3), np.array([0.0, 10, 30, 80]), {"clicks": 1, "bursts": 2}, np.array([0, 0, 1, 1]))
    assert row["told among all"] == 0.5 and row["within 20"] == 0.5 and row["within 50"] == 0.75
    assert row["told among these"] >= 0.5 and row["n"] == 4 and (row["clicks"], row["bursts"]) == (1, 2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Write notes of two instruments, and an untrained judge of them."""
    place = tmp_path_factory.mktemp("notes")
    for split, takes in (("train", 2), ("test", 1)):
        for name in NAMES:
            for pitch in range(58, 63):
                for take in range(takes):
                    folder = place / "notes" / split / name
                    folder.mkdir(parents=True, exist_ok=True)
                    wave = tone(name, pitch, samples=SAMPLES, seed=take + 10 * len(split))
                    io.write(folder / f"{name}{take}_{pitch}.wav", wave[None], RATE)
    torch.manual_seed(0)
    judge = NoteClassifier(NoteClassifierConfig(instruments=NAMES, samples=SAMPLES, channels=(4, 4, 4, 4), features=4))
    checkpoint.save(place / "judge.safetensors", judge.state_dict(), Checkpoint("note_classifier", judge.config.model_dump(), {}))
    return place


def model(instruments=NAMES, **values) -> Note:
    torch.manual_seed(1)
    options = {"preset": None, "net_options": {"channels": [4, 4, 4], "latent": 4, "style": 4}, "samples": SAMPLES, "frames": 32}
    options["mels"] = 64
    return Note(NoteConfig(instruments=instruments, pitches=(58, 62), **options, **values))


def test_everything_is_measured_with_its_number(place):
    said = []
    found = evaluation.evaluate_note(
        [model()], data=place / "notes", judge=place / "judge.safetensors", count=6, progress=lambda what, part: said.append(part)
    )
    made = {"comb_gan", evaluation.SHIFTED, evaluation.ADDITIVE}
    assert made < set(found.asked) == set(found.flaws) and set(found.scales) == set(found.speed) == made
    assert found.asked[evaluation.REAL]["n"] == 10 and found.asked["comb_gan"]["n"] == 6
    assert found.asked[evaluation.REAL]["within 50"] == 1.0 and found.asked[evaluation.ADDITIVE]["within 50"] == 1.0
    assert found.alike["comb_gan"]["floor of frechet"] == pytest.approx(found.alike[evaluation.REAL]["frechet"])
    assert found.scales["comb_gan"]["instruments"] == NAMES and found.scales["comb_gan"]["n"] == 4 * 2 * 5
    assert found.flaws[evaluation.REAL]["clicks"] == found.flaws[evaluation.REAL]["bursts"] == 0
    assert all(row["cpu seconds a second"] > 0 for row in found.speed.values())
    assert len(found.judge["hash"]) == 16 and found.judge["hash"] in found.about[0]
    assert said == sorted(said) and said[-1] == 1.0
    json.dumps(found.as_json(), allow_nan=False)
    page = found.as_markdown()
    assert all(title in page for title, _, _ in tables(found)) and len(tables(found)) == 7
    assert found.held.keys() == {"comb_gan, blown or bowed"} and found.held["comb_gan, blown or bowed"]["n"] == 2 * 3 * 2
    assert all(len(head) == len(row) for _, head, rows in tables(found) for row in rows)
    write_markdown(found, place / "results.md", "Notes", "songfoundry evaluate note")
    assert "`songfoundry evaluate note`" in (place / "results.md").read_text()


def test_notes_that_are_held_are_measured():
    tones = tone_notes.Tones()
    ranges = {name: np.arange(50, 71) for name in ("bright", "plucked")}
    rows = held_rows(tones.system, "tones", ranges, lambda own: {"clicks": int(own.jump[0] > 1.9)})
    lasting, dying = rows["tones, blown or bowed"], rows["tones, struck or plucked"]
    assert lasting["n"] == dying["n"] == 6 and abs(lasting["median"]) < 2 and lasting["gone"] == lasting["clicks"] == 0
    assert lasting["median cents"] < 2 and dying["lowest"] < -30 and dying["gone"] == 6 and np.isnan(dying["median cents"])


def test_a_model_of_fewer_instruments_is_compared_with_those_alone(place):
    found = evaluation.evaluate_note([model(["hollow"])], data=place / "notes", judge=place / "judge.safetensors", count=3, baselines=False)
    assert found.alike["comb_gan"]["n"] == 5 and found.scales["comb_gan"]["instruments"] == ["hollow"]


def test_what_does_not_fit_is_told(place):
    given = {"data": place / "notes", "judge": place / "judge.safetensors", "count": 2}
    with pytest.raises(ConfigError, match="expected a count of 1 to"):
        evaluation.evaluate_note([], **{**given, "count": 0})
    with pytest.raises(ConfigError, match="expected the name of a model"):
        evaluation.evaluate_note([], **{**given, "judge": "nobody"})
    with pytest.raises(ConfigError, match="expected a model that makes notes, found a note_classifier"):
        evaluation.evaluate_note([str(place / "judge.safetensors")], **given)
    with pytest.raises(ConfigError, match="expected a model at the judge's 16000 Hz"):
        evaluation.evaluate_note([model(rate=22050)], **given)
    with pytest.raises(ConfigError, match="expected for the scales instruments of .*, found 'brigt': did you mean 'bright'"):
        evaluation.evaluate_note([model()], scale_instruments=["brigt"], **given)
    with pytest.raises(Cancelled):
        evaluation.evaluate_note([], progress=lambda what, part: False, **given)
