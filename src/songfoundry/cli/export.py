"""Parse and print for `songfoundry export`."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="The name of a model, or the path of a .safetensors file.")],
    out: Annotated[Path, typer.Option(help="The ONNX file to write.")] = Path("net.onnx"),
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators, 17 to 20.")] = 18,
) -> None:
    """Export a model's net to ONNX (the Fourier transform stays outside), and compare the two."""
    from songfoundry import checkpoint, inventory
    from songfoundry import export as exporting
    from songfoundry.errors import MissingExtraError

    system = checkpoint.load(inventory.find_model(model, "separate"))
    path = exporting.export_onnx(system, out, opset=opset)
    config, bins = system.config, system.stft.frequencies
    typer.echo(
        f"Wrote {path} ({path.stat().st_size / (1 << 20):.1f} MiB): mixture (batch, {config.channels}, 2, {bins}, frames)"
        f" to stems (batch, {len(config.stems)}, {config.channels}, 2, {bins}, frames)."
    )
    try:
        difference = exporting.difference(system, path)
        typer.echo(f"Its stems differ from the checkpoint's by at most {difference:.1e} of full scale, on noise.")
    except MissingExtraError:
        typer.echo("Not compared with the checkpoint: the package onnxruntime is not installed.")
