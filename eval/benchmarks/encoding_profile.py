"""Where the time of an encoder goes: linear layers, attention, other operations of PyTorch, and what is not PyTorch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from eval.benchmarks.encoding_sides import Encode

PARTS = {
    "linear layers": ("mkldnn::_linear", "mkl::_mkl_linear", "aten::addmm", "aten::mm", "aten::linear"),
    "attention": ("aten::_scaled_dot_product", "aten::bmm", "aten::baddbmm", "aten::_softmax"),
    "norms, residuals, activations": (
        "aten::native_layer_norm",
        "aten::add",
        "aten::gelu",
        "aten::mul",
        "aten::div",
        "aten::linalg_vector_norm",
    ),
}
"""Beginnings of the names of operations, by part; the first part that fits takes an operation."""

OTHER = "gathering, pooling and the rest of PyTorch"
OUTSIDE = "outside PyTorch: tokens, batches, order"


def seconds_by_part(encode: Encode, texts: Sequence[str]) -> dict[str, float]:
    """Encode once under PyTorch's profiler, which slows it down by some percent, and sum up its operations.

    Args:
        encode: that has been called before.
        texts: distinct ones.

    Returns:
        Seconds by part: of PyTorch's operations, and what is left of the call.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        began = time.perf_counter()
        encode(texts)
        whole = time.perf_counter() - began
    found = dict.fromkeys([*PARTS, OTHER, OUTSIDE], 0.0)
    for event in profiled.key_averages():
        found[part_of(event.key)] += event.self_cpu_time_total / 1e6
    found[OUTSIDE] = max(0.0, whole - sum(found.values()))
    return found


def part_of(operation: str) -> str:
    """Return the part that an operation belongs to, by its name."""
    return next((part for part, starts in PARTS.items() if operation.startswith(starts)), OTHER)
