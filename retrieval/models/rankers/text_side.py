"""How the texts of one side become token ids: cut, special tokens around them, and [MASK]s behind them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch

from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.encoders.tokenization import FastTokenizer, UnknownTokenizerError
from retrieval.errors import RerankerError


class TextSide:
    """Queries, or passages, as a network reads them.

    Padding is on the right, to the longest text of a batch, and counts nowhere.

    Args:
        tokenizer: of transformers, a fast one.
        max_tokens: of a text, the tokens around it included and [MASK]s not; what is longer loses its end.
        before: ids that stand before each text; by default those that the tokenizer puts there.
        behind: ids that stand behind each text; by default likewise.
        masks: [MASK]s behind each text.
        filled_to: [MASK]s behind each text until it has that many tokens.
        masks_are_read: whether the text's tokens attend to [MASK]s; these attend to the text in any case.
        uncounted: ids whose states take no part in the score.

    Raises:
        RerankerError: the tokenizer is no fast one or has no [MASK], or `max_tokens` leaves no room for text.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_tokens: int,
        *,
        before: Sequence[int] | None = None,
        behind: Sequence[int] | None = None,
        masks: int = 0,
        filled_to: int = 0,
        masks_are_read: bool = True,
        uncounted: Collection[int] = (),
    ) -> None:
        self._tokenizer = fast_tokenizer(tokenizer)
        usual_before, usual_behind = around(self._tokenizer)
        self._before = list(usual_before if before is None else before)
        self._behind = list(usual_behind if behind is None else behind)
        self._max_tokens = max_tokens
        self._pieces = max_tokens - len(self._before) - len(self._behind)
        if self._pieces < 1:
            raise RerankerError(f"{max_tokens} tokens leave no room for text: {max_tokens - self._pieces} stand around")
        if (masks or filled_to) and tokenizer.mask_token_id is None:
            raise RerankerError("queries are to be augmented with [MASK], but the tokenizer has no such token")
        self._mask_id = tokenizer.mask_token_id
        self._masks, self._filled_to, self._masks_are_read = masks, filled_to, masks_are_read
        self._pad_id = tokenizer.pad_token_id or 0
        self._uncounted = np.array(sorted(uncounted), np.int64)

    def prepare(self, texts: Sequence[str]) -> PreparedTexts:
        """Tokenise texts.

        Returns:
            Their lengths, [MASK]s included, and features: `input_ids` and `attention_mask`, (batch, width) int64;
            `counted`, (batch, width) bool, whose states take part in the score; `full`, (batch,) bool, whether a text
            has as many tokens as are read.
        """
        sequences = [
            np.concatenate([self._before, ids, self._behind]).astype(np.int64)
            for ids in self._tokenizer.pieces(texts, max_tokens=self._pieces)
        ]
        own = np.array([len(sequence) for sequence in sequences], np.int64)
        lengths = np.maximum(own + self._masks, self._filled_to)

        def features(rows: np.ndarray) -> dict[str, Any]:
            positions = np.arange(max(int(lengths[rows].max(initial=0)), 1))
            inside = positions < lengths[rows, None]  # (batch, width)
            text = positions < own[rows, None]
            ids = np.full(inside.shape, self._pad_id, np.int64)
            ids[inside] = self._mask_id or 0
            ids[text] = np.concatenate([np.empty(0, np.int64), *(sequences[row] for row in rows.tolist())])
            counted = inside & ~np.isin(ids, self._uncounted) if len(self._uncounted) else inside
            read = inside if self._masks_are_read else text
            return {
                "input_ids": torch.from_numpy(ids),
                "attention_mask": torch.from_numpy(read.astype(np.int64)),
                "counted": torch.from_numpy(counted),
                "full": torch.from_numpy(own[rows] >= self._max_tokens),
            }

        return PreparedTexts(lengths, features)

    def cut(self, texts: Sequence[str]) -> np.ndarray:
        """Return how many tokens of each text are beyond `max_tokens`, (n,) int64."""
        own = self._tokenizer.count(texts) - self._tokenizer.n_special
        return np.maximum(own - self._pieces, 0)


def fast_tokenizer(tokenizer: Any) -> FastTokenizer:
    """Return a frozen copy of a tokenizer of transformers.

    Raises:
        RerankerError: it is no fast one, or does not put its special tokens around a text.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise RerankerError("this network needs a fast tokenizer; save its tokenizer.json with AutoTokenizer")
    try:
        return FastTokenizer(tokenizer.backend_tokenizer)
    except UnknownTokenizerError as error:
        raise RerankerError(str(error)) from None


def table_size(tokenizer: Any) -> int:
    """Return how many rows a table of words needs for a tokenizer; its ids may have gaps."""
    return max(tokenizer.get_vocab().values()) + 1


def around(tokenizer: FastTokenizer) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer puts before and behind a text."""
    ids = tokenizer.surrounded(np.empty(0, np.int32)).tolist()
    return ids[: tokenizer.n_before], ids[tokenizer.n_before :]
