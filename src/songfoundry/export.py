"""Export a system's net to ONNX, and run such a file: the net alone, its front end stays outside.

The file describes itself: its metadata holds the system's name, its config and its card, as a checkpoint's header does.
The exporter is torch's by tracing. The newer one (`dynamo=True`) was tried on all nets under torch 2.13: it took
22 s instead of 0.7 s for the smallest, fixed the number of frames in one net and failed on another.
"""

import io
import json
import os
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from songfoundry import __version__, registry
from songfoundry.audio.atomic import write_atomic_bytes
from songfoundry.config import parse
from songfoundry.errors import CheckpointError, ConfigError, InputError, MissingExtraError

__all__ = ["FORMAT", "OPSETS", "difference", "export_onnx", "load_onnx", "separate_with_onnx"]

FORMAT = "songfoundry-onnx-1"
OPSETS = (17, 20)


def export_onnx(system: nn.Module, path: str | os.PathLike, *, opset: int = 18) -> Path:
    """Write a system's net as ONNX: input "mixture", output "stems", the axes batch and frames free.

    Parameters
    ----------
    system : has `net`, `stft` and `config`, as `Separate` does; it is exported in evaluation mode, on the CPU, in float32.
    path : the file, which takes its name when it is whole.
    opset : version of ONNX's operators, 17 to 20.

    Returns
    -------
    path : the file. "mixture" is float32 (batch, channels, 2, bins, frames): the spectrum that `spectral.Stft` gives of a
        waveform of unit root mean square; "stems" is float32 (batch, stems, channels, 2, bins, frames).

    Raises
    ------
    MissingExtraError : the package onnx is not installed.
    ConfigError : the operators' version is out of range, or the system has no net of this kind.
    OutputError : the file cannot be written; nothing is left behind.
    """
    onnx = _extra("onnx")
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ConfigError(f"expected an opset from {OPSETS[0]} to {OPSETS[1]}, found {opset}: choose one of those")
    if not (hasattr(system, "net") and hasattr(system, "stft")):
        raise ConfigError(f"expected a net behind a Fourier transform, found {system.config.name!r}: name a separator")
    config = system.config
    net = system.net.cpu().float().eval()
    # Two examples and a dozen frames: any other numbers than one, which a tracer may take for a constant.
    example = torch.zeros(2, config.channels, 2, system.stft.frequencies, 12)
    traced = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # Notes on the exporter's age, and on sizes that are constants here by design.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (example,), traced, dynamo=False, opset_version=opset, input_names=["mixture"], output_names=["stems"],
            dynamic_axes={"mixture": {0: "batch", 4: "frames"}, "stems": {0: "batch", 5: "frames"}},
        )  # fmt: skip
    model = onnx.load_from_string(traced.getvalue())
    # The tracer loses sight of how many bins come out: as many as went in.
    model.graph.output[0].type.tensor_type.shape.dim[4].dim_value = system.stft.frequencies
    about = getattr(system, "checkpoint", None)
    onnx.helper.set_model_props(model, {
        "format": FORMAT,
        "system": config.name,
        "config": json.dumps(config.model_dump()),
        "card": json.dumps(about.card if about else {}),
        "version": __version__,
    })  # fmt: skip
    onnx.checker.check_model(model)
    write_atomic_bytes(path, model.SerializeToString())
    return Path(path)


class _OnnxNet(nn.Module):
    """Stand in for a net: tensors to tensors, computed by onnxruntime."""

    def __init__(self, session):
        super().__init__()
        self.session = session

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map a mixture (batch, channels, 2, bins, frames) to stems (batch, stems, channels, 2, bins, frames)."""
        given = spectrum.detach().cpu().float().numpy()
        return torch.from_numpy(self.session.run(["stems"], {"mixture": given})[0]).to(spectrum.device)


def load_onnx(path: str | os.PathLike, *, threads: int = 1) -> nn.Module:
    """Build the system that an exported file describes, with the file as its net.

    Returns
    -------
    system : everything that the system does works, but training.

    Raises
    ------
    MissingExtraError : the package onnxruntime is not installed.
    CheckpointError : no such file, not ONNX, or not one that `export_onnx` wrote.
    """
    runtime = _extra("onnxruntime")
    advice = "export it again with songfoundry export"
    if not Path(path).is_file():
        raise CheckpointError(f"expected an exported net at {path}, found no such file: check the path")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    try:
        session = runtime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no class but this
        reason = str(error).splitlines()[0][:120]
        raise CheckpointError(f"expected an ONNX file at {path}, found what onnxruntime refuses ({reason}): {advice}") from None
    about = session.get_modelmeta().custom_metadata_map
    if about.get("format") != FORMAT:
        found = about.get("format", "no format")
        raise CheckpointError(f"expected an ONNX file of format {FORMAT!r}, found {found!r} in {path}: {advice}")
    try:
        system_class = registry.get("systems", about["system"])
        system = system_class(parse(system_class.Config, json.loads(about["config"]), str(path)))
    except (ConfigError, KeyError, ValueError) as error:
        raise CheckpointError(f"expected the config of a known system in {path}, found another ({error}): {advice}") from None
    system.net = _OnnxNet(session)
    return system.eval()


def separate_with_onnx(path: str | os.PathLike, mixture: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """Separate one chunk with an exported net, all of it seen at once.

    Parameters
    ----------
    mixture : float32 (channels, samples), full scale ±1, at the rate that the file's config names.

    Returns
    -------
    stems : float32 (stems, channels, samples), same scale.

    Raises
    ------
    InputError : the mixture has other channels than the net.
    MissingExtraError, CheckpointError : as `load_onnx`.
    """
    system = load_onnx(path, threads=threads)
    if mixture.ndim != 2 or mixture.shape[0] != system.config.channels:
        channels = system.config.channels
        raise InputError(f"expected an array ({channels} channels, samples), found shape {mixture.shape}: conform it first")
    with torch.no_grad():
        return system.separate(torch.from_numpy(np.ascontiguousarray(mixture, np.float32))[None])[0].numpy()


def difference(system: nn.Module, path: str | os.PathLike, seconds: float = 1.3) -> float:
    """Measure the largest difference between a system's stems and its exported net's, on noise of level 0.1, full scale ±1."""
    config = system.config
    noise = 0.1 * torch.randn(config.channels, round(seconds * config.sample_rate), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stems = system.eval().separate(noise[None])[0].numpy()
    return float(np.abs(separate_with_onnx(path, noise.numpy()) - stems).max())


def _extra(package: str):
    """Import a package of the extra "onnx"."""
    try:
        return import_module(package)
    except ImportError:
        raise MissingExtraError(f"expected the package {package} for ONNX, found none: pip install 'songfoundry[onnx]'") from None
