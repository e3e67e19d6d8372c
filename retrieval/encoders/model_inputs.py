"""From texts to the tensors that a sentence-transformers model reads: two ways, one interface.

`TokenizedInputs` tokenises all texts at once and pads each batch itself; it serves models whose input is a transformer
with a fast tokenizer and plain text, which are nearly all. `PreprocessedInputs` leaves a batch to the model's own
`preprocess` and serves everything else: static embeddings, routers with one model for queries and one for documents,
chat templates.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from retrieval.encoders.tokenization import PROBES, FastTokenizer, UnknownTokenizerError, fast_tokenizer, word_spans
from retrieval.errors import EncoderError
from retrieval.execution.runtime import Task, TokenBatch

__all__ = ["ModelInputs", "PreparedTexts", "PreprocessedInputs", "Task", "TokenizedInputs", "inputs_of"]

_CHARACTERS_PER_TOKEN = 4


class PreparedTexts(NamedTuple):
    """Texts on their way into the model.

    Attributes:
        lengths: (n,) tokens of each.
        features: returns the model's input for some rows, padded.
        tokens: returns the token ids of some rows; None where only the library makes them.
    """

    lengths: np.ndarray
    features: Callable[[np.ndarray], dict[str, Any]]
    tokens: Callable[[np.ndarray], TokenBatch] | None = None


class ModelInputs(Protocol):
    """How a model's input is made."""

    def prepare(self, texts: Sequence[str], prompt: str, task: Task) -> PreparedTexts:
        """Return the texts with their lengths, ready to be taken in batches."""

    def count(self, texts: Sequence[str], prompt: str, task: Task) -> np.ndarray:
        """Return the tokens of each text, prompt and special tokens included, nothing cut, (n,) int64."""

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the character start and end of each token of each text, (tokens, 2) int64."""


class TokenizedInputs:
    """Tokenises once, pads to the longest of a batch.

    Padding is on the right whatever the tokenizer says: learned positions then start at the text, so that its vector is
    the same in any company, and nothing behind a token reaches it in a causal network. A text without any token, not
    even a special one, is read as the token that begins texts, else the one that ends them.

    Args:
        model: a `SentenceTransformer` for which `is_plain_transformer` holds.
        max_tokens: longer texts are cut.

    Attributes:
        pad_id: the token that stands where no token is.
        tokens: see `FastTokenizer.tokens`.
        n_special: special tokens around a text.
        n_before: those of them before it.

    Raises:
        UnknownTokenizerError: the tokenizer cannot be used outside of its library.
        EncoderError: `max_tokens` leaves no room for text.
    """

    def __init__(self, model: Any, max_tokens: int | None) -> None:
        tokenizer = model.tokenizer
        self._max_tokens = max_tokens
        self.pad_id: int = tokenizer.pad_token_id or 0
        own = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
        self._nothing = np.array([next(token for token in own if token is not None)], np.int32)
        self._segments = "token_type_ids" in tokenizer.model_input_names
        self._special_ids = frozenset(tokenizer.all_special_ids)
        self._tokenizer = FastTokenizer(tokenizer.backend_tokenizer, tokenizer.truncation_side)
        if max_tokens is not None and max_tokens <= self._tokenizer.n_special:
            raise EncoderError(f"max_tokens is {max_tokens}, but special tokens alone take {self._tokenizer.n_special}")
        self._check_against(tokenizer)
        self.spans = self._tokenizer.spans
        self.tokens = self._tokenizer.tokens
        self.n_special = self._tokenizer.n_special
        self.n_before = self._tokenizer.n_before

    def prepare(self, texts: Sequence[str], prompt: str, task: Task) -> PreparedTexts:
        """Tokenise the texts; queries and documents differ by their prompt only."""
        ids = [found if len(found) else self._nothing for found in self._tokenizer.ids(texts, prompt, self._max_tokens)]
        prompt_length = self.prompt_length(prompt) if prompt else None
        lengths = np.array([len(sequence) for sequence in ids], np.int64)

        def features(rows: np.ndarray) -> dict[str, Any]:
            padded = self.padded([ids[row] for row in rows.tolist()])
            return padded if prompt_length is None else {**padded, "prompt_length": prompt_length}

        def tokens(rows: np.ndarray) -> TokenBatch:
            packed = np.concatenate([ids[row] for row in rows.tolist()]).astype(np.int64)
            segments = np.zeros_like(packed) if self._segments else None
            return TokenBatch(packed, lengths[rows], segments, prompt_length or 0, task)

        return PreparedTexts(lengths, features, tokens)

    def count(self, texts: Sequence[str], prompt: str, task: Task) -> np.ndarray:  # noqa: ARG002
        """Count the tokens of each text."""
        return self._tokenizer.count(texts, prompt)

    def prompt_length(self, prompt: str) -> int:
        """Return how many of the first positions belong to a prompt, special tokens before it included."""
        return self._tokenizer.prompt_length(prompt, self._special_ids)

    def sequence(self, ids: np.ndarray) -> np.ndarray:
        """Return token ids with the special tokens around them, (tokens,) int32, never none."""
        surrounded = self._tokenizer.surrounded(ids)
        return surrounded if len(surrounded) else self._nothing

    def padded(self, sequences: Sequence[np.ndarray]) -> dict[str, Any]:
        """Return the model's input for token ids, special tokens included, each (tokens,) int32."""
        import torch

        width = max(map(len, sequences))
        ids = np.full((len(sequences), width), self.pad_id, np.int64)  # (batch, width)
        mask = np.zeros((len(sequences), width), np.int64)  # (batch, width)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "modality": "text"}
        if self._segments:
            features["token_type_ids"] = torch.zeros(ids.shape, dtype=torch.int64)
        return features

    def _check_against(self, tokenizer: Any) -> None:
        """Compare with the library's own path on texts where tokenizers differ, uncut and cut."""
        for limit in (None, min(self._max_tokens or 16, 16)):
            cutting = {"truncation": True, "max_length": limit} if limit else {"truncation": False}
            expected = tokenizer(list(PROBES), padding=False, return_token_type_ids=True, verbose=False, **cutting)
            found = [ids.tolist() for ids in self._tokenizer.ids(PROBES, max_tokens=limit)]
            if found != expected["input_ids"] or any(map(any, expected["token_type_ids"])):
                raise UnknownTokenizerError("this tokenizer cannot be used outside of its library")


class PreprocessedInputs:
    """Leaves tokens and padding to the model.

    Args:
        model: any `SentenceTransformer` that reads text.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        # Preprocessing switches the tokenizer's state; threads take turns.
        self._turn = threading.Lock()
        self._tokenizer = fast_tokenizer(model)
        self._overheads: dict[tuple[str, Task], int] = {}

    def prepare(self, texts: Sequence[str], prompt: str, task: Task) -> PreparedTexts:
        """Estimate the lengths from the characters."""
        lengths = np.array([len(text) // _CHARACTERS_PER_TOKEN + 1 for text in texts], np.int64)

        def features(rows: np.ndarray) -> dict[str, Any]:
            return self._preprocess([texts[row] for row in rows.tolist()], prompt, task)

        return PreparedTexts(lengths, features)

    def count(self, texts: Sequence[str], prompt: str, task: Task) -> np.ndarray:
        """Count the text's own tokens and add what prompt, template and special tokens take."""
        if self._tokenizer is None:
            return np.array([len(word_spans(prompt + text)) for text in texts], np.int64)
        key = (prompt, task)
        if key not in self._overheads:
            self._overheads[key] = self._overhead(self._tokenizer, prompt, task)
        return self._tokenizer.count(texts) - self._tokenizer.n_special + self._overheads[key]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Find the tokens of each text; words where the model has no fast tokenizer."""
        return [word_spans(text) for text in texts] if self._tokenizer is None else self._tokenizer.spans(texts)

    def _overhead(self, tokenizer: FastTokenizer, prompt: str, task: Task) -> int:
        ids = self._preprocess(["a"], prompt, task).get("input_ids")
        alone = int(tokenizer.count(["a"])[0]) - tokenizer.n_special
        return tokenizer.n_special if ids is None else int(ids.shape[-1]) - alone

    def _preprocess(self, texts: list[str], prompt: str, task: Task) -> dict[str, Any]:
        with self._turn:
            return dict(self._model.preprocess(texts, prompt=prompt or None, task=task))


def is_plain_transformer(model: Any) -> bool:
    """Tell whether a model reads plain text through one transformer with a fast tokenizer, queries like documents."""
    from sentence_transformers.base.modules import Transformer

    first = model[0]
    if type(first) is not Transformer or first.backend != "torch" or "task" in _arguments_of_first(model):
        return False
    modalities = first.modality_config
    plain = modalities.get("text", {}).get("method") == "forward" and "message" not in modalities
    unmodified = not (first.processing_kwargs or first.query_length or first.document_length or first.query_expansion)
    tokenizer = first.tokenizer
    return plain and unmodified and tokenizer is not None and bool(getattr(tokenizer, "is_fast", False))


def _arguments_of_first(model: Any) -> set[str]:
    """Return what the first module is called with beside its features; what later ones get does not touch the input."""
    name, first = next(model.named_children())
    return {*first.forward_kwargs, *(model.module_kwargs or {}).get(name, ())}


def inputs_of(model: Any, max_tokens: int | None) -> ModelInputs:
    """Return the fastest way to feed a model that gives the same vectors as its own `encode`."""
    if is_plain_transformer(model):
        try:
            return TokenizedInputs(model, max_tokens)
        except UnknownTokenizerError:
            pass
    return PreprocessedInputs(model)
