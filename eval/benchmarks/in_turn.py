"""Measuring several sides in one process: one after the other, again and again, so that none has a quieter machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from eval.benchmarks.processes import Spread


def in_turn(calls: Mapping[str, Callable[[], object]], repeats: int, *, warm: bool = False) -> dict[str, list[float]]:
    """Time every call once in each of several rounds; returns the seconds by side, in the order of the rounds.

    Args:
        calls: what to time, by side; each is called once before the clock starts, which warms caches and compiles.
        repeats: rounds; the order within a round is turned round each time.
        warm: all have been called already, so that the clock starts at once.
    """
    for call in () if warm else calls.values():
        call()
    seconds: dict[str, list[float]] = {side: [] for side in calls}
    for number in range(repeats):
        for side in list(calls) if number % 2 == 0 else reversed(list(calls)):
            began = time.perf_counter()
            calls[side]()
            seconds[side].append(time.perf_counter() - began)
    return seconds


def latencies(calls: Mapping[str, Sequence[Callable[[], object]]], repeats: int) -> dict[str, np.ndarray]:
    """Time single queries one at a time; returns by side the shortest time of each in seconds, (n_queries,) float64.

    The shortest of several rounds is what the query costs; what else the machine did in the others drops out.

    Args:
        calls: for each side one call for each query.
        repeats: rounds.
    """
    shortest = {side: np.full(len(single), np.inf) for side, single in calls.items()}
    for number in range(repeats):
        for side in list(calls) if number % 2 == 0 else reversed(list(calls)):
            best = shortest[side]
            for query, call in enumerate(calls[side]):
                began = time.perf_counter()
                call()
                best[query] = min(best[query], time.perf_counter() - began)
    return shortest


def times_slower(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """Summarise theirs / ours, round by round: how many times longer the peer takes."""
    return Spread.of([their / our for their, our in zip(theirs, ours, strict=True)])


def percentiles(seconds: np.ndarray) -> dict[str, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return {"p50": float(p50), "p99": float(p99)}
