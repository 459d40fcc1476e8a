"""Choose the device and the number of threads that a computation may take.

More threads than free cores made torch six to nine times slower on a busy machine, so the default counts what is free:
the physical cores that this process may use, fewer where a container's quota or ``OMP_NUM_THREADS`` says so, less the load
average of the last minute; at least one.
"""

import os
from pathlib import Path

from songfoundry.errors import ConfigError
from songfoundry.registry import nearest

DEVICES = ("auto", "cpu", "cuda", "mps")
"""What `pick_device` takes; ``cuda:1`` names the second GPU."""


def free_threads(jobs: int = 1) -> int:
    """Count the threads that each of ``jobs`` processes may use without slowing the machine; at least 1."""
    cores = _physical_cores()
    quota = _quota()
    if quota is not None:
        cores = min(cores, quota)
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return max(1, min(cores, int(asked)) // jobs)
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):  # no such count on this system
        load = 0.0
    return max(1, (cores - round(load)) // jobs)


def _physical_cores() -> int:
    """Count the physical cores among the processors that this process may run on."""
    try:
        processors = os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return max(1, os.cpu_count() or 1)
    siblings = set()
    for number in processors:
        path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        try:
            siblings.add(path.read_text().strip())
        except OSError:
            return max(1, len(processors))
    return max(1, len(siblings))


def _quota() -> int | None:
    """Read how many processors' time a container may use, rounded up; None where nothing is said."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else max(1, -(-int(limit) // int(period)))
    except (OSError, ValueError):
        return None


def pick_device(name: str = "auto"):
    """Return the `torch.device` of a name; ``auto`` is CUDA where there is one, else MPS, else the CPU.

    Raises
    ------
    ConfigError : no such name, or this machine has no such device.
    """
    import torch

    kind, _, index = name.partition(":")
    if kind not in DEVICES or (index and (kind != "cuda" or not index.isdigit())):
        raise ConfigError(f"expected the name of a device, found {name!r}: {nearest(name, list(DEVICES))}")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    there = {"cpu": lambda: 1, "cuda": torch.cuda.device_count, "mps": lambda: int(torch.backends.mps.is_available())}
    if int(index or 0) >= there[kind]():
        raise ConfigError(f"expected a device {name!r}, found none that torch can use here: choose auto or cpu")
    return torch.device(name)
