"""Describe the 128 instruments of General MIDI and make single notes of them.

Most are patches of `songfoundry.synth`; what is struck and rings (piano, mallets, bells) is a sum of decaying modes, which
is in tune by construction and, as a product of two small matrices, costs less than any filter.
"""

from dataclasses import dataclass, replace

import numpy as np

from songfoundry import synth
from songfoundry.synth import Patch

__all__ = ["INSTRUMENTS", "Instrument", "Modes", "note", "ring"]


_CHORUS = 0.33
"""Level of the detuned voices of an ensemble against the one that leads."""


@dataclass(frozen=True)
class Modes:
    """Describe a body that is struck and rings in modes.

    ``ratios`` of the modes to the fundamental, or None for the stretched harmonics of a stiff string; ``levels``, linear
    (None: 1 / number, with a notch where the hammer strikes). ``seconds``: time constant of the fundamental at middle C,
    halved every two octaves up; ``fall``: how much faster a mode dies for each multiple of the fundamental. ``hard``:
    octaves above the fundamental, at full velocity, where the strike's spectrum has fallen to 1/e. ``knock``: level of the
    noise of the blow.
    """

    ratios: tuple[float, ...] | None = None
    levels: tuple[float, ...] | None = None
    seconds: float = 2.0
    fall: float = 0.15
    hard: float = 3.0
    knock: float = 0.1


@dataclass(frozen=True)
class Instrument:
    """Describe what plays a program.

    ``release``: seconds to silence once the key is up. ``trim``: dB against the other instruments. ``breath``: level of
    the noise of blowing, or of a bow. ``drive``: how hard it is overdriven, 0 for not at all. ``vowel``: one of
    `synth.VOWELS` whose formants colour it. ``reference``: the MIDI pitch at which its loudness is set.
    """

    sound: Patch | Modes
    release: float = 0.12
    trim: float = 0.0
    breath: float = 0.0
    drive: float = 0.0
    vowel: str = ""
    reference: int = 60

    @property
    def sustains(self) -> bool:
        """Tell whether a held note goes on for ever."""
        return isinstance(self.sound, Patch) and self.sound.kind in ("saw", "square", "organ") and self.sound.sustain > 0.05


def _patch(kind: str, attack: float, decay: float, sustain: float, bright: float = 2.5, sweep: float = 1.5, **more) -> Patch:
    return Patch(kind, attack=attack, decay=decay, sustain=sustain, bright=bright, sweep=sweep, **more)


def _string(decay: float, bright: float, sweep: float = 1.0, release: float = 0.12, **more) -> Instrument:
    return Instrument(_patch("string", 0.002, decay, 1.0, bright, sweep), release, **more)


def _bowed(attack: float, bright: float, copies: int, detune: float, release: float = 0.2, **more) -> Instrument:
    return Instrument(_patch("saw", attack, 1.5, 0.85, bright, 0.4, copies=copies, detune=detune), release, **more)


def _bar(ratios: tuple[float, ...], levels: tuple[float, ...], seconds: float, release: float = 0.5, **more) -> Instrument:
    trim = more.pop("trim", 0.0)
    return Instrument(Modes(ratios, levels, seconds, **more), release, trim)


def _wind(kind: str, attack: float, bright: float, sweep: float, breath: float = 0.0, **more) -> Instrument:
    return Instrument(_patch(kind, attack, 0.6, 0.85, bright, sweep), 0.1, breath=breath, **more)


def _lead(kind: str, bright: float, copies: int = 3, detune: float = 4.0, **more) -> Instrument:
    return Instrument(_patch(kind, 0.006, 0.5, 0.8, bright, 1.0, copies=copies, detune=detune), 0.12, **more)


def _pad(kind: str, attack: float, bright: float, sweep: float = 0.5, detune: float = 6.0, **more) -> Instrument:
    return Instrument(_patch(kind, attack, 3.0, 0.85, bright, sweep, copies=5, detune=detune), 0.7, **more)


# Ratios of modes: bars and bells after Fletcher and Rossing, "The Physics of Musical Instruments" (2nd ed., chapters 19-21).
_FREE_BAR = (1.0, 2.756, 5.404, 8.933)
_MARIMBA = (1.0, 3.9, 9.2)
_XYLOPHONE = (1.0, 3.0, 6.1)
_VIBRAPHONE = (1.0, 4.0, 10.0)
_BELL = (0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0)
_KETTLE = (1.0, 1.504, 1.742, 2.0, 2.245, 2.494)
_DRUM = (1.0, 1.59, 2.14, 2.30, 2.65)
_STEEL = (1.0, 2.0, 3.0, 4.05, 5.1)
_TINE = (1.0, 6.27, 17.55)
_LEVELS = (1.0, 0.4, 0.2, 0.1)

_PIANO = Modes(None, None, 2.4, 0.16, 3.3, 0.08)

INSTRUMENTS: tuple[Instrument, ...] = (
    # 0-7 piano: grand, bright, electric grand, honky-tonk, two electric pianos, harpsichord, clavinet
    Instrument(_PIANO, 0.18),
    Instrument(replace(_PIANO, hard=3.9, seconds=2.1), 0.18),
    Instrument(replace(_PIANO, hard=3.0, seconds=1.6, knock=0.03), 0.18),
    Instrument(replace(_PIANO, hard=4.2, seconds=1.2, knock=0.12), 0.14),
    Instrument(_patch("keys", 0.003, 1.8, 0.0, sweep=1.2), 0.2),
    Instrument(_patch("keys", 0.003, 1.3, 0.05, sweep=2.6), 0.2),
    _string(1.6, 5.0, 1.5, 0.08),
    Instrument(_patch("square", 0.002, 0.5, 0.1, 3.0, 2.0), 0.06),
    # 8-15 mallets and bells: celesta, glockenspiel, music box, vibraphone, marimba, xylophone, tubular bells, dulcimer
    _bar(_FREE_BAR, (1.0, 0.25, 0.06, 0.02), 0.9),
    _bar(_FREE_BAR, (1.0, 0.4, 0.2, 0.1), 1.6, 1.2),
    _bar((1.0, 2.0, 5.4, 8.9), (1.0, 0.3, 0.2, 0.1), 0.8, 0.8),
    _bar(_VIBRAPHONE, (1.0, 0.2, 0.05), 2.5, 0.6, fall=0.3),
    _bar(_MARIMBA, (1.0, 0.3, 0.08), 0.4, fall=0.6),
    _bar(_XYLOPHONE, (1.0, 0.4, 0.2), 0.22, fall=0.4, hard=4.0, knock=0.2),
    _bar((1.0, 1.5, 2.0, 2.77, 3.66, 4.68), (1.0, 0.5, 0.7, 0.5, 0.3, 0.2), 2.5, 1.5),
    _string(1.5, 4.0, 2.0, 0.4),
    # 16-23 organs: drawbar, percussive, rock, church, reed, accordion, harmonica, tango accordion
    Instrument(_patch("organ", 0.008, 1.0, 1.0), 0.06),
    Instrument(_patch("organ", 0.004, 0.15, 0.6), 0.06),
    Instrument(_patch("organ", 0.006, 1.0, 1.0), 0.06, drive=1.5),
    Instrument(_patch("organ", 0.05, 1.0, 1.0), 0.35),
    _wind("square", 0.04, 2.6, 0.2),
    Instrument(_patch("saw", 0.03, 1.0, 0.9, 2.8, 0.2, copies=3, detune=5.0), 0.08),
    _wind("square", 0.03, 3.0, 0.4, 0.02),
    Instrument(_patch("saw", 0.03, 1.0, 0.9, 2.4, 0.2, copies=3, detune=3.0), 0.08),
    # 24-31 guitars: nylon, steel, jazz, clean, muted, overdriven, distorted, harmonics
    _string(0.9, 2.6, 1.5),
    _string(1.1, 3.8, 1.8),
    _string(1.0, 2.0, 1.0),
    _string(1.3, 3.4, 1.5),
    _string(0.12, 2.2, 1.0, 0.06),
    _string(2.5, 3.0, 1.5, drive=6.0),
    _string(4.0, 3.2, 1.8, drive=20.0),
    _string(1.5, 1.0, 0.5),
    # 32-39 basses: acoustic, fingered, picked, fretless, slap twice, synth twice
    _string(0.7, 2.2, 1.0, reference=40),
    _string(1.0, 2.8, 1.0, reference=40),
    _string(1.0, 3.8, 1.5, reference=40),
    Instrument(_patch("saw", 0.02, 1.2, 0.5, 2.2, 0.8), 0.1, reference=40),
    _string(0.9, 4.4, 2.0, reference=40),
    _string(0.7, 5.0, 2.0, reference=40),
    Instrument(_patch("saw", 0.004, 0.35, 0.5, 2.2, 2.4), 0.08, reference=40),
    Instrument(_patch("square", 0.004, 0.5, 0.6, 2.0, 1.6), 0.08, reference=40),
    # 40-47 strings: violin, viola, cello, contrabass, tremolo, pizzicato, harp, timpani
    _bowed(0.07, 3.2, 3, 2.0, breath=0.01),
    _bowed(0.08, 2.8, 3, 2.0, breath=0.01),
    _bowed(0.08, 2.8, 3, 2.0, breath=0.01),
    _bowed(0.10, 2.4, 3, 2.0, breath=0.01, reference=48),
    _bowed(0.06, 3.0, 5, 7.0),
    _string(0.25, 2.4, 0.8, 0.1),
    _string(1.6, 2.4, 1.2, 0.6),
    Instrument(Modes(_KETTLE, (1.0, 0.7, 0.4, 0.35, 0.2, 0.15), 0.7, 0.3, 2.5, 0.3), 0.8, reference=45),
    # 48-55 ensembles: strings, slow strings, synth strings twice, three choirs, orchestra hit
    _bowed(0.10, 2.8, 5, 7.0, 0.35),
    _bowed(0.30, 2.4, 5, 7.0, 0.5),
    _bowed(0.08, 2.8, 5, 8.0, 0.4),
    _bowed(0.25, 2.2, 5, 8.0, 0.6),
    _bowed(0.10, 2.6, 5, 6.0, 0.3, vowel="a", breath=0.03),
    _bowed(0.08, 2.6, 5, 6.0, 0.25, vowel="o", breath=0.03),
    _bowed(0.06, 2.6, 5, 6.0, 0.25, vowel="u", breath=0.02),
    Instrument(_patch("saw", 0.004, 0.25, 0.0, 3.5, 1.5, copies=5, detune=8.0), 0.3),
    # 56-63 brass: trumpet, trombone, tuba, muted trumpet, French horn, section, synth brass twice
    _wind("saw", 0.03, 2.6, 1.2),
    _wind("saw", 0.04, 2.2, 1.2),
    _wind("saw", 0.05, 1.6, 0.8, reference=45),
    _wind("square", 0.03, 3.4, 0.6),
    _wind("saw", 0.06, 1.4, 0.6),
    Instrument(_patch("saw", 0.04, 0.6, 0.85, 2.6, 1.2, copies=3, detune=6.0), 0.12),
    Instrument(_patch("saw", 0.02, 0.5, 0.75, 2.4, 2.0, copies=3, detune=5.0), 0.15),
    Instrument(_patch("saw", 0.05, 0.5, 0.75, 1.8, 1.6, copies=3, detune=5.0), 0.2),
    # 64-71 reeds: four saxophones, oboe, English horn, bassoon, clarinet
    _wind("saw", 0.03, 2.4, 0.5, 0.04),
    _wind("saw", 0.03, 2.2, 0.6, 0.04),
    _wind("saw", 0.03, 2.2, 0.6, 0.05),
    _wind("saw", 0.04, 2.2, 0.6, 0.05, reference=48),
    _wind("saw", 0.03, 3.0, 0.2, 0.02),
    _wind("saw", 0.04, 2.6, 0.2, 0.02),
    _wind("saw", 0.04, 2.2, 0.2, 0.02, reference=48),
    _wind("square", 0.04, 2.0, 0.2, 0.02),
    # 72-79 pipes: piccolo, flute, recorder, pan flute, bottle, shakuhachi, whistle, ocarina
    _wind("saw", 0.04, 0.6, 0.2, 0.06),
    _wind("saw", 0.05, 0.4, 0.2, 0.08),
    _wind("square", 0.03, 0.6, 0.2, 0.04),
    _wind("square", 0.05, 0.3, 0.4, 0.20),
    _wind("square", 0.06, 0.1, 0.2, 0.25),
    _wind("saw", 0.05, 0.6, 0.6, 0.20),
    _wind("square", 0.03, 0.0, 0.0, 0.03),
    _wind("square", 0.04, 0.2, 0.0, 0.05),
    # 80-87 leads: square, saw, calliope, chiff, charang, voice, fifths (their second voice is a choir here), bass and lead
    _lead("square", 3.5),
    _lead("saw", 3.5),
    _lead("square", 1.0, detune=2.5, breath=0.06),
    _lead("square", 1.6, breath=0.06),
    _lead("saw", 3.0, drive=4.0),
    _lead("saw", 2.6, vowel="a"),
    _lead("saw", 3.0, 5, 6.0),
    _lead("saw", 2.6, 3, 6.0, drive=2.0),
    # 88-95 pads: new age, warm, polysynth, choir, bowed, metallic, halo, sweep
    _pad("saw", 0.05, 2.4),
    _pad("saw", 0.30, 1.4),
    _pad("saw", 0.05, 2.8, 1.0),
    _pad("saw", 0.25, 2.4, vowel="a"),
    _pad("square", 0.30, 2.0),
    _pad("square", 0.20, 3.2),
    _pad("saw", 0.40, 2.0, vowel="u"),
    _pad("saw", 0.50, 1.2, 3.0),
    # 96-103 synth effects: rain, soundtrack, crystal, atmosphere, brightness, goblins, echoes, sci-fi
    _bar((1.0, 2.0, 3.01, 5.02), _LEVELS, 1.0, 0.8),
    _pad("saw", 0.35, 1.8, 1.5),
    _bar((1.0, 2.76, 4.1, 6.3), _LEVELS, 1.2, 1.0, hard=4.0),
    _string(2.0, 3.0, 1.5, 0.8),
    _pad("saw", 0.02, 3.6, 0.5),
    _pad("square", 0.50, 1.4, 2.0),
    Instrument(_patch("saw", 0.01, 0.8, 0.3, 2.4, 1.5, copies=3, detune=5.0), 0.9),
    _pad("square", 0.10, 2.4, 2.0),
    # 104-111 plucked and blown elsewhere: sitar, banjo, shamisen, koto, kalimba, bagpipe, fiddle, shanai
    _string(1.4, 5.0, 2.0),
    _string(0.35, 4.4, 2.0),
    _string(0.45, 4.0, 2.0),
    _string(1.0, 3.4, 2.0, 0.4),
    _bar(_TINE, (1.0, 0.2, 0.05), 0.6, fall=0.1),
    _wind("square", 0.03, 3.2, 0.0),
    _bowed(0.05, 3.4, 3, 2.0, breath=0.015),
    _wind("saw", 0.03, 3.4, 0.3, 0.03),
    # 112-119 percussion with a pitch: tinkle bell, agogo, steel drums, woodblock, taiko, tom, synth drum, reverse cymbal
    _bar(_BELL[1:], (1.0, 0.5, 0.3, 0.4, 0.3, 0.2, 0.2), 0.8, 0.6),
    _bar((1.0, 1.5, 2.6), (1.0, 0.6, 0.3), 0.3),
    _bar(_STEEL, (1.0, 0.7, 0.3, 0.2, 0.1), 0.6),
    _bar((1.0, 2.4, 4.1), (1.0, 0.4, 0.2), 0.09, knock=0.3),
    _bar(_DRUM, (1.0, 0.5, 0.3, 0.2, 0.15), 0.35, 0.6, knock=0.6, hard=2.0),
    _bar(_DRUM, (1.0, 0.4, 0.25, 0.2, 0.1), 0.22, 0.5, knock=0.4, hard=2.5),
    _bar((1.0, 2.0), (1.0, 0.2), 0.2, 0.4, knock=0.1),
    Instrument(_patch("saw", 0.8, 3.0, 0.9, 3.5, 0.0, copies=5, detune=6.0), 0.1, -8.0, breath=1.0),
    # 120-127 effects, each with a tone at its pitch: fret noise, breath, seashore, bird, telephone, helicopter, applause, gunshot
    _string(0.1, 5.0, 2.0, trim=-6.0),
    _wind("square", 0.08, 0.0, 0.0, 1.0, trim=-6.0),
    Instrument(_patch("square", 0.6, 3.0, 0.9, 0.0, 0.0), 1.0, -8.0, breath=3.0),
    _wind("square", 0.02, 0.0, 0.0, 0.02, trim=-3.0),
    _bar((1.0, 1.34, 2.7), (1.0, 0.8, 0.2), 0.8, trim=-3.0),
    Instrument(_patch("square", 0.2, 3.0, 0.9, 1.0, 0.0), 0.3, -8.0, breath=1.5),
    Instrument(_patch("square", 0.3, 3.0, 0.9, 0.5, 0.0), 0.5, -8.0, breath=3.0),
    _bar(_DRUM, (1.0, 0.6, 0.4, 0.3, 0.2), 0.12, 0.3, knock=2.0),
)
"""What plays each General MIDI program, 0 to 127."""


def note(instrument: Instrument, pitch: float, seconds: float, velocity: float, rate: int, draw: np.random.Generator) -> np.ndarray:
    """Play one note with its key held to the end.

    Args:
        instrument: what plays it.
        pitch: MIDI note number, 69 is 440 Hz.
        seconds: length.
        velocity: 0 to 1; it changes the colour, the level only by the way.
        rate: samples a second.
        draw: where phases and noises come from.

    Returns:
        float32 (1 or 2, samples); silence where the fundamental lies above 0.45 of the rate.
    """
    samples = max(1, round(seconds * rate))
    if synth.hertz(pitch) > 0.45 * rate:
        return np.zeros((1, samples), np.float32)
    sound = instrument.sound
    if isinstance(sound, Modes):
        wave = _struck(sound, pitch, samples, velocity, rate, draw)[None]
    else:
        asked, colour = pitch, velocity
        if sound.kind == "string":
            # What `synth` plucks harder it also filters more.
            asked, colour = _corrected(pitch, rate), 1.05 - velocity
        # The envelope's release is laid on where the note ends, which is not known here.
        held = replace(sound, release=0.001, copies=1)
        wave = synth.play(held, (asked,), (samples + 1) / rate, colour, rate, draw)[:, :samples]
        if sound.copies > 1:
            # One voice in tune leads the detuned ones: by themselves they beat, and the pitch wanders with their phases.
            chorus = replace(held, copies=sound.copies - 1)
            wave = wave + _CHORUS * synth.play(chorus, (asked,), (samples + 1) / rate, colour, rate, draw)[:, :samples]
        else:
            wave = wave[:1]
        wave = wave * (velocity / colour)
    frequency = float(synth.hertz(pitch))
    if instrument.breath:
        hiss = synth.band(draw.standard_normal(samples), 0.7 * frequency, max(3000.0, 4 * frequency), rate)
        attack = 0.01 if isinstance(sound, Modes) else sound.attack
        wave = wave + instrument.breath * hiss * np.minimum(1, np.arange(samples) / (attack * rate))
    if instrument.vowel:
        sung = sum(synth.band(wave, 0.85 * f, 1.15 * f, rate, 1) * gain
                   for f, gain in zip(synth.VOWELS[instrument.vowel][0], (1.0, 0.7, 0.4), strict=True))  # fmt: skip
        wave = 0.35 * wave + sung
    if instrument.drive:
        wave = np.tanh(instrument.drive * wave) / np.tanh(instrument.drive)
    return wave.astype(np.float32)


def _corrected(pitch: float, rate: int) -> float:
    """Give the pitch to ask of `synth`'s plucked string so that it sounds at `pitch`.

    The two pairs of taps in its loop delay the fundamental of a high note by less than they delay low frequencies, by up to
    40 cents four octaves above middle C.
    """
    period = rate / float(synth.hertz(pitch))
    turn = 2 * np.pi / period

    def delay(share: float) -> float:
        return float(np.arctan2(share * np.sin(turn), 1 - share + share * np.cos(turn)) / turn)

    asked = period
    for _ in range(8):
        whole = int(asked - 0.3)
        asked += period - (whole + delay(0.3) + delay(asked - 0.3 - whole))
    return 69.0 + 12.0 * float(np.log2(rate / asked / 440.0))


def _struck(modes: Modes, pitch: float, samples: int, velocity: float, rate: int, draw: np.random.Generator) -> np.ndarray:
    """Strike a body: float64 (samples,)."""
    fundamental = float(synth.hertz(pitch))
    if modes.ratios is None:
        # Inharmonicity of piano strings: 0.0002 in the middle, doubling every eight keys above; wound strings have as much.
        number = np.arange(1, 1 + max(1, min(64, int(11000 / fundamental))))
        stiff = 2e-4 * 2.0 ** (abs(pitch - 50) / 9)
        ratios = number * np.sqrt((1 + stiff * number**2) / (1 + stiff))
        levels = np.abs(np.sin(np.pi * number / 7.6)) / number**0.8 + 0.02 / number
    else:
        ratios, levels = np.array(modes.ratios), np.array(modes.levels)
    # A hard blow excites higher modes: the spectrum falls to 1/e at `hard` octaves, fewer when softer; treble hammers are harder
    # in Hz but not by whole octaves.
    octaves = (modes.hard - 2.0 * (1 - velocity)) * min(1.0, 1.6 - pitch / 120)
    levels = levels * np.exp(-np.maximum(ratios - 1, 0) / 2.0 ** max(octaves, 0.3))
    first = modes.seconds * 2.0 ** ((60 - pitch) / 24)
    wave = ring(fundamental * ratios, levels, first / (1 + modes.fall * np.maximum(ratios - 1, 0)), samples, rate)
    time = np.arange(samples) / rate
    if modes.ratios is None:
        # Strings first give their vertical motion to the bridge, then live on from the horizontal one.
        wave *= 0.55 + 0.45 * np.exp(-time / (0.12 * first))
    short = min(samples, round(0.03 * rate))
    blow = synth.band(draw.standard_normal(short), 0.5 * fundamental, 4000.0, rate) * np.exp(-time[:short] / 0.006)
    wave[:short] += modes.knock * velocity * blow * levels.sum()
    return wave * np.minimum(1, time / 0.001)


def ring(hertz: np.ndarray, levels: np.ndarray, seconds: np.ndarray, samples: int, rate: int) -> np.ndarray:
    """Sum decaying sines that begin at 0: float64 (samples,).

    Args:
        hertz: float (modes,); those above 0.45 of the rate are left out.
        levels: float (modes,), linear.
        seconds: float (modes,), time constants.
        samples: length.
        rate: samples a second.
    """
    kept = hertz < 0.45 * rate
    step = max(1, int(np.sqrt(samples)))
    turn = (-1 / np.maximum(seconds[kept], 1e-3) + 2j * np.pi * hertz[kept]) / rate
    # exp(turn * (frame * step + n)) is a product: two small tables and a matrix product instead of a sine for every sample.
    frames = np.exp(np.arange(-(-samples // step))[:, None] * (step * turn)[None, :]) * levels[kept]
    within = np.exp(turn[:, None] * np.arange(step)[None, :])
    return (frames.astype(np.complex64) @ within.astype(np.complex64)).imag.ravel()[:samples].astype(np.float64)
