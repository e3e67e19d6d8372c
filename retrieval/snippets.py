"""Snippets: the part of a text that shows best why it was found, with the places to highlight."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.analysis import Analyser

ELLIPSIS = "…"
_LONGEST_STEP = 25
"""How far, in characters, a cut moves to reach a space; text without spaces is cut where it is."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Snippet:
    """A piece of a text for display.

    Attributes:
        text: the piece on one line, with an ellipsis on each side where something was left out.
        highlights: (start, end) in characters of `text`, ascending, without overlaps.
    """

    text: str
    highlights: list[Span]


def snippet(
    text: str, analyser: Analyser, query_terms: Iterable[str] | Mapping[str, float], width: int = 200
) -> Snippet:
    """Return the window of a text that holds most of a query's terms; its beginning when it holds none.

    A term counts once per window, with its weight; among equal windows the one with more matches wins, then the
    first one.

    Args:
        text: what was found.
        analyser: the one that made the query's terms; `query_terms` are compared with its terms of the text.
        query_terms: terms, or terms with weights (such as their BM25 contributions).
        width: characters at most, ellipses not counted; a match that is longer is cut.

    Raises:
        ValueError: width is not positive.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, not {width}")
    weights = dict(query_terms) if isinstance(query_terms, Mapping) else dict.fromkeys(query_terms, 1.0)
    text = " ".join(text.split())
    matches = [match for match in analyser.spans(text) if match[0] in weights] if weights else []
    start, end = _frame(text, _best_window(matches, weights, width), width)
    before, after = ELLIPSIS if start > 0 else "", ELLIPSIS if end < len(text) else ""
    shift = len(before) - start
    inside = [
        (max(first, start) + shift, min(last, end) + shift)
        for _, first, last in matches
        if first < end and last > start
    ]
    return Snippet(f"{before}{text[start:end]}{after}", list(_merged(inside)))


def _best_window(matches: list[tuple[str, int, int]], weights: Mapping[str, float], width: int) -> Span:
    """Return (start, end) of the best run of matches that fits into the width; (0, 0) without matches."""
    best, best_value = (0, 0), (0.0, 0)
    counts: dict[str, int] = {}
    first = 0
    for last, (term, _, end) in enumerate(matches):
        counts[term] = counts.get(term, 0) + 1
        while first < last and end - matches[first][1] > width:
            dropped = matches[first][0]
            counts[dropped] -= 1
            if not counts[dropped]:
                del counts[dropped]
            first += 1
        value = (sum(weights[held] for held in sorted(counts)), last - first + 1)
        if value > best_value:
            best, best_value = (matches[first][1], end), value
    return best


def _frame(text: str, window: Span, width: int) -> Span:
    """Widen a window evenly to the width, as far as the text goes; then move its cuts inwards to spaces.

    Where there are no spaces, no letter is parted from its marks.
    """
    if len(text) <= width:
        return 0, len(text)
    first, last = window
    last = min(last, first + width)
    start = max(0, first - (width - (last - first)) // 2)
    end = min(len(text), start + width)
    start = max(0, end - width)
    if start > 0 and text[start - 1] != " ":
        space = text.find(" ", start, min(first, start + _LONGEST_STEP))
        start = space + 1 if space >= 0 else start
    if end < len(text) and text[end] != " ":
        space = text.rfind(" ", max(last, end - _LONGEST_STEP), end)
        end = space if space >= 0 else end
    while start < first and unicodedata.category(text[start])[0] == "M":
        start += 1
    while last < end < len(text) and unicodedata.category(text[end])[0] == "M":
        end -= 1
    return start, len(text[:end].rstrip())


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Join overlapping spans, as those of character pairs are."""
    current: Span | None = None
    for start, end in sorted(spans):
        if current is not None and start <= current[1]:
            current = current[0], max(current[1], end)
            continue
        if current is not None:
            yield current
        current = start, end
    if current is not None:
        yield current
