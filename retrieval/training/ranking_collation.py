"""From tuples of a query, a positive and negatives to the rows that a ranking network scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from retrieval.models.rankers.base import RankingNetwork


class RankingCollator:
    """Makes one batch of rows out of tuples: query by query, the positive first.

    A network that compares two passages gets two rows for each negative: (positive, negative), (negative, positive).

    Args:
        network: makes the features.

    Attributes:
        texts: rows that went into batches.
        full: of these, how many have as many tokens as are read; None where the network does not know.
    """

    def __init__(self, network: RankingNetwork) -> None:
        self._network = network
        self.texts = 0
        self.full: int | None = 0

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the network's features of all rows, `n_tuples`, and `labels` where a teacher has scored the tuples.

        Args:
            examples: with "query", "positive", "negative_1" …, each the same number of negatives; and "scores", a
                teacher's, the positive's first, or none.

        Returns:
            `labels` are (tuples, 1 + negatives) float32.
        """
        import torch

        queries: dict[str, int] = {}
        passages: dict[str, int] = {}
        rows: list[tuple[int, ...]] = []
        for example in examples:
            query = queries.setdefault(example["query"], len(queries))
            texts = [text for name, text in example.items() if name == "positive" or name.startswith("negative_")]
            numbers = [passages.setdefault(text, len(passages)) for text in texts]
            rows += [(query, *compared) for compared in self._compared(numbers)]
        prepared = self._network.prepare(list(queries), list(passages), np.array(rows, np.int64))
        features = prepared.features(np.arange(len(rows)))
        full = self._network.full_rows(features)
        self.texts += len(rows)
        self.full = None if full is None or self.full is None else self.full + full
        batch = {**features, "n_tuples": len(examples)}
        if "scores" in examples[0]:
            batch["labels"] = torch.tensor([example["scores"] for example in examples], dtype=torch.float32)
        return batch

    def _compared(self, passages: list[int]) -> list[tuple[int, ...]]:
        """Return the passages of each row of a tuple."""
        if self._network.passages_per_score == 1:
            return [(passage,) for passage in passages]
        positive, *negatives = passages
        return [pair for negative in negatives for pair in ((positive, negative), (negative, positive))]
