"""Lines of a teacher's scores without a header, as they are published for Margin-MSE.

Separated by tabs: the positive's score, the negative's score, then query id, positive id and negative id, one line for
each triple (github.com/sebastian-hofstaetter/neural-ranking-kd); or, expanded, the three texts in place of the ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError
from retrieval.training.data.row_values import QUERY_NAMES, ScoredTuple, UnusableRowError, checked_text, finite_score
from retrieval.training.data.rows import text_lines

Holds = Literal["ids", "texts"]

_COLUMNS = ("the positive's score", "the negative's score", "the query", "the positive", "the negative")
_LOOKED_AT = 10


def lines_hold(path: Path) -> Holds | None:
    """Tell whether a file has lines of a teacher's scores, with ids or with texts; None where it has none.

    The first good line of ten decides. Passages without white space are ids.
    """
    if not {".tsv", ".txt"} & set(path.suffixes):
        return None
    for _, line in islice(text_lines(path, ReadReport()), _LOOKED_AT):
        columns = line.split("\t")
        if {column.strip().lower() for column in columns} & set(QUERY_NAMES):
            return None  # a header
        try:
            found = parse_line(line)
        except UnusableRowError:
            continue
        return "texts" if any(len(passage.split()) > 1 for passage in found.passages) else "ids"
    return None


def read_lines_of(path: Path, report: ReadReport) -> Iterator[tuple[str, ScoredTuple]]:
    """Yield place and content of each line; those that are none are counted.

    Args:
        path: the file, packed or not.
        report: counts.
    """
    for number, line in text_lines(path, report):
        place = f"{path}:{number}"
        try:
            yield place, parse_line(line)
        except UnusableRowError as error:
            report.skip(place, error.reason, error.detail)


def parse_line(line: str) -> ScoredTuple:
    """Return what a line says; UnusableRowError where it is not such a line."""
    columns = line.split("\t")
    if len(columns) != len(_COLUMNS):
        raise UnusableRowError("not a teacher's line", f"{line[:80]!r} is not: {', '.join(_COLUMNS)}")
    scores = (finite_score(columns[0]), finite_score(columns[1]))
    query, *passages = (checked_text(text, name) for text, name in zip(columns[2:], _COLUMNS[2:], strict=True))
    return ScoredTuple(query, tuple(passages), scores)


def format_lines(scored: ScoredTuple) -> str:
    """Return the lines of a scored tuple, one for each negative; scores are read again as they are.

    Raises:
        TrainingDataError: a text holds a tab or a line end, which lines cannot.
    """
    (positive, *negatives), (positive_score, *scores) = scored.passages, scored.scores
    for text in (scored.query, *scored.passages):
        if "\t" in text or len(text.splitlines()) != 1:
            raise TrainingDataError(f"{text[:80]!r} holds a tab or a line end, which a .tsv file cannot; write .jsonl")
    return "".join(
        f"{positive_score!r}\t{score!r}\t{scored.query}\t{positive}\t{negative}\n"
        for negative, score in zip(negatives, scores, strict=True)
    )
