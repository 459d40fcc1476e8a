"""Parse and print for `songfoundry picture`."""

from pathlib import Path
from typing import Annotated

import typer


def picture(
    digit: Annotated[str | None, typer.Option(help="The class to make; several as 3,1,4. Default: all in turn.")] = None,
    count: Annotated[int, typer.Option(help="How many pictures.")] = 64,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pictures.")] = 0,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim, dpm++ or heun. Default: dpm++.")] = None,
    steps: Annotated[int | None, typer.Option(help="Of the sampler, 1 to 1000. Default: 20.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How far to go towards the class; 1: as it was learned. Default: 1.5.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .png for the grid; with --each a folder. Default: grid.png, pictures.")] = None,
    each: Annotated[bool, typer.Option("--each", help="A file for each picture instead of a grid.")] = False,
    gif: Annotated[
        Path | None, typer.Option(metavar="FILE.gif", help="Also animate how they (256 at most) come out of the noise.")
    ] = None,
    model: Annotated[str, typer.Option(help="ddpm, cdcgan, a name of your own, or a .safetensors.")] = "ddpm",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (cuda:1) or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: the cores that are free.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a report as JSON instead of the paths.")] = False,
    progress: Annotated[str, typer.Option(help="bar, json (lines on standard error) or none.")] = "bar",
) -> None:
    """Make pictures of digits from noise, in a square grid without labels.

    Prints the paths that were written. Exit code: 0 done, 2 nothing could be done, 130 stopped by Ctrl-C (143 by SIGTERM; no unfinished
    file is left).
    """
    from songfoundry.cli.progress import Bar, stopping, tell_licences
    from songfoundry.errors import Cancelled
    from songfoundry.picturing import verb
    from songfoundry.picturing.maker import PictureMaker, find

    out = out or Path("pictures" if each else "grid.png")
    named = [part.strip() for part in digit.split(",")] if digit is not None else None
    with Bar(progress) as bar, stopping() as stop:

        def show(share: float) -> bool:
            bar(str(out), share, 1, 1)
            return not stop.event.is_set()

        try:
            maker = PictureMaker(model, device, threads)
            made = verb.picture(
                count, named, model=maker, seed=seed, sampler=sampler, steps=steps, guidance=guidance, out=out, each=each, gif=gif,
                progress=show, cancel=stop.event,
            )  # fmt: skip
        except Cancelled:
            typer.echo("stopped: no unfinished file was left", err=True)
            raise typer.Exit(128 + stop.number) from None
    if json:
        import json as json_module

        typer.echo(json_module.dumps(made.as_json(), indent=1, ensure_ascii=False))
    else:
        for path in filter(None, [made.grid, *made.paths, made.animation]):
            typer.echo(path)
    how = ", ".join(f"{name} {value}" for name, value in made.asked.items())
    pace = f"{count} {'picture' if count == 1 else 'pictures'} in {made.elapsed:.1f} s with {made.model}, seed {seed}"
    typer.echo(pace + (f" ({how})" if how else ""), err=True)
    if not json:
        tell_licences(find(model))
