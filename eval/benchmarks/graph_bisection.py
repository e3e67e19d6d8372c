"""Recursive graph bisection: an order of documents that brings those with the same terms together, in numba.

Documents are halved again and again. In each step pairs of documents change sides as long as that lowers

    sum over terms of  left * log2(n_left / (left + 1)) + right * log2(n_right / (right + 1)),

an estimate of the bits that the gaps of the terms' lists take, where a term is in `left` of the n_left documents of
one half (Dhulipala et al., "Compressing graphs and indexes with recursive graph bisection", KDD 2016, sections 3 and 4;
reproduced by Mackenzie et al., ECIR 2019). A pair is swapped only where it gains more than the number of rounds before,
which ends sooner (after Mackenzie, Petri & Moffat, "Faster index reordering with bipartite graph partitioning", SIGIR
2021). Import inside functions only: this loads numba.
"""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel, kernel, read_only
from indexes.lists import Lists

Array = np.ndarray

ROUNDS = 20
"""Rounds of swapping at most for each step, as in the papers."""

SMALLEST = 32
"""Documents that are not halved any more."""

_RAREST, _MOST_FREQUENT = 2, 0.1
"""Terms in fewer documents, or in a larger share of all, bring none together."""


def bisection_order(lists: Lists, n_members: int) -> np.ndarray:
    """Return the rows of documents in the order to give them, (n_documents,) int64.

    Args:
        lists: the documents' terms.
        n_members: one more than the largest number of a term.
    """
    n = len(lists.offsets) - 1
    frequencies = np.bincount(lists.members, minlength=n_members)
    telling = (frequencies >= _RAREST) & (frequencies <= max(_MOST_FREQUENT * n, _RAREST))
    kept = telling[lists.members]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[lists.offsets]
    order = np.arange(n)
    bits = np.log2(np.arange(1, n + 3))  # bits[i] is log2(i + 1)
    _bisect(read_only(offsets), read_only(lists.members[kept]), n_members, read_only(bits), order)
    return order


@inner_kernel
def _cost(bits: Array, left: int, right: int, n_left: int, n_right: int) -> float:
    """Return the estimated bits of one term's gaps."""
    return left * (bits[n_left - 1] - bits[left]) + right * (bits[n_right - 1] - bits[right])


@inner_kernel
def _count(offsets: Array, members: Array, rows: Array, degrees: Array, seen: Array, n_seen: int, others: Array) -> int:
    """Add the terms of documents to `degrees`, and those that are new to `seen`; return how many are there."""
    for row in rows:
        for member in members[offsets[row] : offsets[row + 1]]:
            if degrees[member] == 0 and others[member] == 0:
                seen[n_seen] = member
                n_seen += 1
            degrees[member] += 1
    return n_seen


@inner_kernel
def _gains_of(offsets: Array, members: Array, rows: Array, gains: Array) -> Array:
    """Return what each document gains by changing sides, (n,) float64."""
    found = np.zeros(len(rows))
    for number, row in enumerate(rows):
        for member in members[offsets[row] : offsets[row + 1]]:
            found[number] += gains[member]
    return found


@inner_kernel
def _move(offsets: Array, members: Array, row: int, source: Array, target: Array) -> None:
    """Bring the degrees up to date after a document has changed sides."""
    for member in members[offsets[row] : offsets[row + 1]]:
        source[member] -= 1
        target[member] += 1


@inner_kernel
def _halve(
    offsets: Array, members: Array, bits: Array, rows: Array, left: Array, right: Array, seen: Array, gains: Array
) -> None:
    """Put those documents into the first half of `rows` that belong together.

    Args:
        offsets: of the documents' lists.
        members: their terms.
        bits: (n,) float64, bits[i] is log2(i + 1).
        rows: documents, at least 2.
        left: (n_members,) int64, 0 before and after: how many documents of the first half have each term.
        right: the same for the second half.
        seen: (n_members,) int64, room for the terms that occur.
        gains: (2, n_members) float64, room for what a document gains by each term if it leaves either side.
    """
    n_left = len(rows) // 2
    n_right = len(rows) - n_left
    first, second = rows[:n_left], rows[n_left:]
    n_seen = _count(offsets, members, first, left, seen, 0, right)
    n_seen = _count(offsets, members, second, right, seen, n_seen, left)
    for tried in range(ROUNDS):
        for member in seen[:n_seen]:
            a, b = left[member], right[member]
            now = _cost(bits, a, b, n_left, n_right)
            gains[0, member] = now - _cost(bits, a - 1, b + 1, n_left, n_right) if a else 0.0
            gains[1, member] = now - _cost(bits, a + 1, b - 1, n_left, n_right) if b else 0.0
        to_right = _gains_of(offsets, members, first, gains[0])
        to_left = _gains_of(offsets, members, second, gains[1])
        best_first, best_second = np.argsort(-to_right), np.argsort(-to_left)
        n_swapped = 0
        for pair in range(n_left):
            one, other = best_first[pair], best_second[pair]
            if to_right[one] + to_left[other] <= tried:
                break
            _move(offsets, members, first[one], left, right)
            _move(offsets, members, second[other], right, left)
            first[one], second[other] = second[other], first[one]
            n_swapped += 1
        if n_swapped == 0:
            break
    for member in seen[:n_seen]:
        left[member] = right[member] = 0


@kernel
def _bisect(offsets: Array, members: Array, n_members: int, bits: Array, order: Array) -> None:
    """Halve `order`, then its halves, and so on down to `SMALLEST`."""
    left, right = np.zeros(n_members, np.int64), np.zeros(n_members, np.int64)
    seen, gains = np.empty(n_members, np.int64), np.zeros((2, n_members))
    waiting = [(0, len(order))]
    while waiting:
        begin, end = waiting.pop()
        if end - begin <= SMALLEST:
            continue
        _halve(offsets, members, bits, order[begin:end], left, right, seen, gains)
        middle = begin + (end - begin) // 2
        waiting.append((begin, middle))
        waiting.append((middle, end))
