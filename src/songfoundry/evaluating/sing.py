"""Evaluate singing: the pitch, timing, words and speaker of what an engine sings, beside recorded singing and what takes no skill.

Whatever is scored is written as a WAV and heard again by `metrics.pitch.follow` (YIN), which is not the tracker that the engines sing
from (Harvest). Three tables: held-out people, whose own recorded singing says what is wanted; tunes out of MIDI files; and the fit to
a backing.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from songfoundry.audio import io
from songfoundry.errors import Cancelled, ConfigError
from songfoundry.evaluating.pages import Table, Tabled
from songfoundry.evaluating.sing_sources import (
    RATE,
    Backed,
    Pair,
    find_pairs,
    find_tunes,
    middle_of,
    songs_with_backing,
    tune_within,
)
from songfoundry.metrics import melody, voice
from songfoundry.metrics.beats import to_nearest
from songfoundry.metrics.chroma import in_key
from songfoundry.metrics.generation import frechet
from songfoundry.metrics.pitch import follow
from songfoundry.metrics.voice import Described, describe
from songfoundry.notes import KEYS
from songfoundry.singing.controls import Controls
from songfoundry.singing.engine import WorldSinger
from songfoundry.singing.tunesmith import Heard, hear, tune_for
from songfoundry.voice import world
from songfoundry.voice.curves import notes_of
from songfoundry.voice.tune import Curve, Tune, TuneNote

__all__ = ["AGAIN", "COPY", "RECORDED", "SHIFTED", "SPOKEN", "SingEvaluation", "evaluate_sing"]

SPOKEN, SHIFTED = "speech as it is", "speech, pitch shifted to the mean"
COPY, RECORDED, AGAIN = "WORLD copy-synthesis of the recorded singing", "recorded singing", "recorded singing, another take"
_OTHER, _TUNED, _RANDOM = "recorded singing of another song", "a tune made for the backing", "random tune"
_PARTS = 2
"""Onsets are held against beats and their halves."""


@dataclass
class SingEvaluation(Tabled):
    """Hold the evaluation.

    ``people``, ``tunes``, ``fit`` : by row the means of the scores, and "n". ``about`` : sentences on what was done.
    """

    about: list[str] = field(default_factory=list)
    people: dict[str, dict[str, float]] = field(default_factory=dict)
    tunes: dict[str, dict[str, float]] = field(default_factory=dict)
    fit: dict[str, dict[str, float]] = field(default_factory=dict)

    def tables(self) -> list[Table]:
        """List the tables."""
        from songfoundry.evaluating.sing_tables import tables

        return tables(self)


def evaluate_sing(
    models: Sequence[str | os.PathLike] = (), *, data: str | os.PathLike = "speech_song", split: str = "test", count: int = 16,
    tunes: str | os.PathLike = "midi/nottingham.zip", songs: str | os.PathLike = "songs", few: int = 4, seconds: float = 12.0,
    seed: int = 0, progress: Callable[[str, float], bool | None] | None = None,
) -> SingEvaluation:  # fmt: skip
    """Let engines sing what held-out people say, and measure it.

    Parameters
    ----------
    models : names or paths of models for the engine "cyclegan"; the engine "world" needs none. data : recordings of people who speak and
        sing the same sentences, also below SONGFOUNDRY_DATA; "made" for voices made by code. split : of people, tunes and songs.
    count : pairs of speech and song. tunes, songs : MIDI files, and songs with voice and backing apart; likewise "made".
    few : how many of either; 0 for none. seconds : of each, at most. seed : chooses among them.
    progress : called with what is done and the fraction; returns False to stop.

    Raises
    ------
    ConfigError, DatasetError, CheckpointError, MissingExtraError : one sentence each. Cancelled : as asked.
    """
    if count < 1 or few < 0 or not 2 <= seconds <= 120 or seed < 0:
        raise ConfigError(
            f"expected 1 pair or more, 0 tunes or more, 2 to 120 seconds and a seed of 0 or more, found {count}, {few}, {seconds:g} and "
            f"{seed}: choose others"
        )
    singers = {WorldSinger.name: WorldSinger()} | {_name(model): _neural(model) for model in models}
    steps, done = count + 2 * few, 0

    def report(what: str) -> None:
        nonlocal done
        if progress is not None and progress(what, min(1.0, done / steps)) is False:
            raise Cancelled("The evaluation was stopped; nothing was written.")
        done += 1

    report("reading")
    pairs = find_pairs(data, split, count, seed)
    melodies = find_tunes(tunes, split, few, seconds, seed) if few else []
    backed = songs_with_backing(songs, split, few, seconds) if few else []
    steps = len(pairs) + len(melodies) + len(backed) + 1
    found = SingEvaluation()
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(singers, Path(folder))
        for pair in pairs:
            report(f"{pair.name} of {pair.person}")
            bench.person(pair, {other.person: other for other in pairs})
        for number, (name, tune) in enumerate(melodies):
            report(name)
            bench.tune(pairs[number % len(pairs)], tune)
        heard = []
        for number, song in enumerate(backed):
            report(song.name)
            heard.append(bench.song(song, backed[(number + 1) % len(backed)], pairs[number % len(pairs)], seed + number))
    found.people, found.tunes, found.fit = (_means(rows) for rows in (bench.people, bench.tunes, bench.fit))
    real = np.concatenate(bench.frames[RECORDED])
    for row, frames in bench.frames.items():
        made = np.concatenate(frames)
        found.people[row]["frechet"] = frechet(real, made) if min(len(real), len(made)) > 1 else float("nan")
    found.about = _about(data, tunes, songs, split, pairs, melodies, backed, heard)
    return found


def _name(model: str | os.PathLike) -> str:
    """Name a row by its model's file, or by its run folder: in those all are called alike."""
    path = Path(model)
    return f"cyclegan, {path.absolute().parent.parent.name if path.stem in ('model', 'best', 'last') else path.stem}"


def _neural(model: str | os.PathLike):
    from songfoundry.singing.neural import NeuralSinger

    return NeuralSinger(model)


class _Bench:
    """Let everyone sing, write it, hear it again, and keep what is measured."""

    def __init__(self, singers: dict, folder: Path):
        self.singers, self._folder = singers, folder
        self.people: list[tuple[str, dict[str, float]]] = []
        self.tunes: list[tuple[str, dict[str, float]]] = []
        self.fit: list[tuple[str, dict[str, float]]] = []
        self.frames: dict[str, list[np.ndarray]] = {}

    def _written(self, samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
        """Write a voice and read it again: float32 (samples,)."""
        path = self._folder / "sung.wav"
        io.write(path, np.clip(samples, -1, 1)[None].astype(np.float32), rate)
        clip = io.read(path)
        return clip.samples[0], clip.rate

    def _sung(self, singer, speech: np.ndarray, target: Tune | Curve, controls: Controls, guide=None, backing=None):
        """Let an engine sing, one that hears the backing with it; gives samples, rate and CPU seconds for each second."""
        band = {} if backing is None or isinstance(singer, WorldSinger) else {"backing": backing, "backing_rate": RATE}
        begun = time.process_time()
        sung = singer.sing(speech, RATE, target, controls, guide=guide, **band)
        spent = time.process_time() - begun
        return sung.samples, sung.rate, spent / max(len(sung.samples) / sung.rate, 1e-9)

    def person(self, pair: Pair, people: dict[str, Pair]) -> None:
        """Measure all rows of a pair."""
        spoken, own = world.analyse(pair.speech, RATE), world.analyse(pair.song, RATE)
        wanted = own.curve
        straight = Controls(expression=0.0)
        rows: list[tuple[str, np.ndarray, int, float | None]] = [
            (SPOKEN, pair.speech, RATE, None), (SHIFTED, _resung(spoken, _ratio(spoken.hertz, own.hertz)), RATE, None),
            (COPY, _resung(own), RATE, None),
        ]  # fmt: skip
        for name, singer in self.singers.items():
            rows.append((name, *self._sung(singer, pair.speech, wanted, straight, guide=pair.song)))
            rows.append((f"{name}, no guide", *self._sung(singer, pair.speech, wanted, straight)))
        rows.append((RECORDED, pair.song, RATE, None))
        if pair.again is not None:
            rows.append((AGAIN, pair.again, RATE, None))
        reference = describe(pair.song, RATE)
        notes = notes_of(wanted)
        for name, samples, rate, speed in rows:
            samples, rate = self._written(samples, rate)
            heard, described = follow(samples, rate, guesses=True), describe(samples, rate)
            scores = melody.scores(wanted, heard) | melody.onset_scores(notes, heard) | voice.scores(reference, described)
            scores |= _told(pair, people, described)
            if speed is not None:
                scores["speed"] = speed
            self.people.append((name, scores))
            self.frames.setdefault(name, []).append(described.cepstra[:, 1:14])

    def tune(self, pair: Pair, tune: Tune) -> None:
        """Measure all rows of a tune that is sung by a person."""
        spoken = world.analyse(pair.speech, RATE)
        tune = tune_within(tune, middle_of(spoken.hertz))
        wanted = melody.drawn(tune, world.PERIOD)
        shifted = _resung(spoken, _ratio(spoken.hertz, wanted.hertz))
        rows: list[tuple[str, np.ndarray, int, float | None]] = [(SPOKEN, pair.speech, RATE, None), (SHIFTED, shifted, RATE, None)]
        for name, singer in self.singers.items():
            for label, controls in ((name, Controls()), (f"{name}, expression 0", Controls(expression=0.0))):
                rows.append((label, *self._sung(singer, pair.speech, tune, controls)))
        reference = describe(pair.speech, RATE)
        for name, samples, rate, speed in rows:
            samples, rate = self._written(samples, rate)
            heard, described = follow(samples, rate, guesses=True), describe(samples, rate)
            scores = melody.scores(wanted, heard) | melody.onset_scores(tune, heard) | voice.scores(reference, described)
            if speed is not None:
                scores["speed"] = speed
            self.tunes.append((name, scores))

    def song(self, song: Backed, other: Backed, pair: Pair, seed: int) -> Heard:
        """Measure how voices fit a backing; gives what was heard in it."""
        heard = hear(song.backing, RATE)
        seconds = len(song.backing) / RATE
        middle = min(max(middle_of(world.track(pair.speech, RATE).hertz) + 3, 30.0), 90.0)
        tunes = {_TUNED: tune_for(heard, seed=seed, centre=middle), _RANDOM: _random(seconds, middle, seed)}
        rows: list[tuple[str, np.ndarray, int]] = [(RECORDED, song.voice, RATE)]
        if other is not song:
            rows.append((_OTHER, other.voice, RATE))
        for label, tune in tunes.items():
            for name, singer in self.singers.items():
                rows.append((f"{label}, sung by {name}", *self._sung(singer, pair.speech, tune, Controls(), backing=song.backing)[:2]))
        for name, samples, rate in rows:
            curve = follow(*self._written(samples, rate))
            onsets = np.array([note.start for note in notes_of(curve).notes if note.start < seconds])
            away = 1000 * np.abs(to_nearest(onsets, heard.beats, _PARTS))
            self.fit.append((name, {
                "in_key": in_key(curve, heard.key, heard.chroma.tuning),
                "beat_ms": float(away.mean()) if len(away) else float("nan"),
                "chance_ms": 1000 * float(np.median(np.diff(heard.beats))) / _PARTS / 4,
            }))  # fmt: skip
        return heard


def _resung(spoken: world.Voice, ratio: float = 1.0) -> np.ndarray:
    """Synthesise a voice as it was taken apart, F0 times a ratio: float32 (samples,)."""
    loudness = np.log(spoken.envelope.sum(1) + 1e-12)
    frames = world.synthesise(
        spoken.hertz * ratio, spoken.rate, lambda a, b: (spoken.envelope[a:b], spoken.aperiodicity[a:b]), loudness
    )
    return np.concatenate(list(frames))


def _ratio(spoken: np.ndarray, wanted: np.ndarray) -> float:
    """Tell how much higher the mean of one curve lies than that of another, in octaves' sense."""
    if not (spoken > 0).any() or not (wanted > 0).any():
        return 1.0
    return float(np.exp(np.log(wanted[wanted > 0]).mean() - np.log(spoken[spoken > 0]).mean()))


def _told(pair: Pair, people: dict[str, Pair], described: Described) -> dict[str, float]:
    """Say whether sentence and person are told from others: 1 or 0, NaN where there are no others."""
    found = {"sentence": float("nan"), "person": float("nan")}
    if pair.text in pair.sentences and len(pair.sentences) > 1:
        texts = list(pair.sentences)
        found["sentence"] = float(voice.recognised(described, list(pair.sentences.values())) == texts.index(pair.text))
    if len(people) > 1 and pair.sentences:
        distances = {
            name: min((voice.speaker_distance(one, described) for one in other.sentences.values()), default=float("inf"))
            for name, other in people.items()
        }
        found["person"] = float(min(distances, key=lambda name: np.nan_to_num(distances[name], nan=np.inf)) == pair.person)
    return found


def _random(seconds: float, middle: float, seed: int) -> Tune:
    """Draw notes of any semitone and any length, an octave around a pitch."""
    draw, at, notes = np.random.default_rng([seed, 13]), 0.2, []
    while at < seconds - 0.3:
        length = float(draw.uniform(0.2, 0.8))
        notes.append(TuneNote(at, min(at + length, seconds), float(round(middle) + draw.integers(-6, 7))))
        at += length + float(draw.choice([0.0, 0.25]))
    return Tune(tuple(notes))


def _means(rows: list[tuple[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Average scores by row; what is not a number is left out."""
    groups: dict[str, list[dict[str, float]]] = {}
    for row, scores in rows:
        groups.setdefault(row, []).append(scores)
    found = {}
    for row, scored in groups.items():
        values = {key: [one[key] for one in scored if np.isfinite(one.get(key, np.nan))] for key in scored[0]}
        found[row] = {"n": len(scored), **{key: float(np.mean(some)) if some else float("nan") for key, some in values.items()}}
    return found


def _about(data, tunes, songs, split: str, pairs: list[Pair], melodies, backed: list[Backed], heard: list[Heard]) -> list[str]:
    """Say what was done."""
    people = sorted({pair.person for pair in pairs})
    sentences = [
        f"People: {data}, split {split}: {len(pairs)} pairs of speech and song of {len(people)} people ({', '.join(people)}). The F0 "
        "that is wanted is the recorded singing's, by Harvest and D4C; what was sung is written as WAV and heard again by YIN, so that "
        "the row of the recorded singing says how far the two trackers agree. Engines follow the recorded singing's timing as a guide "
        'vocal; "no guide" has its F0 curve alone. Another take is the same person, sentence and mood, sung once more: as near as two '
        "recordings come. Sentences and people are told apart by MFCC and DTW: chance is 1 in 2 and 1 in "
        f"{len(people)}.",
    ]
    if melodies:
        sentences.append(
            f"Tunes: {tunes}, split {split}, {len(melodies)} tunes ({', '.join(name for name, _ in melodies)}), moved by octaves to the "
            "voice. Voicing is held against notes that are voiced throughout: consonants count as errors."
        )
    if backed:
        keys = ", ".join(f"{song.name} {KEYS[one.key]}" for song, one in zip(backed, heard, strict=True))
        sentences.append(
            f"Backings: {songs}, split {split}: {keys}, keys and beats as they are heard. Beats count with their halves; onsets that fall "
            "anywhere lie a quarter of that distance away in the mean."
        )
    return sentences
