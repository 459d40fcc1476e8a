import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from midi_bytes import band, midi, part, tempo, track

from songfoundry import notes
from songfoundry.notes.grammar import Grammar, Locks
from songfoundry.notes.tokens import TokenConfig, tokenizer

pytest.importorskip("symusic")
pytest.importorskip("miditok")
CODERS = {kind: tokenizer(TokenConfig(kind=kind)) for kind in ("remi", "performance", "chorale")}
REMI = CODERS["remi"]
C_MAJOR = [pitch in (0, 2, 4, 5, 7, 9, 11) for pitch in range(12)]
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def prompt(numerator: int = 3, power: int = 2, qpm: float = 100) -> np.ndarray:
    """Two instruments and drums, two bars and the beginning of one more."""
    head = track([tempo(0, qpm), (0, bytes([0xFF, 0x58, 4, numerator, power, 24, 8]))])
    bar = numerator * 4 * 480 // 2**power
    lines = [part(c, p, [(bar * n // 2, bar // 2, 48 + 12 * c, 91) for n in range(5)]) for c, p in ((0, 0), (1, 33))]
    return REMI.encode(notes.read_midi(midi([head, *lines, part(9, 0, [(0, 60, 36, 99), (bar, 60, 38, 99)])])), ends=False)


def write(grammar: Grammar, ids: np.ndarray, seed: int, most: int = 2000) -> list[int]:
    """Go on from `ids` by drawing a kind, then a token of that kind."""
    coder = grammar.rules.coder
    rng, written = np.random.default_rng(seed), [int(token) for token in ids]
    grammar.start(ids)
    while not grammar.done and len(written) < most:
        allowed = np.flatnonzero(grammar.mask() > -np.inf)
        kinds = sorted(set(coder.kinds[allowed]))
        chosen = kinds[rng.integers(len(kinds))]
        token = int(rng.choice(allowed[coder.kinds[allowed] == chosen]))
        assert grammar.forced() in (None, token)
        written.append(grammar.push(token))
    return written


def heard(score) -> list[tuple]:
    return sorted((t.is_drum, t.program, n.start, n.duration, n.pitch, n.velocity) for t in score.tracks for n in t.notes)


def bar_lines(ids) -> list[str]:
    return [REMI.value(token) for token in ids if REMI.kinds[token] == "TimeSig"]


@FEW
@given(
    seed=st.integers(0, 2**32), bars=st.integers(1, 4), metre=st.sampled_from([(4, 2), (3, 2), (6, 3), (5, 2), (13, 4), (2, 1)]),
    polyphony=st.integers(1, 8), key=st.sampled_from(["off", "soft", "hard"]), longest=st.sampled_from([None, 0.5, 3.0]),
)  # fmt: skip
def test_what_is_written_under_locks_keeps_metre_tempo_and_instruments(seed, bars, metre, polyphony, key, longest):
    ids = prompt(*metre)
    grammar = Grammar(REMI, locks=Locks(key=key), scale=C_MAJOR, polyphony=polyphony, max_duration=longest, bars=bars)
    written = write(grammar, ids, seed)
    before, score = REMI.decode(ids), REMI.decode(written)
    assert grammar.done and grammar.bar == len(REMI.bars(ids)) + bars == len(bar_lines(written))
    assert set(bar_lines(written)) == {f"{metre[0]}/{2 ** metre[1]}"} and len(score.time_signatures) == 1
    assert [(event.time, event.mspq) for event in score.tempos] == [(event.time, event.mspq) for event in before.tempos]
    assert {(t.is_drum, t.program) for t in score.tracks} == {(t.is_drum, t.program) for t in before.tracks}
    # Nothing outlasts the last bar, and every note that was written is there as it was written.
    bar = metre[0] * 4 * 48 // 2 ** metre[1]
    assert score.end() <= max(bar * grammar.bar, before.end())
    assert score.note_num() == sum(REMI.kinds[token] == "Duration" for token in written)
    again = REMI.decode(REMI.encode(score))
    assert heard(again) == heard(score)
    new = [note for note in heard(score) if note[2] >= before.end() and not note[0]]
    if key == "hard":
        assert all(C_MAJOR[note[4] % 12] for note in new)
    for line in score.tracks:
        later = [note for note in line.notes if note.start >= before.end()]
        assert all(sum(n.start <= note.start < n.end for n in line.notes) <= polyphony for note in later)
        assert longest is None or all(note.duration * 2 ** metre[1] <= longest * 4 * 48 for note in later)


@FEW
@given(seed=st.integers(0, 2**32), bars=st.integers(1, 5))
def test_what_is_written_without_locks_reads_back_the_same(seed, bars):
    grammar = Grammar(REMI, locks=Locks(metre=False, tempo=False, key="off", instruments=False), bars=bars)
    written = write(grammar, prompt(), seed)
    score = REMI.decode(written)
    again = REMI.decode(REMI.encode(score))
    last = max(note[2] for note in heard(score))
    assert heard(again) == heard(score)
    metres = [[(e.time, e.numerator, e.denominator) for e in piece.time_signatures if e.time <= last] for piece in (score, again)]
    assert metres[0] == metres[1]
    held = [(e.time, e.mspq) for e in score.tempos if e.time <= last]
    changes = [event for number, event in enumerate(held) if not number or held[number - 1][1] != event[1]]
    assert changes == [(e.time, e.mspq) for e in again.tempos]


@FEW
@given(seed=st.integers(0, 2**32), bars=st.integers(1, 3), polyphony=st.integers(1, 6), kind=st.sampled_from(["performance", "chorale"]))
def test_events_under_grammar_end_and_read_back_the_same(seed, bars, polyphony, kind):
    coder = CODERS[kind]
    grammar = Grammar(coder, locks=Locks(key="hard"), scale=C_MAJOR, polyphony=polyphony, bars=bars)
    written = write(grammar, coder.header(), seed, most=20000)
    score = coder.decode(written)
    assert grammar.done and grammar.bar == bars
    assert all(C_MAJOR[note[4] % 12] for note in heard(score))
    if kind == "chorale":
        assert coder.decode_steps(written).shape == (16 * bars, 4)
        return
    sounding = [sum(other[2] <= note[2] < other[2] + other[3] for other in heard(score)) for note in heard(score)]
    assert score.end() <= 2 * 200 * bars and max(sounding, default=0) <= polyphony
    if score.note_num():
        assert heard(coder.decode(coder.encode(score))) == heard(score)
        on, off = (sum(coder.kinds[token] == name for token in written) for name in ("NoteOn", "NoteOff"))
        assert on == off == score.note_num()


def test_the_plan_rules_the_metre_of_each_bar():
    ids = prompt(4, 2)
    begun = len(REMI.bars(ids))
    plan = {begun: (3, 4), begun + 1: (6, 8), begun + 2: (5, 8)}
    written = write(Grammar(REMI, metre_plan=lambda bar: plan[bar], bars=3), ids, 5)
    assert bar_lines(written)[begun:] == ["3/4", "6/8", "5/8"]
    bad = Grammar(REMI, metre_plan=lambda bar: (1, 1))
    bad.start(ids)
    bad.push(REMI.ids["Bar_None"])
    with pytest.raises(ValueError, match="metre that has a token"):
        bad.mask()


def test_from_nothing_the_plan_and_the_instruments_are_as_asked():
    grammar = Grammar(REMI, programs=[-1, 40], metre_plan=lambda bar: (7, 8), bars=4)
    score = REMI.decode(write(grammar, REMI.header("pop", 3), 7))
    assert {(t.is_drum, t.program) for t in score.tracks} <= {(True, 0), (False, 40)}
    assert [(e.numerator, e.denominator) for e in score.time_signatures] == [(7, 8)]


def test_infilling_counts_from_the_bars_before_the_gap():
    ids = REMI.encode(notes.read_midi(band(beats=32)), ends=False)
    task = REMI.fill(ids, 3, 5)
    # What is given ends with the bar line of the gap's first bar.
    given = task[: REMI.bars(task)[-2] + 1]
    grammar = Grammar(REMI, bars=1)
    grammar.start(given)
    assert grammar.bar == 4
    written = write(grammar, given, 1)
    score = REMI.decode(written)
    original = REMI.decode(ids)
    outside = [note for note in heard(score) if not 3 * 192 <= note[2] < 5 * 192]
    assert outside == [note for note in heard(original) if not 3 * 192 <= note[2] < 5 * 192]


def test_the_key_lock_is_soft_or_hard():
    ids = [*prompt(), *(REMI.ids[name] for name in ("Bar_None", "TimeSig_3/4", "Position_0", "Program_0"))]
    inside, outside = REMI.ids["Pitch_64"], REMI.ids["Pitch_66"]
    for key, expected in (("off", 0), ("soft", -2.5), ("hard", -np.inf)):
        grammar = Grammar(REMI, locks=Locks(key=key, key_strength=2.5), scale=C_MAJOR)
        grammar.start(ids)
        assert grammar.mask()[inside] == 0 and grammar.mask()[outside] == expected
    drums = [*ids[:-1], REMI.ids["Program_-1"]]
    grammar.start(drums)
    assert grammar.mask()[REMI.ids["PitchDrum_42"]] == 0 and grammar.mask()[inside] == -np.inf


def test_forbidden_tokens_are_refused_and_change_nothing():
    grammar = Grammar(REMI)
    grammar.start(prompt())
    before = grammar.mask().copy()
    for token in (REMI.eos, REMI.pad, REMI.ids["Pitch_60"], REMI.ids["TimeSig_4/4"], REMI.ids["MASK_None"], -1, REMI.size):
        with pytest.raises(ValueError, match="expected a token that is allowed"):
            grammar.push(token)
    assert np.array_equal(grammar.mask(), before)
    with pytest.raises(ValueError, match="read-only"):
        grammar.mask()[0] = 0


def test_prompts_that_are_no_sequence_are_refused():
    ids = prompt()
    velocity, pitch, bar = (REMI.ids[name] for name in ("Velocity_91", "Pitch_60", "Bar_None"))
    for wrong in ([], ids[1:], [*ids, velocity], [*ids[:3], pitch], [*ids, REMI.eos, bar], [*ids, 5000]):
        with pytest.raises(ValueError, match="expected"):
            Grammar(REMI).start(wrong)
    for coder in (CODERS["performance"], CODERS["chorale"]):
        with pytest.raises(ValueError, match="expected"):
            Grammar(coder).start([*coder.header(), coder.eos, coder.ids["Fill_after"], coder.pad])
    with pytest.raises(ValueError, match="12 truths"):
        Grammar(REMI, scale=[False] * 12)
    with pytest.raises(ValueError, match="programs of 0-127"):
        Grammar(REMI, programs=[130])


def test_a_bar_to_come_is_forced_and_its_metre_too():
    grammar = Grammar(REMI, bars=0)
    grammar.start(prompt())
    assert grammar.mask()[REMI.eos] == grammar.mask()[REMI.ids["Bar_None"]] == 0
    assert grammar.push(REMI.ids["Bar_None"]) == REMI.eos and grammar.done and grammar.bar == 3
    grammar = Grammar(REMI)
    grammar.start(prompt(6, 3))
    grammar.push(REMI.ids["Bar_None"])
    assert grammar.forced() == REMI.ids["TimeSig_6/8"] and grammar.bar == 4 and grammar.tick == -1


def test_the_last_bar_is_no_fuller_than_the_others_though_the_net_never_ends_a_piece():
    """A net that goes to the next bar after some eight notes, and for which EOS is as rare as in training, fills all bars alike."""
    taste = np.zeros(REMI.size)
    taste[REMI.eos] = -12.0
    taste[REMI.ids["Bar_None"]] = np.log(len(REMI.of_kind("Position")) / 4)
    counts = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        grammar = Grammar(REMI, programs=[0], bars=3)
        grammar.start(prompt())
        notes_in, ids = [], []
        while not grammar.done:
            logits = grammar.mask() + taste
            chances = np.exp(logits - logits.max())
            ids.append(grammar.push(int(rng.choice(len(chances), p=chances / chances.sum()))))
            notes_in += [0] if REMI.kinds[ids[-1]] == "Bar" else []
            if notes_in and REMI.kinds[ids[-1]] == "Pitch":
                notes_in[-1] += 1
        assert ids[-1] == REMI.eos and len(notes_in) == 3
        counts.append(notes_in)
    means = np.mean(counts, 0)
    assert means[-1] == pytest.approx(means[:-1].mean(), rel=0.25), means


def test_a_wait_over_the_end_is_one_up_to_it():
    coder = CODERS["performance"]
    grammar = Grammar(coder, bars=1)
    grammar.start([*coder.header(), *(coder.ids[name] for name in ("Velocity_20", "NoteOn_60"))])
    for pitch in (61, 62):
        for name in ("TimeShift_99", "Velocity_20", f"NoteOn_{pitch}"):
            assert grammar.push(coder.ids[name]) == coder.ids[name]
    assert grammar.push(coder.ids["TimeShift_70"]) == coder.ids["TimeShift_2"] and grammar.mask()[coder.ids["Velocity_20"]] == -np.inf
    for pitch in (60, 61, 62):
        grammar.push(coder.ids[f"NoteOff_{pitch}"])
    assert grammar.forced() == coder.eos


def test_copies_go_their_own_ways():
    grammar = Grammar(REMI, bars=3)
    grammar.start(prompt())
    other = grammar.copy()
    state = grammar.mask().copy()
    for name in ("Bar_None", "TimeSig_3/4", "Position_3", "Program_0", "Pitch_71", "Velocity_91", "Duration_1.0.12"):
        other.push(REMI.ids[name])
    assert np.array_equal(grammar.mask(), state) and other.bar == grammar.bar + 1 and other.tick == 3
    later = other.copy()
    later.push(REMI.ids["Program_0"])
    assert later.mask()[REMI.ids["Pitch_71"]] == -np.inf and later.mask()[REMI.ids["Pitch_72"]] == 0


def test_every_encoded_piece_is_a_sequence_of_the_grammar(shared_data):
    for path in sorted((shared_data / "midi" / "prompts").glob("*.mid")):
        score = notes.read_midi(path)
        for coder in (REMI, CODERS["performance"]):
            grammar = Grammar(coder)
            grammar.start(coder.encode(score, ends=False) if score.tracks else [])
            assert np.isfinite(grammar.mask()).any()


def test_a_mask_takes_less_than_a_tenth_of_a_millisecond():
    grammar = Grammar(REMI, scale=C_MAJOR, bars=8)
    spent = []
    grammar.start(prompt())
    rng = np.random.default_rng(0)
    for _ in range(400):
        begun = time.perf_counter()
        grammar.mask()
        spent.append(time.perf_counter() - begun)
        grammar.push(int(rng.choice(np.flatnonzero(grammar.mask() > -np.inf))))
        if grammar.done:
            grammar.start(prompt())
    assert np.median(spent) < 1e-4
