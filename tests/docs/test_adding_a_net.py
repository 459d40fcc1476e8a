"""Run the page docs/adding-a-net.md: its net, found by its entry point, is trained by its recipe and separates."""

import json
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from songfoundry import checkpoint, config, registry, training
from songfoundry.audio import io
from songfoundry.data.songs import STEMS
from songfoundry.errors import ConfigError
from songfoundry.systems.separate import Separate, SeparateConfig

pytest.importorskip("lightning_fabric")

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-net.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Lay the page's package out as pip would install it, and put it on the path."""
    (code,), (_, project) = blocks("python"), blocks("toml")
    site = tmp_path / "site"
    project = tomllib.loads(project)["project"]
    ((name, module),) = project["entry-points"]["songfoundry.nets"].items()
    file = site / Path(*module.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True)
    (file.parent / "__init__.py").touch()
    file.write_text(code, encoding="utf-8")
    about = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (about / "entry_points.txt").write_text(f"[songfoundry.nets]\n{name} = {module}\n")
    monkeypatch.syspath_prepend(site)
    yield name
    for loaded in [key for key in sys.modules if key.split(".")[0] == module.split(".")[0]]:
        del sys.modules[loaded]


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """Write two short songs with stems, one for training and one for validation; keep the cache apart."""
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path / "cache"))
    for split in ("train", "valid"):
        for number, stem in enumerate(STEMS):
            tone = 0.2 * np.sin(2 * np.pi * 220 * 2**number * np.arange(3 * 8000) / 8000)
            (tmp_path / "songs" / split / "song").mkdir(parents=True, exist_ok=True)
            io.write(tmp_path / "songs" / split / "song" / f"{stem}.wav", np.stack([tone, tone]).astype(np.float32), 8000)
    return tmp_path / "songs"


def test_the_page_s_net_is_found_with_the_interface_of_all(installed):
    assert installed in registry.names("nets")
    module = registry.module("nets", installed)
    for preset, options in module.PRESETS.items():
        net = module.NET(stems=3, channels=1, sample_rate=16000, n_fft=256, **options)
        for frames in (1, 6):
            assert net(torch.randn(2, 1, 2, 129, frames)).shape == (2, 3, 1, 2, 129, frames), preset


def test_the_page_s_recipe_trains_the_net_and_the_net_separates(installed, songs, tmp_path):
    written = tmp_path / "recipe.toml"
    written.write_text(blocks("toml")[0], encoding="utf-8")
    # The page's recipe as it stands, but smaller and on the songs of this test.
    small = [
        "train.steps=2", "train.batch=2", "train.workers=0", "train.accelerator=cpu", "train.log_every=1",
        "data.chunk_seconds=1.0", "data.sample_rate=8000", "system.sample_rate=8000", "system.n_fft=512", "system.hop_length=128",
    ]  # fmt: skip
    values = config.override(config.read_toml(written), small)
    values["data"]["folders"] = [{"path": str(songs)}]
    recipe = config.parse(config.Recipe, values, "the page")
    assert recipe.system["net"] == installed
    rows = []
    path = training.train(recipe, tmp_path / "run", progress=rows.append)
    rows = [row for row in rows if "step" in row]
    assert [row["step"] for row in rows] == [1, 2] and all(np.isfinite(list(row["loss"].values())).all() for row in rows)
    model = checkpoint.load(path)
    assert model.config.net == installed and model.checkpoint.card["steps"] == 2
    untrained = training.build(recipe)[0]
    assert any(not torch.equal(a, b) for a, b in zip(untrained.parameters(), model.parameters(), strict=True))
    mixture = 0.1 * torch.randn(2, 20001)
    stems = model.separate_long(mixture)
    assert stems.shape == (4, 2, 20001) and stems.isfinite().all() and stems.any()
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())["scores"]
    assert {"vocals.sdr", "mean"} <= set(scores)


def test_without_the_package_the_net_is_unknown():
    with pytest.raises(ConfigError, match="expected the name of one of the nets, found 'blstm'"):
        Separate(SeparateConfig(net="blstm"))
