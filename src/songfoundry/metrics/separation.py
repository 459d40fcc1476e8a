"""Score separated stems on their waveforms, by the definitions of the field.

Four numbers that must never share a column, because each asks another question:

==============================  =====================================================================================
``SDR v4``                      BSSEval v4 as museval gives it: one number per second, a second counts for no stem if
                                any reference *or estimate* is silent in it; median over the seconds of a song
``SDR v4, frames by reference`` the same, but seconds are dropped by the references alone and a zero estimate scores
                                0 dB: nobody can improve it by writing zeros
``utterance SDR``               the Music Demixing Challenges' number: one ratio over the whole song
``SI-SDR``                      scale-invariant SDR: blind to a wrong gain, so another number again
==============================  =====================================================================================

Arrays are float (stems, channels, samples), full scale ±1; (stems, samples) is taken as mono. Sums run in float64
whatever comes in. All scores are in dB. The rows that belong beside every score (silence, mixture, oracle) come from
`metrics.baselines`; ISR, SIR and SAR, which only museval gives, from `metrics.bsseval`.

A song that lacks a stem is scored without it: its reference is silent everywhere, so that every frame would be
dropped for every stem. Say so with ``present`` (`present_stems` finds it out); such a stem's score is NaN, and
`aggregate` leaves it out. Since one stem's silence drops a frame for all, the set of stems changes every score.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

SDR_V4 = "SDR v4"
SDR_V4_REFERENCES = "SDR v4, frames by reference"
UTTERANCE_SDR = "utterance SDR"
SI_SDR = "SI-SDR"
DEFINITIONS = (SDR_V4, SDR_V4_REFERENCES, UTTERANCE_SDR, SI_SDR)

#: How a second is chosen to count: by references and estimates (museval), or by the references alone.
DROPS = ("any", "references")

#: Frames taken to float64 at a time, so that a song of an hour needs no second copy of itself.
_FRAMES_AT_ONCE = 16


def validate(references: np.ndarray, estimates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check that references and estimates can be compared, and give both as (stems, channels, samples).

    Args:
        references: float (stems, channels, samples) or (stems, samples), full scale ±1.
        estimates: as `references`, of the same shape.

    Raises:
        InputError: the shapes differ, are empty or not of two or three axes, or the numbers are not real and floating.
    """
    pair = []
    for role, array in (("references", references), ("estimates", estimates)):
        array = np.asarray(array)
        if not np.issubdtype(array.dtype, np.floating):
            raise InputError(
                f"expected {role} in floating point samples at full scale ±1, found {array.dtype}: divide integer"
                " samples by their full scale first"
            )
        if array.ndim not in (2, 3) or array.size == 0:
            raise InputError(
                f"expected {role} with the axes (stems, channels, samples) and something in each, found the shape"
                f" {array.shape}: stack the stems along a new first axis"
            )
        pair.append(array if array.ndim == 3 else array[:, None])
    if pair[0].shape != pair[1].shape:
        raise InputError(
            "expected references and estimates of the same shape (stems, channels, samples), found"
            f" {pair[0].shape} and {pair[1].shape}: cut or pad the estimates to the references first"
        )
    return pair[0], pair[1]


def _decibels(signal: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Give 10 log10(signal / error) elementwise: +inf for no error, -inf for no signal, NaN for neither.

    Raises:
        InputError: an energy is not finite. NaN would otherwise count as "frame dropped", and improve the score.
    """
    if not (np.isfinite(signal).all() and np.isfinite(error).all()):
        raise InputError(
            "expected finite numbers as samples, found NaN or infinity in a reference or an estimate: repair the"
            " file or the model that wrote it"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(signal / error)


def frame_sdr(
    references: np.ndarray,
    estimates: np.ndarray,
    rate: int,
    window_seconds: float = 1.0,
    hop_seconds: float = 1.0,
    drop: str = "any",
) -> np.ndarray:
    """Compute the framewise SDR of BSSEval v4 (its signal-to-error ratio), in dB.

    There are floor((samples - window) / hop) + 1 frames and the tail is dropped; a song shorter than the window is one
    frame. A dropped frame is NaN for *every* stem. "Silent" means that the sum over the channels is zero in all samples.
    museval's distortion filters cancel out of the SDR, so none are computed here.

    Args:
        references: float (stems, channels, samples), full scale ±1, at `rate` Hz: the true stems.
        estimates: the same shape: the separated stems.
        rate: samples a second.
        window_seconds: length of a frame.
        hop_seconds: distance between the starts of two frames.
        drop: ``any`` drops a frame if any reference or estimate is silent in it (museval); ``references`` drops it by the
            references alone, and an estimate of zeros scores 0 dB.

    Returns:
        float64 (stems, frames), dB; NaN in dropped frames, +inf where an estimate is exact.

    Raises:
        InputError: wrong shapes, NaN in the samples, a window or hop below one sample, or an unknown `drop`.

    Reference:
        Stöter, Liutkus, Ito 2018, "The 2018 Signal Separation Evaluation Campaign", section 3; museval.metrics.bss_eval.
    """
    references, estimates = validate(references, estimates)
    if drop not in DROPS:
        raise InputError(f"expected `drop` to be one of {', '.join(DROPS)}, found {drop!r}: choose one of these")
    window, hop = int(window_seconds * rate), int(hop_seconds * rate)
    if window < 1 or hop < 1:
        raise InputError(
            f"expected window and hop of at least one sample, found {window} and {hop} samples at {rate} Hz:"
            " give them in seconds"
        )
    samples = references.shape[-1]
    window = min(window, samples)
    frames = (samples - window) // hop + 1
    signal = np.empty((len(references), frames))
    error = np.empty_like(signal)
    dropped = np.zeros(frames, dtype=bool)
    for first in range(0, frames, _FRAMES_AT_ONCE):
        block = slice(first, min(first + _FRAMES_AT_ONCE, frames))
        span = slice(first * hop, (block.stop - 1) * hop + window)

        def framed(array: np.ndarray) -> np.ndarray:
            return np.lib.stride_tricks.sliding_window_view(array, window, axis=-1)[..., ::hop, :]

        true, estimate = references[..., span], estimates[..., span]
        wide = true.astype(np.float64)
        signal[:, block] = np.einsum("scft,scft->sf", framed(wide), framed(wide))
        wide = estimate.astype(np.float64) - wide
        error[:, block] = np.einsum("scft,scft->sf", framed(wide), framed(wide))
        for array in (true, estimate) if drop == "any" else (true,):
            # Summed in the type that came in, as museval does: what is silent there must be silent here.
            silent = ~framed(array.sum(axis=1) != 0).any(axis=-1)
            dropped[block] |= silent.any(axis=0)
    scores = _decibels(signal, error)
    scores[:, dropped] = np.nan
    return scores


def present_stems(references: np.ndarray) -> list[bool]:
    """Say for each stem whether the song has it: whether the sum over its channels is anywhere other than zero.

    Args:
        references: float (stems, channels, samples), full scale ±1: the true stems of the whole song.
    """
    references, _ = validate(references, references)
    return [bool(np.any(stem.sum(axis=0) != 0)) for stem in references]


def _among(present: Sequence[bool] | None, stems: int) -> np.ndarray:
    """Give `present` as a bool array (stems,).

    Raises:
        InputError: it has another length than there are stems, or no stem is present.
    """
    chosen = np.ones(stems, dtype=bool) if present is None else np.asarray(present, dtype=bool)
    if chosen.shape != (stems,) or not chosen.any():
        raise InputError(
            f"expected `present` to say yes or no for each of the {stems} stems with at least one yes, found"
            f" {chosen.tolist()}: leave out songs without any stem"
        )
    return chosen


def sdr_v4(
    references: np.ndarray,
    estimates: np.ndarray,
    rate: int,
    window_seconds: float = 1.0,
    hop_seconds: float = 1.0,
    drop: str = "any",
    present: Sequence[bool] | None = None,
) -> tuple[np.ndarray, int]:
    """Compute each stem's SDR v4 for one song: the median over the frames that count.

    Args:
        references: float (stems, channels, samples), full scale ±1, at `rate` Hz.
        estimates: the same shape.
        rate: samples a second.
        window_seconds: length of a frame.
        hop_seconds: distance between two frames.
        drop: see `frame_sdr`.
        present: for each stem, whether the song has it; None means all. A stem that is not there is left out of the
            song's set: it neither gets a score (NaN) nor drops frames, whatever was estimated for it.

    Returns:
        float64 (stems,), dB, NaN for absent stems and where no frame counts; and the number of frames that counted.

    Raises:
        InputError: see `frame_sdr`; or `present` does not fit the stems.
    """
    references, estimates = validate(references, estimates)
    chosen = _among(present, len(references))
    scores = np.full(len(references), np.nan)
    if not chosen.all():
        references, estimates = references[chosen], estimates[chosen]
    framewise = frame_sdr(references, estimates, rate, window_seconds, hop_seconds, drop)
    # A frame is dropped for all stems or for none, so the first stem tells.
    counted = ~np.isnan(framewise[0])
    if counted.any():
        scores[chosen] = np.median(framewise[:, counted], axis=1)
    return scores, int(counted.sum())


def utterance_sdr(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Compute the SDR of the Music Demixing Challenges: one ratio of energies over the whole song, in dB.

    Args:
        references: float (stems, channels, samples), full scale ±1.
        estimates: the same shape.

    Returns:
        float64 (stems,), dB: 10 log10((Σ s² + 1e-7) / (Σ (s - e)² + 1e-7)), sums over channels and samples. An estimate
        of zeros scores 0 dB.

    Raises:
        InputError: wrong shapes, or NaN in the samples.

    Reference:
        Mitsufuji et al. 2022, "Music Demixing Challenge 2021", eq. 1-2.
    """
    references, estimates = validate(references, estimates)
    signal, error = (np.empty(len(references)) for _ in range(2))
    for index, (true, estimate) in enumerate(zip(references, estimates, strict=True)):
        wide = true.astype(np.float64)
        signal[index] = np.vdot(wide, wide)
        wide -= estimate
        error[index] = np.vdot(wide, wide)
    return _decibels(signal + 1e-7, error + 1e-7)


def si_sdr(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Compute the scale-invariant SDR over the whole song, in dB.

    One scale for all channels of a stem, so that a wrong panorama still costs; no mean is subtracted.

    Args:
        references: float (stems, channels, samples), full scale ±1.
        estimates: the same shape.

    Returns:
        float64 (stems,), dB: 10 log10(|αs|² / |αs - e|²) with α = <e, s> / |s|²; -inf for an estimate of zeros (nothing
        of the target is in it), NaN for a reference of zeros.

    Raises:
        InputError: wrong shapes, or NaN in the samples.

    Reference:
        Le Roux, Wisdom, Erdogan, Hershey 2019, "SDR - half-baked or well done?", eq. 3-4.
    """
    references, estimates = validate(references, estimates)
    target, error = (np.empty(len(references)) for _ in range(2))
    for index, (true, estimate) in enumerate(zip(references, estimates, strict=True)):
        wide, other = true.astype(np.float64), estimate.astype(np.float64)
        energy = np.vdot(wide, wide)
        alpha = np.vdot(other, wide) / energy if energy else 0.0
        target[index] = alpha**2 * energy
        wide *= alpha
        wide -= other
        error[index] = np.vdot(wide, wide)
    scores = _decibels(target, error)
    scores[~references.any(axis=(1, 2))] = np.nan
    scores[(target == 0) & references.any(axis=(1, 2))] = -np.inf
    return scores


def score_song(
    references: np.ndarray, estimates: np.ndarray, rate: int, stems: Sequence[str], present: Sequence[bool] | None = None
) -> dict[str, dict]:
    """Score one song by all four definitions.

    Args:
        references: float (stems, channels, samples), full scale ±1, at `rate` Hz.
        estimates: the same shape.
        rate: samples a second.
        stems: the stems' names, in the arrays' order.
        present: for each stem, whether the song has it; None finds out by `present_stems`.

    Returns:
        ``{"scores": {definition: {stem: dB}}, "frames": {definition: frames counted}}`` with the present stems that have a
        score; what `aggregate` takes. Definitions that know no frames have no entry in ``frames``.

    Raises:
        InputError: see `validate`; or the names do not fit the stems.
    """
    references, estimates = validate(references, estimates)
    if len(stems) != len(references):
        raise InputError(
            f"expected a name for each of the {len(references)} stems, found {len(stems)}:"
            " name each in the arrays' order"
        )
    chosen = _among(present_stems(references) if present is None else present, len(references))
    by_any, frames_any = sdr_v4(references, estimates, rate, present=chosen)
    by_references, frames_references = sdr_v4(references, estimates, rate, drop="references", present=chosen)
    columns = (by_any, by_references, utterance_sdr(references, estimates), si_sdr(references, estimates))
    scores = {
        definition: {stem: float(column[i]) for i, stem in enumerate(stems) if chosen[i] and not np.isnan(column[i])}
        for definition, column in zip(DEFINITIONS, columns, strict=True)
    }
    return {"scores": scores, "frames": {SDR_V4: frames_any, SDR_V4_REFERENCES: frames_references}}


@dataclass(frozen=True)
class Row:
    """Hold one line of a table of scores: one stem by one definition, over the songs that have the stem."""

    stem: str
    definition: str
    #: Mean and median over the songs, dB.
    mean: float
    median: float
    #: Songs with a score.
    songs: int
    #: Frames counted in those songs together; None where the definition knows no frames.
    frames: int | None


def aggregate(songs: Iterable[dict[str, dict]]) -> list[Row]:
    """Gather the scores of songs into rows: for each definition and stem the mean and median over songs.

    Args:
        songs: what `score_song` returns, one for each song.

    Returns:
        Rows in the order in which definitions and stems first appear. A song without a score for a stem (the song lacks
        it, or no frame counted) is left out of that row's mean, median, `songs` and `frames`.
    """
    values: dict[tuple[str, str], list[float]] = {}
    frames: dict[tuple[str, str], int | None] = {}
    for song in songs:
        for definition, by_stem in song["scores"].items():
            counted = song.get("frames", {}).get(definition)
            for stem, score in by_stem.items():
                key = (definition, stem)
                values.setdefault(key, []).append(score)
                frames[key] = None if counted is None else (frames.get(key) or 0) + counted
    rows = []
    for (definition, stem), scores in sorted(values.items(), key=lambda item: _place(item[0][0])):
        # inf - inf in the mean of scores of +inf and -inf is NaN, and rightly so: no need to warn.
        with np.errstate(invalid="ignore"):
            mean, median = float(np.mean(scores)), float(np.median(scores))
        rows.append(Row(stem, definition, mean, median, len(scores), frames[definition, stem]))
    return rows


def _place(definition: str) -> int:
    """Give a definition's place in a table: the known ones in their order, others after them."""
    return DEFINITIONS.index(definition) if definition in DEFINITIONS else len(DEFINITIONS)
