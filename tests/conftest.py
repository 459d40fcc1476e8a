"""Fixtures for all rooms."""

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of real data, or skip the test."""
    named = os.environ.get("SONGFOUNDRY_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {'SONGFOUNDRY_DATA' if named else 'shared/data beside the checkout'} is not a folder")
    return folder


@pytest.fixture(scope="session")
def soundfont() -> Path:
    """Give a General MIDI SoundFont that the system has, or skip the test."""
    folders = [Path("/usr/share/sounds/sf2"), Path("/usr/share/soundfonts")]
    for name in ("FluidR3_GM.sf2", "default-GM.sf2", "TimGM6mb.sf2"):
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    pytest.skip("no SoundFont (Debian: fluid-soundfont-gm)")


@pytest.fixture(autouse=True)
def _one_thread():
    """Keep torch, where a test file has imported it, to one thread: a busy machine makes more of them slower."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
