"""Writing: formats, tags, atomicity, full disks."""

import io as bytesio
import json
import os
import shutil
import struct
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from sounds import lag, music, snr

from songfoundry.audio import foreign, io, wav, writing
from songfoundry.errors import MissingExtraError, OutputError

RATE = 44100
TAGS = {
    "title": "Déjà vu ☃ 🎵",
    "artist": "Ünal & Söhne",
    "album": "Album",
    "comment": "a comment",
    "date": "2001",
    "genre": "Pop",
    "tracknumber": "3",
    "copyright": "someone",
    "software": "songfoundry",
    "license": "CC BY 4.0",
}


def sentence(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert text.startswith("expected ") and ("found" in text or "but" in text), text
    assert "; " in text and "\n" not in text, text
    return text


@pytest.mark.parametrize("format", ["wav", "flac"])
@pytest.mark.parametrize("depth,bits", [("int16", 16), ("int24", 24)])
def test_integer_files_hold_the_grid_exactly(tmp_path, format, depth, bits):
    rng = np.random.default_rng(0)
    steps = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 5001))
    x = (steps / 2.0 ** (bits - 1)).astype(np.float32)
    x[:, 0] = (1.5, -1.5)  # beyond full scale: clipped, never wrapped round
    io.write(tmp_path / f"a.{format}", x, RATE, depth=depth)
    got = io.read(tmp_path / f"a.{format}").samples
    assert np.array_equal(got[:, 1:], x[:, 1:])
    assert np.allclose(got[:, 0], (1, -1), atol=2**-14)
    other = soundfile.read(tmp_path / f"a.{format}", dtype="int32", always_2d=True)[0].T >> (32 - bits)
    assert np.array_equal(other[:, 1:], steps[:, 1:])


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("depth", ["int16", "int24", "float32"])
def test_wav_headers_are_understood_by_others(tmp_path, channels, depth):
    from scipy.io import wavfile

    x = music(0.1, channels=channels)[:, :4409]  # an odd length, for the padding
    io.write(tmp_path / "a.wav", x, RATE, depth=depth, tags=TAGS)
    with soundfile.SoundFile(tmp_path / "a.wav") as f:
        assert (f.frames, f.samplerate, f.channels) == (4409, RATE, channels)
    assert wavfile.read(tmp_path / "a.wav")[1].reshape(-1, channels).shape == (4409, channels)
    assert (tmp_path / "a.wav").stat().st_size == struct.unpack("<I", (tmp_path / "a.wav").read_bytes()[4:8])[0] + 8
    if foreign.ffmpeg_program():
        done = subprocess.run(
            ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-f", "f32le", "-"], capture_output=True, check=True
        )
        assert not done.stderr
        theirs = np.frombuffer(done.stdout, "<f4").reshape(-1, channels).T
        assert np.array_equal(theirs, io.read(tmp_path / "a.wav").samples)


def test_wav_above_4_gib_becomes_rf64(tmp_path):
    frames = 2**31 + 7  # int16 mono: 4 GiB and a little, as a sparse file
    header = wav.header(RATE, 1, "int16", frames, {})
    assert len(header) == len(wav.header(RATE, 1, "int16", 0, {})) and header[:4] == b"RF64"
    with open(tmp_path / "big.wav", "wb") as file:
        file.write(header)
        file.truncate(len(header) + 2 * frames)
        file.seek(len(header) + 2 * (frames - 3))
        file.write(struct.pack("<3h", 100, 200, 300))
    assert io.probe(tmp_path / "big.wav").frames == frames
    with io.open_reader(tmp_path / "big.wav") as reader:
        end = np.concatenate(list(reader.blocks(start=frames - 3)), axis=1)
    assert (end * 2**15).tolist() == [[100, 200, 300]]
    assert wav.header(RATE, 1, "int16", frames - 2000, {})[:4] == b"RIFF"


@pytest.mark.parametrize("format,least_snr", [("mp3", 15), ("ogg", 10), ("opus", 10)])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 48000, 44100])
def test_lossy_files_keep_length_and_place(tmp_path, format, least_snr, channels, rate):
    rate = io.nearest_rate(format, rate)
    x = music(2.0, rate, channels)[:, : 2 * rate - 37]
    with io.open_writer(tmp_path / f"a.{format}", rate=rate, channels=channels) as writer:
        for i in range(0, x.shape[1], 10_007):
            writer.write(x[:, i : i + 10_007])
        assert writer.frames == x.shape[1]
    clip = io.read(tmp_path / f"a.{format}")
    assert clip.rate == rate and clip.samples.shape == x.shape
    for c in range(channels):
        assert lag(x[c], clip.samples[c]) == 0
    assert snr(x, clip.samples) > least_snr


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg", "opus"])
@pytest.mark.parametrize("length", [1, 2, 100, 4097])
def test_short_files_keep_their_length(tmp_path, format, length):
    rate = io.nearest_rate(format, RATE)
    io.write(tmp_path / f"a.{format}", np.full((2, length), 0.1, np.float32), rate)
    assert io.read(tmp_path / f"a.{format}").samples.shape == (2, length)


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg", "opus"])
def test_tags_come_back(tmp_path, format):
    rate = io.nearest_rate(format, RATE)
    io.write(tmp_path / f"a.{format}", music(0.3, rate), rate, tags={**TAGS, "unknown": "x"})
    got = io.probe(tmp_path / f"a.{format}").tags
    missing = {"wav": {"license"}, "mp3": {"license"}}.get(format, set())  # libsndfile has no such field there
    for key in set(TAGS) - missing - {"software"}:
        assert got[key] == TAGS[key]
    assert got["software"].startswith("songfoundry") and "unknown" not in got


def test_mp3_tag_is_proper_id3(tmp_path):
    if not foreign.ffmpeg_program():
        pytest.skip("no ffmpeg program to read it with")
    io.write(tmp_path / "a.mp3", music(0.3), RATE, tags=TAGS)
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.mp3", "-f", "ffmetadata", "-"], capture_output=True)
    assert f"title={TAGS['title']}" in done.stdout.decode() and "LICENSE=CC BY 4.0" in done.stdout.decode()
    assert not done.stderr


@pytest.mark.parametrize("bitrate", [64, 128, 192, 320])
def test_mp3_bitrate_is_exact(tmp_path, bitrate):
    io.write(tmp_path / "a.mp3", music(2.0), RATE, bitrate=bitrate)
    got = (tmp_path / "a.mp3").stat().st_size * 8 / 2000
    assert got == pytest.approx(bitrate, rel=0.05)  # the frames are whole, and one more holds the length


@pytest.mark.parametrize(
    "format,bitrate,tolerance", [("opus", 64, 0.15), ("opus", 192, 0.15), ("ogg", 96, 0.5), ("ogg", 256, 0.5)]
)
def test_other_bitrates_come_near(tmp_path, format, bitrate, tolerance):
    rate = io.nearest_rate(format, RATE)
    io.write(tmp_path / f"a.{format}", music(4.0, rate), rate, bitrate=bitrate)
    got = (tmp_path / f"a.{format}").stat().st_size * 8 / 4000
    assert got == pytest.approx(bitrate, rel=tolerance)


def test_nearest_rates():
    asked = (8000, 11025, 22050, 32000, 44100, 96000)
    assert [io.nearest_rate("opus", r) for r in asked] == [8000, 12000, 24000, 48000, 48000, 48000]
    assert [io.nearest_rate("mp3", r) for r in (7000, 44100, 96000)] == [8000, 44100, 48000]
    assert io.nearest_rate("wav", 192_000) == io.nearest_rate("flac", 192_000) == io.nearest_rate("ogg", 192_000) == 192_000
    assert io.nearest_rate("stem.mp4", 192_000) == 96_000


@pytest.mark.parametrize("format", ["flac", "ogg", "mp3", "opus"])
def test_every_rate_that_a_format_names_works(tmp_path, format):
    for rate in (1000, 8000, 11025, 22050, 32000, 88200, 176_400, 192_000, 352_800, 655_350):
        rate = io.nearest_rate(format, rate)
        x = music(0.1, rate, 1)
        io.write(tmp_path / f"a.{format}", x, rate)
        clip = io.read(tmp_path / f"a.{format}")
        assert clip.rate == rate and clip.samples.shape == x.shape


@pytest.mark.parametrize(
    "name,options",
    [
        ("a.xyz", {}),
        ("a", {}),
        ("a.wav", {"format": "aac"}),
        ("a.wav", {"depth": "int8"}),
        ("a.wav", {"bitrate": 128}),
        ("a.flac", {"depth": "float32"}),
        ("a.flac", {"channels": 9}),
        ("a.mp3", {"depth": "int16"}),
        ("a.mp3", {"channels": 6}),
        ("a.mp3", {"bitrate": -1}),
        ("a.mp3", {"rate": 96_000}),
        ("a.opus", {"rate": 44_100}),
        ("a.wav", {"channels": 65}),
    ],
)
def test_what_a_format_cannot_hold_is_said_before_a_file_is_made(tmp_path, name, options):
    with pytest.raises(OutputError) as error:
        io.open_writer(tmp_path / name, **{"rate": RATE, "channels": 2, **options})
    sentence(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg", "opus"])
def test_nothing_is_left_after_an_exception_or_an_abort(tmp_path, format):
    rate = io.nearest_rate(format, RATE)
    target = tmp_path / f"a.{format}"
    target.write_text("the old one")
    for ending in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(ending), io.open_writer(target, rate=rate, channels=2) as writer:
            writer.write(music(0.5, rate))
            assert [p.name for p in tmp_path.iterdir() if p != target and p.name.startswith(".")]
            raise ending
    writer = io.open_writer(target, rate=rate, channels=2)
    writer.write(music(0.1, rate))
    writer.abort()
    writer.abort()
    with pytest.raises(OutputError), io.open_writer(target, rate=rate, channels=2) as writer:
        writer.write(music(0.1, rate, 1))
    assert list(tmp_path.iterdir()) == [target] and target.read_text() == "the old one"
    io.write(target, music(0.1, rate), rate)
    assert list(tmp_path.iterdir()) == [target] and io.probe(target).rate == rate


@pytest.mark.parametrize("format", ["wav", "flac", "ogg"])
def test_ctrl_c_within_the_encoder_is_not_lost(tmp_path, format):
    writer = io.open_writer(tmp_path / f"a.{format}", rate=RATE, channels=2)
    inner = writer._file._file

    class Interrupted:
        def write(self, data):
            raise KeyboardInterrupt

        def __getattr__(self, name):
            return getattr(inner, name)

    writer._file._file = Interrupted()
    with pytest.raises(KeyboardInterrupt), writer:
        writer.write(music(2.0))
    assert not list(tmp_path.iterdir())


def test_unwritable_places(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.wav").mkdir()
    places = [tmp_path / "file" / "a.wav", tmp_path / "none" / "a.wav", tmp_path / "folder.wav", tmp_path / ("n" * 300 + ".wav")]
    places += ["/proc/a.wav"] if os.path.isdir("/proc") else []
    for place in places:
        with pytest.raises(OutputError) as error:
            io.write(place, music(0.1), RATE)
        assert str(place) in sentence(error)
    if os.path.exists("/dev/null"):
        with pytest.raises(OutputError):
            io.write("/dev/null", music(0.1), RATE, format="wav")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.wav"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.wav").write_text("old")
    (tmp_path / "link.wav").symlink_to(tmp_path / "real.wav")
    io.write(tmp_path / "link.wav", music(0.1), RATE)
    assert (tmp_path / "link.wav").is_symlink() and io.probe(tmp_path / "real.wav").rate == RATE


FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, sys.argv[3])
from sounds import music
from songfoundry.audio import io
from songfoundry.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
x = music(2.0, 48000)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
for path in sys.argv[1].split("|"):
    try:
        if path.endswith(".mp4"):
            io.write_stem_mp4(path, [x] * 4, {k: [x] * 4 for k in ("vocals", "drums", "bass", "other")}, rate=48000)
        else:
            with io.open_writer(path, rate=48000, channels=2, tags={"title": "t"}) as writer:
                for i in range(0, x.shape[1], int(sys.argv[2])):
                    writer.write(x[:, i : i + int(sys.argv[2])])
        print("WRITTEN", path)
    except OutputError as error:
        print(error)
"""


@pytest.mark.parametrize("block", [1000, 100_000])
def test_a_write_error_leaves_nothing(tmp_path, block):
    pytest.importorskip("resource")
    names = [tmp_path / f"a.{f}" for f in io.FORMATS]
    if foreign.have_pyav() or foreign.ffmpeg_program():
        names.append(tmp_path / "a.stem.mp4")
    paths = "|".join(map(str, names))
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, paths, str(block), os.path.dirname(__file__)], capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == len(names), done.stderr
    assert all("size limit" in line for line in lines), lines
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk here; the size limit test takes its place")
    try:
        for format in io.FORMATS:
            rate = io.nearest_rate(format, RATE)
            with pytest.raises(OutputError) as error:
                io.write(disk / f"a.{format}", music(4.0, rate), rate)
            assert "the disk is full" in sentence(error)
            assert not list(disk.iterdir())
        with pytest.raises(OutputError, match="the disk is full"):
            io.write_atomic_text(disk / "report.html", "x" * 100_000)
        assert not list(disk.iterdir())
        io.write(disk / "small.wav", music(0.1), RATE)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_standard_output(monkeypatch):
    x = music(0.2)
    out = bytesio.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
    io.write("-", x, RATE, depth="float32")
    io.write("-", x, RATE, format="flac")
    flac = out.getvalue().index(b"fLaC")
    assert np.array_equal(soundfile.read(bytesio.BytesIO(out.getvalue()[:flac]), dtype="float32")[0].T, x)
    assert soundfile.read(bytesio.BytesIO(out.getvalue()[flac:]))[0].shape == (8820, 2)


def test_a_broken_pipe_is_a_sentence():
    script = "import sys, numpy as np\nfrom songfoundry.audio import io\nfrom songfoundry.errors import OutputError\n"
    script += "try:\n    io.write('-', np.zeros((2, 400000), np.float32), 44100)\n"
    script += "except OutputError as e:\n    print(e, file=sys.stderr)\nsys.stderr.flush()\nimport os; os._exit(0)"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    text = process.stderr.read().decode()
    process.stderr.close()
    process.wait()
    assert text.startswith("expected to write standard output") and text.count("\n") == 1


def test_atomic_text(tmp_path):
    io.write_atomic_text(tmp_path / "a.txt", "Größe ☃")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "Größe ☃"


@pytest.mark.long
def test_ten_minutes_of_vorbis_in_one_call(tmp_path):
    x = np.tile(music(10.0), 60)
    io.write(tmp_path / "a.ogg", x, RATE)
    with io.open_reader(tmp_path / "a.ogg") as reader:
        assert sum(b.shape[1] for b in reader.blocks()) == x.shape[1]


def test_two_minutes_of_vorbis_in_one_call(tmp_path):
    x = np.tile(music(5.0, 8000, 1), 24)
    io.write(tmp_path / "a.ogg", x, 8000)
    assert io.read(tmp_path / "a.ogg").samples.shape == x.shape


# --- stem.mp4 --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["pyav", "ffmpeg"])
def encoder(request, monkeypatch):
    """Leave only one of the two encoders in reach."""
    if request.param == "pyav":
        pytest.importorskip("av")
        monkeypatch.setattr(foreign, "ffmpeg_program", lambda: None)
    else:
        if not foreign.ffmpeg_program():
            pytest.skip("no ffmpeg program")
        monkeypatch.setattr(foreign, "have_pyav", lambda: False)
    return request.param


def test_stem_mp4_comes_back(tmp_path, encoder, monkeypatch):
    stems = {s: music(1.5, seed=i) * 0.25 for i, s in enumerate(("vocals", "drums", "bass", "other"))}
    stems = {s: x[:, :66001] for s, x in stems.items()}
    mixture = sum(stems.values())
    io.write(tmp_path / "mix.wav", mixture, RATE, depth="float32")
    blocks = {s: iter([stems[s][:, i : i + 5000] for i in range(0, 66001, 5000)]) for s in stems}
    io.write_stem_mp4(tmp_path / "a.stem.mp4", tmp_path / "mix.wav", blocks, rate=RATE, tags=TAGS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.stem.mp4", "mix.wav"]
    monkeypatch.undo()
    info = io.probe(tmp_path / "a.stem.mp4")
    assert info.streams == 5 and info.tags["title"] == TAGS["title"] and info.tags["tracknumber"] == "3"
    for i, name in enumerate(("mixture", "drums", "bass", "other", "vocals")):
        want = mixture if name == "mixture" else stems[name]
        got = io.read(tmp_path / "a.stem.mp4", stream=i).samples
        assert got.shape == want.shape
        assert lag(want[0], got[0]) == 0 and snr(want, got[:, : want.shape[1]]) > 15
    data = (tmp_path / "a.stem.mp4").read_bytes()
    at = data.index(b"stem", data.index(b"udta"))
    size = struct.unpack(">I", data[at - 4 : at])[0]
    assert [s["name"] for s in json.loads(data[at + 4 : at - 4 + size])["stems"]] == ["Drums", "Bass", "Other", "Vocals"]


def test_an_older_ffmpeg_writes_stem_mp4_too(tmp_path, monkeypatch):
    program = foreign.ffmpeg_program()
    if not program:
        pytest.skip("no ffmpeg program")
    older = tmp_path / "older"
    older.write_text(f'#!/bin/sh\ncase "$*" in *movie_timescale*) exit 1;; esac\nexec {program} "$@"\n')
    older.chmod(0o755)
    monkeypatch.setattr(foreign, "have_pyav", lambda: False)
    monkeypatch.setattr(foreign, "ffmpeg_program", lambda: str(older))
    x = music(0.5)
    io.write(tmp_path / "mix.wav", x, RATE)
    streams = {s: iter([x]) for s in ("vocals", "drums", "bass", "other")}
    io.write_stem_mp4(tmp_path / "a.stem.mp4", tmp_path / "mix.wav", streams, rate=RATE)
    monkeypatch.setattr(foreign, "ffmpeg_program", lambda: program)
    assert io.probe(tmp_path / "a.stem.mp4").streams == 5


def test_stempeg_reads_our_stem_mp4(tmp_path):
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("stempeg needs ffmpeg and ffprobe")
    stempeg = pytest.importorskip("stempeg")
    stems = {s: [music(1.0, seed=i) * 0.25] for i, s in enumerate(("vocals", "drums", "bass", "other"))}
    io.write_stem_mp4(tmp_path / "a.stem.mp4", [sum(x[0] for x in stems.values())], stems, rate=RATE)
    theirs, rate = stempeg.read_stems(str(tmp_path / "a.stem.mp4"))
    assert rate == RATE and theirs.shape[0] == 5 and theirs.shape[2] == 2
    assert lag(stems["vocals"][0][0], theirs[4, :, 0]) == 0


def test_stem_mp4_refusals(tmp_path, monkeypatch):
    x = music(0.1)
    stems = {s: [x] for s in ("vocals", "drums", "bass", "other")}
    wide = {**stems, "bass": [music(0.1, channels=3)]}
    for bad, rate in (({"vocals": [x]}, RATE), (stems, 44_000), (wide, RATE), ({**stems, "drums": []}, RATE)):
        with pytest.raises(OutputError) as error:
            io.write_stem_mp4(tmp_path / "a.stem.mp4", [x], bad, rate=rate)
        sentence(error)
    monkeypatch.setattr(foreign, "have_pyav", lambda: False)
    monkeypatch.setattr(foreign, "ffmpeg_program", lambda: None)
    with pytest.raises(MissingExtraError) as error:
        io.write_stem_mp4(tmp_path / "a.stem.mp4", [x], stems, rate=RATE)
    assert "PyAV" in sentence(error) and "ffmpeg" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_quantise_rounds_to_nearest():
    x = np.array([[0.4, 0.6, -0.6, 2.0, -2.0]], np.float32)
    assert (writing.quantise(x / 2**15, "int16") >> 16).tolist() == [[0, 1, -1, 2, -2]]
    assert (writing.quantise(x, "int24") >> 8)[0, 3:].tolist() == [2**23 - 1, -(2**23)]


def test_a_format_and_a_name_must_agree(tmp_path):
    agreed = [("a.wav", None), ("a.wave", "wav"), ("a.OGA", "ogg"), ("-", "mp3"), ("-", None), ("a.sound", "flac")]
    assert [io.agreed_format(tmp_path / name if name != "-" else name, form) for name, form in agreed] == [
        "wav", "wav", "ogg", "mp3", "wav", "flac",
    ]  # fmt: skip
    for name, form, words in (("q.wav", "mp3", "'q.wav', which is a name of wav"), ("q.wav", "xyz", "'xyz'"), ("q", None, "'q'")):
        with pytest.raises(OutputError, match=words):
            io.agreed_format(tmp_path / name, form)
