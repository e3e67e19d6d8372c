"""The vectors of a task's texts: each distinct text is encoded once, and what was not as it should be is counted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np

from retrieval.encoders import Encoder, Similarity
from retrieval.encoders.base import check_vectors, name_of
from retrieval.progress import progress

_TEXTS_AT_ONCE = 4096
"""Texts given to an encoder together: enough to fill its batches, few enough to see progress."""


class TextVectors:
    """Encodes the texts of one task.

    Args:
        encoder: what encodes them.
        side: which of its two sides.
        prompt: put before every text.
        progress: show a progress bar.

    Attributes:
        counts: of distinct texts, by what is wrong with them: blank, or longer than the encoder reads.
        seconds: that encoding took.
        tokens: that were encoded.
        n_texts: distinct texts that were encoded.
    """

    def __init__(
        self, encoder: Encoder, *, side: Literal["passages", "queries"], prompt: str = "", progress: bool = False
    ) -> None:
        self._encoder = encoder
        self._encode = encoder.encode_passages if side == "passages" else encoder.encode_queries
        self._prompt = prompt
        self._progress = progress
        self.counts = {"blank texts": 0, "cut texts": 0}
        self.seconds = 0.0
        self.tokens = 0
        self.n_texts = 0

    @property
    def similarity(self) -> Similarity:
        """What the encoder compares its vectors by."""
        return self._encoder.similarity

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts, (n, d) float32, in their order.

        Raises:
            EncoderError: the encoder returned something else than finite vectors of its dimension.
        """
        rows: dict[str, int] = {}
        order = [rows.setdefault(text, len(rows)) for text in texts]
        return self._encode_distinct(list(rows))[order]

    def _encode_distinct(self, texts: list[str]) -> np.ndarray:
        prompted = [self._prompt + text for text in texts] if self._prompt else texts
        lengths = np.asarray(self._encoder.count_tokens(prompted), np.int64)
        limit = self._encoder.max_tokens
        self.counts["blank texts"] += sum(not text.strip() for text in texts)
        self.counts["cut texts"] += int((lengths > limit).sum()) if limit else 0
        self.tokens += int((np.minimum(lengths, limit) if limit else lengths).sum())
        self.n_texts += len(texts)
        vectors = np.empty((len(texts), self._encoder.dimension), np.float32)
        started = time.perf_counter()
        with progress("encoding", unit="texts", total=len(texts), enabled=self._progress) as bar:
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                part = prompted[start : start + _TEXTS_AT_ONCE]
                vectors[start : start + len(part)] = check_vectors(
                    self._encode(part), len(part), self._encoder.dimension, name_of(self._encoder)
                )
                bar.advance(len(part))
        self.seconds += time.perf_counter() - started
        return vectors
