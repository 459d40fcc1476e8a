"""Hold the judge of notes to what it says: pictures on a logarithmic axis, pitch that is told wherever it lies, and no other trade."""

import numpy as np
import pytest
import torch

from songfoundry import checkpoint, config, training
from songfoundry.audio import io
from songfoundry.checkpoint import Checkpoint
from songfoundry.data.tones import tone
from songfoundry.errors import ConfigError
from songfoundry.separating.separator import Separator
from songfoundry.systems.note_classifier import LOWEST, LogFrequency, NoteClassifier, NoteClassifierConfig

SAMPLES = 8192
INSTRUMENTS = ["bright", "hollow"]


def classifier(**values) -> NoteClassifier:
    torch.manual_seed(0)
    options = {"instruments": INSTRUMENTS, "samples": SAMPLES, "channels": (4, 6, 8, 8), "features": 8, "move": 0.01, **values}
    return NoteClassifier(NoteClassifierConfig(**options)).eval()


def batch(pitches, seed=0) -> dict[str, torch.Tensor]:
    """Make a tone of each instrument at each pitch."""
    rows = [(tone(name, p, samples=SAMPLES, seed=seed + p), p, i) for p in pitches for i, name in enumerate(INSTRUMENTS)]
    waves, pitch, instrument = zip(*rows, strict=True)
    return {"waveform": torch.from_numpy(np.stack(waves)), "pitch": torch.tensor(pitch), "instrument": torch.tensor(instrument)}


@pytest.mark.parametrize("midi", [21, 45, 60, 84, 108])
def test_a_sine_lies_in_the_middle_of_its_semitone(midi):
    wave = torch.sin(2 * torch.pi * 440 * 2 ** ((midi - 69) / 12) * torch.arange(32768) / 16000)[None]
    picture = LogFrequency(16000, (4096, 1024), 512, 1e-3)(wave)
    assert picture.shape == (1, 2, 288, 64) and picture.min() >= -1 - 1e-5 and picture.max() <= 1 + 1e-5
    # The lowest sines are narrower than a bin of the transform: a semitone beside is near enough.
    allowed = 0 if midi > 40 else 3
    assert abs(int(picture[0, 0].mean(1).argmax()) - (3 * (midi - LOWEST) + 1)) <= allowed


def test_levels_do_not_matter():
    judge, heard = classifier(), batch([60])["waveform"]
    torch.testing.assert_close(judge.features(heard), judge.features(0.01 * heard), atol=1e-4, rtol=1e-4)


def test_it_learns_pitch_and_timbre_and_tells_pitches_that_it_never_heard():
    judge, unheard = classifier(), [57, 64]
    heard = batch([p for p in range(52, 70) if p not in unheard])
    optimizer = torch.optim.AdamW(judge.parameters(), lr=6e-3)
    for step in range(70):
        torch.manual_seed(step)
        optimizer.zero_grad()
        sum(judge("model", heard).values()).backward()
        optimizer.step()
    new = batch(unheard, seed=100)
    pitch, instrument = judge.judged(new["waveform"])
    assert pitch.shape == (4, 88) and instrument.shape == (4, 2)
    torch.testing.assert_close(pitch.sum(1), torch.ones(4))
    assert (pitch.argmax(1) + LOWEST == new["pitch"]).float().mean() >= 0.75
    assert (instrument.argmax(1) == new["instrument"]).float().mean() >= 0.75
    note = {"waveform": new["waveform"][0].numpy(), "pitch": 57, "instrument": 0}
    assert set(judge.score(note)) == {"mean", "pitch", "instrument"} and judge.score(note)["mean"] <= 0
    assert judge.preview(note) == []


def test_the_gradient_reaches_every_parameter():
    judge = classifier().train()
    sum(judge("model", batch([60, 65])).values()).backward()
    assert [name for name, p in judge.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_what_is_varied_stays_a_note_and_follows_from_the_step():
    judge, wave = classifier(move=0.1), batch([60])["waveform"]
    torch.manual_seed(4)
    first = judge._varied(wave)
    torch.manual_seed(4)
    assert torch.equal(first, judge._varied(wave)) and first.isfinite().all() and first.shape == wave.shape
    assert not torch.allclose(first, judge._varied(wave), atol=1e-3)


def test_it_comes_back_from_its_file_in_half_precision_and_is_no_separator(tmp_path):
    judge, path = classifier(), tmp_path / "judge.safetensors"
    checkpoint.save(path, checkpoint.half(judge.state_dict()), Checkpoint("note_classifier", judge.config.model_dump(), {}))
    again, wave = checkpoint.load(path), batch([60, 61])["waveform"]
    torch.testing.assert_close(again.features(wave), judge.features(wave), atol=0.02, rtol=0.02)
    with pytest.raises(ConfigError, match="expected a model that separates, found a note_classifier"):
        Separator(str(path))


def test_it_is_trained_by_the_one_loop(tmp_path):
    for split in ("train", "valid"):
        for name in INSTRUMENTS:
            for pitch in (60, 62):
                place = tmp_path / split / name
                place.mkdir(parents=True, exist_ok=True)
                io.write(place / f"{pitch}.wav", tone(name, pitch, samples=SAMPLES)[None], 16000)
    recipe = config.parse(config.Recipe, {
        "name": "judge", "seed": 1,
        "system": {"name": "note_classifier", "samples": SAMPLES, "channels": [4, 4, 4, 4], "features": 4},
        "data": {"name": "single_notes", "samples": SAMPLES, "pitches": [21, 108], "folders": [{"path": str(tmp_path)}]},
        "train": {"steps": 2, "batch": 2, "warmup": 1, "score_every": 2, "workers": 0, "accelerator": "cpu"},
    }, "test")  # fmt: skip
    model = checkpoint.load(training.train(recipe, tmp_path / "run"))
    assert model.instruments == INSTRUMENTS
    assert model.checkpoint.card["data"]["notes"] == 4


def test_wrong_recipes_are_told():
    with pytest.raises(ConfigError, match="expected the instruments of a note classifier, found none"):
        classifier(instruments=[])

    class Draws:
        instruments, pitches = ("oboe",), (10, 60)
        config = type("Drawn", (), {"rate": 16000})

    with pytest.raises(ConfigError, match="expected pitches from 21 to 108"):
        NoteClassifier.fitted(NoteClassifierConfig(), Draws())
    Draws.pitches = (40, 60)
    assert NoteClassifier.fitted(NoteClassifierConfig(), Draws()).instruments == ["oboe"]
    with pytest.raises(ConfigError, match="found flute: leave the key out"):
        NoteClassifier.fitted(NoteClassifierConfig(instruments=["flute"]), Draws())
    Draws.config.rate = 22050
    with pytest.raises(ConfigError, match="expected draws at 16000 Hz"):
        NoteClassifier.fitted(NoteClassifierConfig(), Draws())
