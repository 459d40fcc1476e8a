"""Hold the draws of chorales to their word: four voices a step, the published split, voices within their ranges."""

import json

import numpy as np
import pytest
from small_scores import write_archive

from songfoundry.config import parse
from songfoundry.data.chorales import Chorales, ChoralesConfig, held_out_chorales
from songfoundry.errors import ConfigError
from songfoundry.notes.tokens import TokenConfig, tokenizer

CODER = tokenizer(TokenConfig(kind="chorale"))


def write_chorales(folder, train: int = 5, steps: int = 64):
    """Write an archive named jsb of random voices, each in its own range."""
    rng = np.random.default_rng(0)
    lows = np.array([60, 53, 48, 40])
    splits = {
        split: [np.repeat(lows + rng.integers(0, 14, (steps // 4, 4)), 4, axis=0).tolist() for _ in range(count)]
        for split, count in (("train", train), ("validation", 2), ("test", 3))
    }
    items = [{"id": f"{split[:5]}{n}", "split": split[:5], "number": n} for split, found in splits.items() for n in range(len(found))]
    return write_archive(folder, "jsb", items, {"jsb_satb_16th.json": json.dumps(splits)}, "none stated (music: public domain)")


def chorales(path, seed: int = 0, **options) -> Chorales:
    return Chorales(parse(ChoralesConfig, {"path": str(path), "context": 200, **options}, "data"), seed)


def test_a_draw_is_pure_and_full_and_counts_all_but_headers(tmp_path):
    path = write_chorales(tmp_path)
    first, again = chorales(path, 3), chorales(path, 3)
    for number in (0, 5):
        draw = first[number]
        assert (draw["tokens"] == again[number]["tokens"]).all()
        assert draw["tokens"].shape == (201,) and draw["weights"].shape == (200,)
        kinds = CODER.kinds[draw["tokens"][1:].numpy()]
        assert (draw["weights"].numpy() == ~np.isin(kinds, ("BOS", "Style", "Key"))).all() and "PAD" not in kinds
    assert (first[0]["tokens"] != chorales(path, 4)[0]["tokens"]).any()


def test_crops_begin_at_bars_and_end_where_the_chorale_does(tmp_path):
    path = write_chorales(tmp_path, train=1, steps=128)
    whole = chorales(path, transpose=[0, 0], context=515)[0]["tokens"].numpy()
    begins, ends = set(), 0
    draws = chorales(path, transpose=[0, 0])
    for number in range(30):
        ids = draws[number]["tokens"].numpy()
        at = next(at for at in range(3, len(whole), 64) if (whole[at : at + 64] == ids[3:67]).all())
        begins.add(at)
        ends += CODER.eos in ids
    assert len(begins) > 3 and ends > 0


def test_shifts_keep_each_voice_in_its_range_unless_all_are_wanted(tmp_path):
    path = write_chorales(tmp_path)
    arrays = [CODER.decode_steps(ids) for ids in chorales(path)._train]
    low, high = np.min([a.min(0) for a in arrays], axis=0), np.max([a.max(0) for a in arrays], axis=0)
    for array, shifts in zip(arrays, chorales(path)._shifts, strict=True):
        assert 0 in shifts and (array.min(0) + shifts.min() >= low).all() and (array.max(0) + shifts.max() <= high).all()
    assert all(len(shifts) == 13 for shifts in chorales(path, keep="all")._shifts)


def test_held_out_chorales_are_whole_and_their_notes_are_what_is_struck(tmp_path):
    path = write_chorales(tmp_path)
    pieces = list(held_out_chorales(str(path), TokenConfig(kind="chorale"), "test"))
    assert [p["name"] for p in pieces] == ["jsb/test000", "jsb/test001", "jsb/test002"]
    steps = CODER.decode_steps(pieces[0]["tokens"])
    assert steps.shape == (64, 4) and pieces[0]["notes"] == 4 + (np.diff(steps, axis=0) != 0).sum()
    draws = chorales(path)
    assert len(list(draws.validation())) == 2 and draws.describe()["pieces"] == 5
    assert draws.seen(3) == {"tokens_seen": 3 * draws.config.context}


def test_other_tokens_and_strange_shifts_are_refused(tmp_path):
    path = write_chorales(tmp_path)
    with pytest.raises(ConfigError, match='kind = "chorale"'):
        chorales(path, tokens={"kind": "remi"})
    with pytest.raises(ConfigError, match="around 0"):
        chorales(path, transpose=[1, 3])


def test_the_real_chorales_have_the_published_split(shared_data):
    path = str(shared_data / "midi" / "jsb.zip")
    draws = chorales(path, context=1024)
    assert draws.describe()["pieces"] == 229 and draws.describe()["validation"] == 76
    # 55,228 and 18,900 steps of four voices, headers and ends.
    assert draws.describe()["tokens"] == 4 * 55_228 + 4 * 229
    test = list(held_out_chorales(path, TokenConfig(kind="chorale"), "test"))
    assert len(test) == 77 and sum(len(p["tokens"]) for p in test) == 4 * 18_900 + 4 * 77
    assert set(CODER.decode_steps(test[0]["tokens"]).shape[1:]) == {4}
