"""Statistics of a collection for lexical scoring: counted over all segments, without deleted documents.

Segments carry their own counts; a deleted document is subtracted by its list of terms. The numbers are those of one new
index of the living documents, so a term's weight never depends on what was deleted or how documents are spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.compilation import read_only
from indexes.errors import CorruptIndexError
from indexes.inverted import InvertedIndex

Masks = Sequence[np.ndarray | None]


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
        for name, values in (("alive", self.alive), ("sequences", self.sequences)):
            if values is not None and values.shape != (self.index.n_documents,):
                raise ValueError(f"{name} has shape {values.shape}, the index {self.index.n_documents:,} documents")


class LexicalStatistics:
    """What scoring needs to know of all segments together. Immutable.

    Making one costs a pass over the lengths and over the deleted documents' lists of terms.

    Args:
        segments: the collection.

    Attributes:
        segments: the same, in their order.
        n_documents: living documents.
        average_length: of the living documents, in the index's units; 1 where all are empty.
    """

    def __init__(self, segments: Sequence[LexicalSegment]) -> None:
        self.segments = tuple(segments)
        self.n_documents = total_length = 0
        self._alive = [_compact(segment.alive) for segment in segments]
        self._living = [read_only(np.empty(0, bool) if alive is None else alive) for alive in self._alive]
        self._frequencies: list[np.ndarray | None] = []
        for segment, alive in zip(segments, self._alive, strict=True):
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
        numbers = []
        total = np.zeros(len(terms), np.int64)
        for segment, counted in zip(self.segments, self._frequencies, strict=True):
            ids = segment.index.term_ids(terms)
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

    def allowed(self, masks: Masks | None) -> list[np.ndarray]:
        """Return which documents may be returned, for each segment; an empty array where all may.

        Args:
            masks: for each segment which documents pass a filter, (n_documents,) bool, None where all do. Deleted
                documents are left out whatever it says.

        Raises:
            ValueError: the masks do not fit the segments.
        """
        if masks is not None and len(masks) != len(self.segments):
            raise ValueError(f"{len(masks)} masks for {len(self.segments)} segments; give one for each")
        allowed = []
        for number, alive in enumerate(self._alive):
            mask = None if masks is None else masks[number]
            if mask is not None and mask.shape != (self.segments[number].index.n_documents,):
                raise ValueError(
                    f"mask {number} has shape {mask.shape}, its segment "
                    f"{self.segments[number].index.n_documents:,} documents"
                )
            if mask is None:
                allowed.append(self._living[number])
            else:
                allowed.append(read_only(np.array(mask, dtype=bool) if alive is None else mask & alive))
        return allowed


def _compact(alive: np.ndarray | None) -> np.ndarray | None:
    """Return None in place of a mask that leaves nothing out, and a copy of any other."""
    return None if alive is None or alive.all() else np.array(alive, dtype=bool)
