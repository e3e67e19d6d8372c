"""Every operation on a collection in any order, compared after each with a rebuilt collection and with plain Python.

`CollectionMachine` has an encoder, `GivenVectorsMachine` gets vectors with its documents. What must be there is a
dictionary in the order in which the texts came; what searches must return is computed by `collection_oracle` and, to
the bit, by a collection that is built anew from the dictionary.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from indexes.bm25 import BM25Settings
from retrieval import Collection, Document, Fusion, read_documents
from retrieval.errors import CollectionError, DuplicateDocumentError
from tests.retrieval.collection_oracle import QUERIES, WORDS, Oracle, encoder, unit, vectors_of

# Thousands of commits: where there is a file system in memory, they need not wait for a disk.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

ENCODERS = {"one": encoder("1"), "other": encoder("2"), "passages": encoder("1", max_tokens=4)}
VERSIONS = {"one": "1", "other": "2", "passages": "1"}
# None is a multiple of another: it is stored as the same vector, but not the same input.
GIVEN = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 0), (-2, 1, 0.5), (1, 2, 3), (3, 2, 1)]
K = 5
SEARCHES: list[dict[str, Any]] = [
    {"mode": "bm25"},
    {"mode": "bm25", "where": "year > 2019", "bm25": BM25Settings(k1=0.9, b=0.4)},
    {"mode": "dense", "exact": True},
    {"mode": "dense", "exact": True, "where": "year <= 2021"},
    {"mode": "hybrid", "exact": True, "where": "year > 2019"},
    {"mode": "hybrid", "exact": True, "fusion": Fusion("weighted", depth=3)},
]
PARSED_QUERIES = ["+owl -night", '"owl night" fly', "-egg song"]

IDS = st.sampled_from([f"d{number}" for number in range(8)])
# "the" is a stop word: no term, but a token of the encoder that reads four at a time.
TEXTS = st.lists(st.sampled_from([*WORDS, "the"]), max_size=6).map(" ".join)
YEARS = st.one_of(st.none(), st.integers(2019, 2022))
KINDS = st.sampled_from(["exact", "hnsw", "ivf_pq", "int8", "binary"])


class Item(NamedTuple):
    """A document, and the vector that comes with it where vectors are given."""

    document: Document
    vector: tuple[float, ...] | None


def item(document_id: str, text: str, title: str, year: int | None, vector: tuple[float, ...]) -> Item:
    return Item(Document(document_id, text, title, {} if year is None else {"year": year}), vector)


ITEMS = st.lists(
    st.builds(item, IDS, TEXTS, st.sampled_from(["", "", "owl nest"]), YEARS, st.sampled_from(GIVEN)), max_size=6
)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["replace", "skip"]), ITEMS),
        st.tuples(st.just("delete"), st.sets(IDS, max_size=3)),
        st.tuples(st.just("delete where"), st.integers(2019, 2022)),
        st.tuples(st.just("compact"), st.none()),
        st.tuples(st.just("optimize"), KINDS),
    ),
    max_size=4,
)
Model = dict[str, Item]


class CollectionMachine(RuleBasedStateMachine):
    """A collection that encodes its texts.

    Attributes:
        compared: how many steps were compared, by all machines of this process.
    """

    compared = 0
    gives_vectors = False

    @initialize(kind=st.sampled_from(list(ENCODERS)))
    def start(self, kind):
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.n_folders = 0
        self.kind = kind if not self.gives_vectors else "given"
        self.model: Model = {}  # in the order in which the texts came
        self.rebuilt_from: Any = None
        self.collection = self.create()
        self.open_reader()

    # ------------------------------------------------------------------------------------------ what is different

    def create(self) -> Collection:
        self.n_folders += 1
        return Collection.create(self.folder / str(self.n_folders), encoder=ENCODERS[self.kind])

    def open(self) -> Collection:
        return Collection.open(self.collection.path, encoder=ENCODERS[self.kind])

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

    # ------------------------------------------------------------------------------------------------- the model

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

    # --------------------------------------------------------------------------------------------------- changes

    def add_to(self, model: Model, items: list[Item], policy: str) -> list[str]:
        documents = (one.document for one in items)
        self.collection.add(documents, on_duplicate=policy, **self.given(items))
        return [self.take(model, one, policy) for one in items]

    @rule(items=ITEMS, policy=st.sampled_from(["error", "skip", "replace"]))
    def add(self, items, policy):
        after = dict(self.model)
        try:
            counted = [self.take(after, one, policy) for one in items]
        except DuplicateDocumentError:
            with pytest.raises(DuplicateDocumentError):
                self.collection.add([one.document for one in items], **self.given(items))
            return
        report = self.collection.add([one.document for one in items], on_duplicate=policy, **self.given(items))
        assert [report.added, report.updated, report.unchanged] == [
            counted.count(name) for name in ("added", "updated", "unchanged")
        ]
        assert report.skipped.total() == counted.count("empty text") + counted.count("duplicate id")
        self.model = after

    @rule(items=ITEMS)
    def upsert(self, items):
        self.collection.upsert([one.document for one in items], **self.given(items))
        for one in items:
            self.take(self.model, one, "replace")

    @rule(number=st.integers(25, 60), seed=st.integers(0, 1000))
    def add_many(self, number, seed):
        """So many that approximate searchers have something to leave out."""
        draw = random.Random(seed)
        items = [
            item(f"m{i}", " ".join(draw.choices(WORDS, k=draw.randint(1, 6))), "", 2018, draw.choice(GIVEN))
            for i in range(number)
        ]
        self.add_to(self.model, items, "replace")

    @rule(ids=st.sets(IDS, max_size=4))
    def delete(self, ids):
        assert self.collection.delete(ids) == self.remove(self.model, ids)

    @rule(year=st.integers(2018, 2022))
    def delete_where(self, year):
        assert self.collection.delete(where=f"year >= {year}") == self.remove(self.model, self.newer(self.model, year))

    def change(self, model: Model, changes: list[tuple[str, Any]]) -> None:
        for name, argument in changes:
            if name == "delete":
                assert self.collection.delete(argument) == self.remove(model, argument)
            elif name == "delete where":
                number = self.collection.delete(where=f"year >= {argument}")
                assert number == self.remove(model, self.newer(model, argument))
            elif name == "compact":
                self.collection.compact()
            elif name == "optimize":
                self.collection.optimize(argument)
            else:
                self.add_to(model, argument, name)

    @rule(changes=CHANGES)
    def batch(self, changes):
        before = list(self.collection.ids())
        with self.collection.batch():
            self.change(self.model, changes)
            assert list(self.collection.ids()) == before, "searches see a batch when it is committed"

    @rule(changes=CHANGES, caught=st.booleans())
    def failed_batch(self, changes, caught):
        generation = self.collection.stats()["generation"]
        twice = [item("twice", "owl", "", None, GIVEN[0])] * 2
        with pytest.raises(CollectionError if caught else KeyError), self.collection.batch():
            self.change(dict(self.model), changes)
            if not caught:
                raise KeyError
            with pytest.raises(DuplicateDocumentError):
                self.add_to({}, twice, "error")
        assert self.collection.stats()["generation"] == generation

    @rule()
    def compact(self):
        self.collection.compact()
        assert len(self.collection.stats()["segments"]) == min(1, len(self.model))

    @rule(kind=KINDS)
    def optimize(self, kind):
        self.collection.optimize(kind)
        searcher = self.collection.stats()["searcher"]
        assert searcher["settings"]["type"] == (kind if self.model else "exact")
        assert searcher["searched_exactly"] == 0 or kind == "exact"

    @precondition(lambda self: not self.gives_vectors)
    @rule(kind=st.sampled_from(list(ENCODERS)))
    def reencode(self, kind):
        self.collection.reencode(ENCODERS[kind])
        self.kind = kind

    # --------------------------------------------------------------------------------------- opening and reading

    def open_reader(self) -> None:
        self.reader = Collection.open(self.collection.path)
        self.note_reader()

    def note_reader(self) -> None:
        self.reader_model, self.reader_kind = dict(self.model), self.kind
        self.reader_oracle = self.oracle(self.model, self.kind)
        self.reader_generation = self.collection.stats()["generation"]

    @rule()
    def reopen(self):
        self.collection = self.open()

    @rule()
    def close_and_use_again(self):
        self.collection.close()

    @rule()
    def refresh_reader(self):
        self.check(self.reader, self.reader_oracle, self.reader_kind)  # still its own generation, in full
        moves = self.reader_generation != self.collection.stats()["generation"]
        assert self.reader.refresh() == moves
        self.note_reader()
        self.check(self.reader, self.reader_oracle, self.reader_kind)
        if self.model:
            assert self.answers(self.reader) == self.rebuilt_answers()
        assert not self.reader.refresh()

    @rule(ending=st.sampled_from([".jsonl", ".jsonl.gz", ".parquet"]))
    def export_and_import(self, ending):
        self.n_folders += 1
        path = self.folder / f"{self.n_folders}{'.parquet' if self.gives_vectors else ending}"
        assert self.collection.export(path, vectors=self.gives_vectors) == len(self.model)
        imported = self.create()
        if self.gives_vectors:
            import pyarrow.parquet as pq

            rows = pq.read_table(path, columns=["vectors"])["vectors"].to_pylist()
            vectors = np.array([row[0] for row in rows], np.float32).reshape(-1, len(GIVEN[0]))
            imported.add(self.collection, vectors=vectors)
        else:
            imported.add(read_documents(path))
        self.check(imported, self.oracle(self.model, self.kind), self.kind)
        if self.model:
            assert self.answers(imported) == self.rebuilt_answers()
        if not self.gives_vectors:
            self.collection = imported
            self.open_reader()

    @rule()
    def verify(self):
        report = self.collection.verify()
        assert report.ok, report.problems
        assert not report.leftovers

    @rule(query=st.sampled_from(QUERIES))
    def explain(self, query):
        scores = self.oracle(self.model, self.kind).bm25_scores(query)
        expected = dict(zip(self.model, scores, strict=True))
        for hit in self.search(self.collection, [query], mode="hybrid", exact=True)[0]:
            why = hit.explain()
            assert hit.score == pytest.approx(sum(1 / (60 + rank) for rank in why.ranks.values()))
            assert sum(term.score for term in why.terms) == why.scores.get("bm25", 0)
            assert why.scores.get("bm25", 0) == pytest.approx(expected[hit.id])
            assert why.passage.score == why.scores["dense"]
            assert hit.document == self.model[hit.id].document

    # ------------------------------------------------------------------------------------------- after every step

    def search(self, collection: Collection, queries: list[str], *, mode: str, k: int = K, **options: Any) -> list:
        if mode != "bm25" and (self.gives_vectors or collection is self.reader):
            kind = self.reader_kind if collection is self.reader else self.kind
            options["vectors"] = self.query_vectors(queries, kind)
        return collection.search_many(queries, k, mode=mode, **options)

    def answers(self, collection: Collection) -> list[list[tuple[str, float]]]:
        results = [result for options in SEARCHES for result in self.search(collection, QUERIES, **options)]
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
        if kind != "passages":
            oracle.check_similar(collection.similar(oracle.documents[0].id, K), oracle.documents[0].id, K)

    @invariant()
    def is_what_it_must_be(self):
        if not hasattr(self, "reader"):
            return
        CollectionMachine.compared += 1
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


class GivenVectorsMachine(CollectionMachine):
    """A collection whose vectors come with the documents."""

    gives_vectors = True

    def create(self) -> Collection:
        self.n_folders += 1
        collection = Collection.create(self.folder / str(self.n_folders), encoder=None)
        # From here on it is one of given vectors, even while nothing is in it.
        first = item("first", "owl", "", None, GIVEN[0])
        collection.add(first.document, **self.given([first]))
        collection.delete("first")
        return collection

    def open(self) -> Collection:
        return Collection.open(self.collection.path)

    def given(self, items: list[Item]) -> dict[str, Any]:
        return {"vectors": self.vectors(items, self.kind)}

    def vectors(self, items: list[Item], kind: str) -> np.ndarray:
        return np.array([one.vector for one in items], np.float32).reshape(-1, len(GIVEN[0]))

    def query_vectors(self, queries: list[str], kind: str) -> np.ndarray:
        return np.array([GIVEN[len(query) % len(GIVEN)] for query in queries], np.float32)
