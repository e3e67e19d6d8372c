"""Rerankers made of others, by a small file: what routes, interpolates or expands has no folder of its own.

    kind = "routing"            # the small model, and the large one where the small one is unsure
    swift = "small-model"
    super = "large-model"
    threshold = 0.3
    by = "entropy"

    kind = "query-routing"      # one or the other, by how flat the list of the stage before is
    kind = "birch"              # reranker; first, weights, normalisation
    kind = "bert-qe"            # reranker, chunk_reranker, feedback_reranker; weight, documents, chunks

Models are named as for `load_reranker`; a path is looked for beside the file first. A model may be such a file itself,
or a table of its name as `model` and its settings: `swift = {model = "small-model", precision = "bf16"}`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from retrieval.errors import RerankerError
from retrieval.rerankers.base import Reranker

SUFFIX = ".toml"

Load = Callable[..., Reranker]
"""`load_reranker`."""


class _Kind(NamedTuple):
    """A kind of composed reranker.

    Attributes:
        make: from the parts and the settings that are given.
        parts: names of the rerankers that it must have.
        optional: of those that it may have.
        settings: names of everything else.
    """

    make: Callable[[Mapping[str, Any]], Reranker]
    parts: tuple[str, ...]
    optional: tuple[str, ...]
    settings: tuple[str, ...]


def load_composed(file: Path, load: Load) -> Reranker:
    """Return the reranker that a file describes.

    Args:
        file: TOML, see the module.
        load: `load_reranker`, for its parts.

    Raises:
        RerankerError: the file cannot be read, a key is missing or unknown, a value makes no sense, or a part cannot be
            loaded; the message names the file.
    """
    try:
        described = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RerankerError(f"cannot read {file}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RerankerError(f"{file} is no TOML: {error}") from None
    kind = _KINDS.get(str(described.pop("kind", "")))
    if kind is None:
        raise RerankerError(f"{file} needs a kind: one of {', '.join(_KINDS)}")
    known = (*kind.parts, *kind.optional, *kind.settings)
    unknown = sorted(set(described) - set(known))
    if unknown:
        raise RerankerError(f"{file} has the key {unknown[0]!r}; there are {', '.join(known)}")
    missing = [name for name in kind.parts if name not in described]
    if missing:
        raise RerankerError(f"{file} has no {missing[0]!r}: the folder or name of a reranker")
    named = [name for name in (*kind.parts, *kind.optional) if name in described]
    try:
        parts = {name: _part(file, name, described.pop(name), load) for name in named}
        return kind.make({**parts, **described})
    except (TypeError, ValueError) as error:
        raise RerankerError(f"{file}: {error}") from None
    except RecursionError:
        raise RerankerError(f"{file} is made of itself, by way of its parts") from None
    except RerankerError as error:
        raise RerankerError(f"{file}: {error}") from error


def _part(file: Path, name: str, value: Any, load: Load) -> Reranker:
    settings = dict(value) if isinstance(value, dict) else {"model": value}
    model = settings.pop("model", None)
    if not isinstance(model, str) or not model.strip():
        raise RerankerError(f"{name} is {value!r:.80}; give the folder or name of a reranker")
    beside = file.parent / model
    if beside.resolve() == file.resolve():
        raise RerankerError(f"{name} is the file itself")
    return load(beside if beside.exists() else model, **settings)


def _routing(given: Mapping[str, Any]) -> Reranker:
    from retrieval.rerankers.routing import Calibration, RoutingReranker

    calibration = given.get("calibration")
    return RoutingReranker(
        given["swift"],
        given["super"],
        _threshold(given),
        by=given.get("by", "energy"),
        calibration=None if calibration is None else Calibration(*map(float, calibration)),
    )


def _query_routing(given: Mapping[str, Any]) -> Reranker:
    from retrieval.rerankers.query_routing import QueryRoutingReranker

    return QueryRoutingReranker(given["swift"], given["super"], _threshold(given), **_some(given, "depth"))


def _birch(given: Mapping[str, Any]) -> Reranker:
    from retrieval.rerankers.birch import BirchReranker, Interpolation

    interpolation = Interpolation(**_some(given, "first", "weights"))
    return BirchReranker(given["reranker"], interpolation, **_some(given, "normalisation"))


def _bert_qe(given: Mapping[str, Any]) -> Reranker:
    from retrieval.rerankers.bert_qe import BertQE, Expansion

    expansion = Expansion(**_some(given, "weight", "documents", "chunks"))
    return BertQE(given["reranker"], expansion, **_some(given, "chunk_reranker", "feedback_reranker"))


def _threshold(given: Mapping[str, Any]) -> float:
    if "threshold" not in given:
        raise RerankerError("a threshold is missing; inf asks the cheap reranker alone, -inf the expensive one")
    threshold: float = given["threshold"]
    return threshold


def _some(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


_KINDS: Mapping[str, _Kind] = {
    "routing": _Kind(_routing, ("swift", "super"), (), ("threshold", "by", "calibration")),
    "query-routing": _Kind(_query_routing, ("swift", "super"), (), ("threshold", "depth")),
    "birch": _Kind(_birch, ("reranker",), (), ("first", "weights", "normalisation")),
    "bert-qe": _Kind(
        _bert_qe, ("reranker",), ("chunk_reranker", "feedback_reranker"), ("weight", "documents", "chunks")
    ),
}
