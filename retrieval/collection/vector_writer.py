"""The vectors of a segment: passages cut, known ones found again, the others encoded, all written as a stream.

A passage that any segment of the collection has, in whatever document, keeps its vector: equal texts are encoded once
and tie exactly, and an update encodes only what changed. With late chunking the document belongs to the passage: equal
documents are encoded once, a changed one again. What is encoded goes through the staging area, so that an
interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from indexes.vectors import VectorStoreWriter, normalise
from retrieval.chunking import ChunkSettings, SplitDocuments, split_documents
from retrieval.collection.manifest import DensePart, EncoderEntry
from retrieval.collection.parts import PartWriter
from retrieval.collection.passage_hashes import join_hashes
from retrieval.collection.passage_store import PassageStore, write_passage_sides
from retrieval.collection.reports import ChangeReport
from retrieval.documents import Document
from retrieval.encoders import Encoder
from retrieval.encoders.base import settle_precision
from retrieval.encoding import EncodedPassages, Lookup, encode_passages
from retrieval.late_encoding import SplitDocument, encode_late
from retrieval.progress import ProgressBar, progress
from retrieval.staging import Staging

if TYPE_CHECKING:
    from retrieval.collection.pending_document import PendingDocument
    from retrieval.collection.segment import Segment

STAGING = "staging"

GROUP = 4096
"""Documents whose passages are encoded together: the window in which texts are sorted by length."""

CHARACTERS_PER_TOKEN = 4


class FullText(NamedTuple):
    """A document as the encoder sees it: its row in the new part, its text, the characters of its title."""

    row: int
    document_id: str
    full_text: str
    title_length: int

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Iterator[FullText]:
        """Return documents as the encoder sees them, in their order."""
        for row, document in enumerate(documents):
            yield cls(row, document.id, document.full_text, len(document.title))


class VectorWriter:
    """Writes dense parts with one encoder.

    Args:
        directory: the collection; the staging area is a folder in it.
        encoder: makes the vectors.
        long: what happens to texts longer than it reads.
        report: where passages are counted.
        show_progress: show a progress bar on a terminal.
    """

    def __init__(
        self, directory: Path, encoder: Encoder, long: ChunkSettings, report: ChangeReport, *, show_progress: bool
    ) -> None:
        settle_precision(encoder)  # before it is asked what the staged vectors are kept apart by
        self._encoder = encoder
        self._long = long
        self._report = report
        self._show_progress = show_progress
        self._staging = Staging.for_encoder(directory / STAGING, encoder)

    def of_documents(self, parts: PartWriter, documents: Sequence[Document], known: Sequence[Segment]) -> DensePart:
        """Write the vectors of new documents, row by row.

        Args:
            parts: where the part goes.
            documents: in the order of their rows.
            known: segments whose vectors may serve again.
        """
        texts = FullText.of(documents)
        n_characters = sum(len(document.text) + len(document.title) for document in documents)
        lookups = [_lookup(segment.passages) for segment in known if segment.passages is not None]
        return self._write(parts, texts, lookups, n_characters)

    def of_segment(self, parts: PartWriter, segment: Segment) -> DensePart:
        """Write the vectors of a stored segment's documents, deleted ones left out."""
        store = segment.documents
        texts = (FullText(row, store.id(row), *store.full_text(row)) for row in segment.alive_rows().tolist())
        n_characters = sum(len(store.full_text(row)[0]) for row in segment.alive_rows().tolist())
        return self._write(parts, texts, [], n_characters)

    def finish(self) -> None:
        """Remove the staged vectors: they are committed."""
        self._staging.clear()

    def keep(self) -> None:
        """Make what has been encoded durable for the next attempt, after this one has failed."""
        self._staging.flush()

    def _write(
        self, parts: PartWriter, texts: Iterator[FullText], known: Sequence[Lookup], n_characters: int
    ) -> DensePart:
        spans: list[np.ndarray] = []
        hashes: list[np.ndarray] = []
        # The total is an estimate by characters, put right group by group as texts are tokenised.
        total = n_characters // CHARACTERS_PER_TOKEN
        with parts.new("dense") as part:
            with (
                VectorStoreWriter(part.directory, self._encoder.dimension) as store,
                progress("encoding", unit="tokens", total=total, enabled=self._show_progress) as bar,
            ):
                while group := list(islice(texts, GROUP)):
                    rows, group_spans, group_hashes, vectors = self._encode(group, known, bar)
                    store.append(vectors, rows)
                    spans.append(group_spans)
                    hashes.append(group_hashes)
            write_passage_sides(part.directory, _stacked(spans, 2), _stacked(hashes, 16))
        execution = msgspec.to_builtins(self._encoder.execution())
        return DensePart(part=part.sealed(), n_passages=sum(map(len, spans)), execution=execution)

    def _encode(
        self, group: Sequence[FullText], known: Sequence[Lookup], bar: ProgressBar
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, spans, hashes and vectors of the passages of some documents."""
        split = split_documents(
            [text.full_text for text in group],
            [text.title_length for text in group],
            self._encoder,
            self._long,
            [text.document_id for text in group],
        )
        bar.grow(-sum(len(text.full_text) for text in group) // CHARACTERS_PER_TOKEN)
        passages = [passage for document in split.passages for passage in document]
        encoded = self._encoded(group, split, known, bar)
        self._count(split, len(passages), encoded.n_encoded)
        vectors = normalise(encoded.vectors) if self._encoder.similarity == "cosine" else encoded.vectors
        rows = np.repeat([text.row for text in group], [len(document) for document in split.passages])
        spans = np.array([(passage.start, passage.end) for passage in passages], np.int32).reshape(-1, 2)
        return rows, spans, encoded.hashes, vectors

    def _encoded(
        self, group: Sequence[FullText], split: SplitDocuments, known: Sequence[Lookup], bar: ProgressBar
    ) -> EncodedPassages:
        """Return the vectors of all passages, document by document."""
        if self._long.policy == "late":
            documents = [
                SplitDocument(text.full_text, text.title_length, passages)
                for text, passages in zip(group, split.passages, strict=True)
            ]
            return encode_late(self._encoder, documents, known=known, staging=self._staging, progress=bar)
        passages = [passage for document in split.passages for passage in document]
        return encode_passages(
            self._encoder,
            [passage.text for passage in passages],
            tokens=[passage.tokens for passage in passages],
            known=known,
            staging=self._staging,
            progress=bar,
        )

    def _count(self, split: SplitDocuments, n_passages: int, n_encoded: int) -> None:
        self._report.passages += n_passages
        self._report.encoded += n_encoded
        self._report.long_documents += split.long_documents
        self._report.tokens_cut += split.tokens_cut


def write_given_vectors(parts: PartWriter, waiting: Sequence[PendingDocument], recorded: EncoderEntry) -> DensePart:
    """Write vectors that the user gave, one passage a document.

    Args:
        parts: where the part goes.
        waiting: documents with their vectors, in the order of their rows.
        recorded: what the manifest says of them.
    """
    lengths = [len(pending.stored.document.full_text) for pending in waiting]
    with parts.new("dense") as part:
        with VectorStoreWriter(part.directory, recorded.dimension) as store:
            for start in range(0, len(waiting), GROUP):
                group = [pending.vector for pending in waiting[start : start + GROUP]]
                vectors = as_stored(np.stack([vector for vector in group if vector is not None]), recorded)
                store.append(vectors, np.arange(start, start + len(vectors)))
        spans = np.stack([np.zeros(len(waiting), np.int32), np.array(lengths, np.int32)], axis=1)
        hashes = join_hashes([pending.stored.content for pending in waiting])
        write_passage_sides(part.directory, spans, hashes)
    return DensePart(part=part.sealed(), n_passages=len(waiting))


def as_stored(vectors: np.ndarray, recorded: EncoderEntry) -> np.ndarray:
    """Return given vectors, (n, d) float32, as they are stored: of length one where cosines are compared."""
    return normalise(vectors) if recorded.similarity == "cosine" else vectors


def _lookup(passages: PassageStore) -> Lookup:
    def find(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positions = passages.find(hashes)
        found = positions >= 0
        return found, passages.vectors.gather(positions[found])

    return find


def _stacked(blocks: Iterable[np.ndarray], width: int) -> np.ndarray:
    return np.concatenate([np.empty((0, width), np.int32 if width == 2 else np.uint8), *blocks])
