"""What decides a result, as JSON values: by these facts a stored result is told from one that has to be run again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from eval.errors import EvaluationError
from eval.provenance import code_fingerprint, described, package_versions
from retrieval.encoders.base import fingerprint
from retrieval.pipeline.stages import Pipeline

if TYPE_CHECKING:
    from eval.tasks.base import Surroundings, Task
    from eval.tasks.system import System


def system_facts(system: System) -> dict[str, Any]:
    """Return what a system is, but for its name: its models with identity and execution, and how it searches.

    Raises:
        EvaluationError: an option of its searches has no JSON form and no identity.
    """
    return {
        "encoder": None if system.encoder is None else described(system.encoder),
        "reranker": None if system.reranker is None else described(system.reranker),
        "options": _json(system.search_options, f"system {system.name!r}: option"),
        "long": system.long,
    }


def task_facts(task: Task) -> dict[str, Any]:
    """Return what a task is; it may read all of its data for that."""
    return {"name": task.name, "kind": task.kind, **task.identity()}


def result_facts(system: Mapping[str, Any], task: Mapping[str, Any], surroundings: Surroundings) -> dict[str, Any]:
    """Return everything that decides the result of a system on a task.

    Args:
        system: what `system_facts` says of it.
        task: likewise `task_facts`.
        surroundings: of the run.

    Raises:
        EvaluationError: something has no JSON form.
    """
    facts = {
        "task": task,
        "system": system,
        "policies": dataclasses.asdict(surroundings.policies),
        "seed": surroundings.seed,
        "versions": package_versions(),
        "code": code_fingerprint(),
    }
    return normalised(_json(facts, f"task {task['name']!r}: fact"))


def normalised(value: Any) -> Any:
    """Return JSON values as they come back from a file: lists for tuples, text for keys."""
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise EvaluationError(f"{value!r:.80} has no JSON form")


def model_name(system: Mapping[str, Any]) -> str:
    """Return what a system's facts call its models, for a message that tells two systems apart."""
    parts = [_called(role, system[role]) for role in ("encoder", "reranker") if system[role] is not None]
    return " and ".join([*parts, f"options {fingerprint(system['options'])[:8]}" if parts else "no model"])


def _called(role: str, facts: Mapping[str, Any]) -> str:
    identity = facts["identity"]
    name = identity.get("name") or identity.get("kind") or "unnamed"
    return f"{role} {name!r} ({facts['fingerprint'][:8]})"


def _json(value: Any, place: str) -> Any:
    """Return a value in JSON's types; models become their identities, settings their fields."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (Pipeline, PurePath, np.generic)):
        return value.item() if isinstance(value, np.generic) else str(value)
    if isinstance(value, (list, tuple)):
        return [_json(each, place) for each in value]
    parts = _parts(value)
    if parts is None:
        raise EvaluationError(
            f"{place} is {value!r:.80}, which cannot say who it is, so that no result could be told from another; wrap "
            "a function in FunctionReranker(function, name, version)"
        )
    return {str(name): _json(each, f"{place} {name!r}") for name, each in parts.items()}


def _parts(value: Any) -> Mapping[str, Any] | None:
    """Return what stands for a model, a mapping or settings; None for anything else."""
    if isinstance(value, type):
        return None
    if hasattr(value, "identity") and hasattr(value, "execution"):
        return described(value)
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    return None
