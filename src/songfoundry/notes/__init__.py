"""Read, write, play and tokenise notes: the only room that knows MIDI."""

from songfoundry.notes.grammar import Grammar, Locks
from songfoundry.notes.midi import (
    GROUPS,
    MAX_BYTES,
    MAX_NOTES,
    MAX_SECONDS,
    Opened,
    Part,
    beat_times,
    by_group,
    open_midi,
    parts,
    read_member,
    read_midi,
    shared_channels,
    write_midi,
)
from songfoundry.notes.soundfont import MAX_RENDER_SECONDS, find_soundfonts, render
from songfoundry.notes.tokens import KEYS, STYLES, TokenConfig, Tokenizer, tokenizer

__all__ = [
    "GROUPS",
    "Grammar",
    "KEYS",
    "Locks",
    "MAX_BYTES",
    "MAX_NOTES",
    "MAX_RENDER_SECONDS",
    "MAX_SECONDS",
    "STYLES",
    "Opened",
    "Part",
    "TokenConfig",
    "Tokenizer",
    "beat_times",
    "by_group",
    "find_soundfonts",
    "open_midi",
    "parts",
    "read_member",
    "read_midi",
    "render",
    "shared_channels",
    "tokenizer",
    "write_midi",
]
