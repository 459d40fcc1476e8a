"""Make prompts byte by byte, and a net with random weights that goes on from them."""

from pathlib import Path

import midi_bytes

METRES = {(4, 4): 168.0, (3, 4): 93.0, (6, 8): 104.0, (5, 4): 120.0, (13, 16): 77.7, (2, 4): 61.3, (1, 1): 140.0, (7, 8): 199.0}
"""Metres that the tests compose in, each with a tempo."""


def metre(tick: int, numerator: int, denominator: int) -> tuple[int, bytes]:
    return tick, bytes([0xFF, 0x58, 4, numerator, denominator.bit_length() - 1, 24, 8])


def ticks(numerator: int, denominator: int, division: int = 480) -> int:
    return division * 4 * numerator // denominator


def prompt(
    numerator: int = 4, denominator: int = 4, qpm: float | None = 120.0, bars: int = 4, division: int = 480, drums: bool = False
) -> bytes:  # fmt: skip
    """A melody with odd velocities over chords (in A minor), with drums if asked, that fills whole bars."""
    bar = ticks(numerator, denominator, division)
    beat = ticks(1, denominator, division) if bar // ticks(1, denominator, division) <= 8 else bar // 4
    scale = (69, 71, 72, 74, 76, 72, 71, 68)
    melody = [(n * beat, beat - 1, scale[n % 8], 71 + 3 * (n % 8)) for n in range(bars * bar // beat)]
    chords = [(k * bar, bar, pitch, 57) for k in range(bars) for pitch in ((57, 60, 64), (50, 53, 57), (52, 56, 59), (57, 60, 64))[k % 4]]
    events = [metre(0, numerator, denominator), *([midi_bytes.tempo(0, qpm)] if qpm else [])]
    tracks = [midi_bytes.track(events), midi_bytes.part(0, 73, melody), midi_bytes.part(1, 24, chords)]
    if drums:
        tracks.append(midi_bytes.part(9, 0, [(n * beat, beat // 2, 36 if n % 2 else 42, 99) for n in range(bars * bar // beat)]))
    return midi_bytes.midi(tracks, division)


def drum_prompt(bars: int = 2) -> bytes:
    hits = [(240 * n, 100, pitch, 90 + n % 8) for n in range(8 * bars) for pitch in ((36, 42) if n % 4 == 0 else (42,))]
    return midi_bytes.midi([midi_bytes.track([metre(0, 4, 4), midi_bytes.tempo(0, 110)]), midi_bytes.part(9, 0, hits)])


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def system(net: str = "music_transformer", context: int = 512, seed: int = 0):
    """Build a system with a tiny net, whose weights are random: what it writes is held by the grammar alone."""
    import torch

    from songfoundry.systems.compose import Compose, ComposeConfig

    torch.manual_seed(seed)
    return Compose(ComposeConfig(net=net, preset="tiny", context=context)).eval()


def checkpoint(path: Path, **options) -> Path:
    """Write such a system as a checkpoint."""
    from songfoundry import checkpoint as files

    made = system(**options)
    files.save(path, made.state_dict(), files.Checkpoint("compose", made.config.model_dump(), {"licence": "test"}))
    return path


def rows(track, before: int | None = None) -> list[tuple[int, int, int, int]]:
    """List a track's notes, those that begin before a tick."""
    return sorted((n.time, n.duration, n.pitch, n.velocity) for n in track.notes if before is None or n.time < before)
