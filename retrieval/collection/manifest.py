"""The manifest: the one file of a collection that changes, and it changes by being replaced whole.

`manifest.json` names every part that belongs to the collection, with sizes and checksums, and carries its own checksum.
A part is a folder `parts/<number>-<kind>`; numbers are never used twice. Whatever lies in `parts/` without being named
here is left over from an interrupted writer.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from indexes.errors import CorruptIndexError, StorageError
from indexes.plain_files import check_directory, read_plain
from indexes.storage import FileRecord, replace_file
from retrieval.errors import CollectionError

FORMAT = 1
"""Version of the layout on disk; raised when an older engine could not read what a newer one writes."""

MANIFEST_NAME = "manifest.json"
PARTS = "parts"

LARGEST_MANIFEST = 1 << 25
"""Bytes; thousands of segments. In memory a crafted one takes some twenty times as much."""

_PART_NAME = re.compile(r"([0-9]{8,18})-(documents|lexical|dense|tombstones|searcher)")
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,100}")

Count = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
"""Numbers that arrays of 64-bit integers hold, with room to count on."""


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
    def number(self) -> int:
        """The number in the name."""
        return int(self.name.partition("-")[0])

    @property
    def kind(self) -> str:
        """What the part holds: the word in the name."""
        return self.name.partition("-")[2]

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
    n_passages: Count
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
    n_documents: Count
    dense: DensePart | None = None
    tombstones: Part | None = None
    n_deleted: Count = 0

    def __post_init__(self) -> None:
        if not 0 <= self.n_deleted <= self.n_documents < 2**31:
            raise ValueError(f"segment {self.documents.name}: {self.n_deleted} of {self.n_documents} deleted")
        if (self.tombstones is None) != (self.n_deleted == 0):
            raise ValueError(f"segment {self.documents.name}: {self.n_deleted} deleted contradicts its tombstones")
        kinds = [part.kind for part in self.parts]
        expected = ["documents", "lexical", "dense" if self.dense else "", "tombstones" if self.tombstones else ""]
        if kinds != [kind for kind in expected if kind]:
            raise ValueError(f"segment {self.documents.name} has parts of the kinds {', '.join(kinds)}")

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
    dimension: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
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
    generation: Count
    settings: dict[str, Any]
    encoder: EncoderEntry | None = None
    segments: list[SegmentEntry] = []
    searcher: SearcherEntry | None = None
    next_sequence: Count = 0
    next_part: Count = 0

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
    for contradiction in _contradictions(manifest):
        raise CorruptIndexError(f"file damaged: {path}: {contradiction}; restore it from a backup")
    return manifest


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Say what no writer writes: with it, one part would be read as another, or overwritten."""
    parts, encoder, searcher = manifest.parts, manifest.encoder, manifest.searcher
    yield from (f"part {name} is named twice" for name, times in Counter(p.name for p in parts).items() if times > 1)
    if max((part.number for part in parts), default=-1) >= manifest.next_part:
        yield f"the next part's number, {manifest.next_part}, is taken"
    for segment in manifest.segments:
        if (segment.dense is None) != (encoder is None):
            yield f"segment {segment.documents.name}: vectors and encoder contradict each other"
    if encoder is not None and encoder.similarity not in ("cosine", "dot"):
        yield f"unknown similarity {encoder.similarity!r}"
    if searcher is not None:
        names = {segment.documents.name for segment in manifest.segments if segment.dense is not None}
        if searcher.part.kind != "searcher" or len(set(searcher.covers)) < len(searcher.covers):
            yield f"{searcher.part.name} is no searcher, or covers a segment twice"
        if not names.issuperset(searcher.covers):
            yield f"{searcher.part.name} covers segments that are not there"


def has_parts(directory: Path) -> bool:
    """Tell whether parts lie in a directory, so that it is a collection even if the manifest is gone."""
    try:
        check_directory(directory / PARTS)
        with os.scandir(directory / PARTS) as entries:
            return any(_PART_NAME.fullmatch(entry.name) for entry in entries)
    except (OSError, StorageError):
        return False
