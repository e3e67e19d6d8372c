"""One suite for every backend: dense search and the searchers derived from it, BM25, sparse vectors, by brute force.

A backend turns documents into a segment on disk, opens it and searches; its oracle scores every document in plain
Python or numpy. What is promised of all of them is tested here once: the result contract, save and open, filters and
deletions, segments, ties, edges, threads, damaged files. Approximate backends may miss documents, within a floor, but
every score that they return is the exact one.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.bm25 import BM25Searcher, BM25Settings, LexicalSegment
from indexes.dense import DenseSegment, search_exact
from indexes.errors import StorageError
from indexes.impact_sum import ImpactSearcher
from indexes.inversion import InvertedIndexWriter
from indexes.inverted import InvertedIndex
from indexes.searchers import (
    BinarySettings,
    HNSWSettings,
    Int8Settings,
    IVFPQSettings,
    build_searcher,
    open_searcher,
    rescoring,
)
from indexes.searchers.rescoring import search_with
from indexes.sparse import SparseIndex, SparseIndexWriter, SparseSearcher, SparseSegment
from indexes.vectors import VectorStore, VectorStoreWriter, normalise
from tests.indexes.sparse_oracle import vectors_of

DIMENSION = 24
VOCABULARY = [f"term{number:02}" for number in range(60)]


@dataclass
class Segment:
    """Documents on disk. `index` is what the backend opened; `covered` whether a searcher was built over it."""

    directory: Path
    documents: list[Any]
    sequences: np.ndarray
    alive: np.ndarray | None = None
    index: Any = None


@dataclass
class Dense:
    """Exact search, or a searcher built over the first segment, with the others searched exactly."""

    name: str
    searcher: Any = None
    floor: float = 1.0
    matches_all: bool = True

    def documents(self, rng, n):
        """Clustered vectors, one to three passages each."""
        centres = rng.standard_normal((8, DIMENSION))
        return [
            normalise(centres[rng.integers(8)] + 0.8 * rng.standard_normal((rng.integers(1, 4), DIMENSION)))
            for _ in range(n)
        ]

    def queries(self, rng, n):
        return list(normalise(rng.standard_normal((n, DIMENSION))))

    def query_for(self, document):
        """A query that finds the document."""
        return document[0]

    def scores(self, documents, query):
        """Score of each document; None where it cannot be found."""
        return [float((document.astype(np.float64) @ query.astype(np.float64)).max()) for document in documents]

    def write(self, segment):
        vectors = np.concatenate([np.empty((0, DIMENSION), np.float32), *segment.documents])
        rows = np.repeat(np.arange(len(segment.documents)), [len(document) for document in segment.documents])
        with VectorStoreWriter(segment.directory, DIMENSION) as writer:
            writer.append(vectors, rows)
        if self.searcher is not None:
            (segment.directory / "searcher").mkdir()
            store = VectorStore.open(segment.directory)
            build_searcher(self.searcher, [store], segment.directory / "searcher")

    def open(self, segment):
        store = VectorStore.open(segment.directory)
        if self.searcher is None:
            return store, None
        return store, open_searcher(segment.directory / "searcher", store.n_passages, DIMENSION)

    def search(self, segments, queries, k, masks=None, threads=None):
        views = [DenseSegment(segment.index[0], segment.alive, segment.sequences) for segment in segments]
        queries = np.array(queries, np.float32).reshape(len(queries), DIMENSION)
        if self.searcher is None or not segments:
            return search_exact(views, queries, k, masks, threads=threads)
        return search_with(segments[0].index[1], [0], views, queries, k, masks=masks, threads=threads)


@dataclass
class Lexical:
    """BM25; a document without any of a query's terms cannot be found."""

    name: str = "bm25"
    floor: float = 1.0
    matches_all: bool = False
    settings: BM25Settings = field(default_factory=BM25Settings)

    def documents(self, rng, n):
        return [(rng.geometric(0.12, rng.integers(1, 12)) % 60).tolist() for _ in range(n)]

    def queries(self, rng, n):
        return [{VOCABULARY[term]: 1.0 for term in rng.integers(0, 25, 3)} for _ in range(n)]

    def query_for(self, document):
        return {VOCABULARY[document[0]]: 1.0}

    def scores(self, documents, query):
        frequencies = [Counter(VOCABULARY[term] for term in document) for document in documents]
        document_frequencies = Counter(term for counts in frequencies for term in counts)
        average = sum(map(len, documents)) / max(1, len(documents))
        k1, b = self.settings.k1, self.settings.b
        scores = []
        for document, counts in zip(documents, frequencies, strict=True):
            score = 0.0
            for term in sorted(query):
                df = document_frequencies[term]
                idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
                norm = k1 * (1 - b + b * len(document) / average)
                score += query[term] * idf * counts[term] / (counts[term] + norm)
            scores.append(score or None)
        return scores

    def write(self, segment):
        writer = InvertedIndexWriter()
        for document in segment.documents:
            writer.add([(document, 1)])
        writer.write(segment.directory, VOCABULARY)

    def open(self, segment):
        return InvertedIndex.open(segment.directory)

    def search(self, segments, queries, k, masks=None, threads=None):
        views = [LexicalSegment(segment.index, segment.alive, segment.sequences) for segment in segments]
        return BM25Searcher(views, self.settings).search_many(queries, k, masks, threads=threads)


@dataclass
class Impacts(Lexical):
    """Terms whose frequencies are added up: more different ones than a posting's byte can tell apart."""

    name: str = "impacts of terms"

    def documents(self, rng, n):
        return [
            {int(d) % 60: int(rng.integers(1, 30_000)) for d in rng.geometric(0.12, rng.integers(1, 12))}
            for _ in range(n)
        ]

    def queries(self, rng, n):
        """Whole weights, under which sums of impacts would be whole if each posting told its own."""
        return [{VOCABULARY[term]: float(rng.integers(1, 4)) for term in rng.integers(0, 25, 3)} for _ in range(n)]

    def query_for(self, document):
        return {VOCABULARY[next(iter(document))]: 1.0}

    def scores(self, documents, query):
        return [
            sum(query[term] * document.get(VOCABULARY.index(term), 0) for term in sorted(query)) or None
            for document in documents
        ]

    def write(self, segment):
        writer = InvertedIndexWriter()
        for document in segment.documents:
            writer.add([([term], frequency) for term, frequency in document.items()])
        writer.write(segment.directory, VOCABULARY)

    def search(self, segments, queries, k, masks=None, threads=None):
        views = [LexicalSegment(segment.index, segment.alive, segment.sequences) for segment in segments]
        return ImpactSearcher(views).search_many(queries, k, masks, threads=threads)


@dataclass
class Sparse:
    """Impacts, or binary vectors; a document without any of a query's dimensions cannot be found."""

    name: str
    binary: bool = False
    floor: float = 1.0
    matches_all: bool = False

    def documents(self, rng, n):
        """Dimensions by popularity: in some segments the first are columns."""
        return [
            {
                int(d) % 60: 1 if self.binary else int(rng.integers(1, 256))
                for d in rng.geometric(0.12, rng.integers(1, 12))
            }
            for _ in range(n)
        ]

    def queries(self, rng, n):
        if self.binary:
            return [dict.fromkeys(rng.choice(25, 3, replace=False).tolist(), 1) for _ in range(n)]
        return [{d: float(rng.uniform(0.1, 3)) for d in rng.choice(25, 3, replace=False).tolist()} for _ in range(n)]

    def query_for(self, document):
        return {next(iter(document)): 1}

    def scores(self, documents, query):
        return [sum(query[d] * document.get(d, 0) for d in sorted(query)) or None for document in documents]

    def _flat(self, vectors, dtype):
        return vectors_of(vectors, None if self.binary else dtype)

    def write(self, segment):
        with SparseIndexWriter(segment.directory, "binary" if self.binary else "impacts") as writer:
            writer.add_many(self._flat(segment.documents, np.uint8))

    def open(self, segment):
        return SparseIndex.open(segment.directory)

    def search(self, segments, queries, k, masks=None, threads=None):
        views = [SparseSegment(segment.index, segment.alive, segment.sequences) for segment in segments]
        return SparseSearcher(views).search_many(self._flat(queries, np.float64), k, masks, threads)


# Few lists and small codes: these collections are small, and what is tested is the behaviour.
BACKENDS = [
    Dense("exact"),
    Dense("hnsw", HNSWSettings(), 0.9),
    Dense("ivf_pq", IVFPQSettings(n_lists=4, n_probe=2, m=6, bits=4), 0.75),
    Dense("int8", Int8Settings(), 0.95),
    Dense("binary", BinarySettings(), 0.75),
    Lexical(),
    Impacts(),
    Sparse("impacts"),
    Sparse("overlaps", binary=True),
]


every_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


@pytest.fixture(scope="module", autouse=True)
def _searchers_search_small_collections():
    """Filters that leave few passages are scored exactly; here that would leave the searchers nothing to do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rescoring, "_FEW_PASSAGES", 0)
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def saved(backend, directory, documents, sequences=None, alive=None):
    """Write, close and open a segment."""
    directory.mkdir(exist_ok=True)
    sequences = np.arange(len(documents)) if sequences is None else np.asarray(sequences, np.int64)
    segment = Segment(directory, documents, sequences, alive)
    backend.write(segment)
    segment.index = backend.open(segment)
    return segment


def expected(backend, segments, query, k, masks=None):
    """Return [(sequence, score)] of the best k by brute force; statistics are of living documents only."""
    living = [
        (segment.sequences[row], document, masks is None or masks[number] is None or masks[number][row])
        for number, segment in enumerate(segments)
        for row, document in enumerate(segment.documents)
        if segment.alive is None or segment.alive[row]
    ]
    scores = backend.scores([document for _, document, _ in living], query)
    found = [
        (int(sequence), score)
        for (sequence, _, allowed), score in zip(living, scores, strict=True)
        if allowed and score is not None
    ]
    return sorted(found, key=lambda item: (-item[1], item[0]))[:k]


def check(backend, segments, queries, k, masks=None):
    """Check the contract and the answers; return the hits."""
    found = backend.search(segments, queries, k, masks)
    assert len(found) == len(queries)
    recalled = wanted = 0
    for hits, query in zip(found, queries, strict=True):
        order = list(zip((-hits.scores).tolist(), hits.sequences.tolist(), strict=True))
        assert order == sorted(order)
        assert len(set(hits.sequences.tolist())) == len(hits.rows)
        assert np.isfinite(hits.scores).all()
        truth = dict(expected(backend, segments, query, None, masks))
        for segment, row, score, sequence in zip(*hits, strict=True):
            assert segments[segment].sequences[row] == sequence
            assert score == pytest.approx(truth[sequence], rel=1e-9, abs=1e-12)
        assert len(hits.rows) == min(k, len(truth))
        best = {sequence for sequence, _ in expected(backend, segments, query, k, masks)}
        recalled += len(best & set(hits.sequences.tolist()))
        wanted += len(best)
    assert recalled >= backend.floor * wanted
    return found


def assert_same(left, right):
    for one, other in zip(left, right, strict=True):
        for column, other_column in zip(one, other, strict=True):
            np.testing.assert_array_equal(column, other_column)


@every_backend
@pytest.mark.parametrize("k", [1, 7, 60])
def test_finds_what_brute_force_finds(backend, tmp_path, rng, k):
    segment = saved(backend, tmp_path, backend.documents(rng, 400))
    check(backend, [segment], backend.queries(rng, 20), k)


@every_backend
def test_saved_and_opened_again_it_answers_the_same(backend, tmp_path, rng):
    segment = saved(backend, tmp_path, backend.documents(rng, 200))
    queries = backend.queries(rng, 10)
    first = backend.search([segment], queries, 10)
    segment.index = backend.open(segment)
    assert_same(backend.search([segment], queries, 10), first)


@every_backend
def test_built_twice_the_files_are_equal(backend, tmp_path, rng):
    documents = backend.documents(rng, 150)
    for name in ("one", "two"):
        saved(backend, tmp_path / name, documents)
    for path in (tmp_path / "one").rglob("*.*"):
        assert (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes(), path.name


@every_backend
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
def test_filters_and_deletions_go_before_the_best_k(backend, tmp_path, rng, share):
    n = 400
    allowed = rng.random(n) < share
    queries = backend.queries(rng, 8)
    segment = saved(backend, tmp_path, backend.documents(rng, n))
    check(backend, [segment], queries, 10, [allowed])
    segment.alive = allowed
    check(backend, [segment], queries, 10)
    segment.alive = rng.random(n) < 0.8
    check(backend, [segment], queries, 10, [allowed])


@every_backend
def test_k_at_its_edges(backend, tmp_path, rng):
    segment = saved(backend, tmp_path, backend.documents(rng, 50))
    queries = backend.queries(rng, 3)
    assert [len(hits.rows) for hits in backend.search([segment], queries, 0)] == [0, 0, 0]
    for k in (49, 50, 51, 10_000):
        found = check(backend, [segment], queries, k)
        if backend.matches_all:
            assert [len(hits.rows) for hits in found] == [min(k, 50)] * 3


@every_backend
def test_nothing_to_search(backend, tmp_path, rng):
    queries = backend.queries(rng, 2)
    empty = saved(backend, tmp_path / "empty", [])
    assert [len(hits.rows) for hits in backend.search([empty], queries, 5)] == [0, 0]
    assert [len(hits.rows) for hits in backend.search([], queries, 5)] == [0, 0]
    assert backend.search([empty], [], 5) == []
    full = saved(backend, tmp_path / "full", backend.documents(rng, 30))
    assert backend.search([full], [], 5) == []
    check(backend, [empty, full], queries, 5)
    full.alive = np.zeros(30, bool)
    assert [len(hits.rows) for hits in backend.search([full], queries, 5)] == [0, 0]


@every_backend
def test_one_document(backend, tmp_path, rng):
    segment = saved(backend, tmp_path, backend.documents(rng, 1), [2**62])
    check(backend, [segment], backend.queries(rng, 4), 3)


@every_backend
def test_equal_documents_tie_exactly_and_by_sequence(backend, tmp_path, rng):
    (document,) = backend.documents(rng, 1)
    sequences = rng.permutation(240)
    first, second = np.sort(sequences[:200]), np.sort(sequences[200:])
    segments = [
        saved(backend, tmp_path / "first", [document] * 200, first),
        saved(backend, tmp_path / "second", [document] * 40, second),
    ]
    (hits,) = backend.search(segments, [backend.query_for(document)], 240)
    assert hits.sequences.tolist() == list(range(240))
    assert len(set(hits.scores.tolist())) == 1


@every_backend
@given(data=st.data())
@settings(max_examples=12)
def test_segments_and_deletions_answer_like_one_rebuilt_index(backend, tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("division")
    n = data.draw(st.integers(1, 120), label="documents")
    seed = data.draw(st.integers(0, 2**32 - 1), label="seed")
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=3), label="cuts"))
    rng = np.random.default_rng(seed)
    documents, queries = backend.documents(rng, n), backend.queries(rng, 4)
    alive = rng.random(n) < data.draw(st.sampled_from([0.3, 0.8, 1.0]), label="living")
    segments = [
        saved(backend, directory / str(number), documents[start:stop], range(start, stop), alive[start:stop])
        for number, (start, stop) in enumerate(zip((0, *cuts), (*cuts, n), strict=True))
    ]
    found = check(backend, segments, queries, 9)

    kept = np.flatnonzero(alive)
    rebuilt = saved(backend, directory / "rebuilt", [documents[row] for row in kept], kept)
    again = check(backend, [rebuilt], queries, 9)
    if backend.floor == 1.0:
        for hits, other in zip(found, again, strict=True):
            np.testing.assert_array_equal(hits.sequences, other.sequences)
            np.testing.assert_array_equal(hits.scores, other.scores)


@every_backend
def test_threads_and_batches_change_nothing(backend, tmp_path, rng):
    segment = saved(backend, tmp_path, backend.documents(rng, 300))
    queries = backend.queries(rng, 80)
    one = backend.search([segment], queries, 10, threads=1)
    assert_same(backend.search([segment], queries, 10, threads=2), one)
    assert_same([backend.search([segment], [query], 10)[0] for query in queries], one)


@every_backend
def test_damaged_files_are_errors(backend, tmp_path, rng):
    segment = saved(backend, tmp_path, backend.documents(rng, 60))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        for damage in (None, b"", content[:-1], content[: len(content) // 2], b"\xff" + content[1:]):
            path.unlink(missing_ok=True)
            if damage is not None:
                path.write_bytes(damage)
            with pytest.raises(StorageError):
                backend.open(segment)
        path.write_bytes(content)
    backend.open(segment)
