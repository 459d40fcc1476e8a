"""Play pieces with generated timbres, block by block: memory grows with what sounds at once, not with the length or the number of notes."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from songfoundry import synth
from songfoundry.errors import Cancelled, InputError
from songfoundry.notes import MAX_RENDER_SECONDS, Part
from songfoundry.orchestra import Orchestra
from songfoundry.orchestra.controls import Controls
from songfoundry.timbre.casting import STEPS, Role, cast
from songfoundry.timbre.generator import NoteGenerator
from songfoundry.timbre.pitches import hertz, pitch_name
from songfoundry.timbre.shaping import Sound, Stroke, brightened, release_seconds, skipped

__all__ = ["Player"]

_LAYERS = 4
_LEVEL = 0.09
"""Root mean square of a note's loudest 0.2 s at velocity and volume 127: that of the built-in orchestra."""
_BLOCK = 4.0
"""Seconds of a block; notes are made when the block comes in which they begin."""
_BATCH = 16
_CACHE_BYTES = 128 * 2**20
_TAIL = 1.5
"""Seconds after the last note in which the room may die away."""
_DRUM_TAIL = 5.0
"""Seconds after a block in which drums that were struck in it still ring."""
_ROOM_SECONDS = 1.3


@dataclass
class _Voice:
    """Hold a note that sounds: its place in the piece, and how far it has been read."""

    stroke: Stroke
    control: Controls
    level: float
    start: int
    done: int = 0
    place: float = 0.0


@dataclass(frozen=True)
class _Strokes:
    """Hold all pitched notes of a piece in the order of their beginning: arrays (notes,)."""

    starts: np.ndarray
    ends: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray
    roles: np.ndarray
    places: np.ndarray


class Player:
    """Play parts with a model's notes, drums with the built-in orchestra.

    Parameters
    ----------
    generator : the model. instruments : what is wanted for the pitched parts, see `songfoundry.timbre.casting.cast`; None for the
        instruments nearest to their programs. interpolate : seconds from one instrument of a path to the next; None to stay.
    seed : of the latents. wet : level of the room.

    Attributes
    ----------
    name : for reports. said : sentences for the user about the last piece: which track plays what, what was resampled.
    """

    def __init__(
        self, generator: NoteGenerator, *, instruments: str | Sequence[str] | None = None, interpolate: float | None = None,
        seed: int = 0, wet: float = 0.25,
    ):  # fmt: skip
        self.generator, self.instruments, self.interpolate = generator, instruments, interpolate
        self.seed, self.wet = seed, wet
        self.name = f"generated timbres of {generator.name}"
        self.said: list[str] = []
        self._sounds: OrderedDict[tuple, Sound] = OrderedDict()
        self._bytes, self._rate = 0, 0

    def perform(self, parts: Sequence[Part], rate: int, progress: Callable[[float], bool | None] | None = None) -> np.ndarray:
        """Play parts at once: float32 (2, samples); loud pieces pass full scale, nothing is clipped. Raises as `blocks`."""
        return np.concatenate(list(self.blocks(parts, rate, progress)), axis=1)

    def blocks(
        self, parts: Sequence[Part], rate: int, progress: Callable[[float], bool | None] | None = None
    ) -> Iterator[np.ndarray]:
        """Play parts piece by piece: float32 (2, n) each, at `rate` Hz, 4 s long but for the last.

        Velocity, the controllers volume, expression, pan, sustain and modulation, and pitch bend are honoured.

        Raises
        ------
        ConfigError, InputError : as `cast`, and a piece that is too long. Cancelled : `progress` returned False.
        """
        seconds = max((part.end for part in parts), default=0.0) + _TAIL
        if seconds > MAX_RENDER_SECONDS:
            raise InputError(f"expected at most {MAX_RENDER_SECONDS / 60:.0f} minutes to play, found {seconds / 60:.3g}: cut the piece")
        roles, others = cast(self.generator, parts, self.instruments, self.interpolate, self.seed)
        self._say(roles, others)
        if rate != self._rate:
            self._sounds.clear()
            self._bytes, self._rate = 0, rate
        return self._blocks(roles, others, seconds, progress)

    def _blocks(self, roles: list[Role], others: list[Part], seconds: float, progress) -> Iterator[np.ndarray]:
        """Make the blocks of `blocks`."""
        rate, total = self._rate, round(seconds * self._rate)
        strokes, controls = _gathered(roles)
        drums, ringing = Orchestra(rate), np.zeros((2, round(_DRUM_TAIL * rate)), np.float32)
        block, tail = round(_BLOCK * rate), round(_ROOM_SECONDS * rate)
        before, voices = np.zeros((2, 0), np.float32), []
        for first in range(0, total, block):
            # Always whole blocks, cut at the end: what the room says does not depend on where the piece ends.
            mix = np.zeros((2, block), np.float32)
            begin, end = np.searchsorted(strokes.starts, ((first - 0.5) / rate, (first + block - 0.5) / rate))
            for voice in voices:
                self._add(mix, voice, first)
            voices = [voice for voice in voices if voice.done < voice.stroke.length]
            for voice in self._voices(strokes, controls, roles, begin, end):
                self._add(mix, voice, first)
                if voice.done < voice.stroke.length:
                    voices.append(voice)
            ringing = _add_drums(mix, ringing, drums, others, first, rate)
            if self.wet:
                dry = np.concatenate([before, mix], axis=1)
                mix = synth.reverberate(dry, _ROOM_SECONDS, self.wet, rate, np.random.default_rng(0))[:, before.shape[1] :]
                before = dry[:, -tail:]
            mix = mix[:, : total - first].astype(np.float32)
            if first + block >= total:
                fade = min(mix.shape[1], round(0.3 * rate))
                mix[:, mix.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
            if progress is not None and progress(min(1.0, (first + block) / total)) is False:
                raise Cancelled("stopped: nothing was rendered")
            yield mix

    def _voices(self, strokes: _Strokes, controls: list[Controls], roles: list[Role], begin: int, end: int) -> Iterator[_Voice]:
        """Strike the notes begin to end, those of one sound together, so that few sounds are held at once."""
        layers = np.minimum(strokes.velocities[begin:end] * _LAYERS // 128, _LAYERS - 1)
        wanted: dict[tuple, list[int]] = {}
        for index, layer in zip(range(begin, end), layers.tolist(), strict=True):
            key = (int(strokes.roles[index]), int(strokes.places[index]), int(strokes.pitches[index]), layer)
            wanted.setdefault(key, []).append(index)
        keys = sorted(wanted)
        for at in range(0, len(keys), _BATCH):
            for key, sound in self._made(keys[at : at + _BATCH], roles).items():
                for index in wanted[key]:
                    yield self._struck(strokes, controls, sound, index)

    def _struck(self, strokes: _Strokes, controls: list[Controls], sound: Sound, index: int) -> _Voice:
        """Begin a note."""
        control = controls[strokes.roles[index]]
        seconds = float(strokes.ends[index] - strokes.starts[index])
        held = max(round(seconds * self._rate), 64)
        stroke = Stroke(sound, held, round(release_seconds(seconds) * self._rate), skipped(sound, held), control.most_bend_ratio)
        level = _LEVEL * (int(strokes.velocities[index]) / 127) ** 2 / max(sound.loudest, 1e-6)
        return _Voice(stroke, control, level, round(float(strokes.starts[index]) * self._rate))

    def _add(self, mix: np.ndarray, voice: _Voice, first: int) -> None:
        """Add what a note sounds in a block that begins at sample `first`, and note how far it has come."""
        begin = voice.start + voice.done - first
        count = min(voice.stroke.length - voice.done, mix.shape[1] - begin)
        if count <= 0:
            return
        now = (voice.start + voice.done) / self._rate
        places = voice.control.positions(now, count + 1, self._rate)
        if places is None and voice.place == voice.done:
            sound = voice.stroke.read(voice.done, count)
            voice.place += count
        else:
            # Once it was bent, a note is read from where the bends have brought it.
            places = np.arange(count + 1.0) if places is None else places
            sound = voice.stroke.read(voice.done, count, voice.place + places[:-1])
            voice.place += float(places[-1])
        voice.done += count
        mix[:, begin : begin + count] += np.float32(voice.level) * sound * voice.control.gains(now, count, self._rate)

    def _made(self, keys: list[tuple], roles: list[Role]) -> dict[tuple, Sound]:
        """Give the sounds of (role, place on its path, pitch, layer), from the cache where they are there."""
        found = {key: self._sounds[name] for key in keys if (name := self._name(key, roles)) in self._sounds}
        for key in found:
            self._sounds.move_to_end(self._name(key, roles))
        missing = [key for key in keys if key not in found]
        # Layers of one note differ in brightness alone.
        bases = sorted({key[:3] for key in missing})
        if bases:
            timbres = [roles[role].timbre(place) for role, place, _ in bases]
            waves = dict(zip(bases, self.generator.waves(timbres, [pitch for *_, pitch in bases], self._rate), strict=True))
        for key in missing:
            pitch = hertz(key[2])
            wave = brightened(waves[key[:3]], self._rate, pitch, round((key[3] + 0.5) / _LAYERS * 127))
            lasts = self.generator.lasts(roles[key[0]].timbre(key[1]))
            found[key] = self._keep(self._name(key, roles), Sound(wave, self._rate, pitch, lasts))
        return found

    @staticmethod
    def _name(key: tuple, roles: list[Role]) -> tuple:
        """Name a sound so that tracks of one timbre, and the next piece, share it."""
        role, place, pitch, layer = key
        return roles[role].timbre(place).key, pitch, layer

    def _keep(self, name: tuple, sound: Sound) -> Sound:
        """Put a sound into the cache; the longest unused ones make room."""
        self._sounds[name] = sound
        self._bytes += sound.nbytes
        while self._bytes > _CACHE_BYTES and len(self._sounds) > 1:
            self._bytes -= self._sounds.popitem(last=False)[1].nbytes
        return sound

    def _say(self, roles: list[Role], others: list[Part]) -> None:
        """Say which track plays what, and what had to be resampled."""
        self.said = []
        for number, role in enumerate(roles, 1):
            way = " -> ".join(timbre.name for timbre in role.stations[:6]) + (" ..." if len(role.stations) > 6 else "")
            self.said.append(f"track {number}{f' ({role.part.name.strip()})' if role.part.name.strip() else ''}: {way}, {role.chosen}")
        if others:
            self.said.append(f"{len(others)} {'track' if len(others) == 1 else 'tracks'} of drums and effects: the built-in orchestra")
        outside = sum(_count_outside(self.generator, role) for role in roles)
        if outside:
            lie = "note lies" if outside == 1 else "notes lie"
            one = len(set(self.generator.ranges)) == 1
            known = " to ".join(map(pitch_name, self.generator.pitches)) if one else "by their instruments"
            names = f"what was trained ({known})"
            self.said.append(f"{outside} {lie} outside {names}: made of the nearest there, resampled")


def _count_outside(generator: NoteGenerator, role: Role) -> int:
    """Count the notes of a role outside the pitches that were trained with what plays them."""
    # A note between two stations has the pitches of both.
    low, high = np.array([generator.range(timbre) for timbre in role.stations]).T
    station, step = np.divmod(role.places(), STEPS)
    after = station + (step > 0)
    pitches = role.part.pitches
    return int(((pitches < np.minimum(low[station], low[after])) | (pitches > np.maximum(high[station], high[after]))).sum())


def _gathered(roles: list[Role]) -> tuple[_Strokes, list[Controls]]:
    """Put the notes of all roles in the order of their beginning."""
    controls = [Controls.of(role.part) for role in roles]

    def joined(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays) if arrays else np.zeros(0)

    columns = [
        joined([role.part.starts for role in roles]), joined([control.ends for control in controls]),
        joined([role.part.pitches for role in roles]), joined([role.part.velocities for role in roles]),
        joined([np.full(len(role.part.starts), number) for number, role in enumerate(roles)]), joined([role.places() for role in roles]),
    ]  # fmt: skip
    order = np.argsort(columns[0], kind="stable")
    return _Strokes(*(column[order] for column in columns)), controls


def _add_drums(mix: np.ndarray, ringing: np.ndarray, drums: Orchestra, others: list[Part], first: int, rate: int) -> np.ndarray:
    """Add drums and effects that begin in a block, and what still rings from before; gives what rings on after it."""
    begin, block = first / rate, mix.shape[1]
    struck = []
    for part in others:
        inside = (part.starts >= begin - 0.5 / rate) & (part.starts < begin + (block - 0.5) / rate)
        if inside.any():
            kept = part.keep(inside)
            controls, bends = kept.controls.copy(), kept.bends.copy()
            controls[:, 0] -= begin
            bends[:, 0] -= begin
            struck.append(replace(kept, starts=np.maximum(kept.starts - begin, 0), controls=controls, bends=bends))
    reach = block + ringing.shape[1]
    sound = np.zeros((2, reach), np.float32)
    sound[:, : ringing.shape[1]] += ringing
    if struck:
        sound += drums.perform(struck, seconds=reach / rate, wet=0.0)[:, :reach]
    mix += sound[:, :block]
    return sound[:, block:]
