"""Does another order of documents pay? `python -m eval.benchmarks.reordering` merges an index in several and searches.

Windows hold 65,536 documents, rows in them 16 bits, and chunks carry bounds, so an order can only show in collections
of several windows: by windows that are passed over, by fewer and fuller chunks, and by documents to score that lie
close together. All orders (see `document_orders`) go through the merge that compaction uses.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from eval.benchmarks.document_orders import ORDERS
from eval.benchmarks.peers.engine_sparse import EngineIndex
from eval.benchmarks.peers.lexical import default_analyser
from eval.benchmarks.query_spans import query_spans
from eval.benchmarks.short_texts import short_texts
from eval.benchmarks.sparse_vectors import (
    DOCUMENTS,
    QUERIES,
    VOCABULARY,
    SparseVectors,
    binary_vectors,
    learned_vectors,
)
from eval.benchmarks.text_collections import REAL, text_collection
from eval.benchmarks.workers import directory_size
from eval.command_line import DATA, Data, Json, show_all
from eval.errors import EvaluationError, ReproductionError
from eval.outcome import Outcome
from indexes.bm25 import BM25Searcher, BM25Settings, LexicalSegment
from indexes.hits import Hits
from indexes.inverted import InvertedIndex, InvertedIndexWriter, merge_inverted
from indexes.lists import Lists
from indexes.sparse import SparseIndex, SparseSearcher, SparseSegment, merge_sparse

COLLECTIONS = ("wordnet-senses", "debian-packages", "real", "synthetic", "learned", "binary", "binary in clusters")
"""Texts ("real" are several collections, one after the other), learned sparse vectors, and binary codes."""

KS = (10, 1000)
_SIZES = {"real": 200_000, "synthetic": 200_000, "learned": 200_000, "binary": 300_000, "binary in clusters": 300_000}
_TEXTS = ("real", "synthetic", *REAL)
_ACTIVE, _CODE_DIMENSIONS, _CODES_PER_CLUSTER = 80, 81_920, 200
_COLUMNS = ["order", "seconds to find it", "bytes", "of the first"]


@dataclass(frozen=True)
class Reordered:
    """A collection, as it came.

    Attributes:
        name: one of `COLLECTIONS`.
        index: of all documents.
        queries: for the searchers of `open_searcher`.
    """

    name: str
    index: InvertedIndex | SparseIndex
    queries: Any

    @property
    def n_terms(self) -> int:
        """Number of terms, or dimensions."""
        return self.index.n_terms if isinstance(self.index, InvertedIndex) else self.index.n_dimensions

    def lists(self) -> Lists:
        """Return all documents' terms."""
        return self.index.documents.some(np.arange(self.index.n_documents), self.n_terms)

    def merged(self, order: np.ndarray, directory: Path) -> InvertedIndex | SparseIndex:
        """Write and open the index of the documents in another order."""
        rows = np.arange(self.index.n_documents)
        if isinstance(self.index, InvertedIndex):
            merge_inverted([(self.index, rows)], order, directory)
            return InvertedIndex.open(directory)
        merge_sparse([(self.index, rows)], order, directory)
        return SparseIndex.open(directory)


def open_searcher(index: InvertedIndex | SparseIndex) -> BM25Searcher | SparseSearcher:
    """Return a searcher of one segment."""
    sequences = np.arange(index.n_documents)
    if isinstance(index, InvertedIndex):
        return BM25Searcher([LexicalSegment(index, None, sequences)], BM25Settings())
    return SparseSearcher([SparseSegment(index, None, sequences)])


def measure(collection: Reordered, ks: Sequence[int] = KS, repeats: int = 5) -> Outcome:
    """Merge one collection in every order, check that all find the same scores, and time them in turn.

    Args:
        collection: as it came.
        ks: numbers of results.
        repeats: measured rounds.

    Raises:
        ReproductionError: two orders find different scores.
    """
    lists = collection.lists()
    with tempfile.TemporaryDirectory() as temporary:
        found: dict[str, dict[str, Any]] = {}
        searchers = {}
        for number, (name, ordered) in enumerate(ORDERS.items()):
            ordered(Lists(np.zeros(2, np.int64), lists.members[:0], lists.frequencies[:0]), collection.n_terms)  # warm
            directory = Path(temporary) / str(number)
            directory.mkdir()
            began = time.perf_counter()
            order = ordered(lists, collection.n_terms)
            found[name] = {"seconds": time.perf_counter() - began}
            searchers[name] = open_searcher(collection.merged(order, directory))
            found[name]["bytes"] = directory_size(directory)
        for k in ks:
            _check(searchers, collection, k)
            for name, milliseconds in _timed(searchers, collection.queries, k, repeats).items():
                found[name][f"k={k}"] = milliseconds
    return _outcome(collection, found, ks, repeats)


def _check(searchers: Mapping[str, Any], collection: Reordered, k: int) -> None:
    expected: list[Hits] | None = None
    for name, searcher in searchers.items():
        hits = searcher.search_many(collection.queries, k)
        expected = expected or hits
        if any(not np.array_equal(one.scores, other.scores) for one, other in zip(hits, expected, strict=True)):
            raise ReproductionError(f"{collection.name!r} in the order {name!r} finds other scores, k = {k}")


def _timed(searchers: Mapping[str, Any], queries: Any, k: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return by order the milliseconds of a query, alone (the median of all) and in a batch, by this thread's clock."""
    one = (lambda n: [queries[n]]) if isinstance(queries, list) else (lambda n: queries.some(n, n + 1))
    calls = [one(number) for number in range(len(queries))]
    alone = {name: np.full(len(calls), np.inf) for name in searchers}
    batch = dict.fromkeys(searchers, float("inf"))
    for _ in range(repeats):
        for name, searcher in searchers.items():
            for number, query in enumerate(calls):
                alone[name][number] = min(alone[name][number], _seconds(searcher, query, k))
            batch[name] = min(batch[name], _seconds(searcher, queries, k))
    return {
        name: {"alone": float(np.median(alone[name])) * 1000, "batch": batch[name] / len(calls) * 1000}
        for name in searchers
    }


def _seconds(searcher: Any, queries: Any, k: int) -> float:
    began = time.thread_time()
    searcher.search_many(queries, k, threads=1)
    return time.thread_time() - began


def _outcome(collection: Reordered, found: Mapping[str, Any], ks: Sequence[int], repeats: int) -> Outcome:
    first = found[next(iter(ORDERS))]
    rows = []
    for name, row in found.items():
        cells = [name, f"{row['seconds']:.1f}", f"{row['bytes']:,}", f"{row['bytes'] / first['bytes']:.3f}"]
        for k in ks:
            now, before = row[f"k={k}"], first[f"k={k}"]
            cells += [f"{now[how]:.3f} ({before[how] / now[how]:.2f} x)" for how in ("alone", "batch")]
        rows.append(cells)
    columns = [*_COLUMNS, *(f"k = {k:,}, {how}" for k in ks for how in ("alone, ms", "in a batch, ms"))]
    n, n_queries = collection.index.n_documents, len(collection.queries)
    notes = [
        f"{n:,} documents in {-(-n // 65_536)} windows, one segment; {n_queries} queries on one core, {repeats} rounds "
        "in turn, the shortest by the clock of the thread: alone (median of the queries) and all in one call (mean); "
        "in brackets the first order's time / this one's",
        "bytes: all files of the inverted index, postings and documents' lists",
        "checked first: every order finds the same scores",
    ]
    return Outcome(f"Document reordering, {collection.name}", columns, rows, notes, {"orders": dict(found)})


def collections(data: Path, work: Path, names: Iterable[str] = COLLECTIONS, share: float = 1.0) -> Iterable[Reordered]:
    """Make collections one after the other.

    Args:
        data: folder of test collections; real texts that it does not have are passed over.
        work: where the indexes go; exists already.
        names: which, of `COLLECTIONS`.
        share: of the sizes of the synthetic ones.
    """
    for number, name in enumerate(names):
        if name not in COLLECTIONS:
            raise EvaluationError(f"unknown collection {name!r}: {', '.join(COLLECTIONS)}")
        directory = work / str(number)
        directory.mkdir()
        size = max(100, round(_SIZES.get(name, 0) * share))
        if name not in _TEXTS:
            documents, queries = _vectors(name, size)
            EngineIndex.build(directory, documents, VOCABULARY if name == "learned" else _CODE_DIMENSIONS)
            yield Reordered(name, SparseIndex.open(directory), queries)
        elif name not in REAL:
            yield _texts(name, short_texts(size, name, data), directory)
        elif (data / name).is_dir():
            yield _texts(name, text_collection(name, None, data).texts.texts, directory)


def _vectors(name: str, n: int) -> tuple[SparseVectors, SparseVectors]:
    if name == "learned":
        return learned_vectors(n, DOCUMENTS), learned_vectors(100, QUERIES, stream=1)
    clusters = max(1, n // _CODES_PER_CLUSTER) if name == "binary in clusters" else None
    documents, queries = (
        binary_vectors(size, _ACTIVE, _CODE_DIMENSIONS, clusters=clusters, stream=stream)
        for stream, size in enumerate((n, 100))
    )
    return documents, queries


def _texts(name: str, texts: list[str], directory: Path) -> Reordered:
    analyser, writer = default_analyser(), InvertedIndexWriter()
    numbers: dict[str, int] = {}
    for text in texts:
        writer.add([([numbers.setdefault(term, len(numbers)) for term in analyser.terms(text)], 1)])
    writer.write(directory, list(numbers))
    spans = query_spans(texts, 200, (5, 10), lambda text: bool(analyser.terms(text)))
    return Reordered(name, InvertedIndex.open(directory), [dict(Counter(analyser.terms(span))) for span in spans])


def measure_all(data: Path, names: Iterable[str] = COLLECTIONS, share: float = 1.0, repeats: int = 5) -> list[Outcome]:
    """Measure collections; see `collections` and `measure`."""
    with tempfile.TemporaryDirectory() as work:
        return [measure(each, repeats=repeats) for each in collections(data, Path(work), names, share)]


def main(
    *,
    data: Data = DATA,
    name: Annotated[list[str] | None, typer.Option(help="Collection; may be repeated.")] = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the synthetic sizes.")] = 1.0,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 5,
    json: Json = None,
) -> None:
    """Search collections whose documents are in several orders."""
    show_all(lambda: measure_all(data, name or COLLECTIONS, share, repeats), json)


if __name__ == "__main__":
    typer.run(main)
