"""How exactly a reranker computes: the floating-point types of encoders, and eight bits on a processor."""

from __future__ import annotations

import copy
from typing import Any, Literal, TypeAlias, cast

from retrieval.errors import EncoderError, RerankerError
from retrieval.execution import precision as floating_point
from retrieval.execution.precision import Precision, name_of_dtype

RerankerPrecision: TypeAlias = Precision | Literal["int8"]
"""Of weights and activations. "int8": linear layers of the transformer in eight bits (`models.int8_linear`), everything
else in fp32, on a processor; "fp32" is the exact one."""

INT8 = "int8"


def check_precision(precision: RerankerPrecision | None) -> None:
    """Refuse a precision that there is not.

    Raises:
        RerankerError: naming those there are.
    """
    if precision is None or precision == INT8:
        return
    try:
        floating_point.check_precision(cast(Precision, precision))
    except EncoderError as error:
        # With "auto" it is the environment that names none, where int8 is not to be had.
        raise RerankerError(str(error) if precision == "auto" else f"{error}, {INT8}") from None


def in_precision(model: Any, precision: RerankerPrecision | None) -> Any:
    """Return a model in a precision: itself where it has it, else a copy; None for the one that it has.

    Raises:
        RerankerError: there is no such precision, or it is none for this model.
    """
    check_precision(precision)
    if precision == INT8:
        return set_precision(copy.deepcopy(model), precision)
    found = floating_point.in_precision(model, _of(model, precision))
    return found if found is model else with_exact_head(found)


def set_precision(model: Any, precision: RerankerPrecision | None) -> Any:
    """Bring a model into a precision in place, and return it.

    Raises:
        RerankerError: there is no such precision, or it is none for this model.
    """
    check_precision(precision)
    if precision == INT8:
        from retrieval.models.int8_linear import is_quantised, quantise

        if model.device.type != "cpu":
            raise RerankerError(
                f"precision int8 is for processors, and the model is on {model.device.type}; take bf16 or device='cpu'"
            )
        if hasattr(model, "preprocess") or not (is_quantised(model.float()) or quantise(model)):
            raise RerankerError(
                f"precision int8 is for transformers' models with linear layers, not for {type(model).__name__}"
            )
    else:
        floating_point.set_precision(model, _of(model, precision))
        if precision is not None:
            with_exact_head(model)
    return model


def _of(model: Any, precision: RerankerPrecision | None) -> Precision | None:
    """Return the precision of a model's network: "auto" is fp32 where the head cannot be kept exact."""
    if precision == "auto" and hasattr(model, "preprocess"):
        return "fp32"
    return cast("Precision | None", precision)


def with_exact_head(model: Any) -> Any:
    """Let what stands behind the network of a transformers classifier compute in fp32, and return the model.

    A logit of 8 has neighbours in bf16 at steps of 1/32: candidates that a reranker is sure of would tie in masses. The
    head is two products of a vector, so that its precision costs nothing. Other models stay as they are.
    """
    prefix = getattr(model, "base_model_prefix", "")
    if prefix and hasattr(model, prefix) and name_of_dtype(next(model.parameters()).dtype) != "fp32":
        for name, part in model.named_children():
            if name != prefix and next(part.parameters(), None) is not None:
                part.float().register_forward_pre_hook(_in_fp32)
    return model


def _in_fp32(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(each.float() if getattr(each, "is_floating_point", bool)() else each for each in inputs)


def name_of_precision(model: Any) -> str:
    """Return the precision that a model computes in."""
    from retrieval.models.int8_linear import is_quantised

    return INT8 if is_quantised(model) else name_of_dtype(next(model.parameters()).dtype)
