"""What reranking tasks reorder: judged pools out of one table, or the candidates of a first stage for a test set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.candidates import CandidateList, candidate_format, candidates_of_run, read_candidate_run, stream_candidates
from eval.errors import TaskError
from eval.measures import Qrels
from eval.tasks.judged_pools import read_pools
from eval.tasks.ranking_definitions import RerankingDefinition
from eval.testsets import read_testset


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
        qrels: grades by document id by query id.
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
        EvaluationError: a file cannot be read, or no judged query has candidates.
    """
    if not definition.candidates:
        pools = read_pools(files[0], definition)
        return RerankingData(
            CandidateLists(pools.lists), pools.qrels, pools.counts, pooled=True, ordered=bool(definition.rank)
        )
    testset = read_testset(definition.place(data), definition.split)
    file = files[0]
    if candidate_format(file) == "texts":
        lists = CandidateLists(file=file, judged=testset.qrels)
        return RerankingData(lists, testset.qrels, {}, pooled=False, ordered=False)
    given, unknown = candidates_of_run(read_candidate_run(file), testset, definition.candidate_depth)
    if not any(len(each.candidates) for each in given):
        raise TaskError(
            f"{file} holds no candidates for the judged queries of {testset.name}; is it another set's run?"
        )
    counts = {
        "candidates that are not in the corpus": unknown,
        "queries without text": len(testset.queries_without_text),
    }
    return RerankingData(CandidateLists(given), testset.qrels, counts, pooled=False, ordered=True)
