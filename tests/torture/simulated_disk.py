"""A disk that keeps only what was synced: recorded operations are replayed on it, and the power fails at any of them.

Content belongs to a file, not to its name, so that a rename carries it along, synced or not. Every file has durable
content and writes that wait for a sync; every directory has durable names and changes of names that wait for one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from indexes.file_operations import Operation

Way = Literal["nothing unsynced", "everything", "names without content", "removals without renames", "random"]

WAYS: tuple[Way, ...] = ("nothing unsynced", "everything", "names without content", "removals without renames")

_SECTOR = 512


@dataclass
class File:
    """A file: what is durable, and (offset, content) of each write since."""

    durable: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass
class Change:
    """Names of a directory that change in one step; None where one goes."""

    names: dict[str, File | Directory | None]


@dataclass
class Directory:
    """A directory: its names as everybody sees them, as they are durable, and the changes in between."""

    names: dict[str, File | Directory] = field(default_factory=dict)
    durable: dict[str, File | Directory] = field(default_factory=dict)
    waiting: list[Change] = field(default_factory=list)

    def change(self, names: dict[str, File | Directory | None]) -> None:
        """Change names, not yet durably."""
        self.waiting.append(Change(names))
        _apply(self.names, names)


def _apply(target: dict[str, File | Directory], names: dict[str, File | Directory | None]) -> None:
    for name, node in names.items():
        if node is None:
            target.pop(name, None)
        else:
            target[name] = node


class SimulatedDisk:
    """Replays operations below one directory, which itself is durable.

    Args:
        root: the directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = Directory()

    def apply(self, operation: Operation) -> None:
        """Carry out one operation."""
        kind = operation.kind
        if kind == "sync":
            self._sync(operation.path)
        elif kind == "write":
            file = self._node(operation.path)
            assert isinstance(file, File)
            file.waiting.append((operation.offset, bytes(operation.content)))
        else:
            self._rename(operation) if kind == "rename" else self._name(operation)

    def _name(self, operation: Operation) -> None:
        parent, name = self._directory(operation.path.parent), operation.path.name
        if operation.kind == "create":
            parent.change({name: File()})
        elif operation.kind == "make_directory":
            parent.change({name: Directory()})
        elif name in parent.names and not _is_full(parent.names[name]):
            parent.change({name: None})

    def _rename(self, operation: Operation) -> None:
        assert operation.target is not None and operation.target.parent == operation.path.parent
        parent = self._directory(operation.path.parent)
        moved = parent.names[operation.path.name]
        parent.change({operation.path.name: None, operation.target.name: moved})

    def _sync(self, path: Path) -> None:
        if path != self._root and self._root not in path.parents:
            return  # above the directory everything is durable
        node = self._node(path)
        if isinstance(node, File):
            for offset, content in node.waiting:
                _write(node.durable, offset, content)
        else:
            node.durable = dict(node.names)
        node.waiting.clear()

    def _directory(self, path: Path) -> Directory:
        node = self._node(path)
        assert isinstance(node, Directory)
        return node

    def _node(self, path: Path) -> File | Directory:
        node: File | Directory = self._top
        for name in path.relative_to(self._root).parts:
            assert isinstance(node, Directory)
            node = node.names[name]
        return node

    def after_power_loss(self, way: Way, rng: np.random.Generator) -> Image:
        """Return what may be on the disk when the power comes back.

        Args:
            way: what of the unsynced has reached the disk; "random" is some of the names, and some of the writes, some
                of them torn or as zeros.
            rng: for "random".
        """
        return Image(self._names(self._top, way, rng))

    def _names(self, directory: Directory, way: Way, rng: np.random.Generator) -> dict[str, bytes | dict]:
        names = dict(directory.durable)
        for change in directory.waiting:
            if _reaches(change, way, rng):
                _apply(names, change.names)
        return {
            name: self._names(node, way, rng) if isinstance(node, Directory) else _content(node, way, rng)
            for name, node in sorted(names.items())
        }


def _is_full(node: File | Directory) -> bool:
    """Tell whether a node is a directory that cannot be removed."""
    return isinstance(node, Directory) and bool(node.names)


def _reaches(change: Change, way: Way, rng: np.random.Generator) -> bool:
    if way == "random":
        return bool(rng.random() < 0.6)
    if way == "removals without renames":
        return all(node is None for node in change.names.values())
    return way != "nothing unsynced"


def _content(file: File, way: Way, rng: np.random.Generator) -> bytes:
    content = bytearray(file.durable)
    if way in ("everything", "random"):
        for offset, written in file.waiting:
            _write(content, offset, written if way == "everything" else _torn(written, rng))
    return bytes(content)


def _torn(written: bytes, rng: np.random.Generator) -> bytes:
    fate = rng.integers(5)
    if fate == 0:
        return b""
    if fate == 1:
        return bytes(len(written))  # the length has reached the disk, the content has not
    if fate == 2:
        return written[: rng.integers(len(written) + 1)]
    if fate == 3:
        return written[: rng.integers(len(written) // _SECTOR + 1) * _SECTOR]
    return written


def _write(content: bytearray, offset: int, written: bytes) -> None:
    if written:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(written)] = written


@dataclass
class Image:
    """What is on a disk: nested names, with the content of files."""

    names: dict[str, bytes | dict]

    def digest(self) -> bytes:
        """Return what tells images apart."""
        digest = hashlib.blake2b(digest_size=16)
        _walk(self.names, "", lambda path, content: digest.update(repr((path, content)).encode()))
        return digest.digest()

    def materialise(self, folder: Path) -> None:
        """Write the image into a folder that is not there yet."""
        folder.mkdir()
        _walk(
            self.names,
            "",
            lambda path, content: (folder / path).mkdir() if content is None else (folder / path).write_bytes(content),
        )


def _walk(names: dict[str, bytes | dict], above: str, visit: Callable[[str, bytes | None], object]) -> None:
    for name, content in names.items():
        visit(above + name, None if isinstance(content, dict) else content)
        if isinstance(content, dict):
            _walk(content, f"{above}{name}/", visit)
