"""Test sets in memory, with their documents: whole ones, and smaller pools of large ones.

A smaller pool holds what is relevant to the queries taken, and other documents at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.testsets import read_testset


@dataclass(frozen=True)
class Pool:
    """A test set in memory.

    Attributes:
        name: folder and split.
        ids: of the documents.
        texts: title and text of each.
        queries: text by id, of judged queries.
        qrels: grade by document id by query id.
    """

    name: str
    ids: list[str]
    texts: list[str]
    queries: dict[str, str]
    qrels: Mapping[str, Mapping[str, int]]


def read_pool(folder: Path, split: str | None = None, limit: int | None = None) -> Pool:
    """Read a test set with its documents; of the judged queries at most the first `limit`.

    Raises:
        EvaluationError: the folder is no test set with documents.
    """
    testset = read_testset(folder, split)
    documents = list(testset.corpus or ())
    queries = dict(list(testset.queries.items())[:limit])
    return Pool(
        name=f"{testset.name} {testset.split}",
        ids=[document.id for document in documents],
        texts=[f"{document.title or ''} {document.text or ''}".strip() for document in documents],
        queries=queries,
        qrels={query_id: testset.qrels[query_id] for query_id in queries},
    )


def sampled_pool(
    folder: Path, split: str, documents: int, seed: int, *, queries: int | None = None, unseen: str | None = None
) -> Pool:
    """Read a test set and keep the documents that are judged for its queries and others at random.

    Figures of such a pool are higher than the whole collection's, and comparable with each other only.

    Args:
        folder: of the test set.
        split: which judgements.
        documents: of the pool; where more are judged, all of those.
        seed: of the choice.
        queries: the first ones are taken; None takes all.
        unseen: a split that is trained on: queries for documents that are judged there, too, are left out.

    Raises:
        EvaluationError: the folder is no test set with documents.
    """
    testset = read_testset(folder, split)
    seen: set[str] = set()
    if unseen is not None:
        seen = {document_id for grades in read_testset(folder, unseen).qrels.values() for document_id in grades}
    free = [item for item in testset.queries.items() if seen.isdisjoint(testset.qrels[item[0]])]
    texts = dict(free[:queries])
    qrels = {query_id: testset.qrels[query_id] for query_id in texts}
    judged = {document_id for grades in qrels.values() for document_id in grades}
    everything = list(testset.corpus or ())
    rows = [row for row, document in enumerate(everything) if document.id in judged]
    others = [row for row, document in enumerate(everything) if document.id not in judged]
    more = max(0, documents - len(rows))
    drawn = np.random.default_rng(seed).permutation(len(others))[:more]
    chosen = [everything[row] for row in sorted([*rows, *(others[row] for row in drawn.tolist())])]
    return Pool(
        name=f"{testset.name} {testset.split}",
        ids=[document.id for document in chosen],
        texts=[f"{document.title or ''} {document.text or ''}".strip() for document in chosen],
        queries=texts,
        qrels=qrels,
    )
