"""Add layers to a trained band-split RNN without changing what it computes, to train it further as a deeper net.

    python recipes/deepen.py src/songfoundry/weights/bsrnn-small.safetensors --layers 6 --out runs/deeper.safetensors
    songfoundry train recipes/separate-bsrnn-medium.toml --start-from runs/deeper.safetensors

The new pairs of LSTMs are copies of the last ones, behind projections of zero: the residual path alone goes through.

Reference: Du et al. 2024, "Stacking Your Transformers" (arXiv 2405.15319), for copies rather than random layers; Chen, Goodfellow &
Shlens 2016, "Net2Net" (arXiv 1511.05641), for growing without a change of function.
"""

import argparse
from pathlib import Path

import torch

from songfoundry import checkpoint, config
from songfoundry.checkpoint import Checkpoint


def deepen(tensors: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """Copy the last pairs of LSTMs until there are `layers`; the copies' projections are zero."""
    deeper = {name: t.float() for name, t in tensors.items()}
    present = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("net.time."))
    for new in range(present, layers):
        source = present - (layers - present) + (new - present) if layers <= 2 * present else present - 1
        for name, tensor in tensors.items():
            for axis in ("time", "band"):
                prefix = f"net.{axis}.{source}."
                if name.startswith(prefix):
                    part = name.removeprefix(prefix)
                    copy = torch.zeros_like(tensor) if part.startswith("project.") else tensor.clone()
                    deeper[f"net.{axis}.{new}.{part}"] = copy.float()
    return deeper


def main() -> None:
    """Write the deeper net's checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    about = checkpoint.read_header(options.checkpoint)
    grown = config.override(about.config, [f"net_options.layers={options.layers}"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tensors = deepen(checkpoint.read_tensors(options.checkpoint), options.layers)
    checkpoint.save(options.out, tensors, Checkpoint(about.system, grown, about.card))
    before, after = checkpoint.load(options.checkpoint), checkpoint.load(options.out)
    noise = torch.randn(1, before.config.channels, before.config.sample_rate)
    with torch.inference_mode():
        difference = float((before.separate(noise) - after.separate(noise)).abs().max())
    if difference > 1e-5:
        raise SystemExit(f"expected the same stems from the deeper net, found a difference of {difference:.2g}")


if __name__ == "__main__":
    main()
