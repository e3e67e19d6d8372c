"""Any function from texts to weights of dimensions as a sparse encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.encoders.base import check_texts
from retrieval.encoders.sparse import check_sparse
from retrieval.encoders.tokenization import word_spans
from retrieval.errors import EncoderError

if TYPE_CHECKING:
    from indexes.sparse_vectors import SparseVectors

SparseFunction = Callable[[list[str]], Iterable[Mapping[int, float]]]


class SparseFunctionEncoder:
    """Wraps a function of yours, such as a call to a service for learned sparse vectors.

    What the function does cannot be looked into, so its name and version stand for it: change the version whenever the
    same text would get another vector, and a collection built with the old one refuses the new one.

    Args:
        function: takes a list of texts, returns a mapping from dimension to weight for each.
        name: what it is called.
        version: of its model and of everything else that decides the vectors.
        n_dimensions: dimensions are numbers below.
        weighted: whether passages keep their weights; without, only which dimensions have a weight above 0 counts.
        largest_weight: see `SparseEncoder.largest_weight`.
        max_tokens: words and punctuation marks of a text that it reads; longer documents are split into passages. None
            when there is no limit, or when it deals with long texts itself.
        query_function: encodes queries, where they are encoded differently; by default `function` does.

    Raises:
        EncoderError: name or version is empty, or a number is out of its range.
    """

    def __init__(
        self,
        function: SparseFunction,
        name: str,
        version: str | int,
        *,
        n_dimensions: int,
        weighted: bool = True,
        largest_weight: float | None = None,
        max_tokens: int | None = None,
        query_function: SparseFunction | None = None,
    ) -> None:
        if not name or not str(version):
            raise EncoderError(f"a function encoder needs a name and a version, not {name!r} and {version!r}")
        if n_dimensions < 1 or (max_tokens is not None and max_tokens < 1):
            raise EncoderError(f"n_dimensions and max_tokens must be at least 1, not {n_dimensions} and {max_tokens}")
        self._function = function
        self._query_function = query_function or function
        self._name = name
        self._version = str(version)
        self._n_dimensions = n_dimensions
        self._weighted = weighted
        self._largest_weight = largest_weight
        self._max_tokens = max_tokens

    @property
    def n_dimensions(self) -> int:
        """Dimensions of a vector."""
        return self._n_dimensions

    @property
    def weighted(self) -> bool:
        """Whether passages have weights."""
        return self._weighted

    @property
    def largest_weight(self) -> float | None:
        """What the owner says."""
        return self._largest_weight

    @property
    def max_tokens(self) -> int | None:
        """Words and punctuation marks that are read; None where there is no limit."""
        return self._max_tokens

    @property
    def source(self) -> None:
        """A function cannot be loaded by name."""
        return

    def identity(self) -> dict[str, Any]:
        """Return name, version, dimensions, whether it is weighted, and limit."""
        return {
            "kind": "sparse function",
            "name": self._name,
            "version": self._version,
            "n_dimensions": self._n_dimensions,
            "weighted": self._weighted,
            "max_tokens": self._max_tokens,
        }

    def execution(self) -> dict[str, Any]:
        """Return that nothing is known of it."""
        return {"runtime": "function"}

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """Return the vectors of queries; their weights count even where passages have none."""
        return self._encode(self._query_function, check_texts(texts), weighted=True)

    def encode_passages(self, texts: Sequence[str]) -> SparseVectors:
        """Return the vectors of passages."""
        return self._encode(self._function, check_texts(texts), weighted=self._weighted)

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the words and punctuation marks of each text, (n,) int64."""
        return np.array([len(spans) for spans in self.token_spans(texts)], np.int64)

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return where the words and punctuation marks of each text stand, (words, 2) int64."""
        return [word_spans(text) for text in check_texts(texts)]

    def close(self) -> None:
        """Do nothing: the function belongs to its owner."""

    def _encode(self, function: SparseFunction, texts: list[str], *, weighted: bool) -> SparseVectors:
        from indexes.sparse_vectors import SparseVectors

        found = [sorted(mapping.items()) for mapping in (function(texts) if texts else ())]
        entries = [(dimension, weight) for mapping in found for dimension, weight in mapping]
        weights = np.array([weight for _, weight in entries], np.float32)
        dimensions = np.array([dimension for dimension, _ in entries], np.int32)
        offsets = np.cumsum([0, *map(len, found)], dtype=np.int64)
        kept = weights != 0  # negative ones and those that are no numbers are refused below
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[offsets]
        vectors = SparseVectors(offsets, dimensions[kept], weights[kept])
        check_sparse(vectors, len(texts), self._n_dimensions, repr(self._name), weighted=True)
        return vectors if weighted else SparseVectors(vectors.offsets, vectors.dimensions)
