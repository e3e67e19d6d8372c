"""Measures: what a run is worth, by `ir_measures`, with every policy decided here and stated.

Evaluators of the field disagree in silence: some skip queries without results, some sort ties by document id, some drop
documents that carry the query's id. Here the order that a search returned is what is judged, every judged query counts,
and `Policies.describe` says the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eval.errors import RunError
from eval.measure_names import DEFAULT_MEASURES, depth_needed, parse_measures

if TYPE_CHECKING:
    from ir_measures import Measure

__all__ = [
    "DEFAULT_MEASURES",
    "Evaluation",
    "Policies",
    "Qrels",
    "Ranking",
    "Run",
    "depth_needed",
    "evaluate_run",
    "parse_measures",
]

Ranking = Sequence[tuple[str, float]]
"""(document id, score) of one query, best first."""

Run = Mapping[str, Ranking]
"""Rankings by query id."""

Qrels = Mapping[str, Mapping[str, int]]
"""Judgements: grade by document id by query id; 0 and below is not relevant."""


@dataclass(frozen=True)
class Policies:
    """What the measures' definitions leave open.

    Attributes:
        ignore_identical_ids: remove documents that carry the query's own id before measuring, as BEIR does for ArguAna
            and Quora, whose queries are documents of the corpus.
    """

    ignore_identical_ids: bool = False

    def describe(self) -> dict[str, str]:
        """Return one sentence for each policy, to be shown beside every result."""
        return {
            "ties": "the order of the results is judged as it is (trec_eval would sort equal scores by document id)",
            "missing queries": "every judged query counts; one without results scores 0",
            "queries without relevant documents": "count, and score 0",
            "unjudged documents": "are not relevant",
            "duplicates": "a document twice in a ranking is an error",
            "self-matches": "documents with the query's id are removed before measuring"
            if self.ignore_identical_ids
            else "documents with the query's id are kept",
            "gains": "nDCG's gain is the grade itself (trec_eval, BEIR); binary measures take grades of 1 and more, "
            "where the measure does not say rel=...",
        }


@dataclass(frozen=True)
class Evaluation:
    """The values of a run.

    Attributes:
        measures: value over all judged queries by measure: the mean, or the sum for counts such as NumRel.
        per_query: value by measure by query id, for every judged query, in the order of the qrels.
        missing: judged queries without results.
        without_relevant: number of judged queries none of whose documents is relevant.
        unjudged_queries: number of queries of the run that have no judgements; they do not count.
        self_matches: number of documents removed by `Policies.ignore_identical_ids`.
    """

    measures: dict[str, float]
    per_query: dict[str, dict[str, float]] = field(repr=False)
    missing: tuple[str, ...] = ()
    without_relevant: int = 0
    unjudged_queries: int = 0
    self_matches: int = 0


def evaluate_run(
    run: Run,
    qrels: Qrels,
    measures: Sequence[str] = DEFAULT_MEASURES,
    policies: Policies | None = None,
) -> Evaluation:
    """Measure a run against judgements.

    Args:
        run: rankings by query id, best first. Scores must not rise along a ranking; equal ones keep their order.
        qrels: grades by document id by query id; a query without any judgement is not a judged one.
        measures: names, see `parse_measures`.
        policies: what the measures leave open.

    Raises:
        MeasureError: a measure is unknown or cannot be computed.
        RunError: nothing is judged, or a ranking holds a document twice, a score that is not finite, or a score
            above the one before it.
    """
    import ir_measures

    parsed = parse_measures(measures)
    policies = policies or Policies()
    judged = [query_id for query_id, grades in qrels.items() if grades]
    if not judged:
        raise RunError("no query is judged: the qrels are empty")
    numbered_run, numbered_qrels, self_matches = _numbered(run, qrels, judged, policies)
    values: dict[tuple[str, str], float] = {}
    for metric in ir_measures.evaluator(parsed, numbered_qrels).iter_calc(numbered_run):
        values[judged[int(metric.query_id)], str(metric.measure)] = float(metric.value)

    # A library may leave out what it finds undefined; here every judged query has a value of every measure.
    per_query = {
        query_id: {str(measure): values.get((query_id, str(measure)), float(measure.DEFAULT)) for measure in parsed}
        for query_id in judged
    }
    return Evaluation(
        measures={str(measure): _aggregate(measure, per_query.values()) for measure in parsed},
        per_query=per_query,
        missing=tuple(query_id for number, query_id in enumerate(judged) if str(number) not in numbered_run),
        without_relevant=sum(all(grade <= 0 for grade in qrels[query_id].values()) for query_id in judged),
        unjudged_queries=sum(not qrels.get(query_id) for query_id in run),
        self_matches=self_matches,
    )


def _aggregate(measure: Measure, rows: Iterable[Mapping[str, float]]) -> float:
    aggregator = measure.aggregator()
    for row in rows:
        aggregator.add(row[str(measure)])
    return float(aggregator.result())


def _numbered(
    run: Run, qrels: Qrels, judged: Sequence[str], policies: Policies
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]], int]:
    """Rename queries and documents to numbers, and scores to descending whole numbers.

    The libraries then cannot break ties their own way, nor stumble over ids with spaces (some go through files of
    columns). A document keeps its new id within a query only, which is all that a measure looks at.
    """
    numbered_run: dict[str, dict[str, float]] = {}
    numbered_qrels: dict[str, dict[str, int]] = {}
    self_matches = 0
    for number, query_id in enumerate(judged):
        ranking = list(_checked(query_id, run.get(query_id, ())))
        kept = [document_id for document_id in ranking if not policies.ignore_identical_ids or document_id != query_id]
        self_matches += len(ranking) - len(kept)
        if kept:  # some measures divide by the number of results: a missing query stays out
            numbered_run[str(number)] = {str(rank): float(len(kept) - rank) for rank in range(len(kept))}
        names = {document_id: str(rank) for rank, document_id in enumerate(kept)}
        numbered_qrels[str(number)] = {
            names.setdefault(document_id, str(len(names))): grade for document_id, grade in qrels[query_id].items()
        }
    return numbered_run, numbered_qrels, self_matches


def _checked(query_id: str, ranking: Ranking) -> Iterator[str]:
    """Yield a ranking's document ids, checking that each is there once and that scores are finite and never rise."""
    seen: set[str] = set()
    previous = math.inf
    for document_id, score in ranking:
        if document_id in seen:
            raise RunError(f"query {query_id!r}: document {document_id!r} is in the ranking twice")
        if not math.isfinite(score):
            raise RunError(f"query {query_id!r}: document {document_id!r} has the score {score}")
        if score > previous:
            raise RunError(
                f"query {query_id!r}: document {document_id!r} has a higher score ({score:g}) than the one before it "
                f"({previous:g}); sort the ranking best first"
            )
        seen.add(document_id)
        previous = score
        yield document_id
