"""Choose, for each program of General MIDI, the nearest instrument that a model has."""

from collections.abc import Sequence

__all__ = ["PROGRAMS_OF_SOUNDS", "instrument_for", "sustains"]

PROGRAMS_OF_SOUNDS = range(115, 128)
"""Struck percussion and sound effects: no pitch to speak of, left to the built-in orchestra."""

# Words that an instrument's name may hold, the nearest first; the last ones are NSynth's families and the made tones.
_BASS = ("double_bass", "bass_guitar", "contrabass", "electric_bass", "bass", "cello", "guitar", "string", "bright", "soft")
_STRINGS = ("violin", "viola", "cello", "string", "double_bass", "synth_lead", "bright", "soft")
_REEDS = ("clarinet", "oboe", "saxophone", "sax", "reed", "bassoon", "flute", "hollow")
_BRASS = ("trumpet", "trombone", "horn", "tuba", "brass", "reed", "bright")
_VOICES = ("voice", "vocal", "choir", "viola", "horn", "flute", "string")
_WINDS = ("clarinet", "trombone", "flute", "oboe", "sax", "horn", "tuba")
_KEYS = ("piano", "keyboard", "harpsichord", "guitar", "mallet", "plucked", "bell")
_FAMILIES: tuple[tuple[range, tuple[str, ...]], ...] = (
    (range(0, 6), _KEYS),
    (range(6, 8), ("harpsichord", "banjo", "guitar", *_KEYS)),
    (range(8, 16), ("vibraphone", "marimba", "glockenspiel", "xylophone", "mallet", "bell", "piano", "keyboard", "guitar", "plucked")),
    (range(16, 24), ("organ", "accordion", "harmonica", "clarinet", "reed", "oboe", "flute", "hollow")),
    (range(24, 32), ("guitar", "banjo", "mandolin", "plucked", "piano", "keyboard")),
    (range(32, 40), _BASS),
    (range(40, 41), ("violin", "viola", *_STRINGS)),
    (range(41, 42), ("viola", *_STRINGS)),
    (range(42, 43), ("cello", *_STRINGS)),
    (range(43, 44), ("double_bass", "contrabass", "cello", *_STRINGS)),
    (range(44, 45), _STRINGS),
    (range(45, 47), ("harp", "guitar", "plucked", "banjo", "piano", "keyboard")),
    (range(47, 48), ("timpani", "mallet", *_BASS)),
    (range(48, 52), _STRINGS),
    (range(52, 55), _VOICES),
    (range(55, 56), ("trumpet", *_BRASS)),
    (range(56, 57), ("trumpet", "cornet", *_BRASS)),
    (range(57, 58), ("trombone", *_BRASS)),
    (range(58, 59), ("tuba", "trombone", "bass_trombone", *_BRASS)),
    (range(59, 60), ("trumpet", *_BRASS)),
    (range(60, 61), ("french_horn", "horn", *_BRASS)),
    (range(61, 64), _BRASS),
    (range(64, 66), ("soprano_sax", "alto_sax", "sax", *_REEDS)),
    (range(66, 67), ("tenor_sax", "alto_sax", "sax", *_REEDS)),
    (range(67, 68), ("baritone_sax", "sax", *_REEDS)),
    (range(68, 70), ("oboe", "english_horn", *_REEDS)),
    (range(70, 71), ("bassoon", "contrabassoon", *_REEDS)),
    (range(71, 72), _REEDS),
    (range(72, 80), ("flute", "recorder", "piccolo", "clarinet", "reed", "hollow", "soft")),
    (range(80, 88), ("synth_lead", "synth", "sax", "clarinet", "reed", "bright")),
    (range(88, 96), ("synth_pad", "synth", *_STRINGS)),
    (range(96, 104), ("synth", "bell", "mallet", *_KEYS)),
    (range(104, 108), ("sitar", "banjo", "guitar", "plucked", "string")),
    (range(108, 109), ("kalimba", "marimba", "mallet", "bell", "banjo", "guitar")),
    (range(109, 110), ("bagpipe", "oboe", *_REEDS)),
    (range(110, 111), ("fiddle", "violin", *_STRINGS)),
    (range(111, 112), ("shanai", "oboe", *_REEDS)),
    (range(112, 115), ("bell", "mallet", "vibraphone", "marimba", *_KEYS)),
)

# What is struck or plucked, whose notes die by themselves; and what is blown, bowed or sung, and lasts as long as it is played.
_DYING = (
    "piano", "keyboard", "harp", "celesta", "clavi", "guitar", "banjo", "mandolin", "ukulele", "sitar", "koto", "shamisen", "dulcimer",
    "kalimba", "marimba", "vibraphone", "xylophone", "glockenspiel", "mallet", "bell", "timpani", "plucked", "pizzicato", "music_box",
    "electric_bass",
)  # fmt: skip
_LASTING = (
    "flute", "piccolo", "recorder", "whistle", "sax", "clarinet", "oboe", "horn", "bassoon", "bagpipe", "shanai", "reed", "trumpet",
    "cornet", "trombone", "tuba", "brass", "violin", "viola", "cello", "double_bass", "contrabass", "fiddle", "string", "organ",
    "accordion", "harmonica", "voice", "vocal", "choir", "lead", "pad", "bright", "hollow", "soft",
)  # fmt: skip


def sustains(name: str) -> bool | None:
    """Tell by an instrument's name whether its notes last (True) or die by themselves (False); None where the name does not say."""
    plain = name.lower().replace(" ", "_").replace("-", "_").replace("harmonica", "reed")
    if any(word in plain for word in _DYING):
        return False
    return True if any(word in plain for word in _LASTING) else None


def instrument_for(program: int, instruments: Sequence[str]) -> str:
    """Name the instrument that is nearest to a program (0 to 127): by its name, else by turns, so that programs still differ."""
    known = {name.lower().replace(" ", "_").replace("-", "_"): name for name in sorted(instruments)}
    words = next((words for programs, words in _FAMILIES if program in programs), ())
    for word in words:
        if word in known:
            return known[word]
        # A bass clarinet is a clarinet, not a bass.
        found = [name for name in known if name.endswith(word)]
        found += [name for name in known if name.startswith(word) and not name.endswith(_WINDS)]
        if found:
            return known[found[0]]
    return list(instruments)[program // 8 % len(instruments)]
