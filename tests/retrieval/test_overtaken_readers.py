"""A writer that replaces the generation at the very moment in which a reader opens one of its files."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from retrieval import Collection
from tests.retrieval.collection_oracle import Oracle, encoder, vectors_of
from tests.torture.outcome import MEMORY

# Hundreds of commits: where there is a file system in memory, they need not wait for a disk.
QUERY = "owl night"

pytestmark = pytest.mark.slow


class Overtaking:
    """Calls a writer when the process opens a file of a part for the n-th time; an audit hook cannot be removed."""

    def __init__(self):
        self.left = -1
        self.write = None
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if self.write is not None and event == "open" and "/parts/" in str(arguments[0]):
            self.left -= 1
            if self.left < 0:
                write, self.write = self.write, None
                write()


@pytest.fixture(scope="module")
def overtaking():
    return Overtaking()


def states(folder):
    """Return a collection of two segments with deleted rows and a searcher, and an open reader of its past."""
    collection = Collection.create(folder / "c", encoder=encoder())
    collection.add([{"id": f"a{number}", "text": "owl night" if number % 2 else "fly"} for number in range(30)])
    collection.optimize("hnsw")
    reader = Collection.open(folder / "c", encoder=encoder())
    collection.add([{"id": "b", "text": "owl", "metadata": {"year": 2020}}, {"id": "c", "text": "swim song"}])
    collection.delete(["a1", "b"])
    return collection, reader


def rewrite(collection):
    """Leave nothing of the old generation's files."""
    with collection.batch():
        collection.upsert({"id": "d", "text": "owl owl night"})
        collection.compact()


def check(collection):
    """The reader answers from one of the two states, and from nothing else."""
    documents = list(collection)
    assert [document.id for document in documents if document.id[0] != "a"] in (["c"], ["c", "d"])
    vectors = vectors_of([document.full_text for document in documents], "1")
    oracle = Oracle(documents, vectors)
    oracle.check_bm25(collection.search(QUERY, 50, mode="bm25"), QUERY, 50)
    found = collection.search(QUERY, 50, mode="dense")
    oracle.check_dense(found, np.asarray(vectors_of([QUERY], "1")[0]), 50)


def overtaken_everywhere(overtaking, read, *, step):
    """Run `read(collection, reader)` overtaken at its first open, one of the next, and so on until there is none."""
    for moment in range(0, 1000, step):
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            collection, reader = states(Path(folder))
            overtaking.left, overtaking.write = moment, lambda collection=collection: rewrite(collection)
            try:
                read(collection, reader)
            finally:
                came_to_the_end, overtaking.write = overtaking.write is not None, None
        if came_to_the_end:
            return moment
    raise AssertionError("more than a thousand opens")


def test_opening(overtaking):
    def read(collection, _):
        check(Collection.open(collection.path, encoder=encoder()))

    assert overtaken_everywhere(overtaking, read, step=2) > 10


def test_refreshing(overtaking):
    def read(_, reader):
        assert reader.refresh()
        check(reader)

    assert overtaken_everywhere(overtaking, read, step=1) > 10


def test_verifying(overtaking):
    def read(collection, _):
        report = collection.verify()
        assert report.ok, report.problems

    assert overtaken_everywhere(overtaking, read, step=3) > 20
