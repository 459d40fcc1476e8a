"""Hold the composing system to what it says: loss, likelihood through windows, writing under grammars, training to the bit."""

import math

import numpy as np
import pytest
import torch

from songfoundry import checkpoint, config, training
from songfoundry.checkpoint import Checkpoint
from songfoundry.errors import Cancelled, ConfigError
from songfoundry.notes.tokens import HEADER
from songfoundry.systems.compose import Compose, ComposeConfig

pytest.importorskip("miditok")
NETS = ["lstm", "music_transformer"]


def system(net="music_transformer", **values) -> Compose:
    torch.manual_seed(0)
    return Compose(ComposeConfig(**{"net": net, "preset": "tiny", "context": 64, **values})).eval()


def piece(coder, bars=12, seed=0) -> np.ndarray:
    """Write a piece of valid REMI tokens, of random notes: 4/4, two programs."""
    rng, ids = np.random.default_rng(seed), [*coder.header("pop", 0)]
    for bar in range(bars):
        ids += [coder.ids["Bar_None"], coder.ids["TimeSig_4/4"]]
        for position in sorted(rng.choice(48, rng.integers(1, 4), replace=False)):
            ids.append(coder.ids[f"Position_{position}"])
            if bar == 0 and "Tempo" not in set(coder.kinds[ids]):
                ids.append(coder.of_kind("Tempo")[9])
            names = (f"Program_{rng.choice([0, 33])}", f"Pitch_{rng.integers(40, 80)}")
            ids += [*(coder.ids[name] for name in names), rng.choice(coder.of_kind("Velocity")), coder.ids["Duration_1.0.12"]]
    return np.array([*ids, coder.eos], np.int32)


class Lawless:
    """Stand for a grammar that forbids BOS and padding alone, forces a metre after each bar, and ends after some bars."""

    def __init__(self, coder, bars=1000):
        self.coder, self.left, self.done = coder, bars, False
        self.bar, self.metre, self.last = coder.ids["Bar_None"], coder.ids["TimeSig_4/4"], None

    def mask(self):
        mask = np.zeros(self.coder.size, np.float32)
        mask[[self.coder.bos, self.coder.pad]] = -np.inf
        # Bars are written often enough for a test.
        mask[self.bar] = 5.0
        return mask

    def forced(self):
        return self.metre if self.last == self.bar else None

    def push(self, token):
        if not np.isfinite(self.mask()[token]) or self.last == self.bar and token != self.metre:
            raise ValueError(token)
        self.last = token
        self.left -= token == self.bar
        self.done = self.left <= 0
        return token


def rngs(*seeds) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


def written(composer, prompt, count=1, bars=1000, seeds=None, **settings) -> list[list[int]]:
    found = [[] for _ in range(count)]
    grammars = [Lawless(composer.tokenizer, bars) for _ in range(count)]
    settings = {"steps": 100, "generators": rngs(*(seeds or range(count))), **settings}
    for number, token in composer.generate(prompt, grammars, **settings):
        found[number].append(token)
    return found


def test_the_loss_is_the_mean_over_weighted_tokens():
    built = system()
    tokens = torch.from_numpy(np.stack([piece(built.tokenizer, seed=n)[:65] for n in range(3)]).astype(np.int64))
    weights = torch.zeros(3, 64)
    weights[0, 5], weights[2, 30] = 1, 3
    with torch.no_grad():
        found = built("model", {"tokens": tokens, "weights": weights})
        chances = built.net(tokens[:, :-1])[0].log_softmax(-1)
        nothing = built("model", {"tokens": tokens, "weights": torch.zeros(3, 64)})
    expected = -(chances[0, 5, tokens[0, 6]] + 3 * chances[2, 30, tokens[2, 31]]) / 4
    assert list(found) == ["nll"] and float(found["nll"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(nothing["nll"]) == 0


@pytest.mark.parametrize("net", NETS)
def test_a_piece_is_learned_by_heart(net):
    built = system(net).train()
    optimizer = torch.optim.Adam(built.phases()["model"], lr=2e-2 if net == "lstm" else 1e-2)
    tokens = torch.from_numpy(piece(built.tokenizer)[None, :65].astype(np.int64))
    batch = {"tokens": tokens, "weights": torch.ones(1, 64)}
    history = []
    for _ in range(50):
        loss = built("model", batch)["nll"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    assert history[0] == pytest.approx(math.log(built.tokenizer.size), rel=0.15) and history[-1] < 2.5


def test_a_recurrent_net_s_likelihood_is_that_of_one_reading():
    built = system("lstm")
    ids = piece(built.tokenizer, bars=400)
    assert len(ids) > 4097  # more than is read at once
    with torch.no_grad():
        logits = built.net(torch.from_numpy(ids[None, :-1].astype(np.int64)))[0][0]
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids[1:].astype(np.int64)), reduction="none")
    assert built.likelihood(ids) == pytest.approx(expected.numpy(), abs=1e-4)


def test_a_window_s_likelihood_has_enough_before_every_token():
    built = system()
    ids, seen = piece(built.tokenizer, bars=30), []
    read = built._read

    def spy(part, cache):
        seen.append(np.array(part))
        return read(part, cache)

    built._read = spy
    nll = built.likelihood(ids)
    assert len(nll) == len(ids) - 1 and (nll > 0).all() and np.isfinite(nll).all()
    with torch.no_grad():
        logits = built.net(torch.from_numpy(ids[None, :64].astype(np.int64)))[0][0]
    first = torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids[1:65].astype(np.int64)), reduction="none")
    assert nll[:64] == pytest.approx(first.numpy(), abs=1e-5)
    # Later windows have the context's length, begin with the header, and overlap by a quarter of the context or more.
    assert all(len(part) == 64 for part in seen[:-1]) and all((part[:HEADER] == ids[:HEADER]).all() for part in seen)
    assert len(seen) <= 1 + math.ceil((len(nll) - 64) / 29)
    bars = [part[HEADER] == built.tokenizer.ids["Bar_None"] for part in seen]
    assert np.mean(bars) > 0.5


def test_scores_leave_out_what_is_given():
    built = system("lstm")
    ids = piece(built.tokenizer)
    nll = built.likelihood(ids)[2:]
    scores = built.score({"name": "x", "tokens": ids, "notes": 20})
    assert scores == pytest.approx({"nll": nll.mean(), "nll_note": nll.sum() / 20, "mean": -nll.mean()})
    assert built.score({"tokens": ids[:3], "notes": 0})["nll"] == 0


@pytest.mark.parametrize("net", NETS)
def test_writing_follows_the_net_greedily(net):
    """With temperature 0 each token is the likeliest that is allowed, given all before it."""
    built = system(net)
    prompt = piece(built.tokenizer)[:40]
    (found,) = written(built, prompt, steps=20, temperature=0.0)
    ids, law = list(prompt), Lawless(built.tokenizer)
    for token in found:
        with torch.no_grad():
            logits = built.net(torch.tensor([ids]))[0][0, -1].numpy()
        forced = law.forced()
        assert token == (forced if forced is not None else (logits + law.mask()).argmax())
        law.push(token)
        ids.append(token)
    assert len(found) == 20


@pytest.mark.parametrize("net", NETS)
def test_a_variation_does_not_depend_on_the_others(net):
    built = system(net)
    prompt = piece(built.tokenizer)[:30]
    # More than a window: what slides out goes at other tokens in each variation.
    together = written(built, prompt, count=3, steps=150)
    assert all(len(tokens) == 150 for tokens in together) and together[0] != together[1]
    for number in range(3):
        assert written(built, prompt, seeds=[number], steps=150) == [together[number]]


@pytest.mark.parametrize("net", NETS)
def test_variations_end_at_different_times_and_have_prompts_of_their_own(net):
    built = system(net)
    whole = piece(built.tokenizer)
    prompts = [whole[:20], whole[:45], whole[:31]]
    grammars = [Lawless(built.tokenizer, bars) for bars in (1, 3, 2)]
    found = [[], [], []]
    for number, token in built.generate(prompts, grammars, steps=200, generators=rngs(0, 1, 2)):
        found[number].append(token)
    bar = built.tokenizer.ids["Bar_None"]
    assert [tokens.count(bar) for tokens in found] == [1, 3, 2] and all(tokens[-1] == bar for tokens in found)
    for number, bars in enumerate((1, 3, 2)):
        assert written(built, prompts[number], bars=bars, seeds=[number], steps=200) == [found[number]]


def test_the_rest_goes_on_when_the_longest_is_done():
    # Rows are aligned at their ends: the columns of one that is done must not fill the cache of the others.
    built = system()
    whole = piece(built.tokenizer)
    found = [[], []]
    grammars = [Lawless(built.tokenizer, 1), Lawless(built.tokenizer)]
    for number, token in built.generate([whole[:55], whole[:12]], grammars, steps=150, generators=rngs(0, 1)):
        found[number].append(token)
    assert len(found[0]) < 9 and len(found[1]) == 150
    assert written(built, whole[:12], seeds=[1], steps=150) == [found[1]]


def test_the_window_slides_to_whole_bars_and_keeps_header_and_tempo():
    built = system()
    coder, ids = built.tokenizer, piece(built.tokenizer)[:-1]
    recent = built._recent(ids, 48)
    assert len(recent) <= 48 and (recent[:HEADER] == ids[:HEADER]).all() and recent[HEADER] == coder.ids["Bar_None"]
    assert (recent[-20:] == ids[-20:]).all()
    assert (coder.kinds[recent] == "Tempo").sum() == 1
    # A bar that is longer than the window leaves its end.
    long = np.concatenate([ids[:HEADER], ids[HEADER : HEADER + 2], np.tile(ids[-5:], 40)])
    assert len(built._recent(long, 48)) == 48 and (built._recent(long, 48)[HEADER:] == long[-45:]).all()


def test_a_prompt_longer_than_the_context_is_read_from_a_later_bar():
    built = system()
    prompt = piece(built.tokenizer, bars=60)[:-1]
    (found,) = written(built, prompt, steps=10)
    assert found == written(built, built._recent(prompt, 48), steps=10)[0]


def test_a_penalty_spares_what_is_no_pitch():
    built = system()
    prompt = piece(built.tokenizer)[:40]
    built._pitches[:] = False
    assert written(built, prompt, repetition_penalty=5.0) == written(built, prompt)
    built = system()
    assert written(built, prompt, repetition_penalty=5.0) != written(built, prompt)


def test_settings_out_of_range_are_refused_before_anything_is_written():
    built = system()
    with pytest.raises(ValueError, match="top_p"):
        built.generate(piece(built.tokenizer), [Lawless(built.tokenizer)], steps=5, top_p=1.5)


def test_nothing_is_written_where_nothing_is_asked_for():
    built = system()
    prompt = piece(built.tokenizer)
    assert list(built.generate(prompt, [], steps=5)) == []
    assert list(built.generate(prompt, [Lawless(built.tokenizer)], steps=0)) == []


@pytest.mark.parametrize("net", NETS)
def test_a_checkpoint_holds_the_tokenizer_s_config_and_writes_the_same(net, tmp_path):
    built = system(net, tokens={"velocities": 8, "tempi": 16})
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, built.state_dict(), Checkpoint("compose", built.config.model_dump(), {"steps": 3}))
    again = checkpoint.load(path)
    assert again.tokenizer.names == built.tokenizer.names and again.config == built.config
    prompt = piece(built.tokenizer)[:30]
    assert written(again, prompt) == written(built, prompt)
    checkpoint.save(path, checkpoint.half(built.state_dict()), Checkpoint("compose", built.config.model_dump()))
    assert checkpoint.load(path).likelihood(prompt) == pytest.approx(built.likelihood(prompt), abs=0.02)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [({"net": "bsrnn"}, "a net whose TASK is 'compose', found 'bsrnn'"), ({"preset": "tny"}, "a preset of music_transformer, found 'tny'"),
     ({"net_options": {"wdth": 3}}, "options that music_transformer knows"), ({"context": 4}, "a context of at least 16 tokens, found 4")],
)  # fmt: skip
def test_what_a_config_gets_wrong_is_named(values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        system(**values)


@pytest.mark.parametrize("kind", ["remi", "performance", "chorale"])
@pytest.mark.parametrize("net", NETS)
def test_a_preview_goes_on_in_the_prompt_s_metre_for_every_kind_of_tokens(net, kind):
    symusic = pytest.importorskip("symusic")
    built = system(net, tokens={"kind": kind}, context=256)
    song = symusic.Score(480)
    song.time_signatures.append(symusic.TimeSignature(0, 3 if kind == "remi" else 4, 4))
    song.tempos.append(symusic.Tempo(0, 90.0))
    for voice in range(4):
        track = symusic.Track(program=52 + voice if kind == "chorale" else voice)
        track.notes.extend(symusic.Note(480 * n, 480, 72 - 7 * voice + n % 3, 80) for n in range(48))
        song.tracks.append(track)
    tokens = built.tokenizer.encode(song, style="other")
    artifacts = {artifact.kind: artifact.content for artifact in built.preview({"name": "x", "tokens": tokens, "notes": 192})}
    assert artifacts["png"].startswith(b"\x89PNG")
    score = symusic.Score.from_midi(artifacts["mid"])
    metres = {(event.numerator, event.denominator) for event in score.time_signatures}
    assert metres == {(3, 4)} if kind == "remi" else True
    assert score.note_num() > 30 and all(note.duration > 0 for track in score.tracks for note in track.notes)


class Pieces:
    """Draw crops of one piece, as pure functions of their number."""

    def __init__(self, coder):
        self.piece, self.config = piece(coder, bars=30), config.Config()

    def __getitem__(self, number):
        begin = number * 7 % (len(self.piece) - 33)
        return {"tokens": torch.from_numpy(self.piece[begin : begin + 33].astype(np.int64)), "weights": torch.ones(32)}

    def validation(self):
        yield {"name": "a", "tokens": self.piece, "notes": 50}

    def describe(self):
        return {}

    def seen(self, examples):
        return {"tokens_seen": 32 * examples}


@pytest.mark.parametrize("net", NETS)
def test_a_resumed_training_gives_the_same_weights_bit_for_bit(net, tmp_path, monkeypatch):
    pytest.importorskip("lightning_fabric")
    from songfoundry.runs import Run
    from songfoundry.schedule import TrainConfig
    from songfoundry.trainer import Trainer

    values = {
        "name": "tiny", "system": {"name": "compose", "net": net, "preset": "tiny", "context": 32, "net_options": {"dropout": 0.2}},
        "data": {"name": "chorales"},
        "train": {"steps": 6, "batch": 2, "warmup": 2, "save_every": 3, "score_every": 6, "accelerator": "cpu", "workers": 0,
                  "precision": "bf16-mixed"},
    }  # fmt: skip
    recipe = config.parse(config.Recipe, values, "tiny")

    def train(folder, stop=lambda: False, **changes):
        built = system(net, context=32, net_options={"dropout": 0.2})
        monkeypatch.setattr(built, "preview", lambda song: [])
        trainer = Trainer(built, Pieces(built.tokenizer), config.parse(TrainConfig, recipe.train | changes, "train"), Run(folder, recipe))
        trainer.resume()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(trainer, "_agreed", lambda _: stop(trainer) if changes else False)
            scores = trainer.fit()
        return trainer, scores

    whole, scores = train(tmp_path / "whole")
    assert scores["mean"] == pytest.approx(-scores["nll"])
    with pytest.raises(Cancelled):
        train(tmp_path / "killed", stop=lambda trainer: trainer.step == 3, log_every=1)
    # A run folder stays locked in this process: take the state to another.
    (tmp_path / "killed").rename(tmp_path / "moved")
    resumed, _ = train(tmp_path / "moved")
    expected, found = whole.state(), resumed.state()
    assert expected.keys() == found.keys() and [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_the_system_is_registered():
    assert training.registry.get("systems", "compose") is Compose
