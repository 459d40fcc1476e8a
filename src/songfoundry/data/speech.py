"""Draw people who speak and who sing: the same sentence spoken and sung by one of them, or speech beside somebody's song with its band.

Every random number of example n comes from a generator seeded by (seed, n), so that a resumed training sees the examples that it would
have seen. Spoken and sung clips of a sentence have each their own time: an example says for each moment of the song where it is spoken.
"""

from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np
import soxr
import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy import fft

from songfoundry.config import Config
from songfoundry.data.remix import SongFolder, open_all
from songfoundry.data.songs import CachedSong, find_songs
from songfoundry.data.speech_cache import PERIOD, KeptVoice, at_frames, kept_voice, song_pitch
from songfoundry.data.speech_sets import Utterance, find_utterances
from songfoundry.errors import DatasetError
from songfoundry.spectral.mel import LogMel
from songfoundry.voice.warping import align, place_along

__all__ = ["DRAWS", "NOMINAL_LEVEL", "Speech", "SpeechConfig", "VoiceFolder", "levelled"]

NOMINAL_LEVEL = 0.1
"""Root mean square of every voice and every band where it sounds."""
_TRIES = 8
_LEAST_VOICED = 0.3
"""Share of a song's crop that must have a pitch; other crops are drawn again, some times."""
_STEP = 0.016
"""Seconds, about, of a frame in which spoken and sung sentences are aligned."""
_SMOOTH = 5

Chance = Annotated[float, Field(ge=0, le=1)]


class VoiceFolder(Config):
    """Name a folder of recordings of people, those taken of it, and how often each of it is drawn where speech is drawn alone."""

    path: str
    include: list[str] = ["*"]
    weight: NonNegativeFloat = 1.0


class SpeechConfig(Config):
    """Say which voices are drawn and how they are varied.

    An example is `frames` of `hop` samples at `rate` Hz. `folders` hold speech and sung sentences, `songs` songs with stems, whose voice is
    one. `paired`: chance that an example is a sentence that one person spoke and sang; else it is speech beside a song's crop, which it
    has nothing to do with. `speed`: largest change of speed, pitch and size of both voices; `pace`: largest change of the pace of speech
    that stands beside a song; `gain_db`: standard deviation of levels.
    """

    name: str = "speech"
    folders: list[VoiceFolder]
    songs: list[SongFolder] = []
    rate: PositiveInt = 16000
    hop: PositiveInt = 256
    frames: PositiveInt = 256
    paired: Chance = 0.6
    speed: Annotated[float, Field(ge=0, le=0.3)] = 0.08
    pace: Annotated[float, Field(ge=0, le=0.5)] = 0.3
    gain_db: NonNegativeFloat = 1.5


class Speech:
    """Give example n as a dict of tensors.

    `speech`, `voice`, `backing`: float32 (samples,), full scale ±1, at `config.rate` Hz: someone speaks, someone sings, a band plays (all
    zeros where nobody knows one to that voice). `speech_hertz`, `voice_hertz`: float32 (frames,), their pitches at the centres of frames, 0
    where they have none. `map`: float32 (frames,), the frame of the speech that belongs to each frame of the voice, never going back;
    where they are not the same sentence, it only says how fast is spoken. `paired`, `backed`: bool, whether both are one person's
    sentence, whether there is a band.

    Recordings of split "test" and "unused" are neither drawn nor opened; validation ones are for `validation` alone.

    Raises
    ------
    DatasetError, AudioError, OutputError, MissingExtraError : as `find_utterances`, `find_songs` and `kept_voice`; or nothing is there.
    """

    Config = SpeechConfig

    def __init__(self, config: SpeechConfig, seed: int = 0, progress: Callable[[float], None] | None = None):
        self.config, self.seed = config, seed
        self.samples = config.frames * config.hop
        self._found = [find_utterances(folder.path, folder.include) for folder in config.folders]
        everyone = [one for found in self._found for one in found]
        files = sorted({one.path for one in everyone if one.split in ("train", "valid")})
        self._voices: dict = {}
        for number, path in enumerate(files):
            self._voices[path] = kept_voice(path, config.rate)
            if progress:
                progress((number + 1) / (len(files) + 1))
        train = [one for one in everyone if one.split == "train"]
        self.sung, self._groups = [one for one in train if one.sung], _groups(train)
        self.pairs = [one for one in self.sung if _key(one) in self._groups]
        self.spoken: list[Utterance] = []
        weights: list[float] = []
        for folder, found in zip(config.folders, self._found, strict=True):
            own = [one for one in found if one.split == "train" and not one.sung]
            self.spoken += own
            lengths = [one.frames or self._length(one) for one in own]
            weights += [folder.weight * length / max(1, sum(lengths)) for length in lengths]
        self.songs, self._pitches, chances = self._open_songs()
        if not any(weights) or not (self.pairs if config.paired else self.songs or self.pairs):
            paths = ", ".join(folder.path for folder in (*config.folders, *config.songs))
            raise DatasetError(
                f"expected speech for training, and sung sentences of the same people or songs, in {paths}, found too little: check paths, "
                "splits, weights and data.paired"
            )
        self._spoken_chance = np.array(weights) / sum(weights)
        self._song_chance = chances
        step = 2 * round(_STEP * config.rate / 2)
        self._tick = step / config.rate
        self._front = LogMel(config.rate, 2 * step, step, 40, high=min(7600.0, config.rate / 2), floor=1e-2)
        self._ways: dict[tuple[str, str], np.ndarray] = {}

    def _open_songs(self) -> tuple[list[CachedSong], list[np.ndarray], np.ndarray]:
        """Open the songs of the training that have a voice, with its pitch and how likely each is."""
        found = [[song for song in find_songs(f.path, f.include) if song.split == "train"] for f in self.config.songs]
        found = [[song for song in songs if "vocals" in song.stems] for songs in found]
        songs = list(open_all([song for songs in found for song in songs], self.config.rate, None))
        weights = [folder.weight for folder, own in zip(self.config.songs, found, strict=True) for _ in own]
        usable = np.array([weight * self._usable(song) for weight, song in zip(weights, songs, strict=True)])
        return songs, [song_pitch(song) for song in songs], usable / max(1.0, usable.sum())

    def _usable(self, song: CachedSong) -> int:
        return max(0, song.frames - round(song.song.valid_last_seconds * song.rate))

    def _length(self, one: Utterance) -> int:
        first, last = one.slice(self.config.rate, len(self._voice(one).samples))
        return last - first

    def _voice(self, one: Utterance) -> KeptVoice:
        if one.path not in self._voices:
            self._voices[one.path] = kept_voice(one.path, self.config.rate)
        return self._voices[one.path]

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Draw example `number`, always the same for one seed and one set of recordings."""
        config, rng = self.config, np.random.default_rng((self.seed, number))
        speed = 2 ** (np.log2(1 + config.speed) * rng.uniform(-1, 1))
        paired = bool(self.pairs) and (rng.random() < config.paired or not self.songs)
        if paired:
            sung = self.pairs[rng.integers(len(self.pairs))]
            same = self._groups[_key(sung)]
            found = self._pair(same[rng.integers(len(same))], sung, speed, float(rng.random()))
        else:
            found = self._apart(rng, speed)
        for name in ("speech", "voice", "backing"):
            found[name] = levelled(found[name], config.rate) * np.float32(10 ** (config.gain_db * rng.normal() / 20))
        return {name: torch.as_tensor(value) for name, value in found.items()}

    def _pair(self, spoken: Utterance, sung: Utterance, speed: float, where: float) -> dict[str, np.ndarray]:
        """Put a spoken and a sung sentence side by side, `speed` times as fast; of a long song a part, `where` (0..1) says which."""
        config = self.config
        (speech, speech_hertz), (voice, voice_hertz) = self._heard(spoken, speed), self._heard(sung, speed)
        seconds = config.hop / config.rate
        begin = where * max(0, len(voice) - self.samples) // config.hop * seconds
        clock = begin + (np.arange(config.frames) + 0.5) * seconds
        # The way is found in the recordings as they are; faster, all its times are shorter.
        way = self._way(spoken, sung)
        places = np.interp(clock * speed, (np.arange(len(way)) + 0.5) * self._tick, way) / speed
        # Beyond the song's end lies silence, as it does beyond the speech's.
        places = places + np.maximum(0, clock - len(voice) / config.rate)
        first = max(0.0, min(float(places[0]) - 0.1, len(speech) / config.rate - config.frames * seconds))
        start = round(first * config.rate)
        return {
            "speech": _cut(speech, start, self.samples),
            "speech_hertz": at_frames(speech_hertz, config.frames, config.hop, config.rate, start / config.rate),
            "map": np.clip((places - start / config.rate) / seconds - 0.5, 0, config.frames - 1).astype(np.float32),
            "voice": _cut(voice, round(begin * config.rate), self.samples),
            "voice_hertz": at_frames(voice_hertz, config.frames, config.hop, config.rate, begin),
            "backing": np.zeros(self.samples, np.float32),
            "paired": np.array(True), "backed": np.array(False),
        }  # fmt: skip

    def _apart(self, rng: np.random.Generator, speed: float) -> dict[str, np.ndarray]:
        """Put speech beside a crop of a song that it has nothing to do with."""
        config = self.config
        pace = 1 - config.pace * rng.random()
        one = self.spoken[rng.choice(len(self.spoken), p=self._spoken_chance)]
        speech, hertz = self._heard(one, speed)
        start = int(rng.integers(0, max(1, len(speech) - self.samples + 1)))
        found = {
            "speech": _cut(speech, start, self.samples),
            "speech_hertz": at_frames(hertz, config.frames, config.hop, config.rate, start / config.rate),
            "map": (np.arange(config.frames) * pace).astype(np.float32), "paired": np.array(False),
        }  # fmt: skip
        for _ in range(_TRIES):
            which = int(rng.choice(len(self.songs), p=self._song_chance))
            song, pitch = self.songs[which], self._pitches[which]
            begin = int(rng.integers(0, max(1, self._usable(song) - self.samples)))
            voice_hertz = at_frames(pitch, config.frames, config.hop, config.rate, begin / config.rate)
            if np.mean(voice_hertz > 0) >= _LEAST_VOICED:
                break
        band = [stem for stem in song.maps if stem != "vocals"]
        parts = [song.read(stem, begin, self.samples).mean(0) for stem in band]
        backing = np.sum([np.zeros(self.samples, np.float32), *parts], axis=0, dtype=np.float32)
        return found | {
            "voice": song.read("vocals", begin, self.samples).mean(0), "voice_hertz": voice_hertz, "backing": backing,
            "backed": np.array(bool(np.abs(backing).max() > 1e-3)),
        }  # fmt: skip

    def _heard(self, one: Utterance, speed: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Read a recording and its pitch, played `speed` times as fast: float32 (samples,), (values,)."""
        config, voice = self.config, self._voice(one)
        first, last = one.slice(config.rate, len(voice.samples))
        samples = voice.read(first, last - first)
        hertz = np.asarray(voice.hertz[round(first / config.rate / PERIOD) : round(last / config.rate / PERIOD) + 1])
        if speed == 1:
            return samples, hertz
        samples = soxr.resample(samples, speed, 1.0, quality="HQ")
        near = np.round(np.arange(int(len(hertz) / speed)) * speed).astype(int).clip(0, len(hertz) - 1)
        return samples, (hertz[near] * np.float32(speed)).astype(np.float32)

    def _way(self, spoken: Utterance, sung: Utterance) -> np.ndarray:
        """Align two sentences: float64 (steps,), the second of the speech for each frame of the song; each pair once."""
        key = (spoken.name, sung.name)
        if key not in self._ways:
            one, other = (self._features(self._heard(each)[0]) for each in (sung, spoken))
            place = place_along(align(one, other, slant=0.5), len(one))
            smooth = np.convolve(np.pad(place, _SMOOTH // 2, mode="edge"), np.ones(_SMOOTH) / _SMOOTH, "valid")
            self._ways[key] = (smooth + 0.5) * self._tick
        return self._ways[key]

    def _features(self, samples: np.ndarray) -> np.ndarray:
        """Describe frames by cepstra around their mean, and their level: float64 (frames, 14), for the alignment alone."""
        with torch.no_grad():
            image = self._front(torch.from_numpy(np.ascontiguousarray(samples))[None])[0, 0].numpy().T.astype(np.float64)
        cepstra = fft.dct(image, norm="ortho", axis=1)[:, :14]
        return (cepstra - cepstra.mean(0)) / (cepstra[:, 1:].std() + 1e-9)

    def validation(self) -> Iterator[dict]:
        """Give the validation sentences; see `held_out`."""
        return self.held_out("valid")

    def held_out(self, split: str = "test") -> Iterator[dict]:
        """Give the sung sentences of a split, each beside the same person's spoken one that is most like it, people in turn.

        Each is a dict as an example's, of numpy arrays and one window long, with "name", the sung recording's.
        """
        everyone = [one for found in self._found for one in found if one.split == split]
        groups = _groups(everyone)
        people: dict[str, list[Utterance]] = {}
        for one in everyone:
            if one.sung and _key(one) in groups:
                people.setdefault(one.speaker, []).append(one)
        for place in range(max(map(len, people.values()), default=0)):
            for own in people.values():
                if place < len(own):
                    # Spread over a person's moods, whose names stand next to each other.
                    sung = own[place * 7 % len(own)] if len(own) % 7 else own[place]
                    spoken = max(groups[_key(sung)], key=lambda one, name=sung.name: _alike(one.name, name))
                    found = self._pair(spoken, sung, 1.0, 0.0)
                    found |= {name: levelled(found[name], self.config.rate) for name in ("speech", "voice")}
                    yield {"name": sung.name, **found}

    def seen(self, examples: int) -> dict:
        """Say how much so many examples are, in hours of audio, for the card."""
        return {"hours_seen": round(self.samples / self.config.rate * examples / 3600, 2)}

    def describe(self) -> dict:
        """Say what the examples are drawn from: recordings, people, songs and licences, for the card."""
        everyone = [*self.spoken, *self.sung]
        held = {one.speaker for found in self._found for one in found if one.split == "valid" and one.sung}
        return {
            "spoken": len(self.spoken), "sung": len(self.sung), "people": len({one.speaker for one in everyone}),
            "songs": len(self.songs), "folders": [folder.path for folder in (*self.config.folders, *self.config.songs)],
            "licences": sorted({one.licence for one in everyone} | {song.song.licence for song in self.songs}),
            "validation": sorted(held),
        }  # fmt: skip


def levelled(samples: np.ndarray, rate: int) -> np.ndarray:
    """Bring a sound, float32 (samples,), to the root mean square `NOMINAL_LEVEL` over the parts of it that sound; silence stays silent."""
    step = max(1, rate // 50)
    whole = samples[: max(1, len(samples) // step) * step]
    power = np.square(whole[: len(whole) // step * step].reshape(-1, step), dtype=np.float64).mean(1) if len(whole) >= step else np.zeros(1)
    sounding = power[power > max(power.max(initial=0) * 1e-3, 1e-9)]
    if not len(sounding):
        return np.zeros_like(samples, np.float32)
    return (samples * (NOMINAL_LEVEL / np.sqrt(sounding.mean()))).astype(np.float32)


def _cut(samples: np.ndarray, start: int, count: int) -> np.ndarray:
    piece = samples[start : start + count]
    return np.pad(piece, (0, count - len(piece))).astype(np.float32)


def _alike(one: str, other: str) -> int:
    """Count the letters that two names share in place."""
    return sum(a == b for a, b in zip(one, other, strict=False))


def _key(one: Utterance) -> tuple[str, str, str]:
    return one.speaker, one.text, one.emotion


def _groups(found: list[Utterance]) -> dict[tuple[str, str, str], list[Utterance]]:
    """Gather the spoken recordings of each person, text and mood; those without a text are nobody's pair."""
    groups: dict[tuple[str, str, str], list[Utterance]] = {}
    for one in found:
        if one.text and not one.sung:
            groups.setdefault(_key(one), []).append(one)
    return groups


DRAWS = Speech
