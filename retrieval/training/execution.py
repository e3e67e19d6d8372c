"""Where a run computes and in which precision."""

from __future__ import annotations

from retrieval.errors import TrainingError
from retrieval.training.recipe import Recipe


def checked_device(device: str | None) -> str:
    """Return the device to train on; None takes a GPU when there is one.

    Raises:
        TrainingError: there is no such device.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if device is None:
        return "cuda" if has_gpu else "cpu"
    if device not in ("cpu", "cuda") or (device == "cuda" and not has_gpu):
        raise TrainingError(
            f"cannot train on device {device!r}: {'cpu or cuda' if has_gpu else 'this machine has cpu'}"
        )
    return device


def takes_bf16(recipe: Recipe, device: str) -> bool:
    """Tell whether a run computes in mixed bf16: as the recipe says, by default on a GPU that has it."""
    import torch

    if recipe.precision != "auto":
        return recipe.precision == "bf16"
    return device != "cpu" and torch.cuda.is_bf16_supported()
