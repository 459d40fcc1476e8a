import sys
from importlib import util

import numpy as np
import pytest

from songfoundry.errors import InputError, MissingExtraError
from songfoundry.metrics.bsseval import bss_eval

RATE = 8000


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(0.1)


def test_it_needs_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "museval", None)
    with pytest.raises(MissingExtraError, match=r"songfoundry\[museval\]"):
        bss_eval(noise(2, 1, 100), noise(2, 1, 100), 50)


@pytest.mark.skipif(util.find_spec("museval") is None, reason="no museval")
def test_it_needs_no_program_of_the_system(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] in ("museval", "musdb", "stempeg")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("PATH", str(tmp_path))  # museval's own package refuses to be imported without ffmpeg
    bss_eval(noise(2, 1, RATE), noise(2, 1, RATE, seed=1), RATE, filter_taps=2)


@pytest.mark.skipif(util.find_spec("museval") is None, reason="no museval")
def test_it_gives_all_four_and_refuses_silence():
    references = noise(2, 1, 2 * RATE)
    interference = references + 0.5 * references[::-1]
    scores = bss_eval(references, interference, RATE, filter_taps=4)
    assert set(scores) == {"SDR", "ISR", "SIR", "SAR"} and all(s.shape == (2, 2) for s in scores.values())
    assert (scores["SAR"] > scores["SIR"] + 20).all()  # all the error is interference
    references[1] = 0
    with pytest.raises(InputError, match="reference 1 is silent"):
        bss_eval(references, interference, RATE)
