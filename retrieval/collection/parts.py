"""Writing parts: numbered folders that are sealed once and never change."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Literal

from indexes import file_operations
from indexes.plain_files import check_directory
from indexes.storage import check_sizes, seal, sync_all
from retrieval.collection.manifest import PARTS, Manifest, Part
from retrieval.collection.manifest_file import read_manifest
from retrieval.errors import CollectionError

PartKind = Literal["documents", "lexical", "dense", "sparse", "tokens", "tombstones", "searcher"]


class NewPart:
    """A part being written, as a context manager: on leaving it is recorded; on an error its folder goes.

    Attributes:
        directory: where to write its files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._part: Part | None = None

    def __enter__(self) -> NewPart:
        file_operations.make_directory(self.directory)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            file_operations.remove_tree(self.directory)
            return
        self._part = Part(self.directory.name, seal(self.directory))

    def sealed(self) -> Part:
        """Return what the manifest should remember; only after the context was left without an error."""
        if self._part is None:
            raise RuntimeError(f"part {self.directory.name} is not sealed yet")
        return self._part


class PartWriter:
    """Gives out numbers and folders for the parts of one transaction.

    Attributes:
        next_number: what the next part will be called; goes into the manifest.
    """

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._parts = directory / PARTS
        self._empty = not manifest.parts
        self._written: list[Path] = []
        self.next_number = manifest.next_part

    def new(self, kind: PartKind) -> NewPart:
        """Start a part of the given kind.

        Raises:
            OSError: the parts' directory has gone, and those that the manifest names with it.
        """
        if self._empty and not self._parts.exists():  # copying a collection may leave an empty directory out
            file_operations.make_directory(self._parts)
            sync_all([self._parts.parent])
        while os.path.lexists(path := self._parts / f"{self.next_number:08d}-{kind}"):
            self.next_number += 1  # left over from an interrupted writer, and the system did not let us remove it
        self.next_number += 1
        self._written.append(path)
        return NewPart(path)

    def remove(self, *, but: Manifest) -> None:
        """Remove what was written, but for what a manifest names."""
        named = {part.name for part in but.parts}
        for path in self._written:
            if path.name not in named:
                file_operations.remove_tree(path)


def check_kept_parts(directory: Path, before: Manifest, after: Manifest) -> None:
    """Check that what a new manifest takes over from the one before is still there; cheap, done before every commit.

    Raises:
        CollectionError: somebody has removed or replaced the collection while it was being written.
        CorruptIndexError: a part of it is gone.
    """
    if read_manifest(directory) != before:
        raise CollectionError(f"{directory} was replaced while it was being written; nothing was changed")
    known = {part.name for part in before.parts}
    for part in after.parts:
        if part.name in known:
            check_sizes(directory / PARTS / part.name, part.files)


def remove_unnamed_parts(directory: Path, manifest: Manifest, *, durable: bool = False) -> int:
    """Remove the parts that the manifest on disk does not name: an interrupted writer's, or what was merged.

    The caller holds the writer lock. Readers that have such parts open keep them through their memory maps. Returns how
    many were removed.

    Args:
        directory: the collection.
        manifest: what is on disk.
        durable: whether that is known to survive a power failure.

    Raises:
        CorruptIndexError: the parts' directory is a link.
        OSError: the manifest on disk cannot be made durable.
    """
    if not os.path.lexists(directory / PARTS):
        return 0
    check_directory(directory / PARTS)
    named = {part.name for part in manifest.parts}
    unnamed = [path for path in sorted((directory / PARTS).iterdir()) if path.name not in named]
    if unnamed and not durable:
        # The writer before us may have died between replacing the manifest and making that durable: a power failure
        # now could bring back the manifest before, and with it the need for the parts that it names.
        sync_all([directory])
    for path in unnamed:
        file_operations.remove_tree(path)
    return len(unnamed)
