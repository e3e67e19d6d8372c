"""A group of changes that becomes one commit, or nothing.

New documents wait in memory and are flushed into segments when they grow large; those segments are parts on disk that
no manifest names yet. Deletions are bits in a copy of the tombstones. `commit` writes the tombstones, merges small
segments and replaces the manifest; `discard` removes what was written. The caller holds the writer lock throughout.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from indexes.errors import CorruptIndexError, StorageError, VectorError
from indexes.storage import confirm
from retrieval.collection.document_store import StoredDocument, content_hash, id_hash
from retrieval.collection.manifest import Manifest, SearcherEntry, SegmentEntry, TokensPart
from retrieval.collection.manifest_file import format_of, read_manifest, write_manifest
from retrieval.collection.merging import merge_segments, segments_to_merge
from retrieval.collection.parts import PartWriter, check_kept_parts
from retrieval.collection.pending_document import PendingDocument
from retrieval.collection.segment import Segment, write_tombstones
from retrieval.collection.segment_writer import SegmentWriter
from retrieval.collection.working_segment import WorkingSegment
from retrieval.documents import Document
from retrieval.errors import CollectionError, DocumentError, DuplicateDocumentError, RetrievalError

if TYPE_CHECKING:
    from indexes.searchers import SearcherSettings
    from retrieval.filters import Filter

DuplicatePolicy = Literal["error", "skip", "replace"]

FLUSH_BYTES = 256 << 20
"""A segment is written when the waiting documents take about this much memory."""

_CHUNK = 1024
"""Documents looked up together."""


class Transaction:
    """Changes to one collection under the writer lock.

    Args:
        directory: the collection.
        manifest: the committed state to start from.
        segments: its segments, opened.
        writer: turns documents into the parts of a segment.
    """

    def __init__(self, directory: Path, manifest: Manifest, segments: Sequence[Segment], writer: SegmentWriter) -> None:
        self._directory = directory
        self._manifest = manifest
        self._segments = [WorkingSegment(segment, segment.alive) for segment in segments]
        self._writer = writer
        self._parts = PartWriter(directory, manifest)
        self._pending: dict[str, PendingDocument] = {}
        self._pending_bytes = 0
        self._next_sequence = manifest.next_sequence
        self._searcher: SearcherEntry | None = manifest.searcher
        self._process = os.getpid()
        self.report = writer.report

    # ---------------------------------------------------------------------------------------------- documents in

    def add(
        self,
        documents: Iterable[Document],
        on_duplicate: DuplicatePolicy,
        vectors: Iterable[np.ndarray] | None = None,
    ) -> None:
        """Take documents in, as a stream.

        Args:
            documents: read once.
            on_duplicate: see `Collection.add`.
            vectors: one for each document, (d,) float32.

        Raises:
            DuplicateDocumentError: an id is there already, or came twice, and the policy is "error".
            CollectionError: vectors are given and must not be, or the other way round.
        """
        if on_duplicate not in ("error", "skip", "replace"):
            raise CollectionError(f"unknown policy {on_duplicate!r} for duplicate ids: 'error', 'skip' or 'replace'")
        pairs = ((document, None) for document in documents) if vectors is None else _paired(documents, vectors)
        while group := list(islice(pairs, _CHUNK)):
            self._writer.check_vectors([vector for _, vector in group], empty=self._is_empty())
            self._writer.check_documents(document for document, _ in group)
            self._add_group(group, on_duplicate)

    def _add_group(self, group: Sequence[tuple[Document, np.ndarray | None]], on_duplicate: DuplicatePolicy) -> None:
        located = self._locate([document.id for document, _ in group])
        for document, vector in group:
            if vector is None and not (document.text.strip() or document.title.strip()):
                self.report.skip(document.id, "empty text")
                continue
            place = located.get(document.id)
            if document.id in self._pending:
                self._again(document, vector, on_duplicate)
            elif place is None:
                self._enqueue(document, vector, content_hash(document, vector))
                self.report.added += 1
            else:
                self._update(document, vector, place, on_duplicate)
        if self._pending_bytes >= FLUSH_BYTES:
            self.flush()

    def _again(self, document: Document, vector: np.ndarray | None, on_duplicate: DuplicatePolicy) -> None:
        """An id that waits to be written comes once more."""
        pending = self._pending[document.id]
        waiting = pending.stored
        content = content_hash(document, vector)
        if self._keeps_existing(document, on_duplicate, unchanged=waiting.content == content):
            return
        keeps_place = _text(waiting.document) == _text(document) and (
            vector is None or pending.vector is None or self._writer.stores_alike(vector, pending.vector)
        )
        del self._pending[document.id]
        self._enqueue(document, vector, content, waiting.sequence if keeps_place else None)
        self.report.updated += 1

    def _update(
        self,
        document: Document,
        vector: np.ndarray | None,
        place: tuple[WorkingSegment, int],
        on_duplicate: DuplicatePolicy,
    ) -> None:
        """An id that is stored comes once more."""
        working, row = place
        store = working.segment.documents
        content = content_hash(document, vector)
        if self._keeps_existing(document, on_duplicate, unchanged=store.content(row) == content):
            return
        keeps_place = _text(store.document(row)) == _text(document) and (
            vector is None or self._writer.has_stored(working.segment, row, vector)
        )
        working.delete(row)
        self._enqueue(document, vector, content, int(store.sequences[row]) if keeps_place else None)
        self.report.updated += 1

    def _keeps_existing(self, document: Document, on_duplicate: DuplicatePolicy, *, unchanged: bool) -> bool:
        if on_duplicate == "error":
            raise DuplicateDocumentError(
                f"document id {document.id!r} is in the collection already or came twice; "
                "use upsert(), or on_duplicate='skip' or 'replace'"
            )
        if on_duplicate == "skip":
            self.report.skip(document.id, "duplicate id")
            return True
        if unchanged:
            self.report.unchanged += 1
        return unchanged

    def _enqueue(
        self, document: Document, vector: np.ndarray | None, content: bytes, sequence: int | None = None
    ) -> None:
        if sequence is None:
            sequence = self._next_sequence
            self._next_sequence += 1
        pending = PendingDocument(StoredDocument(document, sequence, content), vector)
        self._pending[document.id] = pending
        self._pending_bytes += pending.memory

    # --------------------------------------------------------------------------------------------- documents out

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents by id; ids that are not there are ignored. Returns how many were deleted."""
        deleted = 0
        remaining = iter(ids)
        while group := list(islice(remaining, _CHUNK)):
            for document_id in group:
                if not isinstance(document_id, str):
                    raise DocumentError(f"document ids are strings, not {document_id!r}")
            located = self._locate(group)
            for document_id in dict.fromkeys(group):
                if self._pending.pop(document_id, None) is not None:
                    deleted += 1
                elif place := located.get(document_id):
                    place[0].delete(place[1])
                    deleted += 1
        self.report.deleted += deleted
        return deleted

    def delete_where(self, where: Filter) -> int:
        """Delete the documents whose metadata pass a filter. Returns how many were deleted."""
        waiting = [name for name, pending in self._pending.items() if where.matches(pending.stored.document.metadata)]
        for document_id in waiting:
            del self._pending[document_id]
        deleted = len(waiting)
        for working in self._segments:
            passing = working.segment.columns.mask(where)
            for row in working.alive_rows()[passing[working.alive_rows()]].tolist():
                working.delete(row)
                deleted += 1
        self.report.deleted += deleted
        return deleted

    def _is_empty(self) -> bool:
        return not self._pending and not self._segments

    def _locate(self, ids: Sequence[str]) -> dict[str, tuple[WorkingSegment, int]]:
        if not self._segments:
            return {}
        hashes = np.fromiter((id_hash(document_id) for document_id in ids), np.uint64, len(ids))
        return {
            document_id: (working, row)
            for working in self._segments
            for document_id, row in working.segment.documents.find_many(ids, hashes).items()
            if working.is_alive(row)
        }

    # ------------------------------------------------------------------------------------------------ to the disk

    def flush(self) -> None:
        """Write the waiting documents as a segment that no manifest names yet."""
        if not self._pending:
            return
        waiting = sorted(self._pending.values(), key=lambda pending: pending.stored.sequence)
        known = [working.segment for working in self._segments]
        entry = self._writer.write(self._parts, waiting, known)
        self._segments.append(WorkingSegment(Segment(self._directory, entry), None))
        self._pending.clear()
        self._pending_bytes = 0

    def compact(self) -> None:
        """Merge all segments into one without deleted documents; an approximate searcher is derived again.

        One that an older version wrote is written anew.
        """
        self.flush()
        searcher = self._searcher
        if len(self._segments) > 1 or any(
            working.alive is not None or working.segment.lexical.is_outdated for working in self._segments
        ):
            self._merge(list(self._segments))
            if searcher is not None:
                self._derive_searcher(searcher.settings)

    def optimize(self, settings: SearcherSettings | None) -> None:
        """Derive an approximate searcher from the vectors of all segments; None drops the one there is."""
        self.flush()
        self._searcher = None
        if settings is None:
            return
        if self._writer.slots.dense.recorded is None:
            raise CollectionError("there are no vectors to search; call reencode() with an encoder first")
        self._derive_searcher(msgspec.to_builtins(settings))

    def _derive_searcher(self, settings: dict[str, Any]) -> None:
        from indexes.searchers import build_searcher

        passages = [working.segment.passages for working in self._segments]
        stores = [store.vectors for store in passages if store is not None]
        if not any(store.n_passages for store in stores):
            return
        for store in stores:
            store.check()
        with self._parts.new("searcher") as part:
            build_searcher(_searcher_settings(settings), stores, part.directory)
        covers = [working.segment.name for working in self._segments]
        self._searcher = SearcherEntry(part.sealed(), settings, covers)

    def replace_vectors(self) -> None:
        """Encode every segment anew with the writer's encoder; an approximate searcher is dropped."""
        self._searcher = None
        for working in self._segments:
            dense = self._writer.encode_segment(self._parts, working.segment)
            working.segment = Segment(self._directory, msgspec.structs.replace(working.segment.entry, dense=dense))
            working.alive = working.segment.alive

    def replace_sparse(self) -> None:
        """Encode every segment anew with the writer's sparse encoder."""
        for working in self._segments:
            sparse = self._writer.encode_segment_sparse(self._parts, working.segment)
            working.segment = Segment(self._directory, msgspec.structs.replace(working.segment.entry, sparse=sparse))
            working.alive = working.segment.alive

    def replace_states(self, name: str) -> None:
        """Make the states of every segment anew with the network that the writer has under a name."""
        for working in self._segments:
            part = self._writer.encode_segment_states(self._parts, name, working.segment)
            self._set_states(working, {**working.segment.entry.tokens, name: part})

    def drop_states(self, name: str) -> None:
        """Take the states of a name out of every segment."""
        for working in self._segments:
            kept = {other: part for other, part in working.segment.entry.tokens.items() if other != name}
            self._set_states(working, kept)

    def _set_states(self, working: WorkingSegment, tokens: dict[str, TokensPart]) -> None:
        working.segment = Segment(self._directory, msgspec.structs.replace(working.segment.entry, tokens=tokens))
        working.alive = working.segment.alive

    def _merge(self, sources: Sequence[WorkingSegment]) -> None:
        rows = [(working.segment, working.alive_rows()) for working in sources]
        entry = merge_segments(self._parts, rows)
        at = self._segments.index(sources[0])
        self._segments = [working for working in self._segments if working not in sources]
        if entry is not None:
            self._segments.insert(at, WorkingSegment(Segment(self._directory, entry), None))

    def _covered(self) -> set[str]:
        return set(self._searcher.covers) if self._searcher else set()

    def commit(self) -> Manifest:
        """Make the changes the collection's committed state, and return it.

        Returns the manifest that was there when nothing changed.

        Raises:
            CollectionError: this is a forked process, and the changes are its parent's; or the collection has been
                removed or replaced.
            NotDurableError: the changes are in effect, but may not survive a power failure.
        """
        if self._process != os.getpid():
            raise CollectionError("these changes were begun before the fork; only the process that began them commits")
        self.flush()
        self._segments = [working for working in self._segments if working.n_alive]
        while group := segments_to_merge(self._segments, self._covered()):
            self._merge(group)
        segments = [self._entry(working) for working in self._segments]
        if not self._covered() <= {entry.documents.name for entry in segments}:
            self._searcher = None
        manifest = msgspec.structs.replace(
            self._manifest,
            segments=segments,
            searcher=self._searcher,
            encoder=self._writer.slots.dense.recorded,
            sparse=self._writer.slots.sparse.recorded,
            tokens={name: slot.recorded for name, slot in self._writer.slots.tokens.items() if slot.recorded},
            next_sequence=self._next_sequence,
        )
        check_kept_parts(self._directory, self._manifest, manifest)
        if manifest == self._manifest:
            # What is there already may be the work of a writer that died before it could make that durable.
            confirm(self._directory, f"{self._directory} is unchanged, and its last commit in effect")
            return manifest
        manifest = msgspec.structs.replace(
            manifest, format=format_of(manifest), generation=manifest.generation + 1, next_part=self._parts.next_number
        )
        write_manifest(self._directory, manifest, self._manifest)
        return manifest

    def _entry(self, working: WorkingSegment) -> SegmentEntry:
        entry = working.segment.entry
        if working.alive is None or working.alive is working.segment.alive:
            return entry
        with self._parts.new("tombstones") as part:
            write_tombstones(part.directory, working.alive)
        n_deleted = entry.n_documents - working.n_alive
        return msgspec.structs.replace(entry, tombstones=part.sealed(), n_deleted=n_deleted)

    def discard(self) -> None:
        """Forget the changes and remove what they wrote; in a forked process that is left to the parent."""
        if self._process != os.getpid():
            return
        # When replacing the manifest was interrupted late, the one on disk may be the new one.
        with contextlib.suppress(OSError, StorageError, RetrievalError):
            self._parts.remove(but=read_manifest(self._directory))


def _searcher_settings(stored: dict[str, Any]) -> SearcherSettings:
    """Return the settings of a searcher; CorruptIndexError where no searcher has such."""
    from indexes.searchers import SearcherSettings

    try:
        settings: SearcherSettings = msgspec.convert(stored, SearcherSettings)
    except (msgspec.MsgspecError, VectorError) as error:
        raise CorruptIndexError(
            f"the manifest names a searcher with impossible settings ({error}); call optimize() to replace it"
        ) from None
    return settings


def _text(document: Document) -> tuple[str, str]:
    return document.title, document.text


def _paired(
    documents: Iterable[Document], vectors: Iterable[np.ndarray]
) -> Iterator[tuple[Document, np.ndarray | None]]:
    unequal = CollectionError("documents and vectors must be equally many, one vector for each document")
    remaining = iter(vectors)
    for document in documents:
        vector = next(remaining, None)
        if vector is None:
            raise unequal
        yield document, vector
    if next(remaining, None) is not None:
        raise unequal
