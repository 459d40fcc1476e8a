"""Hold a deepened net against the one that it was grown from."""

import subprocess
import sys
from pathlib import Path

import torch

from songfoundry import checkpoint
from songfoundry.checkpoint import Checkpoint
from songfoundry.systems.separate import Separate, SeparateConfig

SCRIPT = Path(__file__).parents[1] / "recipes" / "deepen.py"


def test_a_deeper_net_computes_the_same_and_its_new_layers_learn(tmp_path):
    torch.manual_seed(3)
    config = SeparateConfig(net="bsrnn", preset="tiny", sample_rate=16000, n_fft=512, hop_length=128)
    system = Separate(config)
    checkpoint.save(tmp_path / "a.safetensors", system.state_dict(), Checkpoint("separate", config.model_dump()))
    command = [sys.executable, SCRIPT, tmp_path / "a.safetensors", "--layers", "5", "--out", tmp_path / "b.safetensors"]
    subprocess.run(command, check=True)
    deeper = checkpoint.load(tmp_path / "b.safetensors")
    assert len(deeper.net.time) == len(deeper.net.band) == 5
    mixture = torch.randn(1, 2, 8000)
    torch.testing.assert_close(deeper.separate(mixture), system.eval().separate(mixture), atol=1e-5, rtol=0)
    deeper.separate(mixture).square().sum().backward()
    assert all(deeper.net.time[layer].project.weight.grad.abs().max() > 0 for layer in (2, 3, 4))
