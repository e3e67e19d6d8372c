"""Classes of (frequency, length) pairs: one byte that bounds what a term's occurrences in a document are worth.

BM25 turns a frequency and a document's length into a number with the collection's average length and with k1 and b,
which all may change after the index was written. So a posting does not hold that number but the class of its pair, and
each class knows boxes of pairs that it holds. From them a search computes, for the statistics of its moment, the most
and the least that a pair of the class can be worth.

Half of the 256 classes hold a single pair each, the most frequent ones; in collections of short texts they cover nine
postings in ten, and their two bounds are equal. (High frequencies and long lengths are told apart only by bins of
about a sixty-fourth of their size; there a class holds a pair of bins.) The other pairs share the other half by what
they are worth at usual settings, those of the three most frequent frequencies (1, 2 and 3, as a rule) only with one
another: then a posting tells its frequency, and with the document's length its exact worth. Classes are numbered by
worth, so that the largest number in a block bounds the block.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexes.array_writer import save_array
from indexes.arrays import ArrayFolder
from indexes.bm25_formula import BM25Settings, length_norms
from indexes.compilation import read_only
from indexes.errors import CorruptIndexError
from indexes.lists import Lists, offsets_of

BOXES = "frequency-classes"
"""Name of the file of (n_boxes, 5) int64: class, lowest and highest frequency, shortest and longest length."""

_N_CLASSES = 256
_POOLS = 3
"""Frequencies whose pairs share no class with pairs of other frequencies. More of them would make the bounds wider."""

_EXACT_FREQUENCIES = 128
"""Lower frequencies have a bin each; higher ones share 64 bins between powers of two."""

_EXACT_LENGTHS = 512
"""Shorter lengths have a bin each; longer ones share 64 bins between powers of two."""

_MANTISSA_BITS = 6
_EXACT_BITS = 9


class PairCounts:
    """Counts how often frequencies and lengths go together in a segment.

    Args:
        lengths: (n_documents,) int32.
    """

    def __init__(self, lengths: np.ndarray) -> None:
        self._bins = _length_bins(lengths)
        self._n_bins = int(self._bins.max(initial=0)) + 1
        self._counts = np.zeros((_EXACT_FREQUENCIES, self._n_bins), np.int64)
        self._average = float(lengths.mean()) if len(lengths) else 1.0

    def add(self, first: int, lists: Lists) -> None:
        """Count the lists of the documents first, first + 1, ..."""
        from indexes import packing_kernels

        highest = _frequency_bin(int(lists.frequencies.max(initial=0)))
        if highest >= len(self._counts):
            grown = np.zeros((highest + 1, self._n_bins), np.int64)
            grown[: len(self._counts)] = self._counts
            self._counts = grown
        bins = read_only(self._bins[first : first + len(lists.offsets) - 1])
        packing_kernels.count_pairs_of_bins(read_only(lists.offsets), read_only(lists.frequencies), bins, self._counts)

    def classes(self) -> FrequencyClasses:
        """Return the classes for what was counted."""
        frequencies, bins = np.nonzero(self._counts)
        counts = self._counts[frequencies, bins]
        lowest, highest = _frequency_edges(frequencies)
        shortest, longest = _bin_edges(bins)
        usual = length_norms(shortest / max(self._average, 1e-9), BM25Settings(), 1)
        worth = highest / (highest + usual)

        group = np.empty(len(counts), np.int64)
        by_count = np.lexsort((bins, frequencies, -counts))
        alone, others = by_count[: _N_CLASSES // 2], by_count[_N_CLASSES // 2 :]
        group[alone] = np.arange(len(alone))
        mixed = lowest[others] < highest[others]
        group[others] = _N_CLASSES // 2 + _shared(frequencies[others], mixed, counts[others], worth[others])
        most = np.full(_N_CLASSES, -1.0)
        np.maximum.at(most, group, worth)
        number = np.empty(_N_CLASSES, np.int64)
        number[np.argsort(most, kind="stable")] = np.arange(_N_CLASSES)
        classes = number[group]

        codes = np.zeros(self._counts.shape, np.uint8)
        codes[frequencies, bins] = classes
        boxes = np.stack([classes, lowest, highest, shortest, longest], axis=1).astype(np.int64)
        return FrequencyClasses(_merged(boxes), codes, self._bins)


@dataclass(frozen=True)
class FrequencyClasses:
    """Classes of pairs, for writing postings.

    Attributes:
        boxes: (n_boxes, 5) int64, see `BOXES`.
        codes: (n_frequency_bins, n_length_bins) uint8, the class of a pair of bins.
        length_bins: (n_documents,) int32, the bin of each document's length.
    """

    boxes: np.ndarray
    codes: np.ndarray
    length_bins: np.ndarray

    def of(self, rows: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
        """Return the class of each posting, (n,) uint8, given its document, int32, and frequency, uint32."""
        from indexes import packing_kernels

        values = np.empty(len(rows), np.uint8)
        packing_kernels.classify(
            read_only(frequencies), read_only(rows), read_only(self.length_bins), read_only(self.codes), values
        )
        return values

    def write(self, directory: Path) -> None:
        """Write the boxes; the caller makes them durable."""
        save_array(directory, BOXES, self.boxes)


def load_boxes(folder: ArrayFolder) -> np.ndarray:
    """Return the boxes of an index's classes, (n_boxes, 5) int64; see `BOXES`.

    Raises:
        CorruptIndexError: the file is missing or holds impossible boxes.
    """
    boxes = folder.load(BOXES, np.int64, (None, 5))
    classes, lowest, highest, shortest, longest = boxes.T
    possible = (classes >= 0) & (classes < _N_CLASSES) & (lowest > 0) & (lowest <= highest)
    if not (possible & (shortest >= 0) & (shortest <= longest)).all():
        raise CorruptIndexError(
            f"file damaged: {folder.directory / BOXES}.npy holds impossible classes; restore it or index again"
        )
    return boxes


def class_bounds(boxes: np.ndarray, settings: BM25Settings, unit: int, average_length: float) -> np.ndarray:
    """Return the most and the least that a pair of each class is worth, (2, 256) float64; 0 for classes without pairs.

    Worth is tf / (tf + norm), see `indexes.bm25_formula`: it grows with the frequency and falls with the length.

    Args:
        boxes: of the index.
        settings: k1 and b.
        unit: of frequencies and lengths.
        average_length: of the collection at this moment.
    """
    classes, lowest, highest, shortest, longest = boxes.T
    bounds = np.zeros((2, _N_CLASSES))
    for row, frequencies, lengths, extreme in ((0, highest, shortest, np.maximum), (1, lowest, longest, np.minimum)):
        worth = frequencies / (frequencies + length_norms(lengths / average_length, settings, unit))
        bounds[row, classes] = worth
        extreme.at(bounds[row], classes, worth)
    return bounds


def frequency_bounds(boxes: np.ndarray) -> np.ndarray:
    """Return the highest and the lowest frequency of each class, (2, 256) float64; 0 for classes without pairs."""
    classes, lowest, highest, _, _ = boxes.T
    bounds = np.zeros((2, _N_CLASSES))
    bounds[:, classes] = lowest
    np.maximum.at(bounds[0], classes, highest)
    np.minimum.at(bounds[1], classes, lowest)
    return bounds


def class_frequencies(boxes: np.ndarray) -> np.ndarray:
    """Return the frequency that all pairs of a class have, (256,) float64; 0 where they have several or there are none.

    Args:
        boxes: of the index.
    """
    classes, lowest, highest, _, _ = boxes.T
    least, most = np.full(_N_CLASSES, np.iinfo(np.int64).max), np.zeros(_N_CLASSES, np.int64)
    np.minimum.at(least, classes, lowest)
    np.maximum.at(most, classes, highest)
    return np.where(least == most, most, 0).astype(np.float64)


def _shared(frequencies: np.ndarray, mixed: np.ndarray, counts: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Divide half of the classes among pairs, (n,) int64 from 0 on.

    Pairs are put in a row, pool by pool and within a pool by worth, and cut where the sum of weights is a multiple of
    a pool's share. The square root of density times step is the weight that makes the average error the smallest
    (companding: Bennett, "Spectra of quantized signals", 1948, for absolute errors); the step itself, added to it,
    keeps the largest error small.

    Args:
        frequencies: (n,) bins of the pairs' frequencies.
        mixed: (n,) bool, whether such a bin holds several frequencies.
        counts: (n,) postings of each pair.
        worth: (n,) what a pair is worth, above 0.
    """
    totals = np.bincount(frequencies[~mixed], counts[~mixed])
    own = np.sort(np.argsort(-totals, kind="stable")[:_POOLS])
    pools = np.searchsorted(own, frequencies)
    pools[mixed | (np.append(own, -1)[pools] != frequencies)] = len(own)

    order = np.lexsort((worth, pools))
    ends = np.flatnonzero(np.diff(pools[order], append=-1))
    steps = np.diff(worth[order], append=0.0)
    steps[ends] = 0.0
    weights = np.sqrt(counts[order] * steps)
    weights = weights / max(weights.sum(), 1e-9) + steps / max(steps.sum(), 1e-9)
    before = np.append(0.0, np.cumsum(weights))
    starts = np.flatnonzero(np.diff(pools[order], prepend=-1))
    totals = before[ends] - before[starts]
    n_classes = 1 + ((_N_CLASSES // 2 - len(ends)) * totals / max(totals.sum(), 1e-9)).astype(np.int64)
    pool = np.repeat(np.arange(len(ends)), ends + 1 - starts)
    share = (before[:-1] - before[starts][pool]) / np.maximum(totals[pool], 1e-9)
    classes = np.empty(len(order), np.int64)
    inside = np.minimum((share * n_classes[pool]).astype(np.int64), n_classes[pool] - 1)
    classes[order] = offsets_of(n_classes)[:-1][pool] + inside
    return classes


def _merged(boxes: np.ndarray) -> np.ndarray:
    """Return one box for all boxes with the same class and frequencies, sorted."""
    order = np.lexsort((boxes[:, 1], boxes[:, 0]))
    boxes = boxes[order]
    if not len(boxes):
        return boxes
    first = np.flatnonzero(np.r_[True, (boxes[1:, :2] != boxes[:-1, :2]).any(axis=1)])
    merged = boxes[first]
    merged[:, 3] = np.minimum.reduceat(boxes[:, 3], first)
    merged[:, 4] = np.maximum.reduceat(boxes[:, 4], first)
    return merged


def _length_bins(lengths: np.ndarray) -> np.ndarray:
    """Return the bin of each length, (n,) int32, ascending with it."""
    exponents = np.frexp(np.maximum(lengths, 1).astype(np.float64))[1] - 1  # floor of the binary logarithm
    mantissas = (lengths.astype(np.int64) >> np.maximum(exponents - _MANTISSA_BITS, 0)) - (1 << _MANTISSA_BITS)
    long = _EXACT_LENGTHS + ((exponents - _EXACT_BITS) << _MANTISSA_BITS) + mantissas
    return np.where(lengths < _EXACT_LENGTHS, lengths, long).astype(np.int32)


def _frequency_bin(frequency: int) -> int:
    """Return the bin of a frequency, as `packing_kernels` does."""
    shift = max(frequency.bit_length() - 7, 0)
    return (frequency >> shift) + (shift << _MANTISSA_BITS)


def _frequency_edges(bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest frequency of each bin, int64."""
    shifts = np.maximum((bins >> _MANTISSA_BITS) - 1, 0)
    lowest = (bins - (shifts << _MANTISSA_BITS)) << shifts
    return lowest.astype(np.int64), (lowest + (1 << shifts) - 1).astype(np.int64)


def _bin_edges(bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shortest and the longest length of each bin, int64."""
    exponents = ((bins - _EXACT_LENGTHS) >> _MANTISSA_BITS) + _EXACT_BITS
    mantissas = (bins - _EXACT_LENGTHS) & ((1 << _MANTISSA_BITS) - 1)
    shifts = np.maximum(exponents - _MANTISSA_BITS, 0)
    shortest = np.where(bins < _EXACT_LENGTHS, bins, ((1 << _MANTISSA_BITS) + mantissas) << shifts)
    longest = np.where(bins < _EXACT_LENGTHS, bins, shortest + (1 << shifts) - 1)
    return shortest.astype(np.int64), longest.astype(np.int64)
