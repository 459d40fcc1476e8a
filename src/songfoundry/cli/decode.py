"""Parse and print for `songfoundry decode`."""

from pathlib import Path
from typing import Annotated

import typer


def decode(
    latents: Annotated[Path, typer.Argument(help="An .npz that songfoundry encode wrote.")],
    out: Annotated[str | None, typer.Option(help="A sound file, or - for standard output. Default: decoded/LATENTS.wav.")] = None,
    model: Annotated[str | None, typer.Option(help="The model that encoded it: vae, ae64 or a .safetensors. Default: vae.")] = None,
    vocoder: Annotated[
        str, typer.Option(help="How the phase is found: pghi (and 16 steps of fast Griffin-Lim), griffinlim (32) or fast_griffinlim (32).")
    ] = "pghi",
    iterations: Annotated[int | None, typer.Option(help="Steps of Griffin-Lim. Default: the vocoder's own.")] = None,
    format: Annotated[str | None, typer.Option(help="wav, flac, mp3, ogg or opus. Default: by the name, else wav.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: the cores that are free.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a report as JSON instead of the path.")] = False,
    progress: Annotated[str, typer.Option(help="bar, json (lines on standard error) or none.")] = "bar",
) -> None:
    """Turn latents back into sound, with the very model that made them.

    Prints the path that was written on standard output.
    Exit code: 0 done, 2 nothing could be done, 130 stopped by Ctrl-C (143 by SIGTERM; no unfinished file is left).
    """
    from songfoundry.cli.encode import run, tell
    from songfoundry.encoding import verb
    from songfoundry.encoding.encoder import DEFAULT_MODEL, Encoder

    place = out or str(Path("decoded") / f"{latents.stem}.{format or 'wav'}")

    def work(show, stop):
        encoder = Encoder(model or DEFAULT_MODEL, device, threads)
        return verb.decode(
            latents, out=place, model=encoder, vocoder=vocoder, iterations=iterations, format=format, progress=show, cancel=stop.event
        )

    made = run(work, str(latents), progress)
    tell(made, json, model or DEFAULT_MODEL, quiet=place == "-")
