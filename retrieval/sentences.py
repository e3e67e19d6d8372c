"""Sentences of a text, by its punctuation: the rules of Unicode's annex 29 that need no dictionary.

A sentence ends at terminal punctuation and the quotes and brackets that close behind it, where white space follows; at
an ideographic full stop anywhere; and at an empty line. A single line end ends none: wrapped text stays whole. A full
stop ends none before a small letter ("e.g. this"), nor behind a single letter ("J. Smith").
"""

from __future__ import annotations

import re

_END = re.compile(
    r"(?<![.!?…؟।])[.!?…؟।]++[\"')\]}»”’]*+(?=\s)"  # only from the first of several marks: runs are read once
    r"|[。！？]++[」』）”’\"]*+"
    r"|\n\s*\n"
)
_INITIAL = re.compile(r"\b[^\W\d_]\Z")
_FIRST = re.compile(r"\S")


def sentence_ranges(text: str) -> list[tuple[int, int]]:
    """Return where the sentences of a text stand, (start, end) in characters, ascending, without overlaps.

    Every character that is not white space is in one of them; white space around sentences is in none.
    """
    ranges = []
    start = 0
    for match in _END.finditer(text):
        if not _continues(text, match):
            ranges.append((start, match.end()))
            start = match.end()
    ranges.append((start, len(text)))
    return [stripped for first, last in ranges if (stripped := _stripped(text, first, last))]


def _continues(text: str, end: re.Match[str]) -> bool:
    """Tell whether a sentence goes on behind what looks like its end."""
    if end[0] != ".":
        return False
    following = _FIRST.search(text, end.end())
    return (following is not None and following[0].islower()) or bool(
        _INITIAL.search(text, max(end.start() - 2, 0), end.start())
    )


def _stripped(text: str, start: int, end: int) -> tuple[int, int] | None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    right = len(piece.rstrip())
    return (start + left, start + right) if left < right else None
