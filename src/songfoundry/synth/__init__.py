"""Synthesise drums, pitched instruments and a singing voice from nothing but numpy and scipy.

Pure functions of their arguments: chance comes in as a `numpy.random.Generator`. Every function gives float64 samples
at `rate` Hz; levels are nominal (about 1 at velocity 1) and set by whoever mixes.
"""

from songfoundry.synth.instruments import Kit, Patch, envelope, hit, play, saw, sweep_lowpass
from songfoundry.synth.singer import CONSONANTS, VOWELS, Note, Voice, sing
from songfoundry.synth.sounds import band, hertz, place, reverberate

__all__ = [
    "CONSONANTS", "VOWELS", "Kit", "Note", "Patch", "Voice", "band", "envelope", "hertz", "hit", "place", "play", "reverberate", "saw",
    "sing", "sweep_lowpass",
]  # fmt: skip
