"""Separate a file with demucs 4.1's `htdemucs` of random weights, as its own command line would: python demucs_peer.py SONG OUT.

Imports nothing of songfoundry, so that any Python that has demucs, torch and soundfile can run it.
"""

import sys
from pathlib import Path

import soundfile
import torch
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs

SOURCES = ["drums", "bass", "other", "vocals"]


def main(song: str, out: str) -> None:
    torch.manual_seed(0)
    # As published under the signature 955717e8: 42.0 M parameters, 84 MB in half precision.
    model = HTDemucs(SOURCES, bottom_channels=512, dconv_mode=3, t_layers=5, segment=7.8).eval()
    audio, rate = soundfile.read(song, dtype="float32", always_2d=True)
    mixture = torch.from_numpy(audio.T)
    mean, deviation = mixture.mean(), mixture.mean(0).std()
    stems = apply_model(model, ((mixture - mean) / deviation)[None], shifts=1, split=True, overlap=0.25)[0] * deviation + mean
    Path(out).mkdir()
    for name, stem in zip(SOURCES, stems, strict=True):
        soundfile.write(Path(out) / f"{name}.wav", (stem / max(1.01 * float(stem.abs().max()), 1)).T.numpy(), rate)


if __name__ == "__main__":
    main(*sys.argv[1:])
