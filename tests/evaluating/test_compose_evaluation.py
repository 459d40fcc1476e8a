"""Evaluate a net of random weights: what the grammar holds must be whole, what is learned need not."""

import json
import math

import pytest

pytest.importorskip("miditok")

import small_scores
import tiny_music
from typer.testing import CliRunner

from songfoundry.cli import app
from songfoundry.errors import ConfigError, DatasetError
from songfoundry.evaluating.compose import FIVEGRAM, HELD_OUT, PROMPTS, REAL, REPEAT, UNIGRAM, evaluate_compose
from songfoundry.playing import rendering


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music")
    archive = small_scores.write_folk(folder, train=4, valid=1, test=2, bars=10)
    (folder / "prompts").mkdir()
    tiny_music.write(folder / "prompts" / "waltz.mid", tiny_music.prompt(3, 4, 93.0, bars=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SONGFOUNDRY_CACHE", str(folder / "cache"))
        yield folder, str(archive)


@pytest.fixture(scope="module")
def evaluation(place):
    folder, archive = place
    seen = []
    result = evaluate_compose(
        [tiny_music.system("lstm")], prompts=folder / "prompts", collections=[archive], files=2, variations=2, bars=2, prompt_bars=3,
        loudness=False, device="cpu", threads=1, progress=lambda what, fraction: seen.append(fraction),
    )  # fmt: skip
    assert seen == sorted(seen)
    assert seen[-1] == 1
    return result


def test_every_method_goes_on_from_every_prompt(evaluation):
    assert evaluation.methods == [REAL, "lstm", UNIGRAM, FIVEGRAM, REPEAT]
    kept = evaluation.kept()
    assert {method: row["n"] for method, row in kept[PROMPTS].items()} == {"lstm": 2, UNIGRAM: 2, FIVEGRAM: 2, REPEAT: 1}
    assert {method: row["n"] for method, row in kept[HELD_OUT].items()} == {REAL: 2, "lstm": 4, UNIGRAM: 4, FIVEGRAM: 4, REPEAT: 2}
    assert evaluation.failed == []


def test_what_the_locks_hold_is_held(evaluation):
    for group, methods in evaluation.kept().items():
        for method in ("lstm", UNIGRAM, FIVEGRAM):
            row = methods[method]
            assert (row["metre"], row["tempo"], row["empty bars"]) == (1, 1, 0), (group, method)
            assert (row["hanging notes"], row["invalid tokens"]) == (0, 0), (group, method)
            assert row["tokens"] > row["notes"]
    repeat = evaluation.kept()[HELD_OUT][REPEAT]
    assert repeat["key equal or relative"] > 0
    assert math.isnan(repeat["metre"])


def test_without_locks_the_metre_is_lost(place):
    folder, archive = place
    free = evaluate_compose(
        [tiny_music.system("lstm")], prompts=folder / "prompts", collections=[archive], files=0, variations=3, bars=3,
        baselines=False, loudness=False, copies=False, device="cpu", threads=1, lock="none",
    )  # fmt: skip
    row = free.kept()[PROMPTS]["lstm"]
    assert row["metre"] < 1 or row["tempo"] < 1
    assert row["invalid tokens"] == 0


def test_real_music_overlaps_with_itself_and_noise_less(evaluation):
    table = evaluation.likeness()
    assert set(table["polyphony"]) == set(evaluation.methods)
    assert "overlap" not in table["polyphony"][REAL]
    assert table["pitch range"]["lstm"]["mean"] > table["pitch range"][REAL]["mean"]


def test_a_repeated_prompt_copies_less_of_the_training_than_a_known_piece(evaluation):
    copies = evaluation.copies()[HELD_OUT]
    assert copies["lstm"]["longest"] < 20
    assert copies[REAL]["longest"] >= 1


def test_tables_and_json(evaluation, tmp_path):
    text = evaluation.as_markdown()
    assert "| lstm | 4 | 100 % | 100 % |" in text
    assert "| measure | real | lstm |" in text
    row = json.loads(json.dumps(evaluation.as_json(), allow_nan=True))
    assert len(row["samples"]) == len(evaluation.samples)
    assert row["kept"][HELD_OUT]["lstm"]["n"] == 4


def test_loudness_is_measured_on_the_file_as_it_is(place, monkeypatch):
    folder, archive = place
    heard = evaluate_compose(
        [tiny_music.system("lstm")], prompts=folder / "prompts", collections=[archive], files=0, variations=1, bars=2,
        baselines=False, copies=False, device="cpu", threads=1,
    )  # fmt: skip
    (sample,) = heard.samples
    assert sample["key by Temperley"] in (True, False) and "by Temperley" in heard.as_markdown()
    # Random weights write a few extreme pitches, hard to even out: 1.6 dB are left of 3.8.
    assert abs(sample["loudness step"]) < 2
    assert sample["loudness"] is (abs(sample["loudness step"]) <= 1)
    # Without the balance the file's own step is seen: nothing else evens it.
    monkeypatch.setattr(rendering, "balance", lambda score, tick: rendering._scaled(score, lambda _, note: note.time >= tick, 0.25))
    (soft,) = evaluate_compose(
        [tiny_music.system("lstm")], prompts=folder / "prompts", collections=[archive], files=0, variations=1, bars=2,
        baselines=False, copies=False, device="cpu", threads=1,
    ).samples  # fmt: skip
    assert soft["loudness step"] < -10 and soft["loudness"] is False


def test_wrong_wishes_are_said(place, tmp_path, monkeypatch):
    folder, archive = place
    with pytest.raises(ConfigError, match="1 to 64 variations"):
        evaluate_compose([], variations=0)
    monkeypatch.delenv("SONGFOUNDRY_DATA", raising=False)
    with pytest.raises(DatasetError, match="--prompts"):
        evaluate_compose([], collections=[archive])
    with pytest.raises(DatasetError):
        evaluate_compose([], prompts=folder / "prompts", collections=["nowhere"])


def test_the_command_prints_and_writes(place, tmp_path):
    folder, archive = place
    model = tiny_music.checkpoint(tmp_path / "small.safetensors", net="lstm")
    page, file = tmp_path / "page.md", tmp_path / "all.json"
    run = CliRunner().invoke(app, [
        "evaluate", "compose", "--model", str(model), "--prompts", str(folder / "prompts"), "--collections", archive, "--files", "1",
        "--variations", "1", "--bars", "2", "--prompt-bars", "3", "--no-loudness", "--no-baselines", "--device", "cpu", "--threads", "1",
        "--json", str(file), "--markdown", str(page),
    ])  # fmt: skip
    assert run.exit_code == 0, run.output
    assert "Kept from the prompts" in run.output
    assert "<!-- begin Continuations -->" in page.read_text()
    assert "| small |" in page.read_text()
    assert {sample["method"] for sample in json.loads(file.read_text())["samples"]} == {REAL, "small"}
