"""An encoder around another one, to put something between the engine and a model; by itself it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from retrieval.encoders.base import settle, settle_precision
from retrieval.encoders.late_chunking import LateChunkingEncoder, late_chunking_encoder

if TYPE_CHECKING:
    import numpy as np

    from retrieval.encoders.base import Encoder, Similarity
    from retrieval.encoders.late_chunking import PooledPassages, TextInContext


class WrappedEncoder:
    """Answers everything as the encoder inside does; subclasses say what is different.

    Args:
        encoder: the one inside.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def inside(self) -> Encoder:
        """The encoder inside."""
        return self._encoder

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._encoder.dimension

    @property
    def similarity(self) -> Similarity:
        """What the model was trained to compare vectors by."""
        return self._encoder.similarity

    @property
    def max_tokens(self) -> int | None:
        """Tokens of a text that are read; None where there is no limit."""
        return self._encoder.max_tokens

    @property
    def source(self) -> str | None:
        """Name or path that the encoder inside is loaded from again."""
        return self._encoder.source

    def identity(self) -> dict[str, Any]:
        """Return the identity of the encoder inside: vectors are its own."""
        return self._encoder.identity()

    def execution(self) -> dict[str, Any]:
        """Return how the encoder inside computes vectors."""
        return self._encoder.execution()

    def load_library(self) -> None:
        """Let the encoder inside settle how it computes, see `encoders.base.settle`."""
        settle(self._encoder)

    def settle_precision(self) -> None:
        """Likewise its precision alone, see `encoders.base.settle_precision`."""
        settle_precision(self._encoder)

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of queries, (n, dimension) float32."""
        return self._encoder.encode_queries(texts)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of passages, (n, dimension) float32."""
        return self._encoder.encode_passages(texts)

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of each text as a passage, (n,) int64."""
        return self._encoder.count_tokens(texts)

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return where each token of each text stands in it, (tokens, 2) int64."""
        return self._encoder.token_spans(texts)

    def late_chunking_problem(self) -> str | None:
        """Say what keeps the encoder inside from late chunking; None when nothing does."""
        if isinstance(self._encoder, LateChunkingEncoder):
            return self._encoder.late_chunking_problem()
        return "it gives vectors of texts, not of their tokens"

    def encode_in_context(self, texts: Sequence[TextInContext]) -> Iterator[PooledPassages]:
        """Yield the wanted passages' vectors as the encoder inside pools them; see `LateChunkingEncoder`."""
        return late_chunking_encoder(self._encoder).encode_in_context(texts)

    def close(self) -> None:
        """Let go of the encoder inside."""
        self._encoder.close()
