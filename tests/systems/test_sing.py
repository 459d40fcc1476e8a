"""The system that sings: who hears what, which gradient goes where, losses, the gate, training that goes on bit for bit."""

import csv
import importlib.util
import json

import numpy as np
import pytest
import torch
from tiny_singing import RATE, make_people, make_songs, recipe, system, voice

from songfoundry import checkpoint, training
from songfoundry.errors import Cancelled, ConfigError
from songfoundry.systems.sing import pitch_accuracy
from songfoundry.systems.sing_melody import filled, warped

FRAMES, SAMPLES = 64, 64 * 256


def batch(count=4, seed=0):
    """Give a batch as the draws do: half of it pairs, half of it songs with a band."""
    rng = np.random.default_rng(seed)

    def voices(low, high):
        return torch.stack([torch.from_numpy(voice([rng.uniform(low, high)], 0.9, seed=n)[:SAMPLES]) for n in range(count)])

    speech, sung = (torch.nn.functional.pad(found, (0, SAMPLES - found.shape[1])) for found in (voices(45, 50), voices(55, 62)))
    paired = torch.arange(count) % 2 == 0
    hertz = torch.full((count, FRAMES), 260.0)
    hertz[:, :8] = 0
    return {
        "speech": speech, "voice": sung, "backing": torch.randn(count, SAMPLES) * 0.05 * ~paired[:, None], "speech_hertz": hertz / 2,
        "voice_hertz": hertz, "map": torch.arange(FRAMES).expand(count, -1) * 0.9, "paired": paired, "backed": ~paired,
    }  # fmt: skip


def test_the_adversarial_gradient_reaches_every_weight_of_both_generators_and_none_of_the_discriminators():
    singer = system(cycle=0, identity=0, paired=0, f0=0, voicing=0).train()
    singer.forward("discriminator", batch())
    losses = singer.forward("generator", batch())
    assert set(losses) == {"adversarial_voice", "adversarial_speech"}
    sum(losses.values()).backward()
    assert [name for name, p in singer.named_parameters() if name.startswith("to_") and (p.grad is None or not p.grad.any())] == []
    assert all(p.grad is None for p in singer.phases()["discriminator"])


def test_changing_only_the_accompaniment_changes_the_answer_of_the_discriminator_of_singing():
    singer, shown = system().eval(), batch()
    images = singer.shown(shown)
    singer.judge_voice.fit(torch.cat((images["voice"], images["backing"]), 1))
    with torch.no_grad():
        own = singer.judge_voice(torch.cat((images["voice"], images["backing"]), 1))
        other = singer.judge_voice(torch.cat((images["voice"], images["backing"].roll(1, 0)), 1))
    assert (own - other).abs().amax(1).min() > 1e-3


def test_the_accompaniment_and_the_melody_change_what_is_sung():
    singer, images = system().eval(), system().shown(batch())
    plain = singer.convert(images["speech"], images["wanted"], images["backing"])
    other = singer.convert(images["speech"], images["wanted"], images["backing"].roll(1, 0))
    higher = singer.convert(images["speech"], images["wanted"] * 1.5, images["backing"])
    assert plain.abs().max() <= 1 and (plain - other).abs().max() > 1e-4 and (plain - higher).abs().max() > 0.05


def test_all_losses_of_the_recipe_are_there_and_training_lowers_those_of_the_generators():
    singer, shown = system().train(), batch()
    found = set(singer.forward("discriminator", shown))
    assert found == {"discriminator_voice", "swapped_voice", "discriminator_speech"}
    terms = ("adversarial", "cycle", "identity", "paired", "f0", "voicing")
    assert set(singer.forward("generator", shown)) == {f"{term}_{side}" for term in terms for side in ("voice", "speech")}
    singer = system(adversarial=0.0).train()
    optimizer = torch.optim.Adam(singer.phases()["generator"], 5e-3)
    totals = []
    for _ in range(16):
        losses = singer.forward("generator", shown)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        totals.append({name: float(loss.detach()) for name, loss in losses.items()})
    assert sum(totals[-1].values()) < 0.95 * sum(totals[0].values())
    falling = ("cycle_voice", "cycle_speech", "identity_voice", "identity_speech", "paired_voice", "paired_speech")
    assert all(totals[-1][name] < totals[0][name] for name in falling), (totals[0], totals[-1])
    left = {name.split("_")[0] for name in system(cycle=0, identity=0, paired=0, voicing=0).forward("generator", shown)}
    assert left == {"adversarial", "f0"} and not any(name.startswith("adversarial") for name in totals[0])


@pytest.mark.parametrize("loss", ["least_squares", "cross_entropy"])
def test_the_discriminators_learn_to_tell_real_from_made(loss):
    singer, shown = system(loss=loss).train(), batch()
    optimizer = torch.optim.Adam(singer.phases()["discriminator"], 2e-3, betas=(0.0, 0.99))
    for _ in range(15):
        optimizer.zero_grad()
        sum(singer.forward("discriminator", shown).values()).backward()
        optimizer.step()
    seen = singer.watch()
    assert seen["gap"] > 0.2 and seen["right_real_voice"] + seen["right_made_voice"] > 1.2 and {"fit_voice", "learning_speech"} <= set(seen)
    assert singer.watch() == {}


def test_a_discriminator_whose_running_loss_is_low_rests_until_it_is_high_again():
    singer, shown = system(gate=0.5).train(), batch()
    singer.forward("discriminator", shown)
    before = {name: p.clone() for name, p in singer.named_parameters() if name.startswith("judge")}
    optimizer = torch.optim.Adam(singer.phases()["discriminator"], 1e-2, betas=(0.0, 0.99))

    def step():
        optimizer.zero_grad()
        losses = singer.forward("discriminator", shown)
        sum(losses.values()).backward()
        optimizer.step()
        return losses, [name for name, p in singer.named_parameters() if name in before and not torch.equal(p, before[name])]

    singer.running[:] = 0.1
    losses, moved = step()
    assert moved == [] and float(losses["discriminator_voice"].detach()) > 0 and singer.watch()["learning_voice"] == 0
    assert singer.running[0] > 0.1, "what it loses is watched all the same"
    singer.running[:] = torch.tensor([2.0, 0.1])
    _, moved = step()
    assert moved and all(name.startswith("judge_voice") for name in moved), "each rests by itself"
    assert "running" in singer.state_dict()


def test_the_wanted_pitch_is_heard_in_an_image_and_a_wrong_one_is_not():
    singer = system(mels=128)
    for midi in (45, 57, 69):
        image = singer.images(torch.from_numpy(voice([midi], 1.2)[None]))
        inner = image[..., 25:65]
        hertz = torch.full((1, 40), 440 * 2 ** ((midi - 69) / 12))
        heard = singer.combs.pitch(inner)
        assert (1200 * torch.log2(heard.clamp(min=1) / hertz)).abs().le(51).float().mean() > 0.9, midi
        right, voicing = singer.combs.losses(inner, hertz)
        wrong, _ = singer.combs.losses(inner, hertz * 1.25)
        assert float(wrong) > 2 * float(right)
        assert float(singer.combs.losses(inner, hertz * 0)[1]) > 2 * float(voicing)
    moved = inner.clone().requires_grad_()
    singer.combs.losses(moved, hertz)[0].backward()
    assert moved.grad.abs().sum() > 0


def test_a_generator_follows_the_melody_before_it_has_learnt_anything():
    singer = system(mels=128, frames=64).eval()
    speech = singer.images(torch.from_numpy(np.tile(0.4 * voice([45], 1.0)[: RATE // 2 + 3200], 2)[None]))
    hertz = torch.full((1, speech.shape[-1]), 311.1)
    made = singer.convert(speech, hertz)
    wave = singer.waveforms(made)[0].numpy()
    loud = (speech.amax(1) > 0)[0].numpy()
    assert pitch_accuracy(wave, RATE, 256, np.where(loud, 311.1, 0.0)) > 0.8


def test_pitch_accuracy_is_one_for_the_truth_and_nothing_for_another_note():
    wave = voice([60], 1.0)
    wanted = np.full(len(wave) // 256, 440 * 2 ** ((60 - 69) / 12))
    wanted[:12], wanted[-12:] = 0, 0
    assert pitch_accuracy(wave, RATE, 256, wanted) > 0.97 and pitch_accuracy(wave, RATE, 256, wanted * 1.05) < 0.05
    assert pitch_accuracy(wave, RATE, 256, wanted * 0) == 0


def test_places_are_read_and_melodies_filled():
    series = torch.arange(5.0).expand(1, 2, 5)
    assert torch.allclose(warped(series, torch.tensor([[0.5, 3.25, 9.0]])), torch.tensor([[[0.5, 3.25, 4.0]] * 2]))
    assert warped(series[:, 0], torch.tensor([[0.6, 3.2]]), nearest=True).tolist() == [[1.0, 3.0]]
    assert filled(torch.tensor([[0.0, 2, 0, 3, 0], [0] * 5])).tolist() == [[2, 2, 2, 3, 3], [0] * 5]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    pytest.importorskip("pyworld")
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path / "cache"))
    make_people(tmp_path / "people")
    make_songs(tmp_path / "songs")
    return tmp_path


def test_a_training_that_was_stopped_goes_on_bit_for_bit_and_shows_its_four_nets(folder, monkeypatch):
    path = training.train(recipe(folder), folder / "whole")
    results = folder / "whole" / "results"
    rows = list(csv.DictReader((results / "four_networks.csv").open()))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"] and float(rows[-1]["cycle_voice"]) > 0
    assert {"preview_sung_made.wav", "preview_spoken_made.wav"} <= {found.name for found in results.iterdir()}
    if importlib.util.find_spec("matplotlib"):
        assert (results / "four_networks.png").read_bytes().startswith(b"\x89PNG")
    log = [json.loads(line) for line in (folder / "whole" / "log.jsonl").read_text().splitlines()]
    assert {"gap", "learning_voice"} <= set(log[0]["game"]) and {"db", "gain", "pitch", "back"} <= set(log[-1]["score"])
    # Drawn once is enough.
    monkeypatch.setattr("songfoundry.runs.Run.plot", lambda *_: None)
    monkeypatch.setattr("songfoundry.systems.sing.Sing.preview", lambda *_: [])
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        training.train(recipe(folder), folder / "parts", stop=lambda: next(asked))
    training.train(recipe(folder), folder / "parts")
    whole, parts = (checkpoint.read_tensors(folder / run / "checkpoints/last.safetensors") for run in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    trained = checkpoint.load(path)
    small = system(**{**trained.config.model_dump(), "judging": False})
    kept = {name: value for name, value in trained.state_dict().items() if name in small.state_dict()}
    small.load_state_dict(kept)
    images = torch.rand(1, 64, 50) * 2 - 1
    assert torch.equal(small.convert(images, torch.full((1, 50), 200.0)), trained.convert(images, torch.full((1, 50), 200.0)))
    assert list(small.phases()) == ["generator"] and not any(name.startswith("judge") for name in small.state_dict())


def test_what_does_not_fit_is_told(folder):
    for options, what in (({"frames": 32}, "expected draws at 16000 Hz of 32 frames"), ({"judging": False}, "system.judging = false")):
        with pytest.raises(ConfigError, match=what):
            training.build(recipe(folder, options))
    wrong = (({"hop": 100}, "fit together"), ({"net_options": {"down": 4}}, "odd kernels"), ({"net": "vae"}, "TASK is 'convert'"),
             ({"judge": "vae"}, "TASK is 'judge'"), ({"judge_options": {"temperature": 0}}, "temperature"))  # fmt: skip
    for options, what in wrong:
        with pytest.raises(ConfigError, match=what):
            system(**options)
