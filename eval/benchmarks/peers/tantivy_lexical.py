"""tantivy: a search engine library in Rust with block-max pruning, through its Python package.

It gets the engine's terms (joined by spaces, split at spaces) and stores term frequencies without positions. Its BM25
has the same formula, times k1 + 1, with k1 = 1.2 and b = 0.75, but rounds the lengths of documents to a byte: scores
and, near ties, ranks differ, so that a ratio of times is not one of equal results. Ids come from a column of row
numbers, its cheapest way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from eval.benchmarks.peers.lexical import Texts, default_analyser

_HEAP = 1_000_000_000  # bytes: as much as one thread takes, for as few segments as possible


class Tantivy:
    """tantivy over the same terms; see `LexicalSide`."""

    name = "tantivy"

    def __init__(self, directory: Path, texts: Texts, threads: int) -> None:
        self._index = _registered(_module().Index.open(str(directory)))
        self._searcher = self._index.searcher()
        self._schema = self._index.schema
        self._ids = texts.ids
        self._analyser = default_analyser()
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    @classmethod
    def build(cls, directory: Path, texts: Texts) -> None:
        """Index the terms with one thread and wait for its merges."""
        analyser = default_analyser()
        terms = (" ".join(analyser.terms(text)) for text in texts.texts)
        write_index(directory, terms, "terms", threads=1, heap=_HEAP)

    @property
    def n_segments(self) -> int:
        """Segments of the opened index."""
        return int(self._searcher.num_segments)

    def search(self, queries: Sequence[str], k: int) -> list[list[str]]:
        """Return the ids of the best k documents for each query."""
        if self._pool is None:
            return [self.search_one(query, k) for query in queries]
        return list(self._pool.map(lambda query: self.search_one(query, k), queries))

    def search_one(self, query: str, k: int) -> list[str]:
        """Return the ids of the best k documents."""
        addresses = [address for _, address in self._hits(query, k)]
        return [self._ids[row] for row in self._searcher.fast_field_values("row", addresses)]

    def scores(self, queries: Sequence[str], k: int) -> list[np.ndarray]:
        """Return its own best scores of each query."""
        return [np.array([score for score, _ in self._hits(query, k)], np.float64) for query in queries]

    def _hits(self, query: str, k: int) -> list[tuple[float, Any]]:
        library = _module()
        clauses = [
            (library.Occur.Should, library.Query.term_query(self._schema, "text", term, "freq"))
            for term in self._analyser.terms(query)
        ]
        found: list[tuple[float, Any]] = self._searcher.search(
            library.Query.boolean_query(clauses), k, count=False
        ).hits
        return found


def write_index(
    directory: Path, texts: Iterable[str], tokenizer: str, *, threads: int = 0, heap: int = 128_000_000
) -> int:
    """Index texts with their row numbers.

    Args:
        directory: exists and is empty.
        texts: one string for each document.
        tokenizer: "terms" splits at spaces; "en_stem" is tantivy's own for English.
        threads: of the writer; 0 lets it choose, and more than one makes more segments.
        heap: bytes that the writer fills before it writes a segment; its default.

    Returns:
        How many segments it has become.
    """
    library = _module()
    builder = library.SchemaBuilder()
    builder.add_text_field("text", stored=False, tokenizer_name=tokenizer, index_option="freq")
    builder.add_unsigned_field("row", stored=False, indexed=False, fast=True)
    index = _registered(library.Index(builder.build(), path=str(directory)))
    writer = index.writer(heap_size=heap, num_threads=threads)
    for row, text in enumerate(texts):
        document = library.Document()
        document.add_text("text", text)
        document.add_unsigned("row", row)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    return int(index.searcher().num_segments)


def _registered(index: Any) -> Any:
    library = _module()
    index.register_tokenizer("terms", library.TextAnalyzerBuilder(library.Tokenizer.whitespace()).build())
    return index


def _module() -> Any:
    import tantivy

    return tantivy
