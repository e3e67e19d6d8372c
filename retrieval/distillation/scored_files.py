"""Files of scored tuples in all their forms, as one stream of tuples, and back.

| form | with ids | with texts |
| --- | --- | --- |
| `.tsv` without a header | the published lines, see `training.data.teacher_lines` | the same, expanded |
| rows: `.jsonl`, `.parquet`, `.tsv`, `.csv` | query_id, positive_id, negative_id | query, positive, negative_1 … |

Rows have their scores as in `training.data.row_values.scored_tuple`; sentence-transformers' losses read them as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from indexes import file_operations
from indexes.storage import confirm, make_directory, sync_all
from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError
from retrieval.training.data.row_values import ScoredTuple, parsed_rows, scored_tuple
from retrieval.training.data.rows import read_rows
from retrieval.training.data.teacher_lines import Holds, format_lines, lines_hold, read_lines_of

Placed = tuple[str, ScoredTuple]
"""A tuple and the place that it was read from, "file:line"."""

FORMS = (".tsv", ".jsonl", ".parquet")
_ROWS = 4096


def read_scored(path: Path, report: ReadReport) -> tuple[Holds, Iterator[Placed]]:
    """Return whether a file's tuples hold ids or texts, and the tuples; they stream.

    Args:
        path: see the module; packed or not.
        report: counts rows from which no tuple can be made, and notes margins without scores.

    Raises:
        TrainingDataError: the file is empty, or its first row is no scored tuple of any form.
        DocumentError: it cannot be opened.
    """
    if not path.is_file():
        raise TrainingDataError(f"no file of scored tuples at {path}")
    holds = lines_hold(path)
    if holds is not None:
        return holds, read_lines_of(path, report)
    rows = read_rows(path, report)
    first = next(rows, None)
    if first is None:
        raise TrainingDataError(f"{path} has no rows: {report.summary()}")
    holds = "ids" if _has_ids(first[1]) else "texts"
    return holds, _tuples(chain([first], rows), path, holds, report)


def write_scored(path: Path, tuples: Iterable[ScoredTuple], holds: Holds, *, column: str, margins: bool = False) -> int:
    """Write scored tuples to a file that is there whole or not at all; they stream.

    Args:
        path: `.tsv` for lines without a header, one for each negative; `.jsonl` or `.parquet` for rows.
        tuples: a Parquet file's have one number of negatives.
        holds: what they hold.
        column: of the scores in rows.
        margins: write margins instead of scores: by how much the positive leads each negative; of a single negative a
            number, of several a list.

    Returns:
        How many tuples were written.

    Raises:
        TrainingDataError: the form is unknown or cannot hold the tuples, or there are none.
    """
    check_form(path)
    if path.suffix == ".tsv":
        content = (format_lines(given).encode() for given in tuples)
        return _written(path, lambda file: _write_all(file, content))
    rows = (row_of(given, holds, column=column, margins=margins) for given in tuples)
    if path.suffix == ".jsonl":
        return _written(path, lambda file: _write_all(file, map(json_line, rows)))
    return _written(path, lambda file: _write_parquet(file, rows, column))


def check_form(path: Path, forms: tuple[str, ...] = FORMS) -> None:
    """Refuse a file to be written whose form is unknown.

    Raises:
        TrainingDataError: it is.
    """
    if path.suffix not in forms:
        raise TrainingDataError(f"{path} cannot be written: its name must end with {' or '.join(forms)}")


def row_of(given: ScoredTuple, holds: Holds, *, column: str, margins: bool = False) -> dict[str, Any]:
    """Return a tuple as a row; see `write_scored`."""
    suffix = "_id" if holds == "ids" else ""
    positive, *negatives = given.passages
    row: dict[str, Any] = {f"query{suffix}": given.query, f"positive{suffix}": positive}
    for number, negative in enumerate(negatives, start=1):
        row[f"negative{suffix}" if len(negatives) == 1 else f"negative{suffix}_{number}"] = negative
    scores: Any = list(given.scores)
    if margins:
        scores = [given.scores[0] - score for score in given.scores[1:]]
        scores = scores[0] if len(scores) == 1 else scores
    return {**row, column: scores}


def json_line(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line of JSON; numbers are read again as they are."""
    import msgspec

    return msgspec.json.encode(row) + b"\n"


def _tuples(
    rows: Iterable[tuple[int, Mapping[str, Any]]], path: Path, holds: Holds, report: ReadReport
) -> Iterator[Placed]:
    def parse(values: Mapping[str, Any], place: str) -> tuple[ScoredTuple, bool]:
        return scored_tuple(_without_suffix(values) if holds == "ids" else values, place)

    for place, (found, has_margins) in parsed_rows(rows, path, parse, report):
        if has_margins:
            report.note(place, "margin without scores", "the first negative's score is taken for 0")
        yield place, found


def _has_ids(row: Mapping[str, Any]) -> bool:
    return {"query_id", "positive_id"} <= {str(name).lower() for name in row}


def _without_suffix(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with ids as one with texts: "negative_id_2" is called "negative_2", and numbers are texts."""
    found = {}
    for name, value in values.items():
        if not name.startswith(("query_id", "positive_id", "negative_id")):
            found[name] = value
            continue
        one = None if value is None else str(value)
        found[name.replace("_ids", "s").replace("_id", "")] = list(map(str, value)) if isinstance(value, list) else one
    return found


def _written(path: Path, write: Callable[[BinaryIO], int]) -> int:
    """Write a file under another name first, and give it its own when it is durable."""
    make_directory(path.parent)
    temporary = path.with_name(path.name + ".tmp")
    file_operations.remove(temporary)  # an interrupted writer's
    try:
        with file_operations.create(temporary) as file:
            count = _some(write(file), path)
        sync_all([temporary])
        file_operations.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            file_operations.remove(temporary)
        raise
    confirm(path.parent, f"{path} is written")
    return count


def _some(count: int, path: Path) -> int:
    if not count:
        raise TrainingDataError(f"there is nothing to write to {path}: no tuple could be read")
    return count


def _write_all(file: BinaryIO, content: Iterable[bytes]) -> int:
    count = 0
    for part in content:
        file.write(part)
        count += 1
    return count


def _write_parquet(file: BinaryIO, rows: Iterator[dict[str, Any]], column: str) -> int:
    import pyarrow
    import pyarrow.parquet

    first = next(rows, None)
    if first is None:
        return 0
    number = pyarrow.float64()
    of_scores = pyarrow.list_(number) if isinstance(first[column], list) else number
    schema = pyarrow.schema([(name, of_scores if name == column else pyarrow.string()) for name in first])
    count, waiting = 0, []
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for row in chain([first], rows):
            count += 1
            if row.keys() != first.keys():
                raise TrainingDataError(
                    f"tuple {count:,} has {len(row) - 3} negatives, the first one {len(first) - 3}: a Parquet file "
                    "needs one number of them; write .jsonl"
                )
            waiting.append(row)
            if len(waiting) == _ROWS:
                writer.write_batch(pyarrow.RecordBatch.from_pylist(waiting, schema=schema))
                waiting = []
        writer.write_batch(pyarrow.RecordBatch.from_pylist(waiting, schema=schema))
    return count
