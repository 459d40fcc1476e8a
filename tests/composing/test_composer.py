"""Composing with a net of random weights: what holds then holds by construction, whatever was learned."""

import json

import midi_bytes
import numpy as np
import pytest
import tiny_music
import torch

from songfoundry import checkpoint, notes
from songfoundry.composing.chords import parse_chord
from songfoundry.composing.composer import Composer
from songfoundry.composing.prompts import notes_of
from songfoundry.errors import Cancelled, CheckpointError, ConfigError, InputError
from songfoundry.metrics.key import key_of
from songfoundry.notes.vocabulary import STYLES


@pytest.fixture(scope="module")
def composer():
    return Composer(tiny_music.system(), threads=1)


@pytest.fixture(scope="module", params=["lstm", "music_transformer"])
def either(request):
    return Composer(tiny_music.system(request.param), threads=1)


def signatures(score):
    return [(s.time, s.numerator, s.denominator) for s in score.time_signatures]


def tempi(score):
    return [(t.time, t.mspq) for t in score.tempos]


def written(made):
    """Give the notes of a composition that its base does not have: (track, time, duration, pitch, velocity)."""
    old = made.plan.base
    found = set()
    for number, track in enumerate(made.score.tracks):
        before = set(tiny_music.rows(old.tracks[number])) if number < len(old.tracks) else set()
        found |= {(number, *row) for row in tiny_music.rows(track) if row not in before}
    return found


def check_kept(prompt, made):
    """The prompt is in the result as it was, and nothing of the course of time is another's."""
    split = made.split_tick
    assert tempi(prompt) == tempi(made.score)[: len(prompt.tempos)] and signatures(prompt) == signatures(made.score)
    assert len(made.score.tracks) == len(prompt.tracks)
    for old, new in zip(prompt.tracks, made.score.tracks, strict=True):
        assert (old.name, old.program, old.is_drum) == (new.name, new.program, new.is_drum)
        assert tiny_music.rows(old) == tiny_music.rows(new, split)
        assert [(c.time, c.number, c.value) for c in old.controls if c.time < split] == [
            (c.time, c.number, c.value) for c in new.controls if c.time < split
        ]


@pytest.mark.parametrize(("metre", "qpm"), tiny_music.METRES.items())
def test_metre_and_tempo_are_kept_by_construction(either, metre, qpm):
    prompt = notes.read_midi(tiny_music.prompt(*metre, qpm))
    bar = tiny_music.ticks(*metre)
    for made in either.compose(prompt, bars=3, variations=2, seed=int(qpm)):
        check_kept(prompt, made)
        again = notes.read_midi(made.score.dumps_midi())
        assert signatures(again) == [(0, *metre)] and tempi(again) == [(0, round(60e6 / qpm))]
        assert (made.split_tick, made.end_tick) == (4 * bar, 7 * bar)
        starts = [note.time for track in again.tracks for note in track.notes if note.time >= 4 * bar]
        ends = [note.time + note.duration for track in again.tracks for note in track.notes if note.time >= 4 * bar]
        assert {(start - 4 * bar) // bar for start in starts} == {0, 1, 2}  # no bar is empty
        assert max(ends) <= 7 * bar  # no note hangs
        grid = bar / (12 * made.plan.metres[0][0])
        assert all((start % bar) % grid == 0 for start in starts)
        assert made.placed == len(made.notes) and {track.program for track in again.tracks} == {73, 24}


def test_real_prompts_keep_metre_tempo_and_every_note(composer, shared_data):
    table = json.loads((shared_data / "midi" / "prompts" / "prompts.json").read_text())["prompts"]
    for entry in table:
        prompt = notes.read_midi(shared_data / "midi" / "prompts" / entry["file"])
        (made,) = composer.compose(prompt, bars=2, seed=1)
        check_kept(prompt, made)
        again = notes.read_midi(made.score.dumps_midi())
        numerator, denominator = map(int, entry["meter"]["value"].split("/"))
        assert made.plan.metre == (numerator, denominator) and made.plan.prompt_bars == entry["bars"], entry["id"]
        assert made.split_tick == entry["length_quarters"] * 480
        if len(prompt.tempos) == 1:
            assert tempi(again) == tempi(prompt)
        else:
            assert tempi(again)[:-1] == tempi(prompt) and tempi(again)[-1][0] == made.split_tick
            mean = last_bars_qpm(prompt, made.split_tick, entry["bars"])
            assert made.plan.pace[0][1] == pytest.approx(mean, rel=1e-4)


def last_bars_qpm(score, end, bars):
    """Quarters over minutes of the last four bars, by the seconds of each quarter."""
    seconds = notes.beat_times(score)
    quarters = end // 480
    first = quarters - quarters * 4 // bars
    per = np.diff(seconds)[first:quarters]
    return 60 * len(per) / per.sum()


def test_the_same_seed_gives_the_same_music_whatever_the_number(either):
    data = tiny_music.prompt()
    four = either.compose(data, bars=2, variations=4, seed=7)
    one = either.compose(data, bars=2, variations=1, seed=7)
    other = either.compose(data, bars=2, variations=1, seed=8)
    assert four[0].notes == one[0].notes != other[0].notes
    assert four[0].score.dumps_midi() == one[0].score.dumps_midi()
    assert len({tuple(made.notes) for made in four}) == 4


def test_notes_of_a_prompt_that_never_end_are_told(composer):
    hanging = tiny_music.prompt(4, 4, 120)
    tracks = int.from_bytes(hanging[10:12], "big")
    hanging = hanging[:10] + (tracks + 1).to_bytes(2, "big") + hanging[12:] + midi_bytes.track([(0, b"\x90\x40\x64")])
    (made,) = composer.compose(hanging, bars=1)
    assert "never end: left out" in made.plan.said[0]


def test_a_stream_yields_what_compose_gives_and_measures_itself(either):
    data = tiny_music.prompt(6, 8)
    stream = either.stream(data, bars=3, seed=5)
    events = list(stream)
    (made,) = either.compose(data, bars=3, seed=5)
    assert events == made.notes and stream.notes == len(events)
    assert stream.composition.score.dumps_midi() == made.score.dumps_midi()
    assert stream.notes_per_second == pytest.approx(len(events) / stream.elapsed) and 0 < stream.first_seconds <= stream.elapsed
    assert [event.start for event in events] == sorted(event.start for event in events)
    assert events[0].seconds == pytest.approx(events[0].start * 60 / 120)
    assert {event.bar for event in events} == {0, 1, 2} and all(event.bar == event.start // 3 for event in events)


def test_a_stream_gives_its_first_note_before_the_rest_is_written(composer):
    stream = composer.stream(tiny_music.prompt(), bars=64, seed=5)
    next(stream)
    assert stream.notes == 1 and stream.composition is None


@pytest.mark.parametrize("net", ["lstm", "music_transformer"])
def test_the_first_note_comes_within_two_seconds_of_work_with_a_net_of_full_size(net):
    import time

    from songfoundry.systems.compose import Compose, ComposeConfig

    full = Composer(Compose(ComposeConfig(net=net, preset="small")), threads=1)
    begun = time.process_time()  # of this process: the machine may be busy with other things
    next(full.stream(tiny_music.prompt(bars=16, drums=True), seed=1))
    assert time.process_time() - begun < 2


def test_locks_that_are_open_let_metre_tempo_and_instruments_change(composer):
    prompt = notes.read_midi(tiny_music.prompt())
    (made,) = composer.compose(prompt, bars=5, seed=3, lock="none")
    assert len(signatures(made.score)) > 2 and signatures(made.score)[0] == (0, 4, 4)
    assert len(tempi(made.score)) > 1 and len(made.score.tracks) > 2
    assert {event.program for event in made.notes} - {73, 24}
    for time, _, _ in signatures(made.score)[1:]:
        assert time >= made.split_tick
    (kept,) = composer.compose(prompt, bars=5, seed=3, lock="metre,tempo")
    assert signatures(kept.score) == [(0, 4, 4)] and len(tempi(kept.score)) == 1 and len(kept.score.tracks) > 2


def test_the_key_lock_holds_hard_and_leans_soft(composer):
    prompt = notes.read_midi(tiny_music.prompt())
    scale = {0, 2, 4, 5, 7, 8, 9, 11}

    def outside(**options):
        made = composer.compose(prompt, bars=4, variations=2, seed=3, **options)
        pitches = [note.pitch % 12 for one in made for note in one.notes]
        return sum(pitch not in scale for pitch in pitches) / len(pitches)

    free, soft, hard = outside(lock="metre,tempo"), outside(), outside(lock="key=hard,instruments")
    assert free > 0.2 and soft < free / 3 and hard == 0


def test_an_end_closes_on_the_tonic(composer):
    for made in composer.compose(tiny_music.prompt(), bars=3, variations=4, seed=2, end=True):
        last = [event for event in made.notes if event.bar == 2]
        assert {event.start for event in last} == {8.0} and 9 in {event.pitch % 12 for event in last}
        assert {event.pitch % 12 for event in last} <= {9, 0, 4} and all(event.length >= 1 for event in last)
        assert {event.bar for event in made.notes} == {0, 1, 2}


def test_chords_are_leant_to_bar_by_bar(composer):
    names = ["C", "G7", "F#dim"]
    made = composer.compose(tiny_music.prompt(), bars=9, variations=2, seed=3, chords=" ".join(names))
    for number, name in enumerate(names):
        pitches = [event.pitch % 12 for one in made for event in one.notes if event.bar % 3 == number]
        tones = parse_chord(name).tones
        assert sum(pitch in tones for pitch in pitches) / len(pitches) > 0.85


def test_music_from_nothing_is_as_it_was_ordered(composer):
    (made,) = composer.compose(bars=5, key="Eb major", metre="7/8", tempo=99.5, style="folk", lock="metre,tempo,key=hard", seed=3)
    assert signatures(made.score) == [(0, 7, 8)] and tempi(made.score) == [(0, round(60e6 / 99.5))]
    assert (made.split_tick, made.end_tick, made.plan.mode) == (0, 5 * 1680, "new")
    pitched = [event.pitch % 12 for event in made.notes if event.program >= 0]
    assert set(pitched) <= {3, 5, 7, 8, 10, 0, 2} and key_of(notes_of(made.score)) is not None
    assert len({event.program for event in made.notes}) <= 16
    names = [composer.tokenizer.names[token] for token in made.plan.tokens[:5]]
    assert names == ["BOS_None", "Style_folk", "Key_3", "Bar_None", "TimeSig_7/8"]


def test_a_melody_is_kept_note_for_note_and_the_rest_is_new(either):
    prompt = notes.read_midi(tiny_music.prompt(6, 8, 104.0, drums=True))
    for made in either.compose(prompt, melody="1", variations=2, seed=3):
        assert tiny_music.rows(made.score.tracks[0]) == tiny_music.rows(prompt.tracks[0])
        assert signatures(made.score) == signatures(prompt) and tempi(made.score) == tempi(prompt)
        assert {event.program for event in made.notes} == {24, -1} and {event.track for event in made.notes} == {1, 2}
        assert made.end_tick == made.plan.limit == 4 * 1440 and {event.bar for event in made.notes} == {0, 1, 2, 3}
        # The net has heard every note of it: they are among the tokens in their places.
        assert made.tokens > 4 * sum(map(len, made.plan.part.values()))


def test_the_melody_is_among_the_tokens_at_its_places(composer):
    wanted, plan = composer._plan(tiny_music.prompt(3, 4), {"melody": "1"})
    grammar = composer._grammar(plan, wanted)
    tokens = [token for _, token in composer._tokens(plan, [grammar], wanted, 3)]
    from songfoundry.composing.steering import part_tokens

    heard = part_tokens(composer.tokenizer, np.array([*plan.tokens, *tokens]))
    program = composer.tokenizer.ids["Program_73"]
    mine = {bar: [(at, note) for at, note in those if note[0] == program] for bar, those in heard.items()}
    assert mine == plan.part and sum(map(len, mine.values())) == 12
    assert any(note[0] != program for those in heard.values() for _, note in those)


def test_a_melody_alone_may_be_accompanied_by_any_instrument(composer):
    single = midi_bytes.midi([midi_bytes.part(0, 0, [(480 * n, 470, 60 + n % 5, 80) for n in range(8)])])
    (made,) = composer.compose(single, melody="1", seed=3)
    assert tiny_music.rows(made.score.tracks[0]) == tiny_music.rows(notes.read_midi(single).tracks[0])
    assert len(made.score.tracks) > 1 and 0 not in {event.program for event in made.notes}


def test_a_gap_is_filled_and_all_else_stays(either):
    prompt = notes.read_midi(tiny_music.prompt(5, 4, 141.0, bars=8, drums=True))
    bar = tiny_music.ticks(5, 4)
    for made in either.compose(prompt, replace_bars="5-6", variations=2, seed=3):
        begin, end = 4 * bar, 6 * bar
        assert signatures(made.score) == signatures(prompt) and tempi(made.score) == tempi(prompt)
        for old, new in zip(prompt.tracks, made.score.tracks, strict=True):
            outside = [[row for row in tiny_music.rows(track) if not begin <= row[0] < end] for track in (old, new)]
            assert outside[0] == outside[1]
        new = written(made)
        assert new and all(begin <= time and time + length <= end for _, time, length, _, _ in new)
        assert {(time - begin) // bar for _, time, _, _, _ in new} == {0, 1} and made.plan.mode == "infill"


def test_drums_go_on_as_drums(composer):
    (made,) = composer.compose(tiny_music.drum_prompt(), bars=2, seed=3)
    assert {event.program for event in made.notes} == {-1} and made.plan.style == "drums"
    assert [track.is_drum for track in made.score.tracks] == [True]


def test_pedals_do_not_hang_over_the_continuation(composer):
    struck = [(480 * n + d, bytes([0x90, 60 + n, 80 * (not d)])) for n in range(8) for d in (0, 400)]
    held = midi_bytes.midi([midi_bytes.track([(0, b"\xb0\x40\x7f"), *struck])])
    (made,) = composer.compose(held, bars=1, seed=3)
    controls = [(c.time, c.number, c.value) for c in made.score.tracks[0].controls]
    assert controls == [(0, 64, 127), (3840, 64, 0)]


def test_only_what_is_new_stands_alone_in_the_same_course(composer):
    prompt = notes.read_midi(tiny_music.prompt(13, 16, 168.0))
    (made,) = composer.compose(prompt, bars=2, seed=3)
    alone = made.only_new
    assert signatures(alone) == [(0, 13, 16)] and tempi(alone) == tempi(prompt)
    moved = [row for track in alone.tracks for row in tiny_music.rows(track)]
    assert sorted((t + made.split_tick, d, p, v) for t, d, p, v in moved) == sorted(row[1:] for row in written(made))


def test_a_blend_begins_as_the_one_and_ends_as_the_other(either):
    one, two = tiny_music.prompt(qpm=100.0), tiny_music.prompt(qpm=144.0, drums=True)
    made = either.blend(one, two, bars=2, steps=3, seed=6, repetition_penalty=1.5)
    assert made[0].notes != either.blend(one, two, bars=2, steps=2, seed=6)[0].notes
    for weight, data in ((0, one), (-1, two)):
        (own,) = either.compose(data, bars=2, seed=6, repetition_penalty=1.5)
        rows = [[(e.start, e.length, e.pitch, e.velocity, e.program) for e in piece.notes] for piece in (made[weight], own)]
        assert rows[0] == rows[1]
    assert [t.mspq for piece in made for t in piece.score.tempos] == [600_000, 500_000, 416_667]
    assert all(piece.split_tick == 0 for piece in made) and made[1].notes not in (made[0].notes, made[2].notes)


@pytest.mark.parametrize("net", ["lstm", "music_transformer"])
def test_a_step_of_a_blend_does_not_depend_on_how_many_there_are(net):
    composer = Composer(tiny_music.system(net, context=128), threads=1)  # so short that windows slide, each at its time
    one, two = tiny_music.prompt(qpm=100.0, bars=2), tiny_music.prompt(qpm=144.0, drums=True)
    few, many = (composer.blend(one, two, bars=6, steps=steps, seed=4) for steps in (3, 5))
    assert max(len(piece.plan.tokens) + piece.tokens for piece in many) > 160
    for coarse, fine in ((0, 0), (1, 2), (2, 4)):
        assert few[coarse].notes == many[fine].notes


def test_styles_that_a_model_never_heard_are_refused(tmp_path):
    made = tiny_music.system()
    for folders, styles in ((["midi/pop909.zip", "midi/groove.zip"], ("pop", "drums")), (["midi/pop909.zip", "mine"], STYLES)):
        path = tmp_path / f"{len(styles)}.safetensors"
        card = {"data": {"folders": folders}}
        checkpoint.save(path, made.state_dict(), checkpoint.Checkpoint("compose", made.config.model_dump(), card))
        assert Composer(path, threads=1).styles == styles
    with pytest.raises(ConfigError, match="has learned after --style, found folk: take one of pop, drums"):
        Composer(tmp_path / "2.safetensors", threads=1).compose(tiny_music.prompt(), style="folk")


def test_work_stops_when_it_is_told_to(composer):
    import threading

    event = threading.Event()
    event.set()
    with pytest.raises(Cancelled):
        composer.compose(tiny_music.prompt(), cancel=event)
    with pytest.raises(Cancelled):
        composer.compose(tiny_music.prompt(), progress=lambda fraction: False)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bars": 0}, "bars"), ({"temperature": -1}, "temperature"), ({"top_p": 0}, "top_p"), ({"colour": "red"}, "expected a known key"),
        ({"lock": "metre,tmpo"}, "did you mean 'tempo'"), ({"lock": "none,key"}, "after --lock"), ({"style": "jazz"}, "expected a style"),
        ({"key": "H"}, "expected a key"), ({"lock": "none", "key_strength": 9}, "found --lock none"),
        ({"replace_bars": "4-3"}, "such as 5-8"), ({"replace_bars": "x"}, "such as 5-8"), ({"chords": "C H"}, "name of a chord"),
        ({"melody": "1", "replace_bars": "1"}, "found both"), ({"replace_bars": "2", "end": True}, "--replace-bars or --end"),
        ({"metre": "3/4"}, "a prompt has its own"), ({"tempo": 100}, "a prompt has its own"), ({"seed": -1}, "seed"),
        ({"variations": 0}, "variations"),
    ],
)  # fmt: skip
def test_wishes_that_cannot_be_met_are_refused_in_a_sentence(composer, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        composer.compose(tiny_music.prompt(), **options)


@pytest.mark.parametrize(
    ("data", "options", "sentence"),
    [
        (tiny_music.prompt(), {"melody": "9"}, "a track of the MIDI data after --melody, found '9'"),
        (tiny_music.prompt(), {"replace_bars": "3-99"}, "bars from 1 to 4 of the MIDI data"),
        (tiny_music.drum_prompt(), {"chords": "C G"}, "--chords only for music with pitches, found drums alone in the MIDI data"),
        (tiny_music.drum_prompt(), {"key": "D minor"}, "--key only for music with pitches"),
    ],
)
def test_what_one_prompt_cannot_give_is_its_own_fault(composer, data, options, sentence):
    with pytest.raises(InputError, match=sentence):
        composer.compose(data, **options)
    if "melody" not in options and "replace_bars" not in options:
        with pytest.raises(ConfigError, match="found drums alone in the style drums"):
            composer.compose(style="drums", **options)


def test_music_with_pitches_is_never_taken_for_drums(composer, monkeypatch):
    """A net that finds everything likeliest under the style drums has still heard a melody."""

    def forward(batch, *_, **__):
        logits = torch.zeros(*batch.shape, len(composer.tokenizer.names))
        drums = batch[:, 1] == composer.tokenizer.ids["Style_drums"]
        logits[drums, :-1] = 20 * torch.nn.functional.one_hot(batch[drums, 1:], logits.shape[-1]).float()
        return logits, None

    monkeypatch.setattr(composer.system.net, "forward", forward)
    assert composer._plan(tiny_music.prompt(drums=True), {})[1].style not in (None, "drums")
    assert composer._plan(tiny_music.prompt(), {"melody": "1"})[1].style != "drums"
    assert composer._plan(tiny_music.drum_prompt(), {})[1].style == "drums"


def test_a_prompt_is_asked_for_where_one_is_needed(composer):
    with pytest.raises(ConfigError, match="expected a prompt with --melody"):
        composer.compose(melody="1")
    with pytest.raises(InputError, match="expected notes in the MIDI data, found none"):
        composer.compose(midi_bytes.midi([midi_bytes.track([])]))


def test_models_are_found_and_others_refused(tmp_path):
    path = tiny_music.checkpoint(tmp_path / "mine.safetensors")
    assert Composer(path, threads=1).name == "mine"
    import known_models

    with pytest.raises(CheckpointError, match="expected a model that composes, found shares, which was made to separate"):
        Composer(known_models.save(tmp_path / "shares.safetensors", known_models.system()))
    with pytest.raises(ConfigError, match="expected the name of a model, found 'transfomer'"):
        Composer("transfomer")
    made = tiny_music.system()
    chorale = type(made)(made.config.model_copy(update={"tokens": made.config.tokens.model_copy(update={"kind": "chorale"})}))
    with pytest.raises(CheckpointError, match="found music_transformer for chorale tokens"):
        Composer(chorale)
    assert checkpoint.read_header(path).system == "compose"
