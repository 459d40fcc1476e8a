"""Measure ISR, SIR and SAR by museval itself, an extra: its distortion filters are its own, so nobody else's will do.

SDR needs none of it (`metrics.separation`); the tests hold that against this.
"""

from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np

from ..errors import InputError, MissingExtraError
from .separation import present_stems, validate


def bss_eval(
    references: np.ndarray,
    estimates: np.ndarray,
    rate: int,
    window_seconds: float = 1.0,
    hop_seconds: float = 1.0,
    filter_taps: int = 512,
) -> dict[str, np.ndarray]:
    """Compute SDR, ISR, SIR and SAR by museval itself (the extra ``museval``; about 1 CPU-second a stem and second).

    Args:
        references: float (stems, channels, samples), full scale ±1, at `rate` Hz; no stem may be silent throughout. Round them
            to 16 bits where a coder has cut their highest frequencies to nothing: museval's filters need a noise floor there.
        estimates: the same shape and condition.
        rate: samples a second.
        window_seconds: length of a frame.
        hop_seconds: distance between two frames.
        filter_taps: length of the allowed distortion filters in samples; ISR, SIR and SAR depend on it, SDR does not.

    Returns:
        ``{"SDR" | "ISR" | "SIR" | "SAR": float64 (stems, frames)}``, dB, NaN in dropped frames.

    Raises:
        MissingExtraError: museval is not installed.
        InputError: wrong shapes, or a stem that is silent throughout.
    """
    references, estimates = validate(references, estimates)
    metrics = museval_metrics()
    for role, array in (("reference", references), ("estimate", estimates)):
        if not all(present_stems(array)):
            raise InputError(
                f"expected every stem to sound somewhere for ISR, SIR and SAR, found that {role}"
                f" {present_stems(array).index(False)} is silent throughout: leave that stem out of references and estimates"
            )
    last = [np.ascontiguousarray(np.moveaxis(array, 1, 2)) for array in (references, estimates)]
    window, hop = int(window_seconds * rate), int(hop_seconds * rate)
    *scores, _ = metrics.bss_eval(*last, window=window, hop=hop, filters_len=filter_taps)
    return dict(zip(("SDR", "ISR", "SIR", "SAR"), scores, strict=True))


def museval_metrics() -> ModuleType:
    """Load museval's module of metrics alone: the package around it does not import where no ffmpeg program is installed.

    Raises:
        MissingExtraError: museval is not installed.
    """
    package = util.find_spec("museval")
    if package is None:
        raise MissingExtraError(
            "expected museval for ISR, SIR and SAR, found that it is not installed: pip install 'songfoundry[museval]'"
        )
    found = util.spec_from_file_location("museval_metrics", Path(package.submodule_search_locations[0], "metrics.py"))
    module = util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
