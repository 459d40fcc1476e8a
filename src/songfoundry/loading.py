"""Load batches of draws for the trainer, in processes of their own."""

import signal
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from songfoundry.errors import SongfoundryError, TrainingError


def batches(
    draws, *, first: int, count: int, batch: int, workers: int, world: int, rank: int, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """Load `count` batches from example `first` on; of several devices (`world`) each takes its share of the numbers.

    Raises
    ------
    TrainingError : a loader's process died.
    """
    numbers = (range(start, start + batch) for start in (first + (part * world + rank) * batch for part in range(count)))
    loader = DataLoader(
        draws, batch_sampler=numbers, num_workers=workers, prefetch_factor=4 if workers else None,
        worker_init_fn=_begin_worker, pin_memory=device.type == "cuda",
    )  # fmt: skip
    try:
        for drawn in loader:
            yield {name: value.to(device, non_blocking=True) for name, value in drawn.items()}
    except SongfoundryError as error:
        # From a worker it comes with that worker's traceback in front.
        raise type(error)(str(error).strip().splitlines()[-1].rpartition("Error: ")[2]) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"expected the processes that draw examples to live, found one killed ({str(error).splitlines()[0].rstrip('. ')}): "
            "free memory or room in /dev/shm, or draw in the first process by --set train.workers=0"
        ) from None


def _begin_worker(_number: int) -> None:
    """Keep a loader's process to one thread, and leave Ctrl-C to the trainer, who ends it in good order."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
