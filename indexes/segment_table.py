"""What the search kernels are told of segments: the addresses of their arrays, and what their postings are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.compilation import read_only
from indexes.documents import PackedDocuments
from indexes.postings import Postings

N_VALUES = 256
"""Values that a posting can have."""

(STARTS, CHUNK_STARTS, WINDOWS, SIZES, BOUNDS, ROWS, VALUES, DENSE_STARTS, DENSE) = range(9)
(OFFSETS, CONTENT, WAITING_OFFSETS, WAITING_CONTENT, LENGTHS, SEQUENCES) = range(9, 15)
"""Arrays: the address of array f stands at 2 f, its length behind it."""

_TYPES = (
    *(np.int64, np.int64, np.uint16, np.uint16, np.uint8, np.uint16, np.uint8, np.int64, np.uint8),
    *(np.int64, np.uint8, np.bool_, np.bool_, np.int32, np.int64),
)
OFFSETS_BEGIN, CONTENT_BEGIN = 30, 31
"""Numbers: see `kernels.views.Documents`."""

ALLOWED, CANDIDATES = 0, 1
"""Arrays in the table of what may be returned."""

ARE_FEW = 4
"""Number in that table."""

_FEW = 16
"""Documents are listed where no more than one in this many may be returned."""

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Formula:
    """How much a posting is worth, before the list's weight.

    Attributes:
        upper: (256,) float64, most that a posting with this stored value can be worth.
        lower: (256,) float64, least. Says only what may be hoped for; no result depends on it.
        frequencies: (256,) float64, the frequency of postings with this value; 0 where they may have several.
        lengths: (n_documents,) int32 where a frequency f is worth f / (f + norm) with the norm
            saturation * (1 - slope + slope * length / average) (BM25); empty where it is worth f.
        saturation: of the norm.
        slope: of the norm.
        average: of the lengths.
    """

    upper: np.ndarray
    lower: np.ndarray
    frequencies: np.ndarray
    lengths: np.ndarray
    saturation: float = 0.0
    slope: float = 0.0
    average: float = 1.0

    @classmethod
    def of_impacts(cls, worth: np.ndarray) -> Formula:
        """Return the formula of postings that are worth `worth`, (256,) float64, by their value."""
        return cls(worth, worth, worth, np.empty(0, np.int32))

    def numbers(self) -> np.ndarray:
        """Return it as the row of numbers that kernels take."""
        reached = np.maximum.accumulate(self.upper)
        gap = max(float((self.upper - self.lower).max()), 0.0)
        parameters = [self.saturation, self.slope, self.average, gap]
        return np.concatenate([self.upper, reached, self.frequencies, parameters])


@dataclass(frozen=True)
class PostingsSegment:
    """What is searched of a segment.

    Attributes:
        postings: its lists.
        documents: its documents' lists.
        formula: what postings are worth.
        sequences: (n_documents,) int64, ascending: equal scores are ordered by it.
    """

    postings: Postings
    documents: PackedDocuments
    formula: Formula
    sequences: np.ndarray


@dataclass(frozen=True)
class SegmentTable:
    """Segments, as kernels take them.

    Attributes:
        fields: (n_segments, 32) int64.
        formulas: (n_segments, 3 * 256 + 4) float64.
        order: (n_segments,) int64, the largest first.
        held: the arrays at the addresses, which must live as long.
        checked: for each segment whether its documents had been compared with their checksums.
    """

    fields: np.ndarray
    formulas: np.ndarray
    order: np.ndarray
    held: Sequence[np.ndarray]
    checked: tuple[bool, ...]


class SearchedSegments:
    """Segments that are searched together. Safe to use from several threads.

    Args:
        segments: their numbers in `Hits` are their places here.

    Attributes:
        segments: the same.
        luck: (4,) int64, what searches learn about them; see `kernels.views.Waiting`.
        n_documents: of all.
    """

    def __init__(self, segments: Sequence[PostingsSegment]) -> None:
        self.segments = tuple(segments)
        self.luck = np.zeros(4, np.int64)
        self.n_documents = sum(len(segment.documents) for segment in segments)
        self._table: SegmentTable | None = None

    def table(self) -> SegmentTable:
        """Return the table; made again only when more of the documents has been compared with its checksums."""
        checked = tuple(segment.documents.is_checked for segment in self.segments)
        if self._table is None or self._table.checked != checked:
            self._table = self._made(checked)
        return self._table

    def _made(self, checked: tuple[bool, ...]) -> SegmentTable:
        fields = np.zeros((len(self.segments), 32), np.int64)
        formulas = np.zeros((len(self.segments), 3 * N_VALUES + 4))
        held: list[np.ndarray] = []
        for number, segment in enumerate(self.segments):
            documents = segment.documents.for_kernels()
            own = [*segment.postings.for_kernels(), *documents[:4], segment.formula.lengths, segment.sequences]
            own = [np.ascontiguousarray(array, dtype) for array, dtype in zip(own, _TYPES, strict=True)]
            fields[number, : 2 * len(own)] = addresses(own)
            fields[number, [OFFSETS_BEGIN, CONTENT_BEGIN]] = documents[4:]
            formulas[number] = segment.formula.numbers()
            held.extend(own)
        order = np.argsort([-len(segment.documents) for segment in self.segments], kind="stable")
        return SegmentTable(read_only(fields), read_only(formulas), read_only(order), held, checked)


class AllowedDocuments:
    """Which documents of searched segments may be returned, as kernels take it.

    Args:
        masks: for each segment (n_documents,) bool; an empty array allows all.

    Attributes:
        table: (n_segments, 5) int64, addresses and lengths of the masks and of the rows of allowed documents, and
            whether these rows are listed, which they are where they are few.
    """

    def __init__(self, masks: Sequence[np.ndarray]) -> None:
        self._masks = [np.ascontiguousarray(mask, bool) for mask in masks]
        self._rows = [_few_rows(mask) for mask in self._masks]
        listed = zip(self._masks, self._rows, strict=True)
        fields = [[*addresses([mask, _NONE if rows is None else rows]), rows is not None] for mask, rows in listed]
        self.table = read_only(np.array(fields, np.int64).reshape(-1, 5))


def addresses(arrays: Sequence[np.ndarray]) -> list[int]:
    """Return address and length of each array."""
    return [number for array in arrays for number in (array.__array_interface__["data"][0], len(array))]


def _few_rows(mask: np.ndarray) -> np.ndarray | None:
    if len(mask) and np.count_nonzero(mask) * _FEW <= len(mask):
        return np.flatnonzero(mask)
    return None
