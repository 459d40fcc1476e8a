"""Make a recipe that trains a tiny codec on tones made by code, a system with random weights, and a model's file."""

from pathlib import Path

from songfoundry import config

RATE = 8000


def values(net: str = "vae", **train) -> dict:
    """Give a recipe's values; `train` overrides keys of its last table."""
    return {
        "name": f"tiny-{net}",
        "seed": 3,
        "system": {"name": "codec", "net": net, "preset": "tiny", "rate": RATE, "n_mels": 32, "n_fft": 512, "hop": 128, "frames": 64,
                   "latent_dim": 8, "stft": 0.1, "stft_sizes": [128, 256], "kl": 1e-3, "kl_warmup": 2, "free_bits": 0.01},
        "data": {"name": "sounds", "rate": RATE, "seconds": 1.1, "harmonics": 1.0, "clips": 8, "excerpt": 1.5},
        "train": {"steps": 6, "batch": 4, "rate": 2e-3, "warmup": 2, "log_every": 2, "save_every": 2, "score_every": 100,
                  "accelerator": "cpu", "workers": 0, **train},
    }  # fmt: skip


def recipe(net: str = "vae", **train) -> config.Recipe:
    """Give the recipe itself."""
    return config.parse(config.Recipe, values(net, **train), "tiny")


def system(net: str = "vae", seed: int = 1, **options):
    """Build the tiny system with random weights that do not depend on what ran before."""
    import torch

    from songfoundry.systems.codec import Codec, CodecConfig

    torch.manual_seed(seed)
    return Codec(config.parse(CodecConfig, {**values(net)["system"], **options}, "tiny"))


def save_model(path: Path, net: str = "vae", seed: int = 1, **options) -> Path:
    """Write a model's file."""
    from songfoundry import checkpoint
    from songfoundry.checkpoint import Checkpoint

    made = system(net, seed, **options)
    checkpoint.save(path, made.state_dict(), Checkpoint("codec", made.config.model_dump(), {"licence": "test"}))
    return path
