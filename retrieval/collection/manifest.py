"""The manifest: the one file of a collection that changes, and it changes by being replaced whole.

`manifest.json` names every part that belongs to the collection, with sizes and checksums, and carries its own checksum.
A part is a folder `parts/<number>-<kind>`; numbers are never used twice. Whatever lies in `parts/` without being named
here is left over from an interrupted writer.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import msgspec

from indexes.errors import CorruptIndexError
from indexes.plain_files import read_plain
from indexes.storage import FileRecord, replace_file
from retrieval.errors import CollectionError

FORMAT = 1
"""Version of the layout on disk; raised when an older engine could not read what a newer one writes."""

MANIFEST_NAME = "manifest.json"
PARTS = "parts"

LARGEST_MANIFEST = 1 << 28
"""Bytes; tens of thousands of segments."""

_PART_NAME = re.compile(r"\d{8,}-(documents|lexical|dense|tombstones|searcher)")
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A folder of files that never change.

    Attributes:
        name: folder below `parts/`.
        files: what was written, by file name.
    """

    name: str
    files: dict[str, FileRecord]

    def __post_init__(self) -> None:
        if not _PART_NAME.fullmatch(self.name):
            raise ValueError(f"part name {self.name!r} is not of the form 00000001-documents")
        for name in self.files:
            if not _FILE_NAME.fullmatch(name):
                raise ValueError(f"file name {name!r} is not allowed in a part")

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(record.size for record in self.files.values())


class DensePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The passages' vectors of one segment.

    Attributes:
        part: where they lie.
        n_passages: how many.
        execution: how they were computed (precision, runtime, device, versions); never a reason to refuse.
    """

    part: Part
    n_passages: int
    execution: dict[str, Any] = {}


class SegmentEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One immutable segment and the documents of it that have been deleted since.

    Attributes:
        documents: stored documents.
        lexical: inverted index.
        dense: vectors; absent in a lexical collection.
        tombstones: rows that are deleted; absent when none is.
        n_documents: rows, deleted ones included.
        n_deleted: how many rows are deleted.
    """

    documents: Part
    lexical: Part
    n_documents: int
    dense: DensePart | None = None
    tombstones: Part | None = None
    n_deleted: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.n_deleted <= self.n_documents < 2**31:
            raise ValueError(f"segment {self.documents.name}: {self.n_deleted} of {self.n_documents} deleted")

    @property
    def parts(self) -> list[Part]:
        """Every part of the segment."""
        dense = self.dense.part if self.dense else None
        return [part for part in (self.documents, self.lexical, dense, self.tombstones) if part]


class SearcherEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An approximate searcher derived from the stored vectors; it can be thrown away and built again.

    Attributes:
        part: where it lies.
        settings: kind and parameters.
        covers: `documents` part names of the segments whose vectors it holds, in its order.
    """

    part: Part
    settings: dict[str, Any]
    covers: list[str]


class EncoderEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which encoder made the vectors.

    Attributes:
        identity: fingerprint; any difference is an error.
        dimension: of the vectors.
        similarity: "cosine" or "dot".
        source: name or path to load it from; None when only its owner can provide it.
    """

    identity: dict[str, Any]
    dimension: int
    similarity: str
    source: str | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The committed state of a collection.

    Attributes:
        format: version of the layout on disk.
        generation: number of commits so far.
        settings: analyser, fields, BM25, fusion, long documents.
        encoder: what made the vectors; None for a lexical collection.
        segments: in the order they were written.
        searcher: an approximate searcher, if one was asked for.
        next_sequence: sequence number of the next new or changed text.
        next_part: number of the next part.
    """

    format: int
    generation: int
    settings: dict[str, Any]
    encoder: EncoderEntry | None = None
    segments: list[SegmentEntry] = []
    searcher: SearcherEntry | None = None
    next_sequence: int = 0
    next_part: int = 0

    @property
    def parts(self) -> list[Part]:
        """Every part that belongs to the collection."""
        parts = [part for segment in self.segments for part in segment.parts]
        return parts + ([self.searcher.part] if self.searcher else [])


def write_manifest(directory: Path, manifest: Manifest, before: Manifest | None = None) -> None:
    """Replace the manifest in one step; this is the moment of the commit.

    Args:
        directory: the collection.
        manifest: what it becomes.
        before: what it was; the parts that this one does not name are made durable first.
    """
    known = {part.name for part in before.parts} if before else set()
    folders = {directory / PARTS / part.name: part for part in manifest.parts if part.name not in known}
    needs = [folder / name for folder, part in folders.items() for name in part.files]
    needs += [*folders, directory / PARTS]
    content = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)
    digest = hashlib.sha256(content).hexdigest().encode()
    envelope = b'{"sha256": "' + digest + b'", "manifest":\n' + content + b"}\n"
    replace_file(directory / MANIFEST_NAME, envelope, needs)


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
        if os.path.lexists(path):
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
                f"{directory} was written by a newer version (format {version}, this one reads up to {FORMAT}); upgrade"
            )
        return msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptIndexError(f"file damaged: {path} is not a manifest ({error}); restore it from a backup") from None
