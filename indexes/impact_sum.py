"""Scoring an inverted index of terms by adding up what the documents' terms weigh, without idf and without lengths.

    score(q, d) = sum over terms t of q:  weight(t) * tf(t, d)

For documents whose frequencies are impacts already, learned elsewhere (DeepImpact: Mallia et al., SIGIR 2021). They may
be any integers, not only those of 8 bits that `indexes.sparse` holds, and terms need no numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexes.bm25 import BM25Searcher
from indexes.bm25_formula import BM25Settings
from indexes.frequency_classes import class_frequencies, frequency_bounds
from indexes.lexical_statistics import LexicalSegment
from indexes.segment_table import Formula

_NO_LENGTHS = np.empty(0, np.int32)


class ImpactSearcher(BM25Searcher):
    """Searches segments as one collection, as `BM25Searcher` does, by sums of impacts; exact.

    Args:
        segments: what to search; their numbers in `Hits` are their places here.
        unit: stored frequencies are multiples of 1 / unit.
    """

    def __init__(self, segments: Sequence[LexicalSegment], unit: int = 1) -> None:
        super().__init__(segments, BM25Settings(), unit)

    def _formula(self, segment: LexicalSegment) -> Formula:
        boxes = segment.index.boxes
        upper, lower = frequency_bounds(boxes)
        return Formula(upper, lower, class_frequencies(boxes), _NO_LENGTHS)

    def _worth(self, frequency: float, segment: int, row: int) -> float:  # noqa: ARG002 - lengths count for nothing
        return frequency

    def _idf(self, document_frequency: int) -> float:  # noqa: ARG002 - all terms count alike
        return 1 / self._unit
