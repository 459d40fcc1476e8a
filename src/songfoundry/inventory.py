"""Tell what is here: the models with their cards, and the environment for a bug report."""

import os
import platform
import shutil
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from songfoundry import __version__, checkpoint
from songfoundry.errors import CheckpointError
from songfoundry.hardware import free_threads
from songfoundry.metrics.bsseval import museval_metrics
from songfoundry.runs import environment

EXTRAS = {
    "train": ("lightning-fabric", "matplotlib"),
    "av": ("av",),
    "onnx": ("onnx", "onnxruntime"),
    "museval": ("museval",),
    "midi": ("symusic",),
}


def local_models() -> Path:
    """Name the folder of the user's own models: SONGFOUNDRY_MODELS, else `models` beside the cache."""
    default = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "songfoundry" / "models"
    return Path(os.environ.get("SONGFOUNDRY_MODELS", default))


def models() -> list[dict[str, Any]]:
    """List the shipped models and the user's own, each with what its file says of itself.

    Returns
    -------
    rows : {"name", "path", "shipped", "mib", "system", "net", "preset", "card"}; for a damaged file {"name", "path", "error"}.
    """
    rows = []
    for name, path in checkpoint.shipped((local_models(),)).items():
        row: dict[str, Any] = {"name": name, "path": str(path), "shipped": path.parent == checkpoint.WEIGHTS}
        try:
            about = checkpoint.read_header(path)
        except CheckpointError as error:
            rows.append(row | {"error": str(error)})
            continue
        row |= {"mib": round(path.stat().st_size / 2**20, 2), "system": about.system, "card": about.card}
        rows.append(row | {"net": about.config.get("net"), "preset": about.config.get("preset")})
    return rows


def doctor() -> dict[str, Any]:
    """Describe versions, devices, threads, codecs, extras and weights.

    Returns
    -------
    report : plain values, fit for JSON; no paths but those of the package's own programs and models.
    """
    import torch

    from songfoundry.audio import io

    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    extras = {extra: {name: _version(name) for name in packages} for extra, packages in EXTRAS.items()}
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        **environment(),
        "songfoundry": __version__,
        "system": f"{platform.system()} {platform.release()}",
        "executable": sys.executable,
        "devices": devices,
        "threads": {"separate": free_threads(), "torch": torch.get_num_threads(), "usable cores": affinity, "load": _load()},
        "codecs": {
            "libsndfile": io.library_version(),
            "PyAV (m4a, wma, webm, stem.mp4)": _version("av"),
            "ffmpeg program": shutil.which("ffmpeg"),
        },
        "extras": extras,
        "models": [{key: row.get(key) for key in ("name", "mib", "shipped", "error") if key in row} for row in models()],
    }


def _version(package: str) -> str | None:
    """Give the version of an installed package that can be imported, or None."""
    try:
        if package == "museval":
            museval_metrics()
        else:
            import_module({"lightning-fabric": "lightning_fabric"}.get(package, package))
        return metadata.version(package)
    except Exception:  # A broken binary fails in many ways; all mean that it cannot be used.
        return None


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
