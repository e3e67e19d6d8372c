"""Files that either exist whole or not at all: durable writes, checksums and the records of both.

A collection's directory holds *parts* (folders of files that never change once written) and one manifest that names
them. Parts are written first and recorded with `seal`; then `replace_file` makes them durable and swaps the manifest in
one step. A process that dies in between leaves the last manifest, and parts that nothing refers to.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Iterable
from io import RawIOBase
from pathlib import Path

import msgspec

from indexes import block_checksums, file_operations
from indexes.errors import CorruptIndexError, NotDurableError, StorageError
from indexes.file_operations import sync
from indexes.plain_files import check_directory, open_plain, plain_size

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
    """Return the hexadecimal SHA-256 digest of any file's content, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_all(paths: Iterable[Path]) -> None:
    """Make files, and the entries of directories, durable.

    They are synced side by side: a file system's journal then writes them together, several times as fast as one after
    the other.
    """
    from concurrent.futures import ThreadPoolExecutor

    waiting = list(paths)
    if len(waiting) <= 1:
        for path in waiting:
            sync(path)
        return
    with ThreadPoolExecutor(min(_SYNCS_AT_ONCE, len(waiting))) as pool:
        list(pool.map(sync, waiting))


def make_directory(path: Path) -> None:
    """Create a directory and those above it; the entry of each is durable before the next one is made."""
    missing = []
    above = path.absolute()
    while not above.exists():
        missing.append(above)
        above = above.parent
    # The lowest that is there may have been made a moment ago, by a process that was killed before it could do this.
    with contextlib.suppress(PermissionError):  # what lies above may be somebody else's
        sync(above.parent)
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            file_operations.make_directory(new)
        sync(new.parent)


def seal(directory: Path) -> dict[str, FileRecord]:
    """Write the block checksums of a finished part, and return what to remember of each of its files, by name.

    Call it once, after the last write. Only plain files directly inside `directory` belong to a part. Durable they
    become by `replace_file`, together with everything else that the same manifest names.
    """
    records, blocks = {}, {}
    for path in sorted(directory.iterdir()):
        records[path.name], blocks[path.name] = _summed(path)
    content = block_checksums.encode_checksums(blocks)
    file_operations.write_file(directory / block_checksums.NAME, content)
    records[block_checksums.NAME] = FileRecord(len(content), hashlib.sha256(content).hexdigest())
    return records


def _summed(path: Path) -> tuple[FileRecord, list[int]]:
    """Read a file once, for its digest and the checksums of its blocks."""
    digest, blocks, size = hashlib.sha256(), [], 0
    buffer = bytearray(block_checksums.BLOCK)
    with path.open("rb", buffering=0) as file:
        while block := _read_block(file, buffer):
            digest.update(block)
            blocks.append(zlib.crc32(block))
            size += len(block)
    return FileRecord(size, digest.hexdigest()), blocks


def _read_block(file: RawIOBase, buffer: bytearray) -> memoryview:
    """Return the next block of a file, empty at its end; a system may give less than it is asked for."""
    view, filled = memoryview(buffer), 0
    while filled < len(buffer) and (read := file.readinto(view[filled:])):
        filled += read
    return view[:filled]


def replace_file(path: Path, content: bytes, needs: Iterable[Path] = ()) -> None:
    """Write `content` to `path` so that after a crash the file holds either its old or its new content, whole.

    Args:
        path: the file; it need not exist.
        content: its new content.
        needs: files and directories that the new content refers to; they are durable before it takes its place.

    Raises:
        NotDurableError: the file has its new content, but the system could not confirm that it would survive a power
            failure.
        OSError: nothing has changed.
    """
    temporary = path.with_name(path.name + ".tmp")
    file_operations.remove(temporary)  # an interrupted writer's
    try:
        file_operations.write_file(temporary, content)
        sync_all([*needs, temporary])
        file_operations.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            file_operations.remove(temporary)
        raise
    confirm(path.parent, f"{path.parent} has changed")


def confirm(directory: Path, state: str) -> None:
    """Make the names in a directory durable after a change that is in effect.

    Args:
        directory: what holds the names.
        state: what is the case now, for the message.

    Raises:
        NotDurableError: the system could not do it.
    """
    try:
        sync(directory)
    except OSError as error:
        raise NotDurableError(
            f"{state}, but the disk did not confirm it ({error.strerror or error}); check the disk: after a power "
            "failure the state before may be back"
        ) from error


def check_sizes(directory: Path, records: dict[str, FileRecord]) -> None:
    """Check that every recorded file of a part is there with the recorded size; cheap, done on every open.

    Raises:
        CorruptIndexError: a file is missing, has another size, or is a link.
        StorageError: the system does not let us look at it.
    """
    check_directory(directory)
    for name, record in records.items():
        size = plain_size(directory / name)
        if size != record.size:
            raise CorruptIndexError(
                f"file damaged: {directory / name} has {size:,} bytes, {record.size:,} were written; "
                "restore it or index again"
            )


def check_contents(directory: Path, records: dict[str, FileRecord]) -> list[str]:
    """Return one line for each file of a part that is missing or whose content is not what was written.

    Reads everything; `verify` uses it.
    """
    try:
        check_directory(directory)
    except StorageError as error:
        return [str(error)]
    problems = []
    for name, record in records.items():
        path = directory / name
        try:
            size = plain_size(path)
            if size != record.size:
                problems.append(f"{path}: {size:,} bytes instead of {record.size:,}")
                continue
            with open_plain(path) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != record.sha256:
                    problems.append(f"{path}: content differs from what was written (SHA-256)")
        except StorageError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
    return problems
