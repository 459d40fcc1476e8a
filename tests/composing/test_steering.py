"""The rules over a grammar: what they forbid never leaves nothing, and copies go their own ways."""

import numpy as np
import pytest
import tiny_music
from random_walks import begun, walk

from songfoundry.composing.steering import CrewRule, LivelyRule, PartRule, Rule, beats, part_tokens
from songfoundry.notes import TokenConfig, read_midi, tokenizer


@pytest.fixture(scope="module")
def tokens():
    return tokenizer(TokenConfig())


class Refuser(Rule):
    """Forbid everything."""

    def shape(self, mask, grammar):
        mask[:] = -np.inf


def test_where_rules_forbid_everything_the_grammar_has_its_way(tokens):
    grammar = begun(tokens, [Refuser()])
    assert np.array_equal(grammar.mask(), grammar.grammar.mask()) and len(walk(grammar)) > 4 and grammar.done


def test_a_rule_cannot_allow_what_the_grammar_forbids(tokens):
    class Opener(Rule):
        def shape(self, mask, grammar):
            mask[:] = 0.0

    grammar = begun(tokens, [Opener()])
    assert np.array_equal(np.isneginf(grammar.mask()), np.isneginf(grammar.grammar.mask()))
    with pytest.raises(ValueError):
        grammar.push(tokens.bos)


def test_no_bar_stays_empty_under_the_lively_rule(tokens):
    for rules, empties in (([LivelyRule(tokens)], False), ([], True)):
        empty = []
        for seed in range(12):
            ids = walk(begun(tokens, rules, bars=7), seed)
            bars = " ".join(tokens.kinds[ids]).split("Bar")
            empty += ["Pitch" not in bar for bar in bars]
        assert any(empty) is empties


def test_the_crew_stays_small_and_comes_in_one_by_one(tokens):
    def crews(rules):
        ids = walk(begun(tokens, rules, bars=8, instruments=False), 1)
        bars = np.cumsum(tokens.kinds[ids] == "Bar")
        return [{tokens.names[token] for token in np.array(ids)[bars <= bar] if tokens.kinds[token] == "Program"} for bar in range(9)]

    free, held = crews([]), crews([CrewRule(tokens, known=[0, -1])])
    assert len(free[-1]) > 16 and len(held[-1] | {"Program_0", "Program_-1"}) == 6
    known = [crew | {"Program_0", "Program_-1"} for crew in held]
    assert all(len(after) - len(before) <= 2 for before, after in zip([{"Program_0", "Program_-1"}, *known], known, strict=False))


def test_a_part_is_played_to_the_letter_whatever_the_others_do(tokens):
    part = read_midi(tiny_music.prompt(bars=4))
    part.tracks.pop(1)
    notes = part_tokens(tokens, tokens.encode(part, ends=False))
    for seed in range(6):
        grammar = begun(tokens, [PartRule(tokens, notes, [73])], bars=3, programs=[0, 73, -1])
        lead = [*tokens.header("band", 0), tokens.ids["Bar_None"], tokens.ids["TimeSig_4/4"]]
        heard = part_tokens(tokens, [*lead, *walk(grammar, seed)])
        flute = tokens.ids["Program_73"]
        assert {bar: [note for note in those if note[1][0] == flute] for bar, those in heard.items()} == notes
        assert grammar.done and sum(map(len, heard.values())) > sum(map(len, notes.values()))


def test_copies_go_their_own_ways(tokens):
    part = read_midi(tiny_music.prompt(bars=4))
    part.tracks.pop(1)
    notes = part_tokens(tokens, tokens.encode(part, ends=False))
    first = begun(tokens, [PartRule(tokens, notes, [73]), CrewRule(tokens)], bars=3, programs=[0, 73, -1])
    second = first.copy()
    one, two = walk(first, 1), walk(second, 2)
    again = begun(tokens, [PartRule(tokens, notes, [73]), CrewRule(tokens)], bars=3, programs=[0, 73, -1])
    assert one != two and walk(again.copy(), 2) == two and walk(again, 1) == one


def test_beats_of_durations():
    assert (beats("Duration_1.6.12"), beats("Duration_0.3.12"), beats("Duration_9.0.3")) == (1.5, 0.25, 9.0)
