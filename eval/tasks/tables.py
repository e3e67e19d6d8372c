"""Tables: rows of texts, labels and scores out of TSV or JSON lines, checked while they are read.

A TSV file has a header line and no quoting: a quotation mark is a character like any other. Every fault is an error
with file and line; no row is skipped, and a line of white space alone is no row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from eval.errors import MissingDataError, TaskError
from eval.text_files import find_file, numbered_lines


@dataclass(frozen=True)
class Table:
    """The columns of a file that were asked for.

    Attributes:
        path: the file.
        lines: number of the line that each row comes from.
        columns: values by name of the column, in the order of the rows.
    """

    path: Path
    lines: list[int]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """Return "file:line" of a row, for messages."""
        return f"{self.path}:{self.lines[row]}"

    def texts(self, name: str) -> list[str]:
        """Return a column of texts.

        Raises:
            TaskError: a value is not a text.
        """
        for row, value in enumerate(self.columns[name]):
            if not isinstance(value, str):
                raise TaskError(f"{self.where(row)}: {name} is {value!r:.80}, not a text")
        return self.columns[name]

    def numbers(self, name: str) -> list[float]:
        """Return a column of finite numbers.

        Raises:
            TaskError: a value is not a number, NaN or infinite.
        """
        return [finite_number(value, name, self.where(row)) for row, value in enumerate(self.columns[name])]

    def labels(self, name: str) -> list[str] | list[int]:
        """Return a column of labels: whole numbers where all of them are written as such, else texts ("01" is not "1").

        Raises:
            TaskError: a label is empty, or neither a text nor a whole number.
        """
        labels: list[str] = []
        for row, value in enumerate(self.columns[name]):
            if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
                raise TaskError(f"{self.where(row)}: {name} is {value!r:.80}, not a label")
            labels.append(str(value).strip())
        try:
            numbers = [int(label) for label in labels]
        except ValueError:
            return labels
        return numbers if list(map(str, numbers)) == labels else labels

    def ids(self, name: str) -> list[str]:
        """Return an id for each row: a column's, or where no column is named the number of the line.

        Raises:
            TaskError: an id is empty or comes twice.
        """
        first: dict[str, int] = {}
        for row, value in enumerate(self.repeated_ids(name)):
            earlier = first.setdefault(value, row)
            if earlier != row:
                raise TaskError(f"{self.where(row)}: {name} {value!r} was there before, in line {self.lines[earlier]}")
        return list(first)

    def repeated_ids(self, name: str) -> list[str]:
        """Return an id for each row, as `ids` does, of which one may come several times.

        Raises:
            TaskError: an id is empty, or neither a text nor a whole number.
        """
        if not name:
            return [str(line) for line in self.lines]
        for row, value in enumerate(self.columns[name]):
            if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
                raise TaskError(f"{self.where(row)}: {name} is {value!r:.80}, not an id")
        return [str(value) for value in self.columns[name]]


def finite_number(value: Any, name: str, where: str) -> float:
    """Return a value of a file as a number.

    Raises:
        TaskError: it is not a number, NaN or infinite.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        raise TaskError(f"{where}: {name} is {value!r:.80}, not a number") from None
    if not math.isfinite(number):
        raise TaskError(f"{where}: {name} is {value!r:.80}; remove the row or give it a finite number")
    return number


def existing_file(folder: Path, name: str) -> Path:
    """Return a file of a data folder, whose name may lack .gz or .zst.

    Raises:
        MissingDataError: folder or file do not exist.
    """
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder}")
    found = find_file(folder / name)
    if found is None:
        raise MissingDataError(f"no file {name} (or .gz, .zst) in {folder}")
    return found


def read_table(path: Path, columns: Sequence[str]) -> Table:
    """Read columns of a TSV file under a header, or of JSON lines (a name with .jsonl).

    Args:
        path: the file, possibly compressed.
        columns: their names; an empty name is left out.

    Raises:
        TaskError: the file cannot be read, lacks a column (those it has are listed), a row has more or fewer columns
            than the header, or there are no rows.
    """
    names = list(dict.fromkeys(name for name in columns if name))
    rows = _json_rows(path, names) if ".jsonl" in path.suffixes else _tab_rows(path, names)
    lines: list[int] = []
    values: dict[str, list[Any]] = {name: [] for name in names}
    for number, row in rows:
        lines.append(number)
        for name, value in zip(names, row, strict=True):
            values[name].append(value)
    if not lines:
        raise TaskError(f"{path} holds no rows; an empty split cannot be measured")
    return Table(path, lines, values)


def _tab_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    header: list[str] | None = None
    places: list[int] = []
    for number, line in numbered_lines(path, TaskError):
        fields = line.split("\t")
        if header is None:
            header = [name.strip() for name in fields]
            places = [_place(name, header, f"{path}:{number}") for name in names]
            continue
        if len(fields) != len(header):
            raise TaskError(f"{path}:{number}: {len(fields)} columns, but the header has {len(header)}")
        yield number, [fields[place] for place in places]


def _place(name: str, header: Sequence[str], where: str) -> int:
    if header.count(name) != 1:
        fact = "has no column" if name not in header else "names twice the column"
        raise TaskError(f"{where}: the header {fact} {name!r}; it is {', '.join(header)}")
    return header.index(name)


def _json_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    for number, line in numbered_lines(path, TaskError):
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as fault:
            raise TaskError(f"{path}:{number}: not JSON ({fault})") from None
        if not isinstance(row, dict):
            raise TaskError(f"{path}:{number}: not a JSON object: {line[:80]!r}")
        for name in names:
            if name not in row:
                raise TaskError(f"{path}:{number}: no key {name!r}; the object has {', '.join(row)}")
        yield number, [row[name] for name in names]
