"""Writing a collection's documents to a file that `read_documents` reads."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from retrieval.collection.segment import Segment
from retrieval.collection.snapshot import Snapshot
from retrieval.errors import CollectionError

_ROWS = 1024


def export(snapshot: Snapshot, path: Path, *, vectors: bool) -> int:
    """Write all documents in the order of their texts; the file appears when it is complete. Returns how many.

    Raises:
        CollectionError: the ending is unknown, vectors are asked for where there are none or in JSON lines, or the file
            cannot be written.
    """
    lines = path.name.endswith((".jsonl", ".jsonl.gz"))
    if not lines and path.suffix != ".parquet":
        raise CollectionError(f"cannot export to {path.name!r}: end it in .jsonl, .jsonl.gz or .parquet")
    if vectors and lines:
        raise CollectionError("vectors are exported to Parquet only; choose a path ending in .parquet")
    if vectors and not snapshot.has_vectors:
        raise CollectionError("this collection has no vectors to export")
    temporary = path.with_name(path.name + ".tmp")
    try:
        if lines:
            count = _write_lines(snapshot, temporary, compress=path.suffix == ".gz")
        else:
            count = _write_parquet(snapshot, temporary, vectors=vectors)
        temporary.replace(path)
    except OSError as error:
        raise CollectionError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return count


def _write_lines(snapshot: Snapshot, path: Path, *, compress: bool) -> int:
    count = 0
    # The stream's time stamp and name stay out of it: equal content, equal file.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if compress else raw as file:
        for segment, row in snapshot.rows():
            file.write(msgspec.json.encode(segment.documents.document(row).to_mapping()) + b"\n")
            count += 1
    return count


def _write_parquet(snapshot: Snapshot, path: Path, *, vectors: bool) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [("id", pa.string()), ("title", pa.string()), ("text", pa.string()), ("metadata", pa.string())]
    if vectors:
        fields.append(("vectors", pa.list_(pa.list_(pa.float32()))))
    schema = pa.schema(fields)
    count = 0
    with pq.ParquetWriter(str(path), schema) as writer:
        rows = snapshot.rows()
        while group := list(islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(list(_records(group, vectors=vectors)), schema=schema))
            count += len(group)
    return count


def _records(rows: list[tuple[Segment, int]], *, vectors: bool) -> Iterator[dict[str, Any]]:
    for segment, row in rows:
        document = segment.documents.document(row)
        record: dict[str, Any] = {"id": document.id, "title": document.title, "text": document.text}
        record["metadata"] = msgspec.json.encode(document.metadata).decode()
        if vectors and segment.passages is not None:
            positions = np.array(segment.passages.of_document(row), np.int64)
            record["vectors"] = list(segment.passages.vectors.gather(positions))
        yield record
