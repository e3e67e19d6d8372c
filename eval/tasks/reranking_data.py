"""What reranking tasks reorder: judged pools out of one table, or the candidates of a first stage for a test set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from eval.candidates import CandidateList, candidate_format, candidates_of_run, read_candidate_run, stream_candidates
from eval.errors import TaskError
from eval.measures import Qrels
from eval.tasks.judged_pools import LEFT_OUT, read_pools
from eval.tasks.ranking_definitions import RerankingDefinition
from eval.testsets import TestSet, read_testset


@dataclass(frozen=True)
class CandidateLists:
    """The candidates of judged queries, in memory or streamed from a file; they can be iterated over again.

    Attributes:
        given: those in memory.
        file: streamed instead, see `eval.candidates.stream_candidates`.
        judged: queries of the file that are taken.
    """

    given: Sequence[CandidateList] = ()
    file: Path | None = None
    judged: Mapping[str, object] = field(default_factory=dict)

    def __iter__(self) -> Iterator[CandidateList]:
        """Yield the lists."""
        if self.file is None:
            return iter(self.given)
        return (each for each in stream_candidates(self.file) if each.query_id in self.judged)


@dataclass(frozen=True)
class RerankingData:
    """What is reordered, and the judgements.

    Attributes:
        lists: the candidates.
        qrels: grades by document id by query id, counted from the definition's lowest grade.
        counts: of what was left out or is odd.
        pooled: whether the candidates are what people judged, all of it and nothing else.
        ordered: whether they come in the order of a first stage.
    """

    lists: CandidateLists
    qrels: Qrels
    counts: Mapping[str, int]
    pooled: bool
    ordered: bool


def read_reranking_data(definition: RerankingDefinition, data: Path, files: Sequence[Path]) -> RerankingData:
    """Read what a definition names.

    Args:
        definition: of the task.
        data: what its folder is below.
        files: its table, or its candidates and what the test set is made of.

    Raises:
        EvaluationError: a file cannot be read, no judged query has candidates, or no query is left to measure.
    """
    if not definition.candidates:
        pools = read_pools(files[0], definition)
        return RerankingData(
            CandidateLists(pools.lists), pools.qrels, pools.counts, pooled=True, ordered=bool(definition.rank)
        )
    judged = read_testset(definition.place(data), definition.split)
    testset = _measured(judged, definition)
    left_out = {LEFT_OUT: len(judged.qrels) - len(testset.qrels)}
    file = files[0]
    if candidate_format(file) == "texts":
        lists = CandidateLists(file=file, judged=testset.qrels)
        _check_known(lists, file, testset)
        return RerankingData(lists, testset.qrels, left_out, pooled=False, ordered=False)
    given, unknown = candidates_of_run(read_candidate_run(file), testset, definition.candidate_depth)
    _check_known(given, file, testset)
    counts = {
        **left_out,
        "candidates that are not in the corpus": unknown,
        "queries without text": len(testset.queries_without_text),
    }
    return RerankingData(CandidateLists(given), testset.qrels, counts, pooled=False, ordered=True)


def _measured(testset: TestSet, definition: RerankingDefinition) -> TestSet:
    """Return a test set with the queries that are measured, and grades that are counted from the lowest."""
    lowest = definition.lowest_grade
    qrels = {
        query_id: {name: grade - lowest for name, grade in grades.items()}
        for query_id, grades in testset.qrels.items()
        if definition.measures_query(grades.values())
    }
    if not qrels:
        raise TaskError(
            f"{testset.name}: none of the {len(testset.qrels):,} judged queries of the split {testset.split!r} has "
            f"documents of the grades that are asked for (relevant = {definition.relevant}, measured_queries = "
            f"{definition.measured_queries!r}); put the grades of this set into the definition"
        )
    return replace(
        testset,
        qrels=qrels,
        queries={query_id: text for query_id, text in testset.queries.items() if query_id in qrels},
        queries_without_text=tuple(query_id for query_id in testset.queries_without_text if query_id in qrels),
    )


def _check_known(lists: Iterable[CandidateList], file: Path, testset: TestSet) -> None:
    # Of a file that belongs to the set only the beginning is read for this.
    if not any(len(each.candidates) for each in lists):
        raise TaskError(
            f"{file} holds no candidates for the judged queries of {testset.name}; is it another set's run?"
        )
