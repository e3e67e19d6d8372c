"""From what users write for a reranker to the reranker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from retrieval.errors import RerankerError
from retrieval.rerankers.base import Reranker

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

RerankerSpec: TypeAlias = "str | Path | Reranker | CrossEncoder"
"""The name or path of a model; a reranker; a loaded `CrossEncoder`."""

_MONO = {"query_tokens", "max_tokens", "prompt", "exit_entropy", "precision", "batch_tokens", "device"}
_DUO = {"aggregation", "precision", "batch_tokens", "device"}
_NETWORK = {"precision", "batch_tokens", "device"}
_LOADED = _MONO - {"device", "exit_entropy"}


def load_reranker(specification: RerankerSpec, **settings: Any) -> Reranker:
    """Return the reranker that is meant.

    Args:
        specification: the folder of a sentence-transformers `CrossEncoder` or of a transformers model for sequence
            classification, or its name on the model hub; the folder of a pairwise reranker or of another ranking
            network (BERT_DOT, ColBERT, PARADE, PreTTR, TK), whose `reranker.json` says which; a checkpoint of ColBERT
            or PreTTR as their authors publish them; a `CrossEncoder`; or a reranker, which is returned as it is.
        **settings: for a model that is loaded here: `query_tokens`, `max_tokens`, `prompt`, `exit_entropy`,
            `precision`, `batch_tokens`, `device`, as in `load_mono`; for a pairwise one `aggregation`, `precision`,
            `batch_tokens`, `device`, as in `load_duo`; for another network `precision`, `batch_tokens`, `device`.

    Raises:
        RerankerError: it is none of these, it cannot be loaded, or a setting is not one of it.
    """
    if isinstance(specification, (str, Path)):
        return _load(specification, settings)
    if is_cross_encoder(specification):
        from retrieval.rerankers.mono_loading import mono_of

        _only(settings, _LOADED, "a model that is loaded already")
        return mono_of(specification, **settings)
    if isinstance(specification, type) or not isinstance(specification, Reranker):
        raise RerankerError(
            f"{specification!r:.100} is not a reranker: give the folder or name of a CrossEncoder, a CrossEncoder, or "
            "a FunctionReranker around a function of yours"
        )
    _only(settings, set(), "a reranker that is loaded already")
    return specification


def _load(name_or_path: str | Path, settings: dict[str, Any]) -> Reranker:
    """Load a model by what its folder says that it is."""
    from retrieval.models.rankers.published import is_published
    from retrieval.rerankers.model_loading import reranker_folder, reranker_kind

    folder = reranker_folder(name_or_path)[0]
    kind = reranker_kind(folder)
    if kind == "duo":
        from retrieval.rerankers.duo_folder import load_duo

        _only(settings, _DUO, "a pairwise reranker")
        return load_duo(name_or_path, **settings)
    if kind not in (None, "mono") or (kind is None and is_published(folder)):
        from retrieval.rerankers.network import load_network_reranker

        _only(settings, _NETWORK, f"a reranker of kind {kind or 'colbert or prettr'!r}")
        return load_network_reranker(name_or_path, **settings)
    from retrieval.rerankers.mono_loading import load_mono

    _only(settings, _MONO, "a pointwise reranker")
    return load_mono(name_or_path, **settings)


def _only(settings: dict[str, Any], allowed: set[str], kind: str) -> None:
    refused = sorted(set(settings) - allowed)
    if refused:
        known = f"one of {', '.join(sorted(allowed))}" if allowed else "there are none"
        raise RerankerError(f"{refused[0]!r} is no setting of {kind}: {known}")


def is_cross_encoder(thing: object) -> bool:
    """Tell whether something is a loaded `CrossEncoder`."""
    # By the names of its classes: asking the library would import it, which takes seconds.
    return any(
        f"{kind.__module__}.{kind.__name__}".startswith("sentence_transformers.") and kind.__name__ == "CrossEncoder"
        for kind in type(thing).__mro__
    )
