"""Make songs of driven electric guitars alone, for separation to mix: clean guitars of MIDI bands through an amplifier of our own.

    python recipes/guitars.py --midi midi/multitrack.zip --soundfont FluidR3_GM.sf2 --out rendered/guitars --count 80

A SoundFont's distorted guitars are single notes added up; what makes a driven guitar is that a chord goes through one amplifier and
comes out as one sound. So the parts are played clean, dry and twice (two takes, one on each side), and each take goes through a
pre-amplifier, a valve and a cabinet. The only stem is other. Song n is a function of (seed, n) and the sources alone; songs that
are there already are kept.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
from scipy.signal import butter, sosfilt

from songfoundry import notes
from songfoundry.audio.io import write
from songfoundry.data.augment import echo, reverberate
from songfoundry.data.bands import choose_excerpt, midi_files
from songfoundry.errors import InputError

RATE = 44100
OVERSAMPLING = 4
CLEAN = (25, 26, 27, 28)  # General MIDI: steel, jazz, clean, muted guitar, counted from 0
GUITARS = range(24, 32)


def amplify(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Drive one clean guitar, float64 (samples,) at `RATE` Hz, through pre-amplifier, valve and cabinet, all drawn."""
    samples = samples / max(float(np.sqrt(np.mean(samples**2))), 1e-6)
    # Bass is cut before the valve and brought back after it: a chord's low notes would swallow it.
    samples = sosfilt(butter(1, rng.uniform(100, 700), "high", fs=RATE, output="sos"), samples)
    drive, bias = 10 ** (rng.uniform(0, 40) / 20), rng.uniform(0, 0.4)
    fine = soxr.resample(samples, RATE, RATE * OVERSAMPLING)
    fine = np.tanh(drive * fine + bias) - np.tanh(bias)
    driven = soxr.resample(fine, RATE * OVERSAMPLING, RATE)[: len(samples)]
    driven = sosfilt(butter(1, 30, "high", fs=RATE, output="sos"), driven)
    # A twelve-inch loudspeaker: nothing above 4 to 6 kHz, a hump at its resonance, another where its cone breaks up.
    cabinet = sosfilt(butter(4, rng.uniform(3500, 6500), "low", fs=RATE, output="sos"), driven)
    for centre, most in ((rng.uniform(90, 140), 0.8), (rng.uniform(1800, 3500), 1.0)):
        band = butter(1, [centre / 1.4, centre * 1.4], "band", fs=RATE, output="sos")
        cabinet = cabinet + rng.uniform(0, most) * sosfilt(band, driven)
    return np.pad(cabinet, (0, max(0, len(samples) - len(cabinet))))


def drawn_parts(score, rng: np.random.Generator, seconds: float) -> tuple[list[notes.Part], float]:
    """Draw an excerpt, and of it one or two parts that a guitar may play, moved into its compass."""
    pieces = [part for part in notes.parts(score) if part.group == "other" and len(part.starts) > 20]
    own = [part for part in pieces if part.program in GUITARS] or pieces
    if not own:
        raise InputError("expected a part that a guitar may play, found none: leave the file out")
    chosen = [own[n] for n in rng.permutation(len(own))[: int(rng.integers(1, 3))]]
    start, length = choose_excerpt(chosen, seconds, rng)
    moved = []
    for part in chosen:
        part = part.keep((part.starts >= start) & (part.starts < start + length))
        if not len(part.starts):
            continue
        octaves = 12 * round((rng.choice([48, 52, 64, 70]) - float(np.median(part.pitches))) / 12)
        pitches = np.clip(part.pitches + octaves + int(rng.integers(-4, 5)), 38, 88)
        part = replace(part, pitches=pitches, starts=part.starts - start, controls=np.zeros((0, 3)), bends=np.zeros((0, 2)))
        if np.median(pitches) < 57 and rng.random() < 0.6:
            part = power_chords(part)
        moved.append(part)
    if not moved:
        raise InputError("expected notes in the excerpt, found none: leave the file out")
    return moved, length


def power_chords(part: notes.Part) -> notes.Part:
    """Give every note its fifth and its octave."""
    three = {name: np.tile(getattr(part, name), 3) for name in ("starts", "durations", "velocities")}
    pitches = np.concatenate([part.pitches, part.pitches + 7, part.pitches + 12])
    return replace(part, pitches=pitches, **three)


def play(part: notes.Part, length: float, soundfont: str, rng: np.random.Generator) -> np.ndarray:
    """Play a part: float32 (2, samples), two takes apart in half of the cases."""
    takes = 2 if rng.random() < 0.5 else 1
    sound = np.random.default_rng(rng.integers(2**32))
    sides = rng.uniform(0.5, 1.0) if takes == 2 else rng.uniform(-0.5, 0.5)
    program = int(rng.choice(CLEAN))
    out = np.zeros((2, round(length * RATE)))
    state = sound.bit_generator.state
    for take in range(takes):
        sound.bit_generator.state = state  # the same amplifier for both takes
        late = np.abs(rng.normal(0, 0.008, len(part.starts)))
        velocities = np.clip(np.round(part.velocities * rng.uniform(0.85, 1.1, len(part.starts))), 1, 127).astype(int)
        taken = replace(part, program=program, is_drum=False, starts=part.starts + late, velocities=velocities)
        clean = notes.render([taken], soundfont, RATE, seconds=length, room=0.0, wet=0.0).mean(0).astype(float)
        if not np.any(clean):
            continue
        place = np.pi / 4 * (1 + (sides if take == 0 else -sides))
        out += amplify(clean, sound) * np.array([[np.cos(place)], [np.sin(place)]])
    return out.astype(np.float32)


def song(file, soundfont: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Make one song of guitars, float32 (2, samples) below full scale."""
    pieces, length = drawn_parts(file.read(), rng, seconds)
    samples = sum(play(part, length, soundfont, rng) * np.float32(10 ** (rng.uniform(-6, 0) / 20)) for part in pieces)
    if rng.random() < 0.3:
        samples = echo(samples, round(RATE * rng.uniform(0.1, 0.4)), rng.uniform(0.2, 0.5))
    if rng.random() < 0.6:
        samples = reverberate(samples, rng.uniform(0.3, 1.5), rng.uniform(0.1, 0.4), RATE, rng)
    return samples * np.float32(0.5 / max(float(np.abs(samples).max()), 1e-6))


def main() -> None:
    """Write OUT/NNN.flac and OUT/index.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--midi", type=Path, required=True, help="a folder or zip of MIDI files; of an index, the split train")
    parser.add_argument("--soundfont", required=True)
    parser.add_argument("--out", type=Path, default=Path("rendered/guitars"))
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    files = midi_files(options.midi)
    order = np.random.default_rng(options.seed).permutation(len(files))
    options.out.mkdir(parents=True, exist_ok=True)
    songs, n = [], 0
    while len(songs) < options.count and n < 4 * options.count:
        file = files[order[n % len(files)]]
        place = options.out / f"{n:03d}.flac"
        try:
            made = place.exists()
            samples = None if made else song(file, options.soundfont, options.seconds, np.random.default_rng([options.seed, n]))
        except InputError:
            samples = None
        if samples is not None and np.any(samples):
            write(place, samples, RATE, depth="int16")
            made = True
        if made:
            stems = {"other": [{"file": place.name}]}
            songs.append({"song": f"guitars {n:03d}", "split": "train", "licence": file.licence, "stems": stems})
        n += 1
    (options.out / "index.json").write_text(json.dumps({"songs": songs}, indent=1), encoding="utf-8")
    print(f"{options.out}: {len(songs)} songs of guitars")


if __name__ == "__main__":
    main()
