"""Metadata of one segment as dictionary-encoded columns, on which a filter becomes a mask in one look-up a document."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from indexes.errors import CorruptIndexError
from retrieval.filter_nodes import And, Exists, FieldFilter, Filter, Not, Or
from retrieval.filter_values import values_at

_CHUNK_ROWS = 4096
_PLAIN = frozenset({str, int, float})
_MASK_BYTES = 32 * 1024 * 1024  # of remembered masks
_MASK_COUNT = 64


@dataclass(frozen=True)
class _Column:
    """The values of one field.

    Attributes:
        distinct: Every value that occurs; a boolean is not the number it equals.
        codes: (n_documents,) int32, position in `distinct` of a document's first value, -1 where it has none.
        further_rows: Rows of second and later values of lists, int64 ascending.
        further_codes: Positions in `distinct` of those values, int32.
    """

    distinct: list[Any]
    codes: np.ndarray
    further_rows: np.ndarray
    further_codes: np.ndarray

    def mask(self, condition: FieldFilter) -> np.ndarray:
        """Test every distinct value once and look the answers up: bool (n_documents,)."""
        if isinstance(condition, Exists):
            return self.codes >= 0
        test = condition.test()
        # One answer more than there are values: code -1 finds the last, False.
        accepted = np.fromiter((*map(test, self.distinct), False), dtype=bool, count=len(self.distinct) + 1)
        mask = accepted[self.codes]
        mask[self.further_rows[accepted[self.further_codes]]] = True
        return mask


class _ColumnBuilder:
    """Gathers one field's values, document after document."""

    def __init__(self, field: str, n_documents: int) -> None:
        self._field = field
        self._positions: dict[tuple[bool, Any], int] = {}
        self._codes = array("i", [-1]) * n_documents  # set one by one, which numpy does slowly
        self._further: list[tuple[int, int]] = []

    def add(self, row: int, metadata: dict[str, Any]) -> None:
        """Add the values of one document."""
        positions = self._positions
        value = metadata.get(self._field)
        if type(value) in _PLAIN:  # the usual case
            self._codes[row] = positions.setdefault((False, value), len(positions))
            return
        for value in values_at(metadata, self._field):
            code = positions.setdefault((type(value) is bool, value), len(positions))
            if self._codes[row] < 0:
                self._codes[row] = code
            else:
                self._further.append((row, code))

    def build(self) -> _Column:
        further = np.array(self._further, dtype=np.int64).reshape(-1, 2)  # (n_further, 2)
        return _Column(
            distinct=[value for _, value in self._positions],
            codes=np.array(self._codes, dtype=np.int32),
            further_rows=further[:, 0],
            further_codes=further[:, 1].astype(np.int32),
        )


class MetadataColumns:
    """Turns filters into masks over the documents of one immutable segment.

    The column of a field is built when a filter first uses it, in one pass over the metadata; masks of recent filters
    are remembered. `mask(filter)[row]` equals `filter.matches(metadata of row)`. Safe to share between threads.

    Args:
        n_documents: Number of documents of the segment.
        read: Returns the metadata of the rows start to stop - 1 as JSON objects; None stands for no metadata.
    """

    def __init__(self, n_documents: int, read: Callable[[int, int], Sequence[str | None]]) -> None:
        self._n_documents = n_documents
        self._read = read
        self._columns: dict[str, _Column] = {}
        self._masks: OrderedDict[Filter, np.ndarray] = OrderedDict()
        self._capacity = max(1, min(_MASK_COUNT, _MASK_BYTES // max(1, n_documents)))
        self._lock = threading.Lock()

    def mask(self, condition: Filter) -> np.ndarray:
        """Return which documents satisfy a filter: bool (n_documents,), read-only.

        Raises:
            CorruptIndexError: Stored metadata is no JSON object.
        """
        with self._lock:  # a second thread with the same filter waits instead of building the columns too
            mask = self._masks.get(condition)
            if mask is None:
                self._build(condition.fields() - self._columns.keys())
                mask = self._evaluate(condition)
                mask.flags.writeable = False
                self._masks[condition] = mask
            self._masks.move_to_end(condition)
            while len(self._masks) > self._capacity:
                self._masks.popitem(last=False)
            return mask

    def _evaluate(self, condition: Filter) -> np.ndarray:
        if isinstance(condition, FieldFilter):
            return self._columns[condition.field].mask(condition)
        if isinstance(condition, Not):
            return ~self._evaluate(condition.part)
        if isinstance(condition, And | Or):
            join = np.logical_and if isinstance(condition, And) else np.logical_or
            mask = self._evaluate(condition.parts[0])
            for part in condition.parts[1:]:  # one at a time: ten thousand masks at once would fill the memory
                mask = join(mask, self._evaluate(part))
            return mask
        raise TypeError(f"a mask cannot be made from {type(condition).__name__}")

    def _build(self, fields: Iterable[str]) -> None:
        builders = {field: _ColumnBuilder(field, self._n_documents) for field in sorted(fields)}
        if not builders:
            return
        decode = _partial_decoder(list(builders))
        for start in range(0, self._n_documents, _CHUNK_ROWS):
            stop = min(start + _CHUNK_ROWS, self._n_documents)
            for row, text in enumerate(self._read(start, stop), start=start):
                if not text or text == "{}":
                    continue
                try:
                    metadata = decode(text)
                    for builder in builders.values():
                        builder.add(row, metadata)
                except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                    raise CorruptIndexError(f"the metadata of row {row} is no JSON object: {error}") from None
        self._columns.update({field: builder.build() for field, builder in builders.items()})


def _partial_decoder(fields: Sequence[str]) -> Callable[[str], dict[str, Any]]:
    """Make a decoder of metadata that skips all keys which no field can begin with.

    A field "a.b" is the key "a.b", or "b" inside the object "a": both are kept.
    """
    keys = sorted({key for field in fields for key in (field, field.partition(".")[0])})
    try:
        names = {f"key_{position}": key for position, key in enumerate(keys)}
        kept = msgspec.defstruct(
            "Kept", [(name, Any, msgspec.field(default=msgspec.UNSET)) for name in names], rename=names
        )
    except ValueError:  # a key with quotes or backslashes cannot name a struct's field
        return msgspec.json.Decoder(dict[str, Any]).decode
    decode = msgspec.json.Decoder(kept).decode

    def decode_kept(text: str) -> dict[str, Any]:
        found = decode(text)
        values = ((key, getattr(found, name)) for name, key in names.items())
        return {key: value for key, value in values if value is not msgspec.UNSET}

    return decode_kept
