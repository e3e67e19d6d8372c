"""Data of our kinds that rank documents, as mteb's data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.errors import TaskError
from eval.mteb_parity.prepared import Prepared
from eval.tasks.reranking_data import read_reranking_data

_MAIN_SCORES = {"nDCG@10": "ndcg_at_10", "AP": "map_at_1000", "RR": "mrr_at_1000", "RR@10": "mrr_at_10"}
"""mteb's name of each main score of ours; mteb measures no deeper than a thousand documents."""


def retrieval(task: Any) -> Prepared:
    """Read a corpus, queries and judgements."""
    from datasets import Dataset

    definition, testset = task.definition, task.testset()
    if testset.corpus is None:
        raise TaskError(f"task {task.name}: no corpus to search")
    documents = [
        {
            "id": document.id,
            "title": document.title if "title" in definition.fields else "",
            "text": document.text if "text" in definition.fields else "",
        }
        for document in testset.corpus
    ]
    return _prepared(
        definition,
        "Retrieval",
        corpus=Dataset.from_list(documents),
        queries=testset.queries,
        qrels=testset.qrels,
        top_ranked=None,
    )


def reranking(task: Any) -> Prepared:
    """Read queries with their candidates and judgements."""
    from datasets import Dataset

    definition = task.definition
    data = read_reranking_data(definition, task.data, task.files())
    queries: dict[str, str] = {}
    passages: dict[str, str] = {}
    top_ranked: dict[str, list[str]] = {}
    qrels = {query_id: dict(grades) for query_id, grades in data.qrels.items()}
    for each in data.lists:
        names = dict(zip(each.candidates.ids, each.candidates.ids, strict=True))
        if data.pooled:
            # As mteb names them: where scores tie, it reads ids backwards, and those that are not relevant come first.
            grades = qrels[each.query_id]
            relevant = definition.relevant - definition.lowest_grade
            names = {
                name: f"{'apositive' if grades[name] >= relevant else 'negative'}_{each.query_id}_{place:05d}"
                for place, name in enumerate(each.candidates.ids)
            }
            qrels[each.query_id] = {names[name]: grade for name, grade in grades.items()}
        queries[each.query_id] = each.query
        top_ranked[each.query_id] = list(names.values())
        passages |= zip(names.values(), each.candidates.texts, strict=True)
    corpus = Dataset.from_list([{"id": key, "title": "", "text": text} for key, text in passages.items()])
    return _prepared(definition, "Reranking", corpus=corpus, queries=queries, qrels=qrels, top_ranked=top_ranked)


def _prepared(
    definition: Any,
    mteb_type: str,
    *,
    corpus: Any,
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    top_ranked: Mapping[str, list[str]] | None,
) -> Prepared:
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval

    if definition.measure not in _MAIN_SCORES:
        raise TaskError(f"task {definition.name}: mteb does not report {definition.measure} as we do")
    lowest = getattr(definition, "lowest_grade", 0)
    if definition.relevant - lowest != 1 and "nDCG" not in definition.measure:
        raise TaskError(
            f"task {definition.name}: mteb takes every grade above 0 for relevant, not {definition.relevant}"
        )
    split = {
        "corpus": corpus,
        "queries": Dataset.from_list([{"id": query_id, "text": text} for query_id, text in queries.items()]),
        "relevant_docs": {query_id: dict(grades) for query_id, grades in qrels.items()},
        "top_ranked": None if top_ranked is None else dict(top_ranked),
    }
    attributes = {"ignore_identical_ids": bool(getattr(definition, "ignore_identical_ids", False))}
    return Prepared({"test": split}, AbsTaskRetrieval, mteb_type, _MAIN_SCORES[definition.measure], attributes)
