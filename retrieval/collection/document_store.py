"""The stored documents of one segment: id, title, text and metadata by row, and rows by id.

Files of the part:

* `documents.arrow`: title, text, metadata (JSON) in record batches of `BATCH` rows, uncompressed, so that one document
  is read by mapping it, without its neighbours.
* `id-bytes.npy`, `id-offsets.npy`: the ids in UTF-8, one after the other.
* `id-hashes.npy`, `id-rows.npy`: 64-bit hashes of the ids in ascending order, and their rows: the way from id to row.
* `sequences.npy`: the sequence numbers, ascending.
* `content-hashes.npy`: 16 bytes per document; equal content, equal hash.
"""

from __future__ import annotations

import hashlib
import mmap
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from indexes.arrays import load_array, save_array
from indexes.errors import CorruptIndexError, StorageError
from retrieval.documents import Document
from retrieval.documents.document import metadata_json
from retrieval.errors import DocumentError

if TYPE_CHECKING:
    import pyarrow

BATCH = 256
"""Rows of a record batch; small, since a batch is checked whole when it is first touched."""

_KEPT_BATCHES = 1024
"""Record batches that stay checked and at hand."""

_EMPTY_METADATA = "{}"


def id_hash(document_id: str) -> int:
    """Return the 64-bit hash under which an id is looked up; the id itself is compared afterwards.

    Lone surrogates, which no stored id holds, have a hash too: such an id is looked up and not found.
    """
    encoded = document_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")


def content_hash(document: Document, vector: np.ndarray | None = None) -> bytes:
    """Return 16 bytes that are equal for documents with the same title, text, metadata and given vector."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(msgspec.json.encode((document.title, document.text)))
    digest.update(metadata_json(document).encode())
    if vector is not None:
        digest.update(np.ascontiguousarray(vector, dtype=np.float32).tobytes())
    return digest.digest()


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is written.

    Attributes:
        document: what the user gave.
        sequence: its sequence number.
        content: its content hash, 16 bytes.
    """

    document: Document
    sequence: int
    content: bytes


class DocumentStore:
    """Read access to one segment's documents, by memory map; safe to use from several threads.

    Attributes:
        n_documents: rows.
        sequences: (n,) int64, ascending.
    """

    def __init__(self, directory: Path, n_documents: int) -> None:
        self.n_documents = n_documents
        self._path = directory / "documents.arrow"
        self.sequences = load_array(directory, "sequences", np.int64, (n_documents,))
        self._id_offsets = load_array(directory, "id-offsets", np.int64, (n_documents + 1,))
        self._id_view = load_array(directory, "id-bytes", np.uint8, (int(self._id_offsets[-1]),)).data
        self._id_hashes = load_array(directory, "id-hashes", np.uint64, (n_documents,))
        self._id_rows = load_array(directory, "id-rows", np.int32, (n_documents,))
        self._content = load_array(directory, "content-hashes", np.uint8, (n_documents, 16))
        self._directory = directory
        self._lock = threading.Lock()
        self._reader: Any = None
        self._batches: dict[int, pyarrow.RecordBatch] = {}
        # Mapped at once, so that the file can be unlinked under an open reader; parsed when a text is read.
        self._mapped = self._map()

    def _map(self) -> mmap.mmap:
        try:
            with self._path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (FileNotFoundError, ValueError) as error:
            raise CorruptIndexError(f"file damaged: {self._path} ({error}); restore it or index again") from None
        except OSError as error:
            raise StorageError(f"cannot read {self._path}: {error.strerror}") from error

    def id(self, row: int) -> str:
        """Return the id of a row."""
        return self._id_between(*self._id_offsets[row : row + 2].tolist())

    def ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of rows, (n,) int64; faster than one after the other."""
        starts, ends = self._id_offsets[rows].tolist(), self._id_offsets[rows + 1].tolist()
        return [self._id_between(start, end) for start, end in zip(starts, ends, strict=True)]

    def _id_between(self, start: int, end: int) -> str:
        if not 0 <= start <= end <= len(self._id_view):
            raise CorruptIndexError(f"file damaged: {self._directory / 'id-offsets.npy'} leads out of the ids")
        try:
            return str(self._id_view[start:end], "utf-8")
        except UnicodeDecodeError:
            raise CorruptIndexError(f"file damaged: {self._directory / 'id-bytes.npy'} is not UTF-8") from None

    def document(self, row: int) -> Document:
        """Return the document of a row."""
        batch, at = self._batch(row // BATCH), row % BATCH
        try:
            return Document(
                id=self.id(row),
                title=batch.column(0)[at].as_py(),
                text=batch.column(1)[at].as_py(),
                metadata=msgspec.json.decode(batch.column(2)[at].as_py() or _EMPTY_METADATA),
            )
        except (msgspec.DecodeError, DocumentError) as error:
            raise CorruptIndexError(f"file damaged: {self._path}, row {row} ({error})") from None

    def full_text(self, row: int) -> tuple[str, int]:
        """Return what is searched, title and text joined by a space, and the length of the title in it."""
        batch, at = self._batch(row // BATCH), row % BATCH
        title, text = batch.column(0)[at].as_py(), batch.column(1)[at].as_py()
        return (f"{title} {text}" if title and text else title or text), len(title)

    def metadata(self, start: int, end: int) -> list[str | None]:
        """Return the metadata of rows start to end as JSON texts, None where there is none."""
        values: list[str | None] = []
        for number in range(start // BATCH, -(-end // BATCH)):
            first = number * BATCH
            column = self._batch(number).column(2)
            values += column.slice(max(start - first, 0), min(end, first + BATCH) - max(start, first)).to_pylist()
        return values

    def content(self, row: int) -> bytes:
        """Return the content hash of a row."""
        return self._content[row].tobytes()

    def find(self, document_id: str) -> int | None:
        """Return the row of an id, deleted or not; None where the segment does not have it."""
        wanted = np.uint64(id_hash(document_id))
        at = int(np.searchsorted(self._id_hashes, wanted))
        while at < self.n_documents and self._id_hashes[at] == wanted:
            row = int(self._id_rows[at])
            if 0 <= row < self.n_documents and self.id(row) == document_id:
                return row
            at += 1
        return None

    def find_many(self, document_ids: Sequence[str], hashes: np.ndarray) -> dict[str, int]:
        """Return the rows of those ids that the segment has.

        Args:
            document_ids: what to look for.
            hashes: (n,) uint64, their `id_hash`.
        """
        at = np.searchsorted(self._id_hashes, hashes)
        possible = np.flatnonzero(self._id_hashes[np.minimum(at, self.n_documents - 1)] == hashes)
        rows = ((document_ids[i], self.find(document_ids[i])) for i in possible.tolist())
        return {document_id: row for document_id, row in rows if row is not None}

    def _batch(self, number: int) -> pyarrow.RecordBatch:
        batch = self._batches.get(number)
        if batch is None:
            with self._lock:
                batch = self._read_batch(number)
                while len(self._batches) >= _KEPT_BATCHES:
                    del self._batches[next(iter(self._batches))]
                self._batches[number] = batch
        return batch

    def _read_batch(self, number: int) -> pyarrow.RecordBatch:
        import pyarrow as pa

        try:
            if self._reader is None:
                self._reader = pa.ipc.open_file(pa.py_buffer(self._mapped))
            batch = self._reader.get_batch(number)
            batch.validate(full=True)  # offsets inside their buffers, text in UTF-8: nothing reads beyond
        except (pa.ArrowException, OSError) as error:
            raise CorruptIndexError(f"file damaged: {self._path}, batch {number} ({error})") from None
        n_rows = min(BATCH, self.n_documents - number * BATCH)
        if batch.num_rows != n_rows or not batch.schema.equals(_schema()):
            raise CorruptIndexError(f"file damaged: {self._path}, batch {number} does not hold {n_rows} documents")
        return batch


def write_documents(directory: Path, documents: Iterable[StoredDocument]) -> int:
    """Write the documents of a segment, given in ascending order of sequence; return how many there were.

    Works through an iterator: texts are held one record batch at a time, ids and numbers for the whole segment.
    """
    ids, contents = bytearray(), bytearray()
    ends, sequences, hashes = array("q", [0]), array("q"), array("Q")

    def noted() -> Iterator[Document]:
        for stored in documents:
            ids.extend(stored.document.id.encode())
            ends.append(len(ids))
            hashes.append(id_hash(stored.document.id))
            sequences.append(stored.sequence)
            contents.extend(stored.content)
            yield stored.document

    _write_texts(directory / "documents.arrow", noted())
    all_hashes = np.frombuffer(hashes, np.uint64)
    order = np.argsort(all_hashes, kind="stable")
    save_array(directory, "id-bytes", np.frombuffer(ids, np.uint8))
    save_array(directory, "id-offsets", np.frombuffer(ends, np.int64))
    save_array(directory, "id-hashes", all_hashes[order])
    save_array(directory, "id-rows", order.astype(np.int32))
    save_array(directory, "sequences", np.frombuffer(sequences, np.int64))
    save_array(directory, "content-hashes", np.frombuffer(contents, np.uint8).reshape(-1, 16))
    return len(sequences)


def _write_texts(path: Path, documents: Iterator[Document]) -> None:
    import pyarrow as pa

    schema = _schema()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        batch: list[Document] = []

        def flush() -> None:
            titles = [document.title for document in batch]
            texts = [document.text for document in batch]
            metadata = [metadata_json(document) if document.metadata else None for document in batch]
            arrays = [pa.array(column, pa.large_string()) for column in (titles, texts, metadata)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            batch.clear()

        for document in documents:
            batch.append(document)
            if len(batch) == BATCH:
                flush()
        if batch:
            flush()


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    # 64-bit offsets: a batch may hold more than 2 GiB of text.
    return pa.schema([(name, pa.large_string()) for name in ("title", "text", "metadata")])
