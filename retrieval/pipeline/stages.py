"""A search in stages, as data: which retrievers begin, which rerankers follow, how many documents each of them takes.

    bm25:1000+dense:1000,mono:50,duo:10

retrieves 1,000 documents by words and 1,000 by vectors, fuses the two lists, scores the best 50 with the reranker
called mono, and the best 10 of mono's order with the one called duo (Nogueira et al. 2019, "Multi-stage document
ranking with BERT", arXiv:1910.14424). The numbers are the knob between latency and quality.

    bm25(rm3):1000

searches twice: the best documents of the first time add their terms to the query (`retrieval.feedback`).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from retrieval.errors import QueryError
from retrieval.feedback.settings import Feedback, check_feedback

if TYPE_CHECKING:
    from retrieval.pipeline.plan import Plan
    from retrieval.pipeline.stored_states import StateReranker
    from retrieval.rerankers.base import Reranker

RETRIEVERS = ("bm25", "dense", "sparse")
"""The lists that there can be, in the order in which they are fused."""

HYBRID = "hybrid"
FIRST_STAGES = (*RETRIEVERS, HYBRID)
FUSION = "fusion"
"""What the joining of lists is called where results say what each stage took."""

LARGEST = 2**31 - 1
"""More documents than that no stage takes."""

_NAME = re.compile(r"[^\W\d][\w.-]*")


class Retriever(NamedTuple):
    """A list that the first stage retrieves.

    Attributes:
        name: "bm25", "dense", "sparse", or "hybrid": all that the collection has, fused as in a search without stages.
        depth: documents that it returns at most; 0 switches it off. For "hybrid" those of the fused list: the lists
            themselves are as deep as `Fusion.depth`, so no more comes back than that many from each.
        feedback: what its best documents do to its query before it searches again; None for nothing.
    """

    name: str
    depth: int
    feedback: Feedback | None = None

    @property
    def label(self) -> str:
        """Its name, and what it is fed back by: "bm25(rm3)"."""
        return self.name if self.feedback is None else f"{self.name}({self.feedback})"

    def __str__(self) -> str:
        return f"{self.label}:{self.depth}"


class Admission(NamedTuple):
    """A stage that reranks.

    Attributes:
        name: what the reranker is called among those given to the search.
        limit: documents that it admits, the best of the stage before; 0 switches it off.
    """

    name: str
    limit: int


@dataclass(frozen=True)
class Pipeline:
    """The stages of a search; checked when made. `parse_stages` reads one from text, `str` writes it.

    Attributes:
        retrievers: the first stage; several are fused.
        rerankers: the stages behind it, in their order.

    Raises:
        QueryError: an unknown retriever, a name that comes twice, no retriever that is switched on, or a number out of
            range.
    """

    retrievers: tuple[Retriever, ...]
    rerankers: tuple[Admission, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "retrievers", tuple(_retriever(each) for each in self.retrievers))
        object.__setattr__(self, "rerankers", tuple(Admission(*_pair(each)) for each in self.rerankers))
        _check_retrievers(self.retrievers)
        for name, _ in self.rerankers:
            check_reranker_name(name)
        for kind, stages in (("retriever", self.retrievers), ("reranker", self.rerankers)):
            for name, number, *_ in stages:
                if type(number) is not int or not 0 <= number <= LARGEST:
                    raise QueryError(f"{kind} {name!r} takes 0 to {LARGEST:,} documents, not {number!r}")
            _check_distinct(kind, [name for name, *_ in stages])
        if not any(retriever.depth for retriever in self.retrievers):
            raise QueryError(f"every retriever of {str(self)!r} is switched off; give one a number above 0")

    @property
    def first(self) -> str:
        """The first stage as text."""
        return "+".join(map(str, self.retrievers))

    @property
    def active_rerankers(self) -> tuple[Admission, ...]:
        """The rerankers that are not switched off."""
        return tuple(stage for stage in self.rerankers if stage.limit)

    @property
    def retrieved(self) -> int:
        """How many documents the first stage returns at most, in any collection."""
        return sum(retriever.depth for retriever in self.retrievers)

    def plan(
        self, rerankers: Mapping[str, Reranker | StateReranker] | None = None, n_candidates: int | None = None
    ) -> Plan:
        """Return what each stage takes and how often its model is called for one query, before anything is searched.

        Args:
            rerankers: by name, as for the search.
            n_candidates: documents that the first stage returns; by default as many as it returns at most.

        Raises:
            QueryError: a reranker is missing, or n_candidates is negative.
        """
        from retrieval.pipeline.plan import make_plan

        return make_plan(self, rerankers or {}, n_candidates)

    def __str__(self) -> str:
        return ",".join([self.first, *(f"{name}:{limit}" for name, limit in self.rerankers)])


def _retriever(stage: Any) -> Retriever:
    """Return a retriever from its name and depth, and perhaps feedback behind them."""
    if isinstance(stage, (tuple, list)) and len(stage) == 3 and (stage[2] is None or isinstance(stage[2], Feedback)):
        return Retriever(*_pair(stage[:2]), stage[2])
    return Retriever(*_pair(stage))


def _pair(stage: Any) -> tuple[Any, Any]:
    """Return a stage's name and number; whole numbers of any kind, numpy's too, become Python's."""
    if not isinstance(stage, (tuple, list)) or len(stage) != 2:
        raise QueryError(
            f"a stage of a Pipeline is a name and a number, ('bm25', 1000), not {stage!r:.80}; parse_stages reads text"
        )
    name, number = stage
    if not isinstance(number, bool):
        with suppress(TypeError):
            number = operator.index(number)
    return name, number


def _check_retrievers(retrievers: tuple[Retriever, ...]) -> None:
    if not retrievers:
        raise QueryError(f"a pipeline begins with a retriever: {known(FIRST_STAGES)}")
    for name, _, feedback in retrievers:
        if name not in FIRST_STAGES:
            raise QueryError(
                f"unknown retriever {name!r}; the first stage is one of {known(FIRST_STAGES)}, joined by +"
            )
        check_feedback(name, feedback)
    if len(retrievers) > 1 and any(retriever.name == HYBRID for retriever in retrievers):
        raise QueryError("'hybrid' is a fusion already and stands alone; write 'bm25:1000+dense:1000' to choose lists")


def check_reranker_name(name: str) -> None:
    """Refuse what cannot be the name of a stage that reranks.

    Raises:
        QueryError: saying why.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise QueryError(
            f"{name!r} is no name for a reranker: begin with a letter, then letters, digits, '_', '.', '-'"
        )
    if name == FUSION:
        raise QueryError(f"{name!r} is what the joining of lists is called; give the reranker another name")
    if name in FIRST_STAGES:
        raise QueryError(
            f"{name!r} is a retriever and cannot rerank; retrievers are the first stage, joined by +, as in "
            "'bm25:1000+dense:1000,mono:50'"
        )


def _check_distinct(kind: str, names: list[str]) -> None:
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise QueryError(f"{kind} {twice!r} comes twice; each has one place in a pipeline")


def known(names: Iterable[str]) -> str:
    """Return names for a message."""
    return ", ".join(map(repr, sorted(names))) or "none"
