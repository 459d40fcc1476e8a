"""Make the shipped form of a trained model: float16, with licence and measured scores in its card.

    python recipes/release.py runs/NAME/checkpoints/model.safetensors --name bsrnn-small --licence "..." \
        --scores "public test songs" public.json --scores "validation songs" validation.json

The scores come from files that `songfoundry evaluate separation ... --model NAME --json FILE` wrote, or
`evaluate note`, `evaluate encode` or `evaluate picture`.
"""

import argparse
import json
import sys
from pathlib import Path

from songfoundry import checkpoint, config, registry
from songfoundry.checkpoint import Checkpoint
from songfoundry.metrics.separation import SDR_V4


def medians(about: dict, name: str) -> dict[str, dict[str, float]]:
    """Read the medians over songs of v4 SDR of a model in an evaluation, per group of songs."""
    found = {}
    for group, methods in about["groups"].items():
        rows = [row for row in methods[name] if row["definition"] == SDR_V4]
        songs = max(row["songs"] for row in rows)
        found[f"{group} (n = {songs}), median v4 SDR in dB"] = {row["stem"]: round(row["median"], 2) for row in rows}
    return found


def heard(about: dict, name: str) -> dict[str, dict[str, float]]:
    """Read what an evaluation of notes found of a model, or of its judge: what that hears of the real notes."""
    judge = about["judge"]["name"] == name
    if judge:
        rows = {f"{row} (n = {found['n']})": {key: found[key] for key in ("pitch", "instrument")} for row, found in about["asked"].items()}
        return {row: found for row, found in rows.items() if row.startswith("real notes (test) ")}
    found = about["asked"][name]
    keys = ("pitch", "within 50", "within 20", "median cents", "instrument")
    rows = {f"notes as asked for (n = {found['n']})": {key: found[key] for key in keys}}
    if name in about["alike"]:
        found = about["alike"][name]
        keys = ("frechet", "floor of frechet", "precision", "recall", "memorised")
        rows[f"like real notes (n = {found['n']})"] = {key: found[key] for key in keys}
    return {f"{row}, judge {about['judge']['hash']}": {k: round(v, 3) for k, v in figures.items()} for row, figures in rows.items()}


def seen(about: dict, name: str) -> dict[str, dict[str, float]]:
    """Read what an evaluation of pictures found of a model, or of its judge: how often that is right about the test images."""
    if about["judge"]["name"] == name:
        return {f"{about.get('split', 'test')} images": {"accuracy": round(about["judge"]["accuracy"], 4)}}
    row = about["pictures"][name]
    keys = ("frechet", "floor", "kid", "precision", "recall", "accuracy", "memorised")
    how = ", ".join(f"{key} {row[key]}" for key in ("sampler", "steps", "guidance") if key in row)
    title = f"pictures (n = {row['n']}{', ' + how if how else ''}), judge {about['judge']['hash']}"
    return {title: {key: round(row[key], 4) for key in keys if row.get(key) is not None}}


def coded(about: dict, name: str) -> dict[str, dict[str, float]]:
    """Read what an evaluation of encoders found of a model, with the most that any net could do: over all sounds, and of voices."""
    found = {}
    for row in (name, f"{name}, latent at 8 bits", "true mel, same inverse (ceiling)"):
        stems = about["scores"][name].get(row, {})
        if "all" not in stems:
            continue
        whole, voices = stems["all"], stems.get("vocals", {})
        # Of images whose 80 dB are scaled to 1.
        figures = {"error dB (rms)": 80 * whole["mse"] ** 0.5, "error dB (mean)": 80 * whole["mae"]}
        figures |= {key: whole[key] for key in ("cosine", "lsd", "mr_stft")}
        figures |= {f"{key} of vocals": voices[key] for key in ("pesq", "stoi") if voices.get(key) is not None}
        found[f"{row} (n = {whole['n']})"] = {key: round(value, 3) for key, value in figures.items()}
    latents = about["latents"][name]
    found["latents"] = {key: round(latents[key], 3) for key in ("kbit/s at 8 bits", "active units", "units")}
    return found


# Each evaluation is known by a part that only it has.
_READERS = {"pictures": seen, "latents": coded, "asked": heard, "groups": medians}


def scores(data: str, path: Path, name: str) -> dict[str, dict[str, float]]:
    """Read a model's scores from the file of an evaluation, each named by the data that it was measured on."""
    about = json.loads(path.read_text())
    found = _READERS[next((key for key in _READERS if key in about), "groups")](about, name)
    return {f"{data}: {group}": rows for group, rows in found.items()}


def lightened(about: Checkpoint, tensors: dict) -> tuple[dict, dict]:
    """Leave out what a shipped model does without, as the side of a game that judges: config and tensors."""
    kind = registry.get("systems", about.system)
    if not hasattr(kind, "shipped"):
        return about.config, tensors
    settings = kind.shipped(about.config)
    kept = kind(config.parse(kind.Config, settings, about.system)).state_dict()
    return settings, {name: tensors[name] for name in kept}


def main() -> None:
    """Write src/songfoundry/weights/NAME.safetensors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--licence", required=True)
    parser.add_argument("--about", help="one line; default: that of the recipe")
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], help="checkpoints of the runs that this one was started from")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of the config")
    parser.add_argument("--commit", help="that the training ran from, where the checkpoint could not tell: a copy of the code, say")
    parser.add_argument("--scores", nargs=2, action="append", default=[], metavar=("DATA", "JSON"))
    options = parser.parse_args()
    about = checkpoint.read_header(options.checkpoint)
    card = {**about.card, "licence": options.licence}
    if options.about:
        card["about"] = options.about
    for path in options.earlier:
        before = checkpoint.read_header(path).card
        card["steps"] += before["steps"]
        for amount in ("hours_seen", "tokens_seen", "images_seen"):
            if amount in card:
                card[amount] = round(card[amount] + before.get(amount, 0), 2)
    scored = {group: rows for data, path in options.scores for group, rows in scores(data, Path(path), options.name).items()}
    card["scores"] = scored or {f"{part} part of its data, crops": rows for part, rows in card["scores"].items()}
    if options.commit:
        card["versions"]["commit"] = options.commit
    target = checkpoint.WEIGHTS / f"{options.name}.safetensors"
    target.parent.mkdir(exist_ok=True)
    settings, tensors = lightened(about, checkpoint.read_tensors(options.checkpoint))
    checkpoint.save(target, checkpoint.half(tensors), Checkpoint(about.system, config.override(settings, options.set), card))
    # What does not load is not shipped.
    checkpoint.load(target)
    sys.stdout.write(f"{target}: {target.stat().st_size / 2**20:.2f} MiB\n{json.dumps(card, indent=1)}\n")


if __name__ == "__main__":
    main()
