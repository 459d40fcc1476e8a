"""Evaluate singing: rows that are known, tables, the command, and what cannot be evaluated."""

import json

import numpy as np
import pytest
from commands import run_command

from songfoundry.errors import Cancelled, ConfigError, DatasetError
from songfoundry.evaluating import sing as evaluation
from songfoundry.evaluating.sing_sources import RATE, find_pairs, find_tunes, songs_with_backing, tune_within
from songfoundry.singing.controls import Sung
from songfoundry.voice.tune import Curve, Tune, TuneNote

pytest.importorskip("pyworld")


class Silent:
    """Sing nothing at all."""

    def __init__(self):
        self.bands = []

    def sing(self, speech, rate, target, controls, guide=None, backing=None, backing_rate=0):
        self.bands += [] if backing is None else [len(backing) / backing_rate]
        return Sung(np.zeros(round(target.seconds * rate), np.float32), rate, Curve(np.zeros(1), 0.01), Curve(np.zeros(1), 0.01))


@pytest.fixture(scope="module")
def found():
    """Evaluate voices that are made by code, with the engine and with one that is silent."""
    with pytest.MonkeyPatch.context() as patch:
        silent = Silent()
        patch.setattr(evaluation, "_neural", lambda model: silent)
        model = "runs/silent/checkpoints/best.safetensors"
        done = evaluation.evaluate_sing([model], data="made", tunes="made", songs="made", count=2, few=1, seconds=6.0)
    assert silent.bands == [6.0, 6.0], "an engine that hears a band is given the backing, with both tunes"
    return done


def test_rows_tell_recorded_singing_from_speech_and_from_silence(found):
    people = found.people
    silent = "cyclegan, silent"
    assert list(people) == [
        evaluation.SPOKEN, evaluation.SHIFTED, evaluation.COPY, "world", "world, no guide", silent, f"{silent}, no guide",
        evaluation.RECORDED,
    ]  # fmt: skip
    assert all(row["n"] == 2 for row in people.values())
    assert people[evaluation.RECORDED]["rpa"] > 0.95 and people[evaluation.COPY]["rpa"] > 0.95
    assert people[evaluation.SPOKEN]["rpa"] < people[evaluation.SHIFTED]["rpa"] < 0.5 < 0.9 < people["world"]["rpa"]
    assert people[evaluation.RECORDED]["mcd"] < 0.1 < people[evaluation.COPY]["mcd"] < people["world"]["mcd"]
    assert people[evaluation.RECORDED]["frechet"] < 1e-3 < people[evaluation.SPOKEN]["frechet"]
    assert people[silent]["rpa"] == 0 and people[silent]["voicing_recall"] == 0 and people[silent]["onset_found"] == 0
    assert np.isnan(people[silent]["mcd"]) and np.isnan(people[silent]["frechet"])
    assert people[evaluation.RECORDED]["sentence"] == people[evaluation.RECORDED]["person"] == 1


def test_tunes_and_backings_have_rows(found):
    assert found.tunes["world, expression 0"]["rpa"] > 0.8 > 0.4 > found.tunes[evaluation.SPOKEN]["rpa"]
    fit = found.fit
    assert fit["a tune made for the backing, sung by world"]["in_key"] > 0.8 > fit["random tune, sung by world"]["in_key"]
    assert fit[evaluation.RECORDED]["in_key"] > fit["random tune, sung by world"]["in_key"]
    assert all(0 < row["beat_ms"] < 2 * row["chance_ms"] for name, row in fit.items() if "silent" not in name)


def test_tables_are_whole_and_json_is_plain(found):
    for _, head, rows in found.tables():
        assert rows and all(len(row) == len(head) for row in rows)
    text = found.as_markdown()
    assert "| world | 2 |" in text and "heard again by YIN" in text
    assert json.loads(json.dumps(found.as_json()))["people"]["cyclegan, silent"]["mcd"] is None


def test_the_command_writes_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_command(
        "evaluate", "sing", "--data", "made", "--count", 1, "--few", 0, "--json", "s.json", "--markdown", "s.md", "--title", "Singing"
    )
    assert code == 0 and "how it is pitched" in out
    assert json.loads((tmp_path / "s.json").read_text())["people"]["world"]["n"] == 1
    assert "<!-- begin Singing -->" in (tmp_path / "s.md").read_text()


def test_what_cannot_be_evaluated_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("SONGFOUNDRY_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    for wish in ({"count": 0}, {"few": -1}, {"seconds": 1}, {"seconds": float("nan")}, {"seed": -1}):
        with pytest.raises(ConfigError, match="expected 1 pair or more"):
            evaluation.evaluate_sing(**wish)
    with pytest.raises(Cancelled):
        evaluation.evaluate_sing(data="made", progress=lambda what, fraction: False)
    code, out, err = run_command("evaluate", "sing", "--data", "nowhere", "--json", "s.json")
    assert code == 2 and "expected a folder of recordings of people" in err and not list(tmp_path.iterdir())
    (tmp_path / "one.mid").write_bytes(b"no midi")
    with pytest.raises(DatasetError, match="with tunes"):
        find_tunes(tmp_path, "test", 1, 10, 0)


def test_tunes_are_moved_by_octaves_to_a_voice():
    tune = Tune((TuneNote(0, 1, 84.0), TuneNote(1, 2, 86.0)))
    assert [note.pitch for note in tune_within(tune, 45).notes] == [48, 50]
    assert tune_within(tune_within(tune, 45), 62).notes[0].pitch == 60


def test_pairs_are_the_same_sentence_of_one_person_people_in_turn(shared_data):
    pairs = find_pairs(shared_data / "speech_song", "valid", 4, 0)
    assert [pair.person for pair in pairs] in (["19", "20"] * 2, ["20", "19"] * 2)
    assert all(set(pair.sentences) == {"1", "2"} and pair.text in ("1", "2") for pair in pairs)
    assert all(0.5 * RATE < len(pair.speech) < 6 * RATE and np.abs(pair.song).max() > 0.1 for pair in pairs)
    assert all(pair.again is not None and not np.array_equal(pair.again, pair.song) for pair in pairs)
    again = find_pairs(shared_data / "speech_song", "valid", 4, 0)
    assert [pair.name for pair in again] == [pair.name for pair in pairs]
    assert [pair.name for pair in find_pairs(shared_data / "speech_song", "valid", 4, 1)] != [pair.name for pair in pairs]


def test_real_tunes_and_songs_of_a_split_are_found(shared_data):
    tunes = find_tunes(shared_data / "midi" / "nottingham.zip", "valid", 2, 10.0, 0)
    assert len(tunes) == 2 and all(4 <= len(tune.notes) and tune.seconds <= 10 for _, tune in tunes)
    (song,) = songs_with_backing(shared_data / "songs", "valid", 1, 5.0)
    assert len(song.voice) == len(song.backing) == 5 * RATE and song.voice.std() > 0.01
