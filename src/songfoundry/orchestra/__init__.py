"""Play pieces with a built-in orchestra: General MIDI instruments and drums from nothing but numpy and scipy.

Each (program, pitch, velocity layer) is played once, as long as its longest note needs, and placed wherever the piece has
it, with its own level, length and bend. Nothing is random but by the note itself: the same piece gives the same samples.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from songfoundry import synth
from songfoundry.errors import Cancelled, InputError
from songfoundry.notes import MAX_RENDER_SECONDS, Part
from songfoundry.orchestra.controls import Controls
from songfoundry.orchestra.instruments import INSTRUMENTS, note
from songfoundry.orchestra.percussion import CHOKED_BY, PANS, kit_of, strike

__all__ = ["INSTRUMENTS", "Orchestra", "perform"]

_LAYERS = 4
_LONGEST = 16.0
"""Seconds that are played of a note; what is held longer is looped, or has died away."""
_TAIL = 2.5
"""Seconds after the last note in which it, and the room, may die away."""
_LEVEL = 0.09
"""Root mean square of an instrument's loudest 0.2 s at velocity and volume 127."""
_DRUM_LEVEL = 0.22
_VARIANTS = 3
"""Takes of each drum, in turn: the same noise twice sounds like a machine."""
_CACHE_BYTES = 128 * 2**20
_ROOM_SECONDS = 1.3
_ROOM_BLOCK = 30.0


def perform(pieces: Sequence[Part], rate: int, **options) -> np.ndarray:
    """Play parts once, as `Orchestra.perform` does."""
    return Orchestra(rate).perform(pieces, **options)


class Orchestra:
    """Hold the notes that have been played at one rate, so that a second piece with them costs less."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._notes: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._gains: dict[tuple[int, int], float] = {}

    def perform(
        self,
        pieces: Sequence[Part],
        *,
        seconds: float | None = None,
        wet: float = 0.25,
        progress: Callable[[float], bool | None] | None = None,
    ) -> np.ndarray:
        """Play parts: float32 (2, samples) at the orchestra's rate; loud pieces pass full scale, nothing is clipped.

        The last 0.3 s are faded out, so that nothing that a pedal holds breaks off.

        Velocity and the controllers volume (7), expression (11), pan (10), sustain (64) and modulation (1), and pitch bend
        with its range (RPN 0), are honoured; levels go with the square of the value, as General MIDI recommends.

        Args:
            pieces: parts, times in seconds.
            seconds: the length; None for the end of the last note and 2.5 s.
            wet: level of the room.
            progress: called with the share that is done; False stops.

        Raises:
            InputError: longer than `MAX_RENDER_SECONDS`.
            Cancelled: ``progress`` returned False.
        """
        controls = [Controls.of(part) for part in pieces]
        if seconds is None:
            seconds = max((part.end for part in pieces), default=0.0) + _TAIL
        if seconds > MAX_RENDER_SECONDS:
            raise InputError(f"expected at most {MAX_RENDER_SECONDS / 60:.0f} minutes to play, found {seconds / 60:.3g}: cut the piece")
        mix = np.zeros((2, round(seconds * self.rate)), np.float32)
        total, done = sum(len(part.starts) for part in pieces) or 1, 0
        for part, control in zip(pieces, controls, strict=True):
            place = self._place_drums if part.is_drum else self._place_notes
            for count in place(mix, part, control):
                done += count
                if progress is not None and progress(0.9 * done / total) is False:
                    raise Cancelled("stopped: nothing was rendered")
        if wet:
            _add_room(mix, wet, self.rate)
        fade = min(mix.shape[1], round(0.3 * self.rate))
        mix[:, mix.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        if progress is not None:
            progress(1.0)
        return mix

    def _place_notes(self, mix: np.ndarray, part: Part, control: Controls):
        """Add a pitched part to the mix; yield how many notes were placed, pitch by pitch."""
        instrument = INSTRUMENTS[part.program & 127]
        release = max(2, round(instrument.release * self.rate))
        fade = np.linspace(1, 0, release, dtype=np.float32) ** 2
        layers = np.minimum(part.velocities * _LAYERS // 128, _LAYERS - 1)
        lengths = control.ends - part.starts
        for pitch, layer in sorted(set(zip(part.pitches.tolist(), layers.tolist(), strict=True))):
            chosen = np.flatnonzero((part.pitches == pitch) & (layers == layer))
            longest = float(lengths[chosen].max()) + instrument.release
            bent = control.most_bend_ratio
            played = self._note(part.program & 127, pitch, layer, longest * bent + 0.01)
            for index in chosen.tolist():
                start = float(part.starts[index])
                held = max(round(lengths[index] * self.rate), release // 4, 64)
                first = round(start * self.rate)
                positions = control.positions(start, held + release, self.rate)
                if positions is None:
                    sound = _extended(played, held + release, instrument.sustains, self.rate, pitch)[:, : held + release]
                else:
                    source = _extended(played, int(positions[-1]) + 3, instrument.sustains, self.rate, pitch)
                    sound = _resampled(source, positions)
                level = np.float32((int(part.velocities[index]) / 127) ** 2)
                sound = sound * (level * control.gains(start, sound.shape[1], self.rate))
                sound[:, held:] *= fade[: max(0, sound.shape[1] - held)]
                _add(mix, sound, first)
            yield len(chosen)

    def _note(self, program: int, pitch: int, layer: int, seconds: float) -> np.ndarray:
        """Give a note of at least so many seconds (16 at the most), from the cache where it is long enough."""
        key = (program, pitch, layer)
        needed = round(min(seconds, _LONGEST) * self.rate)
        have = self._notes.get(key)
        if have is None or have.shape[1] < needed:
            # Lengths are powers of two of a second, so that the next piece's slightly longer note is there already.
            length = min(2.0 ** np.ceil(np.log2(max(needed / self.rate, 0.25))), _LONGEST)
            velocity = (layer + 0.5) / _LAYERS
            draw = np.random.default_rng([program, pitch, layer])
            made = note(INSTRUMENTS[program], pitch, length, velocity, self.rate, draw)
            have = self._keep(key, made * np.float32(self._gain(program, layer)))
        self._notes.move_to_end(key)
        return have

    def _gain(self, program: int, layer: int) -> float:
        """Measure what brings a layer of an instrument to the level of all others."""
        if (program, layer) not in self._gains:
            instrument = INSTRUMENTS[program]
            draw = np.random.default_rng(program)
            made = note(instrument, instrument.reference, 1.0, (layer + 0.5) / _LAYERS, self.rate, draw).mean(axis=0)
            window = max(1, round(0.2 * self.rate))
            power = np.cumsum(np.pad(made.astype(np.float64) ** 2, (1, 0)))
            loudest = float((power[window:] - power[:-window]).max(initial=0.0) / window) ** 0.5
            self._gains[program, layer] = _LEVEL * 10 ** (instrument.trim / 20) / max(loudest, 1e-6)
        return self._gains[program, layer]

    def _keep(self, key: tuple, sound: np.ndarray) -> np.ndarray:
        """Put a sound into the cache; the longest unused ones make room."""
        old = self._notes.pop(key, None)
        self._bytes += sound.nbytes - (0 if old is None else old.nbytes)
        self._notes[key] = sound
        while self._bytes > _CACHE_BYTES and len(self._notes) > 1:
            self._bytes -= self._notes.popitem(last=False)[1].nbytes
        return sound

    def _place_drums(self, mix: np.ndarray, part: Part, control: Controls):
        """Add a drum part to the mix; yield how many notes were placed, key by key."""
        kit = kit_of(part.program)
        layers = np.minimum(part.velocities * _LAYERS // 128, _LAYERS - 1)
        for key in sorted(set(part.pitches.tolist())):
            chosen = np.flatnonzero(part.pitches == key)
            chosen = chosen[np.argsort(part.starts[chosen], kind="stable")]
            stops = np.sort(part.starts[np.isin(part.pitches, (*CHOKED_BY.get(key, ()), *((key,) if key in CHOKED_BY else ())))])
            side = PANS.get(key, 0.0)
            pan = np.array([[1 - max(side, 0)], [1 + min(side, 0)]], np.float32)
            for turn, index in enumerate(chosen.tolist()):
                sound = self._drum(kit, part.program, key, int(layers[index]), turn % _VARIANTS)
                if sound is None:
                    break
                start = float(part.starts[index])
                level = np.float32(_DRUM_LEVEL * (int(part.velocities[index]) / 127) ** 2)
                sound = sound * (pan * level * control.gains(start, sound.shape[1], self.rate))
                later = np.searchsorted(stops, start, side="right")
                if later < len(stops):
                    _choke(sound, round((stops[later] - start) * self.rate), self.rate)
                _add(mix, sound, round(start * self.rate))
            yield len(chosen)

    def _drum(self, kit, program: int, key: int, layer: int, take: int) -> np.ndarray | None:
        """Give one take of a drum."""
        name = ("drums", program, key, layer, take)
        if name in self._notes:
            self._notes.move_to_end(name)
            return self._notes[name]
        sound = strike(kit, key, (layer + 0.5) / _LAYERS, self.rate, np.random.default_rng([128, key, take]))
        return None if sound is None else self._keep(name, sound)


def _extended(played: np.ndarray, samples: int, sustains: bool, rate: int, pitch: int) -> np.ndarray:
    """Make a note last: loop the second half of one that sustains, whole periods at a time; let the others end in silence."""
    if played.shape[1] >= samples:
        return played
    if not sustains:
        fade = min(played.shape[1], rate // 10)
        ended = played.copy()
        ended[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
        return np.pad(ended, ((0, 0), (0, samples - played.shape[1])))
    length = played.shape[1]
    cross = min(rate // 4, length // 8)
    period = rate / float(synth.hertz(pitch))
    loop = round(round((length / 2 - cross) / period) * period)
    ramp = np.linspace(0, 1, cross, dtype=np.float32)
    out, at = np.empty((len(played), samples), np.float32), length - cross
    out[:, :at] = played[:, :at]
    body = played[:, -cross - loop :].copy()
    body[:, :cross] = (1 - ramp) * played[:, -cross:] + ramp * body[:, :cross]
    while at < samples:
        part = body[:, : min(loop, samples - at)]
        out[:, at : at + part.shape[1]] = part
        at += part.shape[1]
    return out


def _resampled(sound: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Read a sound at fractional positions by cubic interpolation (Catmull-Rom): float32 (channels, positions)."""
    at = np.clip(positions.astype(np.int64), 1, sound.shape[1] - 3)
    t = (positions - at).astype(np.float32)
    a, b, c, d = (sound[:, at + shift] for shift in (-1, 0, 1, 2))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def _choke(sound: np.ndarray, stop: int, rate: int) -> None:
    """Fade a sound out in place, 30 ms from a sample on."""
    fade = round(0.03 * rate)
    if stop < sound.shape[1]:
        tail = sound[:, stop : stop + fade]
        tail *= np.linspace(1, 0, fade, dtype=np.float32)[: tail.shape[1]]
        sound[:, stop + fade :] = 0


def _add(mix: np.ndarray, sound: np.ndarray, first: int) -> None:
    """Add a sound to the mix, cut to what lies inside."""
    begin, end = max(0, first), min(mix.shape[1], first + sound.shape[1])
    if end > begin:
        mix[:, begin:end] += sound[:, begin - first : end - first]


def _add_room(mix: np.ndarray, wet: float, rate: int) -> None:
    """Reverberate in place, half a minute at a time, so that an hour of music needs no more memory than a minute."""
    block, tail = round(_ROOM_BLOCK * rate), round(_ROOM_SECONDS * rate)
    before = np.zeros((2, 0), np.float32)
    for first in range(0, mix.shape[1], block):
        dry = np.concatenate([before, mix[:, first : first + block]], axis=1)
        wetted = synth.reverberate(dry, _ROOM_SECONDS, wet, rate, np.random.default_rng(0))
        mix[:, first : first + block] = wetted[:, before.shape[1] :]
        before = dry[:, -tail:]
