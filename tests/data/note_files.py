"""Write small folders of notes: sines of known pitch, in the layouts that the readers know."""

import json

import numpy as np
import soundfile

RATE = 16000


def sine(pitch: float, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time)


def measured(waveform, rate: int = RATE) -> float:
    """Measure a sine's pitch as a MIDI number with a fraction, by the peak of its spectrum."""
    x = np.asarray(waveform, np.float64)
    power = np.log(np.abs(np.fft.rfft(x * np.hanning(len(x)), 1 << 18)) + 1e-12)
    at = int(power.argmax())
    left, peak, right = power[at - 1 : at + 2]
    return 69 + 12 * np.log2((at + 0.5 * (left - right) / (left - 2 * peak + right)) * rate / (1 << 18) / 440)


def write_note(file, pitch: float, seconds: float = 0.5, rate: int = RATE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, sine(pitch, seconds, rate), rate, subtype="FLOAT")


def write_index(folder, rows: list[dict], seconds: float = 0.5):
    """Write notes one after another into a file; a row gives pitch and instrument, and what else an index may say."""
    frames, parts, full = round(seconds * RATE), [], []
    for number, row in enumerate(rows):
        parts += [sine(row["pitch"] + row.get("cents_off", 0) / 100, seconds), np.zeros(200)]
        full.append({
            "file": "all.wav", "start_sample": number * (frames + 200), "num_samples": frames, "split": "train", "licence": "CC0-1.0",
            "source": "made", "variant": number, **row,
        })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "all.wav", np.concatenate(parts), RATE, subtype="FLOAT")
    (folder / "index.json").write_text(json.dumps(full))
    return folder


def write_nsynth(folder, pitches, family: str = "guitar"):
    """Write a folder in NSynth's layout."""
    examples = {}
    for pitch in pitches:
        name = f"{family}_acoustic_000-{pitch:03d}-100"
        write_note(folder / "audio" / f"{name}.wav", pitch)
        examples[name] = {
            "pitch": pitch, "velocity": 100, "instrument_str": f"{family}_acoustic_000", "instrument_family_str": family,
        }  # fmt: skip
    (folder / "examples.json").write_text(json.dumps(examples))
    return folder
