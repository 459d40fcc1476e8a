"""Write files aside, sync them and rename them, so that a target is either whole or not there.

A full disk raises late and leaves a short file that still opens; so nothing carries its final name before its last byte is
on the disk.
"""

import errno
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from songfoundry.errors import OutputError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another folder"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another folder"),
    errno.EFBIG: ("the file grew past the size limit", "choose another disk or raise the limit"),
    errno.EACCES: ("the folder may not be written to", "choose another folder"),
    errno.EPERM: ("the folder may not be written to", "choose another folder"),
    errno.EROFS: ("the disk is read-only", "choose another folder"),
    errno.ENOENT: ("its folder does not exist", "make the folder or choose another one"),
    errno.ENOTDIR: ("a part of its path is a file", "choose another folder"),
    errno.EISDIR: ("a folder has that name", "choose another name"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name"),
    errno.EPIPE: ("the program that reads it has stopped", "let it read to the end"),
}


def output_error(path: str | os.PathLike, error: OSError) -> OutputError:
    """Turn the system's refusal to write ``path`` into the sentence for a user."""
    found, remedy = _REASONS.get(error.errno, (error.strerror or str(error), "choose another folder"))
    return OutputError(f"expected to write {_name(path)}, but {found}; {remedy}")


def _name(path: str | os.PathLike) -> str:
    return "standard output" if os.fspath(path) == "-" else f"'{os.fspath(path)}'"


def check_target(path: str | os.PathLike) -> None:
    """Refuse a file that could not be written, before the work whose result it is to hold: no such folder, or none that may be written to.

    Raises:
        OutputError: as said.
    """
    folder = Path(path).absolute().parent
    for wrong, number in (
        (os.path.isdir(path), errno.EISDIR), (not folder.exists(), errno.ENOENT), (not folder.is_dir(), errno.ENOTDIR),
        (not os.access(folder, os.W_OK), errno.EACCES),
    ):  # fmt: skip
        if wrong:
            raise output_error(path, OSError(number, ""))


def check_folder(path: str | os.PathLike) -> None:
    """Refuse a folder whose name a file has, before the work whose results it is to hold.

    Raises:
        OutputError: as said.
    """
    if os.path.lexists(path) and not os.path.isdir(path):
        raise output_error(path, FileExistsError(errno.EEXIST, "a file has that name"))


def same_file(targets: Iterable[str | os.PathLike], sources: Iterable[str | os.PathLike]) -> str | None:
    """Name the first target that is one of the sources, under whatever name; "-" is none of them."""
    read = {_identity(source) for source in sources} - {None}
    return next((os.fspath(target) for target in targets if _identity(target) in read), None)


def spare(targets: Iterable[str | os.PathLike], sources: Iterable[str | os.PathLike], what: str, change: str = "the name") -> None:
    """Refuse to write over files that are read; ``what`` they are and what to ``change`` go into the sentence.

    Raises:
        OutputError: a target is one of the sources.
    """
    if (found := same_file(targets, sources)) is not None:
        raise OutputError(f"expected another file than {what} to write to, found '{found}' in both places: change {change}")


def _identity(path: str | os.PathLike) -> tuple[int, int] | None:
    """Tell a file by its place on the disk; None where there is none."""
    try:
        found = None if os.fspath(path) == "-" else os.stat(path)
    except OSError:
        found = None
    return found and (found.st_dev, found.st_ino)


class AsideFile:
    """Open a binary file that takes its final name only in `commit`.

    The temporary file lies beside the target and its name begins with a dot. The path ``-`` stands for standard output:
    the bytes are gathered in an unnamed file and copied in `commit`, since many formats seek back to their header.

    Raises:
        OutputError: the file cannot be made, written, synced or renamed; nothing is left behind then.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = os.fspath(path)
        self.failure: BaseException | None = None
        self._temporary: Path | None = None
        self._target: Path | None = None
        self._finished = False
        try:
            if self.path == "-":
                self._file = tempfile.TemporaryFile()
                return
            # through a link to the file that it names, so that the link stays a link
            self._target = Path(os.path.realpath(self.path))
            if self._target.is_dir():
                raise IsADirectoryError(errno.EISDIR, "is a folder")
            if self._target.exists() and not self._target.is_file():
                raise OSError(errno.EPERM, "is a device, not a file")
            self._temporary = self._target.with_name(f".songfoundry-{secrets.token_hex(6)}.part")
            descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            self._file = os.fdopen(descriptor, "w+b")
        except OSError as error:
            raise output_error(self.path, error) from error

    # The methods of a binary file. They keep what goes wrong, Ctrl-C too: C code calls them, and loses exceptions.
    def write(self, data) -> int:
        """Write bytes; a failure is kept and raised by the next `check`."""
        if self.failure is not None:
            return 0
        try:
            self._file.write(data)
            return len(data)
        except BaseException as error:
            self.failure = error
            return 0

    def read(self, size: int = -1) -> bytes:
        """Read back bytes that were written."""
        return self._file.read(size)

    def readinto(self, buffer) -> int:
        """Read back bytes into a buffer."""
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the file; a failure to write out what was buffered is kept for `check`."""
        try:
            return self._file.seek(offset, whence)
        except BaseException as error:
            self.failure = self.failure or error
            return 0

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._file.tell()

    def flush(self) -> None:
        """Hand what is buffered to the system; a failure is kept for `check`."""
        try:
            self._file.flush()
        except BaseException as error:
            self.failure = self.failure or error

    def check(self) -> None:
        """Raise what an earlier write met; the caller then calls `discard`, after whoever else holds this file has let go.

        Raises:
            OutputError: a write failed.
        """
        if self.failure is not None:
            if not isinstance(self.failure, OSError):
                raise self.failure
            raise output_error(self.path, self.failure) from self.failure

    def sync(self) -> None:
        """Put all bytes on the disk, still under the temporary name, so that `commit` has only the renaming left to do.

        Raises:
            OutputError: they do not fit there; the caller then calls `discard`.
        """
        try:
            self.check()
            self._file.flush()
            if self._target is not None:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise output_error(self.path, error) from error

    def commit(self) -> None:
        """Sync the file and give it its final name (or copy it to standard output)."""
        try:
            self.check()
            self._file.flush()
            if self._target is None:
                self._file.seek(0)
                shutil.copyfileobj(self._file, sys.stdout.buffer, 1 << 20)
                sys.stdout.buffer.flush()
                self._file.close()
            else:
                os.fsync(self._file.fileno())
                self._file.close()
                os.replace(self._temporary, self._target)
                _sync_folder(self._target.parent)
        except OSError as error:
            self.discard()
            raise output_error(self.path, error) from error
        except BaseException:
            self.discard()
            raise
        self._finished = True

    def discard(self) -> None:
        """Remove the temporary file; a second call does nothing."""
        if self._finished:
            return
        self._finished = True
        try:
            self._file.close()
        except OSError:
            pass  # the disk is full: what was buffered is thrown away with the file
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> "AsideFile":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None and not self._finished:
            self.commit()
        else:
            self.discard()


class AsideFolder:
    """Gather the files of one result in a hidden folder, which take their places together in `commit`; a context manager.

    Args:
        out: the folder that they are for; it is made where there is none, and goes again if nothing comes into it.
        spared: files that must not be overwritten (what the result was made from).
        made_from: what a sentence calls them.

    Attributes:
        folder: where the files are written meanwhile.

    Raises:
        OutputError: the folder cannot be made or written to; nothing is left behind then.
    """

    def __init__(self, out: str | os.PathLike, spared: Sequence[str | os.PathLike] = (), made_from: str = "source") -> None:
        self.out, self._spared, self._made_from = Path(out), spared, made_from
        self.folder = self.out / f".songfoundry-{secrets.token_hex(6)}.part"

    def __enter__(self) -> "AsideFolder":
        self._new = not self.out.exists()
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise output_error(self.out, error) from error
        return self

    def commit(self) -> list[Path]:
        """Give all files their places, and list them in the order of their names."""
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        targets = [self.out / path.relative_to(self.folder) for path in files]
        spare(targets, self._spared, f"the {self._made_from}", "--out")
        for target in targets:
            if target.is_dir():
                raise output_error(target, IsADirectoryError(errno.EISDIR, "a folder has that name"))
        for path, target in zip(files, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
        return targets

    def __exit__(self, kind, error, trace) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._new and self.out.is_dir() and not os.listdir(self.out):
            self.out.rmdir()
        if isinstance(error, OSError):
            raise output_error(self.out, error) from error


def _sync_folder(folder: Path) -> None:
    """Sync a folder's entries, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def write_atomic_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write a whole file at once, or nothing.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    with AsideFile(path) as file:
        file.write(data)


def write_atomic_text(path: str | os.PathLike, text: str) -> None:
    """Write a whole UTF-8 text file at once, or nothing.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    write_atomic_bytes(path, text.encode("utf-8"))


@contextmanager
def folder_of(out: str | os.PathLike) -> Iterator[None]:
    """Make the folder that a file is to lie in; if nothing comes of it, it goes again."""
    folder = Path(out).parent
    new = os.fspath(out) != "-" and not folder.exists()
    try:
        if new:
            folder.mkdir(parents=True)
        yield
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        if new and folder.is_dir() and not os.listdir(folder):
            folder.rmdir()
