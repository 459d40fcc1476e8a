"""Sing notes and syllables with a formant voice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import signal

from songfoundry.synth.sounds import add, band, hertz


@dataclass(frozen=True)
class Note:
    """Hold one note: when (seconds), how long, how high (MIDI number, 69 = 440 Hz), how loud (0 to 1), and its syllable."""

    start: float
    seconds: float
    pitch: float
    velocity: float = 0.8
    #: (consonant, vowel) from `CONSONANTS` and `VOWELS`; only the voice looks at it.
    syllable: tuple[str, str] = ("", "a")


@dataclass(frozen=True)
class Voice:
    """Describe a singer."""

    #: Formants relative to a man's tract of 17.5 cm: about 0.9 (long tract) to 1.25 (short).
    tract: float = 1.0
    vibrato_hz: float = 5.5
    vibrato_cents: float = 35.0
    #: Wander of the pitch in cents, and of the loudness as a share.
    jitter: float = 6.0
    shimmer: float = 0.05
    #: Breath noise against voicing, 0 to 1; and the source's brightness, as the corner of its spectral tilt in Hz.
    breath: float = 0.05
    tilt_hz: float = 4000.0


#: First three formants of sung vowels in Hz, a man's (Hillenbrand et al. 1995, rounded); two sets make a diphthong.
VOWELS = {
    "a": ((750, 1200, 2500),),
    "e": ((530, 1850, 2500),),
    "i": ((310, 2250, 2950),),
    "o": ((480, 880, 2500),),
    "u": ((340, 900, 2250),),
    "ai": ((750, 1250, 2500), (380, 2050, 2700)),
    "ou": ((520, 950, 2450), (360, 850, 2300)),
    "ei": ((520, 1850, 2500), (350, 2150, 2800)),
}
_HIGH_FORMANTS = (3400, 4500, 5500, 6500, 7500)
_BANDWIDTHS = np.array((90, 100, 130, 220, 300, 450, 600, 700))

#: kind, seconds before the vowel, noise band in Hz and its level; or the formants of a voiced consonant.
CONSONANTS = {
    "": ("none", 0.0),
    "s": ("noise", 0.10, (5000, 9500), 0.55),
    "sh": ("noise", 0.10, (2300, 6000), 0.5),
    "f": ("noise", 0.08, (1500, 8500), 0.12),
    "h": ("noise", 0.07, (700, 3800), 0.09),
    "t": ("burst", 0.07, (3000, 8000), 0.8),
    "k": ("burst", 0.07, (1500, 3500), 0.8),
    "p": ("burst", 0.07, (500, 2500), 0.3),
    "d": ("burst", 0.05, (2500, 6500), 0.25),
    "b": ("burst", 0.05, (300, 1500), 0.2),
    "m": ("voiced", 0.07, (260, 1050, 2200), 0.3),
    "n": ("voiced", 0.06, (260, 1500, 2400), 0.3),
    "l": ("voiced", 0.06, (340, 1150, 2700), 0.5),
    "r": ("voiced", 0.07, (350, 1150, 1600), 0.5),
    "w": ("voiced", 0.07, (320, 650, 2250), 0.5),
    "y": ("voiced", 0.06, (290, 2250, 3000), 0.5),
}


def sing(voice: Voice, notes: Sequence[Note], seconds: float, rate: int, draw: np.random.Generator) -> np.ndarray:
    """Sing notes with their syllables: a glottal source through gliding formants, consonants before the beat.

    The voiced part is a sum of harmonics whose complex amplitudes follow source and formants every 5 ms, which neither
    aliases nor rings when formants move. The source's spectrum is that of the LF pulse in its causal-anticausal form.

    Args:
        voice: the singer.
        notes: in order of time, one at a time.
        seconds: length of the result.
        rate: samples a second.
        draw: where jitter and noise come from.

    Returns:
        float64 (samples,).

    Reference:
        Fant, Liljencrants, Lin 1985, "A four-parameter model of glottal flow"; Doval, d'Alessandro, Henrich 2006, "The
        spectrum of glottal flow models", section 5 (the source's spectrum); Klatt 1980 (formants in cascade).
    """
    step = max(1, round(0.005 * rate))
    samples = int(seconds * rate)
    frames = -(-samples // step) + 1
    time = np.arange(frames) * step / rate
    pitch, loud, formants, noise = _score_to_frames(voice, notes, time, samples, rate, draw)
    wander = signal.lfilter([0.1], [1, -0.9], draw.standard_normal((2, frames)))
    f0 = hertz(pitch + wander[0] * voice.jitter / 100 * 2.3)
    loud = loud * (1 + voice.shimmer * 2.3 * wander[1])
    # Singers open the first formant before the pitch passes it; without that, high notes would vanish on "i" and "u".
    formants[:, 0] = np.maximum(formants[:, 0], 1.1 * f0)
    formants[:, 1] = np.maximum(formants[:, 1], 1.3 * formants[:, 0])
    turn = np.cumsum(np.interp(np.arange(samples), np.arange(frames) * step, f0)) / rate
    voiced = np.zeros(samples)
    ramp = (np.arange(step, dtype=np.float32) / step)[None, :]
    for first in range(0, frames - 1, 128):
        last = min(first + 128, frames - 1)
        if not loud[first : last + 1].any():
            continue
        pitchwise = f0[first : last + 1]
        count = max(1, int(min(9000.0, 0.45 * rate) / pitchwise.min()))
        harmonics = pitchwise[:, None] * np.arange(1, count + 1)
        weights = _source(voice, harmonics, pitchwise[:, None]) * _tract(voice, harmonics, formants[first : last + 1])
        weights[harmonics > 0.45 * rate] = 0
        # Vowels differ by 20 dB where a harmonic meets a formant; a singer, and every engineer, levels most of that.
        weights *= loud[first : last + 1, None] * (np.abs(weights) ** 2).sum(axis=1, keepdims=True) ** -0.4
        weights = weights.astype(np.complex64).T
        span = slice(first * step, min(last * step, samples))
        one = np.exp(2j * np.pi * np.pad(turn[span], (0, (last - first) * step - (span.stop - span.start)))).astype(np.complex64)
        one = one.reshape(last - first, step)
        power, total = one.copy(), np.zeros((last - first, step), dtype=np.float32)
        for weight in weights:
            total += ((weight[:-1, None] + (weight[1:] - weight[:-1])[:, None] * ramp) * power).real
            power *= one
        voiced[span] = total.reshape(-1)[: span.stop - span.start]
    open_phase = 0.6 + 0.4 * np.cos(2 * np.pi * turn)
    breath = band(draw.standard_normal(samples), 1200 * voice.tract, 6000 * voice.tract, rate, order=1)
    level = np.interp(np.arange(samples), np.arange(frames) * step, loud)
    return voiced + noise + breath * open_phase * level * voice.breath * 0.4


def _score_to_frames(voice: Voice, notes: Sequence[Note], time: np.ndarray, samples: int, rate: int, draw: np.random.Generator):
    """Turn notes into pitch (frames,), loudness (frames,), formants in Hz (frames, 8) and consonant noise (samples,)."""
    pitch, loud, noise = np.full(len(time), np.nan), np.zeros(len(time)), np.zeros(samples)
    formants, bend = np.full((len(time), 3), np.nan), np.zeros(len(time))
    for index, note in enumerate(notes):
        consonant, vowel = note.syllable
        kind, lead, *how = CONSONANTS[consonant]
        end = note.start + note.seconds
        follows = index > 0 and note.start - (notes[index - 1].start + notes[index - 1].seconds) < 0.06
        begin = note.start - lead
        here, sung = (time >= begin) & (time < end), (time >= note.start) & (time < end)
        pitch[here] = note.pitch
        local = time[here] - note.start
        if not follows:
            bend[here] -= 0.9 * np.exp(-np.maximum(local, 0) / 0.05)
        rise = np.clip((local - 0.22) / 0.25, 0, 1)
        bend[here] += rise * voice.vibrato_cents / 100 * np.sin(2 * np.pi * voice.vibrato_hz * local)
        level = note.velocity * (0.85 + 0.15 * np.exp(-np.maximum(local, 0) / 0.4))
        loud[here] = level * np.where(local >= 0, 1.0, {"voiced": how[-1] if how else 0}.get(kind, 0.0))
        targets = VOWELS[vowel]
        formants[sung] = targets[0]
        if len(targets) > 1:
            formants[(time >= note.start + 0.6 * note.seconds) & sung] = targets[1]
        if kind == "voiced":
            formants[(time >= begin) & (time < note.start)] = how[0]
        elif kind in ("noise", "burst"):
            loud[(time >= begin) & (time < note.start)] = 0
            length = lead if kind == "noise" else 0.03
            low, high = np.array(how[0]) * voice.tract**0.5
            hiss = band(draw.standard_normal(int(length * rate)), low, high, rate)
            shape = np.hanning(len(hiss)) ** 0.5 if kind == "noise" else np.exp(-np.arange(len(hiss)) / (0.008 * rate))
            add(noise, hiss * shape * how[1] * note.velocity, int((note.start - length) * rate))
    known = ~np.isnan(pitch)
    if not known.any():
        return np.full(len(time), 60.0), loud, _all_formants(voice, np.full((len(time), 3), 500.0)), noise
    hold = np.maximum.accumulate(np.where(known, np.arange(len(time)), np.argmax(known)))
    glide, articulate = (np.hanning(n) / np.hanning(n).sum() for n in (17, 13))
    pitch = np.convolve(np.pad(pitch[hold], 8, "edge"), glide, "valid") + np.convolve(np.pad(bend, 8, "edge"), glide, "valid")
    shaped = ~np.isnan(formants[:, 0])
    hold = np.maximum.accumulate(np.where(shaped, np.arange(len(time)), np.argmax(shaped)))
    moved = np.stack([np.convolve(np.pad(column, 8, "edge"), glide, "valid") for column in formants[hold].T], axis=1)
    loud = np.convolve(np.pad(loud, 6), articulate, "valid")
    return pitch, np.where(loud > 1e-4, loud, 0), _all_formants(voice, moved), noise


def _all_formants(voice: Voice, first: np.ndarray) -> np.ndarray:
    """Join the moving formants (frames, 3) with the fixed high ones, scaled to the tract: (frames, 8) in Hz."""
    return voice.tract * np.concatenate([first, np.broadcast_to(_HIGH_FORMANTS, (len(first), len(_HIGH_FORMANTS)))], axis=1)


def _source(voice: Voice, frequency: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """Give the LF pulse's complex spectrum at `frequency` Hz: the glottal formant, turned round in time, and the tilt."""
    ratio = 1j * frequency / (1.3 * f0)
    pulse = np.conj(ratio / (1 + ratio / 0.9 + ratio**2)) / (1 + 1j * frequency / voice.tilt_hz)
    # The lift of the treble that close microphones and their engineers add: 3 dB at 3 kHz, 7 at 6.
    return pulse * (1 + 1j * frequency / 3000)


def _tract(voice: Voice, frequency: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """Give the cascade of resonators (frames, 8) at `frequency` (frames, harmonics), complex, 1 at 0 Hz."""
    response = np.ones(frequency.shape, dtype=np.complex128)
    for index, width in enumerate(_BANDWIDTHS * voice.tract):
        centre = formants[:, index, None]
        response /= 1 - (frequency / centre) ** 2 + 1j * frequency * width / centre**2
    return response
