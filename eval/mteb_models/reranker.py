"""A reranker as mteb's `CrossEncoderProtocol`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, zip_longest
from typing import Any

import numpy as np
from mteb.models import ModelMeta

from eval.errors import TaskError
from eval.mteb_models.metadata import model_meta
from eval.mteb_models.texts import rows_of
from retrieval.rerankers.base import Candidates, Reranker

_TOGETHER = 64
"""Queries that are scored together: enough to fill a model's batches."""


class MtebReranker:
    """A reranker as mteb sees it; `as_mteb_reranker` makes one.

    Args:
        reranker: the reranker.
        name: what mteb calls it; None makes a name of the reranker's.

    Raises:
        TaskError: the name cannot be used.
    """

    def __init__(self, reranker: Reranker, *, name: str | None = None) -> None:
        self.reranker = reranker
        self._meta = model_meta(
            name,
            reranker.name,
            identity=reranker.identity(),
            executions={"reranker": reranker.execution()},
            model_type=["cross-encoder"],
        )

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """Name, revision and facts."""
        return self._meta

    def predict(
        self,
        inputs1: Iterable[Mapping[str, Any]],
        inputs2: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,  # noqa: ARG002 - the protocol's
        hf_subset: str,  # noqa: ARG002
        prompt_type: Any = None,  # noqa: ARG002
        **settings: Any,  # noqa: ARG002
    ) -> np.ndarray:
        """Return the scores of pairs, (n,) float64, higher is better.

        Args:
            inputs1: a data loader of queries, a row for each pair; pairs of one query stand together.
            inputs2: a data loader of documents, likewise.
            task_metadata: of the task.
            hf_split: of the task's data; not looked at.
            hf_subset: of the task's data; not looked at.
            prompt_type: not looked at.
            **settings: mteb's; batches are the reranker's own.

        Raises:
            TaskError: there are not as many documents as queries, or there is something else than text.
            RerankerError: a score is no finite number.
        """
        scores: list[np.ndarray] = []
        waiting: list[tuple[str, list[Mapping[str, Any]]]] = []
        for group in _by_query(rows_of(inputs1, task_metadata.name), rows_of(inputs2, task_metadata.name)):
            waiting.append(group)
            if len(waiting) == _TOGETHER:
                scores += self._score(waiting)
                waiting = []
        scores += self._score(waiting)
        return np.concatenate(scores) if scores else np.empty(0, np.float64)

    def _score(self, groups: list[tuple[str, list[Mapping[str, Any]]]]) -> list[np.ndarray]:
        if not groups:
            return []
        places = [_first_places(documents) for _, documents in groups]
        candidates = [
            _candidates([documents[place] for place in sorted(set(first))])
            for (_, documents), first in zip(groups, places, strict=True)
        ]
        found = self.reranker.score([query for query, _ in groups], candidates)
        return [
            np.asarray(scores, np.float64)[np.unique(first, return_inverse=True)[1]]
            for scores, first in zip(found, places, strict=True)
        ]


def _by_query(
    queries: Iterator[dict[str, Any]], documents: Iterator[dict[str, Any]]
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield each query with the documents that stand beside it."""
    for (_, text), pairs in groupby(_pairs(queries, documents), lambda pair: (pair[0].get("id"), pair[0]["text"])):
        yield text, [document for _, document in pairs]


def _pairs(
    queries: Iterator[dict[str, Any]], documents: Iterator[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for query, document in zip_longest(queries, documents):
        if query is None or document is None:
            raise TaskError("mteb gave another number of documents than of queries; pairs need one of each")
        yield query, document


def _first_places(documents: list[Mapping[str, Any]]) -> list[int]:
    """Return for each document where it stands first: a candidate may come twice, rerankers take each once."""
    first: dict[Any, int] = {}
    return [first.setdefault(document.get("id", place), place) for place, document in enumerate(documents)]


def _candidates(documents: list[Mapping[str, Any]]) -> Candidates:
    lengths = [_title_length(document) for document in documents]
    return Candidates(
        ids=[str(document.get("id", place)) for place, document in enumerate(documents)],
        texts=[document["text"] for document in documents],
        scores=np.zeros(len(documents), np.float64),  # nothing is known of the stage before
        title_lengths=lengths if any(lengths) else (),
    )


def _title_length(document: Mapping[str, Any]) -> int:
    """Return the characters of the title at the beginning of a text, which mteb strips of outer white space."""
    title = str(document.get("title") or "").lstrip()
    return len(title) if title and document["text"].startswith(title) else 0
