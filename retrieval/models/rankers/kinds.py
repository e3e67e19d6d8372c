"""From the kind that a folder names to its network."""

from __future__ import annotations

import importlib
from pathlib import Path

from retrieval.errors import RerankerError
from retrieval.models.rankers.base import RankingNetwork
from retrieval.models.rankers.published import is_published, load_published
from retrieval.rerankers.model_loading import SETTINGS_FILE, reranker_kind

KINDS = {
    "colbert": "retrieval.models.rankers.colbert.ColBERT",
    "dot": "retrieval.models.rankers.dot.DotNetwork",
    "parade": "retrieval.models.rankers.parade.Parade",
    "prettr": "retrieval.models.rankers.prettr.PreTTR",
    "tk": "retrieval.models.rankers.tk.TransformerKernel",
}
"""Networks whose folders say their kind, by it."""


def network_class(kind: str) -> type[RankingNetwork]:
    """Return the class of a kind.

    Raises:
        RerankerError: there is none.
    """
    if kind not in KINDS:
        raise RerankerError(f"unknown kind of ranking network {kind!r}: one of {', '.join(sorted(KINDS))}")
    module, _, name = KINDS[kind].rpartition(".")
    found: type[RankingNetwork] = getattr(importlib.import_module(module), name)
    return found


def load_network(folder: str | Path) -> RankingNetwork:
    """Read a ranking network from its folder, or from a published checkpoint's, whatever its kind; ready to score.

    Raises:
        RerankerError: the folder holds none of a known kind, or it is damaged.
    """
    kind = reranker_kind(Path(folder))
    if kind is None and is_published(Path(folder)):
        return load_published(Path(folder))
    if kind is None:
        raise RerankerError(f"model {folder} holds no ranking network: it has no {SETTINGS_FILE} that says its kind")
    return network_class(kind).load(folder)
