"""Evaluate models that compose: what a continuation keeps of its prompt, how like real music it is, and what it copies.

Every method goes on from the same prompts: twelve known ones, and excerpts of held-out pieces, whose own next bars are the row
"real". Beside the models stand baselines: the prompt said again, and a unigram and a 5-gram that write under the same grammar.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from songfoundry import notes as midi
from songfoundry.composing.composer import Composer
from songfoundry.composing.prompts import scale_of
from songfoundry.data.places import data_root
from songfoundry.data.score_cache import tokenised
from songfoundry.data.score_sets import find_collection
from songfoundry.errors import Cancelled, ConfigError, DatasetError, InputError
from songfoundry.evaluating.excerpts import (
    Excerpt,
    Stretch,
    beat_of,
    held_out_excerpts,
    notes_of_tokens,
    prompt_excerpts,
    repeated,
    stretch_of,
)
from songfoundry.evaluating.pages import Table, Tabled
from songfoundry.metrics.copies import CopyIndex
from songfoundry.metrics.distances import overlap_and_divergence
from songfoundry.metrics.key import TEMPERLEY, key_of, key_relation
from songfoundry.metrics.metre import Metre, alike, estimate_metre, same
from songfoundry.metrics.music import MEASURES, empty_bars, hanging_notes, measures
from songfoundry.notes.tokens import tokenizer
from songfoundry.notes.vocabulary import TokenConfig

__all__ = ["COLLECTIONS", "ComposeEvaluation", "evaluate_compose"]

COLLECTIONS = ("pop909", "nottingham", "jsb", "multitrack", "maestro")
"""Archives below SONGFOUNDRY_DATA/midi whose test parts are continued, and whose training parts are searched for copies."""
REAL, REPEAT, UNIGRAM, FIVEGRAM = "real", "repeat the prompt", "unigram", "5-gram"
PROMPTS, HELD_OUT = "the prompts", "held-out pieces"
LOUDNESS_DB = 1.0
"""Continuation and prompt are equally loud within this."""
_TEMPO_TOLERANCE = 1e-4


class _Recorder(Composer):
    """Write as `Composer` does and keep the tokens of each variation, so that they can be judged by another hand."""

    def _tokens(self, plan, grammars, wanted, seed):
        self.prompt, self.written = plan.tokens, [[] for _ in grammars]
        for number, token in super()._tokens(plan, grammars, wanted, seed):
            self.written[number].append(token)
            yield number, token


@dataclass
class ComposeEvaluation(Tabled):
    """Hold the evaluation.

    ``samples``: of each continuation what was measured (see `_measured`). ``methods``: in their order. ``about``: sentences on
    what was done. ``estimator``: by group, how often the prompts themselves are heard as their metre and tempo are written.
    ``failed``: what could not be continued, and why.
    """

    samples: list[dict[str, Any]]
    methods: list[str]
    about: list[str] = field(default_factory=list)
    estimator: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give plain values for a JSON file."""
        return super().as_json() | {"kept": self.kept(), "likeness": self.likeness(), "copies": self.copies()}

    def of(self, method: str, group: str) -> list[dict[str, Any]]:
        """List the samples of a method and a group."""
        return [sample for sample in self.samples if sample["method"] == method and sample["group"] == group]

    def kept(self) -> dict[str, dict[str, dict[str, float]]]:
        """Say what was kept: group -> method -> name -> share of the samples (of those where it could be told) or sum."""
        shares = (
            "metre", "tempo", "bar heard", "bar level heard", "beat heard", "key equal", "key equal or relative", "key by Temperley",
            "in scale", "loudness",
        )  # fmt: skip
        result: dict[str, dict[str, dict[str, float]]] = {}
        for group in dict.fromkeys(sample["group"] for sample in self.samples):
            for method in self.methods:
                rows = self.of(method, group)
                if not rows:
                    continue
                found: dict[str, float] = {"n": len(rows)}
                for name in shares:
                    told = [row[name] for row in rows if row[name] is not None]
                    found[name] = float(np.mean(told)) if told else math.nan
                steps = [abs(row["loudness step"]) for row in rows if row["loudness step"] is not None]
                found["largest loudness step"] = max(steps, default=math.nan)
                for name in ("empty bars", "bars", "hanging notes", "invalid tokens", "tokens", "notes"):
                    told = [row[name] for row in rows if row[name] is not None]
                    found[name] = sum(told) if told else math.nan
                result.setdefault(group, {})[method] = found
        return result

    def likeness(self) -> dict[str, dict[str, dict[str, float]]]:
        """Compare with real music: measure -> method -> mean, and but for "real" overlap and divergence, over held-out pieces."""
        result: dict[str, dict[str, dict[str, float]]] = {}
        for name in MEASURES:
            real = np.array([row[name] for row in self.of(REAL, HELD_OUT)])
            for method in self.methods:
                values = np.array([row[name] for row in self.of(method, HELD_OUT)])
                if not len(values):
                    continue
                entry = {"mean": float(np.nanmean(values)) if np.isfinite(values).any() else math.nan}
                if method != REAL and len(real):
                    entry["overlap"], entry["divergence"] = overlap_and_divergence(real, values)
                result.setdefault(name, {})[method] = entry
        return result

    def copies(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Give the longest copies from the training set: group -> method -> median, largest and where from."""
        result: dict[str, dict[str, dict[str, Any]]] = {}
        for group in dict.fromkeys(sample["group"] for sample in self.samples):
            for method in self.methods:
                rows = [row for row in self.of(method, group) if row["copy"] is not None]
                if rows:
                    longest = max(rows, key=lambda row: row["copy"])
                    result.setdefault(group, {})[method] = {
                        "median": float(np.median([row["copy"] for row in rows])), "longest": longest["copy"],
                        "different": longest["copy different"], "from": longest["copy from"],
                        "share of notes": float(np.median([row["copy"] / max(1, row["notes"]) for row in rows])),
                    }  # fmt: skip
        return result

    def tables(self) -> list[Table]:
        """List the tables."""
        from songfoundry.evaluating.compose_tables import tables

        return tables(self)

    def as_markdown(self) -> str:
        """Write the tables."""
        from songfoundry.evaluating.compose_tables import markdown

        return markdown(self)


def evaluate_compose(
    models: Sequence[str | os.PathLike | Any], *, prompts: str | os.PathLike | None = None,
    collections: Sequence[str] = COLLECTIONS, files: int = 100, variations: int = 4, bars: int = 8, prompt_bars: int = 8, seed: int = 0,
    baselines: bool = True, loudness: bool = True, copies: bool = True, device: str = "auto", threads: int | None = None,
    progress: Callable[[str, float], bool | None] | None = None, **wishes: Any,
) -> ComposeEvaluation:  # fmt: skip
    """Let models continue prompts, and measure what came of it.

    Parameters
    ----------
    models : names, paths, or systems that are built. prompts : a folder of MIDI files; None for midi/prompts below
        SONGFOUNDRY_DATA. collections : names of archives below SONGFOUNDRY_DATA/midi, or paths of collections.
    files : how many held-out pieces. prompt_bars : bars of each that are shown. bars : to write. variations : of each.
    seed : chooses the excerpts and draws the music.
    loudness : whether to play what models wrote (of held-out pieces the first variation) and measure its loudness. copies :
        whether to search the training parts. wishes : as `Composer.compose` takes them (locks, temperature ...).
    progress : called with what is done and the fraction of it all; returns False to stop.

    Raises
    ------
    ConfigError : a wish or number out of range. DatasetError : music that is not there. CheckpointError : a model that is not one.
    """
    for name, value, least, most in (("variations", variations, 1, 64), ("bars", bars, 1, 64), ("files", files, 0, 100_000)):
        if not least <= value <= most:
            raise ConfigError(f"expected {least} to {most} {name}, found {value}: choose another number")
    report = _reporter(progress)
    composers = {composer.name: composer for composer in (_Recorder(model, device, threads) for model in models)}
    config = next((composer.tokenizer.config for composer in composers.values()), TokenConfig())
    coder = tokenizer(config)
    places = [_place(name) for name in collections]
    folder = Path(prompts) if prompts is not None else _below_root("prompts")
    excerpts = [(PROMPTS, excerpt) for excerpt in prompt_excerpts(folder)]
    report("cutting excerpts", 0.0)
    held = held_out_excerpts(places, coder, count=files, prompt_bars=prompt_bars, bars=bars, seed=seed)
    excerpts += [(HELD_OUT, excerpt) for excerpt in held]
    train = {}
    if baselines or copies:
        for place in places:
            found = tokenised(find_collection(place), "train", config)
            train |= {found.facts[n]["name"]: found.ids(n) for n in range(len(found))}
    if baselines:
        from songfoundry.evaluating.counted import counted_system

        report("counting n-grams", 0.01)
        for name, order in ((UNIGRAM, 1), (FIVEGRAM, 5)):
            composers[name] = _Recorder(counted_system(list(train.values()), config, order), "cpu", threads)
    index = None
    if copies:
        report("indexing the training music", 0.03)
        index = CopyIndex((name, notes_of_tokens(coder, ids)) for name, ids in train.items())
    methods = [REAL, *composers, *([REPEAT] if baselines else [])]
    about = _about(excerpts, variations, bars, prompt_bars, seed, collections, wishes, index, loudness)
    evaluation = ComposeEvaluation([], methods, about)
    evaluation.estimator = _estimator_scores(excerpts)
    for number, (group, excerpt) in enumerate(excerpts):
        report(excerpt.name, 0.05 + 0.95 * number / len(excerpts))
        known = {"group": group, "excerpt": excerpt.name, "collection": excerpt.collection}
        heard = estimate_metre(excerpt.music.heard)
        given = {REAL: excerpt.real, REPEAT: repeated(excerpt, bars) if baselines else None}
        for method, music in given.items():
            if music is not None:
                evaluation.samples.append(known | {"method": method, "variation": 1} | _measured(excerpt, heard, music, index))
        for method, composer in composers.items():
            try:
                made = composer.compose(excerpt.score, variations=variations, bars=bars, seed=seed, **wishes)
            except InputError as error:
                evaluation.failed.append(f"{excerpt.name}, {method}: {error}")
                continue
            for composition in made:
                # To play takes longer than to write: of held-out pieces the first variation speaks for all.
                played = loudness and method not in (UNIGRAM, FIVEGRAM) and (group == PROMPTS or composition.variation == 0)
                sample = _sample(excerpt, heard, composition, composer, played, index)
                evaluation.samples.append(known | {"method": method, "variation": composition.variation + 1} | sample)
    report("done", 1.0)
    return evaluation


def _sample(excerpt: Excerpt, heard: Metre | None, made, composer: _Recorder, loudness: bool, index: CopyIndex | None) -> dict[str, Any]:
    """Measure one continuation: on the file that it makes, read again as any program would read it."""
    from songfoundry.playing import rendering

    score = rendering.balance(made.score, made.split_tick) if loudness else made.score
    again = midi.read_midi(score.dumps_midi())
    clock = again.ticks_per_quarter
    bar = 4 * excerpt.metre[0] / excerpt.metre[1]
    wanted = stretch_of(again, made.split_tick, made.split_tick + round(made.plan.bars * bar * clock), bar)
    after = stretch_of(again, made.split_tick, 1 << 40, bar)
    found = _measured(excerpt, heard, wanted, index)
    written = sum(len(track.notes) for track in score.tracks)
    lost = abs(written - sum(len(track.notes) for track in again.tracks)) + len(after.notes) - len(wanted.notes)
    found["hanging notes"] = hanging_notes(wanted.notes, wanted.bars * bar) + lost
    metres = _in_force([(event.time, (event.numerator, event.denominator)) for event in again.time_signatures], (4, 4), made)
    tempi = _in_force([(event.time, float(event.qpm)) for event in again.tempos], 120.0, made)
    found["metre"] = metres == {excerpt.metre}
    found["tempo"] = all(abs(qpm / excerpt.qpm - 1) < _TEMPO_TOLERANCE for qpm in tempi)
    ids, errors = composer.written[made.variation], composer.tokenizer.errors
    found["tokens"], found["invalid tokens"] = len(ids), errors([*composer.prompt, *ids]) - errors(composer.prompt)
    if loudness and len(wanted.notes):
        # The file as any player plays it: `compose` takes from its own sound files what is left of a step.
        before, after = rendering.loudness_of_parts(again, made.split_tick)
        step = after - before
        found["loudness step"] = step if math.isfinite(step) else None
        found["loudness"] = bool(abs(step) <= LOUDNESS_DB)
    return found


def _in_force(events: list[tuple[int, Any]], default: Any, made) -> set:
    """List the values that hold somewhere in the ticks that were written."""
    held, inside = default, set()
    for time, value in sorted(events, key=lambda event: event[0]):
        if time <= made.split_tick:
            held = value
        elif time < made.end_tick:
            inside.add(value)
    return {held, *inside}


def _measured(excerpt: Excerpt, heard: Metre | None, music: Stretch, index: CopyIndex | None) -> dict[str, Any]:
    """Measure what follows a prompt by its notes alone; what only a file or a model can tell is None."""
    second = estimate_metre(music.heard)
    both = heard is not None and second is not None
    key, pitched = key_of(excerpt.music.notes), music.notes.pitched
    found_key = key_of(music.notes)
    relation = key_relation(key, found_key) if key is not None else None
    other = [key_of(notes, TEMPERLEY) for notes in (excerpt.music.notes, music.notes)]
    inside = float(scale_of(key)[pitched.pitches % 12].mean()) if key is not None and len(pitched) else None
    copy = index.longest(music.notes) if index is not None else None
    return {
        "metre": None, "tempo": None, "loudness": None, "loudness step": None, "tokens": None, "invalid tokens": None,
        "bar heard": both and same(second.bar, heard.bar), "bar level heard": both and alike(second.bar, heard.bar),
        "beat heard": both and same(second.beat, heard.beat),
        "prompt's key": key, "key": found_key, "key equal": None if relation is None else relation == "equal",
        "key equal or relative": None if relation is None else relation != "neither", "in scale": inside,
        "key by Temperley": None if other[0] is None else key_relation(*other) != "neither",
        "bars": music.bars, "notes": len(music.notes), "empty bars": empty_bars(music.notes, music.bar, music.bars),
        "hanging notes": hanging_notes(music.notes, music.bar * music.bars), **measures(music.notes, music.bar),
        "copy": copy.notes if copy else None, "copy different": copy.different if copy else None, "copy from": copy.piece if copy else None,
    }  # fmt: skip


def _estimator_scores(excerpts: list[tuple[str, Excerpt]]) -> dict[str, dict[str, float]]:
    """Say how often the estimator hears bar and beat of the prompts as they are written, by group."""
    result: dict[str, dict[str, float]] = {}
    for group in dict.fromkeys(group for group, _ in excerpts):
        hits = []
        for excerpt in (excerpt for other, excerpt in excerpts if other == group):
            heard = estimate_metre(excerpt.music.heard)
            beats, quarters = beat_of(excerpt.metre)
            beat = quarters * 60 / excerpt.qpm
            hits.append([heard is not None and same(heard.bar, beats * beat), heard is not None and same(heard.beat, beat),
                         heard is not None and alike(heard.bar, beats * beat)])  # fmt: skip
        bar, beat, level = np.mean(hits, 0)
        result[group] = {"n": len(hits), "bar": float(bar), "beat": float(beat), "bar level": float(level)}
    return result


def _about(excerpts, variations, bars, prompt_bars, seed, collections, wishes, index, loudness) -> list[str]:
    """Say what was done."""
    held = sum(group == HELD_OUT for group, _ in excerpts)
    told = ", ".join(f"{name} {value}" for name, value in wishes.items()) or "locks and sampling as they are by default"
    said = [
        f"{len(excerpts) - held} prompts, and {held} excerpts of {prompt_bars} bars from the test parts of {', '.join(collections)}; "
        f"{variations} variations of {bars} bars of each, seed {seed}; {told}."
    ]
    if held:
        said.append(
            "Held-out excerpts are cut where metre and tempo do not change and have passed through tokens, so their tempi are levels that "
            "tokens have; the prompts are files as they come, with tempi of their own."
        )
    said.append(
        "Keys by Krumhansl and Kessler's profiles, which the lock on the key steers by too; equal or relative by Temperley's, which it "
        "does not know."
    )
    if loudness:
        said.append(
            "Loudness: the integrated loudness (BS.1770) of prompt and continuation in the MIDI file that was written (its velocities are "
            "balanced by the same meter and orchestra), as the built-in orchestra plays it; of held-out pieces in the first variation."
        )
    if index is not None:
        said.append(f"Copies are searched in the training parts of the same collections: {len(index):,} pitched notes.")
    return said


def _place(name: str) -> str:
    """Give the path of a collection that is named, or the path itself."""
    known = f"midi/{name}.zip"
    return known if "/" not in str(name) and "." not in str(name) else str(name)


def _below_root(name: str) -> Path:
    """Give a folder of midi below SONGFOUNDRY_DATA; raises `DatasetError` where there is none."""
    root = data_root()
    if root is None or not (root / "midi" / name).is_dir():
        raise DatasetError("expected prompts in midi/prompts below SONGFOUNDRY_DATA, found none: set it, or name a folder after --prompts")
    return root / "midi" / name


def _reporter(progress) -> Callable[[str, float], None]:
    """Call the callback and stop where it says so."""

    def report(what: str, fraction: float) -> None:
        if progress is not None and progress(what, fraction) is False:
            raise Cancelled("expected to evaluate to the end, found that the callback said stop: nothing was kept")

    return report
