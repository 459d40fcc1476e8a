"""Play pitched instruments and hit drums."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import signal

from songfoundry.synth.sounds import band, hertz


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
