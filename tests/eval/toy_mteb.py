"""A tiny corpus as tasks of mteb, held in memory, and what comes of searching it by hand."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from retrieval.encoders import FunctionEncoder

WORDS = ["amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "jetty", "knoll", "larch"]
DIMENSION = 16


def corpus(n: int = 40, seed: int = 0) -> list[dict[str, str]]:
    random = np.random.default_rng(seed)
    return [
        {
            "id": f"d{number}",
            "title": str(random.choice(WORDS)) if number % 3 else "",
            "text": " ".join(random.choice(WORDS, random.integers(3, 12))),
        }
        for number in range(n)
    ]


def queries(n: int = 12, seed: int = 1) -> dict[str, str]:
    random = np.random.default_rng(seed)
    return {f"q{number}": " ".join(random.choice(WORDS, 3)) for number in range(n)}


def qrels(documents: list[dict[str, str]], query_ids: list[str], seed: int = 2) -> dict[str, dict[str, int]]:
    random = np.random.default_rng(seed)
    ids = [document["id"] for document in documents]
    return {
        query_id: {str(document): int(random.integers(1, 3)) for document in random.choice(ids, 4, replace=False)}
        for query_id in query_ids
    }


def full_text(document: dict[str, str]) -> str:
    return f"{document['title']} {document['text']}".strip()


def vectors(texts: list[str], salt: str = "") -> np.ndarray:
    """A bag of words, each a random vector, which differs between queries and passages by the salt."""

    def word_vector(word: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(f"{salt}{word}".encode()).digest()[:4], "little")
        return np.random.default_rng(seed).normal(size=DIMENSION)

    total = [sum((word_vector(word) for word in text.split()), np.full(DIMENSION, 0.01)) for text in texts]
    return np.array(total, np.float32).reshape(len(texts), DIMENSION)


class CountingEncoder:
    """Makes encoders of bags of words, and counts the texts that went through them."""

    def __init__(self) -> None:
        self.passages: list[str] = []
        self.queries: list[str] = []

    def encoder(self, version: str = "1", **settings: Any) -> FunctionEncoder:
        def passage(texts: list[str]) -> np.ndarray:
            self.passages += texts
            return vectors(texts)

        def query(texts: list[str]) -> np.ndarray:
            self.queries += texts
            return vectors(texts, salt="")

        return FunctionEncoder(passage, "bag of words", version, dimension=DIMENSION, query_function=query, **settings)


def ndcg(ranking: list[str], grades: dict[str, int], k: int = 10) -> float:
    def gain(values: list[int]) -> float:
        return math.fsum(value / math.log2(rank + 2) for rank, value in enumerate(values[:k]))

    ideal = gain(sorted(grades.values(), reverse=True))
    return gain([grades.get(document_id, 0) for document_id in ranking]) / ideal


def by_vectors(query: str, documents: list[dict[str, str]], similarity: str = "cosine") -> list[str]:
    """Ids by similarity, ties in the order of the documents."""
    found = vectors([full_text(document) for document in documents]).astype(np.float64)
    wanted = vectors([query]).astype(np.float64)[0]
    scores = found @ wanted
    if similarity == "cosine":
        scores = scores / np.linalg.norm(found, axis=1)
    return [documents[row]["id"] for row in np.argsort(-scores, kind="stable")]


def metadata(name: str, kind: str, main_score: str, **facts: Any) -> Any:
    from mteb.abstasks.task_metadata import TaskMetadata

    return TaskMetadata(
        **{
            "name": name,
            "type": kind,
            "main_score": main_score,
            "description": "made in memory",
            "reference": "https://example.org",
            "dataset": {"path": "NA", "revision": "1"},
            "category": "t2t",
            "eval_splits": ["test"],
            "eval_langs": ["eng-Latn"],
            "date": ("2022-12-22", "2022-12-22"),
            "dialect": [],
            "domains": [],
            "task_subtypes": [],
            "license": "cc-by-4.0",
            "annotations_creators": "derived",
            "modalities": ["text"],
            "sample_creation": "found",
            "bibtex_citation": "",
            **facts,
        }
    )


def retrieval_split(
    documents: list[dict[str, str]],
    texts: dict[str, str],
    judged: dict[str, dict[str, int]],
    top_ranked: dict[str, list[str]] | None = None,
    instructions: dict[str, str] | None = None,
) -> Any:
    from datasets import Dataset
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData

    rows = [
        {"id": query_id, "text": text} | ({"instruction": instructions[query_id]} if instructions else {})
        for query_id, text in texts.items()
    ]
    return RetrievalSplitData(
        corpus=Dataset.from_list(documents),
        queries=Dataset.from_list(rows),
        relevant_docs=judged,
        top_ranked=top_ranked,
    )


def retrieval_task(splits: dict[str, Any], kind: str = "Retrieval", name: str = "Toy") -> Any:
    """A task over one split for each subset; the subset "default" makes it monolingual."""
    from mteb.abstasks import AbsTaskRetrieval

    languages: Any = ["eng-Latn"] if list(splits) == ["default"] else {subset: ["eng-Latn"] for subset in splits}
    facts = metadata(f"{name}{kind}", kind, "ndcg_at_10", eval_langs=languages)
    task = type(name, (AbsTaskRetrieval,), {"metadata": facts})()
    task.dataset = {subset: {"test": split} for subset, split in splits.items()}
    task.data_loaded = True
    return task


def scores_of(model: Any, task: Any, cache: Any = None) -> dict[str, dict[str, float]]:
    """Run mteb; return its scores by subset."""
    import mteb

    result = mteb.evaluate(model, tasks=[task], cache=cache, show_progress_bar=False)
    return {scores["hf_subset"]: scores for scores in result.task_results[0].scores["test"]}
