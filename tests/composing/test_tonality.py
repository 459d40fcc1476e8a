"""The key lock as it is heard: music that would settle elsewhere comes home, and music that is at home is let alone."""

import numpy as np
import pytest
from random_walks import begun, walk

from songfoundry.composing.prompts import notes_of, scale_of
from songfoundry.composing.steering import Rule
from songfoundry.composing.tonality import GOAL, KeyRule
from songfoundry.metrics.key import PROFILES, key_of, key_relation, key_scores, relative, sounding
from songfoundry.notes import TokenConfig, tokenizer

C_MAJOR, G_MAJOR, F_MINOR = 0, 7, 5 + 12


@pytest.fixture(scope="module")
def tokens():
    return tokenizer(TokenConfig())


def taste(tokens, key, nats=2.0):
    """Logits of a net that likes the triad of a key, many notes, and such of a beat or less."""
    logits = np.zeros(tokens.size)
    logits[tokens.of_kind("Bar")] = -4.0
    logits[tokens.of_kind("Program")] = 2.0
    triad = [key % 12, (key + (3 if key >= 12 else 4)) % 12, (key + 7) % 12]
    for token in tokens.of_kind("Pitch"):
        logits[token] = nats * (int(tokens.value(token)) % 12 in triad)
    for token in tokens.of_kind("Duration"):
        logits[token] = -3.0 * max(0, tokens.lengths[int(token)] / tokens.config.positions - 1)
    return logits


def heard(tokens, ids, metre="4/4"):
    return notes_of(tokens.decode([*tokens.header("band", 0), tokens.ids["Bar_None"], tokens.ids[f"TimeSig_{metre}"], *ids]))


@pytest.mark.parametrize(("key", "astray"), [(C_MAJOR, G_MAJOR), (C_MAJOR, 5), (F_MINOR, 0 + 12), (11, 6)])
def test_music_that_would_settle_on_another_tonic_comes_home(tokens, key, astray):
    relations = {True: [], False: []}
    for seed in range(6):
        for locked in relations:
            rules = [KeyRule(tokens, key, 4.0, 8, (4, 4))] if locked else []
            grammar = begun(tokens, rules, bars=7, programs=[0, -1], scale=scale_of(key), key_strength=4.0)
            notes = heard(tokens, walk(grammar, seed, taste=taste(tokens, astray)))
            relations[locked].append(key_relation(key, key_of(notes)))
    assert "neither" not in relations[True] and relations[False].count("neither") >= 3


def test_music_at_home_is_let_alone(tokens):
    rule = KeyRule(tokens, C_MAJOR, 4.0, 8, (4, 4), usual=PROFILES[C_MAJOR])
    steered, plain = begun(tokens, [rule], bars=7, programs=[0]), begun(tokens, [], bars=7, programs=[0])
    # The scale, up and down from C, half of its notes tonic and dominant.
    for step in range(40):
        pitch = (60, 67, 64, 60, 65, 67, 62, 60)[step % 8]
        for name in (*(["Bar_None", "TimeSig_4/4"] if step % 8 == 0 and step else []), f"Position_{step % 8 * 6}", "Program_0"):
            for grammar in (steered, plain):
                grammar.push(tokens.ids[name])
        assert np.array_equal(steered.mask(), plain.mask())
        for token in (tokens.ids[f"Pitch_{pitch}"], tokens.of_kind("Velocity")[20], tokens.ids["Duration_0.6.12"]):
            for grammar in (steered, plain):
                grammar.push(token)


def test_no_pitch_loses_more_than_the_strength_and_all_else_nothing(tokens):
    losses, pitches = [], tokens.kinds == "Pitch"

    class Watcher(Rule):
        def shape(self, mask, grammar):
            assert not mask[~pitches & np.isfinite(mask)].any()
            losses.append(mask[pitches & np.isfinite(mask)].min(initial=0))

    for strength, least in ((3.0, -3.0), (0.5, -0.5), (0.0, 0.0)):
        losses.clear()
        rules = [KeyRule(tokens, C_MAJOR, strength, 6, (4, 4)), Watcher()]
        walk(begun(tokens, rules, bars=5, programs=[0]), 1, taste=taste(tokens, 6))
        assert min(losses) == pytest.approx(least)  # so far off the whole strength is wanted


@pytest.mark.parametrize("metre", ["4/4", "6/8"])
def test_what_the_rule_has_heard_is_what_sounds(tokens, metre):
    rule = KeyRule(tokens, C_MAJOR, 4.0, 5, tuple(map(int, metre.split("/"))))
    ids = walk(begun(tokens, [rule], bars=4, programs=[0, 40, -1], metre=metre), 3)
    notes = heard(tokens, ids, metre)
    assert len(notes) > 20 and rule._sounded == pytest.approx(sounding(notes))


def test_the_goal_is_reached_where_it_can_be(tokens):
    rules = [KeyRule(tokens, C_MAJOR, 4.0, 8, (4, 4))]
    margins = []
    for seed in range(4):
        grammar = begun(tokens, [rule.copy() for rule in rules], bars=7, programs=[0], scale=scale_of(0))
        scores = key_scores(heard(tokens, walk(grammar, seed, taste=taste(tokens, G_MAJOR, 1.0))))
        rivals = [other for other in range(24) if other not in (C_MAJOR, relative(C_MAJOR))]
        margins.append(scores[C_MAJOR] - scores[rivals].max())
    assert min(margins) > 0 and np.mean(margins) > GOAL / 2


def test_the_gap_of_a_piece_need_not_make_its_key_alone(tokens):
    home = PROFILES[C_MAJOR] * 20
    losses = []
    for around in (False, True):
        rule = KeyRule(tokens, C_MAJOR, 4.0, 1, (4, 4), usual=home, around=around)
        grammar = begun(tokens, [rule], bars=0, programs=[0])
        for name in ("Position_0", "Program_0", "Pitch_67", "Velocity_127", "Duration_2.0.12", "Position_24", "Program_0"):
            grammar.push(tokens.ids[name])
        losses.append(grammar.mask()[tokens.ids["Pitch_62"]])
    assert losses[0] < losses[1] == 0


def test_copies_hear_for_themselves(tokens):
    first = begun(tokens, [KeyRule(tokens, C_MAJOR, 4.0, 4, (4, 4))], bars=3, programs=[0])
    second = first.copy()
    walk(first, 1)
    again = begun(tokens, [KeyRule(tokens, C_MAJOR, 4.0, 4, (4, 4))], bars=3, programs=[0])
    assert walk(second, 2) == walk(again, 2)
