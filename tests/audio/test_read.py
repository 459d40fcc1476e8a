"""Reading: real files, bad files, lying headers."""

import io as bytesio
import os
import shutil
import struct
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from sounds import lag, music

from songfoundry.audio import foreign, io, limits, spool
from songfoundry.errors import AudioError

RATE = 44100


def sentence(error: pytest.ExceptionInfo) -> str:
    """Check that an error is one sentence in three parts; return it."""
    text = str(error.value)
    assert text.startswith("expected ") and "found" in text and ("; " in text) and "\n" not in text, text
    return text


def test_wav_is_read_bit_exact_and_in_blocks_of_any_size(tmp_path):
    x = music(1.0)
    soundfile.write(tmp_path / "a.wav", x.T, RATE, subtype="FLOAT")
    for size in (1000, 4096, 65536):
        with io.open_reader(tmp_path / "a.wav") as reader:
            blocks = list(reader.blocks(size))
            assert all(b.dtype == np.float32 and 0 < b.shape[1] <= size for b in blocks)
            assert np.array_equal(np.concatenate(blocks, axis=1), x)
            assert np.array_equal(np.concatenate(list(reader.blocks(size)), axis=1), x)  # a second pass gives the same
            assert reader.shortfall is None


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg", "opus"])
def test_a_stretch_equals_those_samples_of_the_whole(tmp_path, format):
    rate = io.nearest_rate(format, RATE)
    io.write(tmp_path / f"a.{format}", music(3.0, rate), rate)
    whole = io.read(tmp_path / f"a.{format}").samples
    with io.open_reader(tmp_path / f"a.{format}") as reader:
        for start, stop in ((0, 10), (44101, 60000), (100_000, 100_001), (120_000, None)):
            part = np.concatenate(list(reader.blocks(777, start=start, stop=stop)), axis=1)
            assert np.array_equal(part, whole[:, start:stop])


def test_read_takes_seconds(tmp_path):
    x = music(2.0)
    io.write(tmp_path / "a.wav", x, RATE, depth="float32")
    clip = io.read(tmp_path / "a.wav", start=0.5, duration=1.0)
    assert np.array_equal(clip.samples, x[:, 22050:66150])
    assert (clip.seconds, clip.channels, clip.rate) == (1.0, 2, RATE)
    with pytest.raises(AudioError) as error:
        io.read(tmp_path / "a.wav", start=5)
    assert "second 5" in sentence(error)


@pytest.mark.parametrize("subtype,suffix", [("PCM_16", "aiff"), ("ALAC_16", "caf"), ("PCM_24", "w64")])
def test_other_containers_are_read_without_extras(tmp_path, subtype, suffix):
    x = music(0.5)
    soundfile.write(tmp_path / f"a.{suffix}", x.T, RATE, subtype=subtype, format=suffix.upper())
    assert np.abs(io.read(tmp_path / f"a.{suffix}").samples - x).max() < 2**-14


@pytest.mark.parametrize("name", ["with space.wav", "Café – déjà vu.wav", "🎵 🎤.wav", "semi;colon $HOME 'q'.wav", "-dash.wav"])
def test_names_of_all_kinds(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    x = music(0.2)
    io.write(name, x, RATE, depth="float32")
    assert np.array_equal(io.read(name).samples, x)


def test_content_tells_the_format_not_the_name(tmp_path):
    x = music(0.5)
    io.write(tmp_path / "a.flac", x, RATE, depth="int24")
    for name in ("a.mp3", "a.raw", "a.m4a", "a"):
        shutil.copy(tmp_path / "a.flac", tmp_path / name)
        assert io.probe(tmp_path / name).format == "FLAC"
        assert np.abs(io.read(tmp_path / name).samples - x).max() < 2**-23


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name,data",
    [
        ("text.mp3", b"This is a shopping list.\n" * 500),
        ("text.wav", b"RIFF, he said, and WAVE'd.\n" * 500),
        ("page.m4a", b"<!doctype html><html><body>404</body></html>" * 30),
        ("empty.wav", b""),
        ("one_byte.mp3", b"I"),
        ("zeros.mp3", bytes(5000)),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n" * 20),
        ("concat.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n" * 20),
        ("fake.mp4", b"\0\0\0\x18ftypmp42" + b"no boxes follow here " * 100),
        ("fake.webm", b"\x1a\x45\xdf\xa3" + b"nothing" * 100),
        ("cut.flac", b"fLaC\0\0\0\x22"),
        ("cut.wav", b"RIFF\xff\0\0\0WAVEfmt \x10\0\0\0\1\0"),
        ("chunks.wav", b"RIFF\xff\0\0\0WAVE" + b"junk\0\0\0\0" * 5000),
        ("dump.sds", b"\xf0\x7e\0\1" + bytes(200)),
    ],
)
def test_what_is_no_audio_is_refused_in_one_sentence(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AudioError) as error:
        io.read(tmp_path / name)
    assert name in sentence(error)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(AudioError) as error:
            io.read(path)
        sentence(error)


@pytest.mark.parametrize("format,subtype", [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_zero_length_audio(tmp_path, format, subtype):
    with soundfile.SoundFile(tmp_path / "none", "w", RATE, 2, subtype, format=format):
        pass
    with pytest.raises(AudioError) as error:
        io.read(tmp_path / "none")
    sentence(error)


def test_one_sample_and_silence(tmp_path):
    io.write(tmp_path / "one.wav", np.full((1, 1), 0.25, np.float32), RATE)
    assert io.read(tmp_path / "one.wav").samples.tolist() == [[0.25]]
    io.write(tmp_path / "quiet.flac", np.zeros((2, 5000), np.float32), RATE)
    clip = io.read(tmp_path / "quiet.flac")
    assert clip.samples.shape == (2, 5000) and not clip.samples.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_values_that_are_no_audio_name_their_second(tmp_path, value):
    x = music(2.0)
    x[1, 66150] = value
    soundfile.write(tmp_path / "bad.wav", x.T, RATE, subtype="FLOAT")
    with pytest.raises(AudioError) as error:
        io.read(tmp_path / "bad.wav")
    assert "second 1.500" in sentence(error)
    repaired = io.read(tmp_path / "bad.wav", repair=True).samples
    x[1, 66150] = 0
    assert np.array_equal(repaired, x)


@pytest.mark.parametrize("rate,channels", [(8000, 1), (192_000, 8)])
def test_unusual_rates_and_channels(tmp_path, rate, channels):
    x = music(0.3, rate, channels)
    io.write(tmp_path / "a.wav", x, rate, depth="float32")
    clip = io.read(tmp_path / "a.wav")
    assert clip.rate == rate and np.array_equal(clip.samples, x)
    io.write(tmp_path / "a.flac", x, rate, depth="int24")
    assert io.read(tmp_path / "a.flac").samples.shape == x.shape


def test_rates_and_channels_beyond_the_limits(tmp_path):
    soundfile.write(tmp_path / "slow.wav", np.zeros((100, 1)), 100)
    soundfile.write(tmp_path / "wide.wav", np.zeros((100, 65)), RATE)
    for name, found in (("slow.wav", "100 Hz"), ("wide.wav", "65")):
        with pytest.raises(AudioError) as error:
            io.read(tmp_path / name)
        assert found in sentence(error)


def test_limits_count_while_decoding(tmp_path, monkeypatch):
    io.write(tmp_path / "long.flac", np.zeros((1, 30_000), np.float32), 1000)
    monkeypatch.setattr(limits, "MAX_SECONDS", 20)
    given = 0
    with io.open_reader(tmp_path / "long.flac") as reader, pytest.raises(AudioError) as error:
        for block in reader.blocks(1000):
            given += block.shape[1]
    assert given == 20_000 and "long.flac" in sentence(error)
    monkeypatch.setattr(io, "MAX_CLIP_VALUES", 5000)
    with pytest.raises(AudioError):
        io.read(tmp_path / "long.flac", duration=10)


@pytest.mark.parametrize("said", [0, 1000, 0x7FFFFFF0, 0xFFFFFFFF])
def test_wav_whose_header_lies_about_its_size(tmp_path, said):
    x = music(1.0)
    soundfile.write(tmp_path / "a.wav", x.T, RATE, subtype="PCM_16")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.find(b"data") + 4
    data[at : at + 4] = struct.pack("<I", said)
    (tmp_path / "lie.wav").write_bytes(data)
    assert np.array_equal(io.read(tmp_path / "lie.wav").samples, io.read(tmp_path / "a.wav").samples)


def test_wav_with_other_chunks_is_taken_at_its_word(tmp_path):
    chunk = b"LIST" + struct.pack("<I", 4) + b"INFO"
    for frames in (0, 500):
        fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, RATE * 2, 2, 16)
        body = b"WAVE" + fmt + b"data" + struct.pack("<I", 2 * frames) + b"\1\0" * frames + chunk
        (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
        if frames:
            assert io.read(tmp_path / "a.wav").samples.shape == (1, 500)
        else:
            with pytest.raises(AudioError, match="without a single sample"):
                io.read(tmp_path / "a.wav")


@pytest.mark.parametrize("said", [0, 2**36 - 1, 10**9])
def test_flac_whose_header_lies_about_its_samples(tmp_path, said):
    x = music(1.0)
    soundfile.write(tmp_path / "a.flac", x.T, RATE, subtype="PCM_16")
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] = data[21] & 0xF0 | said >> 32
    data[22:26] = struct.pack(">I", said & 0xFFFFFFFF)
    (tmp_path / "lie.flac").write_bytes(data)
    with io.open_reader(tmp_path / "lie.flac") as reader:
        got = np.concatenate(list(reader.blocks()), axis=1)
        assert (reader.shortfall is None) == (said != 10**9)
        stretch = np.concatenate(list(reader.blocks(start=30_000, stop=40_000)), axis=1)
    assert np.array_equal(got, io.read(tmp_path / "a.flac").samples)
    assert np.array_equal(stretch, got[:, 30_000:40_000])


@pytest.mark.parametrize("format", ["mp3", "flac", "ogg", "opus", "wav"])
def test_truncated_files_give_what_is_there(tmp_path, format):
    rate = io.nearest_rate(format, RATE)
    io.write(tmp_path / f"a.{format}", music(4.0, rate), rate)
    whole = io.read(tmp_path / f"a.{format}").samples
    data = (tmp_path / f"a.{format}").read_bytes()
    (tmp_path / f"cut.{format}").write_bytes(data[: len(data) // 2])
    with io.open_reader(tmp_path / f"cut.{format}") as reader:
        got = np.concatenate(list(reader.blocks()), axis=1)
        if format in ("mp3", "flac", "wav"):  # the others' headers do not say their length
            assert "is cut short" in reader.shortfall and "4.00 s promised" in reader.shortfall
    n = got.shape[1]
    assert 0.2 * whole.shape[1] < n < 0.7 * whole.shape[1]
    assert np.abs(got[:, : n - 4000] - whole[:, : n - 4000]).max() < 1e-3


def test_a_wav_that_is_cut_says_by_how_much(tmp_path):
    """The last tenth of a second is missed too; the plain end of another chunk, or a missing byte of padding, is not."""
    x = music(2.0, channels=1)
    for depth in ("int16", "int24", "float32"):
        io.write(tmp_path / "a.wav", x, RATE, depth=depth)
        data = (tmp_path / "a.wav").read_bytes()
        (tmp_path / "cut.wav").write_bytes(data[: -int(depth[-2:]) // 8 * RATE // 10])
        info = io.probe(tmp_path / "cut.wav")
        assert info.frames == len(x[0])
        with io.open_reader(tmp_path / "cut.wav") as reader:
            got = np.concatenate(list(reader.blocks()), axis=1)
            assert reader.shortfall.endswith("is cut short: 1.90 s could be read, 2.00 s promised")
            # a start that is promised and not there is no crash
            assert list(reader.blocks(start=int(1.95 * RATE))) == []
            part = np.concatenate(list(reader.blocks(start=RATE)), axis=1)
            assert np.array_equal(part, got[:, RATE:])
    (tmp_path / "pad.wav").write_bytes(data[:-1])
    with io.open_reader(tmp_path / "pad.wav") as reader:
        assert sum(block.shape[1] for block in reader.blocks()) == len(x[0]) - 1 and reader.shortfall is None


@pytest.mark.parametrize(
    ("said", "tells"),
    [
        (40 * RATE, "20.00 s promised"), (0xB0000000, "s promised"), (0, None), (0x7FFFF000, None), (0x7FFFFFF0, None),
        (0x80000000, None), (0xFFFFFFF0, None), (0xFFFFFFFF, None),
    ],
)  # fmt: skip
def test_a_wav_that_promises_too_much_says_so_unless_it_is_a_stream(tmp_path, said, tells):
    soundfile.write(tmp_path / "a.wav", music(1.0, channels=1).T, RATE, subtype="PCM_16")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.find(b"data") + 4
    data[at : at + 4] = struct.pack("<I", said)
    (tmp_path / "lie.wav").write_bytes(data)
    with io.open_reader(tmp_path / "lie.wav") as reader:
        assert sum(block.shape[1] for block in reader.blocks()) == RATE
        assert reader.shortfall is None if tells is None else tells in reader.shortfall


def test_an_rf64_that_is_cut_says_so(tmp_path):
    soundfile.write(tmp_path / "a.rf64", music(2.0).T, RATE, subtype="PCM_16", format="RF64")
    data = (tmp_path / "a.rf64").read_bytes()
    assert data[:4] == b"RF64"
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    for name, tells in (("a.rf64", False), ("cut.wav", True)):
        with io.open_reader(tmp_path / name) as reader:
            list(reader.blocks())
            assert ("2.00 s promised" in (reader.shortfall or "")) == tells


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("format", ["AIFF", "AU", "W64"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_other_uncompressed_files_that_are_cut_say_so(tmp_path, format, subtype, channels):
    soundfile.write(tmp_path / "a", music(2.0, channels=channels).T, RATE, subtype=subtype, format=format)
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    for name, tells in (("a", False), ("cut", True)):
        with io.open_reader(tmp_path / name) as reader:
            got = sum(block.shape[1] for block in reader.blocks())
            assert ("2.00 s promised" in (reader.shortfall or "")) == tells
            assert (got < 1.1 * RATE) == tells
    stream = bytearray(data)
    if format == "AU":  # a stream of unknown length promises nothing
        stream[8:12] = struct.pack(">I", 2**32 - 1)
        (tmp_path / "stream").write_bytes(stream[: len(data) // 2])
        with io.open_reader(tmp_path / "stream") as reader:
            assert len(list(reader.blocks())) and reader.shortfall is None


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg", "opus"])
def test_damaged_bytes_never_crash(tmp_path, format):
    rate = io.nearest_rate(format, RATE)
    io.write(tmp_path / f"a.{format}", music(0.3, rate), rate)
    data = np.frombuffer((tmp_path / f"a.{format}").read_bytes(), np.uint8)
    rng = np.random.default_rng(7)
    for _ in range(30):
        bad = data.copy()
        places = rng.integers(0, len(bad), 12)
        places[:4] = rng.integers(0, 60, 4)
        bad[places] = rng.integers(0, 256, 12)
        (tmp_path / "bad").write_bytes(bad.tobytes())
        try:
            with io.open_reader(tmp_path / "bad") as reader:
                for block in reader.blocks():
                    assert np.isfinite(block).all()
        except AudioError:
            pass


def test_standard_input(tmp_path, monkeypatch):
    x = music(0.5)
    io.write(tmp_path / "a.wav", x, RATE, depth="float32")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=bytesio.BytesIO((tmp_path / "a.wav").read_bytes())))
    monkeypatch.setattr(spool.tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    clip = io.read("-")
    assert np.array_equal(clip.samples, x) and set(tmp_path.iterdir()) == before
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=bytesio.BytesIO(b"")))
    with pytest.raises(AudioError, match="standard input"):
        io.read("-")


def test_what_comes_through_a_pipe_is_read_and_a_silent_one_is_not_waited_for(tmp_path, monkeypatch):
    x, fifo = music(0.5), tmp_path / "pipe"
    io.write(tmp_path / "a.wav", x, RATE, depth="float32")
    os.mkfifo(fifo)
    with subprocess.Popen(["cp", tmp_path / "a.wav", fifo]) as writer:
        assert np.array_equal(io.read(fifo).samples, x)
        assert writer.wait(timeout=30) == 0
    monkeypatch.setattr(spool, "PIPE_SECONDS", 0.05)
    with pytest.raises(AudioError, match="expected sound from the pipe .*found nothing for 0.05 s"):
        io.read(fifo)
    with pytest.raises(AudioError, match="found a device"):
        io.read("/dev/zero")


# --- PyAV and ffmpeg -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def foreign_files(tmp_path_factory):
    """Make one file of each foreign kind from the same sound, with an ffmpeg program."""
    if not foreign.ffmpeg_program():
        pytest.skip("no ffmpeg program to make the files with")
    folder = tmp_path_factory.mktemp("foreign")
    x = music(2.0, seed=3)
    io.write(folder / "a.wav", x, RATE, tags={"title": "Café", "artist": "Ünal"})
    for name, codec in (("a.m4a", "aac"), ("a.aac", "aac"), ("l.m4a", "alac"), ("a.wma", "wmav2"), ("a.webm", "libopus")):
        rate = ["-ar", "48000"] if codec == "libopus" else []
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", folder / "a.wav", "-c:a", codec, "-b:a", "192k", *rate, folder / name], check=True
        )
    return folder, x


DECODERS = ["pyav", "ffmpeg"]


@pytest.fixture(params=DECODERS)
def decoder(request, monkeypatch):
    """Leave only one of the two decoders in reach."""
    if request.param == "pyav":
        pytest.importorskip("av")
        monkeypatch.setattr(foreign, "ffmpeg_program", lambda: None)
    else:
        if not foreign.ffmpeg_program():
            pytest.skip("no ffmpeg program")
        monkeypatch.setattr(foreign, "have_pyav", lambda: False)
    return request.param


@pytest.mark.parametrize("name", ["a.m4a", "a.aac", "l.m4a", "a.wma", "a.webm"])
def test_foreign_files_are_read(foreign_files, decoder, name):
    folder, x = foreign_files
    info = io.probe(folder / name)
    assert info.channels == 2 and info.streams == 1 and info.rate in (44100, 48000)
    clip = io.read(folder / name)
    assert abs(clip.seconds - 2.0) < 0.1
    if name == "l.m4a":
        assert np.array_equal(clip.samples, io.read(folder / "a.wav").samples)
    if name in ("a.m4a", "l.m4a"):
        assert lag(x[0], clip.samples[0]) == 0
        assert info.tags["title"] == "Café" and info.tags["artist"] == "Ünal"
    stretch = io.read(folder / name, start=0.5, duration=0.25).samples
    first = clip.rate // 2
    assert np.array_equal(stretch, clip.samples[:, first : first + stretch.shape[1]])


def test_both_decoders_agree(foreign_files, monkeypatch):
    pytest.importorskip("av")
    folder, _ = foreign_files
    a = io.read(folder / "a.m4a").samples
    monkeypatch.setattr(foreign, "have_pyav", lambda: False)
    b = io.read(folder / "a.m4a").samples
    assert a.shape == b.shape == (2, 88200)
    assert np.abs(a - b).max() < 1e-5


@pytest.mark.parametrize("samples", [100, 1024, 16384 + 512])
def test_an_m4a_is_as_long_as_its_sound(tmp_path, decoder, samples):
    io.write(tmp_path / "a.wav", music(2.0, seed=4)[:, :samples], RATE)
    program = shutil.which("ffmpeg") or pytest.skip("no ffmpeg program to make the file with")
    # An edit list in milliseconds, by which PyAV 19 goes; one in samples; and fragments, which end with the last frame.
    exact, fragments = ["-movie_timescale", str(RATE)], ["-movflags", "frag_keyframe+empty_moov"]
    for options, shorter, longer in (([], 23, 23), (exact, 0, 0), (fragments, 0, 2048)):
        subprocess.run([program, "-v", "error", "-y", "-i", tmp_path / "a.wav", "-c:a", "aac", *options, tmp_path / "a.mp4"], check=True)
        assert -shorter <= io.read(tmp_path / "a.mp4").samples.shape[1] - samples <= longer


def test_a_program_that_leaves_the_padding_out_itself_loses_nothing(foreign_files):
    source = foreign.FfmpegSource(str(foreign_files[0] / "a.m4a"), "a.m4a", "mov", 0)
    assert [source._padding(given) for given in (87 * 1024, 88200, 86 * 1024)] == [87 * 1024 - 88200, 0, 0]
    source.close()


def test_tags_that_are_no_utf8_hinder_nobody(foreign_files, decoder, tmp_path):
    data = (foreign_files[0] / "a.m4a").read_bytes()
    assert data.count("Café".encode()) == 1
    (tmp_path / "b.m4a").write_bytes(data.replace("Café".encode(), b"Caf\xe9 "))
    clip = io.read(tmp_path / "b.m4a")
    assert clip.seconds > 1.9
    io.write(tmp_path / "b.wav", clip.samples, clip.rate, tags=io.probe(tmp_path / "b.m4a").tags)
    assert io.probe(tmp_path / "b.wav").tags["title"].startswith("Caf\ufffd")


def test_truncated_foreign_file(foreign_files, decoder, tmp_path):
    data = (foreign_files[0] / "a.webm").read_bytes()
    (tmp_path / "cut.webm").write_bytes(data[: len(data) // 2])
    assert 0.5 < io.read(tmp_path / "cut.webm").seconds < 1.5
    data = (foreign_files[0] / "a.m4a").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(data[: len(data) // 2])  # its index lies at its end
    with pytest.raises(AudioError) as error:
        io.read(tmp_path / "cut.m4a")
    sentence(error)


def test_a_stream_that_is_not_there(foreign_files, decoder, tmp_path):
    with pytest.raises(AudioError, match="stream 3"):
        io.read(foreign_files[0] / "a.m4a", stream=3)
    io.write(tmp_path / "a.wav", music(0.1), RATE)
    with pytest.raises(AudioError, match="stream 1"):
        io.read(tmp_path / "a.wav", stream=1)


def test_video_without_sound(decoder, tmp_path):
    if not shutil.which("ffmpeg"):
        pytest.skip("no ffmpeg program to make the file with")
    source = ["-f", "lavfi", "-i", "color=c=red:s=32x32:d=0.2", "-c:v", "mpeg4"]
    subprocess.run(["ffmpeg", "-v", "error", *source, tmp_path / "mute.mp4"], check=True)
    with pytest.raises(AudioError, match="without an audio stream"):
        io.read(tmp_path / "mute.mp4")


def test_without_either_the_sentence_names_both(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "have_pyav", lambda: False)
    monkeypatch.setattr(foreign, "ffmpeg_program", lambda: None)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    with pytest.raises(AudioError) as error:
        io.read(tmp_path / "a.m4a")
    assert "PyAV" in sentence(error) and "ffmpeg" in str(error.value) and "songfoundry[av]" in str(error.value)


# --- real files ------------------------------------------------------------------------------------------------------


def test_real_mp3_whose_header_promises_too_much(shared_data):
    path = shared_data / "songs" / "mdn" / "drums.mp3"
    with io.open_reader(path) as reader:
        blocks = list(reader.blocks())
        got = np.concatenate(blocks, axis=1)
        assert 0 < got.shape[1] <= reader.frames_hint
    # no stale block is repeated at the end
    tail = got[:, -4096:]
    assert not np.array_equal(tail, got[:, -65536 - 4096 : -65536])


def test_real_opus_at_16_khz(shared_data):
    path = next((shared_data / "speech_song").glob("song_*.opus"))
    clip = io.read(path, duration=2.0)
    assert clip.rate == 16000 and clip.samples.shape[1] == 32000 and np.abs(clip.samples).max() > 0.01


def test_real_stem_mp4_streams(shared_data, decoder):
    path = next((shared_data / "test" / "musdb").glob("*80s Rock.stem.mp4"))
    info = io.probe(path)
    assert info.streams == 5 and info.rate == 44100 and info.channels == 2
    parts = [io.read(path, start=2.0, duration=2.0, stream=s).samples for s in range(5)]
    assert all(p.shape == (2, 88200) for p in parts)
    error = parts[0] - sum(parts[1:])
    assert np.square(error).sum() < 0.01 * np.square(parts[0]).sum()
