"""From waiting documents to the parts of a segment: stored texts, inverted index, vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrieval.analysis import Analyser
from retrieval.collection.document_store import write_documents
from retrieval.collection.encoder_slot import EncoderSlot, entry_for_given_vectors
from retrieval.collection.encoder_slots import EncoderSlots
from retrieval.collection.lexical_fields import check_fields, indexed
from retrieval.collection.manifest import DensePart, Part, SegmentEntry, SparsePart, TokensPart
from retrieval.collection.parts import PartWriter
from retrieval.collection.reports import ChangeReport
from retrieval.collection.stored_settings import CollectionSettings
from retrieval.errors import CollectionError

if TYPE_CHECKING:
    from retrieval.analysis import TermTable
    from retrieval.collection.pending_document import PendingDocument
    from retrieval.collection.segment import Segment
    from retrieval.collection.sparse_writer import SparseWriter
    from retrieval.collection.token_writer import TokenWriter
    from retrieval.collection.vector_writer import VectorWriter
    from retrieval.documents import Document


class SegmentWriter:
    """Writes the segments of one transaction, with the collection's analyser and encoders.

    Args:
        directory: the collection.
        settings: its settings.
        analyser: made from them.
        slots: the encoders; the one of vectors is replaced when the first given vectors decide the dimension.
        progress: show progress bars on a terminal.

    Attributes:
        report: what has been done so far.
        slots: the encoders that the collection has after the commit.
    """

    def __init__(
        self,
        directory: Path,
        settings: CollectionSettings,
        analyser: Analyser,
        slots: EncoderSlots,
        *,
        progress: bool = False,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._analyser = analyser
        self._progress = progress
        self._terms: TermTable | None = None
        self._vectors: VectorWriter | None = None
        self._sparse: SparseWriter | None = None
        self._tokens: dict[str, TokenWriter] = {}
        self.slots = slots
        self.report = ChangeReport()

    def check_vectors(self, vectors: Sequence[np.ndarray | None], *, empty: bool) -> None:
        """Check that vectors are given exactly where the collection takes them, and of its dimension.

        Args:
            vectors: of the documents that come in; None where no vector was given.
            empty: whether the collection holds no document yet, so that given vectors may decide what it is.

        Raises:
            CollectionError: saying which way it should be.
        """
        given = next((vector for vector in vectors if vector is not None), None)
        recorded = self.slots.dense.recorded
        if given is None:
            if self.slots.dense.gives_own_vectors and vectors:
                raise CollectionError("this collection's vectors are given by its user; pass vectors=, one a document")
            return
        if recorded is None:
            if not empty:
                raise CollectionError(
                    "this collection is lexical; vectors can be given only from its first document on"
                )
            self.slots = self.slots._replace(dense=EncoderSlot(entry_for_given_vectors(len(given), "cosine")))
        elif not self.slots.dense.gives_own_vectors:
            raise CollectionError(
                "this collection encodes its texts itself; leave vectors= out, or create one with encoder=None"
            )
        elif len(given) != recorded.dimension:
            raise CollectionError(f"vectors have {len(given)} dimensions, this collection's have {recorded.dimension}")

    def check_documents(self, documents: Iterable[Document]) -> None:
        """Check that documents hold what the collection's fields ask for.

        Raises:
            DocumentError: saying what is missing or wrong.
        """
        fields = self._settings.fields
        if fields.expansion is None and fields.term_weights is None:
            return
        for document in documents:
            check_fields(document, fields)

    def has_stored(self, segment: Segment, row: int, vector: np.ndarray) -> bool:
        """Tell whether a vector given for a document is the one that is stored for it."""
        from retrieval.collection.vector_writer import as_stored

        if self.slots.dense.recorded is None or segment.passages is None:
            return False
        stored = segment.passages.vectors.gather(np.array(segment.passages.of_document(row), np.int64))
        return np.array_equal(stored, as_stored(vector[None, :], self.slots.dense.recorded))

    def stores_alike(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Tell whether two given vectors are the same once they are stored (of length one, where cosines count)."""
        from retrieval.collection.vector_writer import as_stored

        recorded = self.slots.dense.recorded
        return recorded is not None and np.array_equal(
            as_stored(one[None, :], recorded), as_stored(other[None, :], recorded)
        )

    def write(self, parts: PartWriter, waiting: Sequence[PendingDocument], known: Sequence[Segment]) -> SegmentEntry:
        """Write a segment.

        Args:
            parts: where the parts go.
            waiting: its documents, in ascending order of sequence.
            known: segments whose vectors may serve again for equal passages.

        Raises:
            EncoderMismatchError: an encoder makes something else of a text than what these segments store of it, so
                that one search could not compare both.
        """
        self._check_comparable(known)
        # Vectors first: they take longest, and what can fail (a model, a text that is too long) fails there.
        dense = self._write_vectors(parts, waiting, known)
        sparse = self._write_sparse(parts, waiting, known)
        tokens = self._write_states(parts, waiting, known)
        with parts.new("documents") as documents:
            write_documents(documents.directory, (pending.stored.row() for pending in waiting))
        return SegmentEntry(
            documents=documents.sealed(),
            lexical=self._write_postings(parts, waiting),
            n_documents=len(waiting),
            dense=dense,
            sparse=sparse,
            tokens=tokens,
        )

    def encode_segment(self, parts: PartWriter, segment: Segment) -> DensePart:
        """Write the vectors of a stored segment's documents, as the slot's encoder makes them."""
        return self._vector_writer().of_segment(parts, segment)

    def encode_segment_sparse(self, parts: PartWriter, segment: Segment) -> SparsePart:
        """Write the sparse vectors of a stored segment's documents, as the slot's encoder makes them."""
        return self._sparse_writer().of_segment(parts, segment)

    def encode_segment_states(self, parts: PartWriter, name: str, segment: Segment) -> TokensPart:
        """Write the states of a stored segment's documents, as the network of a name makes them."""
        return self._token_writer(name).of_segment(parts, segment)

    def finish(self) -> None:
        """Let go of what was kept for an interrupted run; call it after the commit."""
        for writer in self._encoding():
            writer.finish()

    def keep(self) -> None:
        """Keep what has been encoded for the next attempt; call it when there will be no commit."""
        for writer in self._encoding():
            writer.keep()

    def _encoding(self) -> list[VectorWriter | SparseWriter | TokenWriter]:
        """Return the writers that encode."""
        writers = [self._vectors, self._sparse, *self._tokens.values()]
        return [writer for writer in writers if writer is not None]

    def _write_vectors(
        self, parts: PartWriter, waiting: Sequence[PendingDocument], known: Sequence[Segment]
    ) -> DensePart | None:
        if self.slots.dense.recorded is None:
            return None
        if self.slots.dense.gives_own_vectors:
            from retrieval.collection.vector_writer import write_given_vectors

            self.report.passages += len(waiting)
            return write_given_vectors(parts, waiting, self.slots.dense.recorded)
        return self._vector_writer().of_documents(parts, [pending.stored.document for pending in waiting], known)

    def _check_comparable(self, known: Sequence[Segment]) -> None:
        """Load the encoders, and see that what they make may stand beside what segments store."""
        if self.slots.dense.recorded is not None and not self.slots.dense.gives_own_vectors:
            self._vector_writer()  # settles in which precision its encoder computes
            self.slots.dense.comparable(known)
        if self.slots.sparse.recorded is not None:
            self.slots.sparse.comparable(known)
        for slot in self.slots.tokens.values():
            slot.comparable(known)

    def _vector_writer(self) -> VectorWriter:
        if self._vectors is None:
            from retrieval.collection.vector_writer import VectorWriter

            self._vectors = VectorWriter(
                self._directory, self.slots.dense.get(), self._settings.long, self.report, show_progress=self._progress
            )
        return self._vectors

    def _write_sparse(
        self, parts: PartWriter, waiting: Sequence[PendingDocument], known: Sequence[Segment]
    ) -> SparsePart | None:
        if self.slots.sparse.recorded is None:
            return None
        return self._sparse_writer().of_documents(parts, [pending.stored.document for pending in waiting], known)

    def _sparse_writer(self) -> SparseWriter:
        if self._sparse is None:
            from retrieval.collection.sparse_writer import SparseWriter

            self._sparse = SparseWriter(
                self._directory, self.slots.sparse, self._settings.long, self.report, show_progress=self._progress
            )
        return self._sparse

    def _write_states(
        self, parts: PartWriter, waiting: Sequence[PendingDocument], known: Sequence[Segment]
    ) -> dict[str, TokensPart]:
        documents = [pending.stored.document for pending in waiting]
        names = sorted(self.slots.tokens)
        return {name: self._token_writer(name).of_documents(parts, documents, known) for name in names}

    def _token_writer(self, name: str) -> TokenWriter:
        if name not in self._tokens:
            from retrieval.collection.token_writer import TokenWriter

            slot = self.slots.tokens[name]
            self._tokens[name] = TokenWriter(self._directory, name, slot, self.report, show_progress=self._progress)
        return self._tokens[name]

    def _write_postings(self, parts: PartWriter, waiting: Sequence[PendingDocument]) -> Part:
        from indexes.inverted import InvertedIndexWriter
        from retrieval.analysis import TermTable

        if self._terms is None:
            self._terms = TermTable(self._analyser)
        index = InvertedIndexWriter()
        for pending in waiting:
            index.add(indexed(pending.stored.document, self._settings.fields, self._terms.ids))
        with parts.new("lexical") as lexical:
            index.write(lexical.directory, self._terms.vocabulary)
        return lexical.sealed()
