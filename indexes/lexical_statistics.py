"""Statistics of a collection for lexical scoring: counted over all segments, without deleted documents.

Segments carry their own counts; a deleted document is subtracted by its list of terms. The numbers are those of one new
index of the living documents, so a term's weight never depends on what was deleted or how documents are spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.dictionary import EncodedTerms
from indexes.errors import CorruptIndexError
from indexes.inverted import InvertedIndex
from indexes.living import LivingDocuments, check_segment


@dataclass(frozen=True)
class LexicalSegment:
    """What BM25 searches of a segment.

    Attributes:
        index: its inverted index.
        alive: (n_documents,) bool, False for deleted documents; None when none is deleted.
        sequences: (n_documents,) int64, ascending: equal scores are ordered by it.
    """

    index: InvertedIndex
    alive: np.ndarray | None
    sequences: np.ndarray

    def __post_init__(self) -> None:
        check_segment(self.index.n_documents, self.alive, self.sequences)


class LexicalStatistics:
    """What scoring needs to know of all segments together. Immutable.

    Making one costs a pass over the lengths and over the deleted documents' lists of terms.

    Args:
        segments: the collection.

    Attributes:
        segments: the same, in their order.
        living: which of their documents are not deleted.
        n_documents: living documents.
        average_length: of the living documents, in the index's units; 1 where all are empty.
    """

    def __init__(self, segments: Sequence[LexicalSegment]) -> None:
        self.segments = tuple(segments)
        self.n_documents = total_length = 0
        self.living = LivingDocuments(
            [segment.index.n_documents for segment in segments], [segment.alive for segment in segments]
        )
        self._frequencies: list[np.ndarray | None] = []
        for segment, alive in zip(segments, self.living.masks, strict=True):
            index = segment.index
            self.n_documents += index.n_documents if alive is None else int(np.count_nonzero(alive))
            total_length += index.total_length if alive is None else int(index.lengths[alive].sum(dtype=np.int64))
            self._frequencies.append(None if alive is None else index.document_frequencies(alive))
        self.average_length = total_length / self.n_documents if total_length else 1.0

    def look_up(self, terms: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """Return terms' ids in each segment, -1 where absent, and in how many living documents they occur, int64.

        Raises:
            CorruptIndexError: the counts of a term are impossible.
        """
        numbers, encoded = [], EncodedTerms.of(terms)
        total = np.zeros(len(terms), np.int64)
        for segment, counted in zip(self.segments, self._frequencies, strict=True):
            ids = segment.index.term_ids(encoded)
            numbers.append(ids)
            if counted is None:
                starts, ends = segment.index.spans(ids)
                total += ends - starts
            else:
                present = ids >= 0
                total[present] += counted[ids[present]]
        if len(total) and not (total.min() >= 0 and total.max() <= self.n_documents):
            raise CorruptIndexError(
                f"files damaged: a term is in {total.max():,} of {self.n_documents:,} documents; restore the index"
            )
        return numbers, total
