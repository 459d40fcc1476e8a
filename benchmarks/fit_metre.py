"""Fit the weights of `metrics.metre` on training files whose bars are annotated, and say how often it is right on others.

    python benchmarks/fit_metre.py --data ../shared/data/midi [--fit]

Cuts of four to eight bars are drawn from POP909, MAESTRO (beats by ASAP), the Nottingham tunes, chorales and bands (one metre,
one tempo). Tunes and chorales have no tempo: one is drawn. The weights are fitted on the train split; the validation split and the
twelve prompts, which are cut from the test split, are only scored.
"""

import argparse
import json
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from songfoundry import notes as midi
from songfoundry.metrics import metre
from songfoundry.metrics.music import Notes, join

METRES = {"2/4": (2, 2), "3/4": (3, 2), "4/4": (4, 2), "6/8": (2, 3), "9/8": (3, 3), "12/8": (4, 3)}


def in_seconds(score) -> Notes:
    return join([
        Notes(p.starts, p.durations, p.pitches, p.velocities, np.full(len(p.starts), -1 if p.is_drum else p.program))
        for p in midi.parts(score)
    ])  # fmt: skip


def excerpt(draw, notes: Notes, downbeats, name: str, metre_name: str, scale: float = 1.0):
    """Cut four to eight bars; downbeats in the time of the notes; both are stretched by ``scale``."""
    bars = int(draw.integers(4, 9))
    if len(downbeats) < bars + 1:
        return None
    first = int(draw.integers(0, len(downbeats) - bars))
    begin, end = downbeats[first], downbeats[first + bars]
    cut = notes.between(begin - 0.02, end - 0.02)
    cut = Notes(cut.starts * scale, cut.durations * scale, cut.pitches, cut.velocities, cut.programs)
    beats, division = METRES[metre_name]
    bar = (end - begin) / bars * scale
    return (name, metre_name, cut, bar, bar / beats, beats, division) if len(cut) >= 16 else None


def cuts(data: Path, split: str, seed: int, most: dict[str, int]):
    """Draw cuts: (name, metre, notes in seconds, bar, beat, beats a bar, parts a beat)."""
    index, draw = json.loads((data / "index.json").read_text())["datasets"], np.random.default_rng(seed)

    def entries(name):
        found = index[name]
        found = found["items"]
        found = [entry for entry in found if entry["split"] == split]
        return [found[k] for k in draw.permutation(len(found))]

    wanted = defaultdict(int)

    def take(dataset, cut):
        if cut is None or wanted[dataset, cut[1]] >= most[dataset]:
            return
        wanted[dataset, cut[1]] += 1
        result.append(cut)

    result = []
    with zipfile.ZipFile(data / "pop909.zip") as archive:
        for entry in entries("pop909"):
            if wanted["pop909", entry["meter"]] >= most["pop909"]:
                continue
            table = np.array([line.split() for line in archive.read(f"{entry['id']}/beat_midi.txt").decode().splitlines()], float)
            downbeats = table[table[:, 2 if entry["meter"] == "4/4" else 1] > 0, 0]
            notes = in_seconds(midi.read_midi(archive.read(entry["path"])))
            for _ in range(1 if entry["meter"] == "4/4" else 12):
                take("pop909", excerpt(draw, notes, downbeats, entry["path"], entry["meter"]))
    with zipfile.ZipFile(data / "nottingham.zip") as archive:
        for entry in entries("nottingham"):
            name = entry["meter"]
            if name not in METRES or entry["midi_ts"] != [name] or wanted["nottingham", name] >= most["nottingham"]:
                continue
            beats, division = METRES[name]
            notes = in_seconds(midi.read_midi(archive.read(entry["path"])))  # 120 a minute: a quarter is half a second
            bar = beats * (0.5 if division == 2 else 0.75)
            beat = 60 / np.exp(draw.uniform(np.log(80), np.log(180 if division == 2 else 140)))
            take("nottingham", excerpt(draw, notes, np.arange(0, notes.end + 0.01, bar), entry["path"], name, beat * beats / bar))
    arrays = json.loads(zipfile.ZipFile(data / "jsb.zip").read("jsb_satb_16th.json"))
    for entry in entries("jsb"):
        if entry.get("meter") not in ("3/4", "4/4"):
            continue
        voices = np.array(arrays[{"valid": "validation"}.get(split, split)][entry["number"]])
        steps = 4 * METRES[entry["meter"]][0]
        notes = chorale(voices)
        downbeats = np.arange(round(entry.get("pickup_quarters", 0) * 4), len(voices) + 1, steps).astype(float)
        take("jsb", excerpt(draw, notes, downbeats, entry["id"], entry["meter"], 60 / draw.uniform(55, 100) / 4))
    with zipfile.ZipFile(data / "multitrack.zip") as archive:
        for entry in entries("multitrack"):
            signatures = entry.get("midi_ts", [])
            if len(signatures) != 1 or signatures[0] not in METRES or entry.get("tempo_events") != 1:
                continue
            notes = in_seconds(midi.read_midi(archive.read(entry["path"])))
            beats, division = METRES[signatures[0]]
            bar = beats * (1 if division == 2 else 1.5) * 60 / entry["qpm"]
            downbeats = np.arange(0, notes.end, bar)
            take("multitrack", excerpt(draw, notes, downbeats[downbeats >= notes.starts.min() - bar], entry["path"], signatures[0]))
    beats_of = json.loads(zipfile.ZipFile(data / "maestro_beats.zip").read("asap_maestro_beats.json"))
    with zipfile.ZipFile(data / "maestro.zip") as archive:
        for item in beats_of:
            signatures = {text for _, text in item["time_signatures"]}
            if item["split"] != {"valid": "validation"}.get(split, split) or len(signatures) != 1 or not signatures <= set(METRES):
                continue
            notes = in_seconds(midi.read_midi(archive.read(item["path"])))
            for _ in range(3):
                take("maestro", excerpt(draw, notes, np.array(item["downbeats"]), item["path"], *signatures))
    return result


def chorale(voices: np.ndarray) -> Notes:
    """Read voices, int (steps, 4), -1 silent, as notes in 16ths; equal neighbours are one note, but struck anew on each quarter."""
    found = []
    for voice in voices.T:
        new = np.flatnonzero(np.diff(voice, prepend=-2) | (np.arange(len(voice)) % 4 == 0))
        lengths = np.diff(new, append=len(voice))
        found += [(start, length, voice[start]) for start, length in zip(new, lengths, strict=True) if voice[start] >= 0]
    starts, durations, pitches = np.array(found, float).T
    return Notes(starts, durations, pitches.astype(int), np.full(len(found), 64), np.zeros(len(found), int))


def prompts(data: Path):
    for entry in json.loads((data / "prompts/prompts.json").read_text())["prompts"]:
        notes = in_seconds(midi.read_midi(data / "prompts" / entry["file"]))
        beat = 60 / entry["tempo"]["bpm"]
        beats, division = METRES[entry["meter"]["value"]]
        yield entry["id"], entry["meter"]["value"], notes, beat * beats, beat, beats, division


def hypotheses_of(item):
    """Take the features of a cut, and which hypotheses are true: of its beat, its form, and with a downbeat where it begins."""
    _, _, notes, bar, beat, beats, division = item
    found, values = metre.features(notes)
    right = (np.abs(found[:, 0] - beat) <= metre.TOLERANCE * beat) & (found[:, 1] == beats) & (found[:, 2] == division)
    # The cut begins 20 ms before a bar line, at 0.
    off = (found[:, 3] + notes.starts.min(initial=0) - 0.02 + bar / 2) % bar - bar / 2
    return values, right & (np.abs(off) < 0.15 * beat)


def fit(found) -> np.ndarray:
    """Fit the weights of a conditional logit: the log-probability that a hypothesis is a true one, metres weighed alike."""
    cases = [(*hypotheses_of(item), item[1]) for item in found]
    cases = [case for case in cases if case[1].any()]
    counts = Counter(name for *_, name in cases)
    every = np.concatenate([values[::7] for values, *_ in cases])
    scale = every.std(0) + 1e-9
    usual = float(np.median(list(counts.values())))
    cases = [((values / scale).astype(np.float32), right, min(1.0, max(usual, 150) / counts[name])) for values, right, name in cases]

    def loss(weights):
        total, slope = 0.0, np.zeros_like(weights)
        for values, right, share in cases:
            score = values @ weights
            chance = np.exp(score - score.max())
            total -= share * (np.log(chance[right].sum()) - np.log(chance.sum()))
            slope -= share * (values.T @ (np.where(right, chance, 0) / chance[right].sum() - chance / chance.sum()))
        penalty = 2e-4 * len(cases)
        return total + penalty * weights @ weights, slope + 2 * penalty * weights

    result = minimize(loss, np.zeros(len(scale)), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    print(f"{len(cases)} of {len(found)} cuts have a true hypothesis; {result.fun / len(cases):.3f} nats a cut after {result.nit} rounds")
    return result.x / scale


def source_of(name: str) -> str:
    """Name the collection of a cut."""
    first = name.split("/")[0]
    if "/" not in name:
        return "nottingham" if name.endswith(".mid") else "jsb" if name.startswith(("train", "valid", "test")) else "prompts"
    return "pop909" if first.isdigit() and len(first) == 3 else "maestro" if first.isdigit() else "multitrack"


def report(found, weights, each: bool = False) -> None:
    """Print how often bar, beat and both are right, by collection and metre."""
    table = defaultdict(list)
    for name, metre_name, notes, bar, beat, *_ in found:
        got = metre.estimate_metre(notes, weights)
        hit = (metre.same(got.bar, bar), metre.same(got.beat, beat)) if got else (False, False)
        table[source_of(name), metre_name].append((*hit, all(hit)))
        if each:
            heard = f"heard {got.bar:.2f}, {got.beat:.2f} ({got.beats}x{got.division})" if got else "nothing heard"
            print(f"{name:32} {metre_name}: bar {bar:.2f} s, beat {beat:.2f}; {heard}", *hit)
    table["all", ""] = [hit for hits in table.values() for hit in hits]
    table["without maestro", ""] = [hit for (source, _), hits in table.items() for hit in hits if source not in ("maestro", "all")]
    for (source, metre_name), hits in table.items():
        bar, beat, both = np.mean(hits, 0)
        print(f"{source:16} {metre_name:5} n = {len(hits):4}   bar {bar:.2f}   beat {beat:.2f}   both {both:.2f}")


def main() -> None:
    """Fit, if asked to, and report on the validation split and the prompts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with pop909.zip, index.json and so on")
    parser.add_argument("--fit", action="store_true", help="fit anew and print the weights")
    options = parser.parse_args()
    weights = None
    if options.fit:
        train = cuts(options.data, "train", 1, {"pop909": 300, "nottingham": 300, "jsb": 150, "multitrack": 150, "maestro": 40})
        weights = fit(train)
        report(train, weights)
        print()
        begin = 0
        for kind, row in metre.WEIGHTS.items():
            print(f'    "{kind}": ({", ".join(f"{value:.3g}" for value in weights[begin : begin + len(row)])}),')
            begin += len(row)
        weights = np.array([float(f"{value:.3g}") for value in weights])
    report(cuts(options.data, "valid", 2, {"pop909": 60, "nottingham": 60, "jsb": 60, "multitrack": 60, "maestro": 20}), weights)
    report(list(prompts(options.data)), weights, each=True)


if __name__ == "__main__":
    main()
