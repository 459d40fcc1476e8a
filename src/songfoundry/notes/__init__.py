"""Read, write, play and tokenise notes: the only room that knows MIDI."""

from songfoundry.notes.midi import (
    GROUPS,
    MAX_BYTES,
    MAX_SECONDS,
    Part,
    beat_times,
    by_group,
    parts,
    read_member,
    read_midi,
)
from songfoundry.notes.soundfont import MAX_RENDER_SECONDS, render
from songfoundry.notes.tokens import KEYS, STYLES, TokenConfig, Tokenizer, tokenizer

__all__ = [
    "GROUPS",
    "KEYS",
    "MAX_BYTES",
    "MAX_RENDER_SECONDS",
    "MAX_SECONDS",
    "STYLES",
    "Part",
    "TokenConfig",
    "Tokenizer",
    "beat_times",
    "by_group",
    "parts",
    "read_member",
    "read_midi",
    "render",
    "tokenizer",
]
