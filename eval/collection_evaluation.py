"""Evaluating a collection on a test set: its queries are run, what they find is measured, single searches are timed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from eval.collection_report import Report
from eval.errors import MeasureError
from eval.latency import measure_latency
from eval.measures import DEFAULT_MEASURES, Policies, depth_needed, evaluate_run, parse_measures
from eval.provenance import package_versions
from eval.query_runs import Scored, run_queries
from eval.testsets import TestSet

_LOGGER = logging.getLogger(__name__)


class Searchable(Protocol):
    """What can be evaluated: a collection, or anything with its two ways to search."""

    @property
    def search(self) -> Callable[..., Iterable[Scored]]:
        """Search with one query: `search(text, k=…, **options)`."""

    @property
    def search_many(self) -> Callable[..., Sequence[Iterable[Scored]]]:
        """Search with several queries: `search_many(texts, k=…, **options)`."""


def evaluate_collection(
    collection: Searchable,
    testset: TestSet,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    k: int | None = None,
    policies: Policies | None = None,
    latency_sample: int = 200,
    latency_k: int = 10,
    batch_size: int = 256,
    progress: bool = False,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Report:
    """Run a test set's queries against a collection and measure what they find.

    Args:
        collection: what is measured.
        testset: queries and judgements.
        measures: names, see `parse_measures`.
        k: documents a query; by default as many as the measures look at.
        policies: what the measures leave open.
        latency_sample: queries whose single searches are timed afterwards; 0 leaves that out.
        latency_k: documents that a timed search asks for.
        batch_size: queries a batch.
        progress: show a progress bar.
        settings: facts about the collection for the report; by default what its `stats()` says.
        **options: passed on to every search: mode=, stages=, rerankers=, where=, bm25=, fusion= and so on.

    Raises:
        MeasureError: a measure is unknown or looks deeper than k; nothing has been searched then.
        RunError: the search answers what a run cannot hold.
    """
    policies = policies or Policies()
    parsed = parse_measures(measures)
    cut = next((measure for measure in parsed if k is not None and measure.params.get("cutoff", 0) > k), None)
    if cut is not None:
        raise MeasureError(f"{cut} looks at more documents than k={k} retrieves; raise k or leave it out")
    # One more than is measured makes up for the document that a self-match takes away.
    depth = k if k is not None else depth_needed(parsed) + policies.ignore_identical_ids
    result = run_queries(
        lambda texts, n: collection.search_many(texts, k=n, **options), testset, depth, batch_size, progress
    )
    evaluation = evaluate_run(result.run, testset.qrels, measures, policies)
    if evaluation.missing:
        fate = "score 0" if policies.missing == "zero" else "may not count, as the policies say"
        _LOGGER.warning("%d judged queries have no results; they %s", len(evaluation.missing), fate)
    latency = measure_latency(
        lambda text: collection.search(text, k=latency_k, **options), testset.queries.values(), latency_sample
    )
    return Report(
        testset=testset.name,
        split=testset.split,
        language=testset.language,
        evaluation=evaluation,
        policies=policies,
        k=depth,
        modes=result.modes,
        seconds=result.seconds,
        n_queries=len(testset.queries),
        queries_without_text=len(testset.queries_without_text),
        blank_queries=result.blank_queries,
        unknown_documents=_unknown_documents(collection, testset),
        latency=latency,
        latency_k=latency_k,
        stages=result.stages,
        options=options,
        settings=_facts(collection) if settings is None else settings,
        versions=package_versions(),
        run=result.run,
    )


def _facts(collection: object) -> Mapping[str, Any]:
    stats = getattr(collection, "stats", None)
    return stats() if callable(stats) else {}


def _unknown_documents(collection: object, testset: TestSet) -> int | None:
    """Count relevant documents that are not in the collection; None for a search that cannot say."""
    if not hasattr(collection, "__contains__"):
        return None
    relevant = {document_id for grades in testset.qrels.values() for document_id, grade in grades.items() if grade > 0}
    return sum(document_id not in collection for document_id in relevant)
