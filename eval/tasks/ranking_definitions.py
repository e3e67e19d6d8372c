"""Definitions of the kinds whose systems rank documents: their keys, beside those of every task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from eval.tasks.definition import Definition


class RetrievalDefinition(Definition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a retrieval task; its folder is in BEIR's or MS MARCO's layout, or "ir_datasets:NAME" (`eval.testsets`).

    Attributes:
        language: of a folder with files for several; empty for one without.
        measure: the main score, as `eval.measures` calls it.
        measures: the others that are reported.
        relevant: the lowest grade that counts as relevant for binary measures; gains of nDCG keep all grades.
        depth: how many documents are searched for each query.
        fields: of a document that are read: title and text, or one of them.
        ignore_identical_ids: leave documents out that carry the query's id, as for ArguAna.
    """

    language: str = ""
    measure: str = "nDCG@10"
    measures: tuple[str, ...] = ("nDCG@10", "AP@10", "AP@1000", "RR@10", "R@10", "R@100", "R@1000", "P@10")
    relevant: int = 1
    depth: int = 1000
    fields: tuple[Literal["title", "text"], ...] = ("title", "text")
    ignore_identical_ids: bool = False

    def __post_init__(self) -> None:
        for name in ("relevant", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


class LongDocumentRetrievalDefinition(RetrievalDefinition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of retrieval of documents that are longer than encoders read: those of retrieval, with other measures."""

    measures: tuple[str, ...] = ("nDCG@10", "nDCG@1", "RR@10", "R@1", "R@10", "R@100")


class RerankingDefinition(Definition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of a reranking task: a table of judged pairs, or a run over a retrieval folder.

    Attributes:
        file: of judged pairs: TSV under a header (no quoting) or JSON lines; .gz or .zst may be left out. Not read
            where `candidates` is given.
        query_id: column of the queries' ids.
        query: column of the queries' texts.
        passage: column of the passages' texts.
        passage_id: column of the passages' ids; by default the number of the line.
        grade: column of the judgements, whole numbers.
        lowest_grade: the one that says "not relevant at all"; gains of nDCG are counted from it.
        relevant: the lowest grade that counts as relevant for binary measures, above the lowest of all.
        rank: column of the rank that a first stage gave the passage; empty where there is none.
        measured_queries: "all" of them, those "with_relevant" passages, or those with passages of "both" sorts, among
            what people judged; the field's papers differ by set.
        candidates: first-stage results below the folder, which is then one of a retrieval task (BEIR's or MS MARCO's
            layout) with judgements of the split: a run file, TREC's or MS MARCO's, or MS MARCO's `top1000.dev` with its
            texts, which is streamed; empty for a table of pairs.
        candidate_depth: how many of a run file's documents are reranked for each query; of `top1000.dev`, whose lines
            are in no order, all are.
        measure: the main score, as `eval.measures` calls it.
        measures: the others that are reported.
    """

    file: str = "{split}.tsv"
    query_id: str = "qid"
    query: str = "query"
    passage: str = "passage"
    passage_id: str = ""
    grade: str = "label"
    lowest_grade: int = 0
    relevant: int = 1
    rank: str = ""
    measured_queries: Literal["all", "with_relevant", "both"] = "with_relevant"
    candidates: str = ""
    candidate_depth: int = 100
    measure: str = "AP"
    measures: tuple[str, ...] = ("AP", "RR", "RR@10", "nDCG@10")

    def __post_init__(self) -> None:
        if self.relevant <= self.lowest_grade:
            raise ValueError(f"relevant must be above lowest_grade, {self.lowest_grade}, not {self.relevant}")
        if self.candidate_depth < 1:
            raise ValueError(f"candidate_depth must be at least 1, not {self.candidate_depth}")

    def measures_query(self, grades: Iterable[int]) -> bool:
        """Say whether a query counts, by the grades that people gave its passages."""
        relevant = {grade >= self.relevant for grade in grades}
        if self.measured_queries == "both":
            return len(relevant) == 2
        return self.measured_queries == "all" or True in relevant
