"""Separated values: CSV and TSV with a header line, and MS MARCO's files without one."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retrieval.documents.columns import Columns
from retrieval.documents.report import ReadReport
from retrieval.documents.rows import Item, documents_from_rows
from retrieval.documents.streams import MAXIMUM_BYTES, read_lines
from retrieval.errors import DocumentError

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_WORDS: dict[str, bool | None] = {"": None, "null": None, "true": True, "false": False}
_MARCO_COLUMNS = {2: ("id", "text"), 3: ("id", "title", "text"), 4: ("id", "url", "title", "text")}


def read_csv(path: Path, columns: Columns, report: ReadReport) -> Iterator[Item]:
    """Read documents from comma-separated values with a header line and the usual double quotes.

    Metadata values that are written as JSON numbers, true, false or null are read as such, empty ones as null.
    """
    return _table(_csv_rows(path, report), path, columns, report)


def read_tsv(path: Path, columns: Columns, report: ReadReport) -> Iterator[Item]:
    """Read documents from tab-separated values with a header line; quotes are characters like any other."""
    return _table(_tab_rows(path, report), path, columns, report)


def read_msmarco(path: Path, columns: Columns, report: ReadReport) -> Iterator[Item]:
    r"""Read an MS MARCO file without a header: pid\tpassage, or docid\turl\ttitle\tbody (three columns: no url)."""
    rows = _tab_rows(path, report)
    first = next(rows, None)
    if first is None:
        return
    names = _MARCO_COLUMNS.get(len(first[1]))
    if names is None:
        raise DocumentError(f"{path}:{first[0]}: {len(first[1])} columns; MS MARCO files have 2 (pid, passage) to 4")
    columns.table_layout(names, str(path))
    table = _records(itertools.chain([first], rows), names, path, report)
    yield from documents_from_rows(table, str(path), columns, report)


def literal(value: str) -> str | float | bool | None:
    """Read a value as JSON would where it is a JSON number, true, false or null; empty is null, all else is text.

    Numbers with leading zeros, and integers that a 64-bit number cannot hold, stay text: they are codes.
    """
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    match = _NUMBER.fullmatch(value)
    if match is None:
        return value
    if match[1] or match[2]:
        number = float(value)
        return number if abs(number) != float("inf") else value
    return int(value) if len(value) <= 18 else value


def _table(rows: Iterator[tuple[int, list[str]]], path: Path, columns: Columns, report: ReadReport) -> Iterator[Item]:
    before = dict(report.skipped)
    header = next(rows, None)
    faults = [reason for reason, count in report.skipped.items() if count > before.get(reason, 0)]
    if faults:  # the row that came instead is no header
        raise DocumentError(f"{path}: the header line cannot be read ({', '.join(faults)})")
    if header is None:
        return
    names = tuple(name or f"column {position}" for position, name in enumerate(header[1], start=1))
    columns.table_layout(names, str(path))
    yield from documents_from_rows(_records(rows, names, path, report), str(path), columns, report, literal)


def _records(
    rows: Iterator[tuple[int, list[str]]], names: tuple[str, ...], path: Path, report: ReadReport
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, values in rows:
        if len(values) == len(names):
            yield number, dict(zip(names, values, strict=True))
        else:
            fault = "too few columns" if len(values) < len(names) else "too many columns"
            report.skip(f"{path}:{number}", fault, f"{len(values)} instead of {len(names)}")


def _tab_rows(path: Path, report: ReadReport) -> Iterator[tuple[int, list[str]]]:
    for number, line in read_lines(path, report):
        fault = _fault(line)
        if fault:
            report.skip(f"{path}:{number}", fault)
        elif b"\t" in line or not line.isspace():  # a row of empty values is a row, to be counted
            yield number, line.decode().rstrip("\r\n").split("\t")


def _csv_rows(path: Path, report: ReadReport) -> Iterator[tuple[int, list[str]]]:
    # The module's limit is one for the process; without this a text of 131,072 characters would be an error.
    csv.field_size_limit(max(csv.field_size_limit(), MAXIMUM_BYTES))
    lines = _CheckedLines(path, report)
    reader = csv.reader(lines, strict=True)
    while True:
        lines.faults.clear()
        start = lines.number + 1
        lines.bytes_left = MAXIMUM_BYTES
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lost = f"; lines {start:,} to {lines.number:,} are lost" if lines.number > start else ""
            report.skip(f"{path}:{start}", "malformed CSV", f"{error}{lost}")
            continue
        if lines.faults:
            report.skip(f"{path}:{start}", lines.faults[0])
        elif values:
            yield start, values


class _CheckedLines:
    """Lines of text for the csv module, which tell the faults of those handed out since the last look.

    A row may span any number of lines; `bytes_left` bounds what the module gathers for one.
    """

    def __init__(self, path: Path, report: ReadReport) -> None:
        self._lines = read_lines(path, report)
        self.number = 0
        self.bytes_left = MAXIMUM_BYTES
        self.faults: list[str] = []

    def __iter__(self) -> _CheckedLines:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        self.bytes_left -= len(line)
        if self.bytes_left < 0:
            raise csv.Error(f"a row of more than {MAXIMUM_BYTES:,} bytes: a quote may not be closed")
        fault = _fault(line)
        if fault:
            self.faults.append(fault)
        return line.decode("utf-8", "replace")


def _fault(line: bytes) -> str:
    """Name what makes a line unusable as text, or nothing."""
    if b"\0" in line:
        return "NUL bytes"
    if line.isascii():
        return ""
    try:
        line.decode()
    except UnicodeDecodeError:
        return "invalid UTF-8"
    return ""
