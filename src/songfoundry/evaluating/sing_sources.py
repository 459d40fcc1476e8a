"""Gather what singing is evaluated on: people who speak and sing one sentence, tunes out of MIDI files, songs with their backing."""

import os
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from songfoundry.audio import io
from songfoundry.audio.pieces import resample
from songfoundry.data.score_sets import find_collection
from songfoundry.data.songs import find_songs, read_song
from songfoundry.data.speech_sets import Utterance, find_utterances
from songfoundry.errors import DatasetError, InputError
from songfoundry.metrics.pitch import midi_of
from songfoundry.metrics.voice import Described, describe
from songfoundry.notes import read_member
from songfoundry.singing.melodies import melody_of
from songfoundry.synth import Note, Voice, sing
from songfoundry.voice.tune import Tune, TuneNote

__all__ = ["RATE", "Backed", "Pair", "find_pairs", "find_tunes", "middle_of", "songs_with_backing", "tune_within"]

RATE = 16000
_MADE = "made"
_SENTENCES = {
    "1": (("k", "i"), ("t", "o"), ("k", "i"), ("b", "a"), ("t", "o")), "2": (("s", "a"), ("m", "u"), ("sh", "e"), ("m", "u"), ("", "a")),
}  # fmt: skip
_PEOPLE = {"low": (0.92, 46.0), "high": (1.13, 57.0)}
"""Of made voices: the tract, and the pitch at which they speak."""


@dataclass(frozen=True)
class Pair:
    """Hold a sentence that one person speaks and sings: float32 (samples,) each, at `RATE`.

    ``again``: the same person singing the same sentence once more, where there is such a recording. ``sentences``: those that this person
    also speaks, by text, described.
    """

    name: str
    person: str
    text: str
    speech: np.ndarray
    song: np.ndarray
    sentences: dict[str, Described]
    again: np.ndarray | None = None


@dataclass(frozen=True)
class Backed:
    """Hold a part of a song: voice and backing, float32 (samples,) each, at `RATE`."""

    name: str
    voice: np.ndarray
    backing: np.ndarray


def find_pairs(data: str | os.PathLike, split: str, count: int, seed: int) -> list[Pair]:
    """Choose pairs of speech and song, the people in turn; which of a person's is drawn by seed.

    Parameters
    ----------
    data : a folder of recordings of people (see `find_utterances`), or "made" for two people made by code.

    Raises
    ------
    DatasetError : no such folder, or no pairs of that split in it.
    """
    if os.fspath(data) == _MADE:
        return [_made(n) for n in range(count)]
    found = [one for one in find_utterances(data) if one.split == split]
    spoken: dict[tuple, list[Utterance]] = {}
    for one in found:
        if not one.sung and one.text:
            spoken.setdefault((one.speaker, one.text, one.emotion), []).append(one)
    people: dict[str, list[tuple[Utterance, Utterance]]] = {}
    draw = np.random.default_rng([seed, 7])
    for one in found:
        partners = spoken.get((one.speaker, one.text, one.emotion), [])
        if one.sung and partners:
            people.setdefault(one.speaker, []).append((partners[int(draw.integers(len(partners)))], one))
    if not people:
        raise DatasetError(f"expected people of split {split!r} in {data} who speak and sing the same sentences, found none: name another")
    shuffled = {person: [pairs[n] for n in draw.permutation(len(pairs))] for person, pairs in people.items()}
    rounds = range(max(map(len, shuffled.values())))
    chosen = [(person, pairs[n]) for n in rounds for person, pairs in shuffled.items() if n < len(pairs)][:count]
    return [
        Pair(song.name, person, song.text, _sound(speech), _sound(song), _templates(person, speech, found), _again(song, found))
        for person, (speech, song) in chosen
    ]


def _again(song: Utterance, found: list[Utterance]) -> np.ndarray | None:
    """Read another take of a sung sentence, in the same mood: the one whose name differs least."""
    takes = [one for one in found if one.sung and one.name != song.name]
    takes = [one for one in takes if (one.speaker, one.text, one.emotion) == (song.speaker, song.text, song.emotion)]
    if not takes:
        return None
    return _sound(min(takes, key=lambda one: sum(a != b for a, b in zip(one.name, song.name, strict=False))))


def _templates(person: str, taken: Utterance, found: list[Utterance]) -> dict[str, Described]:
    """Describe one spoken clip of each sentence of a person, in the first mood that there is, never the one that is sung from."""
    texts = {}
    for one in found:
        if one.speaker == person and not one.sung and one.text and one.name != taken.name:
            texts.setdefault(one.text, one)
    return {text: _described(one) for text, one in texts.items()}


@lru_cache(maxsize=256)
def _described(one: Utterance) -> Described:
    return describe(_sound(one), RATE)


def _sound(one: Utterance) -> np.ndarray:
    """Decode one recording: float32 (samples,) at `RATE`."""
    length = None if one.frames is None else one.frames / one.rate
    clip = io.read(one.path, start=one.start / one.rate, duration=length)
    return resample(clip.samples.mean(0, keepdims=True), clip.rate, RATE)[0]


def _made(number: int) -> Pair:
    """Make a pair by code: syllables that fall in pitch as speech does, and the same on notes, slower."""
    person, text = list(_PEOPLE)[number % 2], list(_SENTENCES)[number // 2 % 2]
    tract, pitch = _PEOPLE[person]
    draw = np.random.default_rng([number, 3])
    tune = pitch + 7 + np.array([0, 2, 4, 2, 0]) + int(draw.integers(-2, 3))

    def voice(words, pitches, seconds, seed):
        notes = [
            Note(0.1 + n * seconds, 0.9 * seconds, float(height), 0.8, word)
            for n, (word, height) in enumerate(zip(words, pitches, strict=True))
        ]
        made = sing(Voice(tract=tract, vibrato_cents=0), notes, 0.25 + seconds * len(words), RATE, np.random.default_rng([number, seed]))
        return (0.5 * made / max(np.abs(made).max(), 1e-9)).astype(np.float32)

    falling = pitch - np.arange(5) * 0.8
    sentences = {name: describe(voice(words, falling, 0.22, 9), RATE) for name, words in _SENTENCES.items()}
    words = _SENTENCES[text]
    return Pair(f"made {number}", person, text, voice(words, falling, 0.2, 1), voice(words, tune, 0.4, 2), sentences)


def find_tunes(source: str | os.PathLike, split: str, count: int, seconds: float, seed: int) -> list[tuple[str, Tune]]:
    """Choose tunes out of a collection of MIDI files, cut to so many seconds, that have at least four notes by then.

    Parameters
    ----------
    source : an archive or a folder of MIDI files (see `find_collection`), or "made" for scales made by code.

    Raises
    ------
    DatasetError : no such collection, or no tune of that split in it.
    """
    if os.fspath(source) == _MADE:
        steps = (0, 2, 4, 5, 7, 5, 4, 2)
        return [
            (f"scale {n}", Tune(tuple(TuneNote(0.1 + 0.4 * k, 0.5 + 0.4 * k, 57.0 + n + step) for k, step in enumerate(steps))))
            for n in range(count)
        ]
    collection = find_collection(source)
    pieces = collection.part(split)
    found: list[tuple[str, Tune]] = []
    for number in np.random.default_rng([seed, 11]).permutation(len(pieces)):
        if len(found) == count:
            break
        piece = pieces[number]
        try:
            tune, _ = melody_of(read_member(piece.place, piece.member) if piece.place.suffix == ".zip" else piece.place)
        except InputError:
            continue
        first = tune.notes[0].start - 0.1
        notes = tuple(
            replace(note, start=max(0.0, note.start - first), end=note.end - first) for note in tune.notes if note.end - first <= seconds
        )
        if len(notes) >= 4:
            found.append((piece.name, Tune(notes)))
    if not found:
        raise DatasetError(f"expected MIDI files of split {split!r} with tunes in {source}, found none: name another")
    return found


def tune_within(tune: Tune, middle: float) -> Tune:
    """Move a tune by octaves so that its mean lies near a pitch (MIDI number), a little above rather than below."""
    lengths = [note.end - note.start for note in tune.notes]
    mean = float(np.average([note.pitch for note in tune.notes], weights=lengths))
    octaves = round((middle + 4 - mean) / 12)
    return Tune(tuple(replace(note, pitch=note.pitch + 12 * octaves) for note in tune.notes))


def songs_with_backing(source: str | os.PathLike, split: str, count: int, seconds: float) -> list[Backed]:
    """Take the loudest stretch of voice of songs that have voice and accompaniment apart, or stems that make one.

    Parameters
    ----------
    source : a folder of songs (see `find_songs`), or "made" for a song made by code.

    Raises
    ------
    DatasetError : no such folder, or no song of that split with voice and backing in it.
    """
    if os.fspath(source) == _MADE:
        from songfoundry.data.synthetic import demo_song

        return [_cut(f"demo {n}", demo_song(n, 16.0, RATE), seconds) for n in range(count)]
    found: dict[str, Backed] = {}
    songs = [song for song in find_songs(source) if song.split == split and "vocals" in song.stems and len(song.stems) > 1]
    # Songs of two stems have the voice alone, and a take of one singer after the other is taken.
    songs.sort(key=lambda song: (not song.two_stems, song.name.rpartition("_")[2], song.name))
    for song in songs[:count]:
        found[song.name] = _cut(song.name, read_song(song, RATE), seconds)
    if not found:
        raise DatasetError(f"expected songs of split {split!r} with voice and backing in {source}, found none: name another")
    return list(found.values())


def _cut(name: str, stems: dict[str, np.ndarray], seconds: float) -> Backed:
    mono = {stem: samples.mean(0) for stem, samples in stems.items()}
    voice = mono["vocals"]
    backing = np.sum([samples for stem, samples in mono.items() if stem != "vocals"], 0)
    length = min(round(seconds * RATE), len(voice))
    energy = np.cumsum(np.pad(np.square(voice, dtype=np.float64), (1, 0)))
    starts = np.arange(0, len(voice) - length + 1, RATE)
    first = int(starts[np.argmax(energy[starts + length] - energy[starts])])
    return Backed(name, voice[first : first + length], backing[first : first + length].astype(np.float32))


def middle_of(hertz: np.ndarray) -> float:
    """Give the median of voiced frames as a MIDI number; NaN where none is."""
    voiced = hertz[hertz > 0]
    return float(midi_of(np.median(voiced))) if len(voiced) else float("nan")
