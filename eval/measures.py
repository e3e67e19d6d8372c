"""Measures: what a run is worth, by `ir_measures`, with every policy decided here and stated.

Evaluators of the field disagree in silence: some skip queries without results, some sort ties by document id, some drop
documents that carry the query's id. Here the order that a search returned is what is judged, every judged query counts,
and `Policies.describe` says the rest; `Policies` can be changed, and has the ways of other evaluators as presets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eval.errors import RunError
from eval.judged_rankings import JudgedRanking, Ranking, check_ranking, has_equal_scores, judged_ranking, tie_order
from eval.measure_names import DEFAULT_MEASURES, depth_needed, parse_measures
from eval.policies import Policies, Ties

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

Run = Mapping[str, Ranking]
"""Rankings by query id."""

Qrels = Mapping[str, Mapping[str, int]]
"""Judgements: grade by document id by query id; 0 and below is not relevant."""

_Values = dict[str, dict[str, float]]  # by measure by query id


@dataclass(frozen=True)
class Evaluation:
    """The values of a run.

    Attributes:
        measures: value over all queries that count by measure: the mean, or the sum for counts such as NumRel.
        per_query: value by measure by query id, for every query that counts, in the order of the qrels.
        missing: judged queries without results.
        without_relevant: number of judged queries none of whose documents is relevant.
        unjudged_queries: number of queries of the run that have no judgements; they do not count.
        self_matches: number of documents removed by `Policies.ignore_identical_ids`.
        duplicates: number of documents removed by `Policies.duplicates`.
        unjudged_documents: number of documents removed by `Policies.unjudged`.
        skipped: number of judged queries that do not count, by `Policies.missing` or `Policies.without_relevant`.
        tied: number of queries that count whose order hangs on how equal scores are sorted.
        other_ties: by measure, the value over all queries that the other reading of equal scores gives, trec_eval's or,
            where that was judged, the order as returned; only of measures that differ.
    """

    measures: dict[str, float]
    per_query: dict[str, dict[str, float]] = field(repr=False)
    missing: tuple[str, ...] = ()
    without_relevant: int = 0
    unjudged_queries: int = 0
    self_matches: int = 0
    duplicates: int = 0
    unjudged_documents: int = 0
    skipped: int = 0
    tied: int = 0
    other_ties: dict[str, float] = field(default_factory=dict)


def evaluate_run(
    run: Run,
    qrels: Qrels,
    measures: Sequence[str] = DEFAULT_MEASURES,
    policies: Policies | None = None,
) -> Evaluation:
    """Measure a run against judgements.

    Args:
        run: rankings by query id, best first. Scores must not rise along a ranking, and equal ones keep their order,
            unless `Policies.ties` says that rankings are sorted anew.
        qrels: grades by document id by query id; a query without any judgement is not a judged one.
        measures: names, see `parse_measures`. Where a policy changes what a name means, the values are called by the
            name with that in it, see `Policies`.
        policies: what the measures leave open.

    Raises:
        MeasureError: a measure is unknown or cannot be computed.
        RunError: nothing is judged, no query counts, or a ranking holds a document twice, a score that is not finite,
            or a score above the one before it.
    """
    policies = policies or Policies()
    parsed = policies.applied_to(parse_measures(measures))
    judged = [query_id for query_id, grades in qrels.items() if grades]
    if not judged:
        raise RunError("no query is judged: the qrels are empty")
    barren = {query for query in judged if max(qrels[query].values()) < policies.relevance_level}
    counted = {query: run.get(query, ()) for query in judged if _counts(query, run, query in barren, policies)}
    if not counted:
        raise RunError(
            f"none of the {len(judged):,} judged queries counts, as the policies say that queries without results or "
            "without relevant documents are skipped; is it the run of this test set?"
        )
    for query, ranking in counted.items():
        check_ranking(query, ranking, policies)
    rankings = _ordered(counted, qrels, policies, policies.ties)
    per_query = _values(rankings, qrels, parsed)
    reciprocal = [measure for measure in parsed if policies.ties == "mteb" and measure.NAME == "RR"]
    if reciprocal:  # mteb's own code, which looks at scores in whole precision
        for query, row in _values(_ordered(counted, qrels, policies, "mteb", True), qrels, reciprocal).items():
            per_query[query] |= row
    equal = {query: ranking for query, ranking in counted.items() if has_equal_scores(ranking)}
    other = _ordered(equal, qrels, policies, "trec_eval" if policies.ties == "as returned" else "as returned")
    tied = {query: ranking for query, ranking in other.items() if ranking.ids != rankings[query].ids}
    totals = _totals(parsed, per_query)
    other_totals = _totals(parsed, per_query | _values(tied, qrels, parsed)) if tied else totals
    return Evaluation(
        measures=totals,
        per_query=per_query,
        missing=tuple(query for query in judged if not (rankings[query].ids if query in counted else run.get(query))),
        without_relevant=len(barren),
        unjudged_queries=sum(not qrels.get(query_id) for query_id in run),
        self_matches=sum(ranking.self_matches for ranking in rankings.values()),
        duplicates=sum(ranking.duplicates for ranking in rankings.values()),
        unjudged_documents=sum(ranking.unjudged for ranking in rankings.values()),
        skipped=len(judged) - len(counted),
        tied=len(tied),
        other_ties={name: value for name, value in other_totals.items() if value != totals[name]},
    )


def _counts(query: str, run: Run, barren: bool, policies: Policies) -> bool:
    """Tell whether a judged query counts."""
    if barren and policies.without_relevant == "skip":
        return False
    return bool(run.get(query)) or policies.missing == "zero" or (policies.missing == "skip absent" and query in run)


def _ordered(
    run: Run, qrels: Qrels, policies: Policies, ties: Ties, whole_precision: bool = False
) -> dict[str, JudgedRanking]:
    return {
        query: judged_ranking(
            query, ranking, qrels[query], policies, tie_order(ranking, ties, whole_precision=whole_precision)
        )
        for query, ranking in run.items()
    }


def _values(rankings: Mapping[str, JudgedRanking], qrels: Qrels, measures: Sequence[Measure]) -> _Values:
    """Measure rankings in the order that they have.

    Queries and documents are renamed to numbers, and scores to descending whole numbers: the libraries then cannot
    break ties their own way, nor stumble over ids with spaces (some go through files of columns). A document keeps its
    new id within a query only, which is all that a measure looks at.
    """
    import ir_measures

    queries = list(rankings)
    numbered_run: dict[str, dict[str, float]] = {}
    numbered_qrels: dict[str, dict[str, int]] = {}
    for number, query in enumerate(queries):
        ids = rankings[query].ids
        if ids:  # some measures divide by the number of results: a missing query stays out
            numbered_run[str(number)] = {str(rank): float(len(ids) - rank) for rank in range(len(ids))}
        names = {document_id: str(rank) for rank, document_id in enumerate(ids)}
        numbered_qrels[str(number)] = {
            names.setdefault(document_id, str(len(names))): grade for document_id, grade in qrels[query].items()
        }
    values: dict[tuple[str, str], float] = {}
    for metric in ir_measures.evaluator(measures, numbered_qrels).iter_calc(numbered_run):
        values[queries[int(metric.query_id)], str(metric.measure)] = float(metric.value)
    # A library may leave out what it finds undefined; here every query has a value of every measure.
    return {
        query: {str(measure): values.get((query, str(measure)), float(measure.DEFAULT)) for measure in measures}
        for query in queries
    }


def _totals(measures: Iterable[Measure], per_query: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over the queries by measure, or the sum for counts."""
    totals = {}
    for measure in measures:
        aggregator = measure.aggregator()
        for row in per_query.values():
            aggregator.add(row[str(measure)])
        totals[str(measure)] = float(aggregator.result())
    return totals
