"""Files that either exist whole or not at all: durable writes, checksums and the records of both.

A collection's directory holds *parts* (folders of files that never change once written) and one manifest that names
them. Parts are written first and recorded with `seal`; then `replace_file` makes them durable and swaps the manifest in
one step. A process that dies in between leaves the last manifest, and parts that nothing refers to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from indexes.errors import CorruptIndexError, StorageError

_SYNCS_AT_ONCE = 8


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the manifest remembers of a file.

    Attributes:
        size: bytes.
        sha256: hexadecimal digest of the content.
    """

    size: int
    sha256: str


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file's content, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory (names created, replaced or removed in it) durable."""
    # Windows cannot open directories; there the file system journals renames by itself.
    with contextlib.suppress(PermissionError):
        sync_file(path)


def sync_all(paths: Iterable[Path]) -> None:
    """Make files, and the entries of directories, durable.

    They are synced side by side: a file system's journal then writes them together, several times as fast as one after
    the other.
    """
    from concurrent.futures import ThreadPoolExecutor

    waiting = list(paths)
    if len(waiting) <= 1:
        for path in waiting:
            _sync_either(path)
        return
    with ThreadPoolExecutor(min(_SYNCS_AT_ONCE, len(waiting))) as pool:
        list(pool.map(_sync_either, waiting))


def _sync_either(path: Path) -> None:
    if path.is_dir():
        sync_directory(path)
    else:
        sync_file(path)


def make_directory(path: Path) -> None:
    """Create a directory and those above it, and make the entry of each new one durable."""
    missing = []
    above = path.absolute()
    while not above.exists():
        missing.append(above)
        above = above.parent
    path.mkdir(parents=True, exist_ok=True)
    sync_all(new.parent for new in missing)


def seal(directory: Path) -> dict[str, FileRecord]:
    """Return what to remember of every file of a finished part, by file name.

    Call it once, after the last write. Only plain files directly inside `directory` belong to a part. Durable they
    become by `replace_file`, together with everything else that the same manifest names.
    """
    paths = sorted(directory.iterdir())
    return {path.name: FileRecord(size=path.stat().st_size, sha256=sha256_of(path)) for path in paths}


def replace_file(path: Path, content: bytes, needs: Iterable[Path] = ()) -> None:
    """Write `content` to `path` so that after a crash the file holds either its old or its new content, whole.

    Args:
        path: the file; it need not exist.
        content: its new content.
        needs: files and directories that the new content refers to; they are durable before it takes its place.
    """
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    sync_all([*needs, temporary])
    temporary.replace(path)
    sync_directory(path.parent)


def check_sizes(directory: Path, records: dict[str, FileRecord]) -> None:
    """Check that every recorded file of a part is there with the recorded size; cheap, done on every open.

    Raises:
        CorruptIndexError: a file is missing or has another size.
        StorageError: the system does not let us look at it.
    """
    for name, record in records.items():
        path = directory / name
        try:
            size = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            raise CorruptIndexError(f"file missing: {path}; restore it from a backup or index again") from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        if size != record.size:
            raise CorruptIndexError(
                f"file damaged: {path} has {size:,} bytes, {record.size:,} were written; restore it or index again"
            )


def check_contents(directory: Path, records: dict[str, FileRecord]) -> list[str]:
    """Return one line for each file of a part that is missing or whose content is not what was written.

    Reads everything; `verify` uses it.
    """
    problems = []
    for name, record in records.items():
        path = directory / name
        try:
            if path.stat().st_size != record.size:
                problems.append(f"{path}: {path.stat().st_size:,} bytes instead of {record.size:,}")
            elif sha256_of(path) != record.sha256:
                problems.append(f"{path}: content differs from what was written (SHA-256)")
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
    return problems
