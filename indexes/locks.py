"""One writer at a time: a lock that the kernel holds for a process and releases when it dies.

POSIX record locks belong to a process: a forked child does not inherit them, a killed holder cannot leave one behind.
The file's content (process id, start) is for the message to the one who has to wait; it has no meaning as a lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
import sys
import threading
import weakref
from pathlib import Path
from types import TracebackType

from indexes.errors import LockedError, StorageError
from indexes.plain_files import open_plain

# Neither through a link, whose target is not ours to write, nor waiting for the other end of a pipe.
_OPENING = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

# Record locks do not exclude threads of one process from each other, and closing *any* descriptor of the file drops the
# process's lock. So a process notes here what it holds and opens the file only when it does not hold it. Weakly: a lock
# that an interrupt kept from being released goes with its object.
_held_here: weakref.WeakValueDictionary[Path, WriterLock] = weakref.WeakValueDictionary()
_guard = threading.RLock()  # entered again where an object is collected while its thread is in here


def _renew_guard() -> None:
    global _guard  # noqa: PLW0603 - another thread of the parent may have held it at the time of the fork
    _guard = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_guard)


class WriterLock:
    """Exclusive right to write to a directory, as a context manager; fails at once when somebody else has it.

    Args:
        path: the lock file; created when missing, never removed (removing it would let two processes lock two files).

    Raises:
        LockedError: another process, or another writer of this process, holds the lock; the message says which.
        StorageError: the file system does not support locks, or does not allow writing.
    """

    _descriptor: int | None = None
    _owner_process: int | None = None

    def __init__(self, path: Path) -> None:
        self._path = path.parent.resolve() / path.name  # one directory, one lock, whatever links lead to it

    def __enter__(self) -> WriterLock:
        with _guard:
            if (holder := _held_here.get(self._path)) is not None and holder.is_held():
                raise LockedError(f"{self._path.parent} is being written by this process already; finish that first")
            self._owner_process = os.getpid()
            self._descriptor = _open_and_lock(self._path)
            _held_here[self._path] = self
        return self

    def is_held(self) -> bool:
        """Tell whether this process holds the lock; a forked child does not hold its parent's."""
        return self._descriptor is not None and self._owner_process == os.getpid()

    def is_current(self) -> bool:
        """Tell whether this process holds the lock, and the directory has not been removed and made anew since."""
        with _guard:
            return self._descriptor is not None and self.is_held() and _is_at(self._descriptor, self._path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the lock up; nothing happens when it is not held, so that it can be done again after an interrupt."""
        with _guard:
            if self.is_held():  # a forked child leaves its parent's lock alone
                descriptor, self._descriptor = self._descriptor, None
                os.close(descriptor)  # type: ignore[arg-type] # closing releases the lock

    def __del__(self) -> None:
        if self._descriptor is not None:
            self.release()


def _open_and_lock(path: Path) -> int:
    try:
        descriptor = os.open(path, _OPENING, 0o644)
    except OSError as error:
        if path.is_symlink():
            raise StorageError(f"{path} is a symbolic link, which is not followed; remove it") from None
        raise StorageError(f"cannot write to {path.parent}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageError(f"{path} is not a plain file; remove it")
    try:
        _lock(descriptor)
    except OSError as error:
        holder = _holder(descriptor)
        os.close(descriptor)
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise LockedError(f"{path.parent} is being written by {holder}; try again when it has finished") from None
        raise StorageError(f"{path.parent} is on a file system without locks ({error.strerror}); use another") from None
    if not _is_at(descriptor, path):
        # It was removed, with its directory or by whoever undid a creation, since it was opened: this locks nothing.
        os.close(descriptor)
        return _open_and_lock(path)
    with contextlib.suppress(OSError):
        if os.fstat(descriptor).st_nlink == 1:  # with a second name, its content is also somebody else's
            note = f"process {os.getpid()} on {socket.gethostname()}\n".encode()
            os.ftruncate(descriptor, os.write(descriptor, note))  # in this order: the refused always find a name
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is the one that is found under a name."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def holding_process(path: Path) -> int | None:
    """Return the id of the other process that holds the lock in a file, without touching it.

    None where nobody does, where there is no such file, and where the system does not say.
    """
    place = path.parent.resolve() / path.name
    with _guard, contextlib.suppress(OSError, StorageError):
        if (held := _held_here.get(place)) is None or not held.is_held():  # closing the file would give it up
            with open_plain(place) as file:
                return _process_with_lock(file.fileno())
    return None


def _holder(descriptor: int) -> str:
    """Return who holds the lock, as the kernel says, with what the file says of that process."""
    noted = ""
    with contextlib.suppress(OSError):
        noted = os.read(descriptor, 200).decode(errors="replace").partition("\n")[0].strip()
    process = _process_with_lock(descriptor)
    if process is None or noted.startswith(f"process {process} "):
        return noted or "another process"
    return f"process {process}"


if os.name == "nt":  # pragma: no cover
    import msvcrt

    # Windows locks are mandatory: lock a byte far behind the text, so that the holder's name stays readable.
    _LOCKED_BYTE = 1 << 30

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

    def _process_with_lock(descriptor: int) -> int | None:  # noqa: ARG001 - Windows does not tell
        return None

else:
    import fcntl

    # `struct flock` of 64-bit Linux: type, whence, start, length, process. Others lay it out otherwise.
    _FLOCK = struct.Struct("@hhqqi4x")
    _KNOWN_LAYOUT = sys.platform == "linux" and sys.maxsize > 2**32

    def _lock(descriptor: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _process_with_lock(descriptor: int) -> int | None:
        """Return the id of the process that holds the lock; None where the system does not say."""
        if not _KNOWN_LAYOUT:
            return None
        try:
            answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except OSError:
            return None
        kind, _, _, _, process = _FLOCK.unpack(answer)
        # 0 stands for a process of another container, -1 for none.
        return process if kind != fcntl.F_UNLCK and process > 0 else None
