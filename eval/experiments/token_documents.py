"""Documents of an exact number of tokens, and their vectors: the whole document at once, or the mean of its windows.

Both vectors are means over the same tokens, so that what a long text dilutes is diluted in both. They differ in what
the encoder sees at once: a window is as long as the texts that it was trained on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_TOKENS_AT_ONCE = 2048  # of short texts in a batch


@dataclass(frozen=True)
class NeedleDocument:
    """A passage at some place of a longer text.

    Attributes:
        needle: its tokens.
        place: how many tokens of the text stand before it.
    """

    needle: list[int]
    place: int

    def tokens(self, text: Sequence[int], length: int) -> list[int]:
        """Return the document's tokens, as many as asked for or those of the needle alone.

        Args:
            text: tokens, at least `length`.
            length: tokens in all.
        """
        rest = list(text[: max(length - len(self.needle), 0)])
        return [*rest[: self.place], *self.needle, *rest[self.place :]]


def needle_documents(
    needles: Sequence[list[int]], length: int, window: int, random: np.random.Generator
) -> list[NeedleDocument]:
    """Put each needle at a random place of a text of `length` tokens, between two windows of it.

    Args:
        needles: tokens of each.
        length: tokens of a document.
        window: tokens of a window.
        random: of the places.
    """
    places = [int(random.integers(0, max(length - len(needle), 0) // window + 1)) * window for needle in needles]
    return [NeedleDocument(needle, place) for needle, place in zip(needles, places, strict=True)]


def windows_of(tokens: Sequence[int], window: int) -> list[list[int]]:
    """Cut tokens into windows, the last one shorter."""
    return [list(tokens[start : start + window]) for start in range(0, len(tokens), window)]


class TokenEncoder:
    """A sentence-transformers model over tokens instead of texts.

    Args:
        model: whose first module is a transformer; its own limit of tokens is not looked at.
    """

    def __init__(self, model: Any) -> None:
        self._model = model.eval()
        tokenizer = model.tokenizer
        self._first, self._last = [tokenizer.cls_token_id], [tokenizer.sep_token_id]
        self.n_special = 2

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts without special ones."""
        found: list[list[int]] = self._model.tokenizer(
            list(texts), add_special_tokens=False, truncation=False, verbose=False
        )["input_ids"]
        return found

    def vectors(self, documents: Sequence[Sequence[int]]) -> np.ndarray:
        """Return the vectors of documents, each encoded at once, (n, d) float32 of length one.

        Args:
            documents: tokens without special ones; those of equal length share batches.
        """
        import torch

        found: list[np.ndarray | None] = [None] * len(documents)
        by_length: dict[int, list[int]] = {}
        for row, tokens in enumerate(documents):
            by_length.setdefault(len(tokens), []).append(row)
        for length, rows in by_length.items():
            size = max(1, _TOKENS_AT_ONCE // (length + self.n_special))
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                ids = torch.tensor([[*self._first, *documents[row], *self._last] for row in batch])
                with torch.inference_mode():
                    output = self._model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
                for row, vector in zip(batch, output["sentence_embedding"].float().numpy(), strict=True):
                    found[row] = vector / np.linalg.norm(vector)
        return np.stack([vector for vector in found if vector is not None])

    def text_vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of whole texts, (n, d)."""
        return self.vectors(self.tokens(texts))


def mean_vectors(vectors: Sequence[np.ndarray], weights: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the weighted mean of each document's windows, (n, d) float32 of length one.

    Args:
        vectors: of each document (windows, d).
        weights: tokens of each window.
    """
    means = np.stack([np.average(each, axis=0, weights=weight) for each, weight in zip(vectors, weights, strict=True)])
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class VectorCache:
    """Vectors of documents in files, so that a study that was broken off encodes none of them again.

    Attributes:
        folder: where they are; None for nowhere.
        key: what decides the encoders, such as their recipes.
    """

    folder: Path | None
    key: str = ""

    def __call__(
        self, encoder: TokenEncoder, name: str, documents: Sequence[Sequence[int]]
    ) -> tuple[np.ndarray, float]:
        """Return the vectors (n, d) and the seconds that it took to encode them.

        Args:
            encoder: gives vectors that are not there yet.
            name: of the encoder.
            documents: tokens without special ones.
        """
        digest = hashlib.sha256(repr((self.key, name, documents)).encode()).hexdigest()[:24]
        place = None if self.folder is None else self.folder / f"{digest}.npz"
        if place is not None and place.is_file():
            with np.load(place, allow_pickle=False) as stored:
                return stored["vectors"], float(stored["seconds"])
        began = time.perf_counter()
        vectors = encoder.vectors(documents)
        seconds = time.perf_counter() - began
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            np.savez(place, vectors=vectors, seconds=seconds)
        return vectors, seconds
