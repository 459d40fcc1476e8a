"""The demo: a song from nothing, its stems, and scores beside the rows that take no skill."""

import known_models
import numpy as np
import pytest
from typer.testing import CliRunner

from songfoundry import demo
from songfoundry.audio import io
from songfoundry.cli import app
from songfoundry.errors import ConfigError, OutputError


@pytest.fixture
def quarter(tmp_path):
    return str(known_models.save(tmp_path / "quarter.safetensors", known_models.system(dict.fromkeys(known_models.STEMS, 0.25))))


def test_the_demo_writes_song_truth_and_stems_and_scores_them(tmp_path, quarter):
    made = demo.run(tmp_path / "demo", model=quarter)
    song = io.read(made.song)
    assert 20 <= song.seconds <= 30
    truth = sum(io.read(path).samples for path in made.truth.values())
    assert np.abs(truth - song.samples).max() < 1e-3
    for path in made.stems.values():
        assert np.abs(io.read(path).samples - song.samples / 4).max() < 2e-3
    for stem in known_models.STEMS:
        scores = made.scores.score(stem, "the demo song")
        assert scores["quarter"] == pytest.approx(scores["a quarter of the mixture"], abs=0.02)
        assert scores["silence"] == 0


def test_stems_that_take_no_skill_are_named(tmp_path):
    """The mixture itself is worse than a quarter of it in every stem."""
    model = str(known_models.save(tmp_path / "whole.safetensors", known_models.system(dict.fromkeys(known_models.STEMS, 1.0))))
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "demo"), "--model", model])
    assert "No better than that here: vocals, drums, bass, other." in result.output


def test_the_command_ends_with_the_line_for_ones_own_song(tmp_path, quarter):
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "demo"), "--model", quarter, "--format", "opus"])
    assert result.exit_code == 0, result.output
    for row in ("silence", "mixture", "a quarter of the mixture", "oracle"):
        assert row in result.output
    assert result.output.strip().splitlines()[-1].endswith("separate SONG.mp3")
    assert (tmp_path / "demo" / "stems" / "vocals.opus").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, quarter):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="expected to write '.*file/demo', but a part of its path is a file"):
        demo.run(tmp_path / "file" / "demo", model=quarter)
    (tmp_path / "stems").write_text("mine")
    with pytest.raises(OutputError, match="expected to write '.*stems', but a file has that name"):
        demo.run(tmp_path, model=quarter)


def test_a_demo_that_is_stopped_leaves_nothing(tmp_path, quarter):
    def stop(fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.run(tmp_path / "demo", model=quarter, progress=stop)
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(("options", "words"), [({"format": "wavv"}, "did you mean 'wav'"), ({"bitrate": 96}, "no --bitrate")])
def test_a_wrong_form_is_one_sentence_and_leaves_nothing(tmp_path, quarter, options, words):
    with pytest.raises(ConfigError, match=words):
        demo.run(tmp_path / "demo", model=quarter, **options)
    assert not (tmp_path / "demo").exists()
