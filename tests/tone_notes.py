"""Build a system of notes whose net is put aside: it makes additive tones whose pitch the tests can check."""

from pathlib import Path

import numpy as np
import tiny_notes
import torch

from songfoundry import checkpoint
from songfoundry.data.tones import tone
from songfoundry.timbre.generator import NoteGenerator

INSTRUMENTS = ("bright", "hollow", "plucked", "vocal")
PITCHES = (48, 72)


class Tones(NoteGenerator):
    """Make tones of the instrument that weighs most, another for each latent; `asked` lists (pitch, instrument) of each."""

    def __init__(self):
        super().__init__(tiny_notes.system(instruments=list(INSTRUMENTS), pitches=PITCHES), "cpu", 1)
        self.seconds, self.asked = 2.048, []
        self.system.notes = self._notes

    def _notes(self, latent, pitch, instrument):
        numbers = instrument.argmax(1) if instrument.is_floating_point() else instrument
        rows = list(zip(pitch.tolist(), numbers.tolist(), latent[:, 0].tolist(), strict=True))
        self.asked += [(pitch, number) for pitch, number, _ in rows]
        made = [tone(INSTRUMENTS[number], pitch, seed=int(abs(first) * 1e6)) for pitch, number, first in rows]
        return torch.from_numpy(np.stack(made))


def save_model(path: Path, ranges: dict | None = None) -> Path:
    """Write the tiny system of random weights as a checkpoint; `ranges` is what its card tells of the instruments' pitches."""
    made = tiny_notes.system()
    card = {"licence": "test"} | ({} if ranges is None else {"data": {"instruments": ranges}})
    checkpoint.save(path, made.state_dict(), checkpoint.Checkpoint("note", made.config.model_dump(mode="json"), card))
    return path
