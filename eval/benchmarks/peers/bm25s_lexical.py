"""bm25s: every score computed at indexing time into a matrix of terms by documents; searching adds up its columns.

Its numba backend is the fastest that it has. It gets the engine's terms, the same formula ("lucene") and parameters,
and the ids as an array of strings, from which it takes those of the results in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.benchmarks.peers.lexical import Texts, default_analyser, default_parameters


class Bm25s:
    """bm25s with numba; see `LexicalSide`."""

    name = "bm25s"

    def __init__(self, directory: Path, texts: Texts, threads: int) -> None:
        import bm25s

        self._index = bm25s.BM25.load(directory, load_corpus=False, show_progress=False, backend="numba")
        self._index.activate_numba_scorer()
        self._ids = np.array(texts.ids, object)
        self._threads = threads
        self._analyser = default_analyser()

    @classmethod
    def build(cls, directory: Path, texts: Texts) -> None:
        """Compute and save the score matrix."""
        import bm25s

        analyser, parameters = default_analyser(), default_parameters()
        index = bm25s.BM25(method="lucene", k1=parameters.k1, b=parameters.b)
        index.index([analyser.terms(text) for text in texts.texts], show_progress=False)
        index.save(directory, show_progress=False)

    def search(self, queries: Sequence[str], k: int) -> list[list[str]]:
        """Return the ids of the best k documents for each query; it fills up with documents that score 0."""
        found: list[list[str]] = self._retrieve(queries, k, self._threads).documents.tolist()
        return found

    def search_one(self, query: str, k: int) -> list[str]:
        """Return the ids of the best k documents."""
        found: list[str] = self._retrieve([query], k, 1).documents[0].tolist()
        return found

    def scores(self, queries: Sequence[str], k: int) -> list[np.ndarray]:
        """Return the best positive scores of each query."""
        rows = self._retrieve(queries, k, self._threads).scores.astype(np.float64)
        return [np.sort(row[row > 0])[::-1] for row in rows]

    def _retrieve(self, queries: Sequence[str], k: int, threads: int) -> Any:
        return self._index.retrieve(
            [self._analyser.terms(query) for query in queries],
            corpus=self._ids,
            k=min(k, len(self._ids)),
            n_threads=threads,
            show_progress=False,
        )
