"""Windows over the tokens of a long text, cut where a reader would cut: at sentences, else words, else tokens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_SENTENCE_ENDS = frozenset(".!?…。！？؟।")
_SENTENCE_ENDS_WITHOUT_SPACE = frozenset("。！？")
_CLOSING = frozenset("\"')]}»”’」』）")
_MOST_CLOSING = 16
"""Closing quotes and brackets that may follow a sentence end; a run of thousands must not be walked at each token."""


def window_ranges(
    text: str, spans: np.ndarray, sizes: tuple[int, int], *, overlap: int = 0, not_before: int = 0
) -> list[tuple[int, int]]:
    """Return character ranges that cover a text, each of at most so many tokens.

    A range ends at the last sentence end in its last quarter, else at the last word end there, else where it is full.
    The next one begins `overlap` tokens earlier, at the beginning of a word. White space at the ends is left out.

    Args:
        text: the text.
        spans: (tokens, 2) character start and end of each token, starts ascending.
        sizes: tokens of the first range and of the others, at least 1.
        overlap: tokens that a range shares with the one before; at most half of its size is taken.
        not_before: no range but the first begins before this character.

    Returns:
        (start, end) with ascending starts; every character that is not white space is in one of them at least.
    """
    ranges: list[tuple[int, int]] = []
    for position, end in _cuts(text, spans[:, 0].tolist(), sizes, overlap, not_before):
        piece = text[position:end]
        start = end - len(piece.lstrip())
        if start == end:
            continue
        if ranges and ranges[-1][0] == start:  # they differed by white space only, and this one reaches further
            ranges.pop()
        ranges.append((start, position + len(piece.rstrip())))
    return ranges


def _cuts(
    text: str, starts: list[int], sizes: tuple[int, int], overlap: int, not_before: int
) -> Iterator[tuple[int, int]]:
    """Yield character ranges, white space at their ends included."""
    n_tokens = len(starts)
    token, position, size = 0, 0, sizes[0]
    while token + size < n_tokens:
        end = _end_token(text, starts, token, size)
        while end < n_tokens and starts[end] <= position:  # several tokens may stand for one character
            end += 1
        if end == n_tokens:
            break
        yield position, starts[end]
        size = sizes[1]
        following = _start_token(text, starts, max(end - min(overlap, size // 2), token + 1), end)
        while following < end and starts[following] < max(position + 1, not_before):
            following += 1
        token, position = following, starts[following]
    yield position, len(text)


def _end_token(text: str, starts: list[int], token: int, size: int) -> int:
    """Return the token before which a window that begins at `token` ends."""
    last = token + size
    word_end = None
    for end in range(last, max(token + size * 3 // 4, token), -1):
        at = starts[end]
        if _ends_sentence(text, at):
            return end
        if word_end is None and _between_words(text, at):
            word_end = end
    return word_end or last


def _start_token(text: str, starts: list[int], token: int, end: int) -> int:
    """Return the first token from `token` to `end` at which a word begins, `token` when none does before the end."""
    return next((at for at in range(token, end) if _between_words(text, starts[at])), token)


def _between_words(text: str, at: int) -> bool:
    return at == 0 or text[at - 1].isspace() or text[at : at + 1].isspace()


def _ends_sentence(text: str, at: int) -> bool:
    before = len(text[max(at - 8, 0) : at].rstrip()) + max(at - 8, 0)
    if "\n" in text[before:at]:
        return True
    first = max(before - _MOST_CLOSING, 0)
    while before > first and text[before - 1] in _CLOSING:
        before -= 1
    last = text[before - 1] if before else ""
    return last in _SENTENCE_ENDS_WITHOUT_SPACE or (last in _SENTENCE_ENDS and _between_words(text, at))
