"""Hours of audio: the peak memory of a long song is that of a short one."""

import subprocess
import sys

import known_models
import numpy as np
import pytest
from known_models import song

from songfoundry.audio import io

CODE = """
import resource, sys
import songfoundry
songfoundry.separate(sys.argv[1], model=sys.argv[2], out=sys.argv[3], format=sys.argv[4], threads=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.long
@pytest.mark.parametrize("format", ["flac", "ogg"])
def test_an_hour_takes_the_memory_of_three_minutes(tmp_path, format):
    weights = known_models.save(tmp_path / "m.safetensors", known_models.system(chunk_seconds=8.0))
    minute = song(60.0, 22050, 1)
    peaks = []
    for minutes in (3, 60):
        with io.open_writer(tmp_path / "song.flac", rate=22050, channels=1) as writer:
            for _ in range(minutes):
                writer.write(minute)
        command = [sys.executable, "-c", CODE, str(tmp_path / "song.flac"), str(weights), str(tmp_path / "o"), format]
        done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
        info = io.probe(tmp_path / "o" / "song" / f"bass.{format}")
        assert info.frames == minutes * minute.shape[1]
    with io.open_reader(tmp_path / "o" / "song" / f"vocals.{format}") as reader:
        end = np.concatenate(list(reader.blocks(start=(60 * 60 - 5) * 22050)), axis=1)
    if format == "flac":
        assert np.abs(end - 0.4 * minute[:, -end.shape[1] :]).max() < 1e-3  # still in its place after an hour
    assert peaks[1] < 1.1 * peaks[0], peaks
