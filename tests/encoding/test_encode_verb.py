"""Round trips and series of sounds: streamed, so that an hour takes no more memory than ten minutes."""

import numpy as np
import pytest
import soundfile
import tiny_codec
from tiny_codec import RATE

from songfoundry.audio import io
from songfoundry.encoding import verb
from songfoundry.encoding.encoder import Encoder
from songfoundry.encoding.keeping import Loudest, Same, Seen
from songfoundry.metrics.audio import scores


@pytest.fixture(scope="module")
def vae():
    return Encoder(tiny_codec.system("vae"), "cpu", 1)


def stereo(seconds=6.0):
    noise = 0.02 * np.random.default_rng(0).standard_normal((2, round(seconds * RATE))).astype(np.float32)
    noise[:, 3 * RATE : 5 * RATE] *= 5
    return noise


@pytest.mark.parametrize("size", [1000, 8000, 20001])
def test_the_loudest_stretch_of_a_stream_is_kept(size):
    sound = stereo()[:, :-123]
    kept, beginning = Loudest(RATE, 2.5), Seen(RATE + 7)
    blocks = [sound[:, at : at + size] for at in range(0, sound.shape[1], size)]
    assert np.array_equal(np.concatenate(list(beginning.through(kept.through(blocks))), 1), sound)
    assert kept.first == 3 * RATE and np.array_equal(kept.samples, sound[:, 3 * RATE : 5 * RATE])
    assert kept.length == sound.shape[1] and kept.peak == np.abs(sound).max()
    same = Same(kept)
    assert sum(block.shape[1] for block in same.through(np.array_split(sound, 7, 1))) == sound.shape[1]
    assert np.array_equal(same.samples, kept.samples) and np.allclose(beginning.samples, sound[:, : RATE + 7].mean(0))
    whole = Loudest(RATE, 6)
    list(whole.through([0 * sound]))
    assert whole.first == 0 and whole.samples.shape == sound.shape, "all of what is no longer, silence too"


def test_of_a_long_sound_a_part_is_scored_and_it_is_said(vae, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", stereo().T, RATE, subtype="FLOAT")
    whole = verb.roundtrip(tmp_path / "a.wav", model=vae, iterations=1)
    assert whole.said == [] and whole.sounds[0].shape == (2, 6 * RATE)
    monkeypatch.setattr(verb, "_MOST_SCORED", 4.0)
    part = verb.roundtrip(tmp_path / "a.wav", model=vae, iterations=1, out=tmp_path / "o")
    assert part.said[0] == "scores are of the loudest part, from second 3 to 5" and part.sounds == []
    stretch = slice(3 * RATE, 5 * RATE)
    assert part.scores == pytest.approx(scores(stereo()[:, stretch], whole.sounds[0][:, stretch], RATE))
    written = io.read(part.paths[0]).samples
    assert written.shape == (2, 6 * RATE) and np.allclose(written, whole.sounds[0].clip(-1, 1), atol=1e-4)


def test_each_sound_is_written_before_the_next_is_decoded(vae, tmp_path, monkeypatch):
    order, decode, write = [], vae.decode_blocks, verb._write
    monkeypatch.setattr(vae, "decode_blocks", lambda *given, **options: order.append("decode") or decode(*given, **options))

    def writing(*given):
        write(*given)
        order.append("written")

    monkeypatch.setattr(verb, "_write", writing)
    made = verb.sample(3, seconds=0.5, model=vae, out=tmp_path / "o")
    assert order == ["decode", "written"] * 3 and made.sounds == [] and len(made.latents) == 1 and made.seconds == 1.5
    assert len(verb.sample(3, seconds=0.5, model=vae).sounds) == 3
