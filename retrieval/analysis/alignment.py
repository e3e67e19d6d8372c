"""Places in the original text of tokens that were found in its normal form, whatever lengths normalisation changed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import groupby

from retrieval.analysis.words import WordTokenizer

_WORD = re.compile(r"\S+")


def token_spans(text: str, normalise: Callable[[str], str], tokenizer: WordTokenizer) -> Iterator[tuple[str, int, int]]:
    """Yield (token, start, end) in order, start and end in characters of the original text.

    A token covers whole characters of the original: all tokens of "½" or "㎏" have the place of that one character.
    """
    for offset, chunk in _chunks(text):
        normal = normalise(chunk)
        if chunk.isascii():  # one character for one, whatever the language
            for token, start, end in tokenizer.spans(normal):
                yield token, offset + start, offset + end
        else:
            places = _align(chunk, normal, normalise)
            for token, start, end in tokenizer.spans(normal):
                yield token, offset + places[start][0], offset + places[end - 1][1]


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """Cut at whitespace, where nothing composes, into (offset, chunk); ASCII words in a row stay together."""
    for is_ascii, matches in groupby(_WORD.finditer(text), key=lambda word: word[0].isascii()):
        words = list(matches)
        if is_ascii:
            start, end = words[0].start(), words[-1].end()
            yield start, text[start:end]
        else:
            yield from ((word.start(), word[0]) for word in words)


def _align(chunk: str, normal: str, normalise: Callable[[str], str]) -> list[tuple[int, int]]:
    """Return for each character of the normal form the place (start, end) in the chunk that it comes from."""
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    for start, end in _clusters(chunk):
        part = normalise(chunk[start:end])
        parts.append(part)
        places += [(start, end)] * len(part)
    if "".join(parts) != normal:  # composition across clusters: the whole chunk is the place
        return [(0, len(chunk))] * len(normal)
    return places


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Cut text into letters with the marks that follow, which normalisation may compose or put into another order."""
    start = 0
    for position in range(1, len(text)):
        if not _joins(text[position]):
            yield start, position
            start = position
    yield start, len(text)


def _joins(character: str) -> bool:
    """Say whether a character may join the one before it: a mark, or a vowel or final of a Hangul syllable."""
    if character < "\u0300":
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"
