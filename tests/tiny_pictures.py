"""Make recipes that train tiny nets on digits made by code, in no time, and checkpoints of them."""

from pathlib import Path

import torch

from songfoundry import checkpoint, config, registry

SYSTEMS = {
    "ddpm": {"name": "ddpm", "preset": "tiny", "size": 16, "steps": 50},
    "epsilon": {"name": "ddpm", "preset": "tiny", "size": 16, "steps": 50, "schedule": "linear", "prediction": "epsilon"},
    "rectified": {"name": "ddpm", "preset": "tiny", "size": 16, "steps": 50, "schedule": "rectified"},
    "plain": {"name": "ddpm", "net": "ddpm_plain", "preset": "tiny", "size": 16, "steps": 50, "schedule": "linear",
              "prediction": "epsilon"},
    "cdcgan": {"name": "cdcgan", "preset": "tiny", "size": 16, "r1_every": 2},
    "cdcgan-plain": {"name": "cdcgan", "preset": "tiny", "net_options": {"modern": False}, "size": 16, "r1": 0.0},
    "cdcgan-hinge": {"name": "cdcgan", "preset": "tiny", "net_options": {"spectral_norm": True}, "size": 16, "r1": 0.0, "loss": "hinge"},
    "cdcgan-wgan": {"name": "cdcgan", "preset": "tiny", "size": 16, "loss": "wgan_gp"},
    "classifier": {"name": "picture_classifier", "size": 16, "widths": [4, 8, 8], "features": 8},
}  # fmt: skip
"""The table [system] of each family."""


def values(family: str = "ddpm", **train) -> dict:
    """Give a recipe's values; `train` overrides keys of its last table."""
    return {
        "name": f"tiny-{family}", "seed": 3, "system": dict(SYSTEMS[family]),
        "data": {"name": "images", "kind": "made", "count": 40, "size": 16},
        "train": {"epochs": 2, "batch": 8, "rate": 1e-3, "warmup": 2, "log_every": 2, "save_every": 5, "score_every": 100, "score_songs": 1,
                  "accelerator": "cpu", "workers": 0, **train},
    }  # fmt: skip


def recipe(family: str = "ddpm", **train) -> config.Recipe:
    """Give the recipe itself."""
    return config.parse(config.Recipe, values(family, **train), "tiny")


def system(family: str = "ddpm", **options):
    """Build a tiny system with random weights that do not depend on what ran before, without draws."""
    torch.manual_seed(1)
    kind = registry.get("systems", SYSTEMS[family]["name"])
    return kind(config.parse(kind.Config, {"classes": list("0123456789"), **SYSTEMS[family], **options}, "tiny"))


def save_model(path: Path, family: str = "ddpm", **options) -> Path:
    """Write a tiny system of random weights as a checkpoint."""
    made = system(family, **options)
    about = checkpoint.Checkpoint(made.config.name, made.config.model_dump(mode="json"), {"licence": "test"})
    checkpoint.save(path, made.state_dict(), about)
    return path
