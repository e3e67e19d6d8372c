"""The stored documents of one segment: id, title, text and metadata by row, and rows by id.

Files of the part (`indexes.strings` says what strings look like on disk):

* `texts`: strings, two a row: title and text.
* `metadata`: strings, JSON, empty where there is none; apart from the texts, for filters read all of it.
* `ids`: strings.
* `id-hashes.npy`, `id-rows.npy`: 64-bit hashes of the ids in ascending order, and their rows: the way from id to row.
* `sequences.npy`: the sequence numbers, ascending.
* `content-hashes.npy`: 16 bytes per document; equal content, equal hash.
"""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from indexes.array_writer import ArrayWriter, save_array
from indexes.arrays import ArrayFolder
from indexes.errors import CorruptIndexError
from indexes.strings import Strings, StringsWriter
from retrieval.documents import Document
from retrieval.documents.document import metadata_json
from retrieval.errors import DocumentError

_GROUP_ROWS = 1 << 12
_GROUP_BYTES = 1 << 24


def id_hash(document_id: str) -> int:
    """Return the 64-bit hash under which an id is looked up; the id itself is compared afterwards.

    Lone surrogates, which no stored id holds, have a hash too: such an id is looked up and not found.
    """
    return _hash(document_id.encode("utf-8", "surrogatepass"))


def _hash(encoded_id: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(encoded_id, digest_size=8).digest(), "little")


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

    def row(self) -> StoredRow:
        """Return what the files hold of it."""
        document = self.document
        metadata = metadata_json(document).encode() if document.metadata else b""
        title, text = document.title.encode(), document.text.encode()
        return StoredRow(document.id.encode(), title, text, metadata, self.sequence, self.content)


class StoredRow(NamedTuple):
    """A document as the files hold it: strings in UTF-8, metadata in JSON; see `StoredDocument` for the rest."""

    id: bytes
    title: bytes
    text: bytes
    metadata: bytes
    sequence: int
    content: bytes


class DocumentStore:
    """Read access to one segment's documents, by memory map; safe to use from several threads.

    Args:
        directory: the part.
        n_documents: how many rows it must have.

    Attributes:
        n_documents: rows.
        sequences: (n,) int64, ascending.

    Raises:
        CorruptIndexError: a file is missing or damaged, now or when a row is read.
    """

    def __init__(self, directory: Path, n_documents: int) -> None:
        folder = ArrayFolder(directory)
        self.n_documents = n_documents
        self._directory = directory
        self.sequences = folder.load("sequences", np.int64, (n_documents,))
        self._ids = Strings(folder, "ids", n_documents)
        self._texts = Strings(folder, "texts", 2 * n_documents)
        self._metadata = Strings(folder, "metadata", n_documents)
        self._id_hashes = folder.checked("id-hashes", np.uint64, (n_documents,))
        self._id_rows = folder.checked("id-rows", np.int32, (n_documents,))
        self._content = folder.checked("content-hashes", np.uint8, (n_documents, 16))

    def id(self, row: int) -> str:
        """Return the id of a row."""
        return self._ids[row]

    def ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of rows, (n,) int64; faster than one after the other."""
        return self._ids.some(rows)

    def document(self, row: int) -> Document:
        """Return the document of a row."""
        title, text = self._title_and_text(row)
        try:
            metadata = msgspec.json.decode(self._metadata.encoded(row) or b"{}")
            return Document(id=self.id(row), title=title, text=text, metadata=metadata)
        except (msgspec.MsgspecError, UnicodeError, DocumentError, RecursionError) as error:
            raise CorruptIndexError(f"file damaged: {self._directory}, row {row} ({error})") from None

    def full_text(self, row: int) -> tuple[str, int]:
        """Return what is searched, title and text joined by a space, and the length of the title in it."""
        title, text = self._title_and_text(row)
        return (f"{title} {text}" if title and text else title or text), len(title)

    def _title_and_text(self, row: int) -> tuple[str, str]:
        return self._texts[2 * row], self._texts[2 * row + 1]

    def stored(self, row: int) -> StoredRow:
        """Return what the files hold of a row, to be copied as it is."""
        return StoredRow(
            self._ids.encoded(row),
            self._texts.encoded(2 * row),
            self._texts.encoded(2 * row + 1),
            self._metadata.encoded(row),
            int(self.sequences[row]),
            self.content(row),
        )

    def metadata(self, start: int, end: int) -> list[str | None]:
        """Return the metadata of rows start to end as JSON texts, None where there is none."""
        texts = self._metadata.between(start, end)
        return [self._metadata.decoded(text) if text else None for text in texts]

    def content(self, row: int) -> bytes:
        """Return the content hash of a row."""
        return self._content.span(row, row + 1).tobytes()

    def find(self, document_id: str) -> int | None:
        """Return the row of an id, deleted or not; None where the segment does not have it."""
        hashes = self._id_hashes.whole()  # checked as a whole: one wrong byte in the way of the search would hide an id
        wanted = np.uint64(id_hash(document_id))
        at = int(np.searchsorted(hashes, wanted))
        while at < self.n_documents and hashes[at] == wanted:
            row = int(self._id_rows.span(at, at + 1)[0])
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
        if not self.n_documents:
            return {}
        known = self._id_hashes.whole()
        at = np.minimum(np.searchsorted(known, hashes), self.n_documents - 1)
        possible = np.flatnonzero(known[at] == hashes)
        rows = ((document_ids[i], self.find(document_ids[i])) for i in possible.tolist())
        return {document_id: row for document_id, row in rows if row is not None}


def write_documents(directory: Path, documents: Iterable[StoredRow]) -> int:
    """Write the documents of a segment, given in ascending order of sequence; return how many there were.

    Works through an iterator: in memory are some texts, and 16 bytes for each document.
    """
    id_hashes = array("Q")
    with contextlib.ExitStack() as files:
        ids = files.enter_context(StringsWriter(directory, "ids"))
        texts = files.enter_context(StringsWriter(directory, "texts"))
        metadata = files.enter_context(StringsWriter(directory, "metadata"))
        sequences = files.enter_context(ArrayWriter(directory, "sequences", np.int64))
        contents = files.enter_context(ArrayWriter(directory, "content-hashes", np.uint8, (16,)))
        for group in _groups(documents):
            ids.extend([stored.id for stored in group])
            texts.extend([text for stored in group for text in (stored.title, stored.text)])
            metadata.extend([stored.metadata for stored in group])
            id_hashes.extend([_hash(stored.id) for stored in group])
            sequences.append(np.array([stored.sequence for stored in group], np.int64))
            joined = b"".join(stored.content for stored in group)
            contents.append(np.frombuffer(joined, np.uint8).reshape(-1, 16))
    hashes = np.frombuffer(id_hashes, np.uint64)
    order = np.argsort(hashes, kind="stable")
    save_array(directory, "id-hashes", hashes[order])
    save_array(directory, "id-rows", order.astype(np.int32))
    return len(hashes)


def _groups(documents: Iterable[StoredRow]) -> Iterator[list[StoredRow]]:
    """Cut documents into groups, ended by number or by the bytes of their texts, whichever comes first."""
    group: list[StoredRow] = []
    size = 0
    for stored in documents:
        group.append(stored)
        size += len(stored.text) + len(stored.metadata)
        if len(group) == _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
