"""What a manifest says: the parts of a collection, with sizes and checksums, and how they belong together.

A part is a folder `parts/<number>-<kind>`; numbers are never used twice. Whatever lies in `parts/` without being named
here is left over from an interrupted writer. How the manifest is read and replaced: `manifest_file`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from indexes.storage import FileRecord
from indexes.token_vectors import Storage

PARTS = "parts"

PART_NAME = re.compile(r"([0-9]{8,18})-(documents|lexical|dense|sparse|tokens|tombstones|searcher)")
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
        if not PART_NAME.fullmatch(self.name):
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


class SparsePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The passages' sparse vectors of one segment, as an inverted index.

    Attributes:
        part: where they lie.
        n_passages: how many.
        execution: how they were computed; never a reason to refuse.
    """

    part: Part
    n_passages: Count
    execution: dict[str, Any] = {}


class TokensPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The states of one segment's documents, made by one late-interaction network: one block for each document.

    Attributes:
        part: where they lie.
        storage: "float16" or "int8".
        n_tokens: token vectors of all documents.
        execution: how they were computed; never a reason to refuse.
    """

    part: Part
    storage: Storage
    n_tokens: Count
    execution: dict[str, Any] = {}


class SegmentEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One immutable segment and the documents of it that have been deleted since.

    Attributes:
        documents: stored documents.
        lexical: inverted index.
        dense: vectors; absent in a lexical collection.
        sparse: sparse vectors; absent in a collection without a sparse encoder.
        tokens: states of late-interaction networks, by the name of the network's stage; absent without any.
        tombstones: rows that are deleted; absent when none is.
        n_documents: rows, deleted ones included.
        n_deleted: how many rows are deleted.
    """

    documents: Part
    lexical: Part
    n_documents: Count
    dense: DensePart | None = None
    sparse: SparsePart | None = None
    tokens: dict[str, TokensPart] = {}
    tombstones: Part | None = None
    n_deleted: Count = 0

    def __post_init__(self) -> None:
        if not 0 <= self.n_deleted <= self.n_documents < 2**31:
            raise ValueError(f"segment {self.documents.name}: {self.n_deleted} of {self.n_documents} deleted")
        if (self.tombstones is None) != (self.n_deleted == 0):
            raise ValueError(f"segment {self.documents.name}: {self.n_deleted} deleted contradicts its tombstones")
        kinds = [part.kind for part in self.parts]
        vectors = ["dense"] * bool(self.dense) + ["sparse"] * bool(self.sparse) + ["tokens"] * len(self.tokens)
        if kinds != ["documents", "lexical", *vectors, *["tombstones"] * bool(self.tombstones)]:
            raise ValueError(f"segment {self.documents.name} has parts of the kinds {', '.join(kinds)}")

    @property
    def parts(self) -> list[Part]:
        """Every part of the segment."""
        dense = self.dense.part if self.dense else None
        sparse = self.sparse.part if self.sparse else None
        tokens = [self.tokens[name].part for name in sorted(self.tokens)]
        return [part for part in (self.documents, self.lexical, dense, sparse, *tokens, self.tombstones) if part]


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


class SparseEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which encoder made the sparse vectors, and how they are stored.

    Attributes:
        identity: fingerprint; any difference is an error.
        n_dimensions: of the vectors; dimensions are numbers below.
        payload: "impacts" of 8 bits, or "binary".
        largest_weight: the weight that is stored as impact 255; None for binary vectors.
        source: name or path to load it from; None when only its owner can provide it.
    """

    identity: dict[str, Any]
    n_dimensions: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    payload: str
    largest_weight: Annotated[float, msgspec.Meta(gt=0, le=1e100)] | None = None
    source: str | None = None


class TokensEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which late-interaction network made the states of documents, and how they are stored.

    Attributes:
        identity: fingerprint; any difference is an error.
        width: numbers of a token's state.
        storage: "float16" or "int8".
        source: name or path to load it from; None when only its owner can provide it.
    """

    identity: dict[str, Any]
    width: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    storage: Storage
    source: str | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The committed state of a collection.

    Attributes:
        format: version of the layout on disk.
        generation: number of commits so far.
        settings: analyser, fields, BM25, fusion, long documents.
        encoder: what made the vectors; None for a lexical collection.
        sparse: what made the sparse vectors; None without any.
        tokens: what made stored states, by the name of its stage; empty without any.
        segments: in the order they were written.
        searcher: an approximate searcher, if one was asked for.
        next_sequence: sequence number of the next new or changed text.
        next_part: number of the next part.
    """

    format: int
    generation: Count
    settings: dict[str, Any]
    encoder: EncoderEntry | None = None
    sparse: SparseEntry | None = None
    tokens: dict[str, TokensEntry] = {}
    segments: list[SegmentEntry] = []
    searcher: SearcherEntry | None = None
    next_sequence: Count = 0
    next_part: Count = 0

    @property
    def parts(self) -> list[Part]:
        """Every part that belongs to the collection."""
        parts = [part for segment in self.segments for part in segment.parts]
        return parts + ([self.searcher.part] if self.searcher else [])


def contradictions(manifest: Manifest) -> Iterator[str]:
    """Say what no writer writes: with it, one part would be read as another, or overwritten."""
    parts, encoder, searcher = manifest.parts, manifest.encoder, manifest.searcher
    yield from (f"part {name} is named twice" for name, times in Counter(p.name for p in parts).items() if times > 1)
    if max((part.number for part in parts), default=-1) >= manifest.next_part:
        yield f"the next part's number, {manifest.next_part}, is taken"
    for segment in manifest.segments:
        if (segment.dense is None) != (encoder is None):
            yield f"segment {segment.documents.name}: vectors and encoder contradict each other"
        if (segment.sparse is None) != (manifest.sparse is None):
            yield f"segment {segment.documents.name}: sparse vectors and their encoder contradict each other"
        if {name: each.storage for name, each in segment.tokens.items()} != {
            name: each.storage for name, each in manifest.tokens.items()
        }:
            yield f"segment {segment.documents.name}: stored states and their networks contradict each other"
    if manifest.sparse is not None and (
        manifest.sparse.payload != ("binary" if manifest.sparse.largest_weight is None else "impacts")
    ):
        yield f"sparse vectors are {manifest.sparse.payload!r} with largest weight {manifest.sparse.largest_weight!r}"
    if encoder is not None and encoder.similarity not in ("cosine", "dot"):
        yield f"unknown similarity {encoder.similarity!r}"
    if searcher is not None:
        names = {segment.documents.name for segment in manifest.segments if segment.dense is not None}
        if searcher.part.kind != "searcher" or len(set(searcher.covers)) < len(searcher.covers):
            yield f"{searcher.part.name} is no searcher, or covers a segment twice"
        if not names.issuperset(searcher.covers):
            yield f"{searcher.part.name} covers segments that are not there"
