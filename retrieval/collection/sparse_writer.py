"""The sparse vectors of a segment: passages cut, known ones found again, the others encoded, all indexed as a stream.

A passage that any segment of the collection has keeps its stored vector, so that equal texts are encoded once and tie
exactly, and an update encodes only what changed. What is encoded goes through the staging area, so that an interrupted
run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from indexes.sparse_index import SparseIndexWriter
from indexes.sparse_vectors import SparseVectors
from retrieval.chunking import ChunkSettings, Passage, split_documents
from retrieval.collection.manifest import SparsePart
from retrieval.collection.parts import PartWriter
from retrieval.collection.reports import ChangeReport
from retrieval.collection.sparse_slot import SparseSlot, as_stored
from retrieval.collection.sparse_store import write_sparse_sides
from retrieval.collection.vector_writer import CHARACTERS_PER_TOKEN, GROUP, STAGING, FullText
from retrieval.documents import Document
from retrieval.errors import EncoderError
from retrieval.progress import ProgressBar, progress
from retrieval.sparse_encoding import SparseLookup, encode_sparse_passages
from retrieval.sparse_staging import SparseStaging

if TYPE_CHECKING:
    from retrieval.collection.segment import Segment
    from retrieval.collection.sparse_store import SparseStore


class SparseWriter:
    """Writes sparse parts with one encoder.

    Args:
        directory: the collection; the staging area is a folder in it.
        slot: the encoder, and how its vectors are stored.
        long: what happens to texts longer than it reads.
        report: where passages are counted.
        show_progress: show a progress bar on a terminal.

    Raises:
        EncoderError: the encoder cannot be loaded.
    """

    def __init__(
        self, directory: Path, slot: SparseSlot, long: ChunkSettings, report: ChangeReport, *, show_progress: bool
    ) -> None:
        if slot.recorded is None:
            raise EncoderError("the collection has no sparse vectors to write")
        self._encoder = slot.get()
        self._recorded = slot.recorded
        # Nothing is pooled here: "late" says how the dense vectors of the same documents are made.
        self._long = replace(long, policy="chunk") if long.policy == "late" else long
        self._report = report
        self._show_progress = show_progress
        self._staging = SparseStaging(directory / STAGING, self._encoder, slot.recorded.largest_weight)

    def finish(self) -> None:
        """Remove the staged vectors: they are committed."""
        self._staging.clear()

    def keep(self) -> None:
        """Make what has been encoded durable for the next attempt, after this one has failed."""
        self._staging.flush()

    def of_documents(self, parts: PartWriter, documents: Sequence[Document], known: Sequence[Segment]) -> SparsePart:
        """Write the sparse vectors of new documents, row by row.

        Args:
            parts: where the part goes.
            documents: in the order of their rows.
            known: segments whose sparse vectors may serve again.
        """
        texts = FullText.of(documents)
        n_characters = sum(len(document.text) + len(document.title) for document in documents)
        lookups = [_lookup(segment.sparse) for segment in known if segment.sparse is not None]
        return self._write(parts, texts, lookups, n_characters)

    def of_segment(self, parts: PartWriter, segment: Segment) -> SparsePart:
        """Write the sparse vectors of a stored segment's documents, deleted ones left out."""
        store = segment.documents
        texts = (FullText(row, store.id(row), *store.full_text(row)) for row in segment.alive_rows().tolist())
        n_characters = sum(len(store.full_text(row)[0]) for row in segment.alive_rows().tolist())
        return self._write(parts, texts, [], n_characters)

    def _write(
        self, parts: PartWriter, texts: Iterator[FullText], known: Sequence[SparseLookup], n_characters: int
    ) -> SparsePart:
        rows = [np.empty(0, np.int32)]
        spans = [np.empty((0, 2), np.int32)]
        hashes = [np.empty((0, 16), np.uint8)]
        # The total is an estimate by characters, put right group by group as texts are tokenised.
        total = n_characters // CHARACTERS_PER_TOKEN
        payload = "impacts" if self._recorded.largest_weight is not None else "binary"
        with parts.new("sparse") as part:
            with (
                progress("encoding sparse", unit="tokens", total=total, enabled=self._show_progress) as bar,
                SparseIndexWriter(part.directory, payload) as index,  # type: ignore[arg-type]
            ):
                while group := list(islice(texts, GROUP)):
                    passages = self._split(group, bar)
                    encoded = encode_sparse_passages(
                        self._encoder,
                        [passage for _, passage in passages],
                        self._stored,
                        known=known,
                        staging=self._staging,
                        progress=bar,
                    )
                    index.add_many(encoded.vectors)
                    rows.append(np.array([row for row, _ in passages], np.int32))
                    spans.append(np.array([passage[:2] for _, passage in passages], np.int32).reshape(-1, 2))
                    hashes.append(encoded.hashes)
                    self._report.sparse_passages += len(passages)
                    self._report.sparse_encoded += encoded.n_encoded
            write_sparse_sides(part.directory, np.concatenate(rows), np.concatenate(spans), np.concatenate(hashes))
        execution = msgspec.to_builtins(self._encoder.execution())
        return SparsePart(part=part.sealed(), n_passages=sum(map(len, rows)), execution=execution)

    def _split(self, group: Sequence[FullText], bar: ProgressBar) -> list[tuple[int, Passage]]:
        """Return the passages of some documents, each with its document's row."""
        split = split_documents(
            [text.full_text for text in group],
            [text.title_length for text in group],
            self._encoder,
            self._long,
            [text.document_id for text in group],
        )
        bar.grow(-sum(len(text.full_text) for text in group) // CHARACTERS_PER_TOKEN)
        self._report.sparse_long_documents += split.long_documents
        self._report.sparse_tokens_cut += split.tokens_cut
        return [
            (text.row, passage) for text, document in zip(group, split.passages, strict=True) for passage in document
        ]

    def _stored(self, vectors: SparseVectors) -> SparseVectors:
        largest = self._recorded.largest_weight
        if largest is not None and vectors.weights is not None:
            self._report.sparse_weights_cut += int((vectors.weights > largest).sum())
        return as_stored(vectors, self._recorded)


def _lookup(store: SparseStore) -> SparseLookup:
    def find(hashes: np.ndarray) -> tuple[np.ndarray, SparseVectors]:
        positions = store.find(hashes)
        found = positions >= 0
        return found, store.index.vectors(positions[found])

    return find
