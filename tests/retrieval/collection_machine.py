"""Every operation on a collection in any order; `collection_model` compares what it leaves after each.

`CollectionMachine` has an encoder, `SparseMachine` a sparse one as well, `TokensMachine` stored states, and
`GivenVectorsMachine` gets vectors with its documents.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from retrieval import Collection, read_documents
from retrieval.errors import CollectionError, DuplicateDocumentError, EncoderMismatchError
from tests.retrieval.collection_model import ENCODERS, GIVEN, Item, K, Model, ModelledCollection, item
from tests.retrieval.collection_oracle import QUERIES, WORDS, Oracle, sparse_encoder, sparse_score
from tests.retrieval.term_scores import added_up

IDS = st.sampled_from([f"d{number}" for number in range(8)])
# "the" is a stop word: no term, but a token of the encoder that reads four at a time.
TEXTS = st.lists(st.sampled_from([*WORDS, "the"]), max_size=6).map(" ".join)
YEARS = st.one_of(st.none(), st.integers(2019, 2022))
KINDS = st.sampled_from(["exact", "hnsw", "ivf_pq", "int8", "binary"])
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


class CollectionMachine(ModelledCollection):
    """Operations on a collection that encodes its texts."""

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

    # --------------------------------------------------------------------------------------------- opening and reading

    @rule()
    def reopen(self):
        for kind, strange in ENCODERS.items():
            if kind != self.kind and not self.gives_vectors:
                with pytest.raises(EncoderMismatchError):
                    Collection.open(self.collection.path, encoder=strange)
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
            assert added_up(why.terms) == why.scores.get("bm25", 0)
            assert why.scores.get("bm25", 0) == pytest.approx(expected[hit.id])
            assert why.passage.score == why.scores["dense"]
            assert hit.document == self.model[hit.id].document


SPARSE = {"one": "weighted", "other": "binary", "passages": "passages"}


class SparseMachine(CollectionMachine):
    """A collection with sparse vectors beside the others; their kind is decided when it is created."""

    has_sparse = True

    def create(self) -> Collection:
        if not self.n_folders:
            self.sparse_kind = SPARSE[self.kind]
        self.n_folders += 1
        path = self.folder / str(self.n_folders)
        return Collection.create(path, encoder=ENCODERS[self.kind], sparse=sparse_encoder(self.sparse_kind))

    def open(self) -> Collection:
        sparse = sparse_encoder(self.sparse_kind)
        return Collection.open(self.collection.path, encoder=ENCODERS[self.kind], sparse=sparse)

    def open_without_encoder(self) -> Collection:
        return Collection.open(self.collection.path, sparse=sparse_encoder(self.sparse_kind))

    def check_sparse(self, collection: Collection, oracle: Oracle, lexical: list, dense: list) -> None:
        found = self.search(collection, QUERIES, mode="sparse", k=1000)
        newer = self.search(collection, QUERIES, mode="sparse", where="year > 2019")
        hybrid = self.search(collection, QUERIES, mode="hybrid", exact=True)
        for number, query in enumerate(QUERIES):
            oracle.check_hybrid(hybrid[number], [lexical[number], dense[number], found[number]], K)
            if self.sparse_kind != "passages":
                oracle.check_sparse(found[number], query, 1000, self.sparse_kind)
                oracle.check_sparse(newer[number], query, K, self.sparse_kind, after=2019)
                continue
            matching = {one.id for one in oracle.documents if sparse_score(query, one.full_text, "passages") > 0}
            assert {hit.id for hit in found[number]} == matching
            for hit in found[number]:
                read = hit.passage.text if hit.passage.start == 0 else f"{hit.document.title} {hit.passage.text}"
                assert hit.score == pytest.approx(sparse_score(query, read, "passages")), read

    @rule()
    def reencode_sparse(self):
        report = self.collection.reencode_sparse(sparse_encoder(self.sparse_kind))
        assert report.sparse_passages >= len(self.model)

    @rule()
    def reopen_with_another(self):
        for kind in SPARSE.values():
            if kind != self.sparse_kind:
                with pytest.raises(EncoderMismatchError, match="another sparse encoder"):
                    Collection.open(self.collection.path, sparse=sparse_encoder(kind))


class TokensMachine(CollectionMachine):
    """A collection with stored states beside the vectors; how they are stored is decided when it is created."""

    def create(self) -> Collection:
        if not self.n_folders:
            self.storage = "int8" if self.kind == "other" else "float16"
        self.n_folders += 1
        path = self.folder / str(self.n_folders)
        return Collection.create(path, encoder=ENCODERS[self.kind], tokens=self.tokens())

    def open(self) -> Collection:
        return Collection.open(self.collection.path, encoder=ENCODERS[self.kind], tokens=self.tokens())

    def open_without_encoder(self) -> Collection:
        return Collection.open(self.collection.path, tokens=self.tokens())

    def tokens(self) -> dict[str, Any]:
        from retrieval.collection.token_slot import TokenStates
        from tests.rerankers.two_sided import WordNetwork

        return {"words": TokenStates(WordNetwork(), self.storage)}

    def answers(self, collection: Collection) -> list[list[tuple[str, float]]]:
        results = collection.search_many(QUERIES, K, stages="bm25:100,words:20")
        return super().answers(collection) + [[(hit.id, hit.score) for hit in result] for result in results]

    def check(self, collection: Collection, oracle: Oracle, kind: str) -> None:
        from tests.rerankers.two_sided import WordNetwork, max_sim

        super().check(collection, oracle, kind)
        network, tolerance = WordNetwork(), 1e-5 if self.storage == "float16" else 0.2
        for query, result in zip(QUERIES, collection.search_many(QUERIES, K, stages="bm25:100,words:100"), strict=True):
            for hit in result:
                assert hit.score == pytest.approx(max_sim(network, query, hit.document.full_text), abs=tolerance)

    @rule()
    def reencode_tokens(self):
        report = self.collection.reencode_tokens("words", self.tokens()["words"])
        assert report.states >= len(self.model)


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
