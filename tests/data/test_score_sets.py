"""Test finding collections of MIDI files: splits, licences, and the sentences for what is not as it should be."""

import hashlib
import json

import pytest
from small_scores import tune, write_archive, write_folk

from songfoundry.data.score_sets import allowed, find_collection
from songfoundry.errors import DatasetError


def test_an_archive_has_the_splits_of_its_index(tmp_path):
    found = find_collection(write_folk(tmp_path, 3, 2, 1))
    assert [len(found.part(split)) for split in ("train", "valid", "test")] == [3, 2, 1]
    piece = found.part("test")[0]
    assert (piece.name, piece.licence, piece.style) == ("nottingham/tune5", "GPL-3.0", "folk")


def test_a_collection_changes_its_mark_with_its_content(tmp_path):
    first = find_collection(write_folk(tmp_path)).mark
    assert find_collection(tmp_path / "nottingham.zip").mark == first
    index = json.loads((tmp_path / "index.json").read_text())
    index["datasets"]["nottingham"]["items"][0]["split"] = "test"
    (tmp_path / "index.json").write_text(json.dumps(index))
    moved = find_collection(tmp_path / "nottingham.zip")
    assert moved.mark != first and len(moved.part("test")) == 3


def test_a_folder_is_split_by_the_bytes_of_its_files(tmp_path):
    (tmp_path / "deep").mkdir()
    for number in range(40):
        (tmp_path / f"{number}.mid").write_bytes(tune(4, low=40 + number))
        (tmp_path / "deep" / f"copy of {number}.MIDI").write_bytes(tune(4, low=40 + number))
    (tmp_path / ".hidden.mid").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no music")
    found = find_collection(tmp_path)
    splits = {}
    for piece in found.pieces:
        splits.setdefault(hashlib.sha1(piece.place.read_bytes()).hexdigest(), set()).add(piece.split)
    assert len(found.pieces) == 80 and len(splits) == 40
    for digest, of_copies in splits.items():
        share = int(digest, 16) % 100
        assert of_copies == {"train" if share < 90 else "valid" if share < 95 else "test"}
    assert found.pieces[0].name == f"{tmp_path.name}/0" and found.pieces[0].licence == "not stated"


@pytest.mark.parametrize(
    ("licence", "licences", "kept"),
    [
        ("MIT", ["permissive"], True), ("BSD-3-Clause", ["permissive"], True), ("CC-BY-4.0", ["permissive"], True),
        ("CC BY 4.0", ["permissive"], True), ("CC0-1.0", ["permissive"], True), ("GPL-3.0", ["permissive"], False),
        ("CC BY-NC-SA 4.0", ["permissive"], False), ("Artistic-1.0", ["permissive"], False), ("not stated", ["permissive"], False),
        ("none stated (music: public domain)", ["permissive"], False), ("GPL-2.0", [], True), ("gpl-2.0", ["MIT", "GPL-2.0"], True),
        ("none stated (music: public domain)", ["permissive", "none stated (music: public domain)"], True),
    ],
)  # fmt: skip
def test_licences_are_a_filter(licence, licences, kept):
    assert allowed("a/b", licence, ["*"], licences) is kept


def test_names_are_a_filter():
    assert allowed("multitrack/freedoom/d_e1", "MIT", ["multitrack/freedoom/*"], [])
    assert not allowed("multitrack/openmsx/x", "MIT", ["multitrack/freedoom/*", "pop/*"], [])


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("SONGFOUNDRY_DATA", raising=False)
    with pytest.raises(DatasetError, match="SONGFOUNDRY_DATA is not set"):
        find_collection("midi/nothing.zip")
    with pytest.raises(DatasetError, match="expected MIDI files"):
        find_collection(tmp_path)
    lone = tmp_path / "lone.zip"
    lone.write_bytes(b"")
    with pytest.raises(DatasetError, match="an index of the archive"):
        find_collection(lone)
    write_folk(tmp_path)
    with pytest.raises(DatasetError, match="an entry for lone.zip"):
        find_collection(lone)
    strange = write_archive(tmp_path, "strange", [{"path": "a.mid", "split": "validation"}], {})
    with pytest.raises(DatasetError, match="split 'validation'"):
        find_collection(strange)
    monkeypatch.setenv("SONGFOUNDRY_DATA", str(tmp_path))
    assert find_collection("nottingham.zip").name == "nottingham"
