"""Choose the device and the number of threads that a computation may take, and how its memory is kept.

More threads than free cores made torch six to nine times slower on a busy machine, so the default counts what is free:
the physical cores that this process may use, fewer where a container's quota or ``OMP_NUM_THREADS`` says so, less the load
average of the last minute; at least one.
"""

import ctypes
import os
import sys
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


def keep_memory() -> bool:
    """Tell glibc, for the whole process from now on, to keep freed memory for reuse; returns whether it does.

    The same large arrays are wanted for every chunk and every step; glibc gives them back to the kernel and asks for them
    anew, zeroed, page by page. Kept, a chunk takes 0.56 to 0.76 times the CPU time and a training step half of it, to the
    same bits (benchmarks/allocator.py, docs/speed.md). Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl, say
        return False
    # M_MMAP_MAX: nothing by mmap; M_TRIM_THRESHOLD: nothing given back below 2 GiB free on top; M_TOP_PAD: grow by 256 MiB.
    settings = ((-4, 0), (-1, 2**31 - 1), (-2, 256 << 20))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])


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


def training_precision(accelerator: str) -> str:
    """Choose bf16 beside float32 where the device that an accelerator means multiplies in it, else float32; as Fabric names them."""
    import torch

    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator == "mps" or (accelerator != "cpu" and torch.backends.mps.is_available()):
        return "32-true"
    processor = torch.cpu.get_capabilities()
    return "bf16-mixed" if processor.get("avx512_bf16") or processor.get("amx_bf16") else "32-true"
