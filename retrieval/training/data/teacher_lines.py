"""Lines of a teacher's scores without a header, as they are published for Margin-MSE.

Separated by tabs: the positive's score, the negative's score, then query id, positive id and negative id, one line for
each triple (github.com/sebastian-hofstaetter/neural-ranking-kd); or, expanded, the three texts in place of the ids.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from retrieval.analysis.scripts import UNSPACED_SCRIPTS
from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError
from retrieval.training.data.row_values import QUERY_NAMES, ScoredTuple, UnusableRowError, checked_text, finite_score
from retrieval.training.data.rows import text_lines

Holds = Literal["ids", "texts"]

_COLUMNS = ("the positive's score", "the negative's score", "the query", "the positive", "the negative")
_LOOKED_AT = 10
_IN_TEXTS = re.compile(rf"\s|[{''.join(UNSPACED_SCRIPTS.values())}]")
"""What ids have not: white space, and characters of scripts whose words are not parted by it."""


def lines_hold(path: Path) -> Holds | None:
    """Tell whether a file has lines of a teacher's scores, with ids or with texts; None where it has none.

    Of the first ten lines each good one has a vote: for texts where its query or a passage has white space or is in a
    script without it, such as Chinese or Thai. With as many votes for either it is texts, for a text may be a word.
    """
    if not {".tsv", ".txt"} & set(path.suffixes):
        return None
    votes: list[Holds] = []
    for _, line in islice(text_lines(path, ReadReport()), _LOOKED_AT):
        columns = line.split("\t")
        if not votes and {column.strip().lower() for column in columns} & set(QUERY_NAMES):
            return None  # a header
        try:
            found = parse_line(line)
        except UnusableRowError:
            continue
        votes.append("texts" if any(map(_is_text, (found.query, *found.passages))) else "ids")
    if not votes:
        return None
    return "texts" if votes.count("texts") >= votes.count("ids") else "ids"


def _is_text(value: str) -> bool:
    return _IN_TEXTS.search(unicodedata.normalize("NFKC", value)) is not None


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
