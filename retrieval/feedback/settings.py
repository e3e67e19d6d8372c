"""The methods of pseudo-relevance feedback and their parameters, between text and frozen structures.

    bm25(rm3):1000    bm25(rocchio, documents=5, beta=0.5):1000    dense(average):1000    sparse(rocchio):1000

Parameters that are left out have the values under which the methods were published. All of them read what the index
holds: nothing is analysed or encoded again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from retrieval.errors import QueryError

_LARGEST_COUNT = 10_000
_LARGEST_WEIGHT = 1_000_000
_SHOWN = 80


@dataclass(frozen=True)
class Feedback:
    """What all methods have in common; not a method by itself.

    Attributes:
        documents: how many of the best documents are taken for relevant; 0 leaves the query as it is.

    Raises:
        QueryError: a parameter is out of its range.
    """

    method: ClassVar[str] = ""
    documents: int = 10

    def __post_init__(self) -> None:
        for name, value in self.parameters().items():
            counts = name in ("documents", "terms")
            most = _LARGEST_COUNT if counts else 1 if name in ("weight", "share") else _LARGEST_WEIGHT
            if type(value) not in ((int,) if counts else (int, float)) or not 0 <= value <= most:
                what = "a whole number" if counts else "a number"
                raise QueryError(f"{self.method}: {name} must be {what} from 0 to {most:,}, not {value!r:.{_SHOWN}}")

    def parameters(self) -> dict[str, Any]:
        """Return the parameters by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def reach(self, depth: int) -> int:
        """Return how many documents the first search must find, of `depth` that the second one may return."""
        return max(self.documents, depth) if getattr(self, "gamma", 0) else self.documents

    def __str__(self) -> str:
        others = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if self._differs(each))
        return ", ".join([self.method, *others])

    def _differs(self, each: Any) -> bool:
        return bool(getattr(self, each.name) != each.default)


@dataclass(frozen=True)
class RM3(Feedback):
    """The relevance model of the best documents, interpolated with the query (Abdul-Jaleel et al., TREC 2004).

    p(w) = weight * p(w | query) + (1 - weight) * sum over documents d of p(w | d) * score(d), scaled to 1; as Anserini
    computes it: each document gives its most frequent terms, and of all these the heaviest stay.

    Attributes:
        terms: how many terms a document gives, and the model has.
        weight: of the original query, 0 to 1; 1 leaves the query as it is.
        share: terms that more than this share of the documents hold are passed over, and so are those with fewer than
            2 or more than 20 characters. Anserini also passes over terms that are not of a-z and 0-9 alone, which would
            leave nothing of most languages.
    """

    method: ClassVar[str] = "rm3"
    terms: int = 10
    weight: float = 0.5
    share: float = 0.1


@dataclass(frozen=True)
class Rocchio(Feedback):
    """The query moved towards the mean of the best documents (Rocchio 1971), after Anserini.

    alpha * query + beta * mean of the best documents - gamma * mean of the last ones: vectors of term frequencies, each
    of length 1; the means keep their heaviest terms and are scaled to length 1. Terms that end at or below 0 are left
    out.

    Attributes:
        terms: how many terms each mean has.
        alpha: weight of the query.
        beta: weight of the best documents.
        gamma: weight of the last ones of the first list, as many as of the best and none of these; 0 takes none.
        share: see `RM3`.
    """

    method: ClassVar[str] = "rocchio"
    terms: int = 10
    alpha: float = 1.0
    beta: float = 0.75
    gamma: float = 0.0
    share: float = 0.1


@dataclass(frozen=True)
class SparseRocchio(Feedback):
    """`Rocchio` over the dimensions of sparse vectors, whose weights are learned: none is passed over."""

    method: ClassVar[str] = "rocchio"
    terms: int = 10
    alpha: float = 1.0
    beta: float = 0.75
    gamma: float = 0.0


@dataclass(frozen=True)
class VectorAverage(Feedback):
    """The mean of the query's vector and those of the best documents (Li et al. 2021, arXiv:2108.11044)."""

    method: ClassVar[str] = "average"
    documents: int = 3


@dataclass(frozen=True)
class VectorRocchio(Feedback):
    """alpha * query + beta * mean of the best documents' vectors (Li et al. 2021, arXiv:2108.11044).

    Attributes:
        alpha: weight of the query.
        beta: weight of the best documents; 0 leaves the query as it is.
    """

    method: ClassVar[str] = "rocchio"
    documents: int = 5
    alpha: float = 0.4
    beta: float = 0.6


METHODS: Mapping[str, Mapping[str, type[Feedback]]] = {
    "bm25": {"rm3": RM3, "rocchio": Rocchio},
    "dense": {"average": VectorAverage, "rocchio": VectorRocchio},
    "sparse": {"average": VectorAverage, "rocchio": SparseRocchio},
}
"""What each retriever can be fed back by."""

_PARAMETER = re.compile(r"([a-z]+)\s*=\s*(\S+)")


def parse_feedback(retriever: str, text: str) -> Feedback:
    """Read what stands in parentheses behind a retriever: "rm3", or "rocchio, terms=20, beta=0.5".

    Raises:
        QueryError: it cannot be read, the retriever has no such method, or a parameter is unknown or out of range.
    """
    methods = METHODS.get(retriever)
    if methods is None:
        raise QueryError(f"{retriever!r:.{_SHOWN}} takes no feedback; {_examples()} do")
    name, *others = (part.strip() for part in text.split(","))
    if name not in methods:
        raise QueryError(f"unknown feedback {name!r:.{_SHOWN}} for {retriever!r}: {' or '.join(map(repr, methods))}")
    method = methods[name]
    known = {each.name: type(each.default) for each in fields(method)}
    given: dict[str, Any] = {}
    for part in others:
        match = _PARAMETER.fullmatch(part)
        if match is None:
            raise QueryError(f"{name} has parameters such as {next(iter(known))}=5, not {part!r:.{_SHOWN}}")
        key, value = match.groups()
        if key not in known or key in given:
            twice = "has it twice" if key in given else f"knows {', '.join(known)}"
            raise QueryError(f"{name}: parameter {key!r:.{_SHOWN}} cannot stand here; {retriever}({name}) {twice}")
        given[key] = _number(name, key, value, known[key])
    return method(**given)


def check_feedback(retriever: str, feedback: object) -> None:
    """Refuse feedback that a retriever does not have.

    Raises:
        QueryError: naming those that it has.
    """
    if feedback is None or type(feedback) in METHODS.get(retriever, {}).values():
        return
    there = ", ".join(sorted(kind.__name__ for kind in METHODS.get(retriever, {}).values())) or "none"
    raise QueryError(f"{retriever!r} cannot be fed back by {feedback!r:.{_SHOWN}}; there is {there}")


def _number(method: str, name: str, text: str, kind: type) -> int | float:
    if len(text) <= 40:  # Python refuses to read thousands of digits
        try:
            return int(text) if kind is int else float(text)
        except ValueError:
            pass
    what = "a whole number" if kind is int else "a number"
    raise QueryError(f"{method}: {name} must be {what}, not {text!r:.{_SHOWN}}")


def _examples() -> str:
    return ", ".join(f"{retriever}({name})" for retriever, methods in METHODS.items() for name in methods)
