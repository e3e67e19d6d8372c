"""Tiny systems and tasks, and models that count what reaches them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from eval.collection_evaluation import evaluate_collection
from eval.tasks.base import Surroundings, TaskResult
from eval.tasks.system import System
from eval.testsets import TestSet
from retrieval import Collection, Document
from retrieval.encoders import FunctionEncoder

ROOT = Path(__file__).parents[3]
"""Where the packages lie."""


class CountingEncoder(FunctionEncoder):
    """Encodes a text as letters of no meaning, and remembers what it was given."""

    def __init__(self, name: str = "counting", version: int = 1, dimension: int = 6) -> None:
        self.passages: list[str] = []
        self.queries: list[str] = []

        def encode(texts: list[str], seen: list[str], salt: str) -> np.ndarray:
            seen.extend(texts)
            seeds = [zlib.crc32(f"{name} {version} {salt} {text}".encode()) for text in texts]
            return np.stack([np.random.default_rng(seed).normal(size=dimension) for seed in seeds])

        super().__init__(
            lambda texts: encode(texts, self.passages, "passage"),
            name,
            version,
            dimension=dimension,
            query_function=lambda texts: encode(texts, self.queries, "query"),
        )

    @property
    def seen(self) -> list[str]:
        return self.passages + self.queries


@dataclass
class MeanTask:
    """Scores a system by the first numbers of its vectors; needs an encoder."""

    name: str = "Mean"
    texts: tuple[str, ...] = ("owl", "wren", "owl", "kite")
    kind: str = "STS"
    error: Exception | None = None
    ran: list[str] = field(default_factory=list)

    def problem(self, system: System) -> str | None:
        return f"{system.name} has no encoder" if system.encoder is None else None

    def identity(self):
        return {"texts": self.texts}

    def run(self, system: System, surroundings: Surroundings) -> TaskResult:
        self.ran.append(system.name)
        if self.error is not None:
            raise self.error
        vectors = system.encoder.encode_passages(self.texts)
        asked = system.encoder.encode_queries(["owl"])
        values = {str(number): float(vector[0] + asked[0, 0]) for number, vector in enumerate(vectors)}
        mean = float(np.mean(list(values.values())))
        return TaskResult(self.name, self.kind, system.name, "mean", {"mean": mean}, values, n_items=len(values))


ROWS = {
    "d1": "owl owl night bird",
    "d2": "owl and kite and wren in the wood",
    "d3": "kite over the field",
    "d4": "the owl sleeps by day",
    "d5": "wren",
}
QUERIES = {"q1": "owl bird", "q2": "kite field", "q3": "wren wood owl"}
QRELS = {"q1": {"d4": 1}, "q2": {"d3": 2, "d2": 1}, "q3": {"d5": 1}}


@dataclass
class SearchTask:
    """Searches five documents."""

    name: str = "Search"
    kind: str = "Retrieval"
    k: int = 10

    def problem(self, system: System) -> str | None:
        return None

    def identity(self):
        return {"rows": ROWS, "queries": QUERIES, "qrels": QRELS, "k": self.k}

    def run(self, system: System, surroundings: Surroundings) -> TaskResult:
        folder = surroundings.workspace / f"{self.name}-{'lexical' if system.encoder is None else 'dense'}.index"
        if folder.exists():
            collection = Collection.open(folder, encoder=system.encoder)
        else:
            collection = Collection.create(folder, encoder=system.encoder)
            collection.add([Document(name, text) for name, text in ROWS.items()])
        with collection:
            report = evaluate_collection(
                surroundings.share(collection),
                TestSet("tiny", "test", QUERIES, QRELS),
                ["nDCG@10"],
                k=self.k,
                latency_sample=surroundings.latency_sample,
                **system.search_options,
            )
        rankings = {name: [list(pair) for pair in ranking] for name, ranking in report.run.items()}
        return TaskResult(
            self.name,
            self.kind,
            system.name,
            "nDCG@10",
            dict(report.evaluation.measures),
            {query: values["nDCG@10"] for query, values in report.evaluation.per_query.items()},
            n_items=len(QUERIES),
            settings={"rankings": rankings, "stages": [[cost.name, cost.calls] for cost in report.stages]},
        )


@pytest.fixture
def surroundings(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return Surroundings(folder)
