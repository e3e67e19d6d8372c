"""Rows of tabular files as they stand: TSV, CSV, JSON lines, Parquet, and plain text with one sentence a line.

Files stream: memory holds one line, or one batch of a Parquet file. `.gz` and `.zst` are unpacked on the way.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from retrieval.documents.report import ReadReport
from retrieval.documents.streams import read_lines
from retrieval.errors import TrainingDataError

Row: TypeAlias = tuple[int, dict[str, Any]]
"""Line number from 1 (of Parquet: row number), and the values by column name."""

_BATCH_ROWS = 4096


def read_rows(path: Path, report: ReadReport) -> Iterator[Row]:
    """Yield the rows of a file; its format is recognised by its name.

    Args:
        path: `.tsv`, `.csv` (both with a header line), `.jsonl`, `.ndjson`, `.txt` (each also `.gz`, `.zst`), or
            `.parquet`.
        report: counts lines that are no rows.

    Raises:
        TrainingDataError: the format is unknown, or the file has no header or cannot be read.
        DocumentError: the file cannot be opened.
    """
    reader = _READERS.get(_suffix(path))
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise TrainingDataError(f"{path}: unknown format {path.suffix!r} of training data; known are {known}")
    return reader(path, report)


def is_tabular(path: Path) -> bool:
    """Tell whether `read_rows` knows the format of a file."""
    return _suffix(path) in _READERS


def _suffix(path: Path) -> str:
    suffixes = path.suffixes
    while suffixes and suffixes[-1] in {".gz", ".zst"}:
        suffixes.pop()
    return suffixes[-1].lower() if suffixes else ""


def text_lines(path: Path, report: ReadReport) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file without line ends; lines that are no UTF-8 are counted, blank ones are left out."""
    for number, line in read_lines(path, report):
        try:
            text = line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            report.skip(f"{path}:{number}", "invalid UTF-8", f"{error}; convert the file to UTF-8")
            continue
        if text.strip():
            yield number, text


def _text(path: Path, report: ReadReport) -> Iterator[Row]:
    for number, line in text_lines(path, report):
        yield number, {"text": line}


def _tsv(path: Path, report: ReadReport) -> Iterator[Row]:
    rows = ((number, line.split("\t")) for number, line in text_lines(path, report))
    return _with_header(rows, path, report)


def _csv(path: Path, report: ReadReport) -> Iterator[Row]:
    return _with_header(_csv_values(path, report), path, report)


def _csv_values(path: Path, report: ReadReport) -> Iterator[tuple[int, list[str]]]:
    numbers: list[int] = []

    def lines() -> Iterator[str]:
        for number, line in text_lines(path, report):
            numbers[:] = [number]
            yield line + "\n"

    reader = csv.reader(lines(), strict=True)
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            report.skip(f"{path}:{numbers[0]}", "malformed CSV", str(error))
            continue
        yield numbers[0], values


def _with_header(rows: Iterator[tuple[int, list[str]]], path: Path, report: ReadReport) -> Iterator[Row]:
    first = next(rows, None)
    if first is None:
        raise TrainingDataError(f"{path} is empty; its first line must name the columns")
    names = [name.strip() for name in first[1]]
    for number, values in rows:
        if len(values) != len(names):
            report.skip(f"{path}:{number}", "wrong number of columns", f"{len(values)} instead of {len(names)}")
        else:
            yield number, dict(zip(names, values, strict=True))


def _jsonl(path: Path, report: ReadReport) -> Iterator[Row]:
    import msgspec

    decode = msgspec.json.Decoder().decode
    for number, line in read_lines(path, report):
        if line.isspace():
            continue
        try:
            values = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            report.skip(f"{path}:{number}", "invalid JSON", str(error))
            continue
        if isinstance(values, dict):
            yield number, values
        else:
            report.skip(f"{path}:{number}", "not an object", f"the line is a JSON {type(values).__name__}")


def _parquet(path: Path, report: ReadReport) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                batch.validate(full=True)  # Arrow trusts offsets and UTF-8 when it reads values
                for values in batch.to_pylist():
                    number += 1
                    yield number, values
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        fault = " ".join(str(error).split())
        if number == 0:
            raise TrainingDataError(f"{path} is no readable Parquet file: {fault}") from None
        report.skip(f"{path}:{number + 1}", "damaged file", f"{fault}; the rest of the file is lost")


_READERS: dict[str, Callable[[Path, ReadReport], Iterator[Row]]] = {
    ".txt": _text,
    ".tsv": _tsv,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".parquet": _parquet,
}
