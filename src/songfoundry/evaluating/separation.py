"""Evaluate separation models on songs with known stems, beside the rows that take no skill and the oracle.

Songs come in groups that are never mixed: four-stem songs, two-stem songs (voice and accompaniment), songs without
vocals. In each group every method is scored by every definition of `metrics.separation`.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from songfoundry import config
from songfoundry.config import Config
from songfoundry.data.songs import ACCOMPANIMENT, STEMS, Song, find_songs, read_song, read_source, stereo
from songfoundry.errors import ConfigError, DatasetError
from songfoundry.metrics.baselines import baseline_estimates, ideal_ratio_mask
from songfoundry.metrics.bsseval import bss_eval
from songfoundry.metrics.separation import SDR_V4, SDR_V4_REFERENCES, Row, aggregate, present_stems, score_song

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
    """Hold the scores: group -> method -> rows; per song what went into them; songs' own mixtures against the sum, dB."""

    groups: dict[str, dict[str, list[Row]]]
    songs: list[dict[str, Any]] = field(default_factory=list)
    data: str = ""
    rate: int = 44100
    mixtures: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give plain values for a JSON file."""
        groups = {g: {m: [asdict(row) for row in rows] for m, rows in methods.items()} for g, methods in self.groups.items()}
        return {"data": self.data, "rate": self.rate, "groups": groups, "songs": self.songs, "mixtures": self.mixtures}

    def about_mixtures(self) -> str:
        """Say in one line what was separated in the place of the songs' own mixtures; empty where they have none."""
        if not self.mixtures:
            return ""
        differences = "; ".join(f"{name} {difference:.1f} dB" for name, difference in self.mixtures.items())
        return f"Separated: the sum of the stems. The data set's own mixtures differ from it by {differences}."

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
        if self.mixtures:
            lines += [self.about_mixtures(), ""]
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

    They are rounded to 16 bits, as the field reads MUSDB18: what a lossy coder leaves of silence, some -113 dB, is then
    the silence by whose zeros v4 drops frames, and no sound that anybody could be asked to find.

    Returns
    -------
    names : of the stems, four, or "vocals" and "accompaniment".
    truth : float32 (stems, 2, samples) at `rate` Hz.
    present : for each stem whether the song has it.
    """
    names, truth = _read(song, part, rate)
    truth = truth / max(1.0, float(np.abs(truth.sum(0)).max(initial=0)))
    return names, truth, [bool(stem.any()) for stem in truth]


def _read(song: Song, part: SongSet, rate: int) -> tuple[list[str], np.ndarray]:
    """Read a song's true stems at the level of their files, rounded to 16 bits: names, and float32 (stems, 2, samples)."""
    stems = read_song(song, rate)
    names = ["vocals", ACCOMPANIMENT] if song.two_stems else list(STEMS)
    length = next(iter(stems.values())).shape[1]
    truth = np.stack([stereo(stems.get(name, np.zeros((2, length), np.float32))) for name in names])
    return names, _sixteen_bits(_cut(truth, song, part, rate))


def _sixteen_bits(samples: np.ndarray) -> np.ndarray:
    """Round samples, full scale ±1, to the steps of a 16-bit file."""
    return np.round(samples * 32768) / 32768


def _cut(samples: np.ndarray, song: Song, part: SongSet, rate: int) -> np.ndarray:
    """Leave out of (..., samples) what the list of songs says."""
    if part.only_last and song.valid_last_seconds:
        samples = samples[..., -round(song.valid_last_seconds * rate) :]
    if part.cut_last_seconds:
        samples = samples[..., : -round(part.cut_last_seconds * rate)]
    return samples


def mixture_difference(song: Song, part: SongSet, rate: int) -> float | None:
    """Measure how far a song's own mixture lies from the sum of its stems: the difference's energy to the mixture's, dB.

    None where the song has no mixture of its own. What one of the two is longer at the end is left out.
    """
    if song.mixture is None:
        return None
    total, mixture = _read(song, part, rate)[1].sum(0), _cut(stereo(read_source(song.mixture, rate)), song, part, rate)
    length = min(total.shape[1], mixture.shape[1])
    energy = float(np.square(mixture[:, :length], dtype=np.float64).sum())
    error = float(np.square(mixture[:, :length] - total[:, :length], dtype=np.float64).sum())
    return 10 * float(np.log10((error + 1e-12) / (energy + 1e-12)))


def evaluate_separation(
    dataset: str | os.PathLike,
    models: Iterable[str] = (),
    *,
    split: str | None = None,
    rate: int = 44100,
    baselines: bool = True,
    museval: bool = False,
    progress: Callable[[float], None] | None = None,
    **separator_options: Any,
) -> Evaluation:
    """Score models and the rows beside them on every song of a data set.

    What is separated is the sum of a song's true stems. Where the data set has a mixture of its own (MUSDB18), `mixtures`
    of the result says how far it lies from that sum.

    Parameters
    ----------
    dataset : a folder of songs, or a TOML list of songs (see `recipes/public-test.toml`).
    models : names, paths or `a+b`, as `separate` takes them.
    split : score only songs of this split.
    rate : the rate at which songs are decoded and scored, Hz.
    museval : also ISR, SIR and SAR of the models, by the extra `museval`; slow.
    progress : called with the fraction done.
    separator_options : see `Separator`: overlap, shifts, device, threads ...

    Raises
    ------
    DatasetError, ConfigError, CheckpointError, MissingExtraError : each says what to do.
    """
    from songfoundry.separating.separator import Separator

    if rate < 1:
        raise ConfigError(f"expected a --rate in Hz, found {rate}: take 44100, or what the songs have")
    songs = songs_of(dataset, split)
    separators = {model: Separator(model, **separator_options) for model in models}
    collected: dict[str, dict[str, list[dict]]] = {}
    details, mixtures = [], {}
    steps = len(songs) * (len(separators) + 1)
    for number, (song, part) in enumerate(songs):
        names, truth, present = load_truth(song, part, rate)
        if not any(present):
            raise DatasetError(f"expected sound in the stems of {song.name}, found silence alone: leave the song out of {dataset}")
        mixture = truth.sum(0)
        difference = mixture_difference(song, part, rate)
        if difference is not None:
            mixtures[song.name] = round(difference, 1)
        estimates: dict[str, np.ndarray] = {}
        for model, separator in separators.items():
            done = number * (len(separators) + 1) + len(estimates)
            found = separator.separate(mixture, rate, progress=progress and (lambda f, done=done: progress((done + f) / steps)))
            if song.two_stems:
                found = {"vocals": found["vocals"], ACCOMPANIMENT: sum(found[stem] for stem in found if stem != "vocals")}
            estimates[model] = np.stack([found[name] for name in names])
        group = TWO if song.two_stems else FOUR if present[0] else NO_VOCALS
        for method, result in score_methods(estimates, truth, rate, names, present, baselines, museval).items():
            collected.setdefault(group, {}).setdefault(method, []).append(result)
            if method in separators:
                details.append({"song": song.name, "group": group, "method": method, **result})
        if progress:
            progress((number + 1) / len(songs))
    groups = {g: {m: aggregate(results) for m, results in collected[g].items()} for g in (FOUR, TWO, NO_VOCALS) if g in collected}
    return Evaluation(groups, details, str(dataset), rate, mixtures)


def score_methods(
    estimates: dict[str, np.ndarray], truth: np.ndarray, rate: int, names: list[str], present: list[bool], baselines: bool = True,
    museval: bool = False,
) -> dict[str, dict]:  # fmt: skip
    """Score estimates of one song, and the rows beside them; method -> result of `metrics.separation.score_song`.

    Parameters
    ----------
    estimates : method -> float32 (stems, channels, samples), as `truth`.
    museval : also ISR, SIR and SAR of these estimates.
    """
    mixture = truth.sum(0)
    beside = {**baseline_estimates(mixture, len(names)), ORACLE: ideal_ratio_mask(truth, mixture)} if baselines else {}
    results = {method: score_song(truth, estimate, rate, names, present) for method, estimate in {**estimates, **beside}.items()}
    if SILENCE in results:
        _zero_by_definition(results[SILENCE], names, present)
    for method, estimate in estimates.items() if museval else ():
        _add_museval(results[method], truth, estimate, rate, names, present)
    return results


def _add_museval(result: dict, truth: np.ndarray, estimate: np.ndarray, rate: int, names: list[str], present: list[bool]) -> None:
    """Add ISR, SIR and SAR as museval gives them, the median over frames, of the stems that song and estimate have."""
    # On true stems without any noise floor above a coder's low-pass the equations for museval's filters cannot be solved: the
    # oracle's SIR falls below 0 dB. In 16 bits, as the field reads MUSDB18, they can.
    truth = _sixteen_bits(truth)
    sounding = zip(present_stems(truth), present_stems(estimate), present, strict=True)
    chosen = [index for index, (true, estimated, there) in enumerate(sounding) if true and estimated and there]
    if not chosen:
        return
    frames = bss_eval(truth[chosen], estimate[chosen], rate)
    for measure in ("ISR", "SIR", "SAR"):
        counted = {names[index]: row[~np.isnan(row)] for index, row in zip(chosen, frames[measure], strict=True)}
        result["scores"][f"{measure} (museval)"] = {name: float(np.median(row)) for name, row in counted.items() if row.size}
        result["frames"][f"{measure} (museval)"] = max(row.size for row in counted.values())


def _zero_by_definition(result: dict, names: list[str], present: list[bool]) -> None:
    """Write 0 dB for silence in v4's column: museval drops all its frames, and its error is the signal itself."""
    result["scores"][SDR_V4] = {name: 0.0 for name, there in zip(names, present, strict=True) if there}
    result["frames"][SDR_V4] = result["frames"].get(SDR_V4_REFERENCES, 0)
