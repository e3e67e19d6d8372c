"""The collection's sparse encoder: loaded when a text must become a sparse vector, refused when it is another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from retrieval.collection.manifest import SparseEntry
from retrieval.collection.recorded_slot import RecordedSlot
from retrieval.collection.stored_settings import differences
from retrieval.errors import CollectionError, EncoderError, EncoderMismatchError

if TYPE_CHECKING:
    from indexes.sparse_vectors import SparseVectors
    from retrieval.collection.segment import Segment
    from retrieval.collection.snapshot import Snapshot
    from retrieval.encoders import SparseEncoder

LARGEST_WEIGHT = 4.0
"""Weight that becomes impact 255 where nobody says better: a weight of SPLADE, log(1 + x), reaches it at x = 53.6."""

COSINE_FLOOR = 0.99
"""Least cosine between a stored sparse vector and the same text encoded here; rounding can exchange single winners."""


def sparse_entry_of(encoder: SparseEncoder, largest_weight: float | None = None) -> SparseEntry:
    """Return what the manifest records of a sparse encoder.

    Args:
        encoder: the encoder.
        largest_weight: weight that is stored as impact 255; by default what the encoder says, else `LARGEST_WEIGHT`.

    Raises:
        CollectionError: the largest weight makes no sense, or the encoder has no or too many dimensions.
    """
    from indexes.sparse_vectors import MOST_DIMENSIONS

    if not 1 <= encoder.n_dimensions <= MOST_DIMENSIONS:
        raise CollectionError(
            f"the sparse encoder has {encoder.n_dimensions:,} dimensions, an index holds 1 to {MOST_DIMENSIONS:,}"
        )
    if not encoder.weighted:
        if largest_weight is not None:
            raise CollectionError("binary vectors have no weights; leave largest_weight out")
        largest = None
    else:
        offered = (largest_weight, encoder.largest_weight, LARGEST_WEIGHT)
        largest = float(next(weight for weight in offered if weight is not None))
        # The encoder's own, too: a manifest with another number could not be read again.
        if not 0 < largest <= 1e6:
            raise CollectionError(
                f"largest_weight must be positive and at most 1e6, not {largest!r}"
                + ("" if largest_weight is not None else ", as the sparse encoder says; give largest_weight=")
            )
    return SparseEntry(
        identity=msgspec.to_builtins(encoder.identity()),
        n_dimensions=int(encoder.n_dimensions),
        payload="impacts" if encoder.weighted else "binary",
        largest_weight=largest,
        source=encoder.source,
    )


def as_stored(vectors: SparseVectors, recorded: SparseEntry) -> SparseVectors:
    """Return encoded passages as they are stored: weights as impacts of 8 bits, or none."""
    from indexes.sparse_vectors import quantised

    return vectors if recorded.largest_weight is None else quantised(vectors, recorded.largest_weight)


class SparseSlot(RecordedSlot[SparseEntry, "SparseEncoder"]):
    """Holds the sparse encoder of an open collection; see `RecordedSlot`."""

    given_as = "sparse"
    rebuilt_by = "reencode_sparse"

    def _check_given(self, encoder: SparseEncoder) -> None:
        if self.recorded is None:
            raise EncoderMismatchError(
                "the collection has no sparse vectors and cannot use a sparse encoder; call reencode_sparse() to build "
                "them"
            )
        found = msgspec.to_builtins(encoder.identity())
        if found != self.recorded.identity:
            raise EncoderMismatchError(
                "the collection was built with another sparse encoder: "
                f"{differences(self.recorded.identity, found)}; open it with that one, or call reencode_sparse() to "
                "build this one's vectors"
            )

    def _load(self) -> SparseEncoder:
        from retrieval.encoders import reload_sparse_encoder

        if self.recorded is None:
            raise EncoderError(
                "the collection has no sparse vectors; call reencode_sparse() with a sparse encoder to build them"
            )
        if self.recorded.source is None:
            name = self.recorded.identity.get("name") or self.recorded.identity.get("kind") or "unnamed"
            raise EncoderError(
                f"the collection's sparse encoder ({name}) cannot be loaded by name; open the collection with sparse="
            )
        encoder = reload_sparse_encoder(self.recorded.source, self.recorded.identity)
        self._check_given(encoder)
        return encoder

    def encode_queries(self, texts: list[str], snapshot: Snapshot) -> SparseVectors:
        """Return the queries' vectors, once it is sure that the stored ones compare with them.

        Their weights are scaled so that scores are those of the model's own weights, up to the steps of the impacts.

        Raises:
            EncoderError: the encoder cannot be loaded, or returned something else than a sparse vector for each text.
            EncoderMismatchError: it makes other vectors than the stored ones.
        """
        from indexes.sparse_vectors import LARGEST_IMPACT, SparseVectors
        from retrieval.encoders.base import name_of
        from retrieval.encoders.sparse import check_sparse

        encoder = self.comparable(snapshot.segments)
        vectors = check_sparse(
            encoder.encode_queries(texts), len(texts), encoder.n_dimensions, name_of(encoder), weighted=None
        )
        largest = self.recorded.largest_weight if self.recorded else None
        if largest is None:
            return vectors
        weights = np.ones(len(vectors.dimensions)) if vectors.weights is None else vectors.weights.astype(np.float64)
        return SparseVectors(vectors.offsets, vectors.dimensions, weights * (largest / LARGEST_IMPACT))

    @property
    def _content(self) -> str:
        return "sparse vectors"

    def _stored_execution(self, segment: Segment) -> Mapping[str, Any] | None:
        return None if segment.sparse is None else segment.sparse.execution

    def _cosine_floor(self, stored: Mapping[str, Any], here: Mapping[str, Any]) -> float:  # noqa: ARG002
        return COSINE_FLOOR

    def _cosines(self, encoder: SparseEncoder, segment: Segment, n: int) -> np.ndarray:
        from retrieval.encoders.base import name_of
        from retrieval.encoders.sparse import check_sparse

        store = segment.sparse
        rows = segment.alive_rows()[:n].tolist()
        found = [row for row in rows if store is not None and len(store.of_document(row))]
        if store is None or self.recorded is None or not found:
            return np.empty(0)
        positions = np.array([store.of_document(row)[0] for row in found], np.int64)
        # A document's first passage is encoded as it stands in the text.
        spans = store.spans[positions].tolist()
        texts = [segment.documents.full_text(row)[0][start:end] for row, (start, end) in zip(found, spans, strict=True)]
        again = check_sparse(
            encoder.encode_passages(texts),
            len(texts),
            encoder.n_dimensions,
            name_of(encoder),
            weighted=encoder.weighted,
        )
        stored = store.index.vectors(positions)
        made = as_stored(again, self.recorded)
        return np.array([_cosine(made, stored, number) for number in range(len(found))])


def _cosine(first: SparseVectors, second: SparseVectors, row: int) -> float:
    one, other = (_weights(vectors.some(row, row + 1)) for vectors in (first, second))
    product = sum(weight * other.get(dimension, 0.0) for dimension, weight in one.items())
    lengths = np.sqrt(sum(w * w for w in one.values()) * sum(w * w for w in other.values()))
    return 1.0 if not one and not other else float(product / lengths) if lengths else 0.0


def _weights(vector: SparseVectors) -> dict[int, float]:
    weights = np.ones(len(vector.dimensions)) if vector.weights is None else vector.weights.astype(np.float64)
    return dict(zip(vector.dimensions.tolist(), weights.tolist(), strict=True))
