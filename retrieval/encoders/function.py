"""Any function from texts to an array as an encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrieval.encoders.base import Similarity, check_texts, check_vectors
from retrieval.encoders.tokenization import word_spans
from retrieval.errors import EncoderError

TextFunction = Callable[[list[str]], Any]


class FunctionEncoder:
    """Wraps a function of yours, such as a call to an embedding service.

    What the function does cannot be looked into, so its name and version stand for it: change the version whenever the
    same text would get another vector, and a collection built with the old one refuses the new one.

    Args:
        function: takes a list of texts, returns an array of shape (n, dimension), rows in the order of the texts.
        name: what it is called.
        version: of its model and of everything else that decides the vectors.
        dimension: length of a vector; by default found by encoding one text.
        similarity: what its vectors are compared by.
        max_tokens: words and punctuation marks of a text that it reads; longer documents are split into passages. None
            when there is no limit, or when it deals with long texts itself.
        query_function: encodes queries, where they are encoded differently; by default `function` does.

    Raises:
        EncoderError: name or version is empty, or the function returns something else than described.
    """

    def __init__(
        self,
        function: TextFunction,
        name: str,
        version: str | int,
        *,
        dimension: int | None = None,
        similarity: Similarity = "cosine",
        max_tokens: int | None = None,
        query_function: TextFunction | None = None,
    ) -> None:
        if not name or not str(version):
            raise EncoderError(f"a function encoder needs a name and a version, not {name!r} and {version!r}")
        if similarity not in ("cosine", "dot"):
            raise EncoderError(f"unknown similarity {similarity!r}: 'cosine' or 'dot'")
        if max_tokens is not None and max_tokens < 1:
            raise EncoderError(f"max_tokens must be at least 1, not {max_tokens}")
        self._function = function
        self._query_function = query_function or function
        self._name = name
        self._version = str(version)
        self._similarity = similarity
        self._max_tokens = max_tokens
        self._dimension = dimension or check_vectors(function(["dimension"]), 1, None, repr(name)).shape[1]

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def similarity(self) -> Similarity:
        """What the vectors are compared by."""
        return self._similarity

    @property
    def max_tokens(self) -> int | None:
        """Words and punctuation marks that are read; None where there is no limit."""
        return self._max_tokens

    @property
    def source(self) -> None:
        """A function cannot be loaded by name."""
        return

    def identity(self) -> dict[str, Any]:
        """Return name, version, dimension, similarity and limit."""
        return {
            "kind": "function",
            "name": self._name,
            "version": self._version,
            "dimension": self._dimension,
            "similarity": self._similarity,
            "max_tokens": self._max_tokens,
        }

    def execution(self) -> dict[str, Any]:
        """Return that nothing is known of it."""
        return {"runtime": "function"}

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of queries, (n, dimension) float32."""
        return self._encode(self._query_function, check_texts(texts))

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of passages, (n, dimension) float32."""
        return self._encode(self._function, check_texts(texts))

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the words and punctuation marks of each text, (n,) int64."""
        return np.array([len(spans) for spans in self.token_spans(texts)], np.int64)

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return where the words and punctuation marks of each text stand, (words, 2) int64."""
        return [word_spans(text) for text in check_texts(texts)]

    def close(self) -> None:
        """Do nothing: the function belongs to its owner."""

    def _encode(self, function: TextFunction, texts: list[str]) -> np.ndarray:
        if not texts:
            return np.empty((0, self._dimension), np.float32)
        return check_vectors(function(texts), len(texts), self._dimension, repr(self._name))
