"""Searching twice: once for the feedback documents, and once with the queries that they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from indexes.hits import Hits
from retrieval.feedback.settings import Feedback

Query = TypeVar("Query")


class Expander(Protocol[Query]):
    """Changes queries."""

    def expanded(self, query: Query, hits: Hits) -> Query:
        """Return the query that the best of its hits make of it."""


class Answered(NamedTuple, Generic[Query]):
    """What a retriever answered.

    Attributes:
        queries: with which it searched, the last time.
        hits: what it found, for each query.
        feedback: of each query the documents that were taken for relevant; empty without feedback.
    """

    queries: Sequence[Query]
    hits: list[Hits]
    feedback: Sequence[Hits] = ()


def search_twice(
    queries: Sequence[Query],
    search: Callable[[Sequence[Query], int], list[Hits]],
    depth: int,
    feedback: Feedback | None,
    expander: Callable[[Feedback], Expander[Query]],
) -> Answered[Query]:
    """Search, and where there is feedback search again.

    Filters and deletions hold for feedback documents as well: they come from the same search.

    Args:
        queries: as the search takes them.
        search: from queries and a depth to what each of them finds.
        depth: how many documents to return at most.
        feedback: what to do with the best documents; None for nothing.
        expander: from the method to what changes a query.
    """
    if feedback is None or not feedback.documents:
        return Answered(queries, search(queries, depth))
    changing = expander(feedback)
    found = search(queries, feedback.reach(depth))
    changed = [changing.expanded(query, hits) for query, hits in zip(queries, found, strict=True)]
    return Answered(changed, search(changed, depth), [hits.cut(feedback.documents) for hits in found])
