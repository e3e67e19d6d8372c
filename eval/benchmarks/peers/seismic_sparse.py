"""Seismic: approximate search of learned sparse vectors by clustered, summarised lists (Bruch et al., 2024).

Indexed with its defaults; its two settings of a search, how many dimensions of the query count and how eagerly blocks
are passed over, give its curve of recall and time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eval.benchmarks.peers.sparse import Found, vector
from eval.benchmarks.sparse_vectors import SparseVectors

_POINTS = {
    "cut 3, factor 0.9": (3, 0.9),
    "cut 5, factor 0.9": (5, 0.9),
    "cut 8, factor 0.9": (8, 0.9),
    "cut 10, factor 0.8": (10, 0.8),
    "cut 20, factor 0.7": (20, 0.7),
    "cut 45, factor 0.5": (45, 0.5),
}


class _Prepared(NamedTuple):
    ids: np.ndarray
    dimensions: list[np.ndarray]
    weights: list[np.ndarray]


class Seismic:
    """Seismic with string ids; see `SparseSide`."""

    name = "seismic"
    exact = False
    points: Sequence[str] = tuple(_POINTS)

    def __init__(self, directory: Path, documents: SparseVectors, n_dimensions: int, threads: int) -> None:  # noqa: ARG002
        self._index = _module().SeismicIndex.load(str(directory / "index.index.seismic"))
        self._threads = threads

    @classmethod
    def build(cls, directory: Path, documents: SparseVectors, n_dimensions: int) -> None:
        """Index with the defaults and save."""
        library = _module()
        dataset = library.SeismicDataset(dim=n_dimensions)
        if documents.weights is None:
            raise ValueError("seismic is measured on weighted vectors only; give the documents weights")
        dataset.add_documents_by_id(
            [str(row) for row in range(len(documents))],
            documents.dimensions.astype(np.int64),
            documents.weights.astype(np.float32),
            np.asarray(documents.offsets),
        )
        library.SeismicIndex.build_from_dataset(dataset).save(str(directory / "index"))

    def prepare(self, queries: SparseVectors) -> Any:
        """Return ids, dimensions as strings and weights."""
        kind = _module().get_seismic_string()
        pairs = [vector(queries, number) for number in range(len(queries))]
        ids = np.array([str(number) for number in range(len(queries))], kind)
        return _Prepared(ids, [dimensions.astype(kind) for dimensions, _ in pairs], [weights for _, weights in pairs])

    def search(self, prepared: Any, k: int, point: str) -> Any:
        """Ask all queries as one batch."""
        cut, factor = _POINTS[point]
        return self._index.batch_search(
            prepared.ids,
            prepared.dimensions,
            prepared.weights,
            k=k,
            query_cut=cut,
            heap_factor=factor,
            num_threads=self._threads,
        )

    def found(self, answers: Any, prepared: Any) -> list[Found]:
        """Read the triples of query, score and document; the batch may answer in another order."""
        by_query = {hits[0][0]: hits for hits in answers if hits}
        ordered = [by_query.get(name, []) for name in prepared.ids.tolist()]
        return [
            Found(np.array([int(name) for *_, name in hits], np.int64), np.array([hit[1] for hit in hits], np.float64))
            for hits in ordered
        ]


def _module() -> Any:
    import seismic

    return seismic
