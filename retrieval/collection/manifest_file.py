"""The manifest's file: the one file of a collection that changes, and it changes by being replaced whole.

`manifest.json` holds what `manifest` describes, and the checksum of that.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from indexes.errors import CorruptIndexError, StorageError
from indexes.plain_files import check_directory, read_plain
from indexes.storage import replace_file
from retrieval.collection.manifest import PART_NAME, PARTS, Manifest, contradictions
from retrieval.errors import CollectionError

FORMAT = 5
"""Newest version of the layout on disk; raised when an older engine could not read what a newer one writes. It is
written with stored states of late-interaction networks."""

_FORMAT_WITH_LATE_CHUNKING = 4
"""What is written with late chunking, which decides what a passage's hash stands for, but without stored states."""

_FORMAT_WITH_SPARSE = 3
"""What is written with sparse vectors, but without either."""

_PLAIN_FORMAT = 2
"""What is written without all of these: such an index differs in nothing from one of that version."""

MANIFEST_NAME = "manifest.json"

LARGEST_MANIFEST = 1 << 25
"""Bytes; thousands of segments. In memory a crafted one takes some twenty times as much."""


def format_of(manifest: Manifest) -> int:
    """Return the oldest version of the layout that can say what a manifest says."""
    if manifest.tokens:
        return FORMAT
    if manifest.settings["long"]["policy"] == "late":
        return _FORMAT_WITH_LATE_CHUNKING
    return _PLAIN_FORMAT if manifest.sparse is None else _FORMAT_WITH_SPARSE


def write_manifest(directory: Path, manifest: Manifest, before: Manifest | None = None) -> None:
    """Replace the manifest in one step; this is the moment of the commit.

    Args:
        directory: the collection.
        manifest: what it becomes.
        before: what it was; the parts that this one does not name are made durable first.

    Raises:
        CollectionError: it would be too large to be read again.
    """
    known = {part.name for part in before.parts} if before else set()
    folders = {directory / PARTS / part.name: part for part in manifest.parts if part.name not in known}
    needs = [folder / name for folder, part in folders.items() for name in part.files]
    needs += [*folders, directory / PARTS]
    content = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)
    envelope = _envelope(content)
    if len(envelope) > LARGEST_MANIFEST:
        raise CollectionError(
            f"nothing was changed in {directory}: its manifest would have {len(envelope):,} bytes, more than "
            f"{LARGEST_MANIFEST:,}; compact() it, or add more documents at a time"
        )
    replace_file(directory / MANIFEST_NAME, envelope, needs)


def _envelope(content: bytes) -> bytes:
    """Return the whole file around a manifest in JSON."""
    digest = hashlib.sha256(content).hexdigest().encode()
    return b'{"sha256": "' + digest + b'", "manifest":\n' + content + b"}\n"


class _Envelope(msgspec.Struct):
    sha256: str
    manifest: msgspec.Raw


class _Version(msgspec.Struct):
    format: int


def read_manifest(directory: Path) -> Manifest:
    """Read and check the committed state.

    Raises:
        CollectionError: there is no collection here, or it was written by a newer version.
        CorruptIndexError: the manifest is damaged.
    """
    path = directory / MANIFEST_NAME
    try:
        content = read_plain(path, LARGEST_MANIFEST)
    except CorruptIndexError:
        if os.path.lexists(path) or has_parts(directory):
            raise
        raise CollectionError(f"no collection at {directory}: create one with `retrieval index`") from None
    try:
        envelope = msgspec.json.decode(content, type=_Envelope)
        raw = bytes(envelope.manifest).strip()
        if hashlib.sha256(raw).hexdigest() != envelope.sha256:
            raise CorruptIndexError(f"file damaged: {path} does not match its checksum; restore it from a backup")
        version = msgspec.json.decode(raw, type=_Version).format
        if version > FORMAT:
            raise CollectionError(
                f"{directory} was written by a newer version of this package (format {version}; this one reads up to "
                f"{FORMAT}): upgrade it, with `pip install --upgrade retrieval-engine`; the index was left as it is"
            )
        if version < 1 or content != _envelope(raw):
            raise CorruptIndexError(f"file damaged: {path} is not as it was written; restore it from a backup")
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise CorruptIndexError(f"file damaged: {path} is not a manifest ({error}); restore it from a backup") from None
    for contradiction in contradictions(manifest):
        raise CorruptIndexError(f"file damaged: {path}: {contradiction}; restore it from a backup")
    return manifest


def has_parts(directory: Path) -> bool:
    """Tell whether parts lie in a directory, so that it is a collection even if the manifest is gone."""
    try:
        check_directory(directory / PARTS)
        with os.scandir(directory / PARTS) as entries:
            return any(PART_NAME.fullmatch(entry.name) for entry in entries)
    except (OSError, StorageError):
        return False
