"""Compose songs from nothing: chords, drums, bass, what lies between, and a tune with words.

Two sources that never meet. The **demo** has a written tune, its own singer and its own seeds. **Training** songs draw
everything by chance from other seeds; a drawn tune that repeats a phrase of the demo's is drawn again, and no drawn
singer has a vocal tract near the demo singer's (`DEMO_TRACTS`). So a model trained on these songs never heard the demo.

An `Arrangement` says who plays what when, in seconds; `data.synthetic` makes it sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..synth import CONSONANTS, VOWELS, Kit, Note, Patch, Voice

#: Seeds below this belong to the demo, from it on to training.
FIRST_TRAINING_SEED = 1000
DEMO_SEED = 7

#: Vocal tracts (formant scales) of the demo's singer and of nobody else.
DEMO_TRACTS = (1.07, 1.15)
DEMO_VOICE = Voice(tract=1.11, vibrato_hz=5.7, vibrato_cents=38.0, breath=0.07, tilt_hz=4500.0)

#: The demo's tune by section and bar: (scale degree from the keynote above middle C, or None for a rest; beats).
DEMO_TUNE = {
    "verse": (
        ((None, 0.5), (2, 0.5), (2, 0.5), (1, 0.5), (2, 1.0), (0, 1.0)),
        ((-2, 0.5), (0, 1.0), (1, 0.5), (0, 1.5), (None, 0.5)),
        ((None, 0.5), (2, 0.5), (2, 0.5), (3, 0.5), (4, 1.0), (2, 1.0)),
        ((1, 0.5), (1, 0.5), (2, 0.5), (1, 1.5), (None, 0.5), (2, 0.5)),
    ),
    "chorus": (
        ((4, 1.5), (5, 0.5), (4, 1.0), (2, 1.0)),
        ((1, 0.5), (2, 0.5), (1, 2.0), (None, 0.5), (4, 0.5)),
        ((5, 1.5), (4, 0.5), (5, 1.0), (7, 1.0)),
        ((5, 0.5), (4, 0.5), (3, 1.0), (4, 0.5), (3, 0.5), (1, 1.0)),
    ),
}
_DEMO_CHORDS = {"intro": (0, 3), "verse": (5, 3, 0, 4), "chorus": (0, 4, 5, 3)}

_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "dorian": (0, 2, 3, 5, 7, 9, 10)}
_PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 3, 4, 4), (5, 3, 0, 4), (0, 5, 3, 4), (3, 4, 2, 5), (0, 2, 3, 4), (0, 3, 0, 4), (1, 4, 0, 0)),
    "minor": ((0, 5, 2, 6), (0, 3, 6, 2), (0, 6, 5, 6), (0, 3, 4, 0), (5, 6, 0, 0), (0, 2, 5, 4), (0, 5, 3, 4)),
    "dorian": ((0, 3, 0, 3), (0, 6, 3, 0), (0, 2, 3, 0), (0, 3, 6, 0)),
}
#: Rhythms of a bar of sung melody, beats; negative is a rest.
_RHYTHMS = {
    4: (
        (1, 1, 1, -1), (0.5, 0.5, 1, 1, -1), (-0.5, 0.5, 0.5, 0.5, 1, 1), (1.5, 0.5, 1.5, -0.5), (2, 1, 1), (1, 0.5, 0.5, 2),
        (0.5, 0.5, 0.5, 0.5, 1.5, -0.5), (-1, 1, 1, 1), (1.5, 1.5, 1), (0.5, 1, 0.5, 1, 1), (3, -1), (0.75, 0.75, 0.5, 1, -1),
    ),
    3: ((1, 1, 1), (2, 1), (1.5, 0.5, 1), (1, 0.5, 0.5, 1), (-0.5, 0.5, 0.5, 0.5, 1), (2, -1), (0.5, 0.5, 1, -1)),
}  # fmt: skip
#: Drum grooves: piece to (beat, velocity); the hats are drawn apart.
_GROOVES = {
    4: (
        {"kick": ((0, 1), (2, 0.9)), "snare": ((1, 0.9), (3, 0.9))},
        {"kick": ((0, 1), (1.5, 0.7), (2, 0.9)), "snare": ((1, 0.9), (3, 0.9))},
        {"kick": ((0, 1), (2.5, 0.9)), "snare": ((1, 0.9), (3, 0.9), (3.75, 0.3))},
        {"kick": ((0, 1), (1, 0.9), (2, 1), (3, 0.9)), "clap": ((1, 0.8), (3, 0.8))},
        {"kick": ((0, 1), (0.75, 0.7), (2.5, 0.9)), "snare": ((1, 0.9), (1.75, 0.25), (2.25, 0.25), (3, 0.9))},
        {"kick": ((0, 1), (3.5, 0.7)), "snare": ((2, 0.95),)},
    ),
    3: (
        {"kick": ((0, 1),), "snare": ((1, 0.5), (2, 0.6))},
        {"kick": ((0, 1), (1.5, 0.7)), "snare": ((2, 0.9),)},
    ),
}
_FILLS = {4: (("snare", 3), ("snare", 3.25), ("tom1", 3.5), ("tom2", 3.75)), 3: (("tom1", 2), ("tom2", 2.33), ("tom3", 2.67))}


@dataclass(frozen=True)
class Style:
    """Hold everything that makes songs of this family differ, apart from the notes."""

    tempo: float = 104.0
    #: Pitch class of the keynote (0 is C), and the scale's name.
    key: int = 2
    mode: str = "major"
    #: Beats in a bar: 3 or 4.
    metre: int = 4
    #: 0 is straight; 1 lets the second eighth fall on the third triplet.
    swing: float = 0.0
    chords: dict = field(default_factory=lambda: dict(_DEMO_CHORDS))
    groove: int = 1
    hats: float = 0.5
    kit: Kit = Kit(snare_seconds=0.09, snare_noise=0.5)
    voice: Voice = DEMO_VOICE
    #: Semitones from middle C's octave to where the singer sits.
    register: int = 0
    harmony: bool = True
    bass: Patch = Patch("saw", attack=0.004, release=0.05, decay=0.35, sustain=0.5, bright=1.5, sweep=2.0)
    bass_rhythm: tuple = (0.0, 1.5, 2.0, 3.0, 3.5)
    chord_patch: Patch = Patch(
        "saw", attack=0.12, release=0.35, decay=1.5, sustain=0.7, bright=1.8, sweep=0.6, copies=4, detune=9.0
    )
    comp_patch: Patch = Patch("keys", release=0.15, decay=0.7, sustain=0.25, sweep=2.5)
    arp_patch: Patch = Patch("string", release=0.2, decay=0.9, sustain=1.0, bright=3.0, sweep=1.0)
    #: Loudness of the stems against each other, linear, by their root mean square where they sound.
    levels: tuple = (1.0, 0.85, 0.7, 0.6)
    room_seconds: float = 1.1


@dataclass(frozen=True)
class Arrangement:
    """Hold who plays what when: times in seconds, pitches as MIDI numbers."""

    style: Style
    seconds: float
    #: (seconds, piece, velocity)
    drums: list[tuple[float, str, float]]
    bass: list[Note]
    #: Chord pad, comping keys and arpeggio: (patch, gain, pan from -1 to 1, [(seconds, held seconds, pitches, velocity)]).
    other: list[tuple[Patch, float, float, list[tuple[float, float, tuple[float, ...], float]]]]
    vocals: list[Note]
    harmony: list[Note]
    #: Section of each bar (intro, verse, chorus), and where it starts in seconds.
    sections: list[str]
    bars: list[float]


def degree(style: Style, step: int, octave: int = 4) -> int:
    """Give the MIDI number of a scale degree (0 is the keynote; octave 4 starts at middle C)."""
    scale = _SCALES[style.mode]
    return 12 * (octave + 1) + style.key + 12 * (step // 7) + scale[step % 7]


def _lay_out(style: Style, seconds: float) -> tuple[list[str], list[float]]:
    """Fill the time with an intro of two bars and alternating verses and choruses, leaving a tail for the last chord."""
    bar = style.metre * 60 / style.tempo
    count = max(1, int((seconds - 0.5) / bar))
    body = [name for _ in range(-(-count // 8)) for name in ("verse",) * 4 + ("chorus",) * 4]
    sections = (["intro"] * (2 if count >= 4 else 0) + body)[:count]
    return sections, [index * bar for index in range(count + 1)]


def _arrange(style: Style, seconds: float, tune: dict, draw: np.random.Generator) -> Arrangement:
    """Write out a song: the tune by section and bar, and all that accompanies it."""
    sections, bars = _lay_out(style, seconds)
    beat = 60 / style.tempo

    def at(bar: int, position: float) -> float:
        """Give the time of a beat in a bar, in swing."""
        whole, part = divmod(position, 1.0)
        middle = 0.5 + style.swing / 6
        part = float(part * 2 * middle) if part < 0.5 else middle + (part - 0.5) * 2 * (1 - middle)
        return float(bars[bar] + (whole + part) * beat)

    def human(width: float = 0.004) -> float:
        return float(np.clip(draw.normal(0, width), -0.01, 0.01))

    drums, bass, pad, comp, arp = [], [], [], [], []
    voicing = np.array([60, 64, 67])
    for bar, section in enumerate(sections):
        within = sum(name == section for name in sections[:bar])
        root = style.chords[section][within % len(style.chords[section])]
        tones = [degree(style, root + third) for third in (0, 2, 4)]
        # Each voice goes to the nearest octave of its tone: smooth leading, and all stay between F3 and A4.
        voicing = np.sort([int(np.clip(t + 12 * round((v - t) / 12), 53, 69)) if 53 <= t + 12 * round((v - t) / 12) <= 69
                           else t + 12 * round((61 - t) / 12) for t, v in zip(tones, voicing, strict=True)])  # fmt: skip
        ends = bar + 1 == len(sections) or sections[bar + 1] != section
        groove = _GROOVES[style.metre][style.groove % len(_GROOVES[style.metre])]
        if section != "intro" or bar > 0:
            for piece, hits in groove.items():
                # In the last bar of a section the fill has the last beat.
                kept = [(b, v) for b, v in hits if not ends or b < style.metre - 1]
                drums += [(at(bar, b) + human(), piece, v * draw.uniform(0.9, 1.0)) for b, v in kept]
            drums += [(at(bar, b), piece, draw.uniform(0.75, 0.95)) for piece, b in _FILLS[style.metre] if ends]
        hat = "ride" if section == "chorus" and style.hats > 0.7 else "hat"
        for number, b in enumerate(np.arange(0, style.metre, style.hats)):
            last = hat == "hat" and section == "chorus" and number % 8 == 7
            drums.append((at(bar, b) + human(), "open" if last else hat, (0.75 if b % 1 == 0 else 0.5) * draw.uniform(0.85, 1.0)))
        if within % 4 == 0 and section != "intro":
            drums.append((at(bar, 0), "crash", 0.8))
        low = degree(style, root, 2) - (12 if degree(style, root, 2) > 45 else 0)
        if section != "intro" or bar > 0:
            starts = [b for b in style.bass_rhythm if b < style.metre]
            for b, until in zip(starts, [*starts[1:], style.metre], strict=True):
                pitch = low + (12 if b == 3.5 and section == "chorus" else 0)
                bass.append(Note(at(bar, b) + human(), (until - b) * beat * 0.9, pitch, draw.uniform(0.75, 0.9)))
        chord = tuple(float(v) for v in voicing)
        pad.append((bars[bar], style.metre * beat * 0.98, chord, 0.7 if section != "chorus" else 0.85))
        if section != "intro":
            stabs = [b for b in (0.0, 1.5, 2.5) if b < style.metre]
            comp += [(at(bar, b) + human(), beat * 0.4, chord, draw.uniform(0.6, 0.8)) for b in stabs]
        if section != "verse":
            cycle = [chord[0] + 12, chord[1] + 12, chord[2] + 12, chord[1] + 12]
            arp += [(at(bar, b) + human(), beat * 0.5, (cycle[i % 4],), draw.uniform(0.6, 0.85))
                    for i, b in enumerate(np.arange(0, style.metre, 0.5))]  # fmt: skip
    final, tonic = bars[-1], degree(style, 0)
    if final < seconds - 0.2:
        ring = seconds - final - 0.15
        drums += [(final, "kick", 1.0), (final, "crash", 0.8)]
        bass.append(Note(final, ring, degree(style, 0, 2) - (12 if degree(style, 0, 2) > 45 else 0), 0.9))
        pad.append((final, ring, (tonic - 12.0, degree(style, 2, 3), degree(style, 4, 3)), 0.8))
    vocals = _set_words(style, sections, at, tune, draw)
    if vocals and final < seconds - 0.4 and sections[-1] == "chorus":
        vocals.append(Note(final, seconds - final - 0.2, _sung(style, 0), 0.8, ("", "a")))
    first_chorus = bars[sections.index("chorus")] if "chorus" in sections else np.inf
    thirds = [Note(n.start + 0.012, n.seconds, _third_below(style, n.pitch), n.velocity * 0.4, n.syllable)
              for n in vocals if n.start >= first_chorus and style.harmony]  # fmt: skip
    layers = [(style.chord_patch, 0.6, 0.0, pad), (style.comp_patch, 1.0, -0.35, comp), (style.arp_patch, 1.0, 0.4, arp)]
    return Arrangement(style, seconds, sorted(drums), bass, layers, vocals, thirds, sections, bars)


def _sung(style: Style, step: int) -> int:
    """Give the MIDI number of a scale degree where the singer sits."""
    return degree(style, step) + style.register


def _third_below(style: Style, pitch: float) -> float:
    """Give the note two scale steps below a note of the scale."""
    steps = {_sung(style, step): step for step in range(-21, 22)}
    return float(_sung(style, steps[int(pitch)] - 2))


def _set_words(style: Style, sections: list[str], at, tune: dict, draw: np.random.Generator) -> list[Note]:
    """Put the tune into time, each note with a syllable; the same section has the same words again."""
    words: dict[tuple, tuple[str, str]] = {}
    notes = []
    for bar, section in enumerate(sections):
        if section not in tune:
            continue
        within = sum(name == section for name in sections[:bar]) % len(tune[section])
        position = 0.0
        for index, (step, beats) in enumerate(tune[section][within]):
            if step is not None:
                word = (str(draw.choice(list(CONSONANTS))), str(draw.choice(list(VOWELS))))
                word = words.setdefault((section, within, index), word)
                start, end = at(bar, position), at(bar, position + beats)
                room = 0.03 if CONSONANTS[word[0]][1] < 0.06 else 0.05
                loud = draw.uniform(0.78, 0.86) + (0.1 if section == "chorus" else 0)
                notes.append(Note(start, max(0.08, end - start - room), float(_sung(style, step)), loud, word))
            position += beats
    return notes


def compose_demo(seed: int = DEMO_SEED, seconds: float = 24.0) -> Arrangement:
    """Compose the demo: its written tune over its chords; the seed moves only words, touch and timing.

    Raises:
        InputError: the seed is a training seed, or the song would be shorter than two seconds.
    """
    if not 0 <= seed < FIRST_TRAINING_SEED:
        raise InputError(
            f"expected a seed of the demo, 0 to {FIRST_TRAINING_SEED - 1}, found {seed}: those from"
            f" {FIRST_TRAINING_SEED} on belong to training songs"
        )
    return _arrange(Style(), _checked(seconds), DEMO_TUNE, np.random.default_rng([seed, 0]))


def compose_training(seed: int, seconds: float = 24.0) -> Arrangement:
    """Compose a song of which everything is drawn: tempo, key, metre, groove, instruments, singer, tune.

    Raises:
        InputError: the seed is one of the demo's, or the song would be shorter than two seconds.
    """
    if seed < FIRST_TRAINING_SEED:
        raise InputError(
            f"expected a seed of training songs, {FIRST_TRAINING_SEED} or more, found {seed}: those below belong to the demo,"
            " which no model may have heard"
        )
    draw = np.random.default_rng([seed, 1])
    style = _draw_style(draw)
    tune = _draw_tune(style, draw)
    while resembles_demo(tune):
        tune = _draw_tune(style, draw)
    return _arrange(style, _checked(seconds), tune, draw)


def _checked(seconds: float) -> float:
    """Give the length back if a song fits into it.

    Raises:
        InputError: it is below two seconds, or not a number.
    """
    if not 2.0 <= seconds < float("inf"):
        raise InputError(f"expected a made song of at least 2 seconds, found {seconds:g}: ask for more")
    return float(seconds)


def _draw_style(draw: np.random.Generator) -> Style:
    """Draw a style; the singer's tract lies outside the demo singer's band."""
    mode = str(draw.choice(list(_SCALES), p=(0.5, 0.35, 0.15)))
    metre = int(draw.choice((4, 3), p=(0.85, 0.15)))
    progressions = _PROGRESSIONS[mode]
    verse, chorus = (progressions[i] for i in draw.choice(len(progressions), 2, replace=False))
    low, high = DEMO_TRACTS
    tract = draw.uniform(0.86, low) if draw.random() < 0.6 else draw.uniform(high, 1.26)
    female = tract > 1.04 or (tract > 0.98 and draw.random() < 0.4)
    key = int(draw.integers(12))
    voice = Voice(
        tract=tract,
        vibrato_hz=draw.uniform(4.6, 6.8),
        vibrato_cents=draw.uniform(5, 60),
        jitter=draw.uniform(3, 12),
        shimmer=draw.uniform(0.02, 0.08),
        breath=draw.uniform(0.01, 0.2),
        tilt_hz=draw.uniform(1500, 6500),
    )
    kit = Kit(
        kick_hz=draw.uniform(42, 66), kick_seconds=draw.uniform(0.08, 0.3), snare_hz=draw.uniform(150, 240),
        snare_seconds=draw.uniform(0.07, 0.25), snare_noise=draw.uniform(0.35, 0.85), hat_hz=draw.uniform(300, 560),
        hat_seconds=draw.uniform(0.02, 0.06), metal=draw.uniform(0, 0.9),
    )  # fmt: skip

    def patch(kinds: Sequence[str], attack: float, decay: tuple[float, float], copies: int) -> Patch:
        return Patch(
            str(draw.choice(kinds)), attack=attack, release=draw.uniform(0.05, 0.4), decay=draw.uniform(*decay),
            sustain=draw.uniform(0.2, 0.9), bright=draw.uniform(1.2, 4.0), sweep=draw.uniform(0, 2.5), copies=copies,
            detune=draw.uniform(4, 20),
        )  # fmt: skip

    rhythms = ((0.0, 1.5, 2.0, 3.5), (0.0, 1.0, 2.0, 3.0), tuple(np.arange(0, 4, 0.5)), (0.0, 2.0), (0.0,))
    rhythms += ((0.0, 0.75, 1.5, 2.5, 3.0),)
    return Style(
        tempo=draw.uniform(72, 168),
        key=key,
        mode=mode,
        metre=metre,
        swing=float(draw.choice((0.0, 0.5, 1.0), p=(0.7, 0.15, 0.15))),
        chords={"intro": verse[:2], "verse": verse, "chorus": chorus},
        groove=int(draw.integers(len(_GROOVES[metre]))),
        hats=float(draw.choice((0.25, 0.5, 1.0), p=(0.2, 0.6, 0.2))),
        kit=kit,
        voice=voice,
        # Keys from G up are an octave lower, so that the tune lies where the singer can reach it.
        register=(0 if female else -12) - (12 if key >= 7 else 0),
        harmony=bool(draw.random() < 0.5),
        bass=patch(("saw", "square", "string"), 0.004, (0.2, 1.0), 1),
        bass_rhythm=rhythms[draw.integers(len(rhythms))],
        chord_patch=patch(("saw", "square", "organ"), draw.uniform(0.01, 0.3), (0.5, 2.0), 4),
        comp_patch=patch(("keys", "string", "organ", "square"), 0.004, (0.3, 1.0), 2),
        arp_patch=patch(("string", "saw", "keys"), 0.004, (0.2, 1.0), 1),
        levels=tuple(np.array((1.0, 0.85, 0.7, 0.7)) * 10 ** (draw.uniform(-4, 4, 4) / 20)),
        room_seconds=draw.uniform(0.4, 2.2),
    )


def _draw_tune(style: Style, draw: np.random.Generator) -> dict:
    """Draw a tune: phrases of four bars, the third like the first; strong beats on tones of the chord, steps between."""
    tune = {}
    for section, centre in (("verse", 1), ("chorus", 4)):
        pool = _RHYTHMS[style.metre]
        rhythms = [pool[i] for i in draw.integers(len(pool), size=2)]
        bars, step = [], centre
        for bar, root in enumerate(style.chords[section]):
            if bar == 2 and draw.random() < 0.5 and root == style.chords[section][0]:
                bars.append(bars[0])
                continue
            notes, position = [], 0.0
            for beats in rhythms[bar % 2]:
                step += int(draw.choice((-2, -1, 0, 1, 2, 4), p=(0.1, 0.3, 0.14, 0.3, 0.1, 0.06))) - (step - centre) // 4
                if position % 2 == 0:
                    step = min(range(step - 2, step + 3), key=lambda s: ((s - root) % 7 not in (0, 2, 4), abs(s - step)))
                notes.append((None if beats < 0 else step, abs(beats)))
                position += abs(beats)
            bars.append(tuple(notes))
        tune[section] = tuple(bars)
    return tune


def _phrases(tune: dict, notes: int = 5) -> set[tuple]:
    """Give all runs of sung notes as (steps from note to note, beats), whatever the key."""
    runs = set()
    for bars in tune.values():
        line = [note for bar in bars for note in bar if note[0] is not None]
        for first in range(len(line) - notes + 1):
            run = line[first : first + notes]
            runs.add((tuple(b[0] - a[0] for a, b in zip(run, run[1:], strict=False)), tuple(n[1] for n in run[:-1])))
    return runs


def resembles_demo(tune: dict) -> bool:
    """Say whether five notes in a row of a tune have the steps and lengths of five notes of the demo's, in any key."""
    return not _phrases(tune).isdisjoint(_phrases(DEMO_TUNE))
