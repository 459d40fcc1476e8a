"""Write an evaluation of composing as tables: what was kept, how like real music it is, what was copied."""

import math

from songfoundry.evaluating.pages import Table, share, tabled

__all__ = ["markdown", "tables"]

_KEPT = (
    ("metre", "metre"), ("tempo", "tempo"), ("bar heard", "bar, heard"), ("bar level heard", "bar or a level of it, heard"),
    ("beat heard", "beat, heard"), ("key equal", "key equal"), ("key equal or relative", "equal or relative"),
    ("key by Temperley", "by Temperley"), ("in scale", "notes in the prompt's scale"), ("loudness", "loudness within 1 dB"),
)  # fmt: skip


def tables(evaluation) -> list[Table]:
    """List the tables: title, headings, rows of cells."""
    found = []
    for group, methods in evaluation.kept().items():
        head = ["method", "n", *(label for _, label in _KEPT), "empty bars", "hanging notes", "invalid tokens"]
        rows = [
            [
                method, str(row["n"]), *(share(row[name]) for name, _ in _KEPT), _of(row["empty bars"], row["bars"]),
                _of(row["hanging notes"], row["notes"]), _of(row["invalid tokens"], row["tokens"]),
            ]
            for method, row in methods.items()
        ]  # fmt: skip
        found.append((f"Kept from {group}", head, rows))
    likeness = evaluation.likeness()
    methods = [method for method in evaluation.methods if any(method in row for row in likeness.values())]
    if methods:
        rows = [[name, *(_measure(row.get(method)) for method in methods)] for name, row in likeness.items()]
        title = "MusPy's measures over the held-out pieces: mean (overlap with real; divergence, nats)"
        found.append((title, ["measure", *methods], rows))
    for group, methods in evaluation.copies().items():
        head = ["method", "median", "of all notes", "longest", "of it different", "from"]
        rows = [
            [
                method, f"{row['median']:.0f}", share(row["share of notes"]), str(row["longest"]), str(row["different"]), row["from"],
            ]
            for method, row in methods.items()
        ]  # fmt: skip
        found.append((f"Longest run of notes that stands in the training music too, going on from {group}", head, rows))
    return found


def estimator_sentences(evaluation) -> list[str]:
    """Say how far the ear of the evaluation can be trusted."""
    said = []
    for group, row in evaluation.estimator.items():
        bar, beat, level = (f"{row[name] * row['n']:.0f}" for name in ("bar", "beat", "bar level"))
        said.append(
            f"Of {group} themselves ({row['n']:.0f}), the estimator hears the bar as written in {bar}, the beat in {beat}, "
            f"the bar or a half, double, third or triple of it in {level}."
        )
    return said


def markdown(evaluation) -> str:
    """Write everything as Markdown."""
    text = tabled([*evaluation.about, *estimator_sentences(evaluation)], tables(evaluation))
    if evaluation.failed:
        text += "\n".join([f"\nNot continued ({len(evaluation.failed)}):", "", *(f"- {sentence}" for sentence in evaluation.failed), ""])
    return text


def _of(count: float, whole: float) -> str:
    """Write a number and of how many; nothing where it could not be told."""
    return "" if math.isnan(count) else f"{count:.0f} of {whole:.0f}"


def _measure(entry: dict[str, float] | None) -> str:
    """Write a mean, and its overlap and divergence where there are."""
    if entry is None or math.isnan(entry["mean"]):
        return ""
    text = f"{entry['mean']:.3g}"
    if "overlap" not in entry or math.isnan(entry["overlap"]):
        return text
    return f"{text} ({entry['overlap']:.2f}; {entry['divergence']:.2f})"
