"""What the tests of all students ask of a network: scores in any company, a folder, training, other precisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from retrieval.rerankers import Candidates
from tests.rankers.conftest import PASSAGES, QUERIES


def all_rows(n_queries: int = len(QUERIES), n_passages: int = len(PASSAGES)) -> np.ndarray:
    """Return every query with every passage, (n, 2) int64."""
    return np.stack(np.divmod(np.arange(n_queries * n_passages), n_passages), axis=1)


def scores_of(network: Any, queries=QUERIES, passages=PASSAGES) -> np.ndarray:
    """Return the scores of every query with every passage in one batch of `forward`, (queries, passages)."""
    rows = all_rows(len(queries), len(passages))
    with torch.inference_mode():
        found = network(network.prepare(queries, passages, rows).features(np.arange(len(rows))))
    return found.float().numpy().reshape(len(queries), len(passages))


def lists(queries=QUERIES, passages=PASSAGES) -> list[Candidates]:
    """Return the passages as candidates of each query."""
    ids = [f"d{number}" for number in range(len(passages))]
    return [Candidates(ids, passages, -np.arange(len(passages), dtype=float)) for _ in queries]


def train(network: Any, steps: int = 12, rate: float = 3e-3) -> tuple[list[float], set[str]]:
    """Run a plain loop of Margin-MSE against margins of 1 or -1 over some tuples.

    Returns:
        The losses, and the names of parameters that never got a gradient other than 0.
    """
    optimizer = torch.optim.Adam(network.parameters(), rate)
    rows = all_rows(2, 4)
    margins = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    prepared = network.prepare(QUERIES[:2], PASSAGES[:4], rows)
    losses, idle = [], {name for name, _ in network.named_parameters()}
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # what is left out by chance would hide whether the loss falls
    for _ in range(steps):
        scores = network(prepared.features(np.arange(len(rows)))).view(2, 2, 2)
        loss = torch.nn.functional.mse_loss(scores[..., 0] - scores[..., 1], margins)
        optimizer.zero_grad()
        loss.backward()
        idle -= {name for name, each in network.named_parameters() if each.grad is not None and each.grad.any()}
        optimizer.step()
        losses.append(loss.item())
    network.eval()
    return losses, idle
