"""Keep weights, and refuse every file that is not whole and ours, each in one sentence."""

import json
import os
import struct

import pytest
import torch
from safetensors.torch import save_file

from songfoundry import checkpoint
from songfoundry.checkpoint import Checkpoint
from songfoundry.errors import CheckpointError, ConfigError, OutputError
from songfoundry.systems.separate import Separate, SeparateConfig

SMALL = {"layers": 1, "features": 8, "hidden": 8}
CONFIG = SeparateConfig(preset="tiny", n_fft=256, hop_length=64, sample_rate=8000, net_options=SMALL)


@pytest.fixture(scope="module")
def system():
    torch.manual_seed(0)
    return Separate(CONFIG).eval()


@pytest.fixture
def model(system, tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, system.state_dict(), Checkpoint("separate", CONFIG.model_dump(), {"steps": 5, "licence": "CC0"}))
    return path


def rewritten(path, change, metadata=None):
    """Rewrite a checkpoint's header (a dict, after `change`) before the same tensors."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"].update(metadata or {})
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    return path


def refused(path, sentence):
    with pytest.raises(CheckpointError, match=sentence) as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("expected ")


def test_a_model_comes_back_with_weights_config_and_card(system, model):
    loaded = checkpoint.load(model)
    assert loaded.config == CONFIG
    assert loaded.checkpoint.card == {"steps": 5, "licence": "CC0"} and loaded.checkpoint.path == model
    assert all(torch.equal(a, b) for a, b in zip(system.state_dict().values(), loaded.state_dict().values(), strict=True))
    assert not loaded.training


def test_the_header_alone_is_read_without_the_tensors(model):
    about = checkpoint.read_header(model)
    assert (about.system, about.kind, about.config["preset"]) == ("separate", "model", "tiny")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.9999])
def test_a_file_that_is_cut_short_is_refused(model, share):
    raw = model.read_bytes()
    model.write_bytes(raw[: int(share * len(raw))])
    refused(model, rf"expected {len(raw)} bytes in .*, found \d+: the file is cut short or damaged, copy the file again")


@pytest.mark.parametrize("content", [b"", b"abc", b"\0" * 64, b"ID3\x04" + b"\0" * 400, b"\x08" + b"\0" * 7 + b"not json"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "song.safetensors"
    path.write_bytes(content)
    refused(path, r"expected a (songfoundry checkpoint|safetensors header).* found .*(copy the file again or train it anew)$")


def test_a_header_cut_in_the_middle_is_refused(model):
    model.write_bytes(model.read_bytes()[:200])
    refused(model, "expected a safetensors header in .*, found something else")


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "none.safetensors", r"expected a checkpoint at .*none.safetensors, found none .* \(No such file")


def test_another_format_s_version_is_named(model):
    rewritten(model, lambda header: None, {"format": "songfoundry-9"})
    refused(model, "expected a checkpoint of format 'songfoundry-1', found 'songfoundry-9' in .*: convert it, or install")


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    refused(path, "expected a checkpoint of format 'songfoundry-1', found 'no format' in ")


def test_a_header_beyond_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", checkpoint.MAX_HEADER_BYTES + 1) + b"{}")
    refused(path, "expected a songfoundry checkpoint, found .*huge.safetensors")


def test_too_many_tensors_are_refused(tmp_path):
    count = checkpoint.MAX_TENSORS + 1
    header = {str(n): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(count)}
    text = json.dumps(header).encode()
    path = tmp_path / "many.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    refused(path, f"expected at most {checkpoint.MAX_TENSORS} tensors in .*, found {count}")


def test_a_training_state_is_no_model(system, model):
    about = Checkpoint("separate", CONFIG.model_dump(), {"step": 1}, kind="training state")
    checkpoint.save(model, system.state_dict(), about)
    refused(model, "expected a model in .*, found a training state: use model.safetensors or best.safetensors beside it")


def test_an_unknown_system_is_named(model):
    rewritten(model, lambda header: None, {"system": "separat"})
    refused(model, r"expected a checkpoint of a known system, found another \(.*'separat': did you mean 'separate'")


def test_an_unknown_net_or_key_of_its_config_is_named(model):
    rewritten(model, lambda header: None, {"config": json.dumps({**CONFIG.model_dump(), "net": "transformer"})})
    refused(model, "known system, found another .*one of the nets, found 'transformer'")
    rewritten(model, lambda header: None, {"config": json.dumps({**CONFIG.model_dump(), "colour": "red"})})
    refused(model, "expected a known key, found 'colour'")


def test_tensors_of_another_net_are_refused(system, model):
    tensors = dict(system.state_dict())
    tensors["net.extra"] = torch.zeros(2)
    checkpoint.save(model, tensors, Checkpoint("separate", CONFIG.model_dump()))
    refused(model, "expected the tensors of a separate system in .*, found others .*net.extra")


def test_metadata_without_a_config_is_refused(model):
    rewritten(model, lambda header: header["__metadata__"].pop("config"))
    refused(model, "expected system, config and card in the header of .*, found them incomplete")


def test_config_that_is_no_json_is_refused(model):
    rewritten(model, lambda header: None, {"config": "{oops"})
    refused(model, "found them incomplete")


def test_saving_replaces_whole_or_not_at_all(system, model, tmp_path, monkeypatch):
    before = model.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="expected to write weights to .*No space left on device"):
        checkpoint.save(model, {"a": torch.zeros(1)}, Checkpoint("separate", {}))
    assert model.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [model.name]


def test_saving_into_no_folder_is_one_sentence(tmp_path):
    with pytest.raises(OutputError, match="expected to write weights to .*; free space or choose another folder"):
        checkpoint.save(tmp_path / "none" / "x.safetensors", {"a": torch.zeros(1)}, Checkpoint("separate", {}))


def test_models_are_found_by_name_or_path(model, tmp_path):
    assert checkpoint.resolve(str(model)) == model
    assert checkpoint.resolve("model", (tmp_path,)) == model
    with pytest.raises(ConfigError, match=r"expected the name of a model, found 'modle': did you mean 'model'\?"):
        checkpoint.resolve("modle", (tmp_path,))
    with pytest.raises(ConfigError, match=r"known: [\w, -]*\bmodel$") as caught:
        checkpoint.resolve("modle", (tmp_path,), "separate")
    assert "compose" not in str(caught.value)
    with pytest.raises(ConfigError, match="known: none$"):
        checkpoint.resolve("modle", (tmp_path,), "nothing")
    with pytest.raises(ConfigError, match="expected a checkpoint at .*gone.safetensors, found no such file"):
        checkpoint.resolve(str(tmp_path / "gone.safetensors"))
