"""Pipelines that begin alike, searched together: each common beginning runs once for a query.

`bm25:1000`, `bm25:1000,mono:50` and `bm25:1000,mono:50,duo:10` retrieve once, and mono scores its 50 documents once.
The lists behind a beginning are kept, in numbers, for as long as one task runs; what follows them is searched by the
functions that searches use, so that the results are those of each pipeline by itself.

This is not what `eval.tuning` does. There all settings of one pipeline are known at once and are ranked from shared
scores; here systems are run one after the other by tasks that know nothing of each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from eval.query_runs import ScoredDocument
from retrieval.found_ids import found_ids
from retrieval.pipeline.given import as_rerankers
from retrieval.pipeline.grammar import parse_stages
from retrieval.pipeline.reranking import rerank
from retrieval.pipeline.stages import Admission, Pipeline

if TYPE_CHECKING:
    from eval.tasks.system import System
    from indexes.hits import Hits
    from retrieval.collection.collection import Collection
    from retrieval.pipeline.report import StageReport
    from retrieval.rerankers.base import Reranker


class Beginning(NamedTuple):
    """How a pipeline begins.

    Attributes:
        first: its first stage, and the options of its searches.
        steps: the rerankers behind that, which object and how many documents, in their order.
    """

    first: tuple[str, str]
    steps: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Kept:
    """A query's list behind a beginning, and what its stages took when they ran."""

    hits: Hits
    stages: tuple[StageReport, ...]


class SharedSearchResults(list[ScoredDocument]):
    """The best documents of a query, best first.

    Attributes:
        mode: what ran: the pipeline.
        stages: what each stage took when it ran, for whichever of the systems.
    """

    def __init__(self, documents: Iterable[ScoredDocument], mode: str, stages: Sequence[StageReport]) -> None:
        super().__init__(documents)
        self.mode = mode
        self.stages = tuple(stages)


class SharedStages:
    """What the pipelines of some systems have in common; called with a collection, it returns what searches it.

    Args:
        systems: those that are going to run on one task.

    Attributes:
        reused: queries for which a beginning was there already.
    """

    def __init__(self, systems: Iterable[System]) -> None:
        self._systems = list(systems)  # their rerankers are told apart as objects, which must not go away
        self._uses: Counter[Beginning] = Counter()
        self._admitted: Counter[tuple[str, str]] = Counter()
        for system in self._systems:
            route = _route(system.search_options)
            if route is None:
                continue
            self._uses.update(route.beginnings)
            most = max((limit for _, limit in route.whole.steps), default=0)
            self._admitted[route.whole.first] = max(self._admitted[route.whole.first], most)
        self._lists: dict[tuple[Any, Beginning, int], dict[str, _Kept]] = {}
        self.reused = 0

    def __call__(self, collection: Collection) -> SharedSearches:
        """Return a collection's searches, with common beginnings computed once."""
        return SharedSearches(collection, self)

    def search_many(
        self, collection: Collection, queries: Sequence[str], k: int, options: Mapping[str, Any]
    ) -> Sequence[Any]:
        """Search a collection as it does itself, reusing and keeping what systems have in common."""
        route = _route(options)
        if route is None or not self._is_common(route.beginnings[0]) or not all(text.strip() for text in queries):
            return collection.search_many(queries, k, **options)
        keep = max(k, self._admitted[route.whole.first])
        lists = self._behind(collection, route, len(route.beginnings) - 1, list(queries), keep)
        found = [each.hits.cut(k) for each in lists]
        snapshot = collection.snapshot
        return [
            SharedSearchResults(map(ScoredDocument, ids, hits.scores.tolist()), str(route.pipeline), each.stages)
            for ids, hits, each in zip(found_ids(snapshot, found), found, lists, strict=True)
        ]

    def _behind(self, collection: Collection, route: _Route, stage: int, queries: list[str], keep: int) -> list[_Kept]:
        """Return each query's list behind a stage of the pipeline; 0 is the first stage."""
        beginning = route.beginnings[stage]
        if not self._is_common(beginning):
            return self._run(collection, route, stage, queries, keep)
        commit = (str(collection.path), collection.snapshot.manifest.generation)
        kept = self._lists.setdefault((commit, beginning, keep), {})
        missing = [text for text in dict.fromkeys(queries) if text not in kept]
        self.reused += len(queries) - len(missing)
        if missing:
            kept.update(zip(missing, self._run(collection, route, stage, missing, keep), strict=True))
        return [kept[text] for text in queries]

    def _run(self, collection: Collection, route: _Route, stage: int, queries: list[str], keep: int) -> list[_Kept]:
        if stage == 0:
            first = Pipeline(route.pipeline.retrievers)
            found = collection.search_many(queries, keep, stages=first, **route.others)
            return [_Kept(results.found, results.stages) for results in found]
        before = self._behind(collection, route, stage - 1, queries, keep)
        admission = route.pipeline.active_rerankers[stage - 1]
        reranked = rerank(collection.snapshot, queries, [each.hits for each in before], [admission], route.rerankers)
        return [
            _Kept(each.hits, (*earlier.stages, *each.reports)) for each, earlier in zip(reranked, before, strict=True)
        ]

    def _is_common(self, beginning: Beginning) -> bool:
        return self._uses[beginning] > 1


class SharedSearches:
    """A collection whose searches share beginnings; everything else is the collection's own, single searches too.

    Args:
        collection: what is searched.
        shared: what is kept.
    """

    def __init__(self, collection: Collection, shared: SharedStages) -> None:
        self._collection = collection
        self._shared = shared

    def search_many(self, queries: Sequence[str], k: int = 10, **options: Any) -> Sequence[Any]:
        """Return the best k documents for each query, as the collection's own `search_many` does."""
        return self._shared.search_many(self._collection, queries, k, options)

    def __contains__(self, document_id: object) -> bool:
        return document_id in self._collection

    def __len__(self) -> int:
        return len(self._collection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)


class _Route(NamedTuple):
    """A search in stages, taken apart.

    Attributes:
        pipeline: its stages.
        rerankers: by name.
        others: the other options.
        beginnings: behind the first stage, and behind each of the rerankers that are switched on.
    """

    pipeline: Pipeline
    rerankers: Mapping[str, Reranker]
    others: Mapping[str, Any]
    beginnings: tuple[Beginning, ...]

    @property
    def whole(self) -> Beginning:
        """All of the stages."""
        return self.beginnings[-1]


def _route(options: Mapping[str, Any]) -> _Route | None:
    """Take the options of a search apart; None where it has no stages or needs more than its texts and rerankers."""
    others = dict(options)
    stages, given = others.pop("stages", None), others.pop("rerankers", None) or {}
    if stages is None or others.get("mode") is not None or others.get("vectors") is not None:
        return None
    if others.get("syntax", "plain") != "plain":
        return None
    pipeline = parse_stages(stages)
    active: tuple[Admission, ...] = pipeline.active_rerankers
    if any(name not in given for name, _ in active):
        return None  # it reads states that the collection stores, or is an error that the search reports
    retrievers = "+".join(str(retriever) for retriever in pipeline.retrievers if retriever.depth)
    first = (retrievers, repr(sorted(others.items(), key=lambda item: item[0])))
    steps = tuple((id(given[name]), limit) for name, limit in active)
    beginnings = tuple(Beginning(first, steps[:number]) for number in range(len(steps) + 1))
    return _Route(pipeline, as_rerankers(given), others, beginnings)
