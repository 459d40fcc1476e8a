"""Turn MIDI bands into songs with stems: excerpts, instruments, drummers and balance drawn by a seed.

Every song is a folder ``OUT/<song>/{drums,bass,other}.flac`` and a ``song.json``, written whole or not at all; ``OUT/index.json``
lists them in the form that `songfoundry.data` reads. The parts of a piece are moved to another key and tempo, given other
instruments of the same General MIDI family, other levels, places and equalisation, and played through a SoundFont
(`songfoundry.notes`); half of the songs have their drums played by a recorded kit (`songfoundry.data.drumkit`), some of
these from a drummer's own performance.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.signal import sosfilt

from songfoundry import notes
from songfoundry.audio.io import write, write_atomic_text
from songfoundry.data.drumkit import GROOVE_KEYS, Drumkit
from songfoundry.errors import DatasetError, InputError

RATE = 44100
STEMS = notes.GROUPS
_SEMITONES = 3
_TEMPO = (0.85, 1.2)
_SILENCE = 4.0
"""Seconds without a note that make an excerpt a bad one."""
_SPREAD_DB = 5.0
"""How far a stem may lie from the middle one, 3 dB of drawn variation aside: in some files the bass is hardly heard."""
_PEAK = 0.98
# Never drawn as another instrument of their family: timpani, orchestra hit.
_NEVER_DRAWN = (47, 55)


@dataclass(frozen=True)
class MidiFile:
    """Name one MIDI file of a folder or zip: its path inside, its licence, and what its index says of it."""

    source: str
    path: str
    licence: str
    about: dict

    def read(self):
        """Read the file as `songfoundry.notes.read_midi` does."""
        if os.path.isdir(self.source):
            return notes.read_midi(os.path.join(self.source, self.path))
        return notes.read_member(self.source, self.path)


def midi_files(source: str | os.PathLike) -> list[MidiFile]:
    """List the training MIDI files of a folder or a zip archive.

    Where an ``index.json`` beside the archive describes it (``datasets: {name: {file, licence, items: [{path, split,
    licence}]}}``), only its items of split "train" are taken; otherwise every .mid and .midi file is, its licence "unknown".

    Raises:
        DatasetError: there is no such source, or no MIDI file in it.
    """
    source = Path(source)
    index = source.parent / "index.json"
    if source.is_file() and index.is_file():
        for dataset in json.loads(index.read_text(encoding="utf-8")).get("datasets", {}).values():
            if dataset.get("file") == source.name:
                chosen = [item for item in dataset["items"] if item.get("split") == "train"]
                licence = dataset.get("licence", "unknown")
                return [MidiFile(str(source), item["path"], item.get("licence", licence), item) for item in chosen]
    if source.is_dir():
        names = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    elif zipfile.is_zipfile(source):
        names = zipfile.ZipFile(source).namelist()
    else:
        raise DatasetError(f"expected a folder or a zip archive of MIDI files, found none at {source}: check the path")
    found = [MidiFile(str(source), name, "unknown", {}) for name in sorted(names) if name.lower().endswith((".mid", ".midi"))]
    if not found:
        raise DatasetError(f"expected MIDI files (.mid) in {source.name}, found none: name the folder that holds them")
    return found


def render_bands(
    midi_source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    soundfont: str | os.PathLike,
    drum_kit: str | os.PathLike | None = None,
    groove: str | os.PathLike | None = None,
    count: int,
    seconds: float = 80.0,
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[float], None] | None = None,
) -> dict:
    """Render ``count`` songs with stems from MIDI files; songs that are there already are kept.

    Args:
        midi_source: a folder or zip of MIDI files, see `midi_files`.
        out: the folder for the songs.
        soundfont: a General MIDI .sf2 file.
        drum_kit: a folder of drum hits with its index.json; None lets the SoundFont play all drums.
        groove: a folder or zip of drum performances in MIDI; None keeps each file's own drum part.
        count: how many songs; more than there are files takes another excerpt of each.
        seconds: the length of an excerpt at most.
        seed: song n is a function of (seed, n) and the sources alone.
        jobs: processes.
        progress: called with the fraction that is done.

    Returns:
        the index, as it stands in ``OUT/index.json``; its ``skipped`` names the files that could not be used and why.

    Raises:
        DatasetError: a source does not hold what it should.
        MissingExtraError: symusic or FluidSynth is not installed.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    files = midi_files(midi_source)
    order = np.random.default_rng(seed).permutation(len(files))
    band = _Band(
        str(out),
        str(soundfont),
        Drumkit.open(drum_kit, RATE) if drum_kit is not None else None,
        [file for file in midi_files(groove) if file.about.get("beat_type", "beat") == "beat"] if groove is not None else [],
        seconds,
        seed,
    )
    tasks = [(n, files[order[n % len(files)]]) for n in range(count)]
    songs, skipped = [], []
    index = {"about": _ABOUT, "seed": seed, "songs": songs, "skipped": skipped}
    pool = ProcessPoolExecutor(jobs, initializer=_start, initargs=(band,)) if jobs > 1 else None
    try:
        _start(band)
        for done, (song, why) in enumerate(pool.map(_render_task, tasks) if pool else map(_render_task, tasks), 1):
            if song is not None:
                songs.append(song)
            else:
                skipped.append(why)
            if done % 10 == 0 or done == count:  # a training can begin with the first songs
                write_atomic_text(out / "index.json", json.dumps(index, indent=1))
            if progress is not None:
                progress(done / count)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
    if not songs:
        why = skipped[0] if skipped else "none was asked for"
        raise DatasetError(f"expected MIDI files to make songs of in {Path(midi_source).name}, found none ({why}): take others")
    return index


_ABOUT = "Bands from MIDI. A stem is the sum of its files, each times 10^(gain_db/20); the mixture is the sum of the stems."
_band: "_Band | None" = None


def _start(band: "_Band") -> None:
    """Hand the band to this process once, rather than with every song."""
    global _band
    _band = band


def _render_task(task: tuple[int, MidiFile]) -> tuple[dict | None, str]:
    return _band.song(*task)


@dataclass(frozen=True)
class _Band:
    """Hold what all songs share."""

    out: str
    soundfont: str
    kit: Drumkit | None
    grooves: list[MidiFile]
    seconds: float
    seed: int

    def song(self, n: int, file: MidiFile) -> tuple[dict | None, str]:
        """Render song n unless it is there; returns its index entry, or None and the reason."""
        name = f"{n:04d}-{PurePosixPath(file.path).stem}"
        folder = Path(self.out) / name
        try:
            return json.loads((folder / "song.json").read_text(encoding="utf-8")), ""
        except FileNotFoundError:
            pass
        rng = np.random.default_rng([self.seed, n])
        try:
            stems, drawn = self._play(file, rng)
        except InputError as error:
            return None, f"{file.path}: {error}"
        entry = {
            "song": name,
            "split": "train",
            "licence": file.licence,
            "rate": RATE,
            "stems": {stem: [{"file": f"{name}/{stem}.flac", "gain_db": 0}] for stem in stems},
            "drawn": drawn,
        }
        part = folder.with_name(name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for stem, samples in stems.items():
            write(part / f"{stem}.flac", samples, RATE, depth="int16")
        (part / "song.json").write_text(json.dumps(entry), encoding="utf-8")
        part.rename(folder)
        return entry, ""

    def _play(self, file: MidiFile, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict]:
        """Draw and play one song: its stems, float32 (2, samples) at `RATE`, and what was drawn."""
        score = file.read()
        tempo, shift = float(rng.uniform(*_TEMPO)), int(rng.integers(-_SEMITONES, _SEMITONES + 1))
        pieces = [_moved(part, shift, 1 / tempo) for part in notes.parts(score)]
        beats = notes.beat_times(score) / tempo
        drummer = str(rng.choice(["soundfont", "kit", "groove"], p=[0.5, 0.3, 0.2]))
        has_drums = any(part.group == "drums" for part in pieces)
        if self.kit is None or not has_drums:
            drummer = "soundfont"
        performance = self._performance(beats, rng) if drummer == "groove" and self.grooves else None
        if performance is not None:
            pieces = [part for part in pieces if part.group != "drums"] + [performance]
        elif drummer == "groove":
            drummer = "kit"
        start, length = choose_excerpt(pieces, self.seconds, rng)
        pieces = [_excerpt(part, start, length) for part in pieces]
        pieces = [_restaged(part, rng) for part in pieces if len(part.starts)]
        groups = notes.by_group(pieces)
        stems = {}
        for stem in STEMS:
            if not groups[stem]:
                continue
            room, wet = float(rng.uniform(0.1, 0.8)), float(rng.uniform(0.0, 0.8)) if stem != "bass" else 0.1
            struck = stem == "drums" and drummer != "soundfont"
            played, rest = _split_for_kit(groups[stem], self.kit, drummer) if struck else ([], groups[stem])
            samples = notes.render(rest, self.soundfont, RATE, seconds=length, room=room, wet=wet) if rest else 0.0
            for part in played:
                samples = samples + 2.0 * self.kit.play(part, length, rng, keys=GROOVE_KEYS if drummer == "groove" else None)
            samples = _equalised(samples, rng)
            if np.sqrt(np.mean(samples**2)) > 1e-4:
                stems[stem] = samples
        if len(stems) < 2:
            raise InputError("expected at least two stems that sound, found fewer: leave the file out")
        drawn = {"file": file.path, "start": round(start, 4), "tempo": round(tempo, 6), "semitones": shift, "drummer": drummer}
        return _balanced(stems, length, rng), drawn

    def _performance(self, beats: np.ndarray, rng: np.random.Generator) -> notes.Part | None:
        """Draw a drummer's performance of near the song's tempo and repeat it over the song's beats; None if there is none."""
        bpm = 60.0 * (len(beats) - 1) / (beats[-1] - beats[0])
        near = [f for f in self.grooves if f.about.get("meter", "4/4") == "4/4" and 0.75 < f.about.get("bpm", bpm) / bpm < 1.33]
        if not near:
            return None
        score = near[int(rng.integers(len(near)))].read()
        found = notes.parts(score)
        if not found:
            return None
        own = notes.beat_times(score)
        part = max(found, key=lambda part: len(part.starts))
        quarters = np.interp(part.starts, own, np.arange(len(own)))
        bars = max(int(np.ceil((quarters.max() + 0.01) / 4)), 1)
        turns = int(np.ceil(len(beats) / (4 * bars)))
        at = (quarters[None, :] + 4 * bars * np.arange(turns)[:, None]).ravel()
        inside = at < len(beats) - 1
        empty = np.zeros((0, 3))
        return notes.Part(
            program=0,
            is_drum=True,
            name="performance",
            starts=np.interp(at, np.arange(len(beats)), beats)[inside],
            durations=np.full(int(inside.sum()), 0.1),
            pitches=np.tile(part.pitches, turns)[inside],
            velocities=np.tile(part.velocities, turns)[inside],
            controls=empty,
            bends=empty[:, :2],
        )


def choose_excerpt(pieces: Sequence[notes.Part], seconds: float, rng: np.random.Generator) -> tuple[float, float]:
    """Draw where an excerpt of at most ``seconds`` begins and how long it is; the one with the least silence of eight tries.

    Silence counts per stem: a second without a note of the drums is one, and so is one without the bass.

    Raises:
        InputError: the piece has fewer than five seconds of notes.
    """
    groups = [group for group in notes.by_group(pieces).values() if group]
    first = min((float(part.starts.min()) for part in pieces), default=0.0)
    last = max((part.end for part in pieces), default=0.0)
    if last - first < 5.0:
        raise InputError("expected at least five seconds of notes, found fewer: leave the file out")
    length = min(seconds, last - first)
    best = (np.inf, first)
    for start in (first + rng.random(8) * (last - first - length)).tolist():
        silent = 0.0
        for group in groups:
            times = np.concatenate([part.starts for part in group])
            inside = np.sort(times[(times >= start) & (times < start + length)])
            gaps = np.diff(np.concatenate([[start], inside, [start + length]]))
            silent += float(gaps[gaps > _SILENCE].sum())
        best = min(best, (silent, start))
    return max(best[1] - 0.05, 0.0), length


def _moved(part: notes.Part, semitones: int, stretch: float) -> notes.Part:
    """Transpose a part (drums stay) and multiply its times."""
    pitches = part.pitches
    if part.group != "drums":
        pitches = pitches + semitones
        pitches = np.where(pitches > 127, pitches - 12, np.where(pitches < 0, pitches + 12, pitches))
    return replace(
        part,
        pitches=pitches,
        starts=part.starts * stretch,
        durations=part.durations * stretch,
        controls=part.controls * [stretch, 1, 1],
        bends=part.bends * [stretch, 1],
    )


def _excerpt(part: notes.Part, start: float, length: float) -> notes.Part:
    """Cut the notes that begin within an excerpt; controllers that were set before it are set at its beginning."""
    cut = part.keep((part.starts >= start) & (part.starts < start + length))
    offset = [start, 0, 0]
    controls, bends = part.controls[part.controls[:, 0] < start + length], part.bends[part.bends[:, 0] < start + length]
    controls, bends = controls - offset, bends - offset[:2]
    controls[:, 0], bends[:, 0] = controls[:, 0].clip(0), bends[:, 0].clip(0)
    return replace(cut, starts=cut.starts - start, controls=controls, bends=bends)


def _restaged(part: notes.Part, rng: np.random.Generator) -> notes.Part:
    """Draw another instrument of the family, another level and another place for a part."""
    program, family = part.program, part.program // 8
    others = [p for p in range(8 * family, 8 * family + 8) if p not in _NEVER_DRAWN]
    if part.group != "drums" and family <= 12 and rng.random() < 0.4:
        program = int(rng.choice(others))
    gain = 10 ** (rng.uniform(-5, 3) / 20)
    place = 0.0 if part.group == "bass" else rng.normal(0, 20)
    controls = part.controls.copy()
    volume, pan = controls[:, 1] == 7, controls[:, 1] == 10
    # The square root because General MIDI's volume is quadratic in amplitude.
    controls[volume, 2] = np.clip(np.round(controls[volume, 2] * np.sqrt(gain)), 0, 127)
    controls[pan, 2] = np.clip(np.round(controls[pan, 2] + place), 0, 127)
    first = [[0.0, 7.0, np.clip(round(100 * np.sqrt(gain)), 0, 127)], [0.0, 10.0, np.clip(round(64 + place), 0, 127)]]
    return replace(part, program=program, controls=np.concatenate([first, controls]))


def _split_for_kit(drums: Sequence[notes.Part], kit: Drumkit, drummer: str) -> tuple[list[notes.Part], list[notes.Part]]:
    """Give the kit the notes that it has pieces for, and the SoundFont the rest (congas, tambourine)."""
    played, rest = [], []
    for part in drums:
        if not part.is_drum:
            rest.append(part)
            continue
        has = np.ones(len(part.starts), bool) if drummer == "groove" else np.isin(part.pitches, kit.keys)
        played.append(part.keep(has))
        rest.append(part.keep(~has))
    return [part for part in played if len(part.starts)], [part for part in rest if len(part.starts)]


def _equalised(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tilt the spectrum: a low and a high shelf of up to 4 dB each, drawn. float32 (2, samples), any level, to the same."""
    shelves = [
        _shelf(float(rng.uniform(100, 300)), float(rng.uniform(-4, 4)), high=False),
        _shelf(float(rng.uniform(2500, 7000)), float(rng.uniform(-4, 4)), high=True),
    ]
    return sosfilt(np.array(shelves, np.float32), samples, axis=1).astype(np.float32)


def _shelf(corner: float, gain_db: float, *, high: bool) -> list[float]:
    """Return one second-order section of a shelf of slope 1 at ``corner`` Hz.

    Reference:
        R. Bristow-Johnson, Cookbook formulae for audio equalizer biquad filter coefficients, lowShelf and highShelf.
    """
    a, w = 10 ** (gain_db / 40), 2 * np.pi * corner / RATE
    cosine, root = np.cos(w) * (-1 if high else 1), 2 * np.sqrt(a) * np.sin(w) / np.sqrt(2)
    # The high shelf is the low one with cos w of the other sign, and the middle coefficients' sign turned with it.
    turn = -1 if high else 1
    b = [a * (a + 1 - (a - 1) * cosine + root), turn * 2 * a * (a - 1 - (a + 1) * cosine), a * (a + 1 - (a - 1) * cosine - root)]
    c = [a + 1 + (a - 1) * cosine + root, turn * -2 * (a - 1 + (a + 1) * cosine), a + 1 + (a - 1) * cosine - root]
    return [value / c[0] for value in b + c]


def _balanced(stems: dict[str, np.ndarray], length: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Bring outlying stems nearer to the middle one, fade the ends, and scale all by one gain below full scale."""
    levels = {stem: 10 * np.log10(np.mean(samples**2)) for stem, samples in stems.items()}
    middle = float(np.median(list(levels.values())))
    samples_long = round(length * RATE)
    fade = np.ones(samples_long, np.float32)
    ramp = min(round(0.05 * RATE), samples_long)
    fade[samples_long - ramp :] = np.linspace(1, 0, ramp, dtype=np.float32)
    balanced = {}
    for stem, samples in stems.items():
        wanted = float(np.clip(levels[stem], middle - _SPREAD_DB, middle + _SPREAD_DB) + rng.uniform(-3, 3))
        balanced[stem] = samples * fade * np.float32(10 ** ((wanted - levels[stem]) / 20))
    peak = max(float(np.abs(samples).max()) for samples in [*balanced.values(), sum(balanced.values())])
    # Songs arrive at the level of mastered music, about -18 dB, unless their peaks forbid it.
    loudness = 10 * np.log10(np.mean(sum(balanced.values()) ** 2))
    gain = np.float32(min(_PEAK / peak, 10 ** ((-16 - loudness) / 20)))
    return {stem: samples * gain for stem, samples in balanced.items()}
