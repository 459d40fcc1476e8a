"""Synthesise drums, pitched instruments and a singing voice from nothing but numpy and scipy.

Pure functions of their arguments: chance comes in as a `numpy.random.Generator`. Every function gives float64 samples
at `rate` Hz; levels are nominal (about 1 at velocity 1) and set by whoever mixes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import signal


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
class Patch:
    """Describe a pitched instrument.

    ``kind``: ``saw`` and ``square`` are oscillators through a low-pass filter, ``string`` is plucked (Karplus-Strong),
    ``keys`` is two-operator FM, ``organ`` adds drawbars.
    """

    kind: str = "saw"
    #: Attack and release, seconds; time constant of the decay, seconds; level it decays to, 0 to 1.
    attack: float = 0.005
    release: float = 0.08
    decay: float = 0.4
    sustain: float = 0.6
    #: Low-pass cut-off of saw and square, in octaves above the note; and how much higher it starts; both also string, keys.
    bright: float = 2.5
    sweep: float = 1.5
    #: Detuned copies of the oscillator and their spread in cents; they lie left and right.
    copies: int = 1
    detune: float = 0.0


@dataclass(frozen=True)
class Kit:
    """Describe a drum kit: pitches in Hz, decays in seconds, noise as a share from 0 to 1."""

    kick_hz: float = 50.0
    kick_seconds: float = 0.16
    snare_hz: float = 185.0
    snare_seconds: float = 0.14
    snare_noise: float = 0.6
    hat_hz: float = 420.0
    hat_seconds: float = 0.035
    metal: float = 0.5


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


def hertz(pitch: float | np.ndarray) -> float | np.ndarray:
    """Give the frequency in Hz of a MIDI note number (fractions allowed; 69 is 440 Hz)."""
    return 440.0 * 2.0 ** ((np.asarray(pitch) - 69.0) / 12.0)


def band(noise: np.ndarray, low: float, high: float, rate: int, order: int = 2) -> np.ndarray:
    """Keep what lies between two frequencies in Hz; a `high` at or above half the rate leaves the top open."""
    low, top = min(max(low, 20.0), 0.4 * rate), 0.49 * rate
    if high >= top:
        return signal.sosfilt(signal.butter(order, low, "highpass", fs=rate, output="sos"), noise)
    return signal.sosfilt(signal.butter(order, (low, max(high, low * 1.1)), "bandpass", fs=rate, output="sos"), noise)


def saw(frequency: float, samples: int, rate: int, phase: float = 0.0) -> np.ndarray:
    """Make a sawtooth in [-1, 1] whose jumps are rounded off by polynomials, so that little of it aliases.

    Reference:
        Välimäki, Huovilainen 2007, "Antialiasing oscillators in subtractive synthesis" (PolyBLEP).
    """
    step = frequency / rate
    turn = (phase + step * np.arange(samples)) % 1.0
    wave = 2.0 * turn - 1.0
    after = turn < step
    wave[after] -= 2 * (t := turn[after] / step) - t * t - 1
    before = turn > 1 - step
    wave[before] -= (t := (turn[before] - 1) / step) * t + 2 * t + 1
    return wave


def sweep_lowpass(wave: np.ndarray, cutoff: np.ndarray, rate: int, block: int = 256) -> np.ndarray:
    """Filter (channels, samples) by a resonant low-pass whose cut-off in Hz is given for each block of samples."""
    out = np.empty_like(wave)
    state = np.zeros((1, len(wave), 2))
    corners = np.clip(cutoff, 30, 0.45 * rate) * (2 * np.pi / rate)
    cosines, alphas = np.cos(corners), np.sin(corners) / (2 * 0.9)
    for index, (cosine, alpha) in enumerate(zip(cosines, alphas, strict=True)):
        # RBJ cookbook low-pass, Q 0.9: a slight resonance.
        section = np.array([[(1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2, 1 + alpha, -2 * cosine, 1 - alpha]]) / (1 + alpha)
        span = slice(index * block, (index + 1) * block)
        out[:, span], state = signal.sosfilt(section, wave[:, span], zi=state)
    return out


def envelope(patch: Patch, held: int, samples: int, rate: int) -> np.ndarray:
    """Draw the loudness of a note that is held for `held` of its `samples`: attack, decay to the sustain, release."""
    time = np.arange(samples) / rate
    level = patch.sustain + (1 - patch.sustain) * np.exp(-time / patch.decay)
    level *= np.minimum(1.0, time / patch.attack)
    release = np.clip(1 - (np.arange(samples) - held) / (patch.release * rate), 0, 1)
    return level * release**2


def play(patch: Patch, pitches: Sequence[float], seconds: float, velocity: float, rate: int, draw: np.random.Generator):
    """Play a note or a chord on a patch.

    Args:
        patch: the instrument.
        pitches: MIDI note numbers that sound together.
        seconds: how long the keys are held; the release comes on top.
        velocity: 0 to 1; louder is brighter.
        rate: samples a second.
        draw: where starting phases and pluck noise come from.

    Returns:
        float64 (2, samples), left and right.
    """
    held = max(1, int(seconds * rate))
    samples = held + int(patch.release * rate)
    wave = np.zeros((2, samples))
    time = np.arange(samples) / rate
    for pitch in pitches:
        frequency = float(hertz(pitch))
        if patch.kind in ("saw", "square"):
            for copy in range(patch.copies):
                side = 2 * copy / (patch.copies - 1) - 1 if patch.copies > 1 else 0.0
                tuned, phase = frequency * 2 ** (side * patch.detune / 1200), draw.random()
                tone = saw(tuned, samples, rate, phase)
                if patch.kind == "square":
                    tone = tone - saw(tuned, samples, rate, phase + 0.5)
                wave += np.array([[1 - 0.7 * side], [1 + 0.7 * side]]) * tone / patch.copies
        elif patch.kind == "string":
            wave += _string(frequency, samples, patch, velocity, rate, draw)
        elif patch.kind == "keys":
            turn = 2 * np.pi * frequency * time
            index = velocity * (0.4 + patch.sweep * np.exp(-time / (0.3 * patch.decay)))
            tine = 0.25 * velocity * np.sin(turn + np.sin(7 * turn)) * np.exp(-time / 0.08)
            wave += np.sin(turn + index * np.sin(turn)) + tine
        elif patch.kind == "organ":
            bars = ((1, 1.0), (2, 0.6), (3, 0.35), (4, 0.25), (6, 0.12), (8, 0.1))
            wave += sum(gain * np.sin(2 * np.pi * n * frequency * time) for n, gain in bars if n * frequency < 0.45 * rate)
    if patch.kind in ("saw", "square"):
        blocks = np.arange(-(-samples // 256)) * 256 / rate
        octaves = patch.bright + patch.sweep * np.exp(-blocks / (0.5 * patch.decay)) + 1.5 * (velocity - 0.8)
        wave = sweep_lowpass(wave, hertz(np.mean(pitches)) * 2.0**octaves, rate)
    return wave * (envelope(patch, held, samples, rate) * velocity / np.sqrt(len(pitches)))


def _string(frequency: float, samples: int, patch: Patch, velocity: float, rate: int, draw: np.random.Generator) -> np.ndarray:
    """Pluck a string: a loop of filtered noise (Karplus, Strong 1983); one pair of taps darkens it, another tunes it."""
    period = rate / frequency
    damping = 0.3
    whole = int(period - damping)
    share = period - damping - whole
    # The taps' weights sum to the gain, below 1, so that the loop dies away at every pitch.
    gain = np.exp(-3.0 * period / rate / max(patch.decay, 0.05))
    pluck = draw.standard_normal(whole + 1)
    pluck = signal.lfilter([1 - 0.5 * velocity], [1, -0.5 * velocity], pluck - pluck.mean())
    pluck = band(pluck, 20, min(frequency * 2 ** (patch.bright + patch.sweep), 0.48 * rate), rate, order=1)
    loop = np.zeros(whole + 3)
    loop[0], loop[whole:] = 1.0, -gain * np.convolve([1 - damping, damping], [1 - share, share])
    return signal.lfilter([1.0], loop, np.pad(pluck[:samples], (0, max(0, samples - len(pluck)))))


def hit(kit: Kit, piece: str, velocity: float, rate: int, draw: np.random.Generator) -> np.ndarray:
    """Hit one piece of a kit: kick, snare, hat, open, crash, ride, clap, tom1, tom2 or tom3.

    Returns:
        float64 (samples,).
    """
    long = {"crash": 1.6, "ride": 0.7, "open": 0.4, "kick": 0.5, "clap": 0.35}.get(piece, 0.45)
    time = np.arange(int(long * rate)) / rate
    noise = draw.standard_normal(len(time))
    fade = np.minimum(1, (time[-1] - time) / 0.02)
    if piece == "kick" or piece.startswith("tom"):
        base = kit.kick_hz if piece == "kick" else kit.kick_hz * {"tom1": 3.4, "tom2": 2.6, "tom3": 1.9}[piece]
        drop = 2.4 if piece == "kick" else 0.5
        turn = 2 * np.pi * base * (time + drop * 0.03 * (1 - np.exp(-time / 0.03)))
        body = np.sin(turn) * np.exp(-time / kit.kick_seconds)
        click = band(noise, 1500, 6000, rate) * np.exp(-time / 0.004)
        sound = np.tanh(1.5 * body) + 0.4 * velocity * click
    elif piece == "snare":
        shell = sum(np.sin(2 * np.pi * kit.snare_hz * ratio * time) for ratio in (1.0, 1.83)) * np.exp(-time / 0.06)
        wires = band(noise, 1200, 9000, rate) * np.exp(-time / kit.snare_seconds)
        sound = (1 - kit.snare_noise) * shell + kit.snare_noise * 1.6 * wires
        sound += 0.5 * velocity * band(noise, 2000, 1e9, rate) * np.exp(-time / 0.006)
    elif piece == "clap":
        bursts = sum(np.exp(-np.maximum(time - d, 0) / 0.008) * (time >= d) for d in (0.0, 0.011, 0.022))
        sound = band(noise, 900, 5000, rate) * (bursts + 0.6 * np.exp(-time / 0.09))
    else:
        # Six detuned squares make the metal (as in the analogue drum machines of 1980), noise the air.
        squares = sum(np.sign(np.sin(2 * np.pi * kit.hat_hz * r * time)) for r in (1.0, 1.34, 1.62, 1.93, 2.36, 2.81))
        floor = {"crash": 2500, "ride": 4000}.get(piece, 6500)
        sound = band(kit.metal * squares / 2 + (1 - kit.metal) * noise, floor, 1e9, rate)
        decay = {"hat": kit.hat_seconds, "open": 0.14, "ride": 0.22, "crash": 0.5}[piece]
        sound = sound * np.exp(-time / decay) * (0.6 if piece == "crash" else 0.5)
    return sound * fade * velocity


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
            _add(noise, hiss * shape * how[1] * note.velocity, int((note.start - length) * rate))
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


def _add(track: np.ndarray, sound: np.ndarray, start: int) -> None:
    """Add a sound to a track (the last axis is time) at a sample, cut to what lies inside."""
    first, last = max(0, start), min(track.shape[-1], start + sound.shape[-1])
    if last > first:
        track[..., first:last] += sound[..., first - start : last - start]


def place(track: np.ndarray, sound: np.ndarray, seconds: float, rate: int) -> None:
    """Add a sound to a track in place, beginning at a time in seconds; what lies outside the track is cut off.

    Args:
        track: float (channels, samples) or (samples,).
        sound: float of the same channels.
        seconds: where the sound begins.
        rate: samples a second.
    """
    _add(track, sound, round(seconds * rate))


def reverberate(dry: np.ndarray, seconds: float, amount: float, rate: int, draw: np.random.Generator) -> np.ndarray:
    """Add a room to (2, samples): decaying noise of `seconds` (to -60 dB), another one left than right."""
    time = np.arange(int(seconds * rate)) / rate
    tail = draw.standard_normal((2, len(time))) * np.exp(-6.9 * time / seconds) * np.minimum(1, time / 0.01)
    tail = band(tail, 250, 6000, rate, order=1)
    tail /= np.sqrt((tail**2).sum(axis=1, keepdims=True))
    wet = signal.oaconvolve(dry, tail, axes=-1)[:, : dry.shape[1]]
    # The convolution's rounding noise would make silence sound, at -300 dB, and every score of silence count it.
    wet[np.abs(wet) < 1e-9] = 0
    return dry + amount * wet
