"""Tell what is here: the models with their cards, and the environment for a bug report."""

import os
import platform
import re
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


def local_models() -> Path:
    """Name the folder of the user's own models: SONGFOUNDRY_MODELS, else `models` beside the cache."""
    default = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "songfoundry" / "models"
    return Path(os.environ.get("SONGFOUNDRY_MODELS", default))


def find_model(name: str | os.PathLike, system: str | None = None) -> Path:
    """Find the file of a model: a path, or the name of a shipped one or of the user's own.

    Raises
    ------
    ConfigError : no such model; the known ones (of that system) and the nearest are named.
    """
    return checkpoint.resolve(os.fspath(name), (local_models(),), system)


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
    needed = _requirements()
    core, extras = needed.pop(""), {extra: {name: _version(name) for name in packages} for extra, packages in needed.items()}
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        **environment(),
        "songfoundry": __version__,
        "packages": {name: metadata.version(name) for name in core},
        "processor": _processor(),
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


def _requirements() -> dict[str, list[str]]:
    """List what this package asks for, by extra ("" for what it cannot do without), as its own metadata says it."""
    found: dict[str, list[str]] = {"": []}
    for line in metadata.requires("songfoundry") or []:
        name, extra = re.match(r"[\w.-]+", line)[0], re.search(r"extra == ['\"](\w+)", line)
        if name != "songfoundry" and not (extra and extra[1] in ("all", "test")):
            found.setdefault(extra[1] if extra else "", []).append(name)
    return found


def _processor() -> str:
    """Name the processor, and what of it decides how fast a net is: whether it multiplies in bfloat16."""
    import torch

    name, about = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if about.is_file():
        name = next((line.split(":")[1].strip() for line in about.read_text().splitlines() if line.startswith("model name")), name)
    able = torch.cpu.get_capabilities()
    narrow = able.get("avx512_bf16") or able.get("amx_bf16")
    return f"{name}, {'multiplies in bfloat16' if narrow else 'no bfloat16 arithmetic'}"


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
