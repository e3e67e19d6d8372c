"""Networks that read queries and passages by a `TextSide` each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.models.rankers.base import TwoSidedNetwork
from retrieval.models.rankers.text_side import TextSide


class SidedNetwork(TwoSidedNetwork):
    """What such networks share: texts to features.

    Attributes:
        queries: how queries are read; set by each network, as `passages` is.
        passages: how passages are read.
    """

    queries: TextSide
    passages: TextSide

    def prepare_queries(self, queries: Sequence[str]) -> PreparedTexts:
        """Tokenise queries; a feature's rows are queries."""
        return self.queries.prepare(queries)

    def prepare_passages(self, passages: Sequence[str]) -> PreparedTexts:
        """Tokenise passages; a feature's rows are passages."""
        return self.passages.prepare(passages)

    def passage_tokens_cut(self, passages: Sequence[str]) -> np.ndarray:
        """Return how many tokens of each passage are not read, because it is longer than that, (n,) int64."""
        return self.passages.cut(passages)

    def full_rows(self, features: dict[str, Any]) -> int:
        """Return how many rows have a query or a passage with as many tokens as are read.

        Args:
            features: as for `forward`.
        """
        queries = features["queries"]["full"][features["query_of_row"]]
        passages = features["passages"]["full"][features["passage_of_row"]]
        return int((queries | passages).sum())
