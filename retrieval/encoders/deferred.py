"""An encoder that begins without its library: a few texts go through NumPy, more of them load PyTorch first.

What a search from a fresh process needs is one short text's vector. Importing the library for it takes seconds; a small
network over a dozen tokens takes milliseconds in NumPy. Whatever is more than that (an index that is built, a text
pooled by passages) loads the library, once, and goes on with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Literal, cast

import numpy as np

from retrieval.encoders.base import Similarity, check_texts, check_vectors
from retrieval.encoders.known_folders import KnownModel
from retrieval.encoders.known_tokenizers import KnownTokenizer
from retrieval.encoders.late_chunking import PooledPassages, TextInContext
from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder
from retrieval.errors import EncoderError
from retrieval.execution.runtime import Runtime, Task, TokenBatch

FEW_OPERATIONS = 2e9
"""Additions and multiplications of a query or two, which go through NumPy until the library is loaded anyway."""

OPERATIONS = 3e10
"""Likewise, of larger requests together, before the library is loaded: NumPy needs as long for them as loading does."""


class DeferredEncoder:
    """A model that is known from its folder; see `known_folders`.

    Its identity is that of the same model in `SentenceTransformerEncoder`, and its vectors differ from that one's by at
    most 1e-5 in each component of a vector of length one.

    Args:
        model: the network and its settings.
        tokenizer: of the model.
        runtime: runs a few texts at once.
        digests: of weights and tokenizer.
        load: loads the same model with its library.
        source: see `Encoder.source`.
        prompts: "query" and "document" prompts instead of the model's own.
        max_tokens: tokens of a text that are read; at most as many as the model has positions for.
        truncate_dim: components of a vector that are kept, at most the model's dimension; None for all.
        precision: that the library computes in; None is the file's, which is fp32.
        device: that it computes on; None is a GPU when there is one.
    """

    def __init__(
        self,
        model: KnownModel,
        tokenizer: KnownTokenizer,
        runtime: Runtime,
        digests: dict[str, str],
        load: Callable[[], SentenceTransformerEncoder],
        *,
        source: str,
        prompts: dict[str, str] | None = None,
        max_tokens: int | None = None,
        truncate_dim: int | None = None,
        precision: Literal["fp32", "auto"] | None = "auto",
        device: str | None = None,
    ) -> None:
        self._model = model
        self._precision = precision
        self._device = device
        self._tokens = tokenizer.tokens
        self._runtime: Runtime | None = runtime
        self._load = load
        self._loaded: SentenceTransformerEncoder | None = None
        self._turn = threading.Lock()
        self._source = source
        self._dimension = truncate_dim or model.dimension
        self._max_tokens = max_tokens or model.max_tokens
        self._prompts: dict[Task, str] = {
            "query": (prompts or {}).get("query", model.query_prompt),
            "document": (prompts or {}).get("document", model.passage_prompt),
        }
        self._spent = 0.0
        self._identity = {
            "kind": "sentence-transformers",
            "weights": digests["weights"],
            "tokenizer": digests["tokenizer"],
            "modules": model.modules,
            "query_prompt": self._prompts["query"],
            "passage_prompt": self._prompts["document"],
            "max_tokens": self._max_tokens,
            "dimension": self._dimension,
            "similarity": model.similarity,
        }

    @property
    def dimension(self) -> int:
        """Length of a vector, after truncation."""
        return self._dimension

    @property
    def similarity(self) -> Similarity:
        """What the model says its vectors are compared by."""
        return cast(Similarity, self._model.similarity)

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that are read."""
        return self._max_tokens

    @property
    def source(self) -> str:
        """Name or path."""
        return self._source

    def identity(self) -> dict[str, Any]:
        """Return what decides the vectors, the same as with the library."""
        return dict(self._identity)

    def execution(self) -> dict[str, Any]:
        """Return how more than a few texts are computed: by the library where it is loaded, in NumPy before."""
        return self._open().execution() if self._loaded is None else self._loaded.execution()

    def load_library(self) -> None:
        """Load the library now, so that `execution` stays as it is from here on."""
        self._with_library()

    def settle_precision(self) -> None:
        """Load the library now where it computes in another precision than NumPy's fp32."""
        if self._precision == "auto" and self._loaded is None:
            from retrieval.execution.precision import chosen_precision, may_differ_from_fp32

            if may_differ_from_fp32(self._device) and chosen_precision(self._device) != "fp32":
                self._with_library()

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of queries, (n, dimension) float32."""
        return self._encode(check_texts(texts), "query")

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of passages, (n, dimension) float32; what is beyond `max_tokens` is not read."""
        return self._encode(check_texts(texts), "document")

    def encode_stream(self, steps: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """Yield the vectors of the passages of each step; from the first one that is no small one on by the library."""
        coming = iter(steps)
        for step in coming:
            vectors = self._encode_few(check_texts(step), "document")
            if vectors is None:
                yield from self._with_library().encode_stream(chain([step], coming))
                return
            yield vectors

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens of each text as a passage, nothing cut, (n,) int64."""
        return self._tokens.count(check_texts(texts), self._prompts["document"])

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the character start and end of each token, (tokens, 2) int64 for each text."""
        return self._tokens.spans(check_texts(texts))

    def late_chunking_problem(self) -> str | None:
        """Say what keeps the model from late chunking; see `SentenceTransformerEncoder`. Loads the library."""
        return self._with_library().late_chunking_problem()

    def encode_in_context(self, texts: Sequence[TextInContext]) -> Iterator[PooledPassages]:
        """Yield the vectors of wanted passages; see `SentenceTransformerEncoder`. Loads the library."""
        return self._with_library().encode_in_context(texts)

    def close(self) -> None:
        """Let go of the model; the encoder cannot be used afterwards."""
        with self._turn:
            runtime, loaded, self._runtime = self._runtime, self._loaded, None
        for part in (runtime, loaded):
            if part is not None:
                part.close()

    def _encode(self, texts: list[str], task: Task) -> np.ndarray:
        vectors = self._encode_few(texts, task)
        if vectors is not None:
            return vectors
        encoder = self._with_library()
        return encoder.encode_queries(texts) if task == "query" else encoder.encode_passages(texts)

    def _encode_few(self, texts: list[str], task: Task) -> np.ndarray | None:
        """Return vectors, (n, dimension) float32, where the texts are few enough for NumPy; else None."""
        runtime = self._open()
        if self._loaded is not None:  # faster for any texts; NumPy spares the loading
            return None
        self._check_files()
        numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}  # equal texts get the same bits
        if not numbers:
            return np.empty((0, self._dimension), np.float32)
        ids = self._tokens.ids(list(numbers), self._prompts[task], self._max_tokens)
        lengths = np.array([len(sequence) for sequence in ids], np.int64)
        if not self._is_little(int(lengths.sum())):
            return None
        found = runtime.run(TokenBatch(np.concatenate(ids).astype(np.int64), lengths, task=task))
        vectors = check_vectors(found[:, : self._dimension], len(numbers), self._dimension, repr(self._source))
        return vectors if len(numbers) == len(texts) else vectors[[numbers[text] for text in texts]]

    def _is_little(self, tokens: int) -> bool:
        """Tell whether NumPy is to read so many tokens, and keep account of them."""
        operations = tokens * self._model.shape.operations_per_token
        if operations <= FEW_OPERATIONS:
            return True
        with self._turn:
            self._spent += operations
            return self._spent <= OPERATIONS

    def _check_files(self) -> None:
        """Refuse mapped weights that are others by now.

        Raises:
            EncoderError: a file was written over.
        """
        if any(file.is_overwritten() for file in self._model.files):
            raise EncoderError(f"model {self._source!r} has changed on the disk since it was opened; open it again")

    def _open(self) -> Runtime:
        if self._runtime is None:
            raise EncoderError(f"encoder {self._source!r} is closed; load it again")
        return self._runtime

    def _with_library(self) -> SentenceTransformerEncoder:
        with self._turn:
            self._open()
            if self._loaded is None:
                loaded = self._load()
                if loaded.identity() != self._identity:
                    loaded.close()
                    raise EncoderError(
                        f"model {self._source!r} has changed on the disk since it was opened; open it again"
                    )
                self._loaded = loaded
            return self._loaded
