"""Say how music is to be written: what a user may choose, with its limits, and what does not go together."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from songfoundry.config import Config
from songfoundry.errors import ConfigError, InputError, SongfoundryError
from songfoundry.notes.grammar import Locks
from songfoundry.notes.vocabulary import STYLES
from songfoundry.registry import nearest

__all__ = ["LOCKS", "Wishes", "option"]

LOCKS = ("metre", "tempo", "key", "instruments")
"""What a composition keeps from its prompt."""


class Wishes(Config):
    """Say how to write: what a user may choose, with its limits.

    Attributes
    ----------
    bars : how many are written; None for 8, or all of the track that `melody` keeps.
    temperature, top_k, top_p, min_p, repetition_penalty : how tokens are drawn (`songfoundry.systems.sampling.Sampling`).
    lock : what is kept, of metre, tempo, key (key=soft, key=hard) and instruments (and how much they play: notes at once, notes
        in a bar, their length), with commas; "none" for nothing.
    key_strength : nats that a pitch outside the scale loses under a soft lock; also the most that any pitch loses, under a hard one
        too, where the music would settle on another tonic.
    key, metre, tempo, style : "A minor", "3/4", quarter notes a minute, a name of `STYLES`. Metre and tempo are for music from
        nothing; a prompt has its own.
    melody : name or number (from 1) of the track that is kept, the others being written anew. chords : names, one a bar, round
        and round. replace_bars : "5-8", written anew while all else stays. end : close on the tonic, in the last bar.
    """

    bars: int | None = Field(None, ge=1, le=512)
    temperature: float = Field(1.0, ge=0, le=10)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(0.98, gt=0, le=1)
    min_p: float = Field(0.0, ge=0, lt=1)
    repetition_penalty: float = Field(1.0, ge=1, le=10)
    lock: str = ",".join(LOCKS)
    key_strength: float = Field(4.0, ge=0, le=100)
    key: str | None = None
    metre: str | None = None
    tempo: float | None = Field(None, ge=20, le=320)
    style: str | None = None
    melody: str | None = None
    chords: str | None = None
    replace_bars: str | None = None
    end: bool = False

    def sampling(self) -> dict[str, Any]:
        """Give the settings of the sampler."""
        return {name: getattr(self, name) for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")}

    def locks(self) -> Locks:
        """Read `lock`; raises `ConfigError`."""
        words = [word.strip() for word in self.lock.split(",") if word.strip()]
        known = [*LOCKS, "key=soft", "key=hard", "none"]
        for word in words:
            if word not in known or (word == "none" and len(words) > 1):
                raise ConfigError(f"expected locks with commas after --lock, found {word!r}: {nearest(word, known)}")
        if not words or len({word.partition("=")[0] for word in words}) < len(words):
            raise ConfigError(f"expected each lock once after --lock, or none, found {self.lock!r}: such as {','.join(LOCKS)}")
        key = "hard" if "key=hard" in words else "soft" if {"key", "key=soft"} & set(words) else "off"
        kept = {name: name in words for name in ("metre", "tempo", "instruments")}
        return Locks(key=key, key_strength=self.key_strength, **kept)

    def style_name(self, learned: Sequence[str] = STYLES) -> str | None:
        """Give the style, one of those that the model has learned; raises `ConfigError` for another one."""
        if self.style is not None and self.style not in STYLES:
            raise ConfigError(f"expected a style after --style, found {self.style!r}: {nearest(self.style, list(learned))}")
        if self.style is not None and self.style not in learned:
            known = ", ".join(learned)
            raise ConfigError(f"expected a style that the model has learned after --style, found {self.style}: take one of {known}")
        return self.style

    def gap(self) -> tuple[int, int]:
        """Read `replace_bars`, "5-8" or "5"; raises `ConfigError`."""
        found = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", self.replace_bars or "")
        if found is None or int(found[2] or found[1]) < int(found[1]):
            raise ConfigError(f"expected bars such as 5-8 after --replace-bars, found {self.replace_bars!r}: count them from 1")
        return int(found[1]), int(found[2] or found[1])

    def check(self, prompted: bool) -> None:
        """Refuse wishes that do not go together; `prompted`: there is a prompt. Raises `ConfigError`."""
        given = {name: getattr(self, name) not in (None, False) for name in ("melody", "replace_bars", "metre", "tempo", "bars", "end")}
        for name in ("melody", "replace_bars"):
            if given[name] and not prompted:
                raise ConfigError(f"expected a prompt with {option(name)}, found none: name a MIDI file")
        for name in ("metre", "tempo"):
            if given[name] and prompted:
                raise ConfigError(f"expected {option(name)} only without a prompt, found both: a prompt has its own, leave one out")
        if "key_strength" in self.model_fields_set and self.locks().key == "off":
            raise ConfigError(f"expected --key-strength only with a lock on the key, found --lock {self.lock}: leave one out")
        for first, second in (("melody", "replace_bars"), ("replace_bars", "bars"), ("replace_bars", "end")):
            if given[first] and given[second]:
                raise ConfigError(f"expected {option(first)} or {option(second)}, found both: leave one out")


    def check_drums(self, what: str, error: type[SongfoundryError] = InputError) -> None:
        """Refuse wishes that ask for pitches of `what`, which has none; raises `error`."""
        for name in ("chords", "key"):
            if getattr(self, name) is not None:
                raise error(f"expected {option(name)} only for music with pitches, found drums alone in {what}: leave it out")


def option(name: str) -> str:
    """Name a wish as the command line does."""
    return "--" + name.replace("_", "-")
