"""Retrieval of long documents, in the manner of LoCo and LongEmbed: most of a document is beyond what encoders read.

LoCo (Saad-Falcon et al. 2024, "Benchmarking and Building Long-Context Retrieval Models with LoCo and M2-BERT") and
LongEmbed (Zhu et al. 2024) ask for nDCG@10, LongEmbed for its synthetic sets for nDCG@1. Beside the means the values
are given by the length of the relevant document, where a system that reads only beginnings falls behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from eval.collection_report import Report
from eval.measures import parse_measures
from eval.tasks.ranking_definitions import LongDocumentRetrievalDefinition
from eval.tasks.retrieval import RetrievalTask
from eval.testsets import TestSet

if TYPE_CHECKING:
    from retrieval.collection import Collection

_SHORTEST = 1024
"""Words: upper end of the first group; each further group reaches twice as far."""


class LongDocumentRetrievalTask(RetrievalTask[LongDocumentRetrievalDefinition]):
    """Retrieval, with the main score by the length of what was to be found."""

    kind: ClassVar[str] = "LongDocumentRetrieval"

    def own_settings(self, testset: TestSet, report: Report, collection: Collection) -> dict[str, Any]:
        """Return the main score by words of the longest relevant document, as lists of equal length."""
        policies = self.policies(report.policies)
        main = str(policies.applied_to(parse_measures([self.definition.measure]))[0])
        words: dict[str, int] = {}
        groups: dict[int, list[float]] = {}
        for query, values in report.evaluation.per_query.items():
            lengths = [
                _words(document, collection, words)
                for document, grade in testset.qrels[query].items()
                if grade >= policies.relevance_level
            ]
            groups.setdefault(_group(max(lengths, default=0)), []).append(values[main])
        rows = [
            {"words_up_to": _SHORTEST << group, "queries": len(values), main: sum(values) / len(values)}
            for group, values in sorted(groups.items())
        ]
        return {"by_length": rows}


def _words(document_id: str, collection: Collection, known: dict[str, int]) -> int:
    if document_id not in known:
        document = collection.get(document_id)
        known[document_id] = 0 if document is None else len(document.full_text.split())
    return known[document_id]


def _group(words: int) -> int:
    return max(0, (words - 1) // _SHORTEST).bit_length()
