"""A small collection with triples, and teachers that are functions of the texts."""

from __future__ import annotations

import hashlib
import json

import pytest

from retrieval.rerankers import FunctionReranker

N_TRIPLES = 23


def relevance(query: str, passage: str, salt: str = "") -> float:
    """Return a number that depends on both texts and has no short decimal form."""
    digest = hashlib.sha256(f"{salt}\0{query}\0{passage}".encode()).digest()
    return int.from_bytes(digest[:6], "little") / 3e13 - 4


class CountingTeacher(FunctionReranker):
    """Scores by `relevance` and remembers how many pairs it was given."""

    def __init__(self, version: str = "1") -> None:
        super().__init__(self._scores, "counting", version)
        self.pairs: list[tuple[str, str]] = []
        self._salt = version

    def _scores(self, query, texts):
        self.pairs += [(query, text) for text in texts]
        return [relevance(query, text, self._salt) for text in texts]


@pytest.fixture
def teacher():
    return CountingTeacher()


@pytest.fixture
def marco(tmp_path):
    """A folder in MS MARCO's layout: 4 queries, 9 passages, 23 triples in which pairs come again."""
    folder = tmp_path / "marco"
    folder.mkdir()
    (folder / "collection.tsv").write_text("".join(f"p{n}\tpassage number {n}\n" for n in range(9)), encoding="utf-8")
    (folder / "queries.train.tsv").write_text("".join(f"q{n}\tquery number {n}\n" for n in range(4)), encoding="utf-8")
    triples = "".join(f"q{n % 4}\tp{n % 4}\tp{4 + n % 5}\n" for n in range(N_TRIPLES))
    (folder / "qidpidtriples.train.tsv").write_text(triples, encoding="utf-8")
    return folder


@pytest.fixture
def tuples(tmp_path):
    """A file of 7 tuples with texts and one or two negatives."""
    rows = [
        {"query": f"query {n % 3}", "positive": f"good {n}", "negatives": [f"bad {n}", f"worse {n}"][: 1 + n % 2]}
        for n in range(7)
    ]
    path = tmp_path / "tuples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
