"""Draw single sounds for training: crops of stems and of whole songs, one channel each, or test tones made by code.

Every random number of example n comes from a generator seeded by (seed, n), so that a resumed training sees the examples that it would
have seen; with `clips` the crops are those of so many fixed numbers, each varied in level whenever it comes again.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from songfoundry.config import Config
from songfoundry.data.remix import SongFolder, open_all
from songfoundry.data.songs import ACCOMPANIMENT, STEMS, CachedSong, find_songs
from songfoundry.errors import ConfigError, DatasetError

__all__ = ["DRAWS", "MIXTURE", "Sounds", "SoundsConfig", "excerpts", "harmonics", "tones"]

MIXTURE = "mixture"
HARMONICS = "harmonics"
HERTZ = (440.0, 880.0, 1320.0, 1760.0)
"""The partials of the test tones."""
_SILENT = 10 ** (-60 / 20)
"""Root mean square below which a crop is drawn again."""
_TRIES = 8
_SHORTEST = 0.05
"""Part of an example that sounds at least, where it ends early."""
_TONES = 8
"""Test tones that stand for held-out sounds."""

Name = Literal["vocals", "drums", "bass", "other", "accompaniment", "mixture"]


class SoundsConfig(Config):
    """Say which sounds are drawn and how they are varied.

    `rate`: Hz; `seconds`: length of an example; `stems`: those that are drawn, all as likely, "mixture" being the sum of a song's
    stems; `clips`: number of training clips, drawn once by the seed and met again and again (0: every example is a new one);
    `gain_db`: standard deviation of an example's level about its own; `harmonics`: share of examples that are test tones, 440, 880,
    1320 and 1760 Hz of varied amplitudes and noise (1 needs no folders at all); `short`: share of examples that end early, with silence
    after it, as a sound does that is shorter than a net's window; `excerpt`: seconds of each held-out sound.
    """

    name: str = "sounds"
    folders: list[SongFolder] = []
    rate: PositiveInt = 22050
    seconds: PositiveFloat = 2.0
    stems: list[Name] = ["vocals", "drums", "bass", "other", "accompaniment", "mixture"]
    clips: NonNegativeInt = 0
    gain_db: NonNegativeFloat = 4.0
    harmonics: Annotated[float, Field(ge=0, le=1)] = 0.0
    short: Annotated[float, Field(ge=0, le=1)] = 0.0
    excerpt: PositiveFloat = 6.0


class Sounds:
    """Give example n as {"waveform"}: float32 (samples,), full scale ±1, one channel at `config.rate` Hz.

    A stem's channel is its left, its right or the mean of both. Songs of split "test" and "unused" are not opened by drawing or by
    `validation`; validation songs, and the validation seconds at the end of training songs, are never drawn.

    Raises
    ------
    DatasetError, AudioError, OutputError : as `find_songs` and `cached`; or nothing is there for training.
    ConfigError : no folders and no tones, or no stems.
    """

    Config = SoundsConfig

    def __init__(self, config: SoundsConfig, seed: int = 0, progress: Callable[[float], None] | None = None):
        if not config.folders and config.harmonics < 1:
            raise ConfigError("expected data.folders of songs, found none: name one, or set data.harmonics = 1 for tones made by code")
        if not config.stems:
            raise ConfigError("expected names in data.stems, found none: name some, or leave the key out")
        self.config, self.seed = config, seed
        self.samples = round(config.seconds * config.rate)
        found = [[song for song in find_songs(f.path, f.include) if song.split in ("train", "valid")] for f in config.folders]
        opened = open_all([song for songs in found for song in songs], config.rate, progress)
        self._places: dict[str, list[tuple[CachedSong, float]]] = {}
        self.songs: list[CachedSong] = []
        self.valid: list[CachedSong] = []
        for folder, songs in zip(config.folders, found, strict=True):
            here = [next(opened) for _ in songs]
            train = [song for song in here if song.song.split == "train" and folder.weight]
            self.valid += [song for song in here if song.song.split == "valid" or song.song.valid_last_seconds]
            self.songs += train
            seconds = sum(self._usable(song) for song in train) or 1
            for song in train:
                for stem in self._stems(song):
                    self._places.setdefault(stem, []).append((song, folder.weight * self._usable(song) / seconds))
        if config.folders and not self._places:
            paths = ", ".join(folder.path for folder in config.folders)
            raise DatasetError(f"expected songs for training in {paths}, found none: check paths, splits, weights and data.stems")
        self._chance = {stem: np.array([w for _, w in rows]) / sum(w for _, w in rows) for stem, rows in self._places.items()}

    def _usable(self, song: CachedSong) -> int:
        """Count the frames of a song that are for training."""
        return max(0, song.frames - round(song.song.valid_last_seconds * song.rate))

    def _stems(self, song: CachedSong) -> list[str]:
        """List the wanted sounds that a song has."""
        return _sounding(song, self.config.stems)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Draw example `number`, always the same for one seed and one list of songs."""
        config = self.config
        # What a clip is follows from its own number, how loud it comes from the example's.
        which = number % config.clips if config.clips else number
        rng = np.random.default_rng((self.seed, which))
        if rng.random() < config.harmonics or not self._places:
            waveform = harmonics(rng, self.samples, config.rate)
        else:
            waveform = self._crop(rng)
        gain = 10 ** (config.gain_db * np.random.default_rng((self.seed, number, 1)).normal() / 20)
        waveform = waveform * np.float32(min(gain, 1 / max(float(np.abs(waveform).max()), 1e-9)))
        ends = np.random.default_rng((self.seed, number, 2))
        if ends.random() < config.short:
            waveform[int(ends.uniform(_SHORTEST, 1) * self.samples) :] = 0
        return {"waveform": torch.from_numpy(waveform)}

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a crop of a stem, float32 (samples,), one that sounds if there is any."""
        names = sorted(self._places)
        for _ in range(_TRIES):
            stem = names[rng.integers(len(names))]
            song = self._places[stem][rng.choice(len(self._places[stem]), p=self._chance[stem])][0]
            usable = self._usable(song)
            start = int(rng.integers(0, max(1, usable - self.samples)))
            sound = _read(song, stem, start, max(0, min(self.samples, usable - start)))
            side = int(rng.integers(3))
            one = sound.mean(0) if side == 2 or len(sound) == 1 else sound[side]
            waveform = np.pad(one, (0, self.samples - len(one)))
            if np.sqrt(np.square(waveform).mean()) > _SILENT:
                break
        return waveform

    def validation(self) -> Iterator[dict]:
        """Give the validation sounds, the loudest `config.excerpt` seconds of each stem: see `excerpts`; tones where there are no songs."""
        length = round(self.config.excerpt * self.config.rate)
        if not self._places:
            yield from tones(length, self.config.rate, self.seed)
            return
        yield from excerpts(self.valid, self.config.stems, length, at_end=True)

    def seen(self, examples: int) -> dict:
        """Say how much so many examples are, in hours of audio, for the card."""
        return {"hours_seen": round(self.config.seconds * examples / 3600, 2)}

    def describe(self) -> dict:
        """Say what the examples are drawn from: songs, hours and licences, for the card."""
        licences = {song.song.licence for song in self.songs}
        tones = {"tones": "440, 880, 1320 and 1760 Hz, made by code"} if self.config.harmonics or not self._places else {}
        return {
            "songs": len(self.songs),
            "hours": round(sum(self._usable(song) for song in self.songs) / self.config.rate / 3600, 2),
            "stems": sorted(self._places),
            **tones,
            "folders": [folder.path for folder in self.config.folders],
            "licences": sorted(licences) or ["none needed (made by code)"],
            "validation": [song.song.name for song in self.valid],
        }


def harmonics(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Make a test tone: 440, 880, 1320 and 1760 Hz of drawn amplitudes (0.1 to 1) and phases, noise 30 to 60 dB below, peak 0.1 to 0.9.

    Returns float32 (samples,). What lies at or above half the rate is left out.
    """
    time = np.arange(samples) / rate
    wave = np.zeros(samples)
    for hertz in HERTZ:
        amplitude, phase = rng.uniform(0.1, 1), rng.uniform(0, 2 * np.pi)
        if hertz < rate / 2:
            wave += amplitude * np.sin(2 * np.pi * hertz * time + phase)
    wave += rng.standard_normal(samples) * 10 ** (rng.uniform(-60, -30) / 20)
    return (wave * (rng.uniform(0.1, 0.9) / np.abs(wave).max())).astype(np.float32)


def _read(song: CachedSong, stem: str, start: int, frames: int) -> np.ndarray:
    """Read a stem, or the sum of all: float32 (1 or 2 channels, frames)."""
    if stem != MIXTURE:
        return song.read(stem, start, frames)
    parts = [song.read(name, start, frames) for name in song.maps]
    wide = max(len(part) for part in parts)
    return np.sum([np.broadcast_to(part, (wide, frames)) for part in parts], axis=0, dtype=np.float32)


def _sounding(song: CachedSong, stems: Sequence[str]) -> list[str]:
    """List the sounds of these that a song has."""
    there = [stem for stem in (*STEMS, ACCOMPANIMENT) if song.level.get(stem, 0) > 0]
    return [stem for stem in (*there, MIXTURE) if stem in stems and there]


def excerpts(songs: Sequence[CachedSong], stems: Sequence[str], samples: int, at_end: bool = False) -> Iterator[dict]:
    """Give the loudest stretch of each stem of each song, the mean of its channels, first one of every stem, then the next.

    Parameters
    ----------
    at_end : look for it in those seconds alone that a training song keeps for validation.

    Yields
    ------
    {"name": song and stem, "stem", "waveform": float32 (samples,) or as long as it is, full scale ±1}; none is silent.
    """
    rows = {stem: [song for song in songs if stem in _sounding(song, stems)] for stem in stems}
    for place in range(max(map(len, rows.values()), default=0)):
        for stem, there in rows.items():
            if place >= len(there):
                continue
            song = there[place]
            kept = song.song.valid_last_seconds if at_end else 0
            first = song.frames - round(kept * song.rate) if kept else 0
            sound = _loudest(_read(song, stem, first, song.frames - first).mean(0), samples, song.rate // 10)
            if np.sqrt(np.square(sound).mean()) > _SILENT:
                yield {"name": f"{song.song.name} {stem}", "stem": stem, "waveform": sound / max(1.0, float(np.abs(sound).max()))}


def tones(samples: int, rate: int, seed: int = 0) -> Iterator[dict]:
    """Give test tones that no training has seen, as `excerpts` does: of the stem "harmonics"."""
    for number in range(_TONES):
        # Seeds that no example has: those are pairs and triples.
        tone = harmonics(np.random.default_rng((seed, number, 0, 1)), samples, rate)
        yield {"name": f"tones {number + 1}", "stem": HARMONICS, "waveform": tone}


def _loudest(samples: np.ndarray, length: int, step: int) -> np.ndarray:
    """Cut the stretch with the most energy out of (samples,), beginning at a multiple of `step`."""
    if len(samples) <= length:
        return samples
    sums = np.concatenate(([0.0], np.cumsum(np.square(samples, dtype=np.float64))))
    starts = np.arange(0, len(samples) - length + 1, step)
    first = int(starts[np.argmax(sums[starts + length] - sums[starts])])
    return samples[first : first + length]


DRAWS = Sounds
