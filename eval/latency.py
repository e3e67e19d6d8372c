"""Latency: wall times of single searches in a warm process."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from eval.embedding_cache import without_embedding_cache

_WARM_UP = 5  # single searches before the clock runs: they map files, load kernels and fill caches


@dataclass(frozen=True)
class Latency:
    """Wall times of single searches, one after another in a warm process, in milliseconds.

    Attributes:
        n: number of searches.
        mean: their mean.
        p50: the median.
        p95: the 95th percentile, interpolated linearly.
        seed: with which the queries were drawn from the test set.
        p99: the 99th percentile, likewise.
    """

    n: int
    mean: float
    p50: float
    p95: float
    seed: int
    p99: float = 0.0


def measure_latency(
    search: Callable[[str], object], texts: Iterable[str], sample: int = 200, seed: int = 0
) -> Latency | None:
    """Time single searches, one after another, in a warm process.

    Args:
        search: one search.
        texts: queries; blank ones are left out.
        sample: how many of them, drawn with `seed`, without repetition; a few more run before the clock does.
        seed: of the draw.

    Returns:
        Wall times; None where there is nothing to measure.
    """
    usable = [text for text in texts if text.strip()]
    if not usable or sample < 1:
        return None
    chosen = random.Random(seed).sample(usable, min(sample, len(usable)))
    times = []  # milliseconds
    with without_embedding_cache():
        for text in chosen[:_WARM_UP]:
            search(text)
        for text in chosen:
            began = time.perf_counter()
            search(text)
            times.append((time.perf_counter() - began) * 1000)
    p50, p95, p99 = (float(value) for value in np.percentile(times, [50, 95, 99]))
    return Latency(n=len(times), mean=float(np.mean(times)), p50=p50, p95=p95, seed=seed, p99=p99)
