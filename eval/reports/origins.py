"""Where results come from, in short: systems, data, versions, code and machine, as far as results say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from eval.reports.content import Content
from eval.reports.policies import Said, grouped
from eval.tasks.base import TaskResult

_DIGITS = 12
"""Of a checksum: enough to tell one from another; JSON has all."""


def system_origins(content: Content) -> list[Said]:
    """Return who each system is: models with the beginnings of their checksums, and how it searches."""
    return [
        said
        for name in content.systems
        for said in grouped(
            {task: {name: of_task[name]} for task, of_task in content.tasks.items() if name in of_task},
            lambda result: {result.system: _system(_mapping(result.settings.get("system")))},
        )
        if said.sentence
    ]


def data_origins(content: Content) -> list[Said]:
    """Return what each task was measured on: split, and files with the beginnings of their checksums."""
    return [
        said
        for task, of_task in content.tasks.items()
        for said in grouped({task: of_task}, lambda result: {result.task: _data(_mapping(result.settings.get("task")))})
        if said.sentence
    ]


def run_origins(content: Content) -> list[Said]:
    """Return seed, versions, code and machine; one that is not alike everywhere has one entry for each reading."""
    return [said for said in grouped(content.tasks, _run) if said.sentence]


def _system(facts: Mapping[str, Any]) -> str:
    parts = [
        f"{role}: {_model(_mapping(facts[role]))}" for role in ("encoder", "reranker") if _mapping(facts.get(role))
    ]
    if _mapping(facts.get("options")):
        parts.append(f"search: {msgspec.json.encode(facts['options'], enc_hook=str).decode()}")
    if facts.get("encoder") and facts.get("long"):
        parts.append(f"long texts: {facts['long']}")
    return "; ".join(parts)


def _model(facts: Mapping[str, Any]) -> str:
    identity, execution = _mapping(facts.get("identity")), _mapping(facts.get("execution"))
    parts = [
        identity.get("kind"),
        _labelled("weights", _short(identity.get("weights"))),
        _labelled("fingerprint", _short(facts.get("fingerprint"))),
        _labelled("tokens at most", identity.get("max_tokens")),
        execution.get("precision"),
        execution.get("runtime"),
        execution.get("device"),
    ]
    return _joined(parts)


def _data(facts: Mapping[str, Any]) -> str:
    definition = _mapping(facts.get("definition"))
    files = [f"{name} {_short(digest)}" for name, digest in sorted(_mapping(facts.get("files")).items())]
    return _joined(
        [
            _labelled("split", definition.get("split")),
            _labelled("subset", definition.get("subset")),
            _labelled("SHA-256", ", ".join(files)),
        ]
    )


def _run(result: TaskResult) -> dict[str, str]:
    settings = result.settings
    machine, versions = _mapping(settings.get("machine")), _mapping(settings.get("versions"))
    cores = machine.get("cores")
    return {
        "seed": "" if settings.get("seed") is None else str(settings["seed"]),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "code": _short(settings.get("code")),
        "machine": _joined(
            [machine.get("processor"), None if cores is None else f"{cores} cores", machine.get("system")]
        ),
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping as it is, anything else as an empty one: settings are what whoever ran the task put there."""
    return value if isinstance(value, Mapping) else {}


def _short(digest: Any) -> str:
    return "" if digest is None else str(digest)[:_DIGITS]


def _labelled(label: str, value: Any) -> str:
    return "" if value in (None, "") else f"{label} {value}"


def _joined(parts: Iterable[Any]) -> str:
    return ", ".join(str(part) for part in parts if part)
