"""Bytes of a file, decompressed and in UTF-8, whole or line by line, with damage counted instead of raised."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from retrieval.documents.json_values import InvalidDocumentError
from retrieval.documents.report import ReadReport
from retrieval.errors import DocumentError

MAXIMUM_BYTES = 64 * 1024 * 1024  # of one line or one text file: bounds memory, and no real text is as long
_CHUNK = 128 * 1024

_GZIP = b"\x1f\x8b"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DAMAGE = (OSError, EOFError, zlib.error, ValueError)  # pyarrow's and Unicode errors are ValueErrors


class _Chunks(io.RawIOBase):
    """A readable byte stream over an iterator of chunks, so that all that was decoded before a fault is delivered."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's buffer protocol is wider
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


@contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading; gzip and Zstandard are recognised by their first bytes and decompressed.

    Raises:
        DocumentError: The file cannot be opened, or is a pipe or device.
    """
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(open(path, "rb", opener=_open_at_once))  # Path has no opener
            check_regular(path, os.fstat(raw.fileno()))
            head = raw.peek(4)
        except OSError as error:
            raise DocumentError(f"cannot read {path}: {error.strerror or error}") from None
        if head.startswith(_GZIP):
            unpacked = stack.enter_context(gzip.GzipFile(fileobj=raw))
            yield _buffered(iter(partial(unpacked.read1, _CHUNK), b""))
        elif head.startswith(_ZSTANDARD):
            import pyarrow

            unpacked = stack.enter_context(pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd"))
            yield _buffered(iter(partial(unpacked.read, _CHUNK), b""))
        else:
            yield raw


def check_regular(path: Path, status: os.stat_result) -> None:
    """Raise a `DocumentError` for what is neither file nor folder: it cannot be read twice, and may never end."""
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise DocumentError(f"cannot read {path}: it is a pipe or device; write what it holds to a file first")


def read_lines(path: Path, report: ReadReport) -> Iterator[tuple[int, bytes]]:
    r"""Yield (line number from 1, line with its line end) in UTF-8; only \n ends a line.

    A byte order mark is dropped, UTF-16 and UTF-32 with a mark become UTF-8. A line longer than `MAXIMUM_BYTES` is
    skipped, and a compressed file that breaks off is read as far as it goes; both are counted.
    """
    with open_bytes(path) as opened:
        number = 0
        try:
            stream = _without_mark(opened)
            for line in iter(partial(stream.readline, MAXIMUM_BYTES), b""):
                number += 1
                if len(line) == MAXIMUM_BYTES and not line.endswith(b"\n"):
                    _finish_line(stream)
                    report.skip(f"{path}:{number}", "line too long", f"more than {MAXIMUM_BYTES:,} bytes")
                    continue
                yield number, line
        except DAMAGE as error:
            fault = " ".join(str(error).split()) or type(error).__name__
            report.skip(f"{path}:{number + 1}", "damaged file", f"{fault}; the rest of the file is lost")


def read_text(path: Path) -> str:
    """Read a whole text file.

    Raises:
        InvalidDocumentError: It is too large, damaged, not UTF-8 (or UTF-16 or UTF-32 with a mark), or binary.
        DocumentError: It cannot be opened.
    """
    return decode_text(read_all(path))


def read_all(path: Path) -> bytes:
    """Read a whole file of at most `MAXIMUM_BYTES`; raises as `read_text` does."""
    with open_bytes(path) as stream:
        try:
            data = stream.read(MAXIMUM_BYTES + 1)
        except DAMAGE as error:
            raise InvalidDocumentError("damaged file", str(error)) from None
    if len(data) > MAXIMUM_BYTES:
        raise InvalidDocumentError("file too large", f"more than {MAXIMUM_BYTES:,} bytes; split it")
    return data


def decode_text(data: bytes) -> str:
    """Decode UTF-8, or what the byte order mark says.

    Raises:
        InvalidDocumentError: The bytes are no text.
    """
    encoding = next((name for mark, name in _WIDE_MARKS if data.startswith(mark)), "utf-8-sig")
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        shown = encoding.removesuffix("-sig").upper()
        raise InvalidDocumentError(f"invalid {shown}", f"{error}; convert the file to UTF-8") from None
    if "\0" in text:
        raise InvalidDocumentError("NUL bytes", "the file is binary, or UTF-16 without a byte order mark")
    return text


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer, where the path has become a pipe since it was looked at."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _buffered(chunks: Iterator[bytes]) -> io.BufferedReader:
    return io.BufferedReader(_Chunks(chunks), _CHUNK)


def _without_mark(stream: io.BufferedReader) -> io.BufferedReader:
    """Drop a UTF-8 mark; turn UTF-16 and UTF-32 with a mark into UTF-8."""
    head = stream.peek(4)[:4]
    for mark, encoding in _WIDE_MARKS:
        if head.startswith(mark):
            return _buffered(_transcoded(stream, encoding))
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
    return stream


def _transcoded(stream: io.BufferedReader, encoding: str) -> Iterator[bytes]:
    """Turn UTF-16 or UTF-32 into UTF-8; lone surrogates pass, so that only their line is refused later."""
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    while chunk := stream.read1(_CHUNK):
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


def _finish_line(stream: io.BufferedReader) -> None:
    """Read on to the end of a line without keeping it."""
    for rest in iter(partial(cast(BinaryIO, stream).readline, _CHUNK), b""):
        if rest.endswith(b"\n"):
            return
