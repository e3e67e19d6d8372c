"""Retrieval: do the documents that a system finds in a corpus begin with those that were judged relevant?"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from eval.collection_evaluation import evaluate_collection
from eval.collection_report import Report
from eval.errors import MissingDataError, TaskError, TestSetError
from eval.measures import Policies, parse_measures
from eval.tasks.base import Surroundings, TaskResult
from eval.tasks.file_task import FileTask
from eval.tasks.indexing import IndexFacts, index_corpus
from eval.tasks.ranking_definitions import RetrievalDefinition
from eval.tasks.ranking_results import evaluation_counts, policies_of, ranking_policies, reference_of
from eval.tasks.system import FIRST_STAGE, System
from eval.testsets import PREFIX, TestSet, find_testset, read_testset

if TYPE_CHECKING:
    from retrieval.collection import Collection

D = TypeVar("D", bound=RetrievalDefinition)


class RetrievalTask(FileTask[D]):
    """Searching a corpus with every judged query, as MTEB's retrieval does: the best 1,000 documents, nDCG@10 first.

    A system with an encoder searches its vectors exactly; what else it says in its options is done instead.

    Args:
        definition: of the task.
        data: what its folder is below.
    """

    kind: ClassVar[str] = "Retrieval"

    @property
    def source(self) -> str | Path:
        """Where the test set is: a folder, or "ir_datasets:NAME"."""
        folder = self.definition.folder
        return folder if folder.startswith(PREFIX) else self.definition.place(self.data)

    def files(self) -> list[Path]:
        """Return the files that are read; none for a data set of ir_datasets.

        Raises:
            MissingDataError: one does not exist.
        """
        source = self.source
        if isinstance(source, str):
            return []
        try:
            found = find_testset(source, self.definition.split, self.definition.language or None)
        except TestSetError as fault:
            raise MissingDataError(str(fault)) from None
        if found.corpus is None:
            raise MissingDataError(f"no corpus in {source}")
        return list(found)

    def testset(self) -> TestSet:
        """Read queries and judgements.

        Raises:
            TaskError: they cannot be read.
        """
        source, definition = self.source, self.definition
        try:
            if isinstance(source, str):
                return read_testset(source)
            return read_testset(source, definition.split, definition.language or None)
        except TestSetError as fault:
            raise TaskError(f"task {self.name}: {fault}") from None

    def problem(self, system: System) -> str | None:
        """Say why a system cannot be measured on this task; None when it can."""
        mode = system.search_options.get("mode")
        if system.encoder is None and mode in ("dense", "hybrid"):
            return f"{mode} search needs vectors, and {system.name} has no encoder"
        if mode == FIRST_STAGE:
            return "there are no candidates whose order could be left as it is"
        if mode == "sparse":
            return "the collections of tasks have no sparse vectors"
        return None

    def _measured(self, system: System, surroundings: Surroundings) -> TaskResult:
        """Index the corpus, unless that was done before, and search it with every query."""
        began = time.perf_counter()
        definition = self.definition
        policies = self.policies(surroundings.policies)
        names = list(dict.fromkeys((definition.measure, *definition.measures)))
        testset = self.testset()
        collection, facts = index_corpus(testset, system, surroundings, definition.fields)
        with collection:
            report = evaluate_collection(
                surroundings.share(collection),
                testset,
                names,
                k=definition.depth + policies.ignore_identical_ids,
                policies=policies,
                latency_sample=surroundings.latency_sample,
                progress=surroundings.progress,
                settings={},
                **system.search_options,
            )
            self._check_documents(testset, report)
            stats = collection.stats()
            own_settings = self.own_settings(testset, report, collection)
        main = str(policies.applied_to(parse_measures([definition.measure]))[0])
        return TaskResult(
            task=self.name,
            kind=self.kind,
            system=system.name,
            main_score=main,
            scores=report.measures,
            values={query: row[main] for query, row in report.evaluation.per_query.items()},
            n_items=len(report.evaluation.per_query),
            policies=ranking_policies(policies, report.evaluation, system),
            counts=_counts(testset, report, facts, system),
            costs=_costs(report, facts, stats["bytes"], time.perf_counter() - began),
            settings={
                "split": testset.split,
                "subset": definition.subset,
                "language": testset.language,
                "depth": definition.depth,
                "documents": facts.documents,
                "passages": stats["passages"],
                "long": system.long,
                "search": report.as_dict()["options"],
                "mode": report.mode,
                "encoder": None if system.encoder is None else system.encoder.identity(),
                "other_ties": report.evaluation.other_ties,
                **own_settings,
            },
            reference=reference_of(
                definition,
                system,
                by_encoder=system.search_options == {"mode": "dense"},
                as_published=system.long == "truncate" or stats["passages"] == facts.documents,
            ),
            queries=dict(testset.queries),
        )

    def policies(self, given: Policies) -> Policies:
        """Return the run's policies with what the definition says of relevance and self-matches."""
        policies = policies_of(self.definition.relevant, given)
        return replace(policies, ignore_identical_ids=True) if self.definition.ignore_identical_ids else policies

    def own_settings(
        self,
        testset: TestSet,  # noqa: ARG002
        report: Report,  # noqa: ARG002
        collection: Collection,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return what a kind derived from this one has to say beside."""
        return {}

    def _check_documents(self, testset: TestSet, report: Report) -> None:
        relevant = {
            document_id for grades in testset.qrels.values() for document_id, grade in grades.items() if grade > 0
        }
        if relevant and report.unknown_documents == len(relevant):
            raise TaskError(
                f"task {self.name}: none of the {len(relevant):,} relevant documents (one is {min(relevant)!r}) is in "
                "the corpus; do judgements and documents belong together?"
            )


def _counts(testset: TestSet, report: Report, facts: IndexFacts, system: System) -> dict[str, int]:
    counts = {
        "queries without text": report.queries_without_text,
        "blank queries": report.blank_queries,
        "relevant documents that are not in the corpus": report.unknown_documents or 0,
        "cut texts": facts.cut_texts,
        "texts whose vectors came from the cache": facts.reused or 0,
        "cut queries": _cut_queries(testset, system),
        **{f"documents left out: {reason}": count for reason, count in facts.left_out.items()},
        **evaluation_counts(report.evaluation),
    }
    return {name: count for name, count in counts.items() if count}


def _cut_queries(testset: TestSet, system: System) -> int:
    encoder = system.encoder
    if encoder is None or encoder.max_tokens is None:
        return 0
    return int((encoder.count_tokens(list(testset.queries.values())) > encoder.max_tokens).sum())


def _costs(report: Report, facts: IndexFacts, n_bytes: int, seconds: float) -> dict[str, float]:
    costs = {
        "seconds": seconds,
        "search_seconds": report.seconds,
        "bytes_per_document": n_bytes / facts.documents,
    }
    if facts.reused is not None:  # or it may be the time of a build that found its vectors
        costs["index_seconds"] = facts.seconds
    latency = report.latency
    if latency is not None:
        costs |= {"query_p50_ms": latency.p50, "query_p95_ms": latency.p95, "query_p99_ms": latency.p99}
    return costs
