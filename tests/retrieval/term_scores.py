"""What the scores of an explanation's terms add up to."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable

from indexes.bm25 import TermContribution


def added_up(terms: Iterable[TermContribution]) -> float:
    """Add one after the other, as scores are made; the built-in `sum` rounds otherwise from Python 3.12 on."""
    return functools.reduce(operator.add, (term.score for term in terms), 0.0)
