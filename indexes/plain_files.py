"""Reading files that somebody else may have prepared: plain files only, no links, no pipes, nothing beyond a limit."""

from __future__ import annotations

import contextlib
import os
import stat
from io import BufferedReader
from pathlib import Path

from indexes.errors import CorruptIndexError, StorageError

_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_plain(path: Path) -> BufferedReader:
    """Open a file of an index for reading.

    Raises:
        CorruptIndexError: it is missing, or is not a plain file (a symbolic link could lead out of the index, and a
            named pipe would wait for ever).
        StorageError: the system does not let us read it.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        raise missing(path) from None
    except OSError as error:
        if _is_link(path):
            raise not_plain(path) from None
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise not_plain(path)
    return os.fdopen(descriptor, "rb")


def _is_link(path: Path) -> bool:
    with contextlib.suppress(OSError):  # in a directory that we may not look into, nobody knows
        return path.is_symlink()
    return False


def read_plain(path: Path, limit: int) -> bytes:
    """Return the content of a file of an index.

    Args:
        path: the file.
        limit: bytes that it can have at most.

    Raises:
        CorruptIndexError: it is missing, larger, or not a plain file.
        StorageError: the system does not let us read it.
    """
    with open_plain(path) as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > limit:
        raise CorruptIndexError(f"file damaged: {path} is larger than {limit:,} bytes; restore it from a backup")
    return content


def plain_size(path: Path) -> int:
    """Return the size of a file of an index in bytes, without opening it; raises what `open_plain` raises."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise missing(path) from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise not_plain(path)
    return status.st_size


def check_directory(path: Path) -> None:
    """Check that a directory of an index is one, and not a link to another.

    Raises:
        CorruptIndexError: it is missing or something else.
        StorageError: the system does not let us look.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise missing(path) from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISDIR(mode):
        raise CorruptIndexError(f"{path} is not a directory of its own; links and files in its place are not followed")


def missing(path: Path) -> CorruptIndexError:
    """Return the error about something that should be there."""
    return CorruptIndexError(f"file missing: {path}; restore it from a backup or index again")


def not_plain(path: Path) -> CorruptIndexError:
    """Return the error about a link, pipe, device or directory in a file's place."""
    return CorruptIndexError(
        f"{path} is not a plain file; links in an index are not followed: put the file itself there"
    )
