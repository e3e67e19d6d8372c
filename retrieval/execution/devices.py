"""Features on their way to the device that a network is on."""

from __future__ import annotations

from typing import Any


def on_device(value: Any, device: Any) -> Any:
    """Return a tensor, or a dictionary of features with all of its tensors, on a device; other values as they are.

    Args:
        value: a dictionary may hold further ones.
        device: of torch.
    """
    if hasattr(value, "to"):
        return value.to(device)
    return {name: on_device(each, device) for name, each in value.items()} if isinstance(value, dict) else value
