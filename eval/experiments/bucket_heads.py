"""Buckets of winner-take-all dimensions over hidden states that stay as they are: made, trained and applied."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from eval.experiments.hidden_states import HiddenStates
from indexes.sparse_vectors import SparseVectors
from retrieval.models.ultra_high_dimensional.building import bucket_module, build_encoder
from retrieval.models.ultra_high_dimensional.dead_dimensions import DimensionWatch
from retrieval.models.ultra_high_dimensional.module import UltraHighDimensional
from retrieval.training.losses.sparse_ranking import SparseRankingLoss

QUANTILE = 0.999
_SAMPLE = 256
"""Training passages on which the largest weight is measured, at most."""


@dataclass(frozen=True)
class HeadVectors:
    """What a head makes of a pool.

    Attributes:
        queries: with weights.
        passages: likewise.
        largest_weight: the activation that becomes the largest impact, measured on the training passages.
        dead_share: dimensions that no passage of the pool has, among all.
    """

    queries: SparseVectors
    passages: SparseVectors
    largest_weight: float
    dead_share: float


def new_head(
    transformer: Any, states: HiddenStates, *, layers: Sequence[int], dimensions: Sequence[int], k: int, seed: int
) -> UltraHighDimensional:
    """Return buckets with random weights, centred on the tokens of some texts."""
    model = build_encoder(transformer, device="cpu", seed=seed, layers=tuple(layers), dimensions=tuple(dimensions), k=k)
    head = bucket_module(model)
    means = states.token_means(head.special_ids or ())
    head.set_centres([means[layer] for layer in layers])
    return head


def train_head(
    head: UltraHighDimensional,
    queries: HiddenStates,
    positives: HiddenStates,
    *,
    steps: int,
    batch_size: int,
    rate: float,
    seed: int,
    loss_settings: dict[str, Any],
) -> float:
    """Train buckets on pairs by AdamW, with the schedule of the recipes; returns the seconds that it took."""
    began = time.perf_counter()
    loss = SparseRankingLoss(head, **loss_settings)
    optimiser = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.01)
    warm = max(1, round(0.1 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, (steps - step) / max(steps - warm, 1))
    )
    order = np.random.default_rng(seed).permutation(len(queries))
    head.train()
    for step in range(steps):
        rows = np.take(order, range(step * batch_size, (step + 1) * batch_size), mode="wrap").tolist()
        value = loss([queries.features(rows), positives.features(rows)])
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return time.perf_counter() - began


def head_vectors(
    head: UltraHighDimensional, queries: HiddenStates, passages: HiddenStates, training: HiddenStates
) -> HeadVectors:
    """Encode a pool, and measure the largest weight on training passages."""
    head.eval()
    sample = _encoded(head, training, "document", _SAMPLE)
    of_queries = _encoded(head, queries, "query")
    watch, handle = DimensionWatch.on(head)
    of_passages = _encoded(head, passages, "document")
    handle.remove()
    largest = float(np.quantile(np.asarray(sample.weights), QUANTILE))
    return HeadVectors(of_queries, of_passages, largest, watch.report().dead_share)


def _encoded(head: UltraHighDimensional, states: HiddenStates, task: str, limit: int | None = None) -> SparseVectors:
    """Encode the texts, or at most the first of them, in batches."""
    counts, dimensions, weights = [], [], []
    with torch.inference_mode():
        for features in states.batches(limit):
            activations = head(features, task=task)["sentence_embedding"]  # (texts, n)
            rows, active = torch.nonzero(activations, as_tuple=True)
            counts.append(np.bincount(rows.numpy(), minlength=len(activations)))
            dimensions.append(active.numpy().astype(np.int32))
            weights.append(activations[rows, active].numpy())
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts))])
    return SparseVectors(offsets, np.concatenate(dimensions), np.concatenate(weights))
