"""Make models whose output is known without training, and songs to separate with them."""

from pathlib import Path

import numpy as np
import torch

from songfoundry import checkpoint
from songfoundry.checkpoint import Checkpoint
from songfoundry.systems.separate import Separate, SeparateConfig

STEMS = ("vocals", "drums", "bass", "other")
SHARES = {"vocals": 0.4, "drums": 0.3, "bass": 0.2, "other": 0.1}


def system(shares: dict[str, float] | None = SHARES, **config) -> Separate:
    """Build a small system; with `shares` its masks are these constants, so that each stem is that much of the mixture."""
    options = {"features": 8, "hidden": 4, "layers": 1, "mask_hidden": 4}
    values = {"net": "bsrnn", "preset": None, "net_options": options, "n_fft": 1024, "hop_length": 256, "chunk_seconds": 1.0}
    values |= config
    if shares is not None:
        values["stems"] = list(shares)
    torch.manual_seed(0)
    made = Separate(SeparateConfig(**values))
    if shares is not None:
        with torch.no_grad():
            for head in made.net.heads:
                bands, _, outputs = head.bias.shape
                half = outputs // 2
                head.weight.zero_()
                value = torch.zeros(bands, len(shares), made.config.channels, 2, half // (2 * len(shares) * made.config.channels))
                value[:, :, :, 0] = torch.tensor(list(shares.values()))[None, :, None, None]
                head.bias[:, 0, :half] = value.reshape(bands, half)
                head.bias[:, 0, half:] = 40.0  # the gate wide open
    return made.eval()


def save(path: Path, made: Separate) -> Path:
    """Write a system as a checkpoint."""
    checkpoint.save(path, made.state_dict(), Checkpoint("separate", made.config.model_dump(), {"licence": "test"}))
    return path


def song(seconds: float = 3.0, rate: int = 44100, channels: int = 2, seed: int = 0, level: float = 0.5) -> np.ndarray:
    """Return noise below a fifth of the rate: float32 (channels, samples), peak `level`."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    spectrum = np.fft.rfft(rng.standard_normal((channels, n)))
    spectrum[:, int(0.2 * n) :] = 0
    x = np.fft.irfft(spectrum, n) * np.linspace(0.2, 1, n)
    return (level * x / max(np.abs(x).max(), 1e-9)).astype(np.float32)
