"""What users may pass as rerankers, brought into one form."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from retrieval.errors import QueryError, RerankerError
from retrieval.pipeline.grammar import StagesSpec, parse_stages
from retrieval.pipeline.plan import check_known
from retrieval.pipeline.stages import FIRST_STAGES, Pipeline
from retrieval.rerankers.base import Reranker
from retrieval.rerankers.given import as_reranker


def as_pipeline(
    stages: StagesSpec | None, rerankers: Any, mode: str | None, stored: Collection[str] = ()
) -> tuple[Pipeline, dict[str, Reranker]]:
    """Return the pipeline and the rerankers of a search.

    Args:
        stages: the pipeline.
        rerankers: by name.
        mode: of the search, which must have none.
        stored: names of networks whose states the collection stores; they need no reranker.

    Raises:
        QueryError: rerankers without stages, or a mode beside them; the stages cannot be read; or one of them names a
            reranker that is not given.
    """
    if stages is None:
        raise QueryError("rerankers need stages, which say where they stand: stages='bm25:1000,mono:50'")
    if mode is not None:
        raise QueryError(
            f"a search has a mode or stages, not both: leave out mode={mode!r} or stages={str(stages)!r:.80}"
        )
    pipeline, known = parse_stages(stages), as_rerankers(rerankers)
    for name, _ in pipeline.rerankers:
        check_not_stored(name, known, stored)
    check_known(pipeline, {**known, **dict.fromkeys(stored)})
    return pipeline, known


def check_not_stored(name: str, given: Collection[str], stored: Collection[str]) -> None:
    """Refuse a reranker under the name of stored states: which of the two scores would not be seen.

    Raises:
        QueryError: naming it.
    """
    if name in given and name in stored:
        raise QueryError(
            f"the collection stores states of {name!r}, which a stage of this name reads: leave the reranker out, or "
            "give it another name"
        )


def as_rerankers(rerankers: Mapping[str, Any] | None) -> dict[str, Reranker]:
    """Return rerankers by name; a function from a query and texts to scores becomes a `FunctionReranker`.

    Raises:
        QueryError: not a mapping; a retriever's name; or neither a reranker nor a function.
    """
    if rerankers is None:
        return {}
    if not isinstance(rerankers, Mapping):
        raise QueryError(f"rerankers are given by name, rerankers={{'mono': …}}, not {rerankers!r:.80}")
    return {name: _as_reranker(name, given) for name, given in rerankers.items()}


def _as_reranker(name: Any, given: Any) -> Reranker:
    if name in FIRST_STAGES:
        raise QueryError(f"a reranker cannot be called {name!r}: that is a retriever; give it another name")
    try:
        return as_reranker(given, f"reranker {name!r}", name)
    except RerankerError as error:
        raise QueryError(str(error)) from None
