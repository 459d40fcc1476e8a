"""Turn piano performances and chorales into the tokens in which their likelihoods are published, and back.

Reference: Oore et al., "This time with feeling", Neural Computing and Applications 2018 (the events of a performance);
Huang et al., "Music Transformer", ICLR 2019, section 4 (388 events; the chorales' grid of sixteenths, soprano to bass).
"""

from collections.abc import Sequence

import numpy as np

from songfoundry.errors import InputError
from songfoundry.notes.grid import next_onsets, pedals, sustained
from songfoundry.notes.midi import _symusic
from songfoundry.notes.vocabulary import TokenConfig, Vocabulary

SHIFTS = 100
"""Waits of 10 ms to a second."""
_SPECIAL = ["PAD_None", "BOS_None", "EOS_None"]


class Performance(Vocabulary):
    """Write piano music as a pianist's events: 128 NoteOn, 128 NoteOff, 100 TimeShift of 10 ms each, 32 Velocity.

    The sustain pedal prolongs notes. A velocity is said where it changes, before its note. All that happens at one time is in
    the order of releases, then notes by pitch. There are no bars in such music: what counts as one are 2 s, a bar of 4/4 at the
    120 quarters a minute that recorded performances are written with.
    """

    bar_length = 200

    def __init__(self, config: TokenConfig | None = None) -> None:
        names = [f"NoteOn_{p}" for p in range(128)] + [f"NoteOff_{p}" for p in range(128)]
        names += [f"TimeShift_{n}" for n in range(1, SHIFTS + 1)] + [f"Velocity_{n}" for n in range(1, 33)]
        super().__init__(config or TokenConfig(kind="performance"), _SPECIAL + names)
        self._on, self._off, self._shift, self._loud = (
            self.ids[name] for name in ("NoteOn_0", "NoteOff_0", "TimeShift_1", "Velocity_1")
        )

    def encode(
        self, score, *, style: str | None = None, key: int | None = None, ends: bool = True, bars: int | None = None
    ) -> np.ndarray:
        """Write a `symusic.Score` in ticks as tokens: int32 (n,), [BOS, Style, Key, events..., EOS if `ends`]; drums are left out.

        Args:
            score, style, key, ends: as for the REMI tokenizer.
            bars: last at least so many times 2 s.

        Raises:
            InputError: no notes but drums. ValueError: no such style or key.
        """
        header = self.header(style, key)
        rows, last = self._events(score), 0
        out: list[int] = []
        loud = -1
        for time, kind, pitch, velocity in rows.tolist():
            out += self._wait(time - last)
            last = time
            if kind and velocity != loud:
                out.append(self._loud + velocity)
                loud = velocity
            out.append((self._on if kind else self._off) + pitch)
        out += self._wait((bars or 0) * self.bar_length - last)
        return np.concatenate([header, out, [self.eos] if ends else []]).astype(np.int32)

    def _wait(self, steps: int) -> list[int]:
        """Tell a wait of so many times 10 ms."""
        whole, rest = divmod(max(steps, 0), SHIFTS)
        return [self._shift + SHIFTS - 1] * whole + ([self._shift + rest - 1] if rest else [])

    def _events(self, score) -> np.ndarray:
        """List note ends and beginnings in order: int64 (events, 4) with the columns time (10 ms), 0 or 1, pitch, level of velocity."""
        found = [self._played(track) for track in score.to("Second").tracks if not track.is_drum and len(track.notes)]
        if not found:
            raise InputError("expected a piece with notes other than drums, found none: choose another file")
        onset, length, pitch, velocity = np.concatenate(found, axis=1)
        begin = np.floor(onset * 100 + 0.5).astype(np.int64)
        end = np.maximum(np.floor((onset + length) * 100 + 0.5).astype(np.int64), begin + 1)
        order = np.lexsort((-end, pitch, begin))
        begin, end, pitch, velocity = begin[order], end[order], pitch[order].astype(np.int64), velocity[order].astype(np.int64)
        new = np.ones(len(begin), bool)
        new[1:] = (np.diff(begin) != 0) | (np.diff(pitch) != 0)
        begin, end, pitch, velocity = begin[new], end[new], pitch[new], velocity[new]
        end = np.minimum(end, next_onsets(begin.astype(float), pitch)).astype(np.int64)
        level = np.minimum(np.maximum(velocity - 1, 0) // 4, 31)
        rows = np.concatenate([
            np.stack([end, np.zeros_like(end), pitch, level], axis=1), np.stack([begin, np.ones_like(end), pitch, level], axis=1)
        ])  # fmt: skip
        return rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]

    def _played(self, track) -> np.ndarray:
        """List the notes of a track with the pedal's work: float64 (4, notes), seconds, seconds, pitch, velocity."""
        columns = track.notes.numpy()
        notes = np.stack([columns[name].astype(np.float64) for name in ("time", "duration", "pitch", "velocity")])
        if self.config.sustain:
            notes[1], _ = sustained(notes, pedals(track))
        return notes

    def lost(self, score) -> list[str]:
        """Say what a way through tokens and back does not keep of a score, a sentence each; raises as `encode` does."""
        self._events(score)
        said = ["Time is told in steps of 10 ms, loudness in 32 levels; metre and tempo are left out."]
        drums = sum(len(track.notes) for track in score.tracks if track.is_drum)
        said += [f"{drums} drum notes are left out."] if drums else []
        tracks = sum(len(track.notes) > 0 and not track.is_drum for track in score.tracks)
        said += [f"{tracks} tracks become one piano."] if tracks > 1 else []
        uses = sum(len(pedals(track)) for track in score.tracks)
        return said + ([f"{uses} uses of the sustain pedal become longer notes."] if uses and self.config.sustain else [])

    def decode(self, ids: Sequence[int] | np.ndarray, *, like=None):
        """Read tokens as a `symusic.Score` of one piano, 4/4 at 120 quarters a minute; what is held ends with the tokens.

        `like` is not looked at: such tokens tell no tempo.
        """
        symusic = _symusic()
        now, velocity, down, notes = 0, 16, {}, []
        for token in self.in_order(ids).tolist():
            kind, value = self.kinds[token], int(self.value(token))
            if kind == "TimeShift":
                now += value
            elif kind == "Velocity":
                velocity = value
            else:
                if value in down:
                    begin, loud = down.pop(value)
                    notes += [(begin, now - begin, value, loud)] if now > begin else []
                if kind == "NoteOn":
                    down[value] = (now, velocity)
        notes += [(begin, max(now - begin, 1), pitch, loud) for pitch, (begin, loud) in down.items()]
        score = symusic.Score(100)
        score.tempos.append(symusic.Tempo(0, 120.0))
        score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
        track = symusic.Track(program=0)
        # A quarter is half a second: 50 steps of 10 ms, told in 100 ticks.
        track.notes.extend([symusic.Note(2 * begin, 2 * length, pitch, 4 * loud - 2) for begin, length, pitch, loud in sorted(notes)])
        if len(track.notes):
            score.tracks.append(track)
        return score

    def bars(self, ids: np.ndarray) -> np.ndarray:
        """List where each 2 s of music begin: int64 (bars,), the index of the first event at that time or later."""
        ids = np.asarray(ids)
        waits = np.where((ids >= self._shift) & (ids < self._loud), ids - self._shift + 1, 0)
        before = np.cumsum(waits) - waits
        body = np.flatnonzero(~np.isin(self.kinds[ids], ("PAD", "BOS", "EOS", "Style", "Key", "Fill")))
        if not len(body):
            return body
        count = int(before[body[-1]] + waits[body[-1]] - 1) // self.bar_length + 1 if waits.any() else 1
        starts = np.searchsorted(before[body], np.arange(count) * self.bar_length)
        return body[np.minimum(starts, len(body) - 1)]

    def _resumed(self, ids: np.ndarray, at: int, inside: np.ndarray) -> np.ndarray:
        """Say the velocity that holds, and leave out releases of keys that were struck before."""
        down: set[int] = set()
        kept = []
        for token in inside.tolist():
            kind = self.kinds[token]
            if kind == "NoteOn":
                down.add(token - self._on)
            elif kind == "NoteOff":
                if token - self._off not in down:
                    continue
                down.discard(token - self._off)
            kept.append(token)
        said = ids[:at][self.kinds[ids[:at]] == "Velocity"]
        first = next((self.kinds[token] for token in kept if self.kinds[token] in ("Velocity", "NoteOn")), None)
        head = [said[-1]] if len(said) and first == "NoteOn" else []
        # The velocity goes right before its note: waits may come first.
        where = next((n for n, token in enumerate(kept) if self.kinds[token] == "NoteOn"), 0)
        return np.array([*kept[:where], *head, *kept[where:]], ids.dtype)


class Chorale(Vocabulary):
    """Write four-part music as a token for each voice in each sixteenth, soprano, alto, tenor, bass: Pitch_36 ... Pitch_81 or a rest.

    Held notes and repeated ones are not told apart, as in the data set. What counts as a bar are 16 steps.
    """

    bar_length = 16
    lowest, highest = 36, 81

    def __init__(self, config: TokenConfig | None = None) -> None:
        names = [f"Pitch_{pitch}" for pitch in range(self.lowest, self.highest + 1)] + ["Rest_None"]
        super().__init__(config or TokenConfig(kind="chorale"), _SPECIAL + names)
        self._first, self._rest = self.ids[f"Pitch_{self.lowest}"], self.ids["Rest_None"]

    def encode_steps(
        self, steps: np.ndarray, *, style: str | None = "chorale", key: int | None = None, ends: bool = True
    ) -> np.ndarray:
        """Write pitches, int (steps, 4), soprano to bass, -1 for silent, as tokens: int32 (n,), as `encode` does.

        Raises
        ------
        InputError : not four voices, or pitches outside 36-81.
        """
        steps = np.asarray(steps)
        if steps.ndim != 2 or steps.shape[1] != 4:
            raise InputError(f"expected four voices a step, found an array of the shape {steps.shape}: give soprano, alto, tenor, bass")
        sounds = steps >= 0
        if (sounds & ((steps < self.lowest) | (steps > self.highest))).any():
            found = steps[sounds]
            raise InputError(
                f"expected chorale pitches of {self.lowest}-{self.highest}, found {found.min()}-{found.max()}: transpose the piece"
            )
        body = np.where(sounds, steps - self.lowest + self._first, self._rest).reshape(-1)
        return np.concatenate([self.header(style, key), body, [self.eos] if ends else []]).astype(np.int32)

    def decode_steps(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read tokens as pitches: int64 (steps, 4), -1 for silent; a step that is cut short is filled with silence."""
        body = self.in_order(ids)
        body = np.concatenate([body, np.full(-len(body) % 4, self._rest)]).astype(np.int64)
        return np.where(body == self._rest, -1, body - self._first + self.lowest).reshape(-1, 4)

    def encode(
        self, score, *, style: str | None = "chorale", key: int | None = None, ends: bool = True, bars: int | None = None
    ) -> np.ndarray:
        """Write a `symusic.Score` in ticks as tokens; its voices are its first four tracks, else the notes of each step from the top.

        Args:
            score: at most four pitches at a time, 36-81; drums are left out.
            style, key, ends: as for the REMI tokenizer.
            bars: write at least so many times 16 steps, the last of them silent.

        Raises:
            InputError: no notes, more than four at a time, or pitches outside 36-81. ValueError: no such style or key.
        """
        steps = self._steps(score)
        missing = (bars or 0) * self.bar_length - len(steps)
        if missing > 0:
            steps = np.concatenate([steps, np.full((missing, 4), -1)])
        return self.encode_steps(steps, style=style, key=key, ends=ends)

    def _steps(self, score) -> np.ndarray:
        """Lay the notes of a score on the grid of sixteenths: int64 (steps, 4)."""
        tracks = [track.notes.numpy() for track in score.tracks if not track.is_drum and len(track.notes)]
        if not tracks:
            raise InputError("expected a piece with notes other than drums, found none: choose another file")
        scale = 4 / score.ticks_per_quarter
        end = max(int(np.ceil((notes["time"] + notes["duration"]).max() * scale - 0.5)) for notes in tracks)
        if end > 50_000:
            raise InputError(f"expected at most 50000 sixteenths of music, found {end}: cut the piece")
        voices = len(tracks) == 4
        steps: list[list[int]] = [[] for _ in range(max(end, 1))]
        lines = np.full((max(end, 1), 4), -1)
        for voice, notes in enumerate(tracks):
            begin = np.floor(notes["time"] * scale + 0.5).astype(int)
            stop = np.maximum(np.floor((notes["time"] + notes["duration"]) * scale + 0.5).astype(int), begin + 1)
            for first, last, pitch in zip(begin.tolist(), stop.tolist(), notes["pitch"].tolist(), strict=True):
                for step in range(first, min(last, len(steps))):
                    voices = voices and lines[step, voice] in (-1, pitch)
                    lines[step, voice % 4] = pitch
                    steps[step].append(pitch)
        if voices:
            return lines
        most = max(len(set(step)) for step in steps)
        if most > 4:
            raise InputError(f"expected at most four notes at a time, found {most}: choose a piece in four parts")
        return np.array([(sorted(set(step), reverse=True) + [-1] * 4)[:4] for step in steps])

    def lost(self, score) -> list[str]:
        """Say what a way through tokens and back does not keep of a score; raises as `encode` does."""
        self._steps(score)
        return ["Time is told in sixteenths; repeated notes become held ones; loudness, metre, tempo and instruments are left out."]

    def decode(self, ids: Sequence[int] | np.ndarray, *, like=None):
        """Read tokens as a `symusic.Score` of four voices (choir), 4/4 at 80 quarters a minute; equal neighbours are one note.

        `like` is not looked at: such tokens tell no tempo.
        """
        symusic = _symusic()
        steps = self.decode_steps(ids)
        score = symusic.Score(48)
        score.tempos.append(symusic.Tempo(0, 80.0))
        score.time_signatures.append(symusic.TimeSignature(0, 4, 4))
        for voice, name in enumerate(("soprano", "alto", "tenor", "bass")):
            line = np.concatenate([[-2], steps[:, voice], [-2]])
            edges = np.flatnonzero(np.diff(line))
            track = symusic.Track(name, program=52)
            for begin, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
                if steps[begin, voice] >= 0:
                    track.notes.append(symusic.Note(12 * begin, 12 * (stop - begin), int(steps[begin, voice]), 80))
            score.tracks.append(track)
        return score

    def bars(self, ids: np.ndarray) -> np.ndarray:
        """List where each 16 steps begin: int64 (bars,), indices into `ids`."""
        body = np.flatnonzero(~np.isin(self.kinds[np.asarray(ids)], ("PAD", "BOS", "EOS", "Style", "Key", "Fill")))
        return body[:: 4 * self.bar_length]

    def _resumed(self, ids: np.ndarray, at: int, inside: np.ndarray) -> np.ndarray:
        """Return the steps as they are: each says all that sounds."""
        return inside


__all__ = ["SHIFTS", "Chorale", "Performance"]
