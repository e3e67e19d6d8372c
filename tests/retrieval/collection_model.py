"""A collection under test beside the model of it: what must be there, and what every search must return.

What must be there is a dictionary in the order in which the texts came. What searches must return is computed by
`collection_oracle` and, to the bit, by a collection that is built anew from the dictionary. The operations that change
both are in `collection_machine`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from indexes.bm25 import BM25Settings
from retrieval import Collection, Document, Fusion
from retrieval.errors import DuplicateDocumentError
from tests.retrieval.collection_oracle import QUERIES, Oracle, encoder, unit, vectors_of
from tests.torture.outcome import MEMORY

# Thousands of commits: where there is a file system in memory, they need not wait for a disk.

ENCODERS = {"one": encoder("1"), "other": encoder("2"), "passages": encoder("1", max_tokens=4)}
VERSIONS = {"one": "1", "other": "2", "passages": "1"}
# One is a multiple of another: stored as the same vector, but not the same input.
GIVEN = [(1, 0, 0), (2, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 0), (-2, 1, 0.5), (1, 2, 3), (3, 2, 1)]
K = 5
SEARCHES: list[dict[str, Any]] = [
    {"mode": "bm25"},
    {"mode": "bm25", "where": "year > 2019", "bm25": BM25Settings(k1=0.9, b=0.4)},
    {"mode": "dense", "exact": True},
    {"mode": "dense", "exact": True, "where": "year <= 2021"},
    {"mode": "hybrid", "exact": True, "where": "year > 2019"},
    {"mode": "hybrid", "exact": True, "fusion": Fusion("weighted", depth=3)},
]
SPARSE_SEARCHES: list[dict[str, Any]] = [
    {"mode": "sparse"},
    {"mode": "sparse", "where": "year > 2019"},
    {"mode": "sparse", "syntax": "query"},
]
PARSED_QUERIES = ["+owl -night", '"owl night" fly', "-egg song"]


class Item(NamedTuple):
    """A document, and the vector that comes with it where vectors are given."""

    document: Document
    vector: tuple[float, ...] | None


def item(document_id: str, text: str, title: str, year: int | None, vector: tuple[float, ...]) -> Item:
    return Item(Document(document_id, text, title, {} if year is None else {"year": year}), vector)


Model = dict[str, Item]


class ModelledCollection(RuleBasedStateMachine):
    """A collection that encodes its texts, a reader that has it open too, and the models of what both see.

    Attributes:
        compared: how many steps were compared, by all machines of this process.
    """

    compared = 0
    gives_vectors = False
    has_sparse = False

    @initialize(kind=st.sampled_from(list(ENCODERS)))
    def start(self, kind):
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.n_folders = 0
        self.kind = kind if not self.gives_vectors else "given"
        self.model: Model = {}  # in the order in which the texts came
        self.rebuilt_from: Any = None
        self.collection = self.create()
        self.open_reader()

    # ------------------------------------------------------------------------------------- what machines may differ in

    def create(self) -> Collection:
        self.n_folders += 1
        return Collection.create(self.folder / str(self.n_folders), encoder=ENCODERS[self.kind])

    def open(self) -> Collection:
        return Collection.open(self.collection.path, encoder=ENCODERS[self.kind])

    def open_without_encoder(self) -> Collection:
        return Collection.open(self.collection.path)

    def check_sparse(self, collection: Collection, oracle: Oracle, lexical: list, dense: list) -> None:
        """Compare the searches of sparse vectors, where there are any."""

    def given(self, items: list[Item]) -> dict[str, Any]:
        """Return the arguments that come beside the documents."""
        return {}

    def vectors(self, items: list[Item], kind: str) -> np.ndarray | None:
        """Return the documents' vectors, (n, d); None where they have several."""
        if kind == "passages":
            return None
        return vectors_of([one.document.full_text for one in items], VERSIONS[kind])

    def query_vectors(self, queries: list[str], kind: str) -> np.ndarray:
        return vectors_of(queries, VERSIONS[kind])

    # ------------------------------------------------------------------------------------------------------- the model

    def take(self, model: Model, new: Item, policy: str) -> str:
        """Do to the model what adding a document does, and return how it is counted."""
        document, old = new.document, model.get(new.document.id)
        if not self.gives_vectors:
            new = Item(document, None)
            if not document.text and not document.title:
                return "empty text"
        if old is None:
            model[document.id] = new
            return "added"
        if policy == "error":
            raise DuplicateDocumentError
        if policy == "skip":
            return "duplicate id"
        if old == new:
            return "unchanged"
        same_place = (old.document.title, old.document.text, old.vector) == (document.title, document.text, new.vector)
        if not same_place:
            del model[document.id]
        model[document.id] = new
        return "updated"

    def remove(self, model: Model, ids: Any) -> int:
        return sum(model.pop(document_id, None) is not None for document_id in ids)

    def newer(self, model: Model, year: int) -> list[str]:
        return [name for name, stored in model.items() if stored.document.metadata.get("year", 0) >= year]

    def oracle(self, model: Model, kind: str) -> Oracle:
        items = list(model.values())
        return Oracle([one.document for one in items], self.vectors(items, kind))

    def open_reader(self) -> None:
        self.reader = self.open_without_encoder()
        self.note_reader()

    def note_reader(self) -> None:
        self.reader_model, self.reader_kind = dict(self.model), self.kind
        self.reader_oracle = self.oracle(self.model, self.kind)
        self.reader_generation = self.collection.stats()["generation"]

    # ------------------------------------------------------------------------------------------------ after every step

    def search(self, collection: Collection, queries: list[str], *, mode: str, k: int = K, **options: Any) -> list:
        if mode in ("dense", "hybrid") and (self.gives_vectors or collection is self.reader):
            kind = self.reader_kind if collection is self.reader else self.kind
            options["vectors"] = self.query_vectors(queries, kind)
        return collection.search_many(queries, k, mode=mode, **options)

    def answers(self, collection: Collection) -> list[list[tuple[str, float]]]:
        searches = SEARCHES + SPARSE_SEARCHES * self.has_sparse
        results = [result for options in searches for result in self.search(collection, QUERIES, **options)]
        results += self.search(collection, PARSED_QUERIES, mode="bm25", syntax="query")
        results += [collection.similar(document_id, K) for document_id in [next(iter(self.model)), max(self.model)]]
        return [[(hit.id, hit.score) for hit in result] for result in results]

    def rebuilt_answers(self) -> list[list[tuple[str, float]]]:
        """Return the answers of a collection that is built anew, in the order in which the texts came."""
        state = (list(self.model.items()), self.kind)
        if self.rebuilt_from != state:
            rebuilt = self.create()
            items = list(self.model.values())
            rebuilt.add([one.document for one in items], **self.given(items))
            self.rebuilt_from, self.expected = state, self.answers(rebuilt)
            shutil.rmtree(rebuilt.path)
        return self.expected

    def check(self, collection: Collection, oracle: Oracle, kind: str) -> None:
        """Compare with the plain model everything that it can compute."""
        oracle.check_contents(collection)
        for document_id in ["d0", "d3", "m7", "twice"]:
            oracle.check_get(collection, document_id)
        if not oracle.documents:
            assert [list(found) for found in collection.search_many(QUERIES, mode="bm25")] == [[], [], []]
            return
        vectors = self.query_vectors(QUERIES, kind)
        lexical = self.search(collection, QUERIES, mode="bm25", k=1000)
        newer = self.search(collection, QUERIES, mode="bm25", where="year > 2019")
        exact = self.search(collection, QUERIES, mode="dense", k=1000, exact=True)
        nearest = self.search(collection, QUERIES, mode="dense")
        hybrid = self.search(collection, QUERIES, mode="hybrid", exact=True)
        for number, query in enumerate(QUERIES):
            oracle.check_bm25(lexical[number], query, 1000)
            oracle.check_bm25(newer[number], query, K, after=2019)
            if not self.has_sparse:
                oracle.check_hybrid(hybrid[number], [lexical[number], exact[number]], K)
            scores = {hit.id: hit.score for hit in exact[number]}
            assert all(hit.score == scores[hit.id] for hit in nearest[number])
            if kind != "passages":
                oracle.check_dense(exact[number], vectors[number], 1000)
                oracle.check_dense(nearest[number], vectors[number], K, complete=False)
                continue
            for hit in nearest[number]:
                # What is encoded for a passage that does not begin with the title has it in front.
                read = hit.passage.text if hit.passage.start == 0 else f"{hit.document.title} {hit.passage.text}"
                cosine = float(unit(vectors_of([read], "1")[0]) @ unit(vectors[number]))
                assert hit.score == pytest.approx(cosine, abs=1e-6), (read, hit.score, cosine)
        if self.has_sparse:
            self.check_sparse(collection, oracle, lexical, exact)
        if kind != "passages":
            oracle.check_similar(collection.similar(oracle.documents[0].id, K), oracle.documents[0].id, K)

    @invariant()
    def is_what_it_must_be(self):
        if not hasattr(self, "reader"):
            return
        ModelledCollection.compared += 1
        self.check(self.collection, self.oracle(self.model, self.kind), self.kind)
        if self.model:
            assert self.answers(self.collection) == self.rebuilt_answers()

    @invariant()
    def reader_stays_where_it_is(self):
        if hasattr(self, "reader"):
            assert self.reader.stats()["generation"] == self.reader_generation
            self.reader_oracle.check_contents(self.reader)
            for query, found in zip(QUERIES, self.reader.search_many(QUERIES, K, mode="bm25"), strict=True):
                self.reader_oracle.check_bm25(found, query, K)

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)
