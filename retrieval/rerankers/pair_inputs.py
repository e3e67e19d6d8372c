"""From queries and documents to the tensors that a pointwise reranker reads: two ways, one interface.

`AssembledPairs` tokenises each text once and puts the inputs together itself; it serves every classifier with a fast
tokenizer that sets special tokens around two texts. `PreprocessedPairs` leaves a batch to the model's own `preprocess`
and serves every other `CrossEncoder`: chat templates, several modules.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.encoders.tokenization import FastTokenizer
from retrieval.errors import RerankerError
from retrieval.rerankers.sequences import Layout, Sequences

QUERY_TOKENS = 64
MAX_TOKENS = 512

_CHARACTERS_PER_TOKEN = 4


class PairInputs(Protocol):
    """How a model's input is made of a query and a document."""

    @property
    def query_tokens(self) -> int | None:
        """Tokens of a query that are read, with the special tokens around it; None where the model has no such rule."""

    @property
    def max_tokens(self) -> int | None:
        """Tokens of an input; None where there is no limit."""

    def prepare(self, queries: Sequence[str], documents: Sequence[str], pairs: np.ndarray) -> PreparedTexts:
        """Return the inputs of pairs, ready to be taken in batches.

        Args:
            queries: distinct ones.
            documents: distinct ones.
            pairs: (n, 2) int64, a query and a document each.
        """

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the character start and end of each token of each document, (tokens, 2) int64, nothing cut.

        Raises:
            RerankerError: that is not known.
        """


class AssembledPairs:
    """Tokenises each text once; documents are cut to what the query leaves.

    The released monoBERT code reads 64 tokens of a query, its [CLS] and its [SEP] among them, and 512 tokens in all
    (arXiv 1910.14424, section 3.2).

    Args:
        tokenizer: of transformers, a fast one.
        max_tokens: of an input, special tokens included.
        query_tokens: of a query that are read, the special tokens before and behind it included; by default 64, at most
            half of `max_tokens`.
        prompt: put before each query.
        has_segments: whether the model reads segments; its tokenizer must make them as well.

    Attributes:
        pad_id: the token that stands where no token is.

    Raises:
        UnknownTokenizerError: the tokenizer cannot be used outside of its library.
        RerankerError: no room is left for documents or for queries.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        max_tokens: int,
        query_tokens: int | None = None,
        prompt: str = "",
        has_segments: bool = True,
    ) -> None:
        self._layout = Layout.of_pairs(tokenizer)
        self._tokenizer = FastTokenizer(tokenizer.backend_tokenizer)
        self.pad_id: int = tokenizer.pad_token_id or 0
        self._pads_left = tokenizer.padding_side == "left"
        self._has_segments = has_segments and "token_type_ids" in tokenizer.model_input_names
        self._prompt = prompt
        around = len(self._layout.special[0]) + len(self._layout.special[1])
        query_tokens = min(QUERY_TOKENS, max_tokens // 2) if query_tokens is None else query_tokens
        self._query_pieces = query_tokens - around
        room = max_tokens - query_tokens - len(self._layout.special[2])
        if self._query_pieces < 1 or room < 1:
            raise RerankerError(
                f"query_tokens is {query_tokens} of max_tokens {max_tokens}, which leaves {self._query_pieces} for the "
                f"query itself and {room} for the document: both need at least 1"
            )
        self.query_tokens: int | None = query_tokens
        self.max_tokens: int | None = max_tokens

    def prepare(self, queries: Sequence[str], documents: Sequence[str], pairs: np.ndarray) -> PreparedTexts:
        """Tokenise queries and documents, and plan what each pair keeps of them."""
        assert self.max_tokens is not None
        limit = self.max_tokens - self._layout.n_special
        of_queries = self._tokenizer.pieces(queries, self._prompt, self._query_pieces)
        of_documents = self._tokenizer.pieces(documents, max_tokens=limit)
        pieces = [*of_queries, *of_documents]
        lengths = np.array([len(text) for text in pieces], np.int64)
        texts = pairs + np.array([0, len(queries)])  # (n, 2)
        kept = lengths[texts]  # (n, 2)
        kept[:, 1] = np.minimum(kept[:, 1], limit - kept[:, 0])
        made = Sequences(self._layout, pieces, texts, kept, self.pad_id, self._pads_left, self._has_segments)
        # Positions of a text that is padded on the left would be others without the padding.
        return PreparedTexts(made.lengths, made.features, None if self._pads_left else made.tokens)

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return where the tokens of documents stand."""
        return self._tokenizer.spans(texts)


class PreprocessedPairs:
    """Leaves tokens, cutting and padding to a `CrossEncoder`.

    Args:
        model: a `CrossEncoder`.
        prompt: put before each query.
    """

    def __init__(self, model: Any, prompt: str = "") -> None:
        self._model = model
        self._prompt = prompt
        # Preprocessing switches the tokenizer's state; threads take turns.
        self._turn = threading.Lock()
        self.query_tokens: int | None = None
        self.max_tokens: int | None = model.max_seq_length

    def prepare(self, queries: Sequence[str], documents: Sequence[str], pairs: np.ndarray) -> PreparedTexts:
        """Estimate the lengths from the characters."""
        characters = np.array([len(text) for text in queries], np.int64)[pairs[:, 0]]
        characters = characters + np.array([len(text) for text in documents], np.int64)[pairs[:, 1]]
        lengths = np.minimum(characters // _CHARACTERS_PER_TOKEN + 1, self.max_tokens or np.iinfo(np.int64).max)

        def features(rows: np.ndarray) -> dict[str, Any]:
            texts = [(queries[query], documents[document]) for query, document in pairs[rows].tolist()]
            with self._turn:
                return dict(self._model.preprocess(texts, prompt=self._prompt or None))

        return PreparedTexts(lengths, features)

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:  # noqa: ARG002
        """Refuse: the tokens are the model's own affair.

        Raises:
            RerankerError: always.
        """
        raise RerankerError("the model makes its input itself, and does not say where tokens stand: cut by words")
