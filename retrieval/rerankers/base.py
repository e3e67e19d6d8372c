"""What the engine asks of a reranker: the candidates of queries to scores, and the cost in model calls beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from retrieval.errors import RerankerError

ScoreKind = Literal["logits", "log-probabilities"]
"""What a reranker's scores are, where it says so in a property `scores_are`: probabilities can be made of these."""

_SHOWN = 80
"""Characters of a query that a message shows."""


@dataclass(frozen=True)
class Candidates:
    """The documents of one query that are to be reranked, best first.

    Attributes:
        ids: the documents, each once.
        texts: of each the whole document, title and text joined by a space, however many passages its vectors have.
            Models read what their token limit allows, from the beginning.
        scores: (n,) float64, of the stage before, descending.
        title_lengths: characters of the title at the beginning of each text, 0 where there is none; empty where titles
            are not known.

    Raises:
        RerankerError: they differ in length.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    scores: np.ndarray
    title_lengths: Sequence[int] = ()

    def __post_init__(self) -> None:
        lengths = (len(self.ids), len(self.texts), len(self.scores))
        if len(set(lengths)) != 1:
            raise RerankerError(f"candidates need one text and one score for each id, not {lengths} ids, texts, scores")
        if len(self.title_lengths) not in (0, len(self.ids)):
            raise RerankerError(f"{len(self.ids)} candidates have {len(self.title_lengths)} lengths of titles")

    def __len__(self) -> int:
        return len(self.ids)


@runtime_checkable
class Reranker(Protocol):
    """The candidates of queries to scores; write a class with these members to plug in a model of your own.

    `score` may be called from several threads at once. The same candidates of the same query get the same scores in any
    company, up to rounding (implementations state the tolerance). Order is by score descending, ties by the order in
    which the candidates came.
    """

    @property
    def name(self) -> str:
        """What it is called: the path or name that it was loaded from, or the name that its owner gave it."""

    def identity(self) -> dict[str, Any]:
        """Return what decides the scores, as JSON values: weights, tokenizer, lengths, aggregation and so on."""

    def execution(self) -> dict[str, Any]:
        """Return how scores are computed, as JSON values: precision, runtime, device, versions."""

    def calls(self, n: int) -> int:
        """Return how often the model is called for n candidates of one query at most: inputs that go through it.

        Of n alone, so that costs are known beforehand; where texts are equal or short, a model may do with fewer. A
        reranker whose calls depend on the texts may have `calls_for(candidates)` as well, which knows them, and one
        that does not know them before it has scored `score_with_calls(queries, candidates)`, see `score_with_calls`;
        one whose scores depend on the other candidates, or which calls its model several times for each, says by a
        property `pointwise` whether a score is the candidate's own, see `is_pointwise`.
        """

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return one (n_i,) float64 array for each query, finite, higher is better, in the order of its candidates.

        n_i = 0 is allowed. Batches go across queries: give all queries at once.
        """

    def close(self) -> None:
        """Let go of the model."""


PROBES = (1, 2, 3, 7, 50, 1_000_000)
"""Numbers of candidates for which `calls` tells how a reranker's calls grow."""


class Counted(NamedTuple):
    """What a reranker answers, and what that took.

    Attributes:
        scores: for each query (n_i,) float64; what a reranker of somebody else's returned is yet to be checked.
        calls: for each query how often the model was called.
    """

    scores: Any
    calls: Sequence[int]


def is_pointwise(reranker: Reranker) -> bool:
    """Tell whether a score depends on the query and the candidate alone.

    A property `pointwise` says so, or that it does not; without it, one model call for each candidate does.
    """
    said = getattr(reranker, "pointwise", None)
    return all(reranker.calls(n) == n for n in PROBES) if said is None else bool(said)


def calls_for(reranker: Reranker, candidates: Candidates) -> int:
    """Return how often a reranker's model is called for the candidates of one query, as well as it can say."""
    counted = getattr(reranker, "calls_for", None)
    return int(counted(candidates)) if counted is not None else reranker.calls(len(candidates))


def score_with_calls(reranker: Reranker, queries: Sequence[str], candidates: Sequence[Candidates]) -> Counted:
    """Return a reranker's scores and how often its model was called for each query, as well as it can say.

    By its own method `score_with_calls`, which returns both, where it has one: those have it that route candidates by
    what a first model says. Else by `calls_for`.
    """
    counting = getattr(reranker, "score_with_calls", None)
    if counting is not None:
        return Counted(*counting(queries, candidates))
    return Counted(reranker.score(queries, candidates), [calls_for(reranker, given) for given in candidates])


def check_queries(queries: Sequence[str], candidates: Sequence[Candidates]) -> None:
    """Check that there is one list of candidates for each query.

    Raises:
        RerankerError: a single string, or another number of lists.
    """
    if isinstance(queries, (str, bytes)):
        raise RerankerError(f"expected a list of queries, not the single query {queries[:_SHOWN]!r}; put it in a list")
    if len(queries) != len(candidates):
        raise RerankerError(f"{len(queries):,} queries, but candidates for {len(candidates):,}")


def check_answers(answers: Any, n_queries: int, name: str) -> list[Any]:
    """Return what a reranker produced for several queries as a list, one answer for each.

    Raises:
        RerankerError: it is nothing that holds answers, or holds another number of them.
    """
    try:
        found = list(answers)
    except TypeError:
        raise RerankerError(
            f"reranker {name!r} returned {type(answers).__name__}, not a list with one array of scores for each query"
        ) from None
    if len(found) != n_queries:
        raise RerankerError(f"reranker {name!r} answered {len(found):,} of {n_queries:,} queries; it owes one each")
    return found


def check_scores(scores: Any, query: str, candidates: Candidates, name: str) -> np.ndarray:
    """Return what a reranker produced for one query as (n,) float64.

    Args:
        scores: what it produced.
        query: for the message.
        candidates: of the query.
        name: the reranker's, for the message.

    Raises:
        RerankerError: another shape, or a score that is not a finite number; the message names query and document.
    """
    try:
        array = np.asarray(scores, np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # a tensor that asks for gradients: the last
        what = "not an array of numbers that float64 can hold"
        raise RerankerError(f"reranker {name!r} returned {type(scores).__name__}, {what} ({error})") from None
    if array.shape != (len(candidates),):
        raise RerankerError(
            f"reranker {name!r} returned an array of shape {array.shape}, expected ({len(candidates)},): "
            "one score for each candidate"
        )
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise RerankerError(
            f"reranker {name!r} returned {array[row]} for document {candidates.ids[row]!r} and query "
            f"{query[:_SHOWN]!r} ({len(array) - int(finite.sum())} of its {len(array)} scores are not finite)"
        )
    return array
