"""Parse and print for `songfoundry models` and `songfoundry doctor`."""

from typing import Annotated

import typer

_SCORES = {"nll": "nats a token", "nll_note": "nats a note"}


def models(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the shipped and the local models: size, licence, what they were trained on, measured scores."""
    from songfoundry import inventory

    rows = inventory.models()
    if json:
        import json as json_module

        typer.echo(json_module.dumps(rows, indent=1))
        return
    for row in rows:
        typer.echo(_describe(row))
    typer.echo(f"Local models are looked for in {inventory.local_models()} (variable SONGFOUNDRY_MODELS).")


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
            tokens = card.get("tokens_seen")
            seen, source = f", {tokens:,} tokens seen" if tokens else "", f"{data['pieces']} pieces ({data.get('notes', 0):,} notes)"
        elif "songs" not in data and "notes" in data:
            seen, source = f", {card.get('hours_seen')} h of audio seen", f"{data['notes']:,} single notes"
        else:
            seen, source = f", {card.get('hours_seen')} h of audio seen", f"{data.get('songs')} songs ({data.get('hours')} h)"
        folders = ", ".join(dict.fromkeys(data.get("folders", [])))
        lines.append(f"  trained   {card.get('steps')} steps{seen}, from {source}: {folders}")
    for where, scores in card.get("scores", {}).items():
        # "mean" is what a training chooses by, higher is better; where it stands beside others it says nothing of its own.
        told = {_SCORES.get(name, name): value for name, value in scores.items() if name != "mean" or len(scores) == 1}
        lines.append(f"  scores    {where}: " + ", ".join(f"{name} {value:.2f}" for name, value in told.items()))
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
