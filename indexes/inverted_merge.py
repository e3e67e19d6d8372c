"""Merging inverted indexes: chosen documents of several, in a given order, without their texts.

Dictionaries are merged like sorted files; documents' lists are copied block by block with new term numbers, which keeps
them sorted, for old and new numbers both follow the terms' order; postings are made from them as for a new index, in as
many passes as keep the memory bounded. The files are, byte for byte, those of an index built from these documents.
Memory: the numbers of terms and documents, plus blocks of bounded size.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexes.array_writer import save_array
from indexes.arrays import ArrayFolder
from indexes.dictionary import write_dictionary
from indexes.documents import PackedDocuments
from indexes.errors import CorruptIndexError
from indexes.frequency_classes import PairCounts
from indexes.inversion import LARGEST, LENGTHS
from indexes.list_merge import copy_documents, write_postings
from indexes.lists import offsets_of

if TYPE_CHECKING:
    from indexes.inverted import InvertedIndex

Inputs = Sequence[tuple["InvertedIndex", np.ndarray]]


def merge_inverted(inputs: Inputs, order: np.ndarray, directory: Path) -> None:
    """Write one index of the chosen documents of several.

    Args:
        inputs: indexes and the rows to keep of each, ascending.
        order: (n_kept,) int64, which of the kept rows, counted one input after the other, comes first, second and so
            on: the permutation that sorts them by sequence number.
        directory: exists already; the files go directly into it, and the caller makes them durable.

    Raises:
        CorruptIndexError: an input's lists are damaged.
        ValueError: `order` does not fit, or there are more documents than an index holds.
    """
    kept = [(index, np.ascontiguousarray(rows, np.int64)) for index, rows in inputs]
    total = sum(len(rows) for _, rows in kept)
    if len(order) != total or total > LARGEST:
        raise ValueError(f"{total:,} rows are kept and {len(order):,} are ordered; at most {LARGEST:,} fit in an index")
    for index, rows in kept:
        if len(rows) and not (rows[0] >= 0 and rows[-1] < index.n_documents and (np.diff(rows) > 0).all()):
            raise ValueError(f"rows to keep of {index.directory} must ascend from 0 to {index.n_documents - 1}")

    counts = [index.document_frequencies(_mask(index, rows)) for index, rows in kept]
    renumbered, totals = _merge_dictionaries(kept, counts, directory)
    lengths = np.concatenate([np.empty(0, np.int32), *(index.lengths[rows] for index, rows in kept)])[order]
    save_array(directory, LENGTHS, lengths)
    pairs = PairCounts(lengths)
    sources = [(index.documents, rows, new) for (index, rows), new in zip(kept, renumbered, strict=True)]
    copy_documents(sources, order, directory, pairs.add)
    classes = pairs.classes()
    classes.write(directory)
    documents = PackedDocuments.open(ArrayFolder(directory), total)
    write_postings(directory, documents, offsets_of(totals), classes.of)


def _mask(index: InvertedIndex, rows: np.ndarray) -> np.ndarray:
    mask = np.zeros(index.n_documents, bool)
    mask[rows] = True
    return mask


def _merge_dictionaries(
    kept: Inputs, counts: Sequence[np.ndarray], directory: Path
) -> tuple[list[np.ndarray], np.ndarray]:
    """Write the dictionary of the terms that kept documents hold.

    Returns:
        For each input the new number of each of its terms, int32, -1 where it is gone; and the new terms' document
        frequencies, int64.
    """
    renumbered = [np.full(index.n_terms, -1, np.int32) for index, _ in kept]

    def numbered() -> Iterator[bytes]:
        entries = [_entries(number, index, counts[number]) for number, (index, _) in enumerate(kept)]
        previous, new = None, -1
        for term, number, old in heapq.merge(*entries, key=itemgetter(0)):
            if term != previous:
                previous, new = term, new + 1
                yield term
            renumbered[number][old] = new

    try:
        n_terms = write_dictionary(directory, numbered())
    except ValueError as error:
        names = ", ".join(str(index.directory) for index, _ in kept)
        raise CorruptIndexError(f"a dictionary in {names} is damaged: {error}; restore it or index again") from None
    totals = np.zeros(n_terms, np.int64)
    for number, new in enumerate(renumbered):
        alive = new >= 0
        totals[new[alive]] += counts[number][alive]
    return renumbered, totals


def _entries(number: int, index: InvertedIndex, counts: np.ndarray) -> Iterator[tuple[bytes, int, int]]:
    """Iterate over an input's terms that are kept: bytes, the input's number, the term's old number."""
    for old, term in enumerate(index.dictionary.encoded()):
        if counts[old]:
            yield term, number, old
