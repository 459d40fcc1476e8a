"""Threads and memory that a computation may take."""

import subprocess
import sys

import pytest

from songfoundry import hardware

FAULTS = """
import sys, resource
from songfoundry import hardware
if sys.argv[1] == "keep" and not hardware.keep_memory():
    raise SystemExit(3)
import numpy as np
for turn in range(20):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(40 << 18, np.float32).fill(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_that_is_kept_comes_back_without_page_faults():
    faults = {}
    for how in ("plain", "keep"):
        done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True)
        if done.returncode == 3:
            pytest.skip("no glibc")
        assert done.returncode == 0, done.stderr
        faults[how] = int(done.stdout)
    assert faults["keep"] < faults["plain"] / 4, faults


def test_threads_are_at_least_one_and_shared_by_jobs(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert hardware.free_threads() == 1 and hardware.free_threads(jobs=8) == 1


def test_a_busy_machine_gives_fewer_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(hardware, "_physical_cores", lambda: 8)
    monkeypatch.setattr(hardware, "_quota", lambda: None)
    monkeypatch.setattr(hardware.os, "getloadavg", lambda: (5.2, 0.0, 0.0))
    assert hardware.free_threads() == 3
    monkeypatch.setattr(hardware, "_quota", lambda: 4)
    assert hardware.free_threads() == 1
