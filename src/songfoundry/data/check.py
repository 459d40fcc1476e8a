"""Look through a folder of songs for what would spoil a training: what `songfoundry data check FOLDER` prints.

Every file is decoded once, block by block, whatever its length. What is found is a list of `Finding`, each of a kind:

===============  ====================================================================================================
``unreadable``   a file cannot be decoded to its end
``cut short``    a file holds less than its header promises
``silent``       a stem never rises above -80 dB
``clipped``      ten samples or more stand at or over full scale
``missing``      a song lacks one of its stems (allowed; it counts as silent)
``shorter``      a stem ends more than 50 ms before the longest (allowed; it is padded)
``wrong rate``   a file's rate differs from the one asked for, or from that of most files
``duplicate``    a stem sounds like another one of its song, or of another song: a test song may be in the training set
``bad sum``      mixture and sum of the stems differ by more than -25 dB of the mixture
===============  ====================================================================================================
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..audio import io
from ..errors import AudioError
from .songs import ACCOMPANIMENT, STEMS, Song, Source

KINDS = ("unreadable", "cut short", "silent", "clipped", "missing", "shorter", "wrong rate", "duplicate", "bad sum")
MIXTURE = "mixture"

_SILENCE = 1e-4
_OVERS = 10
_SHORT_SECONDS = 0.05
_SUM_DECIBELS = -25.0
#: Loudness is followed in steps of 50 ms; a block is 40 of them.
_STEPS_A_SECOND = 20
_STEPS_A_BLOCK = 40
#: Two loudness curves this alike, over the whole stem and with no more than 0.15 s of offset, are one recording.
_ALIKE = 0.98
_OFFSET_STEPS = 3
#: They are compared where both lie within this range of their loudest step, and lie there together for this share of the time.
_RANGE_DECIBELS = 40.0
_TOGETHER = 0.9


@dataclass(frozen=True)
class Finding:
    """Hold one thing that was found: in which song and stem (or ``mixture``), of which kind, and a sentence."""

    song: str
    stem: str
    kind: str
    sentence: str


@dataclass
class _Track:
    """Follow one file of a song while it is decoded."""

    stem: str
    source: Source
    rate: int = 0
    frames: int = 0
    peak: float = 0.0
    overs: int = 0
    trouble: str | None = None
    shortfall: str | None = None
    digest: str = ""
    loudness: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def seconds(self) -> float:
        return self.frames / self.rate if self.rate else 0.0

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield stereo blocks of two seconds (the last one shorter), gain applied, and take the measurements.

        Yields:
            float32 (2, samples).
        """
        hasher, levels = hashlib.sha256(), []
        try:
            with io.open_reader(self.source.path, stream=self.source.stream) as reader:
                self.rate = reader.rate
                step = max(1, self.rate // _STEPS_A_SECOND)
                for block in _even(reader.blocks(), step * _STEPS_A_BLOCK):
                    self.frames += block.shape[1]
                    self.peak = max(self.peak, float(np.abs(block).max()))
                    self.overs += int((np.abs(block) >= 0.9999).sum())
                    hasher.update(np.round(np.clip(block, -2, 2) * 16384).astype(np.int16).T.tobytes())
                    whole = block[:, : block.shape[1] // step * step]
                    if whole.size:
                        levels.append((whole.astype(np.float64) ** 2).reshape(len(whole), -1, step).mean(axis=(0, 2)))
                    stereo = block[:2] if len(block) > 1 else np.repeat(block, 2, axis=0)
                    yield stereo * np.float32(10 ** (self.source.gain_db / 20))
                self.shortfall = reader.shortfall
        except AudioError as error:
            self.trouble = str(error)
        self.digest = hasher.hexdigest()
        self.loudness = np.log10(np.concatenate(levels or [np.zeros(0)]) + 1e-8)


def _even(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Cut a stream of (channels, any) into (channels, size), the last one shorter."""
    kept: list[np.ndarray] = []
    held = 0
    for block in blocks:
        kept.append(block.copy())
        held += block.shape[1]
        if held >= size:
            joined = np.concatenate(kept, axis=1)
            whole = held // size * size
            for start in range(0, whole, size):
                yield joined[:, start : start + size]
            kept, held = [joined[:, whole:]], held - whole
    if held:
        yield np.concatenate(kept, axis=1)


@dataclass
class _Heard:
    """Hold what one song's files turned out to be."""

    song: Song
    tracks: list[_Track]
    #: Energy of mixture minus sum against the mixture's, dB; None where there is nothing to compare.
    difference: float | None = None


def _listen(song: Song) -> _Heard:
    """Decode all files of a song side by side, so that the sum needs no memory."""
    tracks = [_Track(stem, source) for stem, sources in song.stems.items() for source in sources]
    mixture = _Track(MIXTURE, song.mixture) if song.mixture is not None else None
    heard = _Heard(song, tracks + ([mixture] if mixture else []))
    streams = [track.blocks() for track in heard.tracks]
    energy = error = 0.0
    while True:
        blocks = [next(stream, None) for stream in streams]
        if all(block is None for block in blocks):
            break
        # Sums of files at several rates would mean nothing; the rates are a finding of their own.
        if mixture is None or any(track.rate != mixture.rate for track in tracks):
            continue
        rest = np.zeros((2, max(block.shape[1] for block in blocks if block is not None)))
        for track, block in zip(heard.tracks, blocks, strict=True):
            if block is not None:
                rest[:, : block.shape[1]] += block if track is mixture else -block
        energy += float((blocks[-1].astype(np.float64) ** 2).sum()) if blocks[-1] is not None else 0.0
        error += float((rest**2).sum())
    if energy and not any(track.trouble for track in heard.tracks):
        heard.difference = float(10 * np.log10(error / energy + 1e-20))
    return heard


def check_songs(
    songs: Iterable[Song], rate: int | None = None, progress: Callable[[float, str], None] | None = None
) -> list[Finding]:
    """Decode songs and report what is wrong with them.

    Args:
        songs: from `songs.find_songs`.
        rate: Hz that every file should have; None: what most of them have.
        progress: called after each song with the fraction done and the song's name.

    Returns:
        Findings, song by song in the order given; of duplicates the later one is reported.
    """
    songs = list(songs)
    heard = []
    for index, song in enumerate(songs):
        heard.append(_listen(song))
        if progress is not None:
            progress((index + 1) / len(songs), song.name)
    rates = Counter(track.rate for one in heard for track in one.tracks if track.rate)
    usual = rate or max(rates, key=lambda r: (rates[r], r), default=0)
    twins = _duplicates([(one.song, track) for one in heard for track in one.tracks if track.stem != MIXTURE])
    findings = []
    for one in heard:
        findings += _of_files(one, usual, "that was asked for" if rate else "that most files have")
        findings += twins.get(one.song.name, [])
        findings += _of_song(one)
    return findings


def _of_files(heard: _Heard, usual: int, whose: str) -> Iterator[Finding]:
    """Report what is wrong with single files."""
    for track in heard.tracks:
        name, file = heard.song.name, track.source.path.name

        def found(kind: str, sentence: str, name: str = name, stem: str = track.stem) -> Finding:
            return Finding(name, stem, kind, sentence)

        if track.trouble:
            yield found("unreadable", track.trouble)
            continue
        if track.shortfall:
            yield found("cut short", track.shortfall)
        if track.peak < _SILENCE:
            yield found("silent", f"expected sound in {file}, found nothing above -80 dB: leave the file out if that is so")
        if track.overs >= _OVERS:
            yield found(
                "clipped",
                f"expected samples below full scale in {file}, found {track.overs} at or over it (peak {track.peak:.3f}):"
                " export it again at a lower level",
            )
        if track.rate != usual:
            yield found(
                "wrong rate",
                f"expected {usual} Hz {whose} in {file}, found {track.rate} Hz: it will be resampled,"
                + (" and holds nothing above its own half" if track.rate < usual else " which costs time"),
            )


def _of_song(heard: _Heard) -> Iterator[Finding]:
    """Report what is wrong with a song as a whole: stems missing or shorter, a mixture that is not their sum."""
    song = heard.song
    for stem in ("vocals", ACCOMPANIMENT) if song.two_stems else STEMS:
        if stem not in song.stems:
            yield Finding(song.name, stem, "missing", f"expected a file for {stem}, found none: it will count as silent")
    lengths: dict[str, float] = {}
    for track in heard.tracks:
        if not track.trouble:
            lengths[track.stem] = max(lengths.get(track.stem, 0.0), track.seconds)
    longest = max(lengths.values(), default=0.0)
    for stem, seconds in lengths.items():
        if longest - seconds > _SHORT_SECONDS:
            yield Finding(
                song.name,
                stem,
                "shorter",
                f"expected {longest:.2f} s of {stem} as in the longest stem, found {seconds:.2f} s: check the export;"
                " silence will fill the end",
            )
    if heard.difference is not None and heard.difference > _SUM_DECIBELS:
        yield Finding(
            song.name,
            MIXTURE,
            "bad sum",
            f"expected a mixture that is the sum of the stems to {_SUM_DECIBELS:.0f} dB, found a difference of"
            f" {heard.difference:.1f} dB: look for a missing stem, another gain or a mastered mixture",
        )


def _duplicates(tracks: list[tuple[Song, _Track]]) -> dict[str, list[Finding]]:
    """Find tracks that are one recording: the same samples, or the same course of loudness from end to end."""
    found: dict[str, list[Finding]] = {}
    seen: list[tuple[Song, _Track]] = []
    for song, track in tracks:
        if track.trouble or track.peak < _SILENCE:
            continue
        # Two takes, or two microphones, of one stem follow each other and may: there only the same samples count.
        twin = next(
            (
                (other, first)
                for other, first in seen
                if first.digest == track.digest or not (other is song and first.stem == track.stem) and _same(first, track)
            ),
            None,
        )
        seen.append((song, track))
        if twin is not None:
            other, first = twin
            where = "the same song" if other is song else f"'{other.name}' ({other.split})"
            sentence = (
                f"expected a recording of its own in {track.source.path.name}, found that of {first.stem}"
                f" ({first.source.path.name}) in {where}: keep one of the two, and never one on each side of a split"
            )
            found.setdefault(song.name, []).append(Finding(song.name, track.stem, "duplicate", sentence))
    return found


def _same(one: _Track, other: _Track) -> bool:
    """Say whether two tracks have one course of loudness: a recording coded again, or at another gain."""
    a, b = one.loudness, other.loudness
    if abs(len(a) - len(b)) > 2 * _OFFSET_STEPS or min(len(a), len(b)) < _STEPS_A_SECOND:
        return False
    for offset in range(-_OFFSET_STEPS, _OFFSET_STEPS + 1):
        left, right = a[max(0, offset) :], b[max(0, -offset) :]
        count = min(len(left), len(right))
        left, right = left[:count], right[:count]
        # Silence is as loud in every recording: two basses that enter at one moment would be alike by that step alone.
        sounding = [course > course.max() - _RANGE_DECIBELS / 10 for course in (left, right)]
        both = sounding[0] & sounding[1]
        if both.sum() < _STEPS_A_SECOND or (sounding[0] != sounding[1]).mean() > 1 - _TOGETHER:
            continue
        left, right = left[both], right[both]
        # A steady tone has no course to compare: 1 dB of movement at least.
        if min(left.std(), right.std()) > 0.1 and np.corrcoef(left, right)[0, 1] > _ALIKE:
            return True
    return False
