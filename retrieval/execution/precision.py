"""How exactly a network computes: the floating-point types of its weights and activations."""

from __future__ import annotations

import copy
from typing import Any, Literal

from retrieval.errors import EncoderError

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES: dict[str, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def in_precision(model: Any, precision: Precision | None) -> Any:
    """Return a model in a precision: itself where it has it, else a copy; None for the one that it has."""
    if precision is None or all(parameter.dtype == dtype_of(precision) for parameter in model.parameters()):
        return model
    return copy.deepcopy(model).to(dtype_of(precision))


def dtype_of(precision: Precision) -> Any:
    """Return the torch type of a precision.

    Raises:
        EncoderError: there is no such precision.
    """
    import torch

    if precision not in _DTYPES:
        raise EncoderError(f"unknown precision {precision!r}: one of {', '.join(_DTYPES)}")
    return getattr(torch, _DTYPES[precision])


def name_of_dtype(dtype: Any) -> str:
    """Return the precision of a torch type; the type's own name where it is none of ours."""
    names = {torch_name: precision for precision, torch_name in _DTYPES.items()}
    name = str(dtype).removeprefix("torch.")
    return names.get(name, name)
