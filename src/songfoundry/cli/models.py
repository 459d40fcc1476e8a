"""Parse and print for `songfoundry models` and `songfoundry doctor`."""

from typing import Annotated

import typer

_PAGE = (
    "What the files of the shipped models say of themselves, written by `songfoundry models --markdown > docs/models.md`. The code is\n"
    "MIT-licensed; each file of weights carries its own licence. What the scores mean, and what they leave out, is in\n"
    "[results.md](results.md); the data are described where they were collected and are no part of this repository.\n"
)
_SCORES = {"nll": "nats a token", "nll_note": "nats a note"}


def models(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the cards of the shipped models as a page.")] = False,
) -> None:
    """List the shipped and the local models: size, licence, what they were trained on, measured scores."""
    from songfoundry import inventory

    rows = inventory.models()
    if markdown:
        typer.echo("\n".join(["# Model cards", "", _PAGE, *(_card(row) for row in rows if row["shipped"] and "error" not in row)]))
        return
    if json:
        import json as json_module

        typer.echo(json_module.dumps(rows, indent=1))
        return
    for row in rows:
        typer.echo(_describe(row))
    typer.echo(f"Local models are looked for in {inventory.local_models()} (variable SONGFOUNDRY_MODELS).")


def _card(row: dict) -> str:
    """Write a model's card as a section of a page."""
    card, data = row["card"], row["card"].get("data", {})
    versions = ", ".join(f"{name} {version}" for name, version in card.get("versions", {}).items() if version)
    amounts = [f"{data[name]:,} {name}" for name in ("songs", "hours", "pieces", "notes", "tokens", "images") if name in data]
    told = {
        "system, net": ", ".join(str(part) for part in (row["system"], row["net"], row["preset"]) if part), "size": f"{row['mib']} MiB",
        "licence": card.get("licence", "not stated"), "recipe": f"`recipes/{card.get('recipe')}.toml`",
        "trained": f"{card.get('steps'):,} steps, {_seen(card)} seen, {card.get('date')}; {versions}",
        "data": f"{', '.join(amounts)} ({', '.join(dict.fromkeys(data.get('folders', [])))})",
        "licences of the data": ", ".join(data.get("licences", [])),
    }  # fmt: skip
    told |= {where: _figures(scores) for where, scores in card.get("scores", {}).items()}
    table = ["| | |", "|---|---|", *(f"| {key} | {what} |" for key, what in told.items())]
    return "\n".join([f"## {row['name']}", "", f"{card.get('about', '')}.", "", *table]) + "\n"


def _seen(card: dict) -> str:
    """Say how much a model has seen."""
    counted = next((f"{card[f'{what}_seen']:,} {what}" for what in ("tokens", "images") if card.get(f"{what}_seen")), None)
    return counted or f"{card.get('hours_seen')} h of audio"


def _figures(scores: dict) -> str:
    """Write scores by their names; "mean" is what a training chooses by, higher is better, and beside others says nothing of its own."""
    told = {_SCORES.get(name, name): value for name, value in scores.items() if name != "mean" or len(scores) == 1}
    return ", ".join(f"{name} {value:.2f}" for name, value in told.items())


def _describe(row: dict) -> str:
    """Write a model's card as lines."""
    if "error" in row:
        return f"{row['name']}: {row['error']}\n"
    card, data = row["card"], row["card"].get("data", {})
    kind = " ".join(str(part) for part in (row["system"], row["net"], row["preset"]) if part)
    lines = [f"{row['name']}  ({kind}, {row['mib']} MiB, {'shipped' if row['shipped'] else row['path']})"]
    lines.append(f"  licence   {card.get('licence', 'not stated')}")
    if card.get("about"):
        lines.append(f"  about     {card['about']}")
    if data:
        if "pieces" in data:
            source = f"{data['pieces']} pieces ({data.get('notes', 0):,} notes)"
        elif "songs" not in data and "notes" in data:
            source = f"{data['notes']:,} single notes"
        elif "images" in data:
            source = f"{data['images']:,} images"
        else:
            source = f"{data.get('songs')} songs ({data.get('hours')} h)"
        folders = ", ".join(dict.fromkeys(data.get("folders", [])))
        lines.append(f"  trained   {card.get('steps')} steps, {_seen(card)} seen, from {source}: {folders}")
    for where, scores in card.get("scores", {}).items():
        lines.append(f"  scores    {where}: {_figures(scores)}")
    return "\n".join(lines) + "\n"


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Report the environment for a bug report: versions, devices, codecs, threads, weights."""
    from songfoundry import inventory

    report = inventory.doctor()
    if json:
        import json as json_module

        typer.echo(json_module.dumps(report, indent=1))
        return
    for heading, value in report.items():
        if isinstance(value, dict):
            typer.echo(f"{heading}:")
            for name, inner in value.items():
                inner = ", ".join(f"{k} {v or 'absent'}" for k, v in inner.items()) if isinstance(inner, dict) else inner
                typer.echo(f"  {name}: {'absent' if inner is None else inner}")
        elif isinstance(value, list):
            typer.echo(f"{heading}: " + "; ".join(str(item.get("name", item)) if isinstance(item, dict) else str(item) for item in value))
        else:
            typer.echo(f"{heading}: {'unknown' if value is None else value}")
