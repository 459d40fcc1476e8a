"""Hold the model that a verb works with: found by its name, loaded once, on a device, with a number of threads of its own."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from songfoundry import checkpoint
from songfoundry.errors import CheckpointError, ConfigError
from songfoundry.hardware import free_threads, pick_device

__all__ = ["Engine", "threads_of"]


def threads_of(threads: int | None) -> int:
    """Give a number of threads, the cores that are free now for None; raises `ConfigError` for one that there is not."""
    if threads is not None and not 1 <= threads <= 1024:
        raise ConfigError(f"expected threads from 1 to 1024, found {threads}: choose another number")
    return threads or free_threads()


class Engine:
    """Hold one model, ready to work any number of times.

    Parameters
    ----------
    model : name of a shipped or local model, path of a `.safetensors`, or a system that is built.
    device : "auto", "cpu", "cuda", "cuda:1" or "mps". threads : CPU threads; None for the cores that are free now.
    find : gives the file of a name. kinds : names of the systems that will do. does : what they do, for the sentence where another comes.

    Attributes
    ----------
    system : the model. name : of its file, or of its net. device, threads : where it works.

    Raises
    ------
    ConfigError : an unknown model or device. CheckpointError : the file is damaged, or its system will not do.
    """

    def __init__(
        self, model: str | os.PathLike | nn.Module, device: str, threads: int | None, *, find: Callable[[str | os.PathLike], Path],
        kinds: Sequence[str], does: str,
    ):  # fmt: skip
        self.threads, self.device = threads_of(threads), pick_device(device)
        if isinstance(model, nn.Module):
            self.system, self.name = model.eval(), model.config.net
        else:
            path = find(model)
            about = checkpoint.read_header(path)
            if about.system not in kinds:
                raise CheckpointError(f"expected a model that {does}, found {path.stem}, made to {about.system}: use another")
            self.system, self.name = checkpoint.load(path), path.stem
        self.system.to(self.device)

    @contextmanager
    def threaded(self) -> Iterator[None]:
        """Work with this model's number of threads, and give torch back its own."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
