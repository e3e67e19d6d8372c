"""What the engine asks of a sparse encoder: texts to few of very many dimensions, with weights or without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from retrieval.errors import EncoderError

if TYPE_CHECKING:
    from indexes.sparse_vectors import SparseVectors


@runtime_checkable
class SparseEncoder(Protocol):
    """Texts to sparse vectors; write a class with these members to plug in a model of your own.

    Vectors come as `SparseVectors`: offsets, ascending dimensions and weights of all texts in flat arrays. `encode_*`
    may be called from several threads at once. The same text gets the same vector in any company, up to rounding.
    """

    @property
    def n_dimensions(self) -> int:
        """Dimensions of a vector; those that occur are numbers below."""

    @property
    def weighted(self) -> bool:
        """Whether passages have weights; without, a score counts the dimensions that a query and a passage share."""

    @property
    def largest_weight(self) -> float | None:
        """The weight of a passage that an index of 8 bits should take for the largest; None where nobody knows."""

    @property
    def max_tokens(self) -> int | None:
        """Tokens of a text that are read, prompt and special tokens included; None where there is no limit."""

    @property
    def source(self) -> str | None:
        """Name or path that `load_sparse_encoder` loads it from again; None when only its owner can provide it."""

    def identity(self) -> dict[str, Any]:
        """Return what decides the vectors, as JSON values: weights, tokenizer, modules, prompts, lengths and so on."""

    def execution(self) -> dict[str, Any]:
        """Return how vectors are computed, as JSON values: precision, runtime, device, versions."""

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """Return the vectors of queries, in the order of the texts; weights may be None where all are 1."""

    def encode_passages(self, texts: Sequence[str]) -> SparseVectors:
        """Return the vectors of passages, in the order of the texts; weights None exactly where it is not weighted."""

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of each text as a passage, (n,) int64: prompt and special tokens included, nothing cut."""

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return where each token of each text stands in it, (tokens, 2) int64 of character start and end.

        Without prompt and special tokens; starts never descend.
        """

    def close(self) -> None:
        """Let go of the model."""


def check_sparse(vectors: Any, n_texts: int, n_dimensions: int, name: str, *, weighted: bool | None) -> SparseVectors:
    """Return what a sparse encoder produced, after looking at it.

    Args:
        vectors: what it produced.
        n_texts: texts it was given.
        n_dimensions: dimensions must be below.
        name: the encoder's, for the message.
        weighted: whether there must be weights; None allows both.

    Raises:
        EncoderError: they are not sparse vectors in order, with finite weights of at least 0, one for each text.
    """
    from indexes.errors import VectorError
    from indexes.sparse_vectors import SparseVectors

    if not isinstance(vectors, SparseVectors):
        raise EncoderError(f"encoder {name} returned {type(vectors).__name__}, not sparse vectors")
    try:
        vectors.checked()
    except VectorError as error:
        raise EncoderError(f"encoder {name} returned vectors that are not in order: {error}") from None
    if len(vectors) != n_texts:
        raise EncoderError(f"encoder {name} returned {len(vectors):,} vectors for {n_texts:,} texts")
    largest = int(vectors.dimensions.max(initial=-1))
    if largest >= n_dimensions:
        raise EncoderError(f"encoder {name} returned dimension {largest:,}, it has {n_dimensions:,}")
    if weighted is not None and weighted != (vectors.weights is not None):
        raise EncoderError(
            f"encoder {name} returned vectors {'without' if weighted else 'with'} weights, against what it says"
        )
    return vectors
