"""Keep weights: one safetensors file with the system's name, its config and a card in the header.

The only module that reads or writes weights. No pickle, no import path read out of a file: the header names
a system, the registry finds it, the config builds it, and every tensor must fit (`strict=True`).
"""

import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from songfoundry import __version__, registry
from songfoundry.config import parse
from songfoundry.errors import CheckpointError, ConfigError, OutputError

FORMAT = "songfoundry-1"
MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 4096
WEIGHTS = Path(__file__).parent / "weights"


@dataclass
class Checkpoint:
    """Hold what a file says of itself: system name, config, card (all plain values) and the path."""

    system: str
    config: dict[str, Any]
    card: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    kind: str = "model"


def save(path: str | os.PathLike, tensors: dict[str, Tensor], about: Checkpoint) -> None:
    """Write tensors and header to a file: aside, synced and renamed.

    Raises
    ------
    OutputError : the file cannot be written; nothing is left behind.
    """
    path = Path(path)
    metadata = {
        "format": FORMAT,
        "kind": about.kind,
        "system": about.system,
        "config": json.dumps(about.config),
        "card": json.dumps(about.card),
        "version": __version__,
    }
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, aside, metadata)
        # The library makes the file readable by its owner alone; an installed model is for all users.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(aside, 0o666 & ~mask)
        with open(aside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"expected to write weights to {path}, found: {error}; free space or choose another folder") from None
    finally:
        aside.unlink(missing_ok=True)


def read_header(path: str | os.PathLike) -> Checkpoint:
    """Read the header alone: cheap, and safe on any file.

    Raises
    ------
    CheckpointError : no such file, not safetensors, cut short, too large a header, or another format.
    """
    path = Path(path)
    advice = "copy the file again or train it anew"
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= MAX_HEADER_BYTES:
                raise CheckpointError(f"expected a songfoundry checkpoint, found {path}, which is no safetensors file: {advice}")
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except OSError as error:
        raise CheckpointError(f"expected a checkpoint at {path}, found none that can be read ({error.strerror}): check the path") from None
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise CheckpointError(f"expected a safetensors header in {path}, found something else: {advice}") from None
    if len(header) > MAX_TENSORS:
        raise CheckpointError(f"expected at most {MAX_TENSORS} tensors in {path}, found {len(header)}: this is no songfoundry model")
    if size != 8 + length + end:
        raise CheckpointError(f"expected {8 + length + end} bytes in {path}, found {size}: the file is cut short or damaged, {advice}")
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"expected a checkpoint of format {FORMAT!r}, found {metadata.get('format', 'no format')!r} in {path}: "
            "convert it, or install the version of songfoundry that wrote it"
        )
    try:
        config, card = json.loads(metadata["config"]), json.loads(metadata["card"])
        return Checkpoint(metadata["system"], config, card, path, metadata.get("kind", "model"))
    except (KeyError, ValueError):
        raise CheckpointError(f"expected system, config and card in the header of {path}, found them incomplete: {advice}") from None


def read_tensors(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read all tensors of a file whose header has been checked."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"expected tensors in {path}, found them unreadable ({error}): copy the file again") from None


def load(path: str | os.PathLike):
    """Build the system that a checkpoint holds, in evaluation mode, float32, on the CPU.

    Returns
    -------
    system : the `nn.Module` with its weights; `system.checkpoint` is the header.

    Raises
    ------
    CheckpointError : the file is damaged, foreign, a training state, or does not fit the code.
    """
    about = read_header(path)
    if about.kind != "model":
        raise CheckpointError(f"expected a model in {path}, found a {about.kind}: use model.safetensors or best.safetensors beside it")
    try:
        system_class = registry.get("systems", about.system)
        system = system_class(parse(system_class.Config, about.config, str(path)))
    except ConfigError as error:
        raise CheckpointError(f"expected a checkpoint of a known system, found another ({error}): update songfoundry") from None
    try:
        system.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in read_tensors(path).items()}, strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(f"expected the tensors of a {about.system} system in {path}, found others ({reason}): train anew") from None
    system.checkpoint = about
    return system.eval()


def resolve(name: str, folders: tuple[Path, ...] = (), system: str | None = None) -> Path:
    """Find the file of a model: a path to a `.safetensors`, or the name of a shipped or local one.

    Raises
    ------
    ConfigError : no such model; the known ones (those of a `system`, where one is told) and the nearest are named.
    """
    if name.endswith(".safetensors") or os.sep in name:
        if not Path(name).is_file():
            names = ", ".join(_fit(shipped(folders), system))
            raise ConfigError(f"expected a checkpoint at {name}, found no such file: check the path, or use a name ({names})")
        return Path(name)
    known = shipped(folders)
    if name not in known:
        raise ConfigError(f"expected the name of a model, found {name!r}: {registry.nearest(name, _fit(known, system))}")
    return known[name]


def _fit(known: dict[str, Path], system: str | None) -> list[str]:
    """List the models whose files say that they are of a system; all of them if none is told."""
    found = []
    for name, path in known.items():
        try:
            if system is None or read_header(path).system == system:
                found.append(name)
        except CheckpointError:
            continue
    return found


def shipped(folders: tuple[Path, ...] = ()) -> dict[str, Path]:
    """Map the names of the shipped models, and of those in further folders, to their files."""
    files = [file for folder in (WEIGHTS, *folders) for file in sorted(Path(folder).glob("*.safetensors"))]
    return {file.stem: file for file in files}


def half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Round floating tensors to float16, for shipping; the largest weight stays far below its limit."""
    return {name: t.to(torch.float16) if t.is_floating_point() else t for name, t in tensors.items()}
