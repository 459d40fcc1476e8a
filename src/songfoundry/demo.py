"""Show what separation does, with nothing but this package: compose a song, take it apart, say how well that went.

The demo song's tune, seed and voice are never trained on (`data.tunes` refuses to draw them for training).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from songfoundry.audio import io
from songfoundry.audio.atomic import AsideFolder, check_folder
from songfoundry.audio.pieces import resample
from songfoundry.data.songs import STEMS
from songfoundry.data.synthetic import demo_song
from songfoundry.errors import ConfigError
from songfoundry.evaluating import separation as evaluation
from songfoundry.metrics.separation import aggregate
from songfoundry.registry import nearest
from songfoundry.separating.separator import DEFAULT_MODEL, Separator
from songfoundry.separating.stemwriter import check_form

RATE = 44100
TAGS = {"title": "songfoundry demo song", "artist": "songfoundry", "license": "CC0-1.0"}


@dataclass(frozen=True)
class Demo:
    """Hold what the demo made: the song, its true stems and its estimated stems as files, and the scores."""

    song: Path
    truth: dict[str, Path]
    stems: dict[str, Path]
    scores: evaluation.Evaluation

    @property
    def unskilled(self) -> list[str]:
        """Name the stems that score no more than an equal share of the mixture, which takes no skill (median v4 SDR)."""
        method, share = next(iter(self.scores.groups["the demo song"])), "a quarter of the mixture"
        found = {stem: self.scores.score(stem, "the demo song") for stem in STEMS}
        return [stem for stem, scores in found.items() if scores[method] <= scores[share]]


def run(
    out: str | os.PathLike, *, model: str = DEFAULT_MODEL, format: str = "wav", bitrate: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Demo:  # fmt: skip
    """Compose the demo song, separate it and score the stems against the true ones.

    Parameters
    ----------
    out : folder for `song`, `truth/` and `stems/`; made if it is not there.
    format, bitrate : of all files; the scores are those of the stems before they are coded.

    Raises
    ------
    OutputError : the folder cannot be written. ConfigError, CheckpointError : the format, the model.
    """
    if format not in io.FORMATS:
        raise ConfigError(f"expected a format, found {format!r}: {nearest(format, list(io.FORMATS))}")
    check_form(format, bitrate=bitrate)
    out, rate = Path(out), io.nearest_rate(format, RATE)
    for part in ("truth", "stems"):
        check_folder(out / part)
    separator = Separator(model)
    truth = demo_song(rate=RATE)
    mixture = sum(truth.values())
    with AsideFolder(out) as aside:
        for part in ("truth", "stems"):
            (aside.folder / part).mkdir()
        estimates = separator.separate(mixture, RATE, progress=progress)
        files = {f"song.{format}": mixture} | {f"truth/{stem}.{format}": samples for stem, samples in truth.items()}
        files |= {f"stems/{stem}.{format}": samples for stem, samples in estimates.items()}
        for name, samples in files.items():
            io.write(aside.folder / name, resample(samples, RATE, rate), rate, bitrate=bitrate, tags=TAGS)
        aside.commit()
    stacked = np.stack([truth[stem] for stem in STEMS])
    results = evaluation.score_methods(
        {separator.name: np.stack([estimates[stem] for stem in STEMS])}, stacked, RATE, list(STEMS), [True] * len(STEMS)
    )
    scores = evaluation.Evaluation({"the demo song": {m: aggregate([r]) for m, r in results.items()}}, data="the demo song", rate=RATE)
    places = {part: {stem: out / part / f"{stem}.{format}" for stem in known} for part, known in (("truth", truth), ("stems", estimates))}
    return Demo(out / f"song.{format}", places["truth"], places["stems"], scores)
