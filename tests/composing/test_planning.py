"""What a prompt says and where the writing begins, before any net is asked."""

import midi_bytes
import numpy as np
import pytest
import tiny_music

from songfoundry.composing import planning, prompts
from songfoundry.errors import ConfigError, InputError
from songfoundry.notes import read_midi
from songfoundry.notes.tokens import tokenizer
from songfoundry.notes.vocabulary import TokenConfig


@pytest.fixture(scope="module")
def tokens():
    return tokenizer(TokenConfig())


def plan(tokens, data, room=768, **options):
    asked = {"bars": 4, "room": room, "style": None, "key": None, "find_key": True, **options}
    return planning.continued(tokens, read_midi(data), name="it", **asked)


@pytest.mark.parametrize(("metre", "qpm"), tiny_music.METRES.items())
def test_a_prompt_goes_on_at_its_last_bar_line_in_its_metre_and_tempo(tokens, metre, qpm):
    made = plan(tokens, tiny_music.prompt(*metre, qpm))
    assert made.origin == 4 * tiny_music.ticks(*metre) and made.metre == metre and made.prompt_bars == 4
    assert made.pace == [(0.0, pytest.approx(qpm, rel=1e-5))]
    assert [made.base.time_signatures[0].numerator, made.base.time_signatures[0].denominator] == [*metre]
    assert len(made.base.time_signatures) == len(made.base.tempos) == 1
    assert tokens.names[made.tokens[-1]] == f"TimeSig_{made.metres[0][0]}/{made.metres[0][1]}" and len(tokens.bars(made.tokens)) == 5
    assert made.programs == {73, 24} and made.key == 12 + 9 and made.said == []


def test_a_metre_without_a_word_is_said_by_one_as_long(tokens):
    assert prompts.token_metre(tokens, 1, 1) in ((4, 4), (8, 8), (16, 16), (2, 2))
    assert prompts.token_metre(tokens, 13, 16) == (13, 16)
    with pytest.raises(InputError, match="expected a metre .* found 29/32: write"):
        prompts.token_metre(tokens, 29, 32)


def test_the_mean_of_the_last_four_bars_goes_on(tokens):
    tempi = [midi_bytes.tempo(1920 * bar + 960 * half, 60 if bar < 2 else 100 + 50 * half) for bar in range(6) for half in (0, 1)]
    notes = midi_bytes.part(0, 0, [(480 * n, 400, 60, 80) for n in range(24)])
    made = plan(tokens, midi_bytes.midi([midi_bytes.track([tiny_music.metre(0, 4, 4), *tempi]), notes]))
    assert made.pace[0][1] == pytest.approx(120)  # half of the quarters at 100, half at 150: 2 / (1/100 + 1/150)
    assert [(t.time, t.mspq) for t in made.base.tempos][-1] == (6 * 1920, 500_000) and len(made.base.tempos) == 13
    assert any("tempo changes" in sentence and "120.0" in sentence for sentence in made.said)


def test_a_note_held_over_the_bar_line_begins_no_bar_and_a_long_one_does(tokens):
    def origin(length):
        return plan(tokens, midi_bytes.midi([midi_bytes.part(0, 0, [(0, 480, 60, 80), (1440, length, 62, 80)])])).origin

    assert (origin(400), origin(480 + 200), origin(480 + 1920)) == (1920, 1920, 3840)


def test_the_last_bars_are_used_of_a_prompt_longer_than_the_context(tokens):
    made = plan(tokens, tiny_music.prompt(bars=40), room=200)
    assert len(made.tokens) <= 210 and made.prompt_bars == 40 and made.origin == 40 * 1920
    assert any(sentence.startswith("the prompt is longer than the model's context: it reads the last") for sentence in made.said)
    crowded = midi_bytes.midi([midi_bytes.part(0, 0, [(40 * n, 30, 40 + n, 80) for n in range(48)])])
    assert len(plan(tokens, crowded, room=60).tokens) <= 70


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (midi_bytes.midi([midi_bytes.track([])]), "expected notes in it, found none"),
        (midi_bytes.midi([midi_bytes.track([tiny_music.metre(0, 29, 32)]), midi_bytes.part(0, 0, [(0, 9, 60, 9)])]), "found 29/32"),
        (midi_bytes.midi([midi_bytes.part(0, 0, [(0, 480, 60, 80), (480 * 120 * 179, 480, 60, 80)])]),
     "at most 60 minutes, found 179 in it"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_prompt_is_refused_in_a_sentence(tokens, data, sentence):
    with pytest.raises(InputError, match=sentence):
        plan(tokens, data)


def test_too_many_notes_are_refused(tokens, monkeypatch):
    monkeypatch.setattr(prompts, "MAX_NOTES", 10)
    with pytest.raises(InputError, match="at most 10 notes, found 28 in it"):
        plan(tokens, tiny_music.prompt())


def test_few_notes_and_drums_tell_no_key(tokens):
    single = plan(tokens, midi_bytes.midi([midi_bytes.part(0, 0, [(0, 480, 60, 80)])]))
    assert single.key is None and single.scale is None and "1 pitched notes tell no key: none is kept" in single.said
    drums = plan(tokens, tiny_music.drum_prompt())
    assert drums.key is None and drums.programs == {-1}


def test_the_scale_has_what_the_prompt_uses(tokens):
    scale = plan(tokens, tiny_music.prompt()).scale
    assert np.flatnonzero(scale).tolist() == [0, 2, 4, 5, 7, 8, 9, 11]  # A minor with its leading tone
    assert np.flatnonzero(plan(tokens, tiny_music.prompt(), key=0).scale).tolist() == [0, 2, 4, 5, 7, 8, 9, 11]


@pytest.mark.parametrize(
    ("sharps", "minor", "tick", "key"), [(1, 0, 0, 7), (1, 1, 0, 7), (0, 0, 0, 2), (-6, 0, 0, 2), (None, 0, 0, 2), (1, 0, 90_000, 2)]
)  # fmt: skip
def test_a_key_signature_chooses_among_near_keys_and_yields_to_notes_that_belie_it(sharps, minor, tick, key):
    """Notes that seem to be in D major, by a little; one sharp says G, none from the outset nothing, and six flats are far off."""
    rows = [(62, 5), (64, 2), (66, 3), (67, 6), (69, 5), (71, 3), (61, 1), (62, 3)]
    signature = [] if sharps is None else [(tick, bytes([0xFF, 0x59, 2, sharps % 256, minor]))]
    notes = midi_bytes.part(0, 0, [(1920 * n, 240 * long - 1, pitch, 80) for n, (pitch, long) in enumerate(rows)])
    score = read_midi(midi_bytes.midi([midi_bytes.track(signature), notes]))
    found, _ = prompts.key_and_scale(prompts.notes_of(score), None, True, [], score)
    assert found == key


def test_an_infill_reads_what_follows_and_then_what_precedes(tokens):
    score = read_midi(tiny_music.prompt(bars=8))
    made = planning.infill(tokens, score, name="it", first=3, last=4, room=768, style=None, key=None, find_key=True)
    whole = tokens.encode(prompts.read(score, tokens, "it").spread, style=None, key=made.key)
    task = tokens.fill(whole, 2, 4)
    assert made.tokens.tolist() == task[: len(made.tokens)].tolist()  # the sequence of training, up to the gap's first bar
    assert (made.origin, made.limit, made.bars) == (2 * 1920, 4 * 1920, 2)
    assert tiny_music.rows(made.base.tracks[0]) == [r for r in tiny_music.rows(score.tracks[0]) if not 3840 <= r[0] < 7680]
    with pytest.raises(InputError, match="expected bars from 1 to 8 of it after --replace-bars, found 7-9"):
        planning.infill(tokens, score, name="it", first=7, last=9, room=768, style=None, key=None, find_key=True)


def test_a_track_is_found_by_number_and_name(tokens):
    score = read_midi(tiny_music.prompt())
    score.tracks[0].name = "Flute"
    assert (prompts.find_track(score, "flute", "it"), prompts.find_track(score, "2", "it")) == (0, 1)
    with pytest.raises(InputError, match="a track of it after --melody, found 'flte': did you mean 'Flute'"):
        prompts.find_track(score, "flte", "it")


def test_an_infill_says_what_of_both_sides_it_cannot_read(tokens):
    score = read_midi(tiny_music.prompt(bars=60))
    for bar, lost in ((2, ["what follows"]), (30, ["what follows", "what precedes"]), (59, ["what precedes"])):
        said = planning.infill(tokens, score, name="it", first=bar, last=bar, room=384, style=None, key=None, find_key=True).said
        assert [sentence[: len("what follows")] for sentence in said] == [one[: len("what follows")] for one in lost], said
    assert "reads the last " in said[0] and said[0].endswith(" of 58 bars")


def test_an_accompaniment_says_that_the_part_has_no_more_bars(tokens):
    score = read_midi(tiny_music.prompt(bars=4))
    made = planning.accompany(tokens, score, name="it", part="1", bars=40, style=None, key=None, find_key=True)
    assert made.bars == 4 and "the part has 4 bars: 40 were asked for, so many are written" in made.said
    # What was there in place of the accompaniment: the other tracks; of a part that was alone, the part.
    assert [len(track.notes) for track in made.replaced.tracks] == [0, len(score.tracks[1].notes)] and made.kept == 0


@pytest.mark.parametrize(("text", "key"), [("A minor", 21), ("Bb major", 10), ("C", 0), ("F#m", 18), ("e minor", 16), ("Cb major", 11)])
def test_names_of_keys(text, key):
    assert prompts.parse_key(text) == key


@pytest.mark.parametrize("text", ["H minor", "A phrygian", "", "A B C"])
def test_no_names_of_keys(text):
    with pytest.raises(ConfigError, match="expected a key"):
        prompts.parse_key(text)


@pytest.mark.parametrize("text", ["", "3", "0/4", "3/0", "3/5", "x/4", "300/4"])
def test_no_metres(text):
    with pytest.raises(ConfigError, match="expected a metre"):
        prompts.parse_metre(text)
