"""Parquet and Arrow IPC (Feather) files, read batch by batch; nested columns become metadata, vectors stay float32."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.documents.columns import ALL, Columns, Layout
from retrieval.documents.report import ReadReport
from retrieval.documents.rows import Item, documents_from_rows
from retrieval.errors import DocumentError

_BATCH_ROWS = 1024  # long texts: a batch must stay far below the memory of an index


def read_parquet(path: Path, columns: Columns, report: ReadReport) -> Iterator[Item]:
    """Read documents from a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        wanted = _wanted(file.schema_arrow, columns, path, report)
    except _faults() as error:
        raise _unreadable(path, "Parquet", error) from None
    with closing(file):
        # pyarrow also takes columns whose names begin with a wanted one and a dot.
        batches = (batch.select(wanted) for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted))
        yield from documents_from_rows(_rows(batches, columns, path, report), str(path), columns, report)


def read_arrow(path: Path, columns: Columns, report: ReadReport) -> Iterator[Item]:
    """Read documents from an Arrow IPC file or stream (.arrow, .feather, .ipc)."""
    import pyarrow

    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))  # to see whether it is still whole
            source = stack.enter_context(closing(pyarrow.memory_map(str(path))))
            schema, batches = _ipc_batches(source)
            wanted = _wanted(schema, columns, path, report)
        except _faults() as error:
            raise _unreadable(path, "Arrow", error) from None
        chosen = (batch.select(wanted) for batch in _while_whole(batches, file.fileno(), source.size()))
        yield from documents_from_rows(_rows(chosen, columns, path, report), str(path), columns, report)


def _ipc_batches(source: Any) -> tuple[Any, Iterator[Any]]:
    """Open either of the two IPC layouts: with a footer (a file), or without (a stream)."""
    import pyarrow

    try:
        reader = pyarrow.ipc.open_file(source)
    except pyarrow.ArrowInvalid:
        source.seek(0)
        stream = pyarrow.ipc.open_stream(source)
        return stream.schema, _whole_stream(stream, source)
    return reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))


def _whole_stream(stream: Any, source: Any) -> Iterator[Any]:
    """Yield the batches of a stream; a damaged length can look like its end, with the rest of the file behind it."""
    yield from stream
    rest = source.size() - source.tell()
    if rest > 0:
        raise ValueError(f"the stream ends {rest:,} bytes before the file")


def _while_whole(batches: Iterator[Any], file: int, size: int) -> Iterator[Any]:
    """Cut batches into small ones, each only while the mapped file is whole.

    To read what has been cut off from a mapped file ends the process; so does, still, a cut that comes while a small
    batch is being read.
    """
    while True:
        _check_size(file, size)
        batch = next(batches, None)
        if batch is None:
            return
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            _check_size(file, size)
            yield batch.slice(start, _BATCH_ROWS)


def _check_size(file: int, size: int) -> None:
    found = os.fstat(file).st_size
    if found < size:
        raise OSError(f"it has shrunk from {size:,} to {found:,} bytes while it was read")


def _wanted(schema: Any, columns: Columns, path: Path, report: ReadReport) -> list[str]:
    """Choose the columns to decode; those that metadata cannot hold are left out, and noted."""
    names = list(schema.names)
    layout: Layout = columns.table_layout(names, str(path))
    wanted = {layout.id, layout.title, layout.spread, columns.vector, *layout.text}
    for name in layout.metadata:
        kind = schema.field(name).type
        if _has_json_form(kind):
            wanted.add(name)
        elif columns.metadata == ALL:
            report.note(str(path), "column left out of the metadata", f"{name!r} ({kind}) has no JSON form")
        else:
            raise DocumentError(f"{path}: column {name!r} ({kind}) has no JSON form and cannot be metadata")
    return [name for name in names if name in wanted]


def _has_json_form(kind: Any, nested: bool = False) -> bool:
    from pyarrow import BaseExtensionType, types

    if isinstance(kind, BaseExtensionType):
        kind = kind.storage_type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_nested(kind):
        return all(_has_json_form(kind.field(position).type, nested=True) for position in range(kind.num_fields))
    if nested and str(kind).startswith(("timestamp[ns", "time64[ns")):
        return False  # only whole columns are cut to microseconds
    binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    return not (binary or types.is_binary_view(kind) or types.is_duration(kind) or types.is_interval(kind))


def _rows(
    batches: Iterator[Any], columns: Columns, path: Path, report: ReadReport
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number from 1, values); a row that cannot be decoded is skipped, a file that breaks off ends there."""
    faults = _faults()
    number = 0
    while True:
        try:
            batch = next(batches, None)
        except faults as error:
            report.skip(f"{path}:{number + 1}", "damaged file", f"{_one_line(error)}; the rest of the file is lost")
            return
        if batch is None:
            return
        try:
            yield from enumerate(_decoded(batch, columns, path), start=number + 1)
        except faults:
            for position in range(batch.num_rows):
                try:
                    yield number + position + 1, _decoded(batch.slice(position, 1), columns, path)[0]
                except faults as error:
                    report.skip(f"{path}:{number + position + 1}", "undecodable row", _one_line(error))
        number += batch.num_rows


def _decoded(batch: Any, columns: Columns, path: Path) -> list[dict[str, Any]]:
    """Turn a batch into rows; offsets and UTF-8 are checked first, since Arrow trusts them when it reads values."""
    batch.validate(full=True)
    names = batch.schema.names
    values = []
    for name in names:
        column = batch.column(name)
        if name == columns.vector:
            values.append(_vectors(column, f"{path}: column {name!r}"))
        else:
            values.append(_without_nanoseconds(column).to_pylist(maps_as_pydicts="lossy"))
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _without_nanoseconds(column: Any) -> Any:
    """Cut time stamps to microseconds, the finest that Python's datetime holds."""
    import pyarrow

    if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pyarrow.timestamp("us", tz=column.type.tz), safe=False)
    if column.type == pyarrow.time64("ns"):
        return column.cast(pyarrow.time64("us"), safe=False)
    return column


def _vectors(column: Any, place: str) -> list[Any]:
    """Turn a column of number lists into one float32 array for each row, (d,), without a Python float in between."""
    import pyarrow
    import pyarrow.compute

    if isinstance(column, pyarrow.ExtensionArray):  # fixed-shape tensors
        column = column.storage
    kind = column.type
    is_list = pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind)
    if not is_list or not (pyarrow.types.is_floating(kind.value_type) or pyarrow.types.is_integer(kind.value_type)):
        raise DocumentError(f"{place} ({kind}) holds no vectors; a list of numbers is needed")
    if column.null_count:
        raise DocumentError(f"{place} has a row without a vector")
    lengths = pyarrow.compute.list_value_length(column).to_numpy(zero_copy_only=False)  # (n_rows,)
    flat = column.flatten().to_numpy(zero_copy_only=False)  # nulls become NaN
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity, which is refused
        flat = flat.astype(np.float32, copy=False)
    ends = np.cumsum(lengths)
    return [flat[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]


def _faults() -> tuple[type[Exception], ...]:
    import pyarrow

    # ArithmeticError: dates beyond Python's calendar; LookupError: time zones without data.
    return (OSError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError, pyarrow.ArrowException)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _unreadable(path: Path, kind: str, error: Exception) -> DocumentError:
    return DocumentError(f"{path} is no readable {kind} file: {_one_line(error)}")
