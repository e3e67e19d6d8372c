"""Costs: what is measured around a task stands beside its scores."""

from __future__ import annotations

import numpy as np

from eval.costs import Encoding, encoding_costs, merge_costs, peak_memory
from eval.tasks.base import TaskResult


def test_speeds_are_of_what_was_encoded():
    spent = Encoding(30, 600, 3.0) - Encoding(10, 100, 1.0)
    speeds = {"encode_tokens_per_second": 250, "encode_texts_per_second": 10}
    assert spent.speeds() == speeds
    assert encoding_costs(spent, Encoding(1, 1, 1.0)) == {"encoded_texts": 20, "encode_seconds": 2.0, **speeds}
    # Nothing was encoded: the speed is what it was before.
    assert encoding_costs(Encoding(), spent) == {"encoded_texts": 0, "encode_seconds": 0, **speeds}
    assert encoding_costs(Encoding(), Encoding()) == {"encoded_texts": 0, "encode_seconds": 0}


def test_peak_memory_is_at_least_what_was_held():
    held = np.ones(8_000_000)  # 64 MB
    assert peak_memory()["process_peak_memory_bytes"] > held.nbytes


def test_measured_figures_replace_what_a_task_cannot_know():
    result = TaskResult(
        "t", "STS", "s", "x", {"x": 1.0}, costs={"seconds": 1.0, "encode_tokens_per_second": 1e9, "build_seconds": 2.0}
    )
    assert merge_costs(result, {"seconds": 3.0, "encoded_texts": 0.0}).costs == {
        "seconds": 3.0,
        "encoded_texts": 0.0,
        "build_seconds": 2.0,
    }
    assert merge_costs(result, {"seconds": 3.0}).costs["encode_tokens_per_second"] == 1e9
