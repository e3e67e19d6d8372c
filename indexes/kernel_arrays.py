"""The arrays of an index as the search kernels take them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class PostingArrays(NamedTuple):
    """Postings as kernels take them: lists, cut into chunks where windows of documents begin; see `indexes.postings`.

    Attributes:
        starts: (n_lists + 1,) int64, where each list begins.
        chunk_starts: (n_lists + 1,) int64, its first chunk.
        windows: (n_chunks,) uint16, the window that a chunk lies in.
        sizes: (n_chunks,) uint16, its postings, minus 1.
        bounds: (n_chunks,) uint8, its largest value.
        rows: (n_postings,) uint16, rows within the window, ascending in each chunk.
        values: (n_postings,) uint8; empty where every posting has the value 1.
        dense_starts: (n_lists + 1,) int64, where the first column of each list begins; empty where there are none.
        dense: uint8, columns.
    """

    starts: np.ndarray
    chunk_starts: np.ndarray
    windows: np.ndarray
    sizes: np.ndarray
    bounds: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    dense_starts: np.ndarray
    dense: np.ndarray


class DocumentArrays(NamedTuple):
    """Packed lists as kernels take them (see `indexes.documents`), and which of their blocks nobody has compared yet.

    Attributes:
        offsets: (n_documents + 1,) int64.
        content: uint8.
        waiting_offsets: (n_blocks,) bool, blocks of the file of the offsets that are still to be compared with their
            checksums; empty when none is.
        waiting_content: the same for the content.
        offsets_begin: where the array begins in its file, in bytes.
        content_begin: the same for the content.
    """

    offsets: np.ndarray
    content: np.ndarray
    waiting_offsets: np.ndarray
    waiting_content: np.ndarray
    offsets_begin: int
    content_begin: int
