"""Find nets, systems and draws by name, those of other packages too."""

import pytest

from songfoundry import registry
from songfoundry.errors import ConfigError
from songfoundry.systems.separate import Separate, SeparateConfig

PLUGIN = '''
import torch

TASK = "separate"
PRESETS = {"plain": {"gain": 0.25}}

class Share(torch.nn.Module):
    def __init__(self, *, stems=4, channels=2, sample_rate=44100, n_fft=4096, gain=0.5):
        super().__init__()
        self.stems, self.gain = stems, torch.nn.Parameter(torch.tensor(gain))

    def forward(self, spectrum):
        return (self.gain * spectrum)[:, None].repeat(1, self.stems, 1, 1, 1, 1)

NET = Share
'''


class Entry:
    """Stand for an installed package's entry point."""

    def __init__(self, name: str, target: str):
        self.name, self.target = name, target

    def load(self):
        from importlib import import_module

        return import_module(self.target)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "their_share_net.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    entries = {"songfoundry.nets": [Entry("share", "their_share_net")]}
    monkeypatch.setattr(registry, "entry_points", lambda group: entries.get(group, []))


def test_file_names_are_registered_names():
    assert "bsrnn" in registry.names("nets")
    assert registry.names("systems") == sorted(registry.names("systems")) and "separate" in registry.names("systems")
    assert "remix" in registry.names("data")
    # Modules without the constant are no draws.
    assert "songs" not in registry.names("data") and "augment" not in registry.names("data")


def test_get_gives_the_class_and_module_its_presets():
    assert registry.get("systems", "separate") is Separate
    assert registry.get("nets", "bsrnn") is registry.module("nets", "bsrnn").NET
    assert "tiny" in registry.module("nets", "bsrnn").PRESETS


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"expected the name of one of the nets, found 'bsrn': did you mean 'bsrnn'\? known: "):
        registry.get("nets", "bsrn")


def test_a_strange_name_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="found '../../etc': known: .*separate"):
        registry.get("systems", "../../etc")


def test_another_package_adds_a_net(plugin):
    assert "share" in registry.names("nets") and "bsrnn" in registry.names("nets")
    assert "share" not in registry.names("systems")
    system = Separate(SeparateConfig(net="share", preset="plain", n_fft=512, hop_length=128, sample_rate=8000)).eval()
    import torch

    mixture = torch.randn(1, 2, 777)
    with torch.no_grad():
        stems = system.separate(mixture)
    assert torch.allclose(stems, 0.25 * mixture[:, None].expand(1, 4, 2, 777), atol=1e-5)


def test_nearest_names_all_when_none_is_near():
    assert registry.nearest("qqq", ["b", "a"]) == "known: a, b"
    assert registry.nearest("x", []) == "known: none"


def test_a_net_of_another_task_is_refused():
    with pytest.raises(ConfigError, match="expected a net whose TASK is 'separate', found 'lstm': .*known: bsrnn"):
        Separate(SeparateConfig(net="lstm"))
    assert "lstm" in registry.nets_for("compose") and "lstm" not in registry.nets_for("separate")
