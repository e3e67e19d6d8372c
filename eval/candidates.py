"""Candidates to rerank: given lists of documents with their texts, streamed query by query.

Three files of the field are understood: MS MARCO's `top1000.dev` (query id, passage id, query, passage; tabs), which
brings its texts; and run files, TREC's or MS MARCO's, whose texts are those of a test set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from eval.errors import RunError
from eval.measures import Run
from eval.runs import read_msmarco_run, read_run
from eval.text_files import ascii_columns, numbered_lines
from retrieval.rerankers.base import Candidates

if TYPE_CHECKING:
    from eval.testsets import TestSet

CandidateFormat = Literal["texts", "trec", "msmarco"]


@dataclass(frozen=True)
class CandidateList:
    """The candidates of a query, or a part of them.

    Attributes:
        query_id: of the query.
        query: its text.
        candidates: in the order of the first stage, or where that is not known in the order of the file.
    """

    query_id: str
    query: str
    candidates: Candidates


def candidate_format(path: Path) -> CandidateFormat:
    """Recognise a file of candidates by its first line.

    Raises:
        RunError: it cannot be read, is empty, or is none that is known.
    """
    first = next(islice(numbered_lines(path, RunError), 1), None)
    if first is None:
        raise RunError(f"{path} is empty: it holds no candidates")
    n_tabs = first[1].count("\t")
    if n_tabs == 3:
        return "texts"
    if len(ascii_columns(first[1])) == 6:
        return "trec"
    if n_tabs in (1, 2):
        return "msmarco"
    raise RunError(
        f"{path}:1: neither a TREC run (6 columns), nor MS MARCO's (query, passage, rank), nor candidates with texts "
        f"(query id, passage id, query, passage): {first[1][:80]!r}"
    )


def stream_candidates(path: str | Path) -> Iterator[CandidateList]:
    """Yield the candidates of a file with texts, a list for each sequence of lines with the same query.

    Memory holds the lines of one list. A query whose lines do not stand together comes back in a later list.

    Raises:
        RunError: the file cannot be read, or a line has not four columns or an empty id; the message names file and
            line.
    """
    path = Path(path)
    query_id, query = "", ""
    ids: list[str] = []
    texts: list[str] = []
    for number, line in numbered_lines(path, RunError):
        columns = line.split("\t")
        if len(columns) != 4:
            raise RunError(
                f"{path}:{number}: {len(columns)} columns instead of 4 (query id, passage id, query, passage)"
            )
        if not columns[0].strip() or not columns[1].strip():
            raise RunError(f"{path}:{number}: the query id or the passage id is empty")
        if columns[0].strip() != query_id:
            if ids:
                yield _list(query_id, query, ids, texts)
            query_id, query, ids, texts = columns[0].strip(), columns[2], [], []
        ids.append(columns[1].strip())
        texts.append(columns[3])
    if ids:
        yield _list(query_id, query, ids, texts)


def candidates_of_run(run: Run, testset: TestSet, depth: int | None = None) -> tuple[list[CandidateList], int]:
    """Return the candidates of a run with the texts of a test set, for judged queries that have a text.

    Args:
        run: of the first stage.
        testset: with queries and documents; of these the ones in the run are held in memory.
        depth: candidates of each query; None takes all.

    Returns:
        The lists in the order of the judgements, and how many documents of the run the test set does not have; these
        are left out.

    Raises:
        RunError: the test set has no documents.
    """
    if testset.corpus is None:
        raise RunError(f"the test set {testset.name} has no documents, so the candidates have no texts")
    cut = {query_id: run[query_id][:depth] for query_id in testset.queries if run.get(query_id)}
    wanted = {document_id for ranking in cut.values() for document_id, _ in ranking}
    documents = {document.id: document for document in testset.corpus if document.id in wanted}
    lists = []
    for query_id, ranking in cut.items():
        found = [(documents[name], score) for name, score in ranking if name in documents]
        candidates = Candidates(
            ids=[document.id for document, _ in found],
            texts=[document.full_text for document, _ in found],
            scores=np.array([score for _, score in found], np.float64),
            title_lengths=[len(document.title) for document, _ in found],
        )
        lists.append(CandidateList(query_id, testset.queries[query_id], candidates))
    return lists, len(wanted) - len(documents)


def read_candidate_run(path: Path) -> Run:
    """Read a run file of either format.

    Raises:
        RunError: it cannot be read, or holds texts and no run.
    """
    known = candidate_format(path)
    if known == "texts":
        raise RunError(f"{path} holds candidates with their texts, and no ranking")
    return read_run(path) if known == "trec" else read_msmarco_run(path)


def _list(query_id: str, query: str, ids: list[str], texts: list[str]) -> CandidateList:
    return CandidateList(query_id, query, Candidates(ids, texts, np.zeros(len(ids))))
