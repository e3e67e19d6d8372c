"""Files that either exist whole or not at all: durable writes, checksums and the records of both.

A collection's directory holds *parts* (folders of files that never change once written) and one manifest that names
them. Parts are written first and made durable with `seal`; then `replace_file` swaps the manifest in one step. A
process that dies in between leaves the last manifest, and parts that nothing refers to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from indexes.errors import CorruptIndexError

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


def seal(directory: Path) -> dict[str, FileRecord]:
    """Make every file of a finished part durable and return what to remember of each, by file name.

    Call it once, after the last write. Only plain files directly inside `directory` belong to a part.
    """
    paths = sorted(directory.iterdir())
    # Side by side: a file system's journal then writes them together, several times as fast as one after the other.
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        list(pool.map(sync_file, paths))
    records = {path.name: FileRecord(size=path.stat().st_size, sha256=sha256_of(path)) for path in paths}
    sync_directory(directory)
    sync_directory(directory.parent)
    return records


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that after a crash the file holds either its old or its new content, whole."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def check_sizes(directory: Path, records: dict[str, FileRecord]) -> None:
    """Check that every recorded file of a part is there with the recorded size; cheap, done on every open.

    Raises:
        CorruptIndexError: a file is missing or has another size.
    """
    for name, record in records.items():
        path = directory / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise CorruptIndexError(f"file missing: {path}; restore it from a backup or index again") from None
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
