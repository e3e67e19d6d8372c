"""duoBERT as a ranking network: a query and two passages go through a classifier together, pairwise.

Source: Nogueira, Yang, Cho and Lin (2019), "Multi-Stage Document Ranking with BERT", arXiv 1910.14424, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.models.rankers.base import RankingNetwork
from retrieval.models.rankers.mono import check_labels, margin
from retrieval.rerankers.aggregation import Aggregation
from retrieval.rerankers.classifier import tokenizer_digest
from retrieval.rerankers.duo import N_SEGMENTS, DuoBudget, DuoInputs
from retrieval.rerankers.duo_folder import check_duo, duo_settings, save_duo
from retrieval.rerankers.model_loading import load_classifier, reranker_folder


class DuoNetwork(RankingNetwork):
    """`[CLS] q [SEP] d_i [SEP] d_j [SEP]` in segments 0, 1 and 2 to the logit of p_ij, that d_i is more relevant.

    Args:
        model: of transformers, for sequence classification, with one or two logits and three segments.
        tokenizer: of transformers, a fast one.
        budget: tokens of the texts.
        aggregation: what the saved folder names as the default.

    Raises:
        RerankerError: another number of logits or segments, or budgets that the model cannot read.
        UnknownTokenizerError: the tokenizer cannot be used outside of its library.
    """

    kind = "duo"
    scores_are_logits = True
    passages_per_score = 2

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        budget: DuoBudget | None = None,
        aggregation: Aggregation | None = None,
    ) -> None:
        super().__init__()
        self.budget = budget or DuoBudget()
        check_labels(model)
        check_duo(model, tokenizer, self.budget, str(model.config.name_or_path or "to be trained"))
        self.model = model
        self.tokenizer = tokenizer
        self.aggregation = aggregation or Aggregation()
        self._inputs = DuoInputs(tokenizer, self.budget)

    def describe(self) -> dict[str, Any]:
        """Return the kind, the token budgets, the aggregation and a digest of the tokenizer."""
        return {
            "kind": self.kind,
            "query_tokens": self.budget.query,
            "document_tokens": self.budget.document,
            "aggregation": self.aggregation.describe(),
            "tokenizer": tokenizer_digest(self.tokenizer),
        }

    def prepare(self, queries: Sequence[str], passages: Sequence[str], rows: np.ndarray) -> PreparedTexts:
        """Tokenise each text once, cut to its budget."""
        return self._inputs.prepare(queries, passages, rows)

    def forward(self, features: dict[str, Any]) -> Tensor:
        """Return the logit of p_ij of each row, (n,)."""
        return margin(self.model(**features).logits)

    def full_rows(self, features: dict[str, Any]) -> int:
        """Return how many inputs have a text with all the tokens of its budget."""
        segments = features["token_type_ids"]  # (n, width)
        mask = features.get("attention_mask", torch.ones_like(segments)).bool()
        counts = torch.stack([((segments == number) & mask).sum(dim=1) for number in range(N_SEGMENTS)], dim=1)
        around = counts.new_tensor([2, 1, 1])  # [CLS] and the [SEP] behind each text
        budgets = counts.new_tensor([self.budget.query, self.budget.document, self.budget.document])
        return int((counts - around >= budgets).any(dim=1).sum())

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load_reranker` and transformers open."""
        save_duo(folder, self.model, self.tokenizer, self.budget, self.aggregation)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a folder of `save` or of `create_duo`.

        Raises:
            RerankerError: it cannot be loaded safely and completely.
        """
        place, name = reranker_folder(folder)
        budget, aggregation = duo_settings(place)
        model, tokenizer = load_classifier(place, name, device="cpu")
        return cls(model.float(), tokenizer, budget=budget, aggregation=aggregation)
