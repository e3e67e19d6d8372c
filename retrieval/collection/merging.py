"""Merging segments: the same documents, in sequence order, in one segment without deleted rows.

Nothing is analysed or encoded again: postings and vectors are carried over, so merging costs only reading and writing.
The result is what a segment built from the surviving documents would be, byte for byte.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from retrieval.collection.document_store import StoredRow, write_documents
from retrieval.collection.manifest import DensePart, SegmentEntry, SparsePart, TokensPart
from retrieval.collection.parts import PartWriter
from retrieval.collection.segment import Segment
from retrieval.collection.stored_settings import shared_facts

if TYPE_CHECKING:
    from retrieval.collection.working_segment import WorkingSegment

TIER_FACTOR = 8
"""Segments of about the same size that become one: beyond the smallest, a document is copied log_8(n) times."""

_SMALLEST_TIER = 1000
_VECTOR_BLOCK = 8192
_ROWS = 1 << 14


def segments_to_merge(segments: Sequence[WorkingSegment], covered: set[str]) -> list[WorkingSegment]:
    """Return a group of segments of similar size that should become one, or nothing.

    The log-structured policy: segments fall into tiers by powers of `TIER_FACTOR`; a tier that is full is merged.
    Segments whose vectors an approximate searcher holds are left alone, for merging them would make it useless.
    """
    tiers: dict[int, list[WorkingSegment]] = defaultdict(list)
    for working in segments:
        if working.segment.name not in covered:
            tiers[_tier(working.n_alive)].append(working)
    for tier in sorted(tiers):
        if len(tiers[tier]) >= TIER_FACTOR:
            return tiers[tier]
    return []


def _tier(n_documents: int) -> int:
    tier, size = 0, _SMALLEST_TIER
    while n_documents > size:
        tier, size = tier + 1, size * TIER_FACTOR
    return tier


def merge_segments(parts: PartWriter, sources: Sequence[tuple[Segment, np.ndarray]]) -> SegmentEntry | None:
    """Write one segment from the given rows of several; None when there are no rows.

    Args:
        parts: where the new parts go.
        sources: segments and the rows (ascending, int64) to keep of each.
    """
    from indexes.inverted import merge_inverted

    sources = [(segment, rows) for segment, rows in sources if len(rows)]
    if not sources:
        return None
    sequences = np.concatenate([segment.documents.sequences[rows] for segment, rows in sources])
    order = np.argsort(sequences, kind="stable")
    with parts.new("documents") as documents:
        write_documents(documents.directory, _documents(sources, order))
    with parts.new("lexical") as lexical:
        merge_inverted([(segment.lexical, rows) for segment, rows in sources], order, lexical.directory)
    return SegmentEntry(
        documents=documents.sealed(),
        lexical=lexical.sealed(),
        n_documents=len(order),
        dense=_merge_vectors(parts, sources, order),
        sparse=_merge_sparse(parts, sources, order),
        tokens=_merge_states(parts, sources, order),
    )


def _documents(sources: Sequence[tuple[Segment, np.ndarray]], order: np.ndarray) -> Iterator[StoredRow]:
    places = _places(sources)
    for start in range(0, len(order), _ROWS):  # as Python's numbers only some at a time
        for number, row in places[order[start : start + _ROWS]].tolist():
            yield sources[number][0].documents.stored(row)


def _places(sources: Sequence[tuple[Segment, np.ndarray]]) -> np.ndarray:
    """Return (n, 2): the number of the source and the row in it, of all kept rows one source after the other."""
    numbers = np.repeat(np.arange(len(sources)), [len(rows) for _, rows in sources])
    return np.stack([numbers, np.concatenate([rows for _, rows in sources])], axis=1)


def _merge_vectors(
    parts: PartWriter, sources: Sequence[tuple[Segment, np.ndarray]], order: np.ndarray
) -> DensePart | None:
    kept = [segment.passages for segment, _ in sources if segment.passages is not None]
    if len(kept) < len(sources):
        return None
    from indexes.vectors import VectorStoreWriter
    from retrieval.collection.passage_store import write_passage_sides

    numbers, positions, rows = _passage_places(sources, [store.vectors.rows for store in kept], order)
    spans = np.empty((len(positions), 2), np.int32)
    hashes = np.empty((len(positions), 16), np.uint8)
    dimension = kept[0].vectors.dimension
    with parts.new("dense") as dense:
        with VectorStoreWriter(dense.directory, dimension) as writer:
            for start in range(0, len(positions), _VECTOR_BLOCK):
                block = slice(start, start + _VECTOR_BLOCK)
                vectors = np.empty((len(positions[block]), dimension), np.float32)
                for number, store in enumerate(kept):
                    mine = np.flatnonzero(numbers[block] == number)
                    chosen = positions[block][mine]
                    vectors[mine] = store.vectors.gather(chosen)
                    spans[start + mine] = store.spans[chosen]
                    hashes[start + mine] = store.hashes[chosen]
                writer.append(vectors, rows[block])
        write_passage_sides(dense.directory, spans, hashes)
    execution = shared_facts([store.execution for store in kept])
    return DensePart(part=dense.sealed(), n_passages=len(positions), execution=execution)


def _merge_sparse(
    parts: PartWriter, sources: Sequence[tuple[Segment, np.ndarray]], order: np.ndarray
) -> SparsePart | None:
    kept = [segment.sparse for segment, _ in sources if segment.sparse is not None]
    if len(kept) < len(sources):
        return None
    from indexes.sparse_index import merge_sparse
    from retrieval.collection.sparse_store import write_sparse_sides

    numbers, positions, rows = _passage_places(sources, [store.rows for store in kept], order)
    # Each segment is in sequence order, so that what is taken of it stays in the order that it has there.
    chosen = [positions[numbers == number] for number in range(len(kept))]
    places = np.argsort(np.argsort(numbers, kind="stable"), kind="stable")
    spans = np.empty((len(positions), 2), np.int32)
    hashes = np.empty((len(positions), 16), np.uint8)
    for number, store in enumerate(kept):
        mine = numbers == number
        spans[mine], hashes[mine] = store.spans[positions[mine]], store.hashes[positions[mine]]
    with parts.new("sparse") as sparse:
        merge_sparse(list(zip((store.index for store in kept), chosen, strict=True)), places, sparse.directory)
        write_sparse_sides(sparse.directory, rows, spans, hashes)
    execution = shared_facts([store.execution for store in kept])
    return SparsePart(part=sparse.sealed(), n_passages=len(positions), execution=execution)


def _merge_states(
    parts: PartWriter, sources: Sequence[tuple[Segment, np.ndarray]], order: np.ndarray
) -> dict[str, TokensPart]:
    if not any(segment.tokens for segment, _ in sources):
        return {}
    from retrieval.collection.token_merging import merge_states

    return merge_states(parts, [segment.tokens for segment, _ in sources], _places(sources)[order])


def _passage_places(
    sources: Sequence[tuple[Segment, np.ndarray]], stores: Sequence[np.ndarray], order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say where the passages go.

    Args:
        sources: segments and the rows to keep of each.
        stores: for each the documents of its passages, (n_passages,) int32, ascending.
        order: see `merge_segments`.

    Returns:
        For every kept passage in the new order: its source, its position there, and its new document row.
    """
    new_row = np.empty(len(order), np.int64)
    new_row[order] = np.arange(len(order))
    numbers, positions, rows = [], [], []
    first = 0
    for number, ((segment, kept_rows), documents) in enumerate(zip(sources, stores, strict=True)):
        target = np.full(segment.entry.n_documents, -1, np.int64)
        target[kept_rows] = new_row[first : first + len(kept_rows)]
        first += len(kept_rows)
        passage_rows = target[np.asarray(documents)]
        chosen = np.flatnonzero(passage_rows >= 0)
        numbers.append(np.full(len(chosen), number))
        positions.append(chosen)
        rows.append(passage_rows[chosen])
    all_numbers, all_positions, all_rows = map(np.concatenate, (numbers, positions, rows))
    # Stable: the passages of a document stay in their order.
    by_row = np.argsort(all_rows, kind="stable")
    return all_numbers[by_row], all_positions[by_row], all_rows[by_row].astype(np.int32)
