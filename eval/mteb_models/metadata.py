"""What mteb is told about a model: a name that says whose it is, and a revision that says exactly which."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from mteb.models import ModelMeta

from eval.errors import TaskError
from retrieval.encoders import fingerprint

ORGANISATION = "retrieval-engine"
"""First part of the names that are made here, so that nobody takes our results for the original model's."""

_FRAMEWORKS = {"torch": "PyTorch", "onnx": "ONNX", "openvino": "OpenVINO"}


def model_meta(
    name: str | None,
    default_name: str,
    *,
    identity: Mapping[str, Any],
    executions: Mapping[str, Mapping[str, Any]],
    **facts: Any,
) -> ModelMeta:
    """Return the metadata of a model; mteb's caches of results and of embeddings are keyed by them.

    Args:
        name: "organisation/model", or "model" alone; None takes the default.
        default_name: a name, a path or a text that tells the model; its last part is used.
        identity: what decides the model's output; its fingerprint is the revision.
        executions: how it is computed, of each of its models by name. What is not usual (fp32, torch) keeps results
            apart as well: mteb calls such settings those of an experiment.
        **facts: fields of `ModelMeta`.

    Raises:
        TaskError: the name is empty or has several slashes.
    """
    unusual = dict(_unusual("", executions))
    runtimes = dict.fromkeys(str(execution.get("runtime")) for execution in executions.values())
    facts = {
        "framework": [_FRAMEWORKS[runtime] for runtime in runtimes if runtime in _FRAMEWORKS],
        "modalities": ["text"],
        **facts,
    }
    return ModelMeta.create_empty(
        overwrites={
            "name": _full_name(name, default_name),
            "revision": fingerprint(identity),
            "experiment_kwargs": unusual or None,
            **facts,
        }
    )


def _unusual(name: str, execution: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the settings that are not usual, of models within models too."""
    for key, value in execution.items():
        if isinstance(value, Mapping):
            yield from _unusual(f"{name}{key} ", value)
        elif isinstance(value, list):
            for number, each in enumerate(value):
                yield from _unusual(f"{name}{key} {number} ", each if isinstance(each, Mapping) else {})
        elif (key == "precision" and value != "fp32") or (key == "runtime" and value in ("onnx", "openvino")):
            yield f"{name}{key}", value


def _full_name(name: str | None, default_name: str) -> str:
    if name is None:
        last = PurePath(default_name).name or default_name
        return f"{ORGANISATION}/{re.sub(r'[^A-Za-z0-9._,:+-]+', '-', last).strip('-') or 'model'}"
    parts = name.split("/")
    if len(parts) > 2 or not all(part.strip() for part in parts):
        raise TaskError(f"mteb calls models 'organisation/model', which {name!r} is not")
    return name if len(parts) == 2 else f"{ORGANISATION}/{name}"
