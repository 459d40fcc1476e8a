"""Read folders of songs with stems, whatever their layout, and keep them decoded in a memory-mapped cache.

Layouts, told apart by what is there:

- an index (`splits.json` or `index.json`) that maps songs and stems to files, gains, licence and split;
- MUSDB18: `train/*.stem.mp4`, `test/*.stem.mp4`, or such files right in the folder;
- MUSDB18-HQ and plain folders: `[train/|test/|valid/]SONG/{vocals,drums,bass,other}.*`, with `mixture.*` where present.

A stem may be mono or stereo, in any format and at any rate; missing stems are silent, shorter ones are silent at their end.
Songs of two stems have `vocals` and `accompaniment`. Links to folders are followed, hidden files and folders are not looked at.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from songfoundry.audio import io
from songfoundry.data.places import folder_of, named_like
from songfoundry.errors import AudioError, DatasetError, OutputError

STEMS = ("vocals", "drums", "bass", "other")
ACCOMPANIMENT = "accompaniment"
STEM_MP4_STREAMS = {"mixture": 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}
AUDIO_SUFFIXES = {".wav", ".flac", ".aiff", ".aif", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".aac", ".wma", ".webm"}
SPLITS = ("train", "valid", "test", "unused")
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


def find_songs(folder: str | os.PathLike, include: Iterable[str] = ("*",)) -> list[Song]:
    """List the songs below a folder, in a steady order, of those whose name matches a pattern.

    Parameters
    ----------
    folder : a path; a relative one that does not exist here is looked for below SONGFOUNDRY_DATA.
    include : shell patterns of song names, such as `musicdelta/*`.

    Raises
    ------
    DatasetError : no such folder, no songs in it, none that matches, or an index that names what is not there.
    """
    path = folder_of(folder, "songs")
    songs = _from_index(path) or _from_stem_mp4(path) or _from_folders(path)
    if not songs:
        raise DatasetError(
            f"expected songs with stem files (vocals, drums, bass, other), .stem.mp4 files or an index in {path}, found none: "
            "point at the folder that holds the song folders"
        )
    return named_like(songs, include, "songs", path)


def _from_index(folder: Path) -> list[Song]:
    index = next((folder / name for name in INDEXES if (folder / name).is_file()), None)
    if index is None:
        return []
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))["songs"]
        return [_from_entry(folder, index, entry) for entry in entries]
    except OSError as error:
        raise DatasetError(f"expected an index of songs in {index}, found it unreadable ({error.strerror}): mend that") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"no key {error}" if isinstance(error, KeyError) else f"something else ({error})"
        raise DatasetError(f"expected an index of songs and stems in {index}, found {what}: mend or remove it") from None


def _from_entry(folder: Path, index: Path, entry: dict) -> Song:
    stems = {
        stem: tuple(Source(folder / f["file"], int(f.get("stream", 0)), float(f.get("gain_db", 0))) for f in files)
        for stem, files in entry["stems"].items()
        if files
    }
    name, split, known = entry["song"], entry.get("split", "train"), (*STEMS, ACCOMPANIMENT)
    strange = [stem for stem in stems if stem not in known]
    if strange or not stems:
        found = repr(strange[0]) if strange else "none"
        raise DatasetError(
            f"expected files for some of {', '.join(known)} in the song {name!r} of {index}, found {found}: mend the index"
        )
    if split not in SPLITS:
        raise DatasetError(
            f"expected a split ({', '.join(SPLITS)}) for the song {name!r} of {index}, found {split!r}: mend the index"
        )
    for sources in stems.values():
        for source in sources:
            if not source.path.is_file():
                raise DatasetError(
                    f"expected the stem file {source.path} that {index.name} names, found none: restore it or mend the index"
                )
    return Song(
        name, stems, split, entry.get("licence", "not stated"), None,
        float(entry.get("valid_last_seconds", 0)), ACCOMPANIMENT in stems,
    )  # fmt: skip


def _walk(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Give each folder below (and this one) with its files, both sorted; hidden ones are left out, links followed, loops not."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        here = os.stat(place)
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [Path(place, name) for name in sorted(names) if not name.startswith(".")]
        yield Path(place), [file for file in files if file.is_file()]


_SPLITS = {
    "train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid", "test": "test",
    "testing": "test",
}  # fmt: skip
"""What folders of a split are called, and the split: one that is misread would be trained on."""


def _split(folder: Path, place: Path) -> str:
    """Tell a song's split from the names of the folders that it lies in, down from the one that was asked for."""
    parts = (folder.resolve().name, *place.relative_to(folder).parts)
    return next((_SPLITS[part.lower()] for part in reversed(parts) if part.lower() in _SPLITS), "train")


def _from_stem_mp4(folder: Path) -> list[Song]:
    songs = []
    for place, files in _walk(folder):
        for file in files:
            if file.name.lower().endswith(".stem.mp4"):
                stems = {stem: (Source(file, STEM_MP4_STREAMS[stem]),) for stem in STEMS}
                name = file.relative_to(folder).as_posix()[: -len(".stem.mp4")]
                songs.append(Song(name, stems, _split(folder, place), mixture=Source(file, 0)))
    return sorted(songs, key=lambda song: song.name)


def _from_folders(folder: Path) -> list[Song]:
    songs = []
    for place, found in _walk(folder):
        files = {f.stem.lower(): f for f in found if f.suffix.lower() in AUDIO_SUFFIXES}
        stems = {stem: (Source(files[stem]),) for stem in STEMS if stem in files}
        # Beside drums, bass or other an accompaniment is their sum.
        two = ACCOMPANIMENT in files and not any(stem in stems for stem in STEMS[1:])
        if two:
            stems[ACCOMPANIMENT] = (Source(files[ACCOMPANIMENT]),)
        if not stems:
            continue
        mixture = Source(files["mixture"]) if "mixture" in files else None
        above, name = place.parent, place.relative_to(folder).as_posix()
        if place == folder:
            above, name = place, folder.resolve().name
        songs.append(Song(name, stems, _split(folder, above), mixture=mixture, two_stems=two))
    return sorted(songs, key=lambda song: song.name)


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
    place: Path

    def __reduce__(self):
        """Travel to another process by name: its memory maps are opened there, not copied."""
        return _open, (self.song, self.rate, self.place)

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
    """Open a song in the cache, decoding it first where it is not there, is cut short, or its files have changed.

    Several processes may ask for one song at once: one decodes it, the others wait for it.

    Raises
    ------
    AudioError : a stem cannot be decoded.
    OutputError : the cache cannot be written.
    """
    root = root or cache_root()
    identity = [rate, *((n, str(s.path), s.stream, s.gain_db, s.path.stat().st_mtime_ns, s.path.stat().st_size)
                        for n, sources in sorted(song.stems.items()) for s in sources)]  # fmt: skip
    place = root / hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:20]
    opened = _open(song, rate, place)
    if opened is not None:
        return opened
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(place.with_suffix(".lock")):
            opened = _open(song, rate, place)
            if opened is None:
                _decode(song, rate, place)
                opened = _open(song, rate, place)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"expected to keep {song.name} decoded in {root}, found: {reason}; free space there or name another folder by "
            "the variable SONGFOUNDRY_CACHE"
        ) from None
    return opened


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep other processes and threads out until the block is done; a kill opens the lock. Without `fcntl` nobody is kept out."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # A network disk without locks: two would decode one song, and the later result stays.
        yield


def _decode(song: Song, rate: int, place: Path) -> None:
    """Decode a song into a folder aside, which is renamed when it is whole."""
    aside = place.with_suffix(".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        facts = {"name": song.name, "frames": 0, "scale": {}, "level": {}, "band_limited": song.band_limited}
        for name, samples in read_song(song, rate).items():
            peak = float(np.abs(samples).max(initial=0)) or 1.0
            np.save(aside / f"{name}.npy", np.ascontiguousarray(np.round(samples.T * (32767 / peak)).astype(np.int16)))
            facts["scale"][name], facts["level"][name] = peak / 32767, _active_level(samples, rate)
            facts["frames"] = samples.shape[1]
        (aside / "about.json").write_text(json.dumps(facts), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        os.replace(aside, place)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _open(song: Song, rate: int, place: Path) -> CachedSong | None:
    """Map a decoded song; None where it is not there or not whole."""
    try:
        facts = json.loads((place / "about.json").read_text(encoding="utf-8"))
        maps = {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in song.stems}
        if any(len(samples) != facts["frames"] for samples in maps.values()):
            return None
        return CachedSong(song, rate, facts["frames"], maps, facts["scale"], facts["level"], facts["band_limited"], place)
    except (FileNotFoundError, NotADirectoryError, EOFError, ValueError, KeyError):
        # A file that is cut short is a ValueError of JSON or of the memory map, an empty one the end of a file.
        return None


def _active_level(samples: np.ndarray, rate: int) -> float:
    """Measure the root mean square over the tenths of a second that are not silent."""
    step = rate // 10
    whole = samples[:, : samples.shape[1] // step * step]
    if not whole.size:
        return 0.0
    power = whole.reshape(whole.shape[0], -1, step).astype(np.float64).__pow__(2).mean(axis=(0, 2))
    sounding = power > max(power.max(initial=0) * 1e-4, 1e-10)
    return float(np.sqrt(power[sounding].mean())) if sounding.any() else 0.0
