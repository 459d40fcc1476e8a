"""Keep in a file what can be read but once: standard input, named pipes."""

import os
import select
import tempfile
from collections.abc import Iterable, Iterator

from songfoundry.audio.limits import MAX_STDIN_BYTES
from songfoundry.errors import AudioError

__all__ = ["PIPE_SECONDS", "from_pipe", "spool"]

PIPE_SECONDS = 60
"""So long a pipe that nothing comes through is waited for."""


def from_pipe(path: str, name: str) -> Iterator[bytes]:
    """Read what comes through a named pipe, or one that a shell puts in a file's place; a writer that never comes is not waited for."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        while True:
            if not poll.poll(1000 * PIPE_SECONDS):
                found = f"found nothing for {PIPE_SECONDS} s"
                raise AudioError(f"expected sound from the pipe {name}, {found}; see that a program writes to it")
            if not (chunk := os.read(handle, 1 << 20)):
                return
            yield chunk
    finally:
        os.close(handle)


def spool(chunks: Iterable[bytes], name: str) -> str:
    """Copy what can be read but once to a temporary file and return its path."""
    handle, path = tempfile.mkstemp(prefix="songfoundry-", suffix=".stdin")
    total = 0
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                total += len(chunk)
                if total > MAX_STDIN_BYTES:
                    raise AudioError(f"expected at most {MAX_STDIN_BYTES >> 30} GiB on {name}, found more; give the file by its name")
                file.write(chunk)
    except BaseException:
        os.unlink(path)
        raise
    return path
