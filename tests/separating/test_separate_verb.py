"""The verb `separate`: files in, files out, every option, and every bad input as one sentence with nothing half-written."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import known_models
import numpy as np
import pytest
from known_models import SHARES, STEMS, song

import songfoundry
from songfoundry.audio import foreign, io
from songfoundry.errors import AudioError, Cancelled, CheckpointError, ConfigError, InputError, OutputError, SongfoundryError
from songfoundry.separating import batch
from songfoundry.separating import verb as verbs
from songfoundry.separating.separator import Separator

LOUD = {"vocals": 4.0, "drums": 0.3, "bass": 0.2, "other": 0.1}


@pytest.fixture(scope="module")
def model():
    return Separator(known_models.system(), threads=1)


@pytest.fixture(scope="module")
def loud():
    return Separator(known_models.system(LOUD), threads=1)


@pytest.fixture(scope="module")
def drawn():
    return Separator(known_models.system(None), threads=1)


@pytest.fixture
def wav(tmp_path):
    """A song on disk, on the 24-bit grid."""
    io.write(tmp_path / "song.wav", song(2.2), 44100, depth="int24", tags={"title": "Ünal ☃", "artist": "Someone"})
    return tmp_path / "song.wav"


def left(folder: Path) -> list[str]:
    """List all files and folders below a folder, the hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(kind, words, *args, **options):
    """Expect one sentence of the house's form."""
    with pytest.raises(kind, match=words) as error:
        verbs.separate(*args, **options)
    text = str(error.value)
    assert isinstance(error.value, SongfoundryError) and "\n" not in text and text.startswith("expected ")
    return text


def test_four_stems_come_at_the_songs_rate_length_and_tags(wav, tmp_path, model):
    result = songfoundry.separate(wav, model=model, out=tmp_path / "out", depth="int24")
    assert list(result.paths) == list(STEMS)
    x = io.read(wav).samples
    for name, path in result.paths.items():
        assert path == str(tmp_path / "out" / "song" / f"{name}.wav")
        clip = io.read(path)
        assert clip.rate == 44100 and clip.samples.shape == x.shape
        assert np.abs(clip.samples - SHARES[name] * x).max() < 2e-6
        assert io.probe(path).tags == {"title": "Ünal ☃", "artist": "Someone"}
    assert result.rate == 44100 and result.channels == 2 and result.seconds == pytest.approx(2.2)
    assert result.peaks["vocals"] == pytest.approx(0.2, abs=1e-4) and result.gain == 1 and not result.notes
    assert result.elapsed > 0 and result.realtime_factor > 0


def test_an_array_gives_arrays(model):
    x = song(1.0, 22050, 1)
    result = verbs.separate(x, rate=22050, model=model, stems="bass,drums")
    assert list(result.stems) == ["bass", "drums"] and not result.paths
    assert result.stems["bass"].shape == x.shape
    refused(ConfigError, "rate in Hz", x, model=model)


def test_a_file_gives_arrays_without_out(wav, model):
    assert verbs.separate(wav, model=model).stems["other"].shape == (2, 97020)


@pytest.mark.parametrize("name", ["with spaces", "naïve ümläut", "🎵 emoji 你好", "-dash", "100%{stem}", "a.b.c"])
def test_odd_names_work(tmp_path, model, name):
    io.write(tmp_path / f"{name}.wav", song(0.2), 44100)
    result = verbs.separate(tmp_path / f"{name}.wav", model=model, out=tmp_path / "o ü", stems="bass")
    assert Path(result.paths["bass"]) == tmp_path / "o ü" / name / "bass.wav" and Path(result.paths["bass"]).is_file()


@pytest.mark.parametrize(
    ("format", "rate", "written"), [("flac", 44100, 44100), ("mp3", 96000, 48000), ("ogg", 8000, 8000), ("opus", 44100, 48000)]
)
def test_formats_keep_the_length_at_their_nearest_rate(tmp_path, model, format, rate, written):
    x = song(1.5, rate, 1)
    io.write(tmp_path / "a.wav", x, rate)
    result = verbs.separate(tmp_path / "a.wav", model=model, out=tmp_path, format=format, stems=["vocals", "drums"])
    assert result.rate == written
    assert any(f"{rate} Hz" in note and f"{written} Hz" in note for note in result.notes) == (rate != written)
    for path in result.paths.values():
        clip = io.read(path)
        assert path.endswith("." + format) and clip.rate == written and clip.channels == 1
        assert clip.samples.shape[1] == round(1.5 * written)


def test_depths_and_bitrates_are_written(wav, tmp_path, model):
    for depth, subtype in (("int16", "PCM_16"), ("int24", "PCM_24"), ("float32", "FLOAT")):
        path = verbs.separate(wav, model=model, out=tmp_path / depth, depth=depth, stems="bass").paths["bass"]
        assert io.probe(path).subtype == subtype
    sizes = []
    for kbits in (64, 256):
        result = verbs.separate(wav, model=model, out=tmp_path / str(kbits), format="mp3", bitrate=kbits, stems="bass")
        sizes.append(os.path.getsize(result.paths["bass"]))
    assert 2 < sizes[1] / sizes[0] < 5


def test_two_stems_and_minus_lose_nothing(wav, tmp_path, drawn):
    x = io.read(wav).samples
    result = verbs.separate(wav, model=drawn, out=tmp_path / "two", two_stems="vocals", depth="float32")
    assert list(result.paths) == ["vocals", "accompaniment"]
    vocals, rest = (io.read(path).samples for path in result.paths.values())
    assert np.abs(vocals + rest - x).max() < 1e-6
    assert list(verbs.separate(wav, model=drawn, two_stems="bass").stems) == ["bass", "no_bass"]
    less = verbs.separate(wav, model=drawn, minus="bass,drums").stems
    stems = verbs.separate(wav, model=drawn).stems
    assert list(less) == ["no_bass_drums"]
    assert np.abs(less["no_bass_drums"] - (x - stems["bass"] - stems["drums"])).max() < 1e-6
    assert list(verbs.separate(wav, model=drawn, minus="vocals").stems) == ["accompaniment"]


def test_one_stem_may_name_its_file(wav, tmp_path, model):
    result = verbs.separate(wav, model=model, minus="bass", out=tmp_path / "karaoke.flac")
    assert result.paths == {"no_bass": str(tmp_path / "karaoke.flac")} and io.probe(tmp_path / "karaoke.flac").format == "FLAC"


def test_a_template_names_the_files(wav, tmp_path, model):
    options = {"model": model, "out": tmp_path / "o", "format": "flac", "stems": "vocals,bass"}
    paths = verbs.separate(wav, name_template="{stem}s/{track} [{model}].{ext}", **options).paths
    assert paths["bass"] == str(tmp_path / "o" / "basss" / "song [bsrnn].flac")
    refused(ConfigError, "known field.*'{steem}'.*{stem}", wav, name_template="{steem}.{ext}", **options)
    refused(ConfigError, "braces in pairs", wav, name_template="{track}/{stem", **options)
    refused(ConfigError, "to end in .flac, as --format has it, found '{stem}.mp3'", wav, name_template="{stem}.mp3", **options)
    assert verbs.separate(wav, name_template="{stem}.WAVE", **{**options, "format": "wav"}).paths
    refused(ConfigError, "{stem} in --name-template for 2 stems", wav, name_template="{track}.{ext}", **options)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_preview_has_the_bits_of_the_whole_run(tmp_path, drawn, rate):
    x = song(9.0, rate)
    x[:, : 5 * rate] *= 0.3
    x[:, 7 * rate :] *= 0.3
    io.write(tmp_path / "a.wav", x, rate)
    options = {"model": drawn, "depth": "int24", "clip_mode": "clamp"}
    whole = verbs.separate(tmp_path / "a.wav", out=tmp_path / "whole", **options)
    part = verbs.separate(tmp_path / "a.wav", out=tmp_path / "part", preview=1.5, **options)
    assert 5.0 <= part.start <= 5.5 and part.seconds == 1.5
    first = round(part.start * rate)
    for name in STEMS:
        truth = io.read(whole.paths[name]).samples[:, first : first + round(1.5 * rate)]
        assert np.array_equal(io.read(part.paths[name]).samples, truth)
    long = verbs.separate(tmp_path / "a.wav", preview=30, model=drawn)
    assert long.start == 0 and long.seconds == 9


def test_start_and_duration_cut_the_whole_run(wav, drawn):
    whole = verbs.separate(wav, model=drawn).stems["drums"]
    part = verbs.separate(wav, model=drawn, start=0.5, duration=0.25)
    assert part.start == 0.5 and np.array_equal(part.stems["drums"], whole[:, 22050:33075])
    rest = verbs.separate(wav, model=drawn, start=2.0, duration=100)
    assert np.array_equal(rest.stems["drums"], whole[:, 88200:])
    text = refused(AudioError, "second 7 of", wav, model=drawn, start=7)
    assert "song.wav" in text


@pytest.mark.parametrize(("depth", "format"), [("int24", "wav"), ("float32", "wav"), ("int24", "flac")])
@pytest.mark.parametrize("two_stems", [None, "drums"])
def test_exact_sums_add_up_on_the_grid(wav, tmp_path, drawn, depth, format, two_stems):
    result = verbs.separate(wav, model=drawn, out=tmp_path / "o", exact_sum=True, depth=depth, format=format, two_stems=two_stems)
    grid = 2.0**23
    total = sum(np.rint(io.read(path).samples * grid).astype(np.int64) for path in result.paths.values())
    assert np.array_equal(total, np.rint(io.read(wav).samples * grid).astype(np.int64))
    assert -200 < result.exact_sum_cost_db < 60
    if two_stems:
        assert result.exact_sum_cost_db < -60  # the rest is the mixture less the stem, so only rounding is spread


def test_exact_sum_refuses_what_would_break_it(wav, tmp_path, model):
    options = {"model": model, "out": tmp_path / "o", "exact_sum": True}
    refused(ConfigError, "int24 or float32", wav, depth="int16", **options)
    refused(ConfigError, "int24 or float32 files.*mp3", wav, format="mp3", **options)
    refused(ConfigError, "clamp with --exact-sum", wav, clip_mode="rescale", **options)
    refused(ConfigError, "found a part", wav, minus="bass", **options)
    refused(ConfigError, "found a part", wav, stems="bass,drums", **options)
    assert not (tmp_path / "o").exists()


def test_exact_sum_says_that_a_mixture_clips(tmp_path, model):
    io.write(tmp_path / "hot.wav", song(0.5, level=1.5), 44100, depth="float32")
    result = verbs.separate(tmp_path / "hot.wav", model=model, out=tmp_path, exact_sum=True)
    assert any("3.52 dB over full scale" in note and "mixture" in note for note in result.notes)


def test_clipping_turns_all_stems_down_alike_and_says_so(wav, tmp_path, loud):
    result = verbs.separate(wav, model=loud, out=tmp_path / "o", depth="int24")
    x = io.read(wav).samples
    assert result.clip_mode == "rescale" and result.gain == pytest.approx(1 / (4 * np.abs(x).max()), rel=1e-4)
    assert len(result.notes) == 1
    assert result.notes[0].startswith("vocals goes 6.02 dB over full scale: all stems were turned down")
    for name, path in result.paths.items():
        assert np.abs(io.read(path).samples - LOUD[name] * result.gain * x).max() < 3e-6
    assert result.over_db == {"vocals": pytest.approx(6.02, abs=0.01)} and result.peaks["vocals"] == pytest.approx(2.0, abs=1e-3)


def test_clamp_cuts_one_stem_and_float_keeps_it(wav, tmp_path, loud):
    x = io.read(wav).samples
    clamped = verbs.separate(wav, model=loud, out=tmp_path / "c", depth="int24", clip_mode="clamp")
    assert "vocals goes 6.02 dB over full scale: its peaks were cut off" in clamped.notes
    assert np.abs(io.read(clamped.paths["vocals"]).samples - (4 * x).clip(-1, 1)).max() < 1e-5
    assert np.abs(io.read(clamped.paths["drums"]).samples - 0.3 * x).max() < 2e-6
    kept = verbs.separate(wav, model=loud, out=tmp_path / "f", depth="float32")
    assert kept.clip_mode == "float" and "kept as it is" in kept.notes[0]
    assert np.abs(io.read(kept.paths["vocals"]).samples).max() == pytest.approx(2.0, abs=1e-3)
    refused(ConfigError, "float32 with --clip-mode float", wav, model=loud, out=tmp_path, clip_mode="float")


def test_clipping_of_lossy_files_is_turned_down_too(wav, tmp_path, loud):
    result = verbs.separate(wav, model=loud, out=tmp_path / "o", format="ogg", stems="vocals")
    assert result.gain < 0.51 and np.abs(io.read(result.paths["vocals"]).samples).max() < 1.2


@pytest.mark.skipif(not (foreign.have_pyav() or foreign.ffmpeg_program()), reason="no AAC encoder")
def test_stem_mp4_holds_mixture_and_stems(wav, tmp_path, loud):
    result = verbs.separate(wav, model=loud, out=tmp_path / "o", format="stem.mp4")
    assert result.paths == {"": str(tmp_path / "o" / "song.stem.mp4")} and result.gain < 0.51
    info = io.probe(result.paths[""])
    assert info.streams == 5 and info.tags["title"] == "Ünal ☃"
    x = io.read(wav).samples * result.gain
    for stream, share in enumerate((1.0, 0.3, 0.2, 0.1, 4.0)):
        clip = io.read(result.paths[""], stream=stream)
        count = min(clip.samples.shape[1], x.shape[1])
        assert 10 * np.log10(np.square(share * x).sum() / np.square(clip.samples[:, :count] - share * x[:, :count]).sum()) > 15
    refused(ConfigError, "all four stems", wav, model=loud, out=tmp_path, format="stem.mp4", stems="bass")
    # and it is a song itself: the mixture is read, its name loses both suffixes
    again = verbs.separate(result.paths[""], model=loud, out=tmp_path / "again", stems="bass")
    assert again.paths["bass"] == str(tmp_path / "again" / "song" / "bass.wav")


@pytest.mark.skipif(not (foreign.have_pyav() or foreign.ffmpeg_program()), reason="no AAC encoder")
@pytest.mark.parametrize("clip_mode", ["rescale", "clamp"])
def test_stem_mp4_does_not_clip_its_mixture_in_silence(tmp_path, model, clip_mode):
    """No stem of this song goes over full scale; the song itself, in floats, does."""
    io.write(tmp_path / "hot.wav", song(1.0, level=2.0), 44100, depth="float32")
    result = verbs.separate(tmp_path / "hot.wav", model=model, out=tmp_path / "o", format="stem.mp4", clip_mode=clip_mode)
    done = {"rescale": "all stems were turned down by 6.02 dB", "clamp": "its peaks were cut off"}[clip_mode]
    assert result.notes == [f"mixture goes 6.02 dB over full scale: {done}"]
    assert result.peaks["mixture"] == pytest.approx(2.0) and result.over_db == {"mixture": pytest.approx(6.02, abs=0.01)}
    assert result.gain == pytest.approx(0.5 if clip_mode == "rescale" else 1.0)
    # the coder's own overshoot aside, nothing that is read back goes over
    assert 0.8 < np.abs(io.read(result.paths[""]).samples).max() < 1.15
    vocals = io.read(result.paths[""], stream=4).samples
    assert np.abs(vocals).max() == pytest.approx(0.8 * result.gain, rel=0.15)


def test_stem_mp4_without_an_encoder_is_refused_before_the_work(wav, tmp_path, model, monkeypatch):
    monkeypatch.setattr(foreign, "have_pyav", lambda: False)
    monkeypatch.setattr(foreign, "ffmpeg_program", lambda: None)
    with pytest.raises(SongfoundryError, match="PyAV or an ffmpeg program"):
        verbs.separate(wav, model=model, out=tmp_path / "o", format="stem.mp4", progress=lambda fraction: pytest.fail("worked"))
    assert left(tmp_path) == ["song.wav"]


def test_skip_existing_leaves_whole_songs_alone(wav, tmp_path, model):
    first = verbs.separate(wav, model=model, out=tmp_path / "o")
    stamps = [os.stat(path).st_mtime_ns for path in first.paths.values()]
    assert verbs.separate(wav, model=model, out=tmp_path / "o", skip_existing=True).skipped
    assert [os.stat(path).st_mtime_ns for path in first.paths.values()] == stamps
    os.unlink(first.paths["bass"])
    assert not verbs.separate(wav, model=model, out=tmp_path / "o", skip_existing=True).skipped
    assert Path(first.paths["bass"]).is_file()


def test_skip_existing_takes_no_part_for_the_whole(wav, tmp_path, model):
    """A preview's stems lie where the song's would, but are shorter; and the song's where the preview's would."""
    options = {"model": model, "out": tmp_path / "o", "skip_existing": True}
    seconds = io.probe(wav).seconds
    assert not verbs.separate(wav, preview=seconds / 3, **options).skipped and verbs.separate(wav, preview=seconds / 3, **options).skipped
    for part in ({}, {"start": seconds / 2}, {"duration": seconds / 4}, {"preview": seconds / 2}, {}):
        assert not verbs.separate(wav, **part, **options).skipped and verbs.separate(wav, **part, **options).skipped
        (outcome,) = batch.separate_all([wav], **part, **options)
        assert outcome.result.skipped
    assert io.probe(tmp_path / "o" / "song" / "bass.wav").seconds == pytest.approx(seconds)


def test_silence_and_one_sample_give_files(tmp_path, drawn):
    io.write(tmp_path / "silence.wav", np.zeros((2, 30_000), np.float32), 44100)
    io.write(tmp_path / "one.wav", np.full((1, 1), 0.5, np.float32), 44100)
    for name, length in (("silence", 30_000), ("one", 1)):
        result = verbs.separate(tmp_path / f"{name}.wav", model=drawn, out=tmp_path / "o")
        for path in result.paths.values():
            samples = io.read(path).samples
            assert samples.shape[1] == length and (name == "one" or not samples.any())


def test_progress_reaches_one_and_may_stop(wav, tmp_path, model):
    seen = []
    verbs.separate(wav, model=model, out=tmp_path / "a", progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) > 2
    with pytest.raises(Cancelled):
        verbs.separate(wav, model=model, out=tmp_path / "b", progress=lambda fraction: False)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        verbs.separate(wav, model=model, out=tmp_path / "b", cancel=cancel)
    with pytest.raises(Cancelled):
        verbs.separate(wav, model=model, out=tmp_path / "b", preview=1, cancel=cancel)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text.mp3", "no decoder knows"), ("empty.wav", "an empty file"), ("none.wav", "without a single sample"),
        ("nan.wav", "found nan at second"),
    ],
)
def test_bad_songs_are_one_sentence_and_leave_nothing(tmp_path, model, name, words):
    (tmp_path / "text.mp3").write_text("this is no music\n" * 50)
    (tmp_path / "empty.wav").touch()
    io.write(tmp_path / "none.wav", np.zeros((2, 0), np.float32), 44100)
    bad = song(3.0)
    bad[0, 100_000] = np.nan
    io.write(tmp_path / "nan.wav", bad, 44100, depth="float32")
    before = left(tmp_path)
    refused(AudioError, words, tmp_path / name, model=model, out=tmp_path / "o")
    refused(AudioError, words, tmp_path / name, model=model, out=tmp_path / "o", clip_mode="clamp")
    assert left(tmp_path) == before
    if name == "nan.wav":
        result = verbs.separate(tmp_path / name, model=model, out=tmp_path / "o", repair=True)
        assert any("1 values" in note for note in result.notes)


def test_damaged_songs_give_what_is_there_and_say_so(tmp_path, model):
    io.write(tmp_path / "whole.mp3", song(4.0), 44100)
    data = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(data[: len(data) // 2])
    result = verbs.separate(tmp_path / "cut.mp3", model=model, out=tmp_path / "o")
    assert 1.5 < result.seconds < 2.5 and any("cut short" in note for note in result.notes)
    io.write(tmp_path / "a.wav", song(1.0), 44100)
    header = bytearray((tmp_path / "a.wav").read_bytes())
    at = header.index(b"data") + 4
    for size, said in ((0, False), (0xFFFFFFF0, False), (1000, False), (20 * 44100 * 4, True)):
        header[at : at + 4] = size.to_bytes(4, "little")
        (tmp_path / "lies.wav").write_bytes(header)
        result = verbs.separate(tmp_path / "lies.wav", model=model, out=tmp_path / "o")
        assert result.seconds == pytest.approx(1.0, abs=0.01)
        assert any("cut short: 1.00 s could be read, 20.00 s promised" in note for note in result.notes) == said


def test_extreme_rates_and_channels_come_back(tmp_path, model):
    for rate, channels in ((8000, 1), (192_000, 8)):
        io.write(tmp_path / "a.wav", song(0.4, rate, channels), rate)
        result = verbs.separate(tmp_path / "a.wav", model=model, out=tmp_path / "o", exact_sum=True)
        for path in result.paths.values():
            clip = io.read(path)
            assert (clip.rate, clip.samples.shape) == (rate, (channels, round(0.4 * rate)))


def test_what_a_format_cannot_hold_is_refused_early(tmp_path, model):
    io.write(tmp_path / "six.wav", song(0.2, channels=6), 44100)
    before = left(tmp_path)
    refused(OutputError, "1 to 2 channels for mp3", tmp_path / "six.wav", model=model, out=tmp_path / "o", format="mp3")
    refused(OutputError, "mono or stereo", tmp_path / "six.wav", model=model, out=tmp_path / "o", format="stem.mp4")
    assert left(tmp_path) == before


def test_unwritable_places_are_refused(wav, tmp_path, model):
    (tmp_path / "file").touch()
    before = left(tmp_path)
    refused(OutputError, "a part of its path is a file", wav, model=model, out=tmp_path / "file")
    refused(OutputError, "a folder has that name", wav, model=model, out=tmp_path, name_template="{stem}/..", stems="bass")
    if os.geteuid() != 0:
        (tmp_path / "shut").mkdir(mode=0o500)
        refused(OutputError, "may not be written to", wav, model=model, out=tmp_path / "shut")
        (tmp_path / "shut").rmdir()
    assert left(tmp_path) == before


def test_the_song_itself_is_never_written_over(wav, model):
    data = wav.read_bytes()
    refused(OutputError, "another file than the song", wav, model=model, out=wav, stems="bass")
    assert wav.read_bytes() == data


@pytest.mark.parametrize("clip_mode", ["rescale", "clamp"])
@pytest.mark.parametrize("where", ["start", "late"])
def test_a_full_disk_leaves_nothing(wav, tmp_path, model, monkeypatch, clip_mode, where):
    """The writers' own files fill up; the bytes that fit are taken away again."""
    from songfoundry.audio.atomic import AsideFile

    real, budget = AsideFile.write, [1000 if where == "start" else 300_000]

    def write(self, data):
        budget[0] -= len(data)
        if budget[0] < 0 and self.failure is None:
            self.failure = OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(AsideFile, "write", write)
    refused(OutputError, "the disk is full; free some space", wav, model=model, out=tmp_path / "o", clip_mode=clip_mode)
    assert left(tmp_path) == ["song.wav"]


def test_a_really_full_disk_leaves_nothing(wav, tmp_path, model):
    """A limit on file sizes stands for the disk: the stems need more than it lets through."""
    known_models.save(tmp_path / "m.safetensors", known_models.system())
    code = (
        "import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\nfrom songfoundry.cli import main\nmain()"
    )
    options = ["separate", str(wav), "--model", str(tmp_path / "m.safetensors"), "--out", str(tmp_path / "o")]
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "grew past the size limit" in done.stderr and "Traceback" not in done.stderr
    assert left(tmp_path) == ["m.safetensors", "song.wav"]


def test_several_files_are_committed_together(wav, tmp_path, model, monkeypatch):
    """When the last file cannot be finished, none of the others has its name."""
    real, calls = io.Writer.finish, []

    def finish(self):
        calls.append(self.path)
        if len(calls) == 4:
            self.abort()
            raise OutputError("expected room, found none; free some")
        real(self)

    monkeypatch.setattr(io.Writer, "finish", finish)
    with pytest.raises(OutputError):
        verbs.separate(wav, model=model, out=tmp_path / "o")
    assert len(calls) == 4 and left(tmp_path) == ["song.wav"]


def test_bad_models_are_one_sentence(wav, tmp_path):
    made = known_models.save(tmp_path / "m.safetensors", known_models.system())
    refused(ConfigError, "name of a model, found 'bsrn'", wav, model="bsrn")
    (tmp_path / "cut.safetensors").write_bytes(made.read_bytes()[:-100])
    refused(CheckpointError, "cut short", wav, model=tmp_path / "cut.safetensors")
    old = made.read_bytes().replace(b"songfoundry-1", b"songfoundry-0")
    (tmp_path / "old.safetensors").write_bytes(old)
    refused(CheckpointError, "format 'songfoundry-1', found 'songfoundry-0'", wav, model=tmp_path / "old.safetensors")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stems": "vocal"}, "did you mean 'vocals'"), ({"stems": ""}, "1 to 4"), ({"two_stems": "vocals,bass"}, "one stem"),
        ({"minus": "vocals,drums,bass,other"}, "1 to 3 stems"), ({"minus": "bass", "two_stems": "bass"}, "found --two-stems"),
        ({"format": "wave"}, "did you mean 'wav'"), ({"depth": "int8"}, "a depth of int16, int24, float32 for wav"),
        ({"depth": "float32", "format": "flac"}, "a depth of int16, int24 for flac"),
        ({"depth": "int16", "format": "mp3"}, "no --depth"), ({"bitrate": 128}, "no --bitrate for wav"),
        ({"bitrate": 0, "format": "mp3"}, "--bitrate from"), ({"clip_mode": "clip"}, "'clamp'"), ({"start": -1}, "--start"),
        ({"start": float("nan")}, "--start"), ({"duration": 0}, "--duration"), ({"preview": -3}, "--preview"),
        ({"preview": 3, "start": 1}, "found both"), ({"out": "x.wav"}, "a folder for 4 stems"), ({"out": "-"}, "standard output"),
        ({"out": "x.flac", "stems": "bass", "format": "mp3"}, "goes with --format mp3"),
    ],
)  # fmt: skip
def test_options_that_are_wrong_are_one_sentence(wav, tmp_path, model, options, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(ConfigError, words, wav, **{"model": model, "out": "o", **options})
    assert left(tmp_path) == ["song.wav"]


@pytest.mark.parametrize("name", ["x.mp4", "x.m4a", "x.AAC", "x.aiff", "x.wma"])
def test_a_file_that_cannot_be_written_does_not_become_a_folder(wav, tmp_path, model, name):
    words = rf"\.wav, \.flac, \.mp3, \.ogg, \.opus, \.stem\.mp4\), found '.*{name}'"
    refused(ConfigError, words, wav, model=model, out=tmp_path / name, stems="bass")
    refused(ConfigError, words, wav, model=model, out=str(tmp_path / name))
    refused(ConfigError, words, wav, model=model, out=tmp_path / name, format="stem.mp4")
    assert left(tmp_path) == ["song.wav"]
    # a folder is a folder, if it is there or says so
    assert Path(verbs.separate(wav, model=model, out=f"{tmp_path / name}/", stems="bass").paths["bass"]).is_file()
    again = verbs.separate(wav, model=model, out=tmp_path / name, stems="bass", skip_existing=True)
    assert again.skipped and again.paths == {"bass": str(tmp_path / name / "song" / "bass.wav")}


def test_a_missing_song_is_named(tmp_path, model):
    assert "No such file" in refused(AudioError, "nowhere.mp3", tmp_path / "nowhere.mp3", model=model, out=tmp_path / "o")
    refused(InputError, "channels, samples", np.zeros(5, np.float32), rate=44100, model=model)


def test_real_songs_in_foreign_and_own_formats(shared_data, tmp_path, drawn):
    files = [path for path in sorted(shared_data.rglob("*")) if path.suffix in (".mp3", ".flac", ".ogg", ".wav", ".mp4")]
    for suffix in (".mp3", ".flac", ".wav", ".mp4"):
        for path in [path for path in files if path.suffix == suffix][:1]:
            info = io.probe(path)
            result = verbs.separate(path, model=drawn, out=tmp_path, start=1.0, duration=1.5)
            for name, out in result.paths.items():
                clip = io.read(out)
                assert clip.rate == info.rate and clip.channels == info.channels and name in STEMS
                assert clip.samples.shape[1] == round(1.5 * info.rate)
