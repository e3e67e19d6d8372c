"""Any function from a query and texts to scores as a reranker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrieval.errors import RerankerError
from retrieval.rerankers.base import Candidates, check_queries, check_scores

ScoreFunction = Callable[[str, list[str]], Any]
"""From a query and the texts of its candidates to (n,) numbers, higher is better."""


class FunctionReranker:
    """Wraps a function of yours, such as a call to a reranking service.

    What the function does cannot be looked into, so its name and version stand for it: change the version whenever the
    same candidates would get other scores.

    Args:
        function: takes a query and a list of texts, returns a score for each; called once for each query that has
            candidates.
        name: what it is called.
        version: of its model and of everything else that decides the scores.

    Raises:
        RerankerError: name or version is empty.
    """

    def __init__(self, function: ScoreFunction, name: str = "function", version: str | int = "1") -> None:
        if not name or not str(version):
            raise RerankerError(f"a function reranker needs a name and a version, not {name!r} and {version!r}")
        self._function = function
        self._name = name
        self._version = str(version)

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    def identity(self) -> dict[str, Any]:
        """Return name and version."""
        return {"kind": "function", "name": self._name, "version": self._version}

    def execution(self) -> dict[str, Any]:
        """Return that nothing is known of it."""
        return {"runtime": "function"}

    def calls(self, n: int) -> int:
        """Return n: every candidate is scored once."""
        return n

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the scores of each query's candidates, (n_i,) float64.

        Raises:
            RerankerError: the function returned something else than one finite number for each text.
        """
        check_queries(queries, candidates)
        return [self._score(query, given) for query, given in zip(queries, candidates, strict=True)]

    def close(self) -> None:
        """Do nothing: the function belongs to its owner."""

    def _score(self, query: str, candidates: Candidates) -> np.ndarray:
        if not len(candidates):
            return np.empty(0, np.float64)
        return check_scores(self._function(query, list(candidates.texts)), query, candidates, self._name)
