"""Both ends of a ranked list: what is taken for relevant, and what for the opposite."""

from __future__ import annotations

from indexes.hits import Hits


def first_and_last(hits: Hits, n: int, gamma: float) -> tuple[Hits, Hits]:
    """Return the best n documents, and the last n of those behind them, the last one first.

    Args:
        hits: best first.
        n: how many at either end.
        gamma: what the last ones weigh; where that is nothing, there are none.
    """
    best = hits.cut(n)
    if not gamma or not n:
        return best, Hits.empty()
    begin = max(n, len(hits.rows) - n)
    return best, Hits(*(column[begin:][::-1] for column in hits))
