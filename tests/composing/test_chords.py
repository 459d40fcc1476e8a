"""Chord names against pitch classes written out by hand."""

import pytest

from songfoundry.composing.chords import parse_chord, parse_chords, triad
from songfoundry.errors import ConfigError

NOTES = {name: n for n, name in enumerate("C Db D Eb E F Gb G Ab A Bb B".split())}


@pytest.mark.parametrize(
    ("name", "tones"),
    [
        ("C", "C E G"), ("Am", "A C E"), ("F#m7", "Gb A Db E"), ("Bbmaj7", "Bb D F A"), ("Dsus4", "D G A"), ("G7", "G B D F"),
        ("G/B", "G B D"), ("C/D", "C D E G"), ("Bdim", "B D F"), ("B°7", "B D F Ab"), ("Caug", "C E Ab"), ("Ebm7b5", "Eb Gb A Db"),
        ("Em", "E G B"), ("Emaj9", "E Ab B Eb Gb"), ("Cm(maj7)", "C Eb G B"), ("C6/9", "C E G A D"), ("C6/9/E", "C E G A D"), ("A5", "A E"),
        ("E7#9", "E Ab B D G"), ("C7b9", "C E G Bb Db"), ("C7(b5)", "C E Gb Bb"), ("Cb", "B Eb Gb"), ("B♭m", "Bb Db F"), ("D-7", "D F A C"),
        ("C13", "C E G Bb D A"), ("Fadd9", "F A C G"), ("N.C.", ""),
    ],
)  # fmt: skip
def test_names(name, tones):
    assert parse_chord(name).tones == {NOTES[tone] for tone in tones.split()}


def test_root_and_bass():
    chord = parse_chord("A/C#")
    assert (chord.root, chord.bass, chord.name) == (9, 1, "A/C#")


def test_a_line_of_chords():
    assert [chord.name for chord in parse_chords("C G | Am, F")] == ["C", "G", "Am", "F"]


@pytest.mark.parametrize("text", ["", " | ", "C H", "c", "Cmajor7x", "Q", "C/", "Cm7/X", "C" * 70, "C " * 65])
def test_what_is_no_chord_is_refused_in_a_sentence(text):
    with pytest.raises(ConfigError, match="expected .* found .*: write for example"):
        parse_chords(text)


def test_triads_of_keys():
    assert triad(0) == {0, 4, 7} and triad(12 + 9) == {9, 0, 4} and triad(11) == {11, 3, 6}
