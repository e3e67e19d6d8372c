"""Which lists a search begins with and how deep they are: those of its mode, or of its pipeline's first stage."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from retrieval.errors import QueryError
from retrieval.pipeline.stages import HYBRID, RETRIEVERS

if TYPE_CHECKING:
    from retrieval.collection.settings import Fusion
    from retrieval.collection.snapshot import Snapshot
    from retrieval.feedback import Feedback
    from retrieval.pipeline.stages import Pipeline
    from retrieval.results import Mode


class FirstStage(NamedTuple):
    """What is searched.

    Attributes:
        name: what ran, as the results say it: the mode, or the whole pipeline.
        depths: documents that each list may hold, in the order of fusion; several lists are fused.
        keep: documents that are kept of the list, or of the fused one.
        feedback: of those lists that have one.
    """

    name: str
    depths: Mapping[str, int]
    keep: int
    feedback: Mapping[str, Feedback] = MappingProxyType({})

    def label(self, name: str) -> str:
        """Return what a list is called: its name, and what it is fed back by."""
        return f"{name}({self.feedback[name]})" if name in self.feedback else name


def of_mode(snapshot: Snapshot, mode: Mode | None, k: int, fusion: Fusion, *, with_vectors: bool) -> FirstStage:
    """Return the lists of a search without stages.

    Args:
        snapshot: what is searched.
        mode: as for `SearchOptions`.
        k: documents wanted.
        fusion: its depth is that of the lists that are fused.
        with_vectors: whether the queries' vectors are given.

    Raises:
        QueryError: there is no such mode, or it needs vectors that are not there.
    """
    if mode not in (None, HYBRID, *RETRIEVERS):
        raise QueryError(f"unknown mode {mode!r}: 'hybrid', 'bm25', 'dense' or 'sparse'")
    if mode is None:
        mode = "hybrid" if snapshot.has_vectors or snapshot.has_sparse else "bm25"
    check_there(snapshot, mode, "mode")
    if with_vectors and (mode in ("bm25", "sparse") or not snapshot.has_vectors):
        raise QueryError(f"a query vector is of no use in mode {mode!r}; leave it out or use 'dense'")
    if mode != HYBRID:
        return FirstStage(mode, {mode: k}, k)
    return FirstStage(mode, dict.fromkeys(available(snapshot), fusion.depth), k)


def of_pipeline(snapshot: Snapshot, pipeline: Pipeline, k: int, fusion: Fusion, *, with_vectors: bool) -> FirstStage:
    """Return the lists of a pipeline's first stage; see `of_mode`.

    Raises:
        QueryError: a retriever needs vectors that are not there, or no list searches the given ones.
    """
    n_documents = max(snapshot.n_documents, 1)  # no list is longer
    given = {name: min(depth, n_documents) for name, depth, _ in pipeline.retrievers if depth}
    feedback = {name: method for name, depth, method in pipeline.retrievers if depth and method is not None}
    for name in given:
        check_there(snapshot, name, "retriever")
    # What is kept beyond the best k is what stages may yet lift to the top.
    keep = max(k, *(limit for _, limit in pipeline.rerankers), 0)
    if HYBRID in given:
        keep = min(keep, given[HYBRID])
        depths = dict.fromkeys(available(snapshot), fusion.depth)
    else:
        depths = {name: given[name] for name in RETRIEVERS if name in given}
    if with_vectors and "dense" not in depths:
        raise QueryError(f"a query vector is of no use in {pipeline.first!r}; leave it out or add 'dense'")
    return FirstStage(str(pipeline), depths, keep, feedback)


def available(snapshot: Snapshot) -> list[str]:
    """Return the retrievers that a collection has, in the order of fusion."""
    there = {"bm25": True, "dense": snapshot.has_vectors, "sparse": snapshot.has_sparse}
    return [name for name in RETRIEVERS if there[name]]


def check_there(snapshot: Snapshot, name: str, what: str) -> None:
    """Refuse to search what a collection has not.

    Args:
        snapshot: the collection's.
        name: a retriever, or hybrid.
        what: "mode" or "retriever", for the message.

    Raises:
        QueryError: it needs vectors that are not there.
    """
    if name == "sparse" and not snapshot.has_sparse:
        raise QueryError(
            f"{what} 'sparse' needs sparse vectors and this collection has none; use another {what}, or "
            "reencode_sparse() with a sparse encoder"
        )
    has_any = snapshot.has_vectors or snapshot.has_sparse
    if (name == "dense" and not snapshot.has_vectors) or (name == HYBRID and not has_any):
        instead = "mode='bm25'" if what == "mode" else "'bm25'"
        raise QueryError(
            f"{what} {name!r} needs vectors and this collection has none; use {instead}, or reencode() with an encoder"
        )
