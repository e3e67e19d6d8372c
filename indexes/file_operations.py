"""Every change that an index makes to the disk, one function for each kind, so that all of them can be watched.

The order of these operations is what makes a collection survive a crash. `watch` shows each of them to an observer just
before it happens: a test can count them, record them, make one fail, or kill the process between any two. Files are
created anew, never opened for changing, and never through a symbolic link: what a link in a crafted directory points to
is not ours to write.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

OperationKind = Literal["make_directory", "create", "write", "sync", "rename", "remove", "remove_directory"]

_BUFFER = 1 << 20
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Operation:
    """One change that is about to happen.

    Attributes:
        kind: what it is; "sync" makes durable what was written to a file, or the names in a directory.
        path: the file or directory.
        target: where a "rename" leads.
        offset: where a "write" begins.
        content: what a "write" writes; valid only during the call, for buffers are used again.
    """

    kind: OperationKind
    path: Path
    target: Path | None = None
    offset: int = 0
    content: bytes | memoryview = b""


Observer = Callable[[Operation], None]

_observers: list[Observer] = []


@contextlib.contextmanager
def watch(observer: Observer) -> Iterator[None]:
    """Call `observer` before every operation of this process while the block runs, in whatever thread it happens.

    What the observer raises is raised by the operation, which then does not happen.
    """
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def _announce(operation: Operation) -> None:
    for observer in _observers:
        observer(operation)


class _File(io.RawIOBase):
    """A new file that announces what is written to it; `create` puts a buffer in front."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._descriptor: int | None = None  # for `close`, which also runs when there is nothing to close
        _announce(Operation("create", path))
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY, 0o666)
        self._position = 0

    @property
    def name(self) -> str:
        return str(self.path)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = os.lseek(self.fileno(), offset, whence)
        return self._position

    def fileno(self) -> int:
        if self._descriptor is None:
            raise ValueError(f"{self.path} is closed")
        return self._descriptor

    def tell(self) -> int:
        return self._position

    def write(self, content) -> int:  # type: ignore[no-untyped-def] # noqa: ANN001 - any buffer, as in `io`
        view = memoryview(content).cast("B")
        _announce(Operation("write", self.path, offset=self._position, content=view))
        written = os.write(self.fileno(), view)
        self._position += written
        return written

    def close(self) -> None:
        super().close()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def create(path: Path) -> BinaryIO:
    """Open a new file for writing and seeking, buffered.

    Raises:
        FileExistsError: there is one already.
        OSError: as the system says.
    """
    return io.BufferedWriter(_File(path), _BUFFER)


def write_file(path: Path, content: bytes) -> None:
    """Write a new file; FileExistsError where there is one already."""
    with create(path) as file:
        file.write(content)


def make_directory(path: Path) -> None:
    """Create a directory in an existing one; FileExistsError where there is one already."""
    _announce(Operation("make_directory", path))
    path.mkdir()


def sync(path: Path) -> None:
    """Make a file's content, or the names in a directory, durable."""
    _announce(Operation("sync", path))
    try:
        descriptor = os.open(path, os.O_RDONLY | _BINARY)
    except PermissionError:
        if os.name == "nt" and path.is_dir():
            return  # Windows cannot open directories; there the file system journals renames by itself
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems refuse this for directories, which they write by themselves (PostgreSQL does the
        # same); a file must be synced.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def rename(path: Path, target: Path) -> None:
    """Give a file another name, replacing what had it, in one step."""
    _announce(Operation("rename", path, target))
    path.replace(target)


def remove(path: Path) -> None:
    """Remove a file or a symbolic link; nothing happens when it is not there."""
    _announce(Operation("remove", path))
    path.unlink(missing_ok=True)


def remove_directory(path: Path) -> None:
    """Remove an empty directory."""
    _announce(Operation("remove_directory", path))
    path.rmdir()


def remove_tree(path: Path) -> None:
    """Remove a file, or a directory and what is in it; symbolic links are removed, not followed.

    What cannot be removed stays: leftovers do no harm, and the next writer tries again.
    """
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(OSError):
            remove(path)
        return
    found, waiting = [], [path]  # not by recursion: somebody may have nested directories beyond Python's limit
    while waiting:
        found.append(waiting.pop())
        with contextlib.suppress(OSError), os.scandir(found[-1]) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    with contextlib.suppress(OSError):
                        remove(Path(entry.path))
    for directory in reversed(found):
        with contextlib.suppress(OSError):
            remove_directory(directory)
