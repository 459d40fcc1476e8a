"""Hold the draws of scores to their word: pure, from training pieces alone, cut at bars, varied as the recipe says."""

import json

import numpy as np
import pytest
from small_scores import tune, write_archive, write_folk

from songfoundry.config import parse
from songfoundry.data import score_cache
from songfoundry.data.scores import ScoreFolder, Scores, ScoresConfig, held_out
from songfoundry.errors import ConfigError, DatasetError, OutputError
from songfoundry.notes.tokens import TokenConfig, tokenizer

PLAIN = {"transpose": [0, 0], "tempo_steps": 0, "free_tempo_steps": 0, "fill": 0.0, "no_key": 0.0}
CODER = tokenizer(TokenConfig())


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path / "cache"))


def scores(path, seed: int = 0, **options) -> Scores:
    folder = {"path": str(path), **options.pop("folder", {})}
    return Scores(parse(ScoresConfig, {"folders": [folder], "context": 256, **PLAIN, **options}, "data"), seed)


def says(ids, *kinds: str) -> list[str]:
    return [CODER.names[i] for i in ids if CODER.kinds[i] in kinds]


def music(ids) -> list[str]:
    """Name the tokens of bars: without header, end, padding and marks."""
    return [CODER.names[i] for i in ids if CODER.kinds[i] not in ("BOS", "EOS", "PAD", "Style", "Key", "Fill")]


def test_a_draw_is_pure_in_number_and_seed(tmp_path):
    write_folk(tmp_path)
    varied = {"transpose": [-5, 6], "tempo_steps": 2, "fill": 0.3, "no_key": 0.2}
    first, again, other = (scores(tmp_path / "nottingham.zip", seed, **varied) for seed in (1, 1, 2))
    for number in (0, 7, 1000):
        assert (first[number]["tokens"] == again[number]["tokens"]).all()
    assert any((first[n]["tokens"] != other[n]["tokens"]).any() for n in range(4))
    assert first[0]["tokens"].shape == (257,) and first[0]["weights"].shape == (256,)


def test_crops_are_whole_music_of_training_pieces_under_a_header(tmp_path):
    path = write_folk(tmp_path, train=4, bars=40)
    draws = scores(path)
    known = [" ".join(music(p["tokens"])) for p in held_out(ScoreFolder(path=str(path)), TokenConfig(), "train")]
    assert len(known) == 4 and all(len(k.split()) > 257 for k in known)
    begins, ended = set(), 0
    for number in range(60):
        ids = draws[number]["tokens"].numpy()
        assert CODER.names[ids[0]] == "BOS_None" and [CODER.kinds[i] for i in ids[:4]] == ["BOS", "Style", "Key", "Bar"]
        bars = CODER.bars(ids)
        end = np.flatnonzero(ids == CODER.eos)
        # Its first whole bars after the first, where the tempo is said anew, stand so in one of the pieces.
        inside = ids[bars[1] : end[0] if len(end) else None]
        if len(inside) and not (ids[1:] == CODER.bos).any():
            assert sum(" ".join(music(inside)) in piece for piece in known) == 1
        begins.add(" ".join(music(ids[:20])))
        ended += bool(len(end))
    assert len(begins) > 15 and ended >= 3


def test_only_music_and_the_end_count(tmp_path):
    write_folk(tmp_path, bars=3)
    draw = scores(tmp_path / "nottingham.zip", fill=0.5)[3]
    targets, weights = draw["tokens"][1:].numpy(), draw["weights"].numpy()
    uncounted = np.isin(CODER.kinds[targets], ("BOS", "Style", "Key", "Fill", "PAD"))
    assert (weights == ~uncounted).all() and weights[targets == CODER.eos].all() and (targets == CODER.eos).any()
    # Short pieces follow one another until the context is full or nearly so.
    assert (targets == CODER.bos).sum() >= 1 and (targets == CODER.pad).sum() <= 64


def test_transposition_moves_pitches_and_key_and_tempi_stay_free(tmp_path):
    write_folk(tmp_path, train=1)
    plain = scores(tmp_path / "nottingham.zip")[0]["tokens"].numpy()
    up = scores(tmp_path / "nottingham.zip", transpose=[3, 3])[0]["tokens"].numpy()
    moved = [(int(a[6:]) + 3) for a in says(plain, "Pitch")]
    assert [int(a[6:]) for a in says(up, "Pitch")] == moved
    # Three flats, minor: C minor; three semitones up E flat minor.
    assert says(plain, "Key")[0] == "Key_12" and says(up, "Key")[0] == "Key_15"
    assert len(set(says(plain, "Tempo"))) == 1
    tempi = {says(scores(tmp_path / "nottingham.zip", free_tempo_steps=8)[n]["tokens"].numpy(), "Tempo")[0] for n in range(20)}
    assert len(tempi) > 5


def test_the_key_that_is_told_holds_where_the_crop_begins_and_may_be_left_out(tmp_path, monkeypatch):
    real = score_cache.readings

    def modulating(*args, **options):
        for reading in real(*args, **options):
            yield type(reading)(reading.piece, reading.score, ((0, 0), (20, 7)), reading.free_tempo)

    monkeypatch.setattr(score_cache, "readings", modulating)
    path = write_folk(tmp_path, train=1, bars=40)
    whole = music(next(iter(held_out(ScoreFolder(path=str(path)), TokenConfig(), "train")))["tokens"])
    starts = [at for at, name in enumerate(whole) if name == "Bar_None"]
    draws, found = scores(path), {}
    for number in range(50):
        ids = draws[number]["tokens"].numpy()
        second = " ".join(music(ids[CODER.bars(ids)[1] : CODER.bars(ids)[3]]))
        bar = next(b for b, at in enumerate(starts[:-2]) if " ".join(whole[at : starts[b + 2]]) == second) - 1
        found.setdefault(CODER.names[ids[2]], set()).add(bar)
    assert max(found["Key_0"]) < 20 <= min(found["Key_7"])
    assert {CODER.names[scores(path, no_key=1.0)[n]["tokens"][2]] for n in range(3)} == {"Key_none"}


def test_a_gap_holds_the_bars_that_lie_between_its_sides(tmp_path):
    path = write_folk(tmp_path, train=2, bars=12)
    draws = scores(path, fill=1.0, context=1200)

    def bars(ids) -> list[tuple]:
        """List the notes of each bar, without the tempo, which each part says anew."""
        ids = CODER.in_order(ids)
        return [tuple(i for i in part[2:] if CODER.kinds[i] not in ("Tempo", "Position")) for part in np.split(ids, CODER.bars(ids))[1:]]

    known = [bars(piece["tokens"]) for piece in held_out(ScoreFolder(path=str(path)), TokenConfig(), "train")]
    lengths = set()
    for number in range(12):
        ids = draws[number]["tokens"].numpy()
        ids = ids[: np.flatnonzero(ids == CODER.eos)[0] + 1]
        assert CODER.names[ids[3]] == "Fill_after" and says(ids, "Fill") == ["Fill_after", "Fill_before"]
        found = bars(ids)
        # Read in order, the parts are the piece from its beginning; the gap is what remains after both sides.
        assert any(found == piece[: len(found)] for piece in known) and len(found) >= 3
        after = (ids[: np.flatnonzero(ids == CODER.ids["Fill_before"])[0]] == CODER.ids["Bar_None"]).sum()
        lengths.add(int(after))
    assert len(lengths) > 2


def test_test_pieces_are_never_opened_for_training(tmp_path):
    path = write_folk(tmp_path)
    draws = scores(path)
    list(draws.validation())
    kept = [json.loads(file.read_text())["split"] for file in (tmp_path / "cache" / "scores").glob("*/about.json")]
    assert sorted(kept) == ["train", "valid"]
    names = {p["name"] for split in ("valid", "test") for p in held_out(ScoreFolder(path=str(path)), TokenConfig(), split)}
    assert len(names) == 4 and not names & {fact["name"] for found in draws._sets for fact in found.facts}


def test_validation_gives_whole_pieces_of_all_collections_in_turn(tmp_path):
    write_folk(tmp_path, valid=3)
    items = [{"path": f"{n}.mid", "split": "train" if n < 4 else "valid"} for n in range(6)]
    write_archive(tmp_path, "groove", items, {f"{n}.mid": tune(4, low=50 + n) for n in range(6)}, "CC BY 4.0")
    folders = [{"path": str(tmp_path / f"{name}.zip")} for name in ("nottingham", "groove")]
    draws = Scores(parse(ScoresConfig, {"folders": folders}, "data"))
    pieces = list(draws.validation())
    assert [p["collection"] for p in pieces] == ["nottingham", "groove", "nottingham", "groove", "nottingham"]
    for piece in pieces:
        assert piece["tokens"][-1] == CODER.eos and piece["tokens"].dtype == np.int32
        assert piece["notes"] == len(says(piece["tokens"], "Pitch", "PitchDrum")) > 0
        assert says(piece["tokens"], "Style") == [f"Style_{piece['style']}"]
    assert draws.seen(3) == {"tokens_seen": 3 * draws.config.context}
    about = draws.describe()
    assert about["pieces"] == 10 and about["licences"] == ["CC BY 4.0", "GPL-3.0"] and about["validation"] == 5


def test_the_recipe_chooses_by_licence_name_weight_and_style(tmp_path):
    write_folk(tmp_path)
    items = [{"path": f"{n}.mid", "split": "train", "licence": "MIT" if n % 2 else "GPL-2.0"} for n in range(6)]
    path = write_archive(tmp_path, "multitrack", items, {f"{n}.mid": tune(4, low=50 + n) for n in range(6)})
    assert scores(path, folder={"licences": ["permissive"]}).describe()["pieces"] == 3
    assert scores(path, folder={"include": ["multitrack/[0-3]"]}).describe()["pieces"] == 4
    assert says(scores(path, folder={"style": "drums"})[0]["tokens"].numpy(), "Style")[0] == "Style_drums"
    folders = [{"path": str(path), "weight": 0.0}, {"path": str(tmp_path / "nottingham.zip")}]
    draws = Scores(parse(ScoresConfig, {"folders": folders, "context": 64}, "data"))
    assert {says(draws[n]["tokens"].numpy(), "Style")[0] for n in range(20)} == {"Style_folk"}


def test_what_is_wrong_is_said_in_a_sentence(tmp_path, monkeypatch):
    path = write_folk(tmp_path)
    with pytest.raises(DatasetError, match="expected pieces for training"):
        scores(path, folder={"licences": ["permissive"]})
    with pytest.raises(ConfigError, match="'jazz': take one of"):
        scores(path, folder={"style": "jazz"})
    with pytest.raises(ConfigError, match="lower transposition first"):
        scores(path, transpose=[6, -5])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="SONGFOUNDRY_CACHE"):
        scores(path)


def test_the_cache_is_used_again_and_a_damaged_one_is_made_anew(tmp_path, monkeypatch):
    path = write_folk(tmp_path)
    expected = scores(path)[0]["tokens"]

    def fail(*_args, **_options):
        raise AssertionError("encoded again")

    with monkeypatch.context() as patched:
        patched.setattr(score_cache, "readings", fail)
        assert (scores(path)[0]["tokens"] == expected).all()
        with pytest.raises(AssertionError, match="encoded again"):  # other tokens need another cache
            scores(path, tokens={"velocities": 8})
    for file in (tmp_path / "cache" / "scores").glob("*/tokens.npy"):
        file.write_bytes(file.read_bytes()[:-10])
    assert (scores(path)[0]["tokens"] == expected).all()
    assert not list((tmp_path / "cache" / "scores").glob("*.part"))


def test_progress_rises_to_one(tmp_path):
    seen = []
    config = parse(ScoresConfig, {"folders": [{"path": str(write_folk(tmp_path))}]}, "data")
    Scores(config, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) > 4


def test_a_folder_with_a_broken_file_is_drawn_from(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.mid").write_bytes(tune(6, low=45 + number))
    (folder / "broken.mid").write_bytes(b"MThd")
    draws = scores(folder)
    about = draws.describe()
    assert about["pieces"] + about["validation"] <= 12 and about["skipped"] <= 1
    assert says(draws[0]["tokens"].numpy(), "Style")[0] == "Style_other"
