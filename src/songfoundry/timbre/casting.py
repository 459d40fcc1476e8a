"""Decide which timbre each track of a piece is played with, and when it changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from songfoundry.errors import ConfigError
from songfoundry.notes import Part
from songfoundry.registry import nearest
from songfoundry.timbre.generator import NoteGenerator
from songfoundry.timbre.programs import PROGRAMS_OF_SOUNDS, instrument_for
from songfoundry.timbre.timbres import Timbre, between

__all__ = ["Role", "cast"]

STEPS = 12
"""Timbres on the way from one instrument to the next: each note has the one at its beginning."""


@dataclass(frozen=True)
class Role:
    """Hold what one part is played with.

    `stations`: timbres, of which the part is at the first at its beginning and, where there are several, at the next every
    `seconds`. `chosen`: how it was chosen, for the user.
    """

    part: Part
    stations: tuple[Timbre, ...]
    seconds: float | None
    chosen: str

    def places(self) -> np.ndarray:
        """Give the place on the path at which each note begins, in steps: int64 (notes,)."""
        if self.seconds is None:
            return np.zeros(len(self.part.starts), np.int64)
        return np.minimum(self.part.starts / self.seconds * STEPS, (len(self.stations) - 1) * STEPS).astype(np.int64)

    def timbre(self, place: int) -> Timbre:
        """Give the timbre at a place of the path."""
        station, step = divmod(int(place), STEPS)
        return between(self.stations[station], self.stations[station + 1], step / STEPS) if step else self.stations[station]


def cast(
    generator: NoteGenerator, parts: Sequence[Part], wanted: str | Sequence[str] | None = None, interpolate: float | None = None,
    seed: int = 0,
) -> tuple[list[Role], list[Part]]:  # fmt: skip
    """Give each pitched part a timbre, parts of one instrument the same; returns the roles, and the parts that the orchestra plays.

    Parameters
    ----------
    wanted : instruments, or .npz files of timbres, for the pitched parts in their order ("flute,cello"), or by a part's name or its
        number among them ("1=flute", "Melody=a.npz"); "drawn" draws one. Parts that are not named get the instrument nearest to their
        program.
    interpolate : seconds from one instrument of a path to the next; None to stay.

    Raises
    ------
    ConfigError : an unknown instrument or part, seconds that are none. InputError : a file that is no timbre.
    """
    if interpolate is not None and not 0.1 <= interpolate <= 3600:
        raise ConfigError(f"expected 0.1 to 3600 seconds after --interpolate, found {interpolate:g}: choose another")
    others = [part for part in parts if part.is_drum or part.program in PROGRAMS_OF_SOUNDS]
    pitched = [part for part in parts if not (part.is_drum or part.program in PROGRAMS_OF_SOUNDS)]
    asked = _asked(wanted, pitched)
    roles, numbers = [], {}
    for place, part in enumerate(pitched):
        name = asked.get(place)
        # A piano's two hands, or an instrument that is named twice, are one timbre; what is drawn is another each time.
        played = instrument_for(part.program, generator.instruments) if name is None else name
        number = numbers.setdefault(place if name == "drawn" else played, place)
        if name is None:
            timbre, chosen = generator.timbre(played, seed, number), f"nearest to program {part.program}"
        elif name.endswith(".npz"):
            timbre, chosen = generator.load_timbre(name), "as asked"
        elif name == "drawn":
            timbre, chosen = generator.timbre(None, seed, number), "drawn"
        else:
            timbre, chosen = generator.timbre(name, seed, number), "as asked"
        stations = [timbre]
        if interpolate is not None:
            stations += _journey(generator, timbre, int(part.starts.max() / interpolate) + 1, seed, number)
        roles.append(Role(part, tuple(stations), interpolate, chosen))
    return roles, others


def _journey(generator: NoteGenerator, start: Timbre, count: int, seed: int, number: int) -> list[Timbre]:
    """Draw the stations after the first: of another instrument than the one before, where there are others."""
    draw = np.random.default_rng([seed, number, 1])
    held, stations = start.pure, []
    for step in range(count):
        choice = [index for index in range(len(generator.instruments)) if index != held] or [0]
        held = choice[int(draw.integers(len(choice)))]
        # Latents of a track's path: drawn apart from those of all tracks' beginnings.
        stations.append(generator.timbre(generator.instruments[held], seed, 1_000_000 * (number + 1) + step))
    return stations


def _asked(wanted: str | Sequence[str] | None, pitched: Sequence[Part]) -> dict[int, str]:
    """Read which part is to have what; {number of the pitched part: instrument, file or "drawn"}."""
    if wanted is None:
        return {}
    entries = [entry.strip() for entry in (wanted.split(",") if isinstance(wanted, str) else wanted)]
    if len(entries) > len(pitched):
        raise ConfigError(f"expected at most {len(pitched)} instruments, one a pitched track, found {len(entries)}: leave some out")
    names = [part.name.strip() for part in pitched]
    asked = {}
    for place, entry in enumerate(entries):
        track, equals, name = entry.rpartition("=")
        if not name:
            raise ConfigError(f"expected an instrument for each track, found nothing in {entry!r}: write flute,cello or 1=flute")
        if not equals:
            asked[place] = name
        elif track in names:
            asked |= {number: name for number, other in enumerate(names) if other == track}
        elif track.isdigit() and 1 <= int(track) <= len(pitched):
            asked[int(track) - 1] = name
        else:
            known = nearest(track, [*filter(None, names), *map(str, range(1, len(pitched) + 1))])
            raise ConfigError(f"expected the name or number of a pitched track, found {track!r}: {known}")
    return asked
