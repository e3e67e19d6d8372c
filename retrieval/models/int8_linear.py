"""Linear layers in eight bits, for processors: weights quantised once, activations row by row.

Both sides are symmetric: `w ~ s_o q` for each output o, `x ~ s_r q` for each row r, q in -127 … 127, so that a product
is `s_r s_o sum(q q)` with an exact integer sum. A row's scale is of this row alone, so its output does not depend on
what goes through the layer beside it, as it does with one scale for a whole batch. An element is off by at most half a
scale.

PyTorch's own quantised modules (`torch.ao`) are deprecated; this is the product that their successor builds on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from retrieval.errors import RerankerError

_LARGEST = 127

_FEWEST_INPUTS = 2
"""Of one input, torch's product of eight-bit matrices is wrong (2.13, on processors)."""


class Int8Linear(nn.Module):
    """What a linear layer does, with weights and products in eight bits; it cannot be trained.

    Args:
        linear: in any floating-point type; the output is of that type.

    Attributes:
        weight_q: (outputs, inputs) int8.
        weight_scale: (outputs,) float32.
        bias: (outputs,) float32, or None.

    Raises:
        RerankerError: the layer has one input only.
    """

    weight_q: Tensor
    weight_scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        if linear.in_features < _FEWEST_INPUTS:
            raise RerankerError(f"a layer of {linear.in_features} inputs is not quantised; leave it as it is")
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight_q, scale = quantised_rows(linear.weight.detach().float())
        self.register_buffer("weight_q", weight_q)
        self.register_buffer("weight_scale", scale[:, 0])
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float().clone())

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, (…, outputs), of inputs, (…, inputs)."""
        rows = inputs.reshape(-1, self.in_features)
        quantised, scale = quantised_rows(rows.float())
        found = torch._int_mm(quantised, self.weight_q.t()).float()  # (rows, outputs)
        found = found.mul_(scale).mul_(self.weight_scale)
        if self.bias is not None:
            found = found.add_(self.bias)
        return found.to(inputs.dtype).view(*inputs.shape[:-1], self.out_features)


def quantised_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return eight-bit rows and their scales: `values ~ scale * rows`, off by at most half a scale.

    Args:
        values: (n, d) float32. The scale of a row that is not finite is not finite either.

    Returns:
        (n, d) int8 in -127 … 127, and (n, 1) float32 above 0.
    """
    scale = values.abs().amax(dim=1, keepdim=True).div_(_LARGEST)
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (values / scale).round_().clamp_(-_LARGEST, _LARGEST).to(torch.int8), scale


def quantise(model: Any) -> int:
    """Replace the linear layers of a classifier's transformer in place, and return how many there were.

    The head is left as it is: it is one row of a few thousand, and rankings hang on it.

    Args:
        model: of transformers, for sequence classification, on a processor.
    """
    found = [
        (parent, name, child)
        for place, parent in model.base_model.named_modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and "pooler" not in place.split(".") and child.in_features >= _FEWEST_INPUTS
    ]
    for parent, name, child in found:
        setattr(parent, name, Int8Linear(child))
    return len(found)


def is_quantised(model: nn.Module) -> bool:
    """Tell whether a model has layers in eight bits."""
    return any(isinstance(module, Int8Linear) for module in model.modules())
