"""Read folders of songs with stems, whatever their layout, and keep them decoded in a memory-mapped cache.

Layouts, told apart by what is there:

- an index (`splits.json` or `index.json`) that maps songs and stems to files, gains, licence and split;
- MUSDB18: `train/*.stem.mp4`, `test/*.stem.mp4`, or such files right in the folder;
- MUSDB18-HQ and plain folders: `[train/|test/|valid/]SONG/{vocals,drums,bass,other}.*`, with `mixture.*` where present.

A stem may be mono or stereo, in any format and at any rate; missing stems are silent. Songs of two stems have
`vocals` and `accompaniment`.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import soxr

from songfoundry.audio import io
from songfoundry.errors import AudioError, DatasetError

STEMS = ("vocals", "drums", "bass", "other")
ACCOMPANIMENT = "accompaniment"
STEM_MP4_STREAMS = {"mixture": 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}
AUDIO_SUFFIXES = {".wav", ".flac", ".aiff", ".aif", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".aac", ".wma", ".webm"}
INDEXES = ("splits.json", "index.json")


@dataclass(frozen=True)
class Source:
    """Name one file of a stem: path, stream inside it, gain in dB."""

    path: Path
    stream: int = 0
    gain_db: float = 0.0


@dataclass(frozen=True)
class Song:
    """Describe a song: where its stems are, and what it may be used for.

    `split` is "train", "valid", "test" or "unused"; the last `valid_last_seconds` of a training song are validation.
    """

    name: str
    stems: dict[str, tuple[Source, ...]]
    split: str = "train"
    licence: str = "not stated"
    mixture: Source | None = None
    valid_last_seconds: float = 0.0
    two_stems: bool = False

    @property
    def band_limited(self) -> bool:
        """Tell whether a source is at 16 kHz or so: nothing above 8 kHz can be learnt from it."""
        return any(io.probe(s.path).rate < 32000 for sources in self.stems.values() for s in sources if s.stream == 0)


def data_root() -> Path | None:
    """Return the folder that the variable SONGFOUNDRY_DATA names, if any."""
    root = os.environ.get("SONGFOUNDRY_DATA")
    return Path(root) if root else None


def find_songs(folder: str | os.PathLike, include: Iterable[str] = ("*",)) -> list[Song]:
    """List the songs below a folder, in a steady order, of those whose name matches a pattern.

    Parameters
    ----------
    folder : a path; a relative one that does not exist here is looked for below SONGFOUNDRY_DATA.

    Raises
    ------
    DatasetError : no such folder, or no songs in it.
    """
    path, root = Path(folder).expanduser(), data_root()
    if not path.exists() and root is not None and not path.is_absolute():
        path = root / path
    if not path.is_dir():
        hint = "" if root else " (the variable SONGFOUNDRY_DATA is not set)"
        raise DatasetError(f"expected a folder of songs at {folder}, found none{hint}: check the path")
    songs = _from_index(path) or _from_stem_mp4(path) or _from_folders(path)
    if not songs:
        raise DatasetError(
            f"expected songs with stem files (vocals, drums, bass, other), .stem.mp4 files or an index in {path}, found none: "
            "point at the folder that holds the song folders"
        )
    return [song for song in songs if any(fnmatch(song.name, pattern) for pattern in include)]


def _from_index(folder: Path) -> list[Song]:
    index = next((folder / name for name in INDEXES if (folder / name).is_file()), None)
    if index is None:
        return []
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))["songs"]
        return [_from_entry(folder, entry) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"expected an index of songs and stems in {index}, found something else ({error!r}): mend or remove it") from None


def _from_entry(folder: Path, entry: dict) -> Song:
    stems = {
        stem: tuple(Source(folder / f["file"], int(f.get("stream", 0)), float(f.get("gain_db", 0))) for f in files)
        for stem, files in entry["stems"].items()
    }
    for sources in stems.values():
        for source in sources:
            if not source.path.is_file():
                raise DatasetError(f"expected the stem file {source.path} that the index names, found none: restore it or mend the index")
    return Song(
        entry["song"], stems, entry.get("split", "train"), entry.get("licence", "not stated"), None,
        float(entry.get("valid_last_seconds", 0)), ACCOMPANIMENT in stems,
    )  # fmt: skip


def _from_stem_mp4(folder: Path) -> list[Song]:
    songs = []
    for file in sorted(folder.rglob("*.stem.mp4")):
        split = file.parent.name if file.parent.name in ("train", "valid", "test") else "train"
        stems = {stem: (Source(file, STEM_MP4_STREAMS[stem]),) for stem in STEMS}
        name = str(file.relative_to(folder)).removesuffix(".stem.mp4")
        songs.append(Song(name, stems, split, mixture=Source(file, 0)))
    return songs


def _from_folders(folder: Path) -> list[Song]:
    songs = []
    for place in sorted({file.parent for file in folder.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES}):
        files = {f.stem.lower(): f for f in sorted(place.iterdir()) if f.suffix.lower() in AUDIO_SUFFIXES}
        stems = {stem: (Source(files[stem]),) for stem in (*STEMS, ACCOMPANIMENT) if stem in files}
        if not stems:
            continue
        split = next((part for part in place.relative_to(folder).parts[:-1] if part in ("train", "valid", "test")), "train")
        mixture = Source(files["mixture"]) if "mixture" in files else None
        two = ACCOMPANIMENT in stems and not any(stem in stems for stem in STEMS[1:])
        songs.append(Song(str(place.relative_to(folder)), stems, split, mixture=mixture, two_stems=two))
    return songs


def read_source(source: Source, rate: int) -> np.ndarray:
    """Decode one file at a rate, gain applied: float32 (channels, samples), channels 1 or 2."""
    with io.open_reader(source.path, stream=source.stream) as reader:
        channels = reader.channels
        if channels > 2:
            raise AudioError(f"expected a mono or stereo stem, found {channels} channels in {source.path}: mix it down first")
        samples = np.concatenate([np.zeros((channels, 0), np.float32), *reader.blocks()], axis=1)
        if reader.rate != rate:
            samples = np.ascontiguousarray(soxr.resample(samples.T, reader.rate, rate, quality="HQ").T)
    return samples * np.float32(10 ** (source.gain_db / 20))


def read_song(song: Song, rate: int) -> dict[str, np.ndarray]:
    """Decode a song's stems: float32 (2 or 1 channels, samples) each, zero-padded to one length."""
    stems = {}
    for name, sources in song.stems.items():
        tracks = [read_source(source, rate) for source in sources]
        channels, length = max(t.shape[0] for t in tracks), max(t.shape[1] for t in tracks)
        total = np.zeros((channels, length), np.float32)
        for track in tracks:
            total[:, : track.shape[1]] += track
        stems[name] = total
    length = max(stem.shape[1] for stem in stems.values())
    return {name: np.pad(stem, ((0, 0), (0, length - stem.shape[1]))) for name, stem in stems.items()}


def stereo(samples: np.ndarray) -> np.ndarray:
    """Double a mono signal; (1 or 2, samples) -> (2, samples)."""
    return np.repeat(samples, 2, axis=0) if samples.shape[0] == 1 else samples


@dataclass(frozen=True)
class CachedSong:
    """Hold a decoded song: int16 memory maps (samples, channels) and, per stem, the scale to float and the level.

    `level` is the root mean square over the parts that sound (-60 dB below the peak and up), linear.
    """

    song: Song
    rate: int
    frames: int
    maps: dict[str, np.ndarray]
    scale: dict[str, float]
    level: dict[str, float]
    band_limited: bool

    def read(self, stem: str, start: int, frames: int) -> np.ndarray:
        """Read float32 (channels, frames) of a stem; beyond its ends, zeros."""
        data = self.maps[stem]
        piece = data[max(0, start) : max(0, min(start + frames, len(data)))]
        out = np.zeros((data.shape[1], frames), np.float32)
        at = max(0, -start)
        out[:, at : at + len(piece)] = piece.T
        out *= np.float32(self.scale[stem])
        return out


def cache_root() -> Path:
    """Return the folder of decoded songs: SONGFOUNDRY_CACHE, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "songfoundry"
    return Path(os.environ.get("SONGFOUNDRY_CACHE", default))


def cached(song: Song, rate: int, root: Path | None = None) -> CachedSong:
    """Open a song in the cache, decoding it first where it is not there or its files have changed."""
    identity = [rate, *((n, str(s.path), s.stream, s.gain_db, s.path.stat().st_mtime_ns, s.path.stat().st_size)
                        for n, sources in sorted(song.stems.items()) for s in sources)]  # fmt: skip
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:20]
    place = (root or cache_root()) / key
    about = place / "about.json"
    if not about.is_file():
        place.mkdir(parents=True, exist_ok=True)
        facts = {"name": song.name, "frames": 0, "scale": {}, "level": {}, "band_limited": song.band_limited}
        for name, samples in read_song(song, rate).items():
            peak = float(np.abs(samples).max(initial=0)) or 1.0
            np.save(place / f"{name}.npy", np.ascontiguousarray(np.round(samples.T * (32767 / peak)).astype(np.int16)))
            facts["scale"][name], facts["level"][name] = peak / 32767, _active_level(samples, rate)
            facts["frames"] = samples.shape[1]
        # Written last: a folder without it is decoded again.
        aside = about.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(facts))
        os.replace(aside, about)
    facts = json.loads(about.read_text())
    maps = {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in song.stems}
    return CachedSong(song, rate, facts["frames"], maps, facts["scale"], facts["level"], facts["band_limited"])


def _active_level(samples: np.ndarray, rate: int) -> float:
    """Measure the root mean square over the tenths of a second that are not silent."""
    step = rate // 10
    whole = samples[:, : samples.shape[1] // step * step]
    if not whole.size:
        return 0.0
    power = whole.reshape(whole.shape[0], -1, step).astype(np.float64).__pow__(2).mean(axis=(0, 2))
    sounding = power > max(power.max(initial=0) * 1e-4, 1e-10)
    return float(np.sqrt(power[sounding].mean())) if sounding.any() else 0.0
