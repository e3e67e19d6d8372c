"""What is recorded of an execution in PyTorch."""

from __future__ import annotations

from typing import Any

from retrieval.execution.precision import name_of_dtype


def torch_execution(model: Any) -> dict[str, Any]:
    """Return precision, runtime, device and versions of a `SentenceTransformer`'s execution."""
    import sentence_transformers
    import torch
    import transformers

    versions = {module.__name__: str(module.__version__) for module in (torch, transformers, sentence_transformers)}
    return {"precision": name_of_dtype(model.dtype), "runtime": "torch", "device": model.device.type, **versions}
