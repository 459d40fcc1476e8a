"""Pitches are read, timbres kept in files and moved between on spheres, instruments chosen for programs."""

import io
import zipfile

import numpy as np
import pytest

from songfoundry.errors import ConfigError, InputError
from songfoundry.timbre.pitches import parse_pitches, pitch_name
from songfoundry.timbre.programs import instrument_for
from songfoundry.timbre.timbres import Timbre, between, load_timbre, path, save_timbre

NAMES = ("flute", "oboe", "cello")


def timbre(number: int, latent: int = 64) -> Timbre:
    weights = np.zeros(3, np.float32)
    weights[number] = 1
    return Timbre(np.random.default_rng(number).standard_normal(latent).astype(np.float32), weights, NAMES, "abc")


@pytest.mark.parametrize(
    ("text", "pitches"),
    [("C4", [60]), ("60", [60]), ("c4", [60]), ("A3..C4", [57, 58, 59, 60]), ("C-1,G9", [0, 127]), ("Eb4, F#3,Bb2", [63, 54, 46]),
     ("A4..A4", [69]), ("60..62,C5", [60, 61, 62, 72]), (61, [61]), ([60, 64], [60, 64])],
)  # fmt: skip
def test_pitches_are_read(text, pitches):
    assert parse_pitches(text) == pitches


@pytest.mark.parametrize("text", ["200", "H9", "-1", "C10", "G#9", "", ",", "A3..", "A5..A3", "C4 E4", "4C", "C4..H5", 128, []])
def test_what_is_no_pitch_is_one_sentence(text):
    with pytest.raises(ConfigError) as caught:
        parse_pitches(text)
    assert "expected" in str(caught.value) and "found" in str(caught.value) and "\n" not in str(caught.value)


def test_names_are_read_back():
    assert [parse_pitches(pitch_name(p)) for p in range(128)] == [[p] for p in range(128)]
    assert pitch_name(60) == "C4" and pitch_name(61, "s") == "Cs4"


def test_a_timbre_comes_back_from_its_file(tmp_path):
    kept = between(timbre(0), timbre(2), 0.3)
    save_timbre(tmp_path / "a.npz", kept)
    found = load_timbre(tmp_path / "a.npz")
    assert np.array_equal(found.latent, kept.latent) and np.array_equal(found.instrument, kept.instrument)
    assert (found.instruments, found.model, found.name) == (NAMES, "abc", "flute+cello") and found.pure is None and timbre(1).pure == 1


def test_every_timbre_has_a_name():
    many = Timbre(np.ones(4, np.float32), np.full(400, 0.05, np.float32), tuple(f"i{n}" for n in range(400)), "abc")
    assert many.name == "i0" and between(timbre(0), timbre(2), 0.5).name == "flute+cello"


def test_paths_stay_on_the_sphere():
    ends = timbre(0), timbre(1)
    way = path(*ends, 9)
    assert len(way) == 9 and np.array_equal(way[0].latent, ends[0].latent) and np.array_equal(way[-1].instrument, ends[1].instrument)
    lengths = [np.linalg.norm(step.latent) for step in way]
    assert min(lengths) >= min(lengths[0], lengths[-1]) - 1e-4
    assert np.allclose([np.linalg.norm(step.instrument) for step in way], 1, atol=1e-6)
    straight = np.linalg.norm((ends[0].latent + ends[1].latent) / 2)
    assert straight < 0.85 * lengths[4]
    units = [step.latent / np.linalg.norm(step.latent) for step in way]
    turns = [np.arccos(np.clip(a @ b, -1, 1)) for a, b in zip(units, units[1:], strict=False)]
    assert np.ptp(turns) < 1e-3 and way[4].name == "flute+oboe"
    assert np.array_equal(between(ends[0], ends[0], 0.5).latent, ends[0].latent)


def archive(**values) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **values)
    return buffer.getvalue()


GOOD = {
    "format": np.array("songfoundry-timbre-1"), "latent": np.ones(4, np.float32), "instrument": np.ones(1, np.float32),
    "instruments": np.array(["flute"]), "model": np.array("x"),
}  # fmt: skip
BAD = {
    "no zip": b"Dear diary",
    "empty": b"",
    "cut short": archive(**GOOD)[:-40],
    "another format": archive(**GOOD | {"format": np.array("other")}),
    "no latent": archive(**{key: value for key, value in GOOD.items() if key != "latent"}),
    "not finite": archive(**GOOD | {"latent": np.full(4, np.nan, np.float32)}),
    "nothing": archive(**GOOD | {"latent": np.zeros(4, np.float32)}),
    "double": archive(**GOOD | {"latent": np.ones(4)}),
    "shapes": archive(**GOOD | {"instrument": np.ones(2, np.float32)}),
    "objects": archive(**GOOD | {"latent": np.array([{}], object)}),
    "huge shares": archive(**GOOD | {"instrument": np.full(1, 1e38, np.float32)}),
    "hardly a share": archive(**GOOD | {"instrument": np.full(1, 1e-3, np.float32)}),
    "less than nothing": archive(**GOOD | {"instrument": np.array([-1], np.float32)}),
    "huge latent": archive(**GOOD | {"latent": np.full(4, 3e38, np.float32)}),
    "tiny latent": archive(**GOOD | {"latent": np.full(4, 0.01, np.float32)}),
    "no archive": (lambda b: (np.save(b, np.ones(3)), b.getvalue())[1])(io.BytesIO()),
}


@pytest.mark.parametrize("name", [*BAD, "missing", "bomb"])
def test_what_is_no_timbre_is_refused(name, tmp_path):
    file = tmp_path / "bad.npz"
    if name == "bomb":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("latent.npy", bytes(50 << 20))
        assert file.stat().st_size < 1 << 20
    elif name != "missing":
        file.write_bytes(BAD[name])
    with pytest.raises(InputError) as caught:
        load_timbre(file)
    assert "bad.npz" in str(caught.value) and "\n" not in str(caught.value)


SHARED = ("alto_sax", "banjo", "baritone_sax", "bass_clarinet", "bassoon", "cello", "clarinet", "double_bass", "flute", "french_horn",
          "guitar", "oboe", "piano", "trombone", "trumpet", "viola", "violin")  # fmt: skip


@pytest.mark.parametrize(
    ("program", "name"),
    [(0, "piano"), (24, "guitar"), (33, "double_bass"), (40, "violin"), (42, "cello"), (48, "violin"), (56, "trumpet"),
     (58, "trombone"), (60, "french_horn"), (64, "alto_sax"), (67, "baritone_sax"), (68, "oboe"), (70, "bassoon"),
     (71, "clarinet"), (73, "flute"), (105, "banjo")],
)  # fmt: skip
def test_programs_find_their_instrument(program, name):
    assert instrument_for(program, SHARED) == name


def test_every_program_finds_one_in_any_set():
    families = ("bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal")
    for names in (SHARED, families, ("bright", "hollow"), ("only",), ("x1", "x2", "x3")):
        assert all(instrument_for(program, names) in names for program in range(128))
    assert instrument_for(19, families) == "organ" and instrument_for(52, families) == "vocal" and instrument_for(33, families) == "bass"
    assert len({instrument_for(program, ("x1", "x2", "x3")) for program in range(128)}) == 3
