"""The separator: alignment, length, channels, ranges bit for bit, averages, stopping, memory."""

import threading
import tracemalloc

import known_models
import numpy as np
import pytest
import torch
from known_models import SHARES, STEMS, song

from songfoundry import checkpoint, hardware
from songfoundry.audio.pieces import resampled_length
from songfoundry.checkpoint import Checkpoint
from songfoundry.errors import Cancelled, CheckpointError, ConfigError, InputError
from songfoundry.separating import models
from songfoundry.separating.separator import Separator
from songfoundry.systems.separate import Separate


def snr(truth, estimate):
    return 10 * np.log10(np.square(truth).sum() / max(np.square(truth - estimate).sum(), 1e-20))


@pytest.fixture(scope="module")
def shares():
    return Separator(known_models.system(), threads=1)


@pytest.fixture(scope="module")
def drawn():
    """A net with random weights, whose output depends on all that it sees."""
    return known_models.system(None)


def in_blocks(x, size=10_007):
    return (x[:, i : i + size] for i in range(0, x.shape[1], size))


@pytest.mark.parametrize("seconds", [1 / 44100, 2 / 44100, 0.01, 0.75, 1.0, 2.6])
def test_each_stem_is_its_share_sample_by_sample(shares, seconds):
    x = song(seconds)
    stems = shares.separate(x, 44100)
    assert tuple(stems) == STEMS
    for name, stem in stems.items():
        assert stem.shape == x.shape and stem.dtype == np.float32
        assert np.abs(stem - SHARES[name] * x).max() < 2e-6


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (11025, 2), (48000, 3), (96000, 6), (192_000, 8)])
def test_any_rate_and_channel_count_comes_back_aligned(shares, rate, channels):
    x = song(1.3, rate, channels)[:, : round(1.3 * rate) - 7]
    if rate > 44100:
        spectrum = np.fft.rfft(x)
        spectrum[:, int(18000 / rate * x.shape[1]) :] = 0
        x = np.fft.irfft(spectrum, x.shape[1]).astype(np.float32)
    stems = shares.separate(x, rate)
    inner = slice(rate // 20, -rate // 20)
    for name, stem in stems.items():
        assert stem.shape == x.shape
        for channel in range(channels):
            assert snr(SHARES[name] * x[channel, inner], stem[channel, inner]) > 55
            assert snr(SHARES[name] * x[channel], np.roll(stem[channel], 1)) < 30  # one sample off would be seen


def test_channels_are_separated_in_pairs(drawn):
    separator = Separator(drawn, threads=1)
    x = song(1.5, channels=5)
    whole = separator.separate(x, 44100)["drums"]
    assert np.array_equal(whole[:2], separator.separate(x[:2], 44100)["drums"])
    assert np.array_equal(whole[2:4], separator.separate(x[2:4], 44100)["drums"])
    doubled = separator.separate(np.stack([x[4], x[4]]), 44100)["drums"]
    assert np.abs(whole[4] - doubled.mean(axis=0)).max() < 1e-7
    assert not np.allclose(whole[:2], whole[2:4], atol=1e-3)


@pytest.mark.parametrize(
    ("rate", "out_rate", "shifts"),
    [
        (44100, None, 0), (44100, None, 2), (44100, 48000, 0), (48000, None, 1), (8000, None, 0), (22050, 24000, 0),
        (96000, 48000, 1),
    ],  # fmt: skip
)
def test_a_range_has_the_bits_of_the_whole_run(drawn, rate, out_rate, shifts):
    separator = Separator(drawn, threads=1, shifts=shifts, chunk_seconds=0.4)
    x = song(2.3, rate)
    whole = np.concatenate(list(separator.stream(in_blocks(x), rate, 2, out_rate=out_rate)), axis=-1)
    out = out_rate or rate
    assert whole.shape == (4, 2, resampled_length(x.shape[1], rate, out))
    length = x.shape[1]
    ends = [(round(0.9 * rate), round(1.1 * rate)), (0, 5), (round(2.1 * rate), length + 10 * rate), (length - 2, None)]
    for start, stop in ends:
        pairs = list(separator.stream_with_mixture(in_blocks(x, 7919), rate, 2, out_rate=out_rate, start=start, stop=stop))
        mixture = np.concatenate([pair[0] for pair in pairs], axis=-1)
        part = np.concatenate([pair[1] for pair in pairs], axis=-1)
        first = resampled_length(start, rate, out)
        last = None if stop is None else resampled_length(stop, rate, out)
        assert np.array_equal(part, whole[..., first:last])
        assert mixture.shape == part.shape[1:]
        if out == rate:
            assert np.array_equal(mixture, x[:, start:stop])


def test_a_range_beyond_the_end_is_empty(shares):
    assert list(shares.stream(in_blocks(song(1.0)), 44100, 2, start=50_000, stop=60_000)) == []


def test_a_range_runs_only_the_chunks_that_touch_it(drawn, monkeypatch):
    separator, calls = Separator(drawn, threads=1), []
    real = Separate.separate
    monkeypatch.setattr(Separate, "separate", lambda self, x: calls.append(1) or real(self, x))
    list(separator.stream(in_blocks(song(12.0)), 44100, 2, start=8 * 44100, stop=8 * 44100 + 9000))
    assert 1 <= len(calls) <= 2


def test_the_mean_of_two_models_on_grids_of_their_own(tmp_path):
    a = known_models.save(tmp_path / "a.safetensors", known_models.system({n: 0.4 for n in STEMS}))
    other = known_models.system({n: 0.2 for n in reversed(STEMS)} | {"bass": 0.6}, chunk_seconds=0.63)
    b = known_models.save(tmp_path / "b.safetensors", other)
    both = Separator(f"{a}+{b}", threads=1)
    assert both.name == "a+b"
    x = song(2.5, 48000)
    stems = both.separate(x, 48000)
    for name, share in {"vocals": 0.3, "drums": 0.3, "bass": 0.5, "other": 0.3}.items():
        assert snr(share * x[:, 2000:-2000], stems[name][:, 2000:-2000]) > 55
    part = np.concatenate(list(both.stream(in_blocks(x), 48000, 2, start=60_000, stop=70_000)), axis=-1)
    assert np.array_equal(part[0], stems["vocals"][:, 60_000:70_000])


def test_models_that_do_not_fit_together_are_refused(tmp_path):
    a = known_models.save(tmp_path / "a.safetensors", known_models.system())
    b = known_models.save(tmp_path / "b.safetensors", known_models.system({"vocals": 0.5, "rest": 0.5}))
    with pytest.raises(ConfigError, match="same stems and rate.*rest.*one at a time"):
        Separator(f"{a}+{b}")


def test_a_plus_in_a_file_name_is_no_mean(tmp_path):
    made = known_models.save(tmp_path / "a+b.safetensors", known_models.system())
    assert Separator(made).name == "a+b"


def test_shifts_average_over_moved_grids(drawn):
    x = song(3.0)
    plain = Separator(drawn, threads=1).separate(x, 44100)["vocals"]
    shifted = Separator(drawn, threads=1, shifts=1).separate(x, 44100)["vocals"]
    again = Separator(drawn, threads=1, shifts=1).separate(x, 44100)["vocals"]
    assert np.array_equal(shifted, again) and not np.array_equal(plain, shifted)
    # the second grid begins half a hop of silence earlier
    hop = 44100 - round(44100 * 0.25)
    moved = Separator(drawn, threads=1).separate(np.pad(x, ((0, 0), (hop // 2, 0))), 44100)["vocals"][:, hop // 2 :]
    assert np.abs((plain + moved) / 2 - shifted).max() < 1e-6


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_overlap_and_chunk_are_free(overlap):
    separator = Separator(known_models.system(), threads=1, overlap=overlap, chunk_seconds=0.3)
    x = song(1.1, 44100)
    assert np.abs(separator.separate(x, 44100)["vocals"] - 0.4 * x).max() < 2e-6
    y = song(1.1, 22050)
    pairs = list(separator.stream_with_mixture(in_blocks(y, 100), 22050, 2, out_rate=48000))
    assert sum(stems.shape[-1] for _, stems in pairs) == resampled_length(y.shape[1], 22050, 48000)


def test_a_mono_model_takes_channels_one_by_one():
    separator = Separator(known_models.system(channels=1), threads=1)
    x = song(1.2, channels=3)
    assert np.abs(separator.separate(x, 44100)["other"] - 0.1 * x).max() < 2e-6


def test_only_named_stems_are_returned(shares):
    assert list(shares.separate(song(0.2), 44100, stems=["bass", "vocals"])) == ["bass", "vocals"]
    with pytest.raises(ConfigError, match="did you mean 'drums'"):
        shares.separate(song(0.2), 44100, stems=["drum"])


def test_silence_stays_silence(drawn):
    stems = Separator(drawn, threads=1).separate(np.zeros((2, 60_000), np.float32), 44100)
    assert all(np.abs(stem).max() < 1e-6 for stem in stems.values())


def test_progress_rises_to_one_and_may_stop(shares):
    seen = []
    shares.separate(song(4.0), 44100, progress=seen.append)
    assert len(seen) >= 4 and seen == sorted(seen) and seen[-1] == 1.0
    with pytest.raises(Cancelled, match="said stop"):
        shares.separate(song(4.0), 44100, progress=lambda fraction: fraction < 0.5)


def test_cancel_stops_from_another_thread(shares):
    cancel, seen = threading.Event(), []

    def endless():
        while True:
            yield np.zeros((2, 44100), np.float32)

    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    with pytest.raises(Cancelled):
        for block in shares.stream(endless(), 44100, 2, cancel=cancel):
            seen.append(block.shape)
    timer.join()


def test_the_number_of_threads_of_the_process_is_left_alone():
    before = torch.get_num_threads()
    counts = []
    made = known_models.system()
    made.separate = lambda x: counts.append(torch.get_num_threads()) or torch.zeros(1, 4, *x.shape[1:])
    Separator(made, threads=before + 1).separate(song(0.1), 44100)
    assert counts == [before + 1] and torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("array", "rate", "words"),
    [
        (np.zeros((2, 0), np.float32), 44100, "no samples"),
        (np.zeros(100, np.float32), 44100, "channels, samples"),
        (np.zeros((4000, 2), np.float32), 44100, "transpose"),
        (np.zeros((2, 100), np.int16), 44100, "int16"),
        (np.full((2, 100), np.nan, np.float32), 44100, "NaN"),
        (np.zeros((2, 100), np.float32), 10, "sampling rate"),
    ],
)
def test_an_array_that_is_no_audio_is_refused(shares, array, rate, words):
    with pytest.raises(InputError, match=words):
        shares.separate(array, rate)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"overlap": 1.0}, "overlap"), ({"overlap": float("nan")}, "overlap"), ({"shifts": -1}, "shifts"),
        ({"chunk_seconds": 0}, "chunk-seconds"),
        ({"threads": 0}, "threads"), ({"device": "gpu"}, "device"), ({"device": "cuda:99"}, "none that torch can use"),
        ({"precision": "bf16"}, "did you mean 'bfloat16'"), ({"model": "bsrnn-smal"}, "name of a model"),
        ({"model": "no/such.safetensors"}, "no such file"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_one_sentence(options, words):
    with pytest.raises(ConfigError, match=words) as error:
        Separator(**{"model": known_models.system(), **options})
    assert "\n" not in str(error.value) and "found" in str(error.value)


def test_free_threads_leave_room_for_others(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(hardware, "_physical_cores", lambda: 8)
    monkeypatch.setattr(hardware, "_quota", lambda: None)
    monkeypatch.setattr("os.getloadavg", lambda: (2.6, 0, 0))
    assert hardware.free_threads() == 5 and hardware.free_threads(jobs=2) == 2 and hardware.free_threads(jobs=9) == 1
    monkeypatch.setattr("os.getloadavg", lambda: (50.0, 0, 0))
    assert hardware.free_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert hardware.free_threads() == 3
    monkeypatch.setattr(hardware, "_quota", lambda: 2)
    assert hardware.free_threads() == 2


def test_the_systems_own_long_separation_is_the_same_machine(drawn):
    x = song(2.7)
    own = drawn.separate_long(torch.from_numpy(x)).numpy()
    ours = Separator(drawn, threads=1).separate(x, 44100)
    assert np.array_equal(own, np.stack(list(ours.values())))


def test_memory_does_not_grow_with_the_song(monkeypatch):
    # a quick stand-in for the net, so that the plumbing's memory is what is measured
    monkeypatch.setattr(Separate, "separate", lambda self, x: x[:, None].repeat(1, 4, 1, 1))
    separator = Separator(known_models.system(), threads=1, shifts=1)

    def peak(minutes, **options):
        blocks = (np.zeros((2, 65536), np.float32) for _ in range(round(minutes * 60 * 24000 / 65536)))
        tracemalloc.start()
        for _ in separator.stream_with_mixture(blocks, 24000, 2, **options):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    short = peak(0.5)
    assert peak(3.0) < 1.05 * short
    assert peak(3.0, start=160 * 24000, stop=165 * 24000) < 1.05 * short


def test_bfloat16_is_near_float32(drawn):
    x = song(1.0)
    exact = Separator(drawn, threads=1).separate(x, 44100)["bass"]
    rough = Separator(drawn, threads=1, precision="bfloat16").separate(x, 44100)["bass"]
    assert rough.dtype == np.float32 and not np.array_equal(rough, exact)
    assert snr(exact, rough) > 25


def test_an_outline_is_what_the_separator_will_be(tmp_path):
    one = known_models.save(tmp_path / "one.safetensors", known_models.system())
    two = known_models.save(tmp_path / "two.safetensors", known_models.system({name: 0.25 for name in reversed(known_models.STEMS)}))
    for model in (one, f"{two}+{one}", str(two), known_models.system()):
        whole, known = Separator(model), models.outline(model)
        assert (known.name, known.stems) == (whole.name, whole.stems)
    made = known_models.system()
    checkpoint.save(tmp_path / "state.safetensors", made.state_dict(), Checkpoint("separate", {}, {}, kind="state"))
    checkpoint.save(tmp_path / "new.safetensors", made.state_dict(), Checkpoint("separate", {"magic": 1}, {}))
    for name in ("state", "new"):
        for build in (Separator, models.outline):
            with pytest.raises(CheckpointError, match="found a state|magic"):
                build(tmp_path / f"{name}.safetensors")
