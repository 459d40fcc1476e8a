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
        head = [
            "row", "n", *_PITCH, *_VOICE, "sentence told right (MFCC-DTW)", "person told right (MFCC Gaussians)",
            "Fréchet distance of MFCC frames", "CPU seconds a second",
        ]  # fmt: skip
        rows = [
            [
                name, str(row["n"]), *_pitch(row), *_voice(row), share(row["sentence"]), share(row["person"]), number(row["frechet"], 3),
                number(row.get("speed")),
            ]
            for name, row in evaluation.people.items()
        ]  # fmt: skip
        found.append(("Held-out people: their speech, sung as they sang it", head, rows))
    if evaluation.tunes:
        head = ["row", "n", *_PITCH, *_VOICE, "CPU seconds a second"]
        rows = [[name, str(row["n"]), *_pitch(row), *_voice(row), number(row.get("speed"))] for name, row in evaluation.tunes.items()]
        found.append(("Tunes: speech, sung on notes; the voice is held against the speech", head, rows))
    if evaluation.fit:
        head = ["row", "n", "voiced frames in the backing's key", "onsets off beats and halves, ms (mean)", "the same by chance, ms"]
        rows = [
            [name, str(row["n"]), share(row["in_key"]), number(row["beat_ms"], 0), number(row["chance_ms"], 0)]
            for name, row in evaluation.fit.items()
        ]
        found.append(("Fit to the backing", head, rows))
    return found


def _pitch(row: dict[str, float]) -> list[str]:
    return [
        share(row["rpa"]), share(row["rca"]), number(row["f0_rmse_cents"], 0), share(row["voicing_error"]), share(row["voicing_recall"]),
        share(row["voicing_false_alarm"]), number(row["onset_ms"], 0), share(row["onset_found"]),
    ]  # fmt: skip


def _voice(row: dict[str, float]) -> list[str]:
    return [number(row["mcd"]), number(row["lsd"]), number(row["speaker"]), number(row["words"])]
