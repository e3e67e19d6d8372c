"""Many settings of one pipeline over the same queries, each ranked exactly as a search would, scores shared among them.

The settings are a tree: those that begin alike share their lists as far as they are alike. It is walked stage by stage,
for all settings and a batch of queries at a time, so that a model sees all that any setting wants of it together. Lists
are reordered by the functions that searches use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from eval.errors import TuningError
from eval.measures import Ranking
from eval.tuning.scores import Scores
from indexes.hits import Hits
from retrieval.pipeline.order import Step, best_first, reordered
from retrieval.pipeline.plan import n_scored
from retrieval.pipeline.stages import Pipeline, Retriever
from retrieval.rerankers.base import Reranker
from retrieval.results import Hit, SearchResults

Begin = tuple[Retriever, ...]
Limits = tuple[int, ...]


class Searchable(Protocol):
    """What can be tuned: a collection."""

    @property
    def search_many(self) -> Callable[..., Sequence[SearchResults]]:
        """Search with several queries: `search_many(texts, k, stages=…, **options)`."""


@dataclass
class Simulated:
    """A setting.

    Attributes:
        pipeline: its numbers.
        run: rankings by query id, with the scores that a search presents.
        calls: model calls of each reranking stage, all queries together, as searches report them; of a reranker that
            routes candidates by what a first model says of them, at most.
    """

    pipeline: Pipeline
    run: dict[str, Ranking] = field(default_factory=dict, repr=False)
    calls: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Simulation:
    """What a grid of settings gives, and what it cost to know.

    Attributes:
        settings: in the order of the grid.
        retrieval_seconds: of each first stage, all queries together.
        calls: model calls that were made, of each reranking stage.
        seconds: that these calls took.
    """

    settings: list[Simulated]
    retrieval_seconds: Mapping[Begin, float]
    calls: tuple[int, ...]
    seconds: tuple[float, ...]


def simulate(
    collection: Searchable,
    queries: Mapping[str, str],
    grid: Sequence[Pipeline],
    rerankers: Mapping[str, Reranker],
    k: int,
    *,
    batch_size: int = 64,
    **options: Any,
) -> Simulation:
    """Rank with every setting of a grid.

    Args:
        collection: what is searched.
        queries: text by id.
        grid: settings of one pipeline: the same stages in the same order.
        rerankers: by the names of the stages.
        k: documents of each ranking.
        batch_size: queries that are worked on together; results do not depend on it.
        **options: of every search: where=, bm25=, fusion= and so on.

    Raises:
        TuningError: the settings are not of one pipeline, there is none, or the queries are not plain text.
        RerankerError: a reranker did not give one finite score for each document.
    """
    if options.get("syntax", "plain") != "plain":
        raise TuningError(
            f"settings are simulated for plain queries, not for syntax={options['syntax']!r}: rerankers would read its "
            "operators; leave it out"
        )
    if not grid:
        raise TuningError("there is no setting to simulate; make_grid makes some of a pipeline")
    names = [name for name, _ in grid[0].rerankers]
    if any([name for name, _ in setting.rerankers] != names for setting in grid):
        raise TuningError("settings that are simulated together have the same rerankers in the same order")
    settings = [Simulated(pipeline, calls=[0] * len(names)) for pipeline in grid]
    scores = [Scores(name, rerankers[name]) for name in names]
    seconds = dict.fromkeys((pipeline.retrievers for pipeline in grid), 0.0)
    ids = list(queries)
    for begin in seconds if ids else ():  # files are mapped and models loaded before the clock runs
        collection.search_many([queries[ids[0]]], 1, stages=Pipeline(begin), **options)
    for start in range(0, len(ids), batch_size):
        batch = ids[start : start + batch_size]
        walk = _Walk([queries[query_id] for query_id in batch], grid, k)
        for begin, taken in walk.retrieve(collection, options):
            seconds[begin] += taken
        for stage, (name, of_stage) in enumerate(zip(names, scores, strict=True)):
            walk.rerank(stage, rerankers[name], of_stage)
        for setting in settings:
            state = walk.states[setting.pipeline.retrievers, _limits(setting.pipeline)]
            setting.calls = [sum(pair) for pair in zip(setting.calls, state.calls, strict=True)]
            for number, query_id in enumerate(batch):
                setting.run[query_id] = walk.ranking(number, state.lists[number].cut(k))
    return Simulation(
        settings, seconds, tuple(of_stage.calls for of_stage in scores), tuple(of_stage.seconds for of_stage in scores)
    )


@dataclass(frozen=True)
class _State:
    """Where the settings stand that have been alike so far.

    Attributes:
        lists: of each query; rows are numbers of documents.
        calls: of each stage so far, all queries of the batch together.
    """

    lists: list[Hits]
    calls: Limits = ()


class _Walk:
    """The settings' way through the stages, for a batch of queries."""

    def __init__(self, queries: list[str], grid: Sequence[Pipeline], k: int) -> None:
        self._queries = queries
        self._grid = grid
        self._keep = max(k, *(limit for pipeline in grid for limit in _limits(pipeline)), 0)
        self._documents: list[list[Hit]] = [[] for _ in queries]  # by number
        self.states: dict[tuple[Begin, Limits], _State] = {}

    def retrieve(self, collection: Searchable, options: Mapping[str, Any]) -> Iterator[tuple[Begin, float]]:
        """Search with every first stage; yields it with its wall time."""
        numbers: list[dict[str, int]] = [{} for _ in self._queries]
        for begin in dict.fromkeys(pipeline.retrievers for pipeline in self._grid):
            began = time.perf_counter()
            found = collection.search_many(self._queries, self._keep, stages=Pipeline(begin), **options)
            yield begin, time.perf_counter() - began
            lists = []
            for results, known, documents in zip(found, numbers, self._documents, strict=True):
                for hit in results:
                    if hit.id not in known:
                        known[hit.id] = len(documents)
                        documents.append(hit)
                rows = np.array([known[name] for name in results.ids], np.int64)
                lists.append(Hits(np.zeros(len(rows), np.int32), rows, results.scores.copy(), rows))
            self.states[begin, ()] = _State(lists)

    def rerank(self, stage: int, reranker: Reranker, scores: Scores) -> None:
        """Send every list through a stage, with every number of candidates that a setting gives it there."""
        steps = dict.fromkeys(
            ((pipeline.retrievers, _limits(pipeline)[:stage]), _limits(pipeline)[stage]) for pipeline in self._grid
        )
        before = self.states
        wanted = []
        for number in range(len(self._queries)):
            heads = [before[state].lists[number].cut(limit) for state, limit in steps]
            taken = [head.cut(n_scored(reranker, len(head.rows))) for head in heads]
            wanted.append([(tuple(head.rows.tolist()), head.scores) for head in taken])
        found = scores.score(self._queries, wanted, self._documents)
        counts = scores.calls_of(wanted, self._documents)
        self.states = {}
        for place, ((begin, limits), limit) in enumerate(steps):
            state = before[begin, limits]
            own = [of_query[place] for of_query in found]
            lists = [
                reordered(ranked, Step("", given, best_first(given)))
                for ranked, given in zip(state.lists, own, strict=True)
            ]
            calls = sum(of_query[place] for of_query in counts)
            self.states[begin, (*limits, limit)] = _State(lists, (*state.calls, calls))

    def ranking(self, number: int, ranked: Hits) -> Ranking:
        """Return a query's list with the documents' ids."""
        documents = self._documents[number]
        return [
            (documents[row].id, score) for row, score in zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True)
        ]


def _limits(pipeline: Pipeline) -> Limits:
    return tuple(limit for _, limit in pipeline.rerankers)
