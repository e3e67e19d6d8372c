"""What the engine has, as models of the package `mteb`, so that `mteb.evaluate` runs on it (extra `mteb`).

An encoder becomes an `EncoderProtocol`, a reranker a `CrossEncoderProtocol`, and a way to search a `SearchProtocol`,
whose collection does the searching. Nothing here needs a network: tasks do, where their data are not given to them.

Example:
    import mteb
    from eval.mteb_models import as_mteb_search

    search = as_mteb_search("workspace", stages="bm25:1000+dense:1000,mono:50", rerankers={"mono": reranker})
    mteb.evaluate(search, tasks=mteb.get_tasks(tasks=["SciFact"]), cache=None)
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import MissingExtraError

if TYPE_CHECKING:
    from eval.mteb_models.encoder import MtebEncoder, Side
    from eval.mteb_models.reranker import MtebReranker
    from eval.mteb_models.search import MtebSearch
    from retrieval.encoders import EncoderSpec
    from retrieval.rerankers import RerankerSpec


def as_mteb_encoder(
    encoder: EncoderSpec = "embedded", *, name: str | None = None, symmetric: Side | Mapping[str, Side] = "passage"
) -> MtebEncoder:
    """Return an encoder as an mteb model, for every task over vectors.

    What mteb calls a query is encoded as a query, what it calls a document as a passage. The prompts are the encoder's
    own: `load_encoder(…, prompts=…)` changes them. Its identity is the revision, so that mteb's caches never mix two
    encoders of one name.

    Args:
        encoder: "embedded", the name or path of a model, or an encoder; see `load_encoder`.
        name: what mteb calls it, "organisation/model"; by default "retrieval-engine/" and the encoder's name.
        symmetric: how texts are encoded in tasks that have neither queries nor documents (STS, clustering): as
            "passage" or "query", or which of these for tasks by name or type, {"STS": "query"}; the others as passages.

    Raises:
        MissingExtraError: mteb is not installed.
        EncoderError: the encoder cannot be loaded.
        TaskError: the name or a side cannot be used.
    """
    _check_installed()
    from eval.mteb_models.encoder import MtebEncoder
    from retrieval.encoders import load_encoder

    return MtebEncoder(load_encoder(encoder), name=name, symmetric=symmetric)


def as_mteb_reranker(reranker: RerankerSpec, *, name: str | None = None) -> MtebReranker:
    """Return a reranker as an mteb model, for reranking tasks and for the second stage of retrieval tasks.

    A query's candidates are scored together, whatever mteb's batches are, so that rerankers whose scores depend on the
    other candidates work as well.

    Args:
        reranker: its name or path, or a loaded one; see `load_reranker`.
        name: what mteb calls it, "organisation/model"; by default "retrieval-engine/" and the reranker's name.

    Raises:
        MissingExtraError: mteb is not installed.
        RerankerError: the reranker cannot be loaded.
        TaskError: the name cannot be used.
    """
    _check_installed()
    from eval.mteb_models.reranker import MtebReranker
    from retrieval.rerankers import load_reranker

    return MtebReranker(load_reranker(reranker), name=name)


def as_mteb_search(
    folder: str | Path,
    encoder: EncoderSpec = "embedded",
    *,
    name: str | None = None,
    collection: Mapping[str, Any] | None = None,
    **options: Any,
) -> MtebSearch:
    """Return a way to search as an mteb model, for retrieval and reranking tasks.

    Each corpus becomes a collection in a folder of its own, named by a digest of the documents and of what the
    collection is made of: a second run finds it again, an interrupted one goes on where it stopped, and tasks with the
    same corpus share it. Remove the folder when it is of no more use. In a reranking task only a query's candidates are
    searched; those that the search does not find (BM25, no common word) stay unranked.

    Scores go to mteb with equal ones moved apart by the smallest 32-bit step, so that it measures the order that the
    search gave and not one by document ids.

    Args:
        folder: where the collections are made.
        encoder: see `Collection.create`; None for a lexical collection.
        name: what mteb calls it, "organisation/model"; by default "retrieval-engine/", the search and the encoder.
        collection: other arguments of `Collection.create`: sparse, tokens, analyser, fields and so on. Long texts are
            truncated, as mteb's models do, unless {"long": "chunk"} or another policy is given.
        **options: of every search, see `Collection.search`: mode=, stages=, rerankers=, bm25=, fusion=, aggregate=,
            exact=, syntax=. By default vectors are searched, or by BM25 where there is no encoder.

    Raises:
        MissingExtraError: mteb is not installed.
        EncoderError: an encoder cannot be loaded.
        QueryError: the stages cannot be understood, or a reranker is missing.
        TaskError: the name or an option cannot be used.
    """
    _check_installed()
    from eval.mteb_models.search import MtebSearch

    return MtebSearch(Path(folder), encoder, name=name, collection=collection or {}, options=options)


def _check_installed() -> None:
    if importlib.util.find_spec("mteb") is None:
        raise MissingExtraError("mteb", "mteb", "running mteb's tasks")
