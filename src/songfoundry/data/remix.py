"""Draw training examples for separation: crops of stems, remixed across songs and augmented, pure in (number, seed).

The mixing across songs follows Uhlich et al. 2017 ("Improving music source separation based on deep neural
networks through data augmentation and network blending", ICASSP); every random number of example n comes from a generator
seeded by (seed, n), so a resumed training sees the examples that it would have seen.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import numpy as np
import soxr
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from songfoundry.config import Config
from songfoundry.data.augment import echo, mp3_round_trip, pitch_and_tempo, reverberate, saturate, tilt
from songfoundry.data.songs import ACCOMPANIMENT, STEMS, CachedSong, Song, cached, find_songs, stereo
from songfoundry.errors import DatasetError

NOMINAL_LEVEL = 0.1  # root mean square of a stem before its random gain: -20 dB full scale

Chance = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class SongFolder(Config):
    """Name a folder of songs, the songs taken from it, and how often it is drawn from."""

    path: str
    include: list[str] = ["*"]
    weight: NonNegativeFloat = 1.0


class RemixConfig(Config):
    """Say which songs are drawn and how they are varied; probabilities in [0, 1], levels in dB.

    `coherent`, `two_stems`: chance that all stems come from one moment of one song, that a two-stem song is drawn;
    `silence`: chance of each stem to be left out; `gain_db`, `shift_db`: standard deviation of a stem's and of the mix's
    level; `keep_level`: chance that a coherent draw keeps the song's own balance; `speed`: largest change of speed, pitch
    and tempo together; `pitch`: chance that a stem is shifted by up to `pitch_semitones` and stretched by up to `tempo`,
    one apart from the other; `effects`: chance that the vocals or the rest of a remixed draw are overdriven, doubled or put into a
    room, as dry recordings never are; `pan`: largest change of a mono stem's sides; `noise`, `mp3`: chance that the mixture gets
    noise (in the last stem) or passes an mp3 coder.
    """

    name: str = "remix"
    folders: list[SongFolder]
    sample_rate: PositiveInt = 44100
    chunk_seconds: PositiveFloat = 4.0
    coherent: Chance = 0.25
    two_stems: Chance = 0.15
    silence: Chance = 0.1
    gain_db: NonNegativeFloat = 4.0
    keep_level: Chance = 0.5
    speed: Share = 0.12
    shift_db: NonNegativeFloat = 3.0
    pan: Share = 0.3
    noise: Chance = 0.05
    pitch: Chance = 0.0
    pitch_semitones: NonNegativeFloat = 2.0
    tempo: Share = 0.1
    effects: Chance = 0.0
    mp3: Chance = 0.0


class Remix:
    """Give example n as {"mixture", "stems", "two_stems", "band_limited"}.

    `mixture`: float32 (2, samples), the sum of the stems, or that after an mp3 coder; `stems`: float32 (stems, 2, samples),
    both full scale about ±1 at `config.sample_rate` Hz. In an example with `two_stems` the first stem holds the vocals and the
    last the whole accompaniment; the others are zero. `band_limited` says that a source holds nothing above 8 kHz.

    Songs of split "test" and "unused" are never opened; validation songs, and the validation seconds at the end of
    training songs, are never drawn. `progress` is called with the fraction of the songs that are decoded.

    Raises
    ------
    DatasetError : a folder holds no songs, or none of all folders is for training.
    AudioError, OutputError : a stem cannot be decoded, or kept decoded.
    """

    Config = RemixConfig

    def __init__(self, config: RemixConfig, seed: int = 0, progress: Callable[[float], None] | None = None):
        self.config, self.seed = config, seed
        self.frames = round(config.chunk_seconds * config.sample_rate)
        self.songs: list[CachedSong] = []
        self.valid: list[CachedSong] = []
        weights = []
        found = [[s for s in find_songs(f.path, f.include) if s.split in ("train", "valid")] for f in config.folders]
        opened = open_all([song for songs in found for song in songs], config.sample_rate, progress)
        for folder, songs in zip(config.folders, found, strict=True):
            here = [next(opened) for _ in songs]
            train = [s for s in here if s.song.split == "train"]
            self.valid += [s for s in here if s.song.split == "valid" or s.song.valid_last_seconds]
            seconds = sum(self._usable(s) for s in train) or 1
            self.songs += train
            weights += [folder.weight * self._usable(s) / seconds for s in train]
        if not any(weights):
            paths = ", ".join(folder.path for folder in config.folders) or "data.folders"
            raise DatasetError(f"expected songs for training in {paths}, found none: check paths, splits and weights")
        self.weights = np.array(weights)
        four = np.array([not s.song.two_stems for s in self.songs])
        self._chance = {stem: self._normalised([s.level.get(stem, 0) > 0 for s in self.songs]) for stem in STEMS}
        self._chance["four"], self._chance["two"] = self._normalised(four), self._normalised(~four)

    def _normalised(self, usable) -> np.ndarray | None:
        """Turn weights of the usable songs into chances; None where no song is usable."""
        weights = self.weights * np.asarray(usable, dtype=float)
        return weights / weights.sum() if weights.sum() > 0 else None

    def _usable(self, song: CachedSong) -> int:
        """Count the frames of a song that are for training."""
        return max(0, song.frames - round(song.song.valid_last_seconds * song.rate))

    def _song(self, rng: np.random.Generator, chance: np.ndarray) -> CachedSong:
        return self.songs[rng.choice(len(self.songs), p=chance)]

    def _start(self, rng: np.random.Generator, song: CachedSong, frames: int) -> int:
        return int(rng.integers(0, max(1, self._usable(song) - frames)))

    def _crop(self, rng, song: CachedSong, stem: str, start: int, frames: int) -> np.ndarray:
        """Read (channels, frames) of a stem, never reaching into what is kept for validation."""
        inside = max(0, min(frames, self._usable(song) - start))
        return np.pad(song.read(stem, start, inside), ((0, 0), (0, frames - inside)))

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Draw example `number`, always the same for one seed and one list of songs; see the class for what it holds."""
        config, rng = self.config, np.random.default_rng((self.seed, number))
        speed = 1 + config.speed * rng.uniform(-1, 1)
        shift = bool(config.pitch) and rng.random() < config.pitch
        # Enough to be played faster by as much as may be drawn: 1 / (1 - tempo) at most.
        frames = int(np.ceil(self.frames * speed * (1 / (1 - config.tempo) if shift else 1))) + 2
        kind = rng.random()
        two_chance = config.two_stems if self._chance["two"] is not None else 0.0
        two_stems = kind < two_chance or self._chance["four"] is None
        coherent = two_stems or kind < two_chance + config.coherent
        if coherent:
            song = self._song(rng, self._chance["two" if two_stems else "four"])
            start = self._start(rng, song, frames)
            parts = {stem: (song, start) for stem in song.maps}
            if two_stems and rng.random() < 0.5:
                other = self._song(rng, self._chance["two"])
                parts[ACCOMPANIMENT] = (other, self._start(rng, other, frames))
        else:
            parts = {}
            for stem in STEMS:
                if self._chance[stem] is not None:
                    song = self._song(rng, self._chance[stem])
                    parts[stem] = (song, self._start(rng, song, frames))
        stems = np.zeros((len(STEMS), 2, self.frames), np.float32)
        band_limited = False
        keep = coherent and rng.random() < config.keep_level
        for stem, (song, start) in parts.items():
            part = self._crop(rng, song, stem, start, frames)
            if not coherent and np.square(part).mean() < 1e-4 * song.level[stem] ** 2:
                # A silent crop teaches little: one second try.
                part = self._crop(rng, song, stem, self._start(rng, song, frames), frames)
            at = STEMS.index("other" if stem == ACCOMPANIMENT else stem)
            stems[at] = self._vary(rng, part, stem, speed, shift, keep, song)
            band_limited |= song.band_limited
        if not two_stems:
            silent = rng.random(len(STEMS)) < config.silence
            if not silent.all():
                stems[silent] = 0
        stems *= np.float32(10 ** (rng.normal(0, config.shift_db) / 20))
        if rng.random() < config.noise:
            stems[-1] += rng.normal(0, 10 ** (rng.uniform(-70, -40) / 20), stems[-1].shape).astype(np.float32)
        mixture = stems.sum(0)
        if config.mp3 and rng.random() < config.mp3:
            mixture = mp3_round_trip(mixture, config.sample_rate, int(rng.choice([64, 96, 128, 192])))
        return {
            "mixture": torch.from_numpy(mixture),
            "stems": torch.from_numpy(stems),
            "two_stems": torch.tensor(two_stems),
            "band_limited": torch.tensor(band_limited),
        }

    def _vary(self, rng, part: np.ndarray, stem: str, speed: float, shift: bool, keep: bool, song: CachedSong) -> np.ndarray:
        """Change speed, level, sides and colour of a crop; (1 or 2, frames) -> (2, self.frames)."""
        config = self.config
        if config.speed:
            # Played faster, as a tape would be: pitch and tempo move together, which costs least.
            part = soxr.resample(part.T, round(config.sample_rate * speed), config.sample_rate, quality="MQ").T
        if shift:
            semitones = 0.0 if stem == "drums" else config.pitch_semitones * rng.uniform(-1, 1)
            part = pitch_and_tempo(part, semitones, 1 + config.tempo * rng.uniform(-1, 1), config.sample_rate)
        part = part[:, : self.frames]
        part = np.pad(part, ((0, 0), (0, self.frames - part.shape[1])))
        mono = part.shape[0] == 1
        part = stereo(part)
        if config.pan and mono and rng.random() < 0.5:
            side = config.pan * rng.uniform(-1, 1)
            part = part * np.array([[1 - side], [1 + side]], np.float32)
        if rng.random() < 0.5:
            part = part[::-1]
        if rng.random() < 0.5:
            part = -part
        if not keep:
            part = tilt(part, rng.uniform(-0.25, 0.25)) if rng.random() < 0.3 else part
            if config.effects and stem in ("vocals", "other") and rng.random() < config.effects:
                part = _in_a_studio(rng, part, config.sample_rate)
            gain = NOMINAL_LEVEL / max(song.level[stem], 1e-4) * 10 ** (rng.normal(0, config.gain_db) / 20)
        else:
            # The song's own balance, brought to the nominal level as a whole.
            gain = NOMINAL_LEVEL / max(*song.level.values(), 1e-4)
        return part * np.float32(gain)

    def validation(self) -> Iterator[dict]:
        """Give the validation songs: {"name", "stems": float32 (stems, 2, samples), "present": names, "two_stems": bool}."""
        for song in self.valid:
            start = song.frames - round(song.song.valid_last_seconds * song.rate) if song.song.valid_last_seconds else 0
            stems = np.zeros((len(STEMS), 2, song.frames - start), np.float32)
            for stem in song.maps:
                at = STEMS.index("other" if stem == ACCOMPANIMENT else stem)
                stems[at] = stereo(song.read(stem, start, song.frames - start))
            peak = np.abs(stems.sum(0)).max(initial=1.0)
            present = [stem for stem in song.maps if np.any(stems[STEMS.index("other" if stem == ACCOMPANIMENT else stem)])]
            yield {"name": song.song.name, "stems": stems / peak, "present": present, "two_stems": song.song.two_stems}

    def seen(self, examples: int) -> dict:
        """Say how much so many examples are, in hours of audio, for the card."""
        return {"hours_seen": round(self.config.chunk_seconds * examples / 3600, 2)}

    def describe(self) -> dict:
        """Say what the examples are drawn from: songs, hours and licences, for the card."""
        seconds = sum(self._usable(s) for s in self.songs) / self.config.sample_rate
        return {
            "songs": len(self.songs),
            "hours": round(seconds / 3600, 2),
            "folders": [folder.path for folder in self.config.folders],
            "licences": sorted({s.song.licence for s in self.songs}),
            "validation": [s.song.name for s in self.valid],
        }


def _in_a_studio(rng: np.random.Generator, part: np.ndarray, rate: int) -> np.ndarray:
    """Overdrive, double and put into a room, each in half of the cases, float32 (2, frames); the level stays about what it was."""
    if rng.random() < 0.5:
        part = saturate(part, rng.uniform(0, 24))
    if rng.random() < 0.5:
        part = echo(part, round(rate * (rng.uniform(0.012, 0.035) if rng.random() < 0.5 else rng.uniform(0.1, 0.4))), rng.uniform(0.2, 0.7))
    if rng.random() < 0.5:
        part = reverberate(part, rng.uniform(0.3, 1.8), rng.uniform(0.1, 0.5), rate, rng)
    return part


def open_all(songs: list[Song], rate: int, progress: Callable[[float], None] | None) -> Iterator[CachedSong]:
    """Open songs in the cache, two at a time; an error or Ctrl-C does not wait for those that have not been begun."""
    pool = ThreadPoolExecutor(2)
    try:
        opened = []
        for song in pool.map(lambda song: cached(song, rate), songs):
            opened.append(song)
            if progress is not None:
                progress(len(opened) / len(songs))
        return iter(opened)
    finally:
        pool.shutdown(cancel_futures=True)


DRAWS = Remix
