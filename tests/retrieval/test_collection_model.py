"""Any sequence of operations leaves what a plain dictionary and a collection built from scratch would hold."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from retrieval import Collection, Document, FunctionEncoder

# Thousands of commits: where there is a file system in memory, they need not wait for a disk.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
WORDS = ["owl", "night", "fly", "winter", "swim", "song", "nest", "egg"]
IDS = st.sampled_from([f"d{number}" for number in range(8)])
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
YEARS = st.one_of(st.none(), st.integers(2019, 2022))
QUERIES = ["owl night", "fly fly swim", "egg nest song winter"]


def word_counts(texts):
    return np.array([[text.split().count(word) for word in WORDS] for text in texts], np.float32) + 0.25


def encoder():
    return FunctionEncoder(word_counts, name="words", version="1", dimension=len(WORDS))


def document(document_id, text, year):
    return Document(document_id, text, metadata={} if year is None else {"year": year})


class CollectionMachine(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.collection = Collection.create(self.folder / "c", encoder=encoder())
        self.model: dict[str, Document] = {}  # in the order in which the texts came

    def put(self, new):
        old = self.model.get(new.id)
        if old is None or old.text != new.text:
            self.model.pop(new.id, None)
        self.model[new.id] = new

    @rule(document_id=IDS, text=TEXTS, year=YEARS)
    def upsert(self, document_id, text, year):
        new = document(document_id, text, year)
        self.collection.upsert(new)
        self.put(new)

    @rule(documents=st.lists(st.builds(document, IDS, TEXTS, YEARS), max_size=6), drop=st.sets(IDS, max_size=3))
    def batch(self, documents, drop):
        with self.collection.batch():
            self.collection.upsert(documents)
            self.collection.delete(drop)
        for new in documents:
            self.put(new)
        for document_id in drop:
            self.model.pop(document_id, None)

    @rule(ids=st.sets(IDS, max_size=4))
    def delete(self, ids):
        assert self.collection.delete(ids) == len(ids & self.model.keys())
        for document_id in ids:
            self.model.pop(document_id, None)

    @rule(year=st.integers(2019, 2022))
    def delete_where(self, year):
        gone = {name for name, stored in self.model.items() if stored.metadata.get("year", 0) >= year}
        assert self.collection.delete(where=f"year >= {year}") == len(gone)
        for document_id in gone:
            del self.model[document_id]

    @rule()
    def compact(self):
        self.collection.compact()

    @rule()
    def reopen(self):
        self.collection = Collection.open(self.folder / "c", encoder=encoder())

    @rule()
    def failed_batch(self):
        try:
            with self.collection.batch():
                self.collection.delete(list(self.model))
                raise KeyError
        except KeyError:
            pass

    @invariant()
    def holds_what_the_model_holds(self):
        if not hasattr(self, "collection"):
            return
        assert list(self.collection) == list(self.model.values())
        assert len(self.collection) == len(self.model)

    @invariant()
    def answers_as_if_built_anew(self):
        if not hasattr(self, "collection"):
            return
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            rebuilt = Collection.create(Path(folder) / "c", encoder=encoder())
            rebuilt.add(self.model.values())
            for options in ({"mode": "bm25"}, {"mode": "dense"}, {"mode": "hybrid", "where": "year > 2019"}):
                for ours, theirs in zip(
                    self.collection.search_many(QUERIES, 5, **options),
                    rebuilt.search_many(QUERIES, 5, **options),
                    strict=True,
                ):
                    assert [(hit.id, hit.score) for hit in ours] == [(hit.id, hit.score) for hit in theirs]

    def teardown(self):
        if hasattr(self, "folder"):
            assert self.collection.verify().ok
            shutil.rmtree(self.folder)


TestCollection = CollectionMachine.TestCase
TestCollection.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
