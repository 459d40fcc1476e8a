"""Say what `separate` writes and where: which stems, what is left without a stem, and the names of the files."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from songfoundry.audio import io
from songfoundry.errors import ConfigError
from songfoundry.registry import nearest

__all__ = ["FORMATS", "SUFFIXES", "Selection", "format_for", "is_file_name", "plan_paths", "select"]

FORMATS = (*io.FORMATS, "stem.mp4")
"""What can be written; ``stem.mp4`` is one file with the mixture and all four stems."""
_FIELDS = ("track", "stem", "ext", "model")
_WRITTEN = (".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".stem.mp4")
_SAME_AS = {"wave": "wav", "oga": "ogg"}
SUFFIXES = (
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".aif", ".aiff", ".aifc", ".au", ".caf", ".mp3", ".ogg", ".oga", ".opus",
    ".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".mkv", ".wv", ".ac3",
)  # fmt: skip
"""Suffixes of the files in a folder that are taken for songs; a file that is named itself may have any."""


@dataclass(frozen=True)
class Selection:
    """Hold what is written: names, and for each the place of a stem, or the places of the stems that are taken off the mixture.

    `whole` is true where the outputs are the whole song, so that they can add up to the mixture.
    """

    names: tuple[str, ...]
    recipes: tuple[int | tuple[int, ...], ...]
    whole: bool

    def apply(self, mixture: np.ndarray, stems: np.ndarray) -> np.ndarray:
        """Make the outputs, float32 (channels, n) and (stems, channels, n) -> (outputs, channels, n).

        What is left without a stem is the mixture less that stem, not the sum of the others: nothing of the song is lost.
        """
        parts = [stems[r] if isinstance(r, int) else mixture - stems[list(r)].sum(axis=0) for r in self.recipes]
        return np.stack(parts)


def select(known: Sequence[str], stems=None, two_stems: str | None = None, minus=None) -> Selection:
    """Read the three options that choose outputs; at most one of them may be given.

    Parameters
    ----------
    known : the model's stems in their order.
    stems : names (a list, or text with commas) of those to write.
    two_stems : one stem; the rest is written beside it, named accompaniment for vocals and no_X for X.
    minus : names of stems that are taken off the mixture; one output.

    Raises
    ------
    ConfigError : two options at once, or an unknown stem.
    """
    given = [name for name, value in (("--stems", stems), ("--two-stems", two_stems), ("--minus", minus)) if value is not None]
    if len(given) > 1:
        raise ConfigError(f"expected one of --stems, --two-stems and --minus, found {' and '.join(given)}: leave one out")
    if two_stems is not None:
        (name,) = _names(two_stems, known, "--two-stems", most=1)
        place = known.index(name)
        return Selection((name, _rest([name])), (place, (place,)), True)
    if minus is not None:
        names = _names(minus, known, "--minus", most=len(known) - 1)
        return Selection((_rest(names),), (tuple(known.index(name) for name in names),), False)
    names = _names(stems, known, "--stems", most=len(known)) if stems is not None else list(known)
    return Selection(tuple(names), tuple(known.index(name) for name in names), len(names) == len(known))


def _names(value, known: Sequence[str], option: str, most: int) -> list[str]:
    """Split names at commas and check them; repeated ones count once."""
    parts = value.split(",") if isinstance(value, str) else list(value)
    names = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    for name in names:
        if name not in known:
            raise ConfigError(f"expected stems that the model has after {option}, found {name!r}: {nearest(name, list(known))}")
    if not 1 <= len(names) <= most:
        count = "one stem" if most == 1 else f"1 to {most} stems"
        raise ConfigError(f"expected {count} after {option}, found {len(names)}: choose among {', '.join(known)}")
    return names


def _rest(names: list[str]) -> str:
    return "accompaniment" if names == ["vocals"] else "no_" + "_".join(names)


def is_file_name(out: str | os.PathLike) -> bool:
    """Tell whether `--out` names one file rather than a folder: by its suffix, and no folder of that name is there."""
    out = os.fspath(out)
    return out == "-" or (out.lower().endswith(_WRITTEN) and not os.path.isdir(out))


def format_for(out: str | os.PathLike | None, format: str | None) -> str:
    """Decide the format: as asked, else by the file name that `--out` is, else wav.

    Raises
    ------
    ConfigError : an unknown format, or one that does not go with the file name; a file name of a format that is only read.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(f"expected a format, found {format!r}: {nearest(format, list(FORMATS))}")
    if out is not None and not is_file_name(out) and os.fspath(out).lower().endswith(SUFFIXES) and not os.path.isdir(out):
        known = ", ".join(f".{name}" for name in FORMATS)
        raise ConfigError(
            f"expected a folder after --out, or a file that can be written ({known}), found '{os.fspath(out)}': choose one of "
            "those, or put a slash behind the name of a folder"
        )
    if out is None or not is_file_name(out) or os.fspath(out) == "-":
        return format or "wav"
    named = "stem.mp4" if os.fspath(out).lower().endswith(".stem.mp4") else io.format_of(out)
    if format not in (None, named):
        raise ConfigError(f"expected a file name that goes with --format {format}, found '{os.fspath(out)}': change one of them")
    return named


def plan_paths(
    names: Sequence[str], out: str | os.PathLike, template: str | None, format: str, track: str, model: str
) -> dict[str, str]:
    """Name the file of each output.

    Parameters
    ----------
    names : of the outputs; for stem.mp4 all go into one file.
    out : a folder, or the file itself (`-`: standard output) where there is one file to write.
    template : of the names in the folder, with {track}, {stem}, {ext} and {model}; None for "{track}/{stem}.{ext}"
        ("{track}.{ext}" for stem.mp4).

    Returns
    -------
    paths : by output, or {"": path} for stem.mp4.

    Raises
    ------
    ConfigError : a field that the template may not have, several outputs and one name, or a file name for a folder.
    """
    out = os.fspath(out)
    whole = format == "stem.mp4"
    keys = [""] if whole else list(names)
    if is_file_name(out):
        if len(keys) > 1:
            what = "standard output" if out == "-" else f"the file name '{out}'"
            raise ConfigError(f"expected a folder for {len(keys)} stems after --out, found {what}: name a folder")
        return {keys[0]: out}
    template = template or ("{track}.{ext}" if whole else "{track}/{stem}.{ext}")
    fields = re.findall(r"\{(.*?)\}", template)
    for field in fields:
        if field not in _FIELDS:
            known = nearest(field, [f"{{{name}}}" for name in _FIELDS])
            raise ConfigError(f"expected a known field in --name-template, found '{{{field}}}': {known}")
    left = re.sub(r"\{.*?\}", "", template)
    if "{" in left or "}" in left:
        raise ConfigError(f"expected braces in pairs in --name-template, found {template!r}: such as {{track}}/{{stem}}.{{ext}}")
    named = next((suffix[1:] for suffix in _WRITTEN if template.lower().endswith(suffix)), format)
    if _SAME_AS.get(named, named) != format:
        raise ConfigError(f"expected --name-template to end in .{format}, as --format has it, found {template!r}: change one of them")
    if len(keys) > 1 and "stem" not in fields:
        raise ConfigError(f"expected {{stem}} in --name-template for {len(keys)} stems, found {template!r}: add it")
    paths = {}
    for key in keys:
        values = {"track": track, "stem": key or "stems", "ext": format, "model": model.replace(os.sep, "_")}
        name = re.sub(r"\{(.*?)\}", lambda found, values=values: values[found[1]], template)
        paths[key] = os.path.normpath(Path(out, name))
    return paths
