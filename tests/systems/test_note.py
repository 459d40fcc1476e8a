"""Hold the system of notes to its word: losses by their formulas, waveforms in tune, scores that can tell good from bad."""

import math

import numpy as np
import pytest
import torch
from tiny_notes import system

from songfoundry import checkpoint
from songfoundry.checkpoint import Checkpoint
from songfoundry.data.tones import tone
from songfoundry.systems.adversarial import discriminator_loss
from songfoundry.systems.note import NoteConfig


def batch(count=4):
    waves = [tone(("bright", "hollow")[number % 2], 60 + number, samples=4096, seed=number) for number in range(count)]
    pitch, instrument = torch.arange(60, 60 + count), torch.arange(count) % 2
    return {"waveform": torch.from_numpy(np.stack(waves)), "pitch": pitch, "instrument": instrument}


def test_losses_by_name_are_their_formulas():
    real, made = torch.tensor([0.5, -1.0, 3.0]), torch.tensor([-2.0, 0.25, -0.5])
    sigmoid = (-torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(made)).log().mean()).item()
    assert discriminator_loss("nonsaturating", real, made).item() == pytest.approx(sigmoid)
    assert discriminator_loss("hinge", real, made).item() == pytest.approx((0.5 + 2.0 + 0) / 3 + (0 + 1.25 + 0.5) / 3)
    assert discriminator_loss("wgan_gp", real, made).item() == pytest.approx((made.mean() - real.mean()).item())
    zero = torch.zeros(3)
    assert discriminator_loss("nonsaturating", zero, zero).item() == pytest.approx(2 * math.log(2))


def test_the_penalty_at_real_images_is_due_now_and_then_and_weighed_by_it():
    made, losses = system(r1=0.5, r1_every=4), []
    for step in range(5):
        made.begin_step(step, 10)
        torch.manual_seed(0)
        losses.append(made("discriminator", batch()))
    assert [("penalty" in found) for found in losses] == [True, False, False, False, True]
    real = made.images(batch()["waveform"])
    made.eval()
    squares = made._steepness(real, batch()["pitch"], batch()["instrument"])
    assert squares.shape == (4,) and (squares > 0).all()
    made.begin_step(0, 10)
    found = made("discriminator", batch())["penalty"]
    assert found.item() == pytest.approx(0.5 / 2 * 4 * squares.mean().item(), rel=1e-3)


def test_the_slope_between_images_is_held_to_one():
    made = system(loss="wgan_gp", penalty=10.0, net_options={"channels": [16, 12, 8], "spectral_norm": False})
    made.begin_step(1, 10)
    losses = made("discriminator", batch())
    assert losses["penalty"] > 0 and losses["drift"] >= 0
    with torch.no_grad():
        for parameter in made.phases()["discriminator"]:
            parameter.zero_()
    # A flat discriminator has slope 0: the penalty is (0 - 1)² times its weight.
    assert made("discriminator", batch())["penalty"].item() == pytest.approx(10.0, rel=1e-3)


def test_the_generator_s_turn_leaves_no_gradient_on_the_discriminator():
    made = system()
    sum(made("generator", batch()).values()).backward()
    assert all(p.grad is None and p.requires_grad for p in made.phases()["discriminator"])
    assert all(p.grad is not None for p in made.phases()["generator"])


def test_what_is_watched_is_said_once():
    made = system()
    assert made.watch() == {}
    made("discriminator", batch())
    seen = made.watch()
    assert {"right_real", "right_made", "gap", "head_pitch", "head_instrument"} == set(seen) and made.watch() == {}
    assert all(0 <= seen[name] <= 1 for name in seen if name != "gap")


def test_real_notes_score_best():
    """A generator that gives back the real note scores as high as can be, one that gives a fifth above does not."""
    made = system(samples=16384, frames=64, mels=256, net_options={"channels": [12, 8, 8]})
    made.eval()

    def given(pitch):
        image = made.images(torch.from_numpy(tone("bright", pitch, samples=16384, seed=5))[None])
        made.net.generator = lambda latent, *_: image.expand(len(latent), -1, -1, -1)
        return made.score({"name": "a", "waveform": tone("bright", 62, samples=16384, seed=5), "pitch": 62, "instrument": 0})

    right, wrong = given(62), given(69)
    assert right["in_tune"] == 1 and right["level"] == pytest.approx(0, abs=1e-3) and right["shape"] == pytest.approx(0, abs=1e-3)
    assert right["mean"] == pytest.approx(10, abs=0.01) and right["spread"] == pytest.approx(0, abs=1e-3)
    assert wrong["in_tune"] == 0 and wrong["level"] > 3 and wrong["mean"] < 0


def test_scores_and_previews_do_not_hang_on_random_numbers():
    made = system().eval()
    song = {"name": "a", "waveform": tone("bright", 62, samples=4096), "pitch": 62, "instrument": 0}
    first, shown = made.score(song), made.preview(song)
    torch.manual_seed(77)
    assert made.score(song) == first and all(math.isfinite(value) for value in first.values())
    again = made.preview(song)
    assert {artifact.kind for artifact in shown} == {"wav", "png"}
    (sound,), (same,) = ([a.content.samples for a in some if a.kind == "wav"] for some in (shown, again))
    assert np.array_equal(sound, same) and np.abs(sound).max() <= 1


@pytest.mark.parametrize("options", [{}, {"net_options": {"channels": [16, 12, 8], "growth": 0.5}}], ids=["plain", "growth"])
def test_a_checkpoint_makes_the_same_notes(tmp_path, options):
    made = system(**options).eval()
    made.begin_step(2, 10)
    path = tmp_path / "notes.safetensors"
    labels = (torch.tensor([60, 71, 20]), torch.tensor([0, 1, 1]))
    checkpoint.save(path, made.state_dict(), Checkpoint("note", made.config.model_dump()))
    again = checkpoint.load(path)
    assert torch.equal(again.notes(made.latents(3), *labels), made.notes(made.latents(3), *labels))
    assert torch.equal(made.latents(3, seed=4), again.latents(3, seed=4))
    checkpoint.save(path, checkpoint.half(made.state_dict()), Checkpoint("note", made.config.model_dump()))
    rounded = checkpoint.load(path)
    with torch.no_grad():
        exact, rough = (one.net.generator(made.latents(3), *labels) for one in (made, rounded))
    assert 0 < (exact - rough).norm() < 0.01 * exact.norm()


def test_images_come_back_as_sound_in_tune():
    from songfoundry.metrics.pitch import median_cents

    made = system(samples=16384, frames=64, mels=256, net_options={"channels": [12, 8, 8]})
    waves = torch.from_numpy(np.stack([tone("bright", pitch, samples=16384, seed=1) for pitch in (55, 67, 79)]))
    again = made.waveforms(made.images(waves))
    assert again.shape == waves.shape and again.abs().amax(1).tolist() == pytest.approx([1, 1, 1])
    assert all(abs(median_cents(wave.numpy(), 16000, pitch)) < 10 for wave, pitch in zip(again, (55, 67, 79), strict=True))


def test_a_config_without_instruments_names_what_is_missing():
    from songfoundry.errors import ConfigError
    from songfoundry.systems.note import Note

    with pytest.raises(ConfigError, match="instruments and pitches"):
        Note(NoteConfig())
