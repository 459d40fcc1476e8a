"""Evaluate separation models on songs with known stems, beside the rows that take no skill and the oracle.

Songs come in groups that are never mixed: four-stem songs, two-stem songs (voice and accompaniment), songs without
vocals. In each group every method is scored by every definition of `metrics.separation`.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from songfoundry import config
from songfoundry.audio import io
from songfoundry.config import Config
from songfoundry.data.songs import ACCOMPANIMENT, STEMS, Song, find_songs, read_song, stereo
from songfoundry.errors import DatasetError
from songfoundry.metrics.baselines import baseline_estimates, ideal_ratio_mask
from songfoundry.metrics.separation import SDR_V4, SDR_V4_REFERENCES, Row, aggregate, score_song

FOUR, TWO, NO_VOCALS = "four-stem songs", "two-stem songs", "songs without vocals"
SILENCE, ORACLE = "silence", "oracle (ideal ratio mask)"


class SongSet(Config):
    """Name songs of one folder; `cut_last_seconds` are left out at the end (a click, say)."""

    path: str
    include: list[str] = ["*"]
    split: str | None = None
    cut_last_seconds: float = 0.0
    only_last: bool = False


class SongList(Config):
    """Name the songs of an evaluation: a TOML file in `recipes/`."""

    about: str = ""
    songs: list[SongSet]


@dataclass
class Evaluation:
    """Hold the scores: group -> method -> rows; and per song what went into them."""

    groups: dict[str, dict[str, list[Row]]]
    songs: list[dict[str, Any]] = field(default_factory=list)
    data: str = ""
    rate: int = 44100

    def as_json(self) -> dict[str, Any]:
        """Give plain values for a JSON file."""
        groups = {g: {m: [asdict(row) for row in rows] for m, rows in methods.items()} for g, methods in self.groups.items()}
        return {"data": self.data, "rate": self.rate, "groups": groups, "songs": self.songs}

    def as_markdown(self, definitions: Iterable[str] | None = None) -> str:
        """Write a table per group: a line per method and definition, a column per stem, "median / mean" over songs in dB."""
        lines = []
        for group, methods in self.groups.items():
            stems = list(dict.fromkeys(row.stem for rows in methods.values() for row in rows))
            count = max((row.songs for rows in methods.values() for row in rows), default=0)
            lines += [f"**{group}** (n = {count}; median / mean over songs, dB)", ""]
            lines += ["| method | definition | " + " | ".join(stems) + " | frames |", "|---|---|" + "---|" * (len(stems) + 1)]
            for method, rows in methods.items():
                for definition in dict.fromkeys(row.definition for row in rows):
                    if definitions and definition not in definitions:
                        continue
                    found = {row.stem: row for row in rows if row.definition == definition}
                    cells = [f"{found[s].median:.2f} / {found[s].mean:.2f}" if s in found else "" for s in stems]
                    frames = max((row.frames or 0 for row in found.values()), default=0)
                    lines.append(f"| {method} | {definition} | " + " | ".join(cells) + f" | {frames or ''} |")
            lines.append("")
        return "\n".join(lines)

    def score(self, stem: str, group: str = FOUR, definition: str = SDR_V4) -> dict[str, float]:
        """Give the median over songs of a stem for each method."""
        rows = {method: rows for method, rows in self.groups.get(group, {}).items()}
        return {m: r.median for m, found in rows.items() for r in found if r.stem == stem and r.definition == definition}


def songs_of(dataset: str | os.PathLike, split: str | None = None) -> list[tuple[Song, SongSet]]:
    """List the songs of a folder, or those that a TOML list names, with what is to be cut.

    Raises
    ------
    DatasetError : nothing is left; the sentence says which splits there are.
    """
    if str(dataset).endswith(".toml"):
        sets = config.parse(SongList, config.read_toml(dataset), str(dataset)).songs
    else:
        sets = [SongSet(path=str(dataset))]
    found = [(song, part) for part in sets for song in find_songs(part.path, part.include)]
    wanted = [(song, part) for song, part in found if (split or part.split) in (None, song.split)]
    if not wanted:
        splits = ", ".join(sorted({song.split for song, _ in found})) or "none"
        raise DatasetError(f"expected songs of split {split!r} in {dataset}, found only {splits}: name another --split")
    return wanted


def load_truth(song: Song, part: SongSet, rate: int) -> tuple[list[str], np.ndarray, list[bool]]:
    """Read a song's true stems, scaled by one gain so that the mixture does not pass full scale.

    Returns
    -------
    names : of the stems, four, or "vocals" and "accompaniment".
    truth : float32 (stems, 2, samples) at `rate` Hz.
    present : for each stem whether the song has it.
    """
    stems = read_song(song, rate)
    names = ["vocals", ACCOMPANIMENT] if song.two_stems else list(STEMS)
    length = next(iter(stems.values())).shape[1]
    truth = np.stack([stereo(stems.get(name, np.zeros((2, length), np.float32))) for name in names])
    if part.only_last and song.valid_last_seconds:
        truth = truth[..., -round(song.valid_last_seconds * rate) :]
    if part.cut_last_seconds:
        truth = truth[..., : -round(part.cut_last_seconds * rate)]
    truth = truth / max(1.0, float(np.abs(truth.sum(0)).max(initial=0)))
    return names, truth, [bool(stem.any()) for stem in truth]


def evaluate_separation(
    dataset: str | os.PathLike,
    models: Iterable[str] = (),
    *,
    split: str | None = None,
    rate: int = 44100,
    baselines: bool = True,
    progress: Callable[[float], None] | None = None,
    **separator_options: Any,
) -> Evaluation:
    """Score models and the rows beside them on every song of a data set.

    Parameters
    ----------
    dataset : a folder of songs, or a TOML list of songs (see `recipes/public-test.toml`).
    models : names, paths or `a+b`, as `separate` takes them.
    split : score only songs of this split.
    rate : the rate at which songs are decoded and scored, Hz.
    progress : called with the fraction done.

    Raises
    ------
    DatasetError, ConfigError, CheckpointError : each says what to do.
    """
    from songfoundry.separator import Separator

    songs = songs_of(dataset, split)
    separators = {model: Separator(model, **separator_options) for model in models}
    collected: dict[str, dict[str, list[dict]]] = {}
    details = []
    for number, (song, part) in enumerate(songs):
        names, truth, present = load_truth(song, part, rate)
        mixture = truth.sum(0)
        estimates: dict[str, np.ndarray] = {}
        for model, separator in separators.items():
            found = separator.separate(mixture, rate)
            if song.two_stems:
                found = {"vocals": found["vocals"], ACCOMPANIMENT: sum(found[stem] for stem in found if stem != "vocals")}
            estimates[model] = np.stack([found[name] for name in names])
        group = TWO if song.two_stems else FOUR if present[0] else NO_VOCALS
        for method, result in score_methods(estimates, truth, rate, names, present, baselines).items():
            collected.setdefault(group, {}).setdefault(method, []).append(result)
            if method in separators:
                details.append({"song": song.name, "group": group, "method": method, **result})
        if progress:
            progress((number + 1) / len(songs))
    groups = {g: {m: aggregate(results) for m, results in collected[g].items()} for g in (FOUR, TWO, NO_VOCALS) if g in collected}
    return Evaluation(groups, details, str(dataset), rate)


def score_methods(
    estimates: dict[str, np.ndarray], truth: np.ndarray, rate: int, names: list[str], present: list[bool], baselines: bool = True
) -> dict[str, dict]:
    """Score estimates of one song, and the rows beside them; method -> result of `metrics.separation.score_song`.

    Parameters
    ----------
    estimates : method -> float32 (stems, channels, samples), as `truth`.
    """
    mixture = truth.sum(0)
    if baselines:
        estimates = {**estimates, **baseline_estimates(mixture, len(names)), ORACLE: ideal_ratio_mask(truth, mixture)}
    results = {method: score_song(truth, estimate, rate, names, present) for method, estimate in estimates.items()}
    if SILENCE in results:
        _zero_by_definition(results[SILENCE], names, present)
    return results


def _zero_by_definition(result: dict, names: list[str], present: list[bool]) -> None:
    """Write 0 dB for silence in v4's column: museval drops all its frames, and its error is the signal itself."""
    result["scores"][SDR_V4] = {name: 0.0 for name, there in zip(names, present, strict=True) if there}
    result["frames"][SDR_V4] = result["frames"].get(SDR_V4_REFERENCES, 0)


def write_markdown(evaluation: Evaluation, path: str | os.PathLike, title: str, command: str) -> None:
    """Put an evaluation's tables, below the command that made them, into a Markdown file."""
    put_block(path, title, f"`{command}`\n\n{evaluation.as_markdown()}")


def put_block(path: str | os.PathLike, title: str, body: str) -> None:
    """Put text between the markers of a title in a Markdown file; where they are not, add the title and them at the end."""
    begin, end = f"<!-- begin {title} -->", f"<!-- end {title} -->"
    block = f"{begin}\n{body.strip()}\n{end}"
    file = Path(path)
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if begin in text and end in text:
        text = text[: text.index(begin)] + block + text[text.index(end) + len(end) :]
    else:
        text = f"{text.rstrip()}\n\n## {title}\n\n{block}\n".lstrip()
    io.write_atomic_text(file, text)
