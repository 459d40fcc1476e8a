"""Make the estimates that stand beside every separation score: what takes no skill, and what only the truth can do.

They are estimates like any model's, (stems, channels, samples), to be scored by `metrics.separation`.
"""

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .separation import validate

#: What the row of the equal share is called: in words, so that a table says what was scored.
_SHARES = {2: "half of the mixture", 3: "a third of the mixture", 4: "a quarter of the mixture"}


def ideal_ratio_mask(
    references: np.ndarray, mixture: np.ndarray, n_fft: int = 4096, hop: int = 1024, seconds_at_once: float = 20.0
) -> np.ndarray:
    """Estimate the stems with the ratio masks that only the truth can give: a ceiling for real-valued masks.

    Args:
        references: float (stems, channels, samples), full scale ±1: the true stems.
        mixture: float (channels, samples), full scale ±1.
        n_fft: STFT window (Hann) in samples; at 44.1 kHz 4096 is 93 ms.
        hop: distance between two windows in samples; divides `n_fft`.
        seconds_at_once: work in pieces of about this many times 44,100 samples; the result does not depend on it.

    Returns:
        float32 (stems, channels, samples): the mixture's STFT times |S_i| / Σ|S_j|, back in time.

    Raises:
        InputError: the shapes do not fit, or `hop` does not divide `n_fft`.

    Reference:
        Erdogan et al. 2015, "Phase-sensitive and recognition-boosted speech separation", table 1 (IRM); as in
        sigsep-mus-oracle with exponent 1.
    """
    from scipy import signal

    references, _ = validate(references, references)
    mixture = np.asarray(mixture)
    mixture = mixture[None] if mixture.ndim == 1 else mixture
    if mixture.shape != references.shape[1:]:
        raise InputError(
            f"expected a mixture with the references' channels and samples {references.shape[1:]}, found the shape"
            f" {mixture.shape}: cut both to the same length"
        )
    if not 0 < hop <= n_fft or n_fft % hop:
        raise InputError(f"expected a hop that divides the window of {n_fft} samples, found {hop}: take a quarter of the window")
    form = {"window": "hann", "nperseg": n_fft, "noverlap": n_fft - hop}
    samples = mixture.shape[-1]
    piece = max(1, round(seconds_at_once * 44100 / hop)) * hop
    estimates = np.empty(references.shape, dtype=np.float32)
    for start in range(0, samples, piece):
        stop = min(start + piece, samples)
        # Every window that touches the piece lies inside this stretch, on the grid of the whole song: nothing changes.
        # Beyond the song's end zeros stand in, so that a song shorter than a window works too.
        left, right = max(0, start - n_fft), stop + n_fft
        beyond = max(0, right - samples)

        stretches = (np.pad(a[..., left:right], [(0, 0)] * (a.ndim - 1) + [(0, beyond)]) for a in (references, mixture))
        true, mixed = (signal.stft(stretch, **form)[2] for stretch in stretches)
        magnitudes = np.abs(true)
        masks = magnitudes / np.maximum(magnitudes.sum(axis=0), np.finfo(np.float32).tiny)
        masked = signal.istft(masks * mixed, **form)[1]
        estimates[..., start:stop] = masked[..., start - left : stop - left]
    return estimates


def baseline_estimates(mixture: np.ndarray, stems: int | Sequence[str]) -> dict[str, np.ndarray]:
    """Make the three estimates that take no skill; their scores are the zero of a table of scores.

    Args:
        mixture: float (channels, samples), full scale ±1.
        stems: how many stems (or their names) the song is split into.

    Returns:
        Row name → float (stems, channels, samples), read-only: ``silence``, ``mixture``, and an equal share of the mixture,
        its row named after what it is: ``half of the mixture`` for two stems, ``a quarter of the mixture`` for four. Score
        ``silence`` with ``drop="references"``: every frame of it is dropped otherwise.
    """
    count = stems if isinstance(stems, int) else len(stems)
    if count < 1:
        raise InputError("expected at least one stem to estimate, found none: name the stems")
    mixture = np.asarray(mixture)
    mixture = mixture[None] if mixture.ndim == 1 else mixture
    shape = (count, *mixture.shape)
    share = mixture / np.asarray(count, dtype=mixture.dtype)
    return {
        "silence": np.broadcast_to(np.zeros((), dtype=mixture.dtype), shape),
        "mixture": np.broadcast_to(mixture, shape),
        _SHARES.get(count, f"mixture / {count}"): np.broadcast_to(share, shape),
    }
