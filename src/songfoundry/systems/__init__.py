"""Systems: front end, nets and losses for one task; what is trained, saved, loaded and asked to work."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from songfoundry.audio.io import Clip

__all__ = ["Artifact"]


@dataclass(frozen=True)
class Artifact:
    """Hold something to look at or listen to that a system made: a run folder keeps it as `results/NAME.KIND`.

    `content` is the file's bytes, or for a wav the `Clip`.
    """

    name: str
    kind: Literal["png", "wav", "mid", "csv"]
    content: "bytes | Clip"
