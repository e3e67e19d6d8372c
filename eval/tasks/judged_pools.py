"""Judged pools: for each query passages that people graded, out of one table of pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.candidates import CandidateList
from eval.errors import TaskError
from eval.tasks.ranking_definitions import RerankingDefinition
from eval.tasks.tables import Table, read_table
from retrieval.rerankers.base import Candidates

LEFT_OUT = "queries left out, as the definition says"
"""Count: of queries that `RerankingDefinition.measured_queries` leaves out."""


@dataclass(frozen=True)
class JudgedPools:
    """The pools that are measured.

    Attributes:
        lists: of each query, passages in the order of the first stage where there is one, else of the file.
        qrels: grade by passage id by query id, counted from the definition's lowest grade.
        counts: of what was left out or is odd.
    """

    lists: list[CandidateList]
    qrels: dict[str, dict[str, int]]
    counts: dict[str, int]


def read_pools(file: Path, definition: RerankingDefinition) -> JudgedPools:
    """Read a table of judged pairs.

    Raises:
        TaskError: the file cannot be read; a grade or rank is no whole number, or a grade below the lowest; an id is
            empty or none; a query has two texts; a passage id comes twice for a query; or no query is left to measure.
    """
    named = (definition.query_id, definition.query, definition.passage, definition.passage_id, definition.grade)
    table = read_table(file, (*named, definition.rank))
    grades = _whole_numbers(table, definition.grade)
    for row, grade in enumerate(grades):
        if grade < definition.lowest_grade:
            raise TaskError(f"{table.where(row)}: the grade {grade} is below the lowest, {definition.lowest_grade}")
    ranks = _whole_numbers(table, definition.rank) if definition.rank else [0] * len(table)
    rows_of: dict[str, list[int]] = {}
    for row, query_id in enumerate(table.repeated_ids(definition.query_id)):
        rows_of.setdefault(query_id, []).append(row)
    passage_ids = table.repeated_ids(definition.passage_id)
    texts = table.texts(definition.passage)
    lists, qrels, counts = [], {}, Counter[str]()
    for query_id, rows in rows_of.items():
        if not definition.measures_query(grades[row] for row in rows):
            counts[LEFT_OUT] += 1
            continue
        ids = [passage_ids[row] for row in rows]
        _check_unique(ids, table, query_id, rows)
        best_first = sorted(range(len(rows)), key=lambda place: ranks[rows[place]])
        chosen = [texts[rows[place]] for place in best_first]
        counts["passages twice in a pool"] += len(chosen) - len(set(chosen))
        counts["blank passages"] += sum(not text.strip() for text in chosen)
        candidates = Candidates([ids[place] for place in best_first], chosen, -np.arange(len(rows), dtype=np.float64))
        lists.append(CandidateList(query_id, _query(table, definition, query_id, rows), candidates))
        qrels[query_id] = {name: grades[row] - definition.lowest_grade for name, row in zip(ids, rows, strict=True)}
    if not lists:
        raise TaskError(f"{file}: none of the {len(rows_of):,} queries has passages of the grades that are asked for")
    return JudgedPools(lists, qrels, {name: count for name, count in counts.items() if count})


def _whole_numbers(table: Table, name: str) -> list[int]:
    numbers = table.numbers(name)
    for row, number in enumerate(numbers):
        if not number.is_integer():
            raise TaskError(f"{table.where(row)}: {name} is {number:g}, not a whole number")
    return [int(number) for number in numbers]


def _check_unique(ids: list[str], table: Table, query_id: str, rows: list[int]) -> None:
    seen: set[str] = set()
    for row, name in zip(rows, ids, strict=True):
        if name in seen:
            raise TaskError(f"{table.where(row)}: passage {name!r} is twice in the pool of query {query_id!r}")
        seen.add(name)


def _query(table: Table, definition: RerankingDefinition, query_id: str, rows: list[int]) -> str:
    texts = table.texts(definition.query)
    for row in rows:
        if texts[row] != texts[rows[0]]:
            raise TaskError(f"{table.where(row)}: query {query_id!r} had another text in line {table.lines[rows[0]]}")
    return texts[rows[0]]
