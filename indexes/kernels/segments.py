"""Segments as kernels see them: from a table of addresses to arrays.

A kernel goes through all segments for one query before it takes the next, and how many there are is known only when it
runs. So it gets a table with the address and the length of each array (`indexes.segment_table` writes it) and makes
arrays of them. The arrays must be alive while it runs, and of the types that stand here.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba import carray
from numba.core import types
from numba.core.config import DISABLE_JIT
from numba.extending import intrinsic

from indexes.compilation import inner_kernel
from indexes.kernels.views import Array, Documents, Formula, Postings, Query, Segment, Segments
from indexes.segment_table import (
    ALLOWED,
    ARE_FEW,
    BOUNDS,
    CANDIDATES,
    CHUNK_STARTS,
    CONTENT,
    CONTENT_BEGIN,
    DENSE,
    DENSE_STARTS,
    LENGTHS,
    N_VALUES,
    OFFSETS,
    OFFSETS_BEGIN,
    ROWS,
    SEQUENCES,
    SIZES,
    STARTS,
    VALUES,
    WAITING_CONTENT,
    WAITING_OFFSETS,
    WINDOWS,
)


def _to_pointer(_context: Any, _address: Any) -> Any:
    """Declare `_pointer(address)`: an address, int64, as a pointer."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


_pointer: Any = (lambda address: ctypes.c_void_p(int(address))) if DISABLE_JIT else intrinsic(_to_pointer)


@inner_kernel
def _bytes(table: Array, number: int, field: int) -> Array:
    return carray(_pointer(table[number, 2 * field]), (table[number, 2 * field + 1],), np.uint8)


@inner_kernel
def _flags(table: Array, number: int, field: int) -> Array:
    return carray(_pointer(table[number, 2 * field]), (table[number, 2 * field + 1],), np.bool_)


@inner_kernel
def _halves(table: Array, number: int, field: int) -> Array:
    return carray(_pointer(table[number, 2 * field]), (table[number, 2 * field + 1],), np.uint16)


@inner_kernel
def _integers(table: Array, number: int, field: int) -> Array:
    return carray(_pointer(table[number, 2 * field]), (table[number, 2 * field + 1],), np.int64)


@inner_kernel
def postings_of(table: Array, number: int) -> Postings:
    """Return a segment's postings."""
    return Postings(
        _integers(table, number, STARTS),
        _integers(table, number, CHUNK_STARTS),
        _halves(table, number, WINDOWS),
        _halves(table, number, SIZES),
        _bytes(table, number, BOUNDS),
        _halves(table, number, ROWS),
        _bytes(table, number, VALUES),
        _integers(table, number, DENSE_STARTS),
        _bytes(table, number, DENSE),
    )


@inner_kernel
def documents_of(table: Array, number: int) -> Documents:
    """Return a segment's documents."""
    return Documents(
        _integers(table, number, OFFSETS),
        _bytes(table, number, CONTENT),
        _flags(table, number, WAITING_OFFSETS),
        _flags(table, number, WAITING_CONTENT),
        table[number, OFFSETS_BEGIN],
        table[number, CONTENT_BEGIN],
    )


@inner_kernel
def formula_of(table: Array, formulas: Array, number: int) -> Formula:
    """Return what a segment's postings are worth."""
    numbers = formulas[number]
    lengths = carray(_pointer(table[number, 2 * LENGTHS]), (table[number, 2 * LENGTHS + 1],), np.int32)
    last = 3 * N_VALUES
    return Formula(
        numbers[:N_VALUES],
        numbers[N_VALUES : 2 * N_VALUES],
        numbers[2 * N_VALUES : last],
        lengths,
        numbers[last],
        numbers[last + 1],
        numbers[last + 2],
        numbers[last + 3],
    )


@inner_kernel
def sequences_of(segments: Segments, number: int) -> Array:
    """Return a segment's sequence numbers."""
    return _integers(segments.table, number, SEQUENCES)


@inner_kernel
def query_of(segments: Segments, number: int) -> Query:
    """Return the query as a segment sees it."""
    n_lists = segments.n_lists[number]
    return Query(segments.lists[number, :n_lists], segments.weights[number, :n_lists])


@inner_kernel
def segment_of(segments: Segments, number: int) -> Segment:
    """Return all of a segment."""
    return Segment(
        query_of(segments, number),
        segments.largest[number, : segments.n_lists[number]],
        postings_of(segments.table, number),
        documents_of(segments.table, number),
        formula_of(segments.table, segments.formulas, number),
        _flags(segments.allowed, number, ALLOWED),
        segments.allowed[number, ARE_FEW] != 0,
        _integers(segments.allowed, number, CANDIDATES),
        sequences_of(segments, number),
    )
