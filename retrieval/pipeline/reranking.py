"""Running the rerankers of a pipeline over the retrieved lists of many queries."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from indexes.hits import Hits
from retrieval.found_ids import found_ids
from retrieval.pipeline.order import Step, best_first, reordered
from retrieval.pipeline.plan import n_scored
from retrieval.pipeline.report import StageReport
from retrieval.pipeline.stored_states import StateReranker
from retrieval.rerankers.base import Candidates, check_answers, check_scores, score_with_calls

if TYPE_CHECKING:
    from retrieval.collection.snapshot import Snapshot
    from retrieval.pipeline.stages import Admission
    from retrieval.rerankers.base import Reranker

TOGETHER = 1 << 12
"""Candidates whose texts are read and given to a reranker together, those of one query at least: this bounds memory,
and is more than fills any model's batches."""


@dataclass
class Reranked:
    """A query's list on its way through the stages.

    Attributes:
        hits: the list as it is now.
        steps: what the stages did to it.
        reports: what they cost.
    """

    hits: Hits
    steps: list[Step] = field(default_factory=list)
    reports: list[StageReport] = field(default_factory=list)


def rerank(
    snapshot: Snapshot,
    queries: Sequence[str],
    ranked: Sequence[Hits],
    stages: Sequence[Admission],
    rerankers: Mapping[str, Reranker | StateReranker],
) -> list[Reranked]:
    """Send ranked lists through the stages, each stage over all queries before the next one.

    Args:
        snapshot: where the documents are.
        queries: their texts.
        ranked: a list for each query, best first.
        stages: in their order.
        rerankers: by the stages' names; those that read stored states read no text.

    Raises:
        RerankerError: a reranker did not answer with one finite score for each candidate; it is named.
        CorruptIndexError: a text is damaged.
    """
    lists = [Reranked(hits) for hits in ranked]
    for stage in stages:
        name, limit = stage
        reranker = rerankers[name]
        began = time.perf_counter()
        calls: list[int] = []
        for first, end in _groups([min(limit, len(each.hits.rows)) for each in lists]):
            calls += _run(snapshot, stage, reranker, queries[first:end], lists[first:end])
        seconds = time.perf_counter() - began
        for each, made in zip(lists, calls, strict=True):
            n = len(each.steps[-1].order)
            n_states = n if isinstance(reranker, StateReranker) else 0
            each.reports.append(StageReport(name, n, made, seconds, len(lists), n_states))
    return lists


def _run(
    snapshot: Snapshot,
    stage: Admission,
    reranker: Reranker | StateReranker,
    queries: Sequence[str],
    lists: Sequence[Reranked],
) -> list[int]:
    """Send some lists through one stage, and return the model calls of each."""
    name, limit = stage
    heads = [each.hits.cut(limit) for each in lists]
    asked = [number for number, head in enumerate(heads) if n_scored(reranker, len(head.rows))]
    texts, admitted = [queries[number] for number in asked], [heads[number] for number in asked]
    stored = isinstance(reranker, StateReranker)
    if isinstance(reranker, StateReranker):
        answers = reranker.score_stored(snapshot, texts, admitted) if asked else []
        made = [reranker.calls(len(head.rows)) for head in admitted]
    else:
        answers, made = _scores(snapshot, reranker, name, texts, admitted)
    scores, calls = dict(zip(asked, answers, strict=True)), dict(zip(asked, made, strict=True))
    for number, each in enumerate(lists):
        own = scores.get(number, np.empty(0))
        step = Step(name, own, best_first(own), stored)
        each.steps.append(step)
        each.hits = reordered(each.hits, step)
    return [calls.get(number, 0) for number in range(len(lists))]


def _scores(
    snapshot: Snapshot, reranker: Reranker, name: str, queries: Sequence[str], heads: Sequence[Hits]
) -> tuple[list[np.ndarray], list[int]]:
    """Return the scores of a reranker that reads texts, (n_i,) float64 for each query, and its calls for each."""
    if not queries:
        return [], []
    candidates = _candidates(snapshot, heads)
    found = score_with_calls(reranker, queries, candidates)
    answers = check_answers(found.scores, len(queries), name)
    scores = [
        # A copy: what the reranker does with its array later must not change results.
        check_scores(answer, query, given, name).copy()
        for answer, query, given in zip(answers, queries, candidates, strict=True)
    ]
    return scores, list(found.calls)


def _candidates(snapshot: Snapshot, heads: Sequence[Hits]) -> list[Candidates]:
    """Read what the reranker sees: of each document its whole text, the title in front."""
    candidates = []
    for ids, head in zip(found_ids(snapshot, heads), heads, strict=True):
        texts = [
            snapshot.segments[segment].documents.full_text(row)
            for segment, row in zip(head.segments.tolist(), head.rows.tolist(), strict=True)
        ]
        candidates.append(
            Candidates(ids, [text for text, _ in texts], head.scores.copy(), [length for _, length in texts])
        )
    return candidates


def _groups(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the ends of consecutive groups of queries with at most `TOGETHER` candidates, one query at least."""
    first = total = 0
    for number, size in enumerate(sizes):
        if total + size > TOGETHER and number > first:
            yield first, number
            first, total = number, 0
        total += size
    if first < len(sizes):
        yield first, len(sizes)
