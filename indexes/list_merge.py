"""Copying documents' lists from several indexes into one, and making postings of them, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from indexes.documents import DocumentsWriter, PackedDocuments
from indexes.lists import PAIRS_IN_MEMORY, Lists, Transposition, blocks, offsets_of
from indexes.postings_writer import PostingsWriter

_PAIRS_READ = 1 << 23
"""Pairs that are unpacked at a time while others are being collected: 64 MiB."""

Source = tuple[PackedDocuments, np.ndarray, np.ndarray]
"""An index's lists, the rows to copy, (n,) int64 ascending, and the new number of each member, int32, -1 for none."""

Values = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Turns postings' documents, int32, and frequencies, uint32, into the values to store, uint8."""


def copy_documents(
    sources: Sequence[Source], order: np.ndarray, directory: Path, seen: Callable[[int, Lists], None]
) -> None:
    """Write chosen lists of several indexes in a given order.

    Args:
        sources: what to copy.
        order: (n,) int64, which of the copied rows, counted one source after the other, comes first, second and so on.
        directory: where the files go.
        seen: is called with each block, the number of its first document before it.

    Raises:
        CorruptIndexError: a source's lists are damaged.
    """
    empty = np.empty(0, np.int64)
    numbers = np.repeat(np.arange(len(sources)), [len(rows) for _, rows, _ in sources])[order]
    rows = np.concatenate([empty, *(rows for _, rows, _ in sources)])[order]
    sizes = np.concatenate([empty, *(documents.sizes(rows) for documents, rows, _ in sources)])[order]
    offsets = offsets_of(sizes)
    with DocumentsWriter(directory) as writer:
        for first, last in blocks(offsets, PAIRS_IN_MEMORY):
            n_pairs = int(offsets[last] - offsets[first])
            members, frequencies = np.empty(n_pairs, np.int32), np.empty(n_pairs, np.uint32)
            for number, (documents, _, renumbered) in enumerate(sources):
                mine = first + np.flatnonzero(numbers[first:last] == number)
                targets = offsets[mine] - offsets[first]
                documents.copy(rows[mine], renumbered, targets, sizes[mine], members, frequencies)
            block = Lists(offsets[first : last + 1] - offsets[first], members, frequencies, str(directory))
            seen(first, block)
            writer.append(block)


def write_postings(
    directory: Path, documents: PackedDocuments, offsets: np.ndarray, values: Values | None, *, columns: bool = False
) -> None:
    """Write the postings of documents' lists, in as many passes over them as keep the memory bounded.

    Args:
        directory: where the files go.
        documents: all documents of the index.
        offsets: (n_members + 1,) int64, where the postings of each member begin.
        values: what to store beside each posting; None for nothing.
        columns: whether chunks may be columns, see `indexes.postings`.
    """
    n_members = len(offsets) - 1
    columns_of = len(documents) if columns else None
    with PostingsWriter(directory, with_values=values is not None, columns_of=columns_of) as writer:
        for first, last in blocks(offsets, PAIRS_IN_MEMORY):
            collected = Transposition(offsets, first, last)
            block = Lists(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.uint32), str(directory))
            for base, end in documents.ranges(_PAIRS_READ):
                block = documents.some(np.arange(base, end), n_members)
                collected.add(base, block)
            postings = collected.finished(block)
            stored = np.empty(0, np.uint8) if values is None else values(postings.members, postings.frequencies)
            writer.append(postings.offsets, postings.members, stored)
