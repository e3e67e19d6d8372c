"""How exactly a network computes: the floating-point types of its weights and activations."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any, Literal, cast

from retrieval.errors import EncoderError

Precision = Literal["fp32", "bf16", "fp16", "auto"]
"""Of weights and activations; "auto" is what `chosen_precision` says."""

PRECISION_VARIABLE = "RETRIEVAL_PRECISION"
"""Environment variable that says what "auto" is, for all models of a process: "fp32", "bf16" or "fp16"."""

_DTYPES: dict[str, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

_AMPERE = 8
"""Major compute capability of the first GPUs with bf16."""

_CAPABILITIES = frozenset({"avx512_bf16", "amx_bf16"})
"""Instructions of a processor that multiply in bf16, under PyTorch's and Linux's names."""

_CPUINFO = Path("/proc/cpuinfo")
_GPU_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))


def in_precision(model: Any, precision: Precision | None) -> Any:
    """Return a model in a precision: itself where it has it, else a copy; None for the one that it has."""
    if precision is None:
        return model
    dtype = dtype_of(precision, device_of(model))
    if all(parameter.dtype == dtype for parameter in model.parameters()):
        return model
    return copy.deepcopy(model).to(dtype)


def set_precision(model: Any, precision: Precision | None) -> None:
    """Bring a model into a precision in place; None leaves it in the one that it has.

    Raises:
        EncoderError: there is no such precision.
    """
    if precision is not None:
        model.to(dtype_of(precision, device_of(model)))


def check_precision(precision: Precision | None) -> None:
    """Refuse a precision that there is not.

    Raises:
        EncoderError: naming those there are.
    """
    if precision is not None:
        dtype_of(precision, "cpu")


def dtype_of(precision: Precision, device: str | None = None) -> Any:
    """Return the torch type of a precision.

    Args:
        precision: see `Precision`.
        device: "cpu", "cuda", …, for "auto"; by default a GPU when there is one.

    Raises:
        EncoderError: there is no such precision.
    """
    import torch

    if precision == "auto":
        precision = chosen_precision(device)
    if precision not in _DTYPES:
        raise EncoderError(f"unknown precision {precision!r}: one of {', '.join(_DTYPES)}, auto")
    return getattr(torch, _DTYPES[precision])


def device_of(model: Any) -> str:
    """Return the device that a model is on, "cpu", "cuda:1", …; "cpu" where it has no parameters."""
    parameter = next(iter(model.parameters()), None)
    return "cpu" if parameter is None else str(parameter.device)


def chosen_precision(device: str | None = None) -> Precision:
    """Return what "auto" stands for: what the environment says (`PRECISION_VARIABLE`), else `supported_precision`.

    Args:
        device: as in `supported_precision`.

    Raises:
        EncoderError: the environment names no precision.
    """
    said = os.environ.get(PRECISION_VARIABLE, "auto") or "auto"
    if said == "auto":
        return supported_precision(device)
    if said not in _DTYPES:
        raise EncoderError(
            f"the environment variable {PRECISION_VARIABLE} is {said!r}: one of {', '.join(_DTYPES)}, auto"
        )
    return cast("Precision", said)


def supported_precision(device: str | None = None) -> Precision:
    """Return the fastest precision that a device has instructions for and that keeps rankings as they are.

    bf16 on processors with AVX-512 BF16 or AMX and on GPUs since Ampere; fp16 on older GPUs; fp32 elsewhere.

    Args:
        device: "cpu", "cuda", "cuda:1" or another; by default a GPU when there is one.
    """
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= _AMPERE else "fp16"
    return "bf16" if device == "cpu" and processor_has_bf16() else "fp32"


def may_differ_from_fp32(device: str | None) -> bool:
    """Tell whether "auto" may be something else than fp32, as far as can be told without importing PyTorch.

    Args:
        device: that the model is for; None is a GPU when there is one.
    """
    said = os.environ.get(PRECISION_VARIABLE, "auto") or "auto"
    if said != "auto":
        return said != "fp32"
    has_gpu = device != "cpu" and any(path.exists() for path in _GPU_DRIVERS)
    return has_gpu or not _CPUINFO.exists() or bool(_linux_flags() & _CAPABILITIES)


def processor_has_bf16() -> bool:
    """Tell whether the processor multiplies in bf16 by instructions of its own.

    PyTorch's own word where it gives one (the function is young and may move), else what Linux says.
    """
    import torch

    try:
        capabilities = dict(torch.cpu.get_capabilities())
        return torch.backends.mkldnn.is_available() and any(capabilities.get(name, False) for name in _CAPABILITIES)
    except (AttributeError, RuntimeError, TypeError):
        return bool(_linux_flags() & _CAPABILITIES)


def _linux_flags() -> set[str]:
    """Return the processor's flags as Linux names them; none on other systems."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return set(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


def name_of_dtype(dtype: Any) -> str:
    """Return the precision of a torch type; the type's own name where it is none of ours."""
    names = {torch_name: precision for precision, torch_name in _DTYPES.items()}
    name = str(dtype).removeprefix("torch.")
    return str(names.get(name, name))
