"""Evaluation: groups, the rows beside a model, song lists, and the block in a Markdown file."""

import functools
import json
from importlib import util

import known_models
import numpy as np
import pytest
from typer.testing import CliRunner

from songfoundry.audio import io
from songfoundry.cli import app
from songfoundry.errors import ConfigError, DatasetError, OutputError
from songfoundry.evaluating import separation as evaluation
from songfoundry.evaluating.pages import write_markdown
from songfoundry.metrics.bsseval import bss_eval
from songfoundry.metrics.separation import SDR_V4, UTTERANCE_SDR

RATE = 44100


@pytest.fixture
def songs(tmp_path):
    """Lay out a four-stem test song, a two-stem song for training, and a test song without vocals."""
    folder = tmp_path / "songs"
    layout = {
        "test/Four": ("vocals", "drums", "bass", "other"),
        "train/Two": ("vocals", "accompaniment"),
        "test/Jam": ("drums", "bass", "other"),
    }
    for name, stems in layout.items():
        (folder / name).mkdir(parents=True)
        for seed, stem in enumerate(stems):
            io.write(folder / name / f"{stem}.wav", known_models.song(2.5, RATE, 2, seed, 0.2), RATE, depth="float32")
    return folder


@pytest.fixture
def quarter(tmp_path):
    """A model whose every stem is a quarter of the mixture."""
    return str(known_models.save(tmp_path / "quarter.safetensors", known_models.system(dict.fromkeys(known_models.STEMS, 0.25))))


def test_groups_are_never_mixed_and_a_constant_model_scores_as_its_row(songs, quarter):
    result = evaluation.evaluate_separation(songs, [quarter], rate=RATE)
    assert list(result.groups) == [evaluation.FOUR, evaluation.TWO, evaluation.NO_VOCALS]
    methods = result.groups[evaluation.FOUR]
    assert list(methods) == [quarter, "silence", "mixture", "a quarter of the mixture", evaluation.ORACLE]
    for stem in known_models.STEMS:
        for definition in (SDR_V4, UTTERANCE_SDR):
            scores = result.score(stem, evaluation.FOUR, definition)
            assert scores[quarter] == pytest.approx(scores["a quarter of the mixture"], abs=0.01)
            assert scores["mixture"] < scores["silence"] < scores["a quarter of the mixture"] < scores[evaluation.ORACLE]
        assert result.score(stem)["silence"] == 0.0
    # The accompaniment of a two-stem song is the sum of the other three: three quarters of the mixture.
    [(song, part)] = evaluation.songs_of(songs, "train")
    _, (voice, band), _ = evaluation.load_truth(song, part, RATE)
    expected = 10 * np.log10(np.square(band).sum() / np.square(band - 0.75 * (voice + band)).sum())
    assert result.score("accompaniment", evaluation.TWO, UTTERANCE_SDR)[quarter] == pytest.approx(expected, abs=0.01)
    # A stem that a song lacks has no row.
    assert {row.stem for row in result.groups[evaluation.NO_VOCALS][quarter]} == {"drums", "bass", "other"}


def test_a_split_is_chosen_and_an_empty_one_is_refused(songs, quarter):
    result = evaluation.evaluate_separation(songs, [quarter], split="train", baselines=False)
    assert list(result.groups) == [evaluation.TWO]
    assert list(result.groups[evaluation.TWO]) == [quarter]
    with pytest.raises(DatasetError, match="expected songs of split 'valid'.*found only test, train"):
        evaluation.songs_of(songs, "valid")
    with pytest.raises(ConfigError, match="found 0"):
        evaluation.evaluate_separation(songs, [quarter], rate=0)


def test_a_list_names_songs_and_cuts_their_ends(songs, tmp_path):
    listed = tmp_path / "list.toml"
    listed.write_text(f'[[songs]]\npath = {json.dumps(str(songs))}\ninclude = ["*Four"]\ncut_last_seconds = 0.5\n')
    [(song, part)] = evaluation.songs_of(listed)
    names, truth, present = evaluation.load_truth(song, part, RATE)
    assert (song.name, names, present) == ("test/Four", list(known_models.STEMS), [True] * 4)
    assert truth.shape == (4, 2, 2 * RATE)


@pytest.mark.skipif(util.find_spec("museval") is None, reason="no museval")
def test_isr_sir_and_sar_come_from_museval(songs, quarter, monkeypatch):
    monkeypatch.setattr(evaluation, "bss_eval", functools.partial(bss_eval, filter_taps=4))  # 512 take minutes
    result = evaluation.evaluate_separation(songs, [quarter], split="train", rate=8000, museval=True)
    rows = {row.definition: row for row in result.groups[evaluation.TWO][quarter] if row.stem == "vocals"}
    # A share of the mixture: hardly any artefacts, but all of the other source.
    assert rows["SAR (museval)"].median > 20 > 5 > rows["SIR (museval)"].median
    assert rows["ISR (museval)"].frames == 2
    assert not any("museval" in row.definition for row in result.groups[evaluation.TWO]["mixture"])


@pytest.mark.skipif(util.find_spec("museval") is None, reason="no museval")
def test_isr_sir_and_sar_hold_for_stems_without_a_noise_floor():
    stems = np.stack([known_models.song(2.0, 8000, 2, seed) for seed in (0, 1)]).astype(np.float64)
    spectra = np.fft.rfft(stems)
    spectra[..., spectra.shape[-1] // 3 :] = 0
    truth = 0.1 * np.fft.irfft(spectra)
    estimates = truth + 0.1 * truth[::-1]
    result = evaluation.score_methods({"leaky": estimates}, truth, 8000, ["vocals", "accompaniment"], [True, True], False, museval=True)
    scores = result["leaky"]["scores"]
    # All that is wrong is a tenth of the other source, so SIR says what SDR says, and of artefacts there are hardly any.
    assert scores["SIR (museval)"]["vocals"] == pytest.approx(scores[SDR_V4]["vocals"], abs=1)
    assert scores["SAR (museval)"]["vocals"] > scores[SDR_V4]["vocals"] + 20


def test_a_mixture_of_the_data_set_is_compared_with_the_sum(songs, quarter):
    stems = [io.read(songs / "test" / "Four" / f"{stem}.wav").samples for stem in known_models.STEMS]
    io.write(songs / "test" / "Four" / "mixture.wav", sum(stems) * 0.9, RATE, depth="float32")
    result = evaluation.evaluate_separation(songs, [], split="test")
    assert result.mixtures == {"test/Four": pytest.approx(20 * np.log10(0.1 / 0.9), abs=0.1)}
    assert "test/Four -19.1 dB" in result.about_mixtures() and result.about_mixtures() in result.as_markdown()
    assert evaluation.evaluate_separation(songs, [], split="train").about_mixtures() == ""


def test_a_song_of_silence_alone_is_named(tmp_path, quarter):
    (tmp_path / "hush").mkdir()
    io.write(tmp_path / "hush" / "vocals.wav", np.zeros((2, RATE), np.float32), RATE)
    with pytest.raises(DatasetError, match="hush, found silence alone"):
        evaluation.evaluate_separation(tmp_path, [quarter])


def test_a_file_that_cannot_be_written_is_known_before_the_work(songs, quarter, tmp_path):
    done = CliRunner().invoke(app, ["evaluate", "separation", str(songs), "--model", quarter, "--json", str(tmp_path / "no" / "x.json")])
    assert isinstance(done.exception, OutputError) and "Data:" not in done.output


def test_what_a_coder_leaves_of_silence_is_silence(songs):
    drums = io.read(songs / "test" / "Four" / "drums.wav").samples
    drums[:, RATE:] = 2e-6 * np.random.default_rng(0).standard_normal(drums[:, RATE:].shape)  # -114 dB
    io.write(songs / "test" / "Four" / "drums.wav", drums, RATE, depth="float32")
    result = evaluation.evaluate_separation(songs, [], split="test")
    assert {row.frames for row in result.groups[evaluation.FOUR]["mixture"] if row.definition == SDR_V4} == {1}
    assert result.score("drums")["mixture"] > -30


@pytest.mark.skipif(util.find_spec("museval") is None, reason="no museval")
def test_rounded_stems_score_as_museval_scores_them(songs):
    drums = io.read(songs / "test" / "Four" / "drums.wav").samples
    drums[:, RATE:] = 2e-6 * np.random.default_rng(0).standard_normal(drums[:, RATE:].shape)
    io.write(songs / "test" / "Four" / "drums.wav", drums, RATE, depth="float32")
    [(song, part)] = [found for found in evaluation.songs_of(songs, "test") if found[0].name == "test/Four"]
    names, truth, present = evaluation.load_truth(song, part, RATE)
    estimates = 0.9 * truth + 0.05 * truth.sum(0)
    ours = evaluation.score_methods({"leaky": estimates}, truth, RATE, names, present, baselines=False)["leaky"]
    theirs = bss_eval(truth, estimates, RATE, filter_taps=4)["SDR"]
    assert np.isnan(theirs).tolist() == [[False, True]] * 4 and ours["frames"][SDR_V4] == 1
    np.testing.assert_allclose([ours["scores"][SDR_V4][name] for name in names], theirs[:, 0], atol=1e-6, rtol=0)


def test_the_equal_share_is_named_after_what_it_is(songs):
    groups = evaluation.evaluate_separation(songs, []).groups
    shares = {group: [name for name in methods if name.endswith(" of the mixture")] for group, methods in groups.items()}
    quarter, half = ["a quarter of the mixture"], ["half of the mixture"]
    assert shares == {evaluation.FOUR: quarter, evaluation.TWO: half, evaluation.NO_VOCALS: quarter}


def test_tables_go_between_their_markers_and_leave_the_rest(songs, quarter, tmp_path):
    page = tmp_path / "results.md"
    page.write_text("# Results\n\nBy hand.\n")
    result = evaluation.evaluate_separation(songs, [quarter], split="test")
    for _ in range(2):
        write_markdown(result, page, "Scores", "songfoundry evaluate separation songs")
    text = page.read_text()
    assert text.startswith("# Results\n\nBy hand.\n")
    assert text.count("## Scores") == text.count("<!-- begin Scores -->") == text.count("`songfoundry evaluate separation songs`") == 1
    assert "**four-stem songs** (n = 1;" in text
    assert json.loads(json.dumps(result.as_json()))["groups"][evaluation.FOUR]["silence"]


def test_the_lists_in_recipes_name_songs_that_are_there_and_never_training_ones(shared_data, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_DATA", str(shared_data))
    public = {song.name: song for song, _ in evaluation.songs_of("recipes/public-test.toml")}
    assert {"everythingisfree/5.Rubidium", "musicdelta/MusicDelta_80sRock", "musicdelta/MusicDelta_Punk", "mdn/jam"} < set(public)
    assert "The Easton Ellises - Falcon 69" in public
    assert sum(song.two_stems for song in public.values()) == 10
    assert all(song.split == "test" for name, song in public.items() if "Falcon" not in name)
    valid = [song for song, _ in evaluation.songs_of("recipes/validation.toml")]
    assert {song.split for song in valid if not song.valid_last_seconds} == {"valid"}
    assert not set(public) & {song.name for song in valid}
