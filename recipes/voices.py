"""Make songs of voices alone out of the sung sentences of RAVDESS, for separation to mix: an index, no copies.

    python recipes/voices.py --out rendered/voices

Reads speech_song/index.json below SONGFOUNDRY_DATA; one "song" for each actor of the split train, whose only stem is vocals.
"""

import argparse
import json
import os
from pathlib import Path

LICENCE = "CC BY-NC-SA 4.0"


def main() -> None:
    """Write OUT/index.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("rendered/voices"))
    options = parser.parse_args()
    folder = Path(os.environ["SONGFOUNDRY_DATA"]) / "speech_song"
    clips = json.loads((folder / "index.json").read_text(encoding="utf-8"))["clips"]
    sung = sorted({(clip["actor"], clip["file"]) for clip in clips if clip["kind"] == "song" and clip["split"] == "train"})
    options.out.mkdir(parents=True, exist_ok=True)
    songs = [
        {
            "song": f"actor {actor:02d}", "split": "train", "licence": LICENCE,
            "stems": {"vocals": [{"file": os.path.relpath(folder / file, options.out)}]},
        }
        for actor, file in sung
    ]  # fmt: skip
    (options.out / "index.json").write_text(json.dumps({"songs": songs}, indent=1), encoding="utf-8")
    print(f"{options.out}: {len(songs)} voices")


if __name__ == "__main__":
    main()
