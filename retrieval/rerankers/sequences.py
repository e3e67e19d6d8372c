"""Several texts in one input: pieces of texts, tokenised once, put between a model's special tokens.

A query stands with each of its candidates, and a document of a pairwise reranker with each other document, so a text is
tokenised once and its pieces are copied into every input that it takes part in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.encoders.tokenization import PROBES, FastTokenizer, UnknownTokenizerError
from retrieval.execution.runtime import TokenBatch


@dataclass(frozen=True)
class Layout:
    """What stands around the texts of an input.

    Attributes:
        special: the ids before each text, and behind the last one.
        special_segments: the segment of each group of these.
        segments: the segment of each text.
    """

    special: tuple[tuple[int, ...], ...]
    special_segments: tuple[tuple[int, ...], ...]
    segments: tuple[int, ...]

    @property
    def n_special(self) -> int:
        """Special tokens of an input."""
        return sum(map(len, self.special))

    @classmethod
    def of_pairs(cls, tokenizer: Any) -> Layout:
        """Return where a tokenizer puts two texts.

        Args:
            tokenizer: of transformers, a fast one.

        Raises:
            UnknownTokenizerError: special tokens do not stand around the two texts alone.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise UnknownTokenizerError("this tokenizer is not a fast one")
        backend = tokenizer.backend_tokenizer
        first, second = PROBES[:2]
        whole = tokenizer(first, second, return_token_type_ids=True, truncation=False, padding=False, verbose=False)
        ids, segments = list(whole["input_ids"]), list(whole["token_type_ids"])
        pieces = [backend.encode(text, add_special_tokens=False).ids for text in (first, second)]
        at = _find(ids, pieces[0], 0)
        behind = at + len(pieces[0])
        then = _find(ids, pieces[1], behind)
        end = then + len(pieces[1])
        groups = (slice(0, at), slice(behind, then), slice(end, None))
        layout = cls(
            tuple(tuple(ids[group]) for group in groups),
            tuple(tuple(segments[group]) for group in groups),
            (segments[at], segments[then]),
        )
        layout.check(tokenizer)
        return layout

    def with_third(self) -> Layout:
        """Return the layout of three texts in segments 0, 1 and 2: the third is set off as the second is.

        `[CLS] q [SEP] d_i [SEP] d_j [SEP]` for BERT (arXiv 1910.14424, section 3.3).
        """
        before, between, behind = self.special
        groups = (before, between, between, behind)
        # What stands behind a text belongs to its segment, where it does so for two texts.
        of_groups = ((0,) * len(before), (0,) * len(between), (1,) * len(between), (2,) * len(behind))
        return Layout(groups, of_groups, (0, 1, 2))

    def check(self, tokenizer: Any) -> None:
        """Compare with the library's own path on texts where tokenizers differ.

        Raises:
            UnknownTokenizerError: they differ.
        """
        texts = list(PROBES)
        others = texts[1:] + texts[:1]
        found = tokenizer(texts, others, return_token_type_ids=True, truncation=False, padding=False, verbose=False)
        backend = FastTokenizer(tokenizer.backend_tokenizer)
        pieces = backend.pieces(texts)
        for number, (ids, segments) in enumerate(zip(found["input_ids"], found["token_type_ids"], strict=True)):
            pair = [pieces[number], pieces[(number + 1) % len(pieces)]]
            if [self.ids(pair).tolist(), self.segment_ids([len(text) for text in pair]).tolist()] != [ids, segments]:
                raise UnknownTokenizerError("this tokenizer puts pairs of texts together in a way of its own")

    def ids(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        """Return the ids of an input, (tokens,) int64."""
        groups = [np.array(group, np.int64) for group in self.special]
        return np.concatenate([part for pair in zip(groups, texts, strict=False) for part in pair] + [groups[-1]])

    def segment_ids(self, lengths: Sequence[int]) -> np.ndarray:
        """Return the segments of an input with texts of these lengths, (tokens,) int64."""
        parts: list[int] = []
        for group, segment, length in zip(self.special_segments, self.segments, lengths, strict=False):
            parts += [*group, *([segment] * length)]
        return np.array([*parts, *self.special_segments[-1]], np.int64)


@dataclass(frozen=True)
class Sequences:
    """Inputs put together from pieces of texts.

    Attributes:
        layout: of each input.
        pieces: ids of the distinct texts, without special tokens.
        texts: (n, k) int64, which texts an input holds.
        kept: (n, k) int64, how many of its first pieces each text keeps.
        pad_id: of padding.
        pads_left: whether padding stands before the input.
        has_segments: whether the model reads segments.
    """

    layout: Layout
    pieces: Sequence[np.ndarray]
    texts: np.ndarray
    kept: np.ndarray
    pad_id: int
    pads_left: bool
    has_segments: bool

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each input, (n,) int64."""
        return np.asarray(self.kept.sum(axis=1) + self.layout.n_special)

    def features(self, rows: np.ndarray) -> dict[str, Any]:
        """Return the model's input for some rows, padded to the longest of them.

        Returns:
            `input_ids`, `attention_mask` (left out where nothing is padded: attention without a mask is faster) and,
            where the model has segments, `token_type_ids`, each (rows, width) int64.
        """
        import torch

        lengths = self.lengths[rows]
        width = int(lengths.max())
        ids = np.full((len(rows), width), self.pad_id, np.int64)  # (rows, width)
        segments = np.zeros((len(rows), width), np.int64)  # (rows, width)
        for row, (texts, kept) in enumerate(zip(self.texts[rows].tolist(), self.kept[rows].tolist(), strict=True)):
            at = width - int(lengths[row]) if self.pads_left else 0
            self._put(ids[row], segments[row], texts, kept, at)
        features = {"input_ids": torch.from_numpy(ids)}
        if (lengths != width).any():
            positions = np.arange(width)
            start = (width - lengths)[:, None] if self.pads_left else np.zeros((len(rows), 1), np.int64)
            mask = (positions >= start) & (positions < start + lengths[:, None])
            features["attention_mask"] = torch.from_numpy(mask.astype(np.int64))
        if self.has_segments:
            features["token_type_ids"] = torch.from_numpy(segments)
        return features

    def tokens(self, rows: np.ndarray) -> TokenBatch:
        """Return the model's input for some rows, one behind the other, without padding."""
        lengths = self.lengths[rows]
        ids = np.empty(int(lengths.sum()), np.int64)
        segments = np.zeros_like(ids)
        at = 0
        for texts, kept in zip(self.texts[rows].tolist(), self.kept[rows].tolist(), strict=True):
            at = self._put(ids, segments, texts, kept, at)
        return TokenBatch(ids, lengths, segments if self.has_segments else None)

    def _put(self, ids: np.ndarray, segments: np.ndarray, texts: list[int], kept: list[int], at: int) -> int:
        """Write an input from a place on, and return the place behind it."""
        for number, (text, length) in enumerate(zip(texts, kept, strict=True)):
            at = self._put_special(ids, segments, number, at)
            ids[at : at + length] = self.pieces[text][:length]
            segments[at : at + length] = self.layout.segments[number]
            at += length
        return self._put_special(ids, segments, len(texts), at)

    def _put_special(self, ids: np.ndarray, segments: np.ndarray, group: int, at: int) -> int:
        end = at + len(self.layout.special[group])
        ids[at:end] = self.layout.special[group]
        segments[at:end] = self.layout.special_segments[group]
        return end


def _find(ids: list[int], wanted: list[int], start: int) -> int:
    places = [at for at in range(start, len(ids) - len(wanted) + 1) if ids[at : at + len(wanted)] == wanted]
    if not wanted or len(places) != 1:
        raise UnknownTokenizerError("this tokenizer does not put its special tokens around two texts")
    return places[0]
