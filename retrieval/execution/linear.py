"""Linear layers for packed execution: the network's own ones, or copies laid out for the processor.

oneDNN reorders a weight matrix for its kernels at each call, unless it gets one that is reordered already; and it adds
an activation while a result is still in registers. PyTorch has both under private names (`torch.ops.mkldnn`, which its
compiler uses), so what they need is tried once, and the plain layers remain where it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Linear = Callable[[Tensor], Tensor]
"""From (rows, inputs) to (rows, outputs)."""

PREPACKED_BYTES = 1 << 29
"""Weights of a network's linear layers up to which they are copied: 512 MiB, those of a BERT-base take 340."""

_USUAL_ROWS = 1024  # that the layout is chosen for; any number of rows may come


def prepacked(layers: Sequence[Any], *, gelu: bool = False) -> Linear | None:
    """Return what linear layers with the same input do, side by side, from a copy of their weights.

    Args:
        layers: one or more; their outputs stand beside each other.
        gelu: whether the exact GELU follows.

    Returns:
        None where the processor, the type or the layers do not allow it.
    """
    if any(type(layer) is not nn.Linear or layer.weight.device.type != "cpu" for layer in layers):
        return None
    if not _supported(layers[0].weight.dtype):
        return None
    with torch.no_grad():
        weight = torch.cat([layer.weight.detach() for layer in layers]).contiguous()
        biases = [layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias for layer in layers]
        bias = torch.cat([each.detach() for each in biases])
        try:
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, _USUAL_ROWS)
            run = torch.ops.mkldnn._linear_pointwise
            found = run(weight.new_ones(2, weight.shape[1]), packed, bias, "none", [], "")
        except (AttributeError, RuntimeError):  # there is no such operator, or none for this processor
            return None
    if found.shape != (2, len(weight)):
        return None
    follows = "gelu" if gelu else "none"

    def linear(rows: Tensor) -> Tensor:
        result: Tensor = run(rows, packed, bias, follows, [], "none" if gelu else "")
        return result

    return linear


def is_exact_gelu(activation: Any) -> bool:
    """Tell whether an activation is the GELU by the error function."""
    return activation is nn.functional.gelu or getattr(activation, "act", None) is nn.functional.gelu


def _supported(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        check = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        return check is not None and bool(check())
    return dtype == torch.float32
