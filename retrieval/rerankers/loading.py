"""From what users write for a reranker to the reranker."""

from __future__ import annotations

import numbers
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from retrieval.errors import RerankerError
from retrieval.rerankers.base import Reranker
from retrieval.rerankers.composed import SUFFIX, load_composed

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

RerankerSpec: TypeAlias = "str | Path | Reranker | CrossEncoder"
"""The name or path of a model; a reranker; a loaded `CrossEncoder`."""

_RUNTIME = {"runtime", "calibration"}
_NETWORK = {"precision", "batch_tokens", "device"}
_MONO = {"query_tokens", "max_tokens", "prompt", "exit_entropy"} | _NETWORK | _RUNTIME
_DUO = {"aggregation", "m", "seed"} | _NETWORK | _RUNTIME
_LOADED = _MONO - _RUNTIME - {"device", "exit_entropy"}

_WHOLE_NUMBERS = ("query_tokens", "max_tokens", "batch_tokens", "m", "seed")
_TEXTS = ("prompt", "precision", "runtime")


def load_reranker(specification: RerankerSpec, **settings: Any) -> Reranker:
    """Return the reranker that is meant.

    Args:
        specification: the folder of a sentence-transformers `CrossEncoder` or of a transformers model for sequence
            classification, or its name on the model hub; the folder of a pairwise reranker or of another ranking
            network (BERT_DOT, ColBERT, PARADE, PreTTR, TK), whose `reranker.json` says which; a checkpoint of ColBERT
            or PreTTR as their authors publish them; a file that composes several (routing, Birch, BERT-QE), see
            `retrieval.rerankers.composed`; a `CrossEncoder`; or a reranker, which is returned as it is.
        **settings: for a model that is loaded here: `query_tokens`, `max_tokens`, `prompt`, `exit_entropy`,
            `precision`, `batch_tokens`, `device`, `runtime`, `calibration`, as in `load_mono`; for a pairwise one
            `aggregation`, `m`, `seed`, `precision`, `batch_tokens`, `device`, `runtime`, `calibration`, as in
            `load_duo`; for another network `precision`, `batch_tokens`, `device`. None is the default.

    Raises:
        MissingExtraError: a package that a runtime needs is not installed.
        RerankerError: it is none of these, it cannot be loaded, or a setting is not one of it or makes no sense.
    """
    if isinstance(specification, (str, Path)):
        return _load(specification, settings)
    if is_cross_encoder(specification):
        from retrieval.rerankers.mono_loading import mono_of

        _check(settings, _LOADED, "a model that is loaded already")
        return mono_of(specification, **settings)
    if isinstance(specification, type) or not isinstance(specification, Reranker):
        raise RerankerError(
            f"{specification!r:.100} is not a reranker: give the folder or name of a CrossEncoder, a CrossEncoder, or "
            "a FunctionReranker around a function of yours"
        )
    _check(settings, set(), "a reranker that is loaded already")
    return specification


def _load(name_or_path: str | Path, settings: dict[str, Any]) -> Reranker:
    """Load a model by what its folder says that it is, or what a file composes."""
    if str(name_or_path).endswith(SUFFIX) and Path(name_or_path).is_file():
        _check(settings, set(), "a composed reranker; give them to its parts, in the file")
        return load_composed(Path(name_or_path), load_reranker)
    from retrieval.models.rankers.published import is_published
    from retrieval.rerankers.model_loading import reranker_folder, reranker_kind

    folder = reranker_folder(name_or_path)[0]
    kind = reranker_kind(folder)
    if kind == "duo":
        from retrieval.rerankers.duo_folder import load_duo

        _check(settings, _DUO, "a pairwise reranker")
        return load_duo(name_or_path, **settings)
    if kind not in (None, "mono") or (kind is None and is_published(folder)):
        from retrieval.rerankers.network import load_network_reranker

        _check(settings, _NETWORK, f"a reranker of kind {kind or 'colbert or prettr'!r}")
        return load_network_reranker(name_or_path, **settings)
    from retrieval.rerankers.mono_loading import load_mono

    _check(settings, _MONO, "a pointwise reranker")
    return load_mono(name_or_path, **settings)


def _check(settings: dict[str, Any], allowed: set[str], kind: str) -> None:
    """Refuse settings that a kind of reranker has not, and values that no reranker understands."""
    refused = sorted(set(settings) - allowed)
    if refused:
        known = f"one of {', '.join(sorted(allowed))}" if allowed else "there are none"
        if refused[0] in _RUNTIME and allowed:
            known = "it runs in PyTorch; give it for the folder of a pointwise or pairwise reranker, or leave it out"
        raise RerankerError(f"{refused[0]!r} is no setting of {kind}: {known}")
    for name, value in settings.items():
        if value is None:
            continue
        if name == "device" and isinstance(value, (bool, float, list, dict)):  # torch takes 1.5 for a device
            raise RerankerError(f"device is {value!r:.80}; give a name, such as cpu, cuda or cuda:1")
        if name in _WHOLE_NUMBERS and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
            raise RerankerError(f"{name} is {value!r:.80}; give a whole number")
        if name in _TEXTS and not isinstance(value, str):
            raise RerankerError(f"{name} is {value!r:.80}; give a text, on the command line in quotes: {name}='\"…\"'")


def is_cross_encoder(thing: object) -> bool:
    """Tell whether something is a loaded `CrossEncoder`."""
    # By the names of its classes: asking the library would import it, which takes seconds.
    return any(
        f"{kind.__module__}.{kind.__name__}".startswith("sentence_transformers.") and kind.__name__ == "CrossEncoder"
        for kind in type(thing).__mro__
    )
