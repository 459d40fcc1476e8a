"""Turn pieces into REMI tokens and back: MidiTok's tokens for bars, metres, positions, tempi, instruments and notes, and after
them our own for style, key and gaps to fill.

Reference: Huang and Yang, "Pop Music Transformer", ACM Multimedia 2020 (REMI); Fradet et al., "MidiTok", ISMIR LBD 2021.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from songfoundry.errors import MissingExtraError
from songfoundry.notes.grid import DRUM_PITCHES, METRES, Grid, on_grid
from songfoundry.notes.midi import _symusic
from songfoundry.notes.vocabulary import HEADER, KEYS, STYLES, TokenConfig, Vocabulary

__all__ = ["HEADER", "KEYS", "STYLES", "TokenConfig", "Tokenizer", "tokenizer"]


class Tokenizer(Vocabulary):
    """Write pieces in REMI; see `Vocabulary` for what the three tokenizers share.

    A piece is [BOS, Style, Key, bars..., EOS]; a bar is Bar, TimeSig, then Positions, each followed by a Tempo or by notes; a
    note is Program, Pitch or PitchDrum, Velocity, Duration. Positions count in twelfths of a beat from the bar line, the beat
    being the denominator of the metre; "Duration_1.3.12" is a beat and three twelfths.
    """

    def __init__(self, config: TokenConfig | None = None) -> None:
        config = config or TokenConfig()
        miditok = _miditok()
        n = config.positions
        self._remi = miditok.REMI(miditok.TokenizerConfig(
            pitch_range=(0, 127), beat_res={(0, 4): n, (4, 8): n // 2, (8, 17): n // 4}, num_velocities=config.velocities,
            use_time_signatures=True, time_signature_range={below: list(above) for below, above in METRES.items()},
            use_tempos=True, num_tempos=config.tempi, tempo_range=(config.slowest, config.fastest), log_tempos=True,
            use_programs=True, one_token_stream_for_programs=True, use_pitchdrum_tokens=True, drums_pitch_range=DRUM_PITCHES,
            use_sustain_pedals=False,
        ))  # fmt: skip
        names = [name for name, _ in sorted(self._remi.vocab.items(), key=lambda pair: pair[1])]
        super().__init__(config, names)
        self.lengths = {int(token): self._positions(self.value(token)) for token in self.of_kind("Duration")}
        self.grid = Grid(
            positions=n,
            velocities=np.array(sorted(int(self.value(token)) for token in self.of_kind("Velocity"))),
            tempi=np.array([float(self.value(token)) for token in self.of_kind("Tempo")]),
            durations=np.array(sorted(set(self.lengths.values()))),
        )
        self._bar, self._tempo0 = self.ids["Bar_None"], self.ids["Position_0"]

    def _positions(self, duration: str) -> int:
        """Count the positions in MidiTok's duration "beats.part.parts"."""
        beats, part, parts = map(int, duration.split("."))
        return (beats * parts + part) * self.config.positions // parts

    def encode(
        self, score, *, style: str | None = None, key: int | None = None, ends: bool = True, bars: int | None = None
    ) -> np.ndarray:
        """Write a `symusic.Score` as tokens: int32 (n,), [BOS, Style, Key, bars..., EOS if `ends`].

        Args:
            score: the piece, in ticks; sustained notes are prolonged, then all is put on the grid (see `lost`).
            style: one of `STYLES`; None for "other".
            key: index into `KEYS`; None for not told.
            ends: whether the last bar is the end of the piece.
            bars: write at least so many bars; silent ones follow the last note.

        Raises:
            InputError: no notes, a metre that has no token, or far too many bars.
            MissingExtraError: symusic or MidiTok is not installed.
            ValueError: no such style or key.
        """
        header = self.header(style, key)
        placed, _ = on_grid(score, self.grid, sustain=self.config.sustain)
        ids = np.array(self._remi.encode(placed, no_preprocess_score=True).ids, np.int32)
        missing = (bars or 0) - int((ids == self._bar).sum())
        if missing > 0:
            metre = ids[self.kinds[ids] == "TimeSig"][-1]
            ids = np.concatenate([ids, np.tile([self._bar, metre], missing)])
        return np.concatenate([header, ids, [self.eos] if ends else []]).astype(np.int32)

    def lost(self, score) -> list[str]:
        """Say what a way through tokens and back does not keep of a score, a sentence each; raises as `encode` does."""
        return on_grid(score, self.grid, sustain=self.config.sustain)[1]

    def decode(self, ids: Sequence[int] | np.ndarray, *, like=None):
        """Read tokens as a `symusic.Score` in ticks, `grid.quarter` (48) a quarter, one track a program, drums last.

        Any sequence is read, cut anywhere: a note that lacks its end is left out. No two notes of one pitch and program overlap.

        Args:
            ids: int (n,).
            like: the score that the first bars were encoded from. Tokens tell tempi in levels; with `like`, its own tempi, exact
                and where they were, hold up to its last note, and after that its last one wherever the tokens keep to its level.
        """
        symusic = _symusic()
        names = [self.names[token] for token in self.in_order(ids)]
        sequence = _miditok().TokSequence(tokens=names)
        score = self._remi._tokens_to_score(sequence)
        tracks = sorted(score.tracks, key=lambda track: (track.is_drum, track.program))
        for track in tracks:
            columns = track.notes.numpy()
            track.notes = symusic.Note.from_numpy(*_apart(*(columns[name] for name in ("time", "duration", "pitch", "velocity"))))
        score.tracks = [track for track in tracks if len(track.notes)]
        tempi = [(int(event.time), float(event.qpm)) for event in score.tempos]
        if not tempi or tempi[0][0] > 0:
            tempi.insert(0, (0, 120.0))
        if like is not None:
            tempi = _exact_tempi(tempi, like, self)
        score.tempos = symusic.Tempo.from_numpy(
            np.array([tick for tick, _ in tempi], np.int32), np.array([round(6e7 / qpm) for _, qpm in tempi], np.int32)
        )
        return score

    def errors(self, ids: Sequence[int] | np.ndarray) -> int:
        """Count the tokens that cannot stand where they do, by MidiTok's rules (kinds in order, time that moves on), not by our grammar."""
        names = [self.names[token] for token in self.in_order(ids)]
        return self._remi._tokens_errors(names) if names else 0

    def bars(self, ids: np.ndarray) -> np.ndarray:
        """List where the bars begin: int64 (bars,), indices of the Bar tokens."""
        return np.flatnonzero(np.asarray(ids) == self._bar)

    def _resumed(self, ids: np.ndarray, at: int, inside: np.ndarray) -> np.ndarray:
        """Say the tempo that holds in the first bar, at position 0, unless it is said there."""
        earlier = ids[:at][self.kinds[ids[:at]] == "Tempo"]
        if not len(earlier) or len(inside) < 2:
            return inside
        head, rest = inside[:2], inside[2:]
        if len(rest) and rest[0] == self._tempo0:
            if len(rest) > 1 and self.kinds[rest[1]] == "Tempo":
                return inside
            rest = rest[1:]
        return np.concatenate([head, [self._tempo0, earlier[-1]], rest]).astype(ids.dtype)


@lru_cache(maxsize=16)
def tokenizer(config: TokenConfig | None = None) -> Vocabulary:
    """Build the tokenizer of a config (REMI by default), or return the one that is built."""
    config = config or TokenConfig()
    if config.kind == "remi":
        return Tokenizer(config)
    from songfoundry.notes.events import Chorale, Performance

    return Performance(config) if config.kind == "performance" else Chorale(config)


def _apart(time: np.ndarray, length: np.ndarray, pitch: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sort notes by onset and pitch, and end each where its pitch is struck again; of two at one onset the longer stays."""
    order = np.lexsort((-length, time, pitch))
    time, length, pitch, velocity = time[order], length[order], pitch[order], velocity[order]
    new = np.ones(len(time), bool)
    new[1:] = (np.diff(time) != 0) | (np.diff(pitch) != 0)
    time, length, pitch, velocity = time[new], length[new], pitch[new], velocity[new]
    same = np.flatnonzero(np.diff(pitch) == 0)
    length[same] = np.minimum(length[same], np.diff(time)[same])
    order = np.lexsort((pitch, time))
    return time[order], length[order], pitch[order], velocity[order]


def _exact_tempi(tempi: list[tuple[int, float]], like, coder: Tokenizer) -> list[tuple[int, float]]:
    """Put the tempi of the score `like` in the place of their levels: pairs of tick on the grid and quarters a minute."""
    scale = coder.grid.quarter / like.ticks_per_quarter
    exact = [(round(event.time * scale), float(event.qpm)) for event in sorted(like.tempos, key=lambda event: event.time)]
    if not exact or exact[0][0] > 0:
        exact.insert(0, (0, 120.0))
    last = max((note.start for track in like.tracks for note in track.notes), default=0) * scale
    exact = [(tick, qpm) for tick, qpm in exact if tick <= last]
    held = exact[-1][1]
    level = coder.grid.tempi[np.abs(np.log(coder.grid.tempi / held)).argmin()]
    return exact + [(tick, held if abs(qpm / level - 1) < 1e-3 else qpm) for tick, qpm in tempi if tick > last]


def _miditok():
    """Import MidiTok."""
    try:
        import miditok
    except ImportError as error:
        raise MissingExtraError(
            "expected the package miditok to write notes as tokens, found none: install it with `pip install songfoundry[midi]`"
        ) from error
    return miditok
