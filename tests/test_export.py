"""Export nets to ONNX, and hear the same stems from onnxruntime."""

import json

import numpy as np
import pytest
import torch

from songfoundry import checkpoint, export, registry
from songfoundry.checkpoint import Checkpoint
from songfoundry.errors import CheckpointError, ConfigError, InputError, MissingExtraError, OutputError
from songfoundry.systems.separate import Separate, SeparateConfig

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def build(net: str, **options) -> Separate:
    preset = next(iter(registry.module("nets", net).PRESETS))
    torch.manual_seed(0)
    config = SeparateConfig(net=net, preset=preset, n_fft=512, hop_length=128, sample_rate=8000, net_options=options)
    return Separate(config).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    system = build("bsrnn", layers=1)
    system.checkpoint = Checkpoint("separate", system.config.model_dump(), {"licence": "CC0"})
    return system, export.export_onnx(system, tmp_path_factory.mktemp("onnx") / "bsrnn.onnx")


SHORTER = {"bsrnn": {"layers": 2}, "scnet": {"layers": 2}}
CASES = [*((name, SHORTER.get(name, {})) for name in registry.nets_for("separate")), ("scnet", {"layers": 1, "output": "mask"})]


@pytest.mark.parametrize(("net", "options"), CASES)
def test_onnxruntime_gives_the_same_stems_at_any_length(net, options, tmp_path):
    system = build(net, **options)
    loaded = export.load_onnx(export.export_onnx(system, tmp_path / "net.onnx"))
    # The export saw 12 frames; these lengths have 1 to 80, odd and even.
    for samples in (1, 900, 4000, 10111):
        mixture = 0.3 * torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(samples))
        with torch.no_grad():
            expected, found = system.separate(mixture), loaded.separate(mixture)
        assert found.shape == (1, 4, 2, samples)
        assert (found - expected).abs().max() < 1e-4 * expected.abs().max().clamp(min=1e-2)


def test_an_array_goes_through_the_file(exported):
    system, path = exported
    mixture = np.random.default_rng(1).normal(0, 0.1, (2, 3001)).astype(np.float32)
    with torch.no_grad():
        expected = system.separate(torch.from_numpy(mixture)[None])[0].numpy()
    found = export.separate_with_onnx(path, mixture)
    assert found.dtype == np.float32 and found.shape == (4, 2, 3001)
    assert np.abs(found - expected).max() < 1e-6


def test_the_net_in_the_file_takes_batches_and_long_inputs(exported):
    system, path = exported
    spectrum = torch.randn(3, 2, 2, 257, 41)
    with torch.no_grad():
        assert torch.allclose(export.load_onnx(path).net(spectrum), system.net(spectrum), atol=1e-5)
        mixture = 0.1 * torch.randn(2, 8000 * 9)
        assert torch.allclose(export.load_onnx(path).separate_long(mixture), system.separate_long(mixture), atol=1e-5)


def test_the_file_describes_itself(exported):
    system, path = exported
    model = onnx.load(path)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about["format"] == "songfoundry-onnx-1" and about["system"] == "separate"
    assert json.loads(about["config"]) == system.config.model_dump()
    assert json.loads(about["card"]) == {"licence": "CC0"}
    (given,), (got,) = model.graph.input, model.graph.output
    sizes = [[d.dim_param or d.dim_value for d in tensor.type.tensor_type.shape.dim] for tensor in (given, got)]
    assert (given.name, got.name) == ("mixture", "stems")
    assert sizes == [["batch", 2, 2, 257, "frames"], ["batch", 4, 2, 2, 257, "frames"]]
    assert export.load_onnx(path).config == system.config


def test_the_difference_is_measured(exported):
    system, path = exported
    assert export.difference(system, path) < 1e-5
    other = build("bsrnn", layers=1)
    torch.nn.init.constant_(other.net.heads[0].bias, 1.0)
    assert export.difference(other, path) > 1e-3


@pytest.mark.parametrize("opset", [17, 20])
def test_the_operators_version_can_be_chosen(opset, tmp_path):
    path = export.export_onnx(build("bsrnn", layers=1), tmp_path / "net.onnx", opset=opset)
    assert [entry.version for entry in onnx.load(path).opset_import if entry.domain in ("", "ai.onnx")] == [opset]


def test_what_cannot_be_exported_is_one_sentence(exported, tmp_path, monkeypatch):
    system, _ = exported
    with pytest.raises(ConfigError, match="expected an opset from 17 to 20, found 9: choose one of those"):
        export.export_onnx(system, tmp_path / "net.onnx", opset=9)
    with pytest.raises(OutputError, match="expected to write .*its folder does not exist"):
        export.export_onnx(system, tmp_path / "none" / "net.onnx")
    monkeypatch.setattr(export, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(MissingExtraError, match=r"expected the package onnx .*: pip install 'songfoundry\[onnx\]'"):
        export.export_onnx(system, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_ours_are_refused(exported, tmp_path):
    _, path = exported
    broken = tmp_path / "broken.onnx"
    with pytest.raises(CheckpointError, match="broken.onnx, found no such file"):
        export.load_onnx(broken)
    broken.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="expected an ONNX file at .*, found what onnxruntime refuses") as caught:
        export.load_onnx(broken)
    assert "\n" not in str(caught.value)
    foreign = onnx.load(path)
    del foreign.metadata_props[:]
    onnx.save(foreign, broken)
    with pytest.raises(CheckpointError, match="expected an ONNX file of format 'songfoundry-onnx-1', found 'no format'"):
        export.load_onnx(broken)
    with pytest.raises(InputError, match=r"expected an array \(2 channels, samples\), found shape \(1, 8\)"):
        export.separate_with_onnx(path, np.zeros((1, 8), np.float32))


def test_the_command_exports_a_checkpoint_and_compares(tmp_path):
    from typer.testing import CliRunner

    from songfoundry.cli import app

    system = build("bsrnn", layers=1)
    weights = tmp_path / "mine.safetensors"
    checkpoint.save(weights, system.state_dict(), Checkpoint("separate", system.config.model_dump()))
    out = tmp_path / "mine.onnx"
    done = CliRunner().invoke(app, ["export", str(weights), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"Wrote {out}" in done.output and "mixture (batch, 2, 2, 257, frames)" in done.output
    assert "differ from the checkpoint's by at most" in done.output
    assert export.load_onnx(out).config == system.config
