"""Write an evaluation of singing as tables."""

from songfoundry.evaluating.pages import Table, number, share

__all__ = ["tables"]

_PITCH = [
    "raw pitch accuracy", "raw chroma accuracy", "F0 RMSE, cents", "voicing error", "voicing recall", "voicing false alarm",
    "onsets off, ms (median)", "onsets heard",
]  # fmt: skip
_VOICE = ["mel-cepstral distortion, dB", "log-spectral distance, dB", "speaker distance (MFCC Gaussians)", "words distance (MFCC-DTW)"]


def tables(evaluation) -> list[Table]:
    """List the tables: title, headings, rows of cells."""
    found = []
    if evaluation.people:
        found.append(_pitched("Held-out people: how it is pitched", evaluation.people))
        head = [
            "row", "n", *_VOICE, "sentence told right (MFCC-DTW)", "person told right (MFCC Gaussians)", "Fréchet distance of MFCC frames",
        ]  # fmt: skip
        rows = [
            [name, str(row["n"]), *_voice(row), share(row["sentence"]), share(row["person"]), number(row["frechet"], 3)]
            for name, row in evaluation.people.items()
        ]
        found.append(("Held-out people: how it sounds beside their singing", head, rows))
    if evaluation.tunes:
        found.append(_pitched("Tunes: how they are pitched", evaluation.tunes))
        rows = [[name, str(row["n"]), *_voice(row)] for name, row in evaluation.tunes.items()]
        found.append(("Tunes: how they sound beside the speech", ["row", "n", *_VOICE], rows))
    if evaluation.fit:
        head = ["row", "n", "voiced frames in the backing's key", "onsets off beats and halves, ms (mean)", "the same by chance, ms"]
        rows = [
            [name, str(row["n"]), share(row["in_key"]), number(row["beat_ms"], 0), number(row["chance_ms"], 0)]
            for name, row in evaluation.fit.items()
        ]
        found.append(("Fit to the backing", head, rows))
    return found


def _pitched(title: str, rows: dict[str, dict[str, float]]) -> Table:
    cells = [[name, str(row["n"]), *_pitch(row), number(row.get("speed"))] for name, row in rows.items()]
    return title, ["row", "n", *_PITCH, "CPU seconds a second"], cells


def _pitch(row: dict[str, float]) -> list[str]:
    return [
        share(row["rpa"]), share(row["rca"]), number(row["f0_rmse_cents"], 0), share(row["voicing_error"]), share(row["voicing_recall"]),
        share(row["voicing_false_alarm"]), number(row["onset_ms"], 0), share(row["onset_found"]),
    ]  # fmt: skip


def _voice(row: dict[str, float]) -> list[str]:
    return [number(row["mcd"]), number(row["lsd"]), number(row["speaker"]), number(row["words"])]
