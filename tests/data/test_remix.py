"""Hold the draws to their word: pure in number and seed, from training seconds alone, varied as the recipe says."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from tiny_training import HERTZ, RATE, write_song, write_songs

from songfoundry.config import parse
from songfoundry.data.remix import NOMINAL_LEVEL, Remix, RemixConfig
from songfoundry.data.songs import STEMS, find_songs
from songfoundry.errors import Cancelled, ConfigError, DatasetError

PLAIN = {"speed": 0.0, "pan": 0.0, "noise": 0.0, "silence": 0.0, "gain_db": 0.0, "shift_db": 0.0}

# Levels of the stems of the first draws, as the first version drew them.
EXPECTED = [
    [0.1386, 0.1421, 0.1211, 0.0309],
    [0.2545, 0.2642, 0.1397, 0.0779],
    [0.0724, 0.2235, 0.1962, 0.1609],
    [0.0934, 0.0, 0.0, 0.093],
    [0.0909, 0.0877, 0.1465, 0.161],
    [0.1267, 0.1366, 0.1072, 0.0431],
]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SONGFOUNDRY_CACHE", str(tmp_path / "cache"))


def draws(folder, seed=1, **values) -> Remix:
    values = {"sample_rate": RATE, "chunk_seconds": 0.25, "folders": [{"path": str(folder)}], **values}
    return Remix(parse(RemixConfig, values, "[data]"), seed)


def digest(example: dict) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(value).tobytes() for _, value in sorted(example.items()))).hexdigest()


def loudest(signal: np.ndarray, rate: int = RATE) -> float:
    """Give the frequency of the highest peak, Hz."""
    spectrum = np.abs(np.fft.rfft(np.atleast_2d(signal)[0] * np.hanning(np.atleast_2d(signal).shape[1]), 1 << 16))
    return float(np.argmax(spectrum) * rate / (1 << 16))


def test_a_draw_is_what_the_class_says(tmp_path):
    example = draws(write_songs(tmp_path / "songs"))[0]
    assert {name: (tuple(value.shape), str(value.dtype)) for name, value in example.items()} == {
        "mixture": ((2, 2000), "torch.float32"), "stems": ((4, 2, 2000), "torch.float32"),
        "two_stems": ((), "torch.bool"), "band_limited": ((), "torch.bool"),
    }  # fmt: skip
    assert np.allclose(example["mixture"], example["stems"].sum(0), atol=1e-6)


def test_draws_are_pure_in_number_and_seed_across_processes(tmp_path):
    folder = write_songs(tmp_path / "songs")
    values = {"sample_rate": RATE, "chunk_seconds": 0.25, "folders": [{"path": str(folder)}], "pitch": 0.5, "mp3": 0.5}
    code = (
        "import sys, json, hashlib, numpy as np\nfrom songfoundry.data.remix import Remix, RemixConfig\n"
        "d = Remix(RemixConfig(**json.loads(sys.argv[1])), 1)\n"
        "print(json.dumps([hashlib.sha256(b''.join(np.ascontiguousarray(v).tobytes() for _, v in sorted(d[n].items()))).hexdigest()"
        " for n in (7, 3, 0)]))"
    )
    elsewhere = json.loads(subprocess.run([sys.executable, "-c", code, json.dumps(values)], capture_output=True, check=True).stdout)
    here = draws(folder, pitch=0.5, mp3=0.5)
    np.random.seed(5)
    assert [digest(here[n]) for n in (0, 3, 7)] == elsewhere[::-1] and len(set(elsewhere)) == 3
    assert digest(draws(folder, seed=2, pitch=0.5, mp3=0.5)[0]) != elsewhere[2]


def test_what_is_drawn_for_a_seed_stays_what_it_was(tmp_path):
    """A change of these numbers is another training: a run that is under way could not be taken up."""
    folder = write_songs(tmp_path / "songs")
    write_song(folder / "train", "two", ("vocals", "accompaniment"))
    found = draws(folder, chunk_seconds=0.05)
    examples = [found[n]["stems"].numpy() for n in range(6)]
    levels = [[round(float(np.sqrt(np.square(stem).mean())), 4) for stem in example] for example in examples]
    assert np.allclose(levels, EXPECTED, atol=2e-4)


def marked(tmp_path, **valid):
    """Make one song whose training part is at one frequency and whose validation seconds are at another."""
    place = tmp_path / "songs" / "files"
    place.mkdir(parents=True)
    times = np.arange(RATE) / RATE
    wave = np.concatenate((0.2 * np.sin(2 * np.pi * 200 * times), 0.2 * np.sin(2 * np.pi * 3000 * times)))
    for stem in STEMS:
        soundfile.write(place / f"{stem}.wav", np.repeat(wave[:, None], 2, 1), RATE)
    stems = {stem: [{"file": f"files/{stem}.wav"}] for stem in STEMS}
    (tmp_path / "songs" / "index.json").write_text(json.dumps({"songs": [{"song": "a", "stems": stems, "valid_last_seconds": 1.0}]}))
    return tmp_path / "songs"


@pytest.mark.parametrize("coherent", [0.0, 1.0])
def test_validation_seconds_are_never_drawn(tmp_path, coherent):
    found = draws(marked(tmp_path), coherent=coherent, noise=0.0, silence=0.0)
    for number in range(60):
        stems = found[number]["stems"].numpy()
        spectrum = np.abs(np.fft.rfft(stems * np.hanning(stems.shape[-1]))) ** 2
        assert spectrum[..., 2000 * 2000 // RATE :].sum() < 1e-3 * spectrum.sum()
    (held,) = list(found.validation())
    assert held["stems"].shape == (4, 2, RATE) and loudest(held["stems"][0]) == pytest.approx(3000, abs=2)
    assert held["present"] == list(STEMS) and held["name"] == "a" and not held["two_stems"]


def test_only_songs_for_training_are_drawn_and_those_of_the_test_are_not_even_opened(tmp_path):
    entries = []
    for number, split in enumerate(("train", "valid", "test", "unused")):
        place = tmp_path / "songs" / split
        place.mkdir(parents=True)
        wave = 0.2 * np.sin(2 * np.pi * 500 * (number + 1) * np.arange(2 * RATE) / RATE)
        soundfile.write(place / "bass.wav", wave, RATE)
        entries.append({"song": split, "split": split, "stems": {"bass": [{"file": f"{split}/bass.wav"}]}})
    (tmp_path / "songs" / "index.json").write_text(json.dumps({"songs": entries}))
    found = draws(tmp_path / "songs", **PLAIN)
    assert {round(loudest(found[n]["stems"][2].numpy()) / 500) for n in range(30)} == {1}
    assert [song["name"] for song in found.validation()] == ["valid"]
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 2
    assert found.seen(1000) == {"hours_seen": round(found.config.chunk_seconds / 3.6, 2)}
    assert found.describe() == {"songs": 1, "hours": 0.0, "folders": [str(tmp_path / "songs")], "licences": ["not stated"],
                                "validation": ["valid"]}  # fmt: skip


def test_nothing_to_train_on_is_one_sentence(tmp_path):
    write_song(tmp_path / "songs" / "test", "a")
    with pytest.raises(DatasetError, match="expected songs for training in .*songs, found none"):
        draws(tmp_path / "songs")
    write_song(tmp_path / "songs" / "train", "b")
    with pytest.raises(DatasetError, match="weights"):
        draws(tmp_path / "songs", folders=[{"path": str(tmp_path / "songs"), "weight": 0}])
    with pytest.raises(ConfigError, match="coherent"):
        draws(tmp_path / "songs", coherent=1.5)


def test_folders_are_drawn_by_their_weight(tmp_path):
    """Frequencies tell the folders apart; the second has a tenth of the songs and three quarters of the weight."""
    for number in range(10):
        write_song(tmp_path / "many", f"{number}", ("bass",), number=0)
    write_song(tmp_path / "one", "a", ("bass",), number=50)
    folders = [{"path": str(tmp_path / "many"), "weight": 1.0}, {"path": str(tmp_path / "one"), "weight": 3.0}]
    found = draws(tmp_path, folders=folders, **PLAIN)
    share = np.mean([loudest(found[n]["stems"][2].numpy()) > 1.25 * HERTZ["bass"] for n in range(200)])
    assert 0.65 < share < 0.85


def test_coherent_draws_take_one_moment_of_one_song_and_keep_its_balance(tmp_path):
    """All stems of the songs here are one waveform, so that their moments can be compared."""
    rng = np.random.default_rng(0)
    for number in range(4):
        place = tmp_path / "songs" / f"{number}"
        place.mkdir(parents=True)
        wave = 0.1 * rng.standard_normal((RATE, 2))
        for at, stem in enumerate(STEMS):
            soundfile.write(place / f"{stem}.wav", wave * 2.0**-at, RATE, subtype="FLOAT")

    def alike(example):
        stems = np.abs(example["stems"].numpy()).max(1)
        return [np.corrcoef(stems[0], stem)[0, 1] > 0.99 for stem in stems[1:]]

    together = draws(tmp_path / "songs", coherent=1.0, keep_level=1.0, **PLAIN)
    for n in range(10):
        example = together[n]
        level = np.sqrt(np.square(example["stems"].numpy()).mean((1, 2)))
        assert all(alike(example)) and level == pytest.approx(NOMINAL_LEVEL * 2.0 ** -np.arange(4), rel=0.1)
    apart = draws(tmp_path / "songs", coherent=0.0, **PLAIN)
    assert not any(all(alike(apart[n])) for n in range(10))
    levels = [np.sqrt(np.square(apart[n]["stems"].numpy()).mean((1, 2))) for n in range(10)]
    assert np.median(levels, 0) == pytest.approx([NOMINAL_LEVEL] * 4, rel=0.15)


def test_two_stem_songs_give_the_voice_and_the_sum_of_the_rest(tmp_path):
    write_song(tmp_path / "songs", "two", ("vocals", "accompaniment"))
    found = draws(tmp_path / "songs", two_stems=0.0, **PLAIN)
    for n in range(5):
        example = found[n]
        assert bool(example["two_stems"]) and not example["stems"][1:3].any()
        assert loudest(example["stems"][0].numpy()) == pytest.approx(HERTZ["vocals"], abs=5)
        assert loudest(example["stems"][3].numpy()) == pytest.approx(HERTZ["other"], abs=5)
    write_song(tmp_path / "songs", "four")
    mixed = draws(tmp_path / "songs", two_stems=0.3, **PLAIN)
    assert 0.15 < np.mean([bool(mixed[n]["two_stems"]) for n in range(150)]) < 0.45
    never = draws(tmp_path / "songs", two_stems=0.0, **PLAIN)
    assert not any(bool(never[n]["two_stems"]) for n in range(50))
    (held,) = list(draws(held_two(tmp_path)).validation())
    assert held["two_stems"] and set(held["present"]) == {"accompaniment", "vocals"} and not held["stems"][1:3].any()


def held_two(tmp_path):
    write_song(tmp_path / "held" / "valid", "a", ("vocals", "accompaniment"))
    write_song(tmp_path / "held" / "train", "b")
    return tmp_path / "held"


def test_band_limited_says_that_a_source_holds_nothing_high(tmp_path):
    write_song(tmp_path / "low", "a", rate=16000)
    write_song(tmp_path / "high", "b", rate=44100)
    assert all(bool(draws(tmp_path / "low")[n]["band_limited"]) for n in range(5))
    assert not any(bool(draws(tmp_path / "high")[n]["band_limited"]) for n in range(5))
    both = draws(tmp_path, folders=[{"path": str(tmp_path / "low")}, {"path": str(tmp_path / "high")}], coherent=1.0)
    assert {bool(both[n]["band_limited"]) for n in range(20)} == {True, False}


def test_stems_that_a_song_lacks_are_drawn_from_another(tmp_path):
    write_song(tmp_path / "songs", "a", ("vocals", "drums"))
    write_song(tmp_path / "songs", "b", ("bass",), mono=("bass",))
    found = draws(tmp_path / "songs", coherent=0.0, **PLAIN)
    stems = found[0]["stems"].numpy()
    assert [bool(stem.any()) for stem in stems] == [True, True, True, False] and np.allclose(np.abs(stems[2][0]), np.abs(stems[2][1]))


def test_a_song_shorter_than_a_chunk_is_followed_by_silence(tmp_path):
    write_song(tmp_path / "songs", "a", seconds=0.1)
    found = draws(tmp_path / "songs", coherent=1.0, **PLAIN)
    assert found[0]["stems"][:, :, :700].any() and not found[0]["stems"][:, :, 801:].any()


def test_each_variation_does_what_its_key_says(tmp_path):
    folder = write_songs(tmp_path / "songs", 1, 0)
    plain = draws(folder, coherent=0.0, **PLAIN)
    assert {round(loudest(plain[n]["stems"][0].numpy())) for n in range(10)} == {HERTZ["vocals"]}

    speeds = draws(folder, coherent=0.0, **{**PLAIN, "speed": 0.12})
    ratios = np.array([[loudest(speeds[n]["stems"][at].numpy()) / HERTZ[stem] for at, stem in enumerate(STEMS)] for n in range(12)])
    assert ratios.min() > 0.87 and ratios.max() < 1.13 and np.ptp(ratios[:, 0]) > 0.1
    # One speed for all stems of a draw.
    assert np.ptp(ratios[:, [0, 1, 3]], axis=1).max() < 0.01

    pitches = draws(folder, coherent=0.0, **PLAIN, pitch=1.0, tempo=0.0, chunk_seconds=0.5)
    ratios = np.array([[loudest(pitches[n]["stems"][at].numpy()) / HERTZ[stem] for at, stem in enumerate(STEMS)] for n in range(12)])
    semitones = 12 * np.log2(ratios)
    assert np.abs(semitones[:, 1]).max() < 0.1 and np.ptp(semitones[:, 0]) > 1 and np.abs(semitones[:, [0, 3]]).max() < 2.2

    silenced = draws(folder, **{**PLAIN, "silence": 0.4})
    share = np.mean([[not stem.any() for stem in silenced[n]["stems"].numpy()] for n in range(100)])
    assert 0.3 < share < 0.5 and all(silenced[n]["mixture"].any() for n in range(100))

    gains = draws(folder, coherent=0.0, **{**PLAIN, "gain_db": 6.0})
    levels = 20 * np.log10([[np.sqrt(np.square(stem).mean()) for stem in gains[n]["stems"].numpy()] for n in range(60)])
    assert 4.5 < levels.std() < 7.5

    noisy = draws(folder, coherent=0.0, **{**PLAIN, "noise": 1.0})
    floors = [np.median(np.abs(np.fft.rfft(noisy[n]["stems"][3, 0].numpy()))) for n in range(5)]
    clean = np.median(np.abs(np.fft.rfft(plain[0]["stems"][3, 0].numpy())))
    assert min(floors) > 0 and np.median(floors) > 5 * clean / 2

    wet = draws(folder, coherent=0.0, **PLAIN, effects=1.0)
    shapes = [[np.abs(np.fft.rfft(one[n]["stems"][:, 0].numpy())) for n in range(12)] for one in (plain, wet)]
    shapes = [[spectra / spectra.max(1, keepdims=True) for spectra in drawn] for drawn in shapes]
    changed = [np.abs(dry - wet).max(1) > 1e-3 for dry, wet in zip(*shapes, strict=True)]
    assert np.mean(changed, axis=0)[[0, 3]].min() > 0.6 and all(np.isfinite(wet[n]["mixture"].numpy()).all() for n in range(12))

    signs = {bool(np.sign(plain[n]["stems"][0, 0].numpy()[:9]).sum() > 0) for n in range(30)}
    assert signs == {True, False}


def test_an_mp3_coder_changes_the_mixture_and_not_the_stems(tmp_path):
    folder = write_songs(tmp_path / "songs", 1, 0)
    coded, clean = (draws(folder, mp3=mp3, chunk_seconds=0.5, noise=0.0) for mp3 in (1.0, 0.0))
    a, b = coded[0], clean[0]
    assert np.array_equal(a["stems"], b["stems"]) and not np.array_equal(a["mixture"], b["mixture"])
    difference = (a["mixture"] - b["mixture"]).square().mean() / b["mixture"].square().mean()
    assert 1e-9 < difference < 0.03


def test_validation_songs_come_with_one_gain_below_full_scale(tmp_path):
    place = write_song(tmp_path / "songs" / "valid", "a")
    write_song(tmp_path / "songs" / "train", "b")
    for stem in STEMS:
        soundfile.write(place / f"{stem}.wav", np.full((RATE, 2), 0.5), RATE, subtype="FLOAT")
    (song,) = list(draws(tmp_path / "songs").validation())
    assert np.abs(song["stems"].sum(0)).max() == pytest.approx(1.0, abs=1e-3) and np.ptp(song["stems"]) < 1e-3


def test_opening_says_how_far_it_is_and_can_be_broken_off(tmp_path):
    folder, seen = write_songs(tmp_path / "songs", 3, 1), []
    config = parse(RemixConfig, {"sample_rate": RATE, "folders": [{"path": str(folder)}]}, "[data]")
    Remix(config, 1, seen.append)
    assert seen == [0.25, 0.5, 0.75, 1.0]

    def stop(fraction):
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        Remix(config, 1, stop)
    assert len(find_songs(folder)) == 4
