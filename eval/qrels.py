"""Relevance judgements (qrels): grades by query and document, from the two file formats of the field."""

from __future__ import annotations

from pathlib import Path

from eval.errors import TestSetError
from eval.text_files import ascii_columns, numbered_lines

_HEADER_NAMES = frozenset({"queryid", "qid", "query", "topic", "topicid"})


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read judgements: grade by document id by query id, in file order.

    Two formats are told apart by the number of columns: BEIR's three (query, document, grade; usually under a header)
    and TREC's four (query, iteration, document, grade). Columns are separated by tabs, or by white space of ASCII in a
    line without tabs. A judgement that is repeated with the same grade counts once.

    Raises:
        TestSetError: the file cannot be read, or a line has another number of columns, a grade that is no whole
            number, an empty id, or contradicts an earlier line; the message names file and line.
    """
    path = Path(path)
    qrels: dict[str, dict[str, int]] = {}
    for number, line in numbered_lines(path, TestSetError):
        columns = [column.strip() for column in (line.split("\t") if "\t" in line else ascii_columns(line))]
        if len(columns) not in (3, 4):
            raise TestSetError(
                f"{path}:{number}: {len(columns)} columns; judgements have 3 (query, document, grade) "
                "or 4 (query, iteration, document, grade)"
            )
        query_id, document_id, grade = columns[0], columns[-2], _grade(columns[-1])
        if grade is None:
            if number == 1 and _is_header(columns):
                continue
            raise TestSetError(f"{path}:{number}: the grade {columns[-1]!r} is not a whole number")
        if not query_id or not document_id:
            raise TestSetError(f"{path}:{number}: the query id or the document id is empty")
        earlier = qrels.setdefault(query_id, {}).setdefault(document_id, grade)
        if earlier != grade:
            raise TestSetError(
                f"{path}:{number}: document {document_id!r} has grade {grade} for query {query_id!r}, but {earlier} "
                "in an earlier line"
            )
    if not qrels:
        raise TestSetError(f"{path} holds no judgements")
    return qrels


def _grade(text: str) -> int | None:
    try:
        return int(text)  # a float would round the digits of a long one
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None


def _is_header(columns: list[str]) -> bool:
    return columns[0].lower().replace("-", "").replace("_", "") in _HEADER_NAMES
