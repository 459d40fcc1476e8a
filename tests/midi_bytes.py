"""Write small MIDI files byte by byte, independently of the reader under test."""

import struct


def varint(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def track(events: list[tuple[int, bytes]]) -> bytes:
    """One MTrk chunk from (tick, message) pairs."""
    body, now = b"", 0
    for tick, message in sorted(events, key=lambda event: event[0]):
        body += varint(tick - now) + message
        now = tick
    body += b"\x00\xff\x2f\x00"
    return b"MTrk" + struct.pack(">I", len(body)) + body


def tempo(tick: int, qpm: float) -> tuple[int, bytes]:
    return tick, b"\xff\x51\x03" + int(round(60e6 / qpm)).to_bytes(3, "big") if qpm else b"\xff\x51\x03\x00\x00\x00"


def part(channel: int, program: int, notes: list[tuple[int, int, int, int]]) -> bytes:
    """A track with a program and (tick, ticks, pitch, velocity) notes."""
    events = [(0, bytes([0xC0 | channel, program]))]
    for start, ticks, pitch, velocity in notes:
        events.append((start, bytes([0x90 | channel, pitch, velocity])))
        events.append((start + ticks, bytes([0x80 | channel, pitch, 0])))
    return track(events)


def midi(tracks: list[bytes], division: int = 480) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), division) + b"".join(tracks)


def band(qpm: float = 120, beats: int = 32) -> bytes:
    """Four-on-the-floor drums, a bass in eighths and piano chords."""
    drums = [(480 * b, 60, 36, 110) for b in range(beats)]
    drums += [(480 * b, 60, 38, 100) for b in range(1, beats, 2)]
    drums += [(240 * b, 60, 42, 80) for b in range(2 * beats)]
    bass = [(240 * b, 200, 33 + 2 * (b // 8 % 3), 100) for b in range(2 * beats)]
    chords = [(480 * 4 * bar, 1800, pitch, 80) for bar in range(beats // 4) for pitch in (57, 60, 64)]
    return midi([track([tempo(0, qpm)]), part(9, 0, drums), part(0, 33, bass), part(1, 0, chords)])
