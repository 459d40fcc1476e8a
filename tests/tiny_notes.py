"""Make a recipe that trains a tiny pair of nets on tones made by code, in no time."""

from songfoundry import config

FAMILIES = {
    "comb": {},
    "onehot": {"system": {"net_options": {"channels": [16, 12, 8], "condition": "onehot"}}},
    "onehot unheard": {"system": {"net_options": {"channels": [16, 12, 8], "condition": "onehot", "listening": False}}},
    "hinge": {"system": {"loss": "hinge"}},
    "wgan-gp": {"system": {"loss": "wgan_gp", "net_options": {"channels": [16, 12, 8], "spectral_norm": False}}},
    "growth": {"system": {"net_options": {"channels": [16, 12, 8], "growth": 0.8}}},
    "multistep": {"train": {"discriminator_first_steps": 1, "discriminator_freeze": 2, "phases": {
        "generator": {"schedule": "multistep", "milestones": [3, 5], "factor": 0.5, "clip": 50.0},
        "discriminator": {"schedule": "cosine_restarts", "period": 3, "rate": 2e-3, "betas": [0.0, 0.9]},
    }}},
    "if_mel": {"system": {"representation": "if_mel", "n_fft": 512, "samples": 3600}, "data": {"samples": 3600}},
}  # fmt: skip
"""What each family of recipes changes in the tiny one, by table."""


def values(family: str = "comb", **train) -> dict:
    """Give a recipe's values; `train` overrides keys of its last table."""
    changes = FAMILIES[family]
    return {
        "name": "tiny-notes",
        "seed": 3,
        "system": {"name": "note", "preset": "tiny", "net_options": {"channels": [16, 12, 8]}, "samples": 4096, "frames": 16, "mels": 64,
                   "r1_every": 3, **changes.get("system", {})},
        "data": {"name": "single_notes", "samples": 4096, "pitches": [60, 67], "instruments": ["bright", "hollow"],
                 "folders": [{"kind": "tones"}], **changes.get("data", {})},
        "train": {"steps": 6, "batch": 4, "optimizer": "adam", "betas": [0.0, 0.99], "weight_decay": 0.0, "rate": 1e-3, "warmup": 2,
                  "log_every": 2, "save_every": 2, "score_every": 100, "score_songs": 1, "accelerator": "cpu", "workers": 0,
                  **changes.get("train", {}), **train},
    }  # fmt: skip


def recipe(family: str = "comb", **train) -> config.Recipe:
    """Give the recipe itself."""
    return config.parse(config.Recipe, values(family, **train), "tiny")


def system(**options):
    """Build the tiny system with random weights that do not depend on what ran before, without draws."""
    import torch

    from songfoundry.systems.note import Note, NoteConfig

    torch.manual_seed(1)
    given = {"instruments": ["bright", "hollow"], "pitches": (60, 67), **values()["system"], **options}
    return Note(config.parse(NoteConfig, given, "tiny"))
