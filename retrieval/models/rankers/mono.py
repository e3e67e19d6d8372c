"""monoBERT as a ranking network: a query and a passage go through a classifier together, pointwise.

Source: Nogueira, Yang, Cho and Lin (2019), "Multi-Stage Document Ranking with BERT", arXiv 1910.14424, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor

from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.errors import RerankerError
from retrieval.models.rankers.base import RankingNetwork
from retrieval.rerankers.classifier import tokenizer_digest
from retrieval.rerankers.model_loading import load_classifier, prompt_of, reranker_folder
from retrieval.rerankers.mono_folder import mono_budgets, save_mono
from retrieval.rerankers.mono_loading import Reading, assembled_pairs


class MonoNetwork(RankingNetwork):
    """`[CLS] q [SEP] d [SEP]` to one logit, or to the difference of two: relevant less irrelevant.

    The logistic function of the score is the probability of relevance: sigmoid of one logit, softmax of two.

    Args:
        model: of transformers, for sequence classification, with one or two logits.
        tokenizer: of transformers, a fast one.
        query_tokens: of a query that are read, with the special tokens around it; by default 64, at most half of
            `max_tokens`.
        max_tokens: of an input, special tokens included; by default 512, or what the model reads where that is less.

    Raises:
        RerankerError: another number of logits, or budgets that the model cannot read or that leave no room.
        UnknownTokenizerError: the tokenizer cannot be used outside of its library.
    """

    kind = "mono"
    scores_are_logits = True

    def __init__(
        self, model: Any, tokenizer: Any, *, query_tokens: int | None = None, max_tokens: int | None = None
    ) -> None:
        super().__init__()
        check_labels(model)
        self.model = model
        self.tokenizer = tokenizer
        name = str(model.config.name_or_path or "to be trained")
        self._inputs = assembled_pairs(model, tokenizer, Reading(query_tokens, max_tokens), name)
        assert self._inputs.query_tokens is not None
        assert self._inputs.max_tokens is not None
        self.query_tokens: int = self._inputs.query_tokens
        self.max_tokens: int = self._inputs.max_tokens

    def prepare(self, queries: Sequence[str], passages: Sequence[str], rows: np.ndarray) -> PreparedTexts:
        """Tokenise each text once; a passage is cut to what the query leaves."""
        return self._inputs.prepare(queries, passages, rows)

    def forward(self, features: dict[str, Any]) -> Tensor:
        """Return the logit of each row, or the difference of its two logits, (n,)."""
        return margin(self.model(**features).logits)

    def full_rows(self, features: dict[str, Any]) -> int:
        """Return how many inputs have `max_tokens` tokens."""
        return int((lengths_of(features) >= self.max_tokens).sum())

    def describe(self) -> dict[str, Any]:
        """Return the kind, the token budgets and a digest of the tokenizer."""
        return {
            "kind": self.kind,
            "query_tokens": self.query_tokens,
            "max_tokens": self.max_tokens,
            "tokenizer": tokenizer_digest(self.tokenizer),
        }

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load_reranker`, sentence-transformers' `CrossEncoder` and transformers open."""
        save_mono(folder, self.model, self.tokenizer, query_tokens=self.query_tokens, max_tokens=self.max_tokens)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a folder of `save`, or of any classifier that `load_reranker` takes for a pointwise reranker.

        Raises:
            RerankerError: it cannot be loaded safely and completely, or puts a prompt before queries.
        """
        place, name = reranker_folder(folder)
        if prompt_of(place):
            raise RerankerError(
                f"reranker {name!r} puts {prompt_of(place)!r} before queries, which training does not; take another one"
            )
        model, tokenizer = load_classifier(place, name, device="cpu")
        query_tokens, max_tokens = mono_budgets(place)
        return cls(model.float(), tokenizer, query_tokens=query_tokens, max_tokens=max_tokens)


def check_labels(model: Any) -> None:
    """Refuse a classifier whose logits are no relevance.

    Raises:
        RerankerError: it has neither one nor two.
    """
    if model.config.num_labels not in (1, 2):
        raise RerankerError(
            f"the model has {model.config.num_labels} labels; a reranker has one, or two: irrelevant, relevant"
        )


def margin(logits: Tensor) -> Tensor:
    """Return a single logit as it is, of two the second less the first, (n,): the logit of softmax(logits)[1].

    Args:
        logits: (n, 1) or (n, 2).
    """
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def lengths_of(features: dict[str, Any]) -> Tensor:
    """Return the tokens of each input, (n,); without a mask nothing is padded."""
    ids: Tensor = features["input_ids"]
    mask = features.get("attention_mask")
    return ids.new_full((len(ids),), ids.shape[1]) if mask is None else mask.sum(dim=1)
