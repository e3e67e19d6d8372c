"""Words: normalised text becomes tokens, with their places.

A word is a run of letters, digits and the combining marks that follow them. Hyphens, underscores, dots and other
punctuation part words (read_csv is read and csv), and so do apostrophes, except what a language hangs on with them:
English 's, n't, 'd, 'm, 'll, 're and 've and Turkish suffixes of names are dropped (Alzheimer's is alzheimer).
Runs of scripts written without spaces become overlapping pairs of characters, the usual way to search them without
a dictionary; a character is a letter with its marks (in Khmer and Myanmar also with stacked consonants).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from retrieval.analysis.scripts import UNSPACED_SCRIPTS, ZERO_WIDTH_NON_JOINER, combining_marks

_ASCII_WORD = re.compile("[a-z0-9]+")
_BEYOND_BMP = re.compile("[\U00010000-\U0010ffff]")
_UNSPACED = re.compile(f"[{''.join(UNSPACED_SCRIPTS.values())}]")
_STACKING_SIGNS = "\u17d2\u1039"  # Khmer coeng, Myanmar virama: the next consonant is written below

# They begin with literals, so that a text without them is scanned fast.
_DROPPED_SUFFIXES: dict[str, tuple[re.Pattern[str], ...]] = {
    "english": (re.compile(r"'(?<=\bcan')t\b"), re.compile(r"n't\b"), re.compile(r"'(?<=\w')(?:s|d|m|ll|re|ve)\b")),
    "turkish": (re.compile(r"'(?<=\w')[a-zçğıöşüâîû]+"),),
}


class WordTokenizer:
    """Finds the tokens of text in normal form (see `Normalisation`).

    Args:
        language: which apostrophes to read how.
        character_bigrams: whether to cut runs of unspaced scripts into pairs.
    """

    def __init__(self, language: str, character_bigrams: bool) -> None:
        self._dropped = _DROPPED_SUFFIXES.get(language, ())
        self._bigrams = character_bigrams

    def tokens(self, text: str) -> list[str]:
        """Return the tokens in order."""
        text = self._without_suffixes(text)
        if text.isascii():
            return _ASCII_WORD.findall(text)
        if self._bigrams and _UNSPACED.search(text):
            return [text[start:end] for start, end in self._pieces(text)]
        return _word_pattern(text).findall(text)

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        """Return the same tokens with their places: (token, start, end)."""
        text = self._without_suffixes(text)
        return [(text[start:end], start, end) for start, end in self._pieces(text)]

    def _without_suffixes(self, text: str) -> str:
        """Blank out what is dropped; the length stays, so that places do."""
        if self._dropped and "'" in text:
            for pattern in self._dropped:
                text = pattern.sub(_blank, text)
        return text

    def _pieces(self, text: str) -> Iterator[tuple[int, int]]:
        for word in _word_pattern(text).finditer(text):
            if self._bigrams and _UNSPACED.search(word[0]):
                yield from _cut(text, *word.span())
            else:
                yield word.span()


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a word that holds runs of unspaced scripts: the runs into pairs, what is between them as it stands."""
    for run in _run_pattern().finditer(text, start, end):
        if run.start() > start:
            yield start, run.start()
        yield from _pairs(text, *run.span())
        start = run.end()
    if start < end:
        yield start, end


def _pairs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a run into overlapping pairs of characters; a run of one character is kept."""
    characters = [character.span() for character in _character_pattern().finditer(text, start, end)]
    if len(characters) == 1:
        yield characters[0]
    for (first, _), (_, last) in pairwise(characters):
        yield first, last


def _word_pattern(text: str) -> re.Pattern[str]:
    return _compile_word(beyond_bmp=_BEYOND_BMP.search(text) is not None)


@cache
def _compile_word(beyond_bmp: bool) -> re.Pattern[str]:
    return re.compile(rf"\w[\w{ZERO_WIDTH_NON_JOINER}{combining_marks(beyond_bmp)}]*")


@cache
def _run_pattern() -> re.Pattern[str]:
    marks = combining_marks(beyond_bmp=True)
    return re.compile("|".join(rf"(?=\w)[{script}][{script}{marks}]*" for script in UNSPACED_SCRIPTS.values()))


@cache
def _character_pattern() -> re.Pattern[str]:
    return re.compile(rf"\w(?:[{_STACKING_SIGNS}]\w|[{combining_marks(beyond_bmp=True)}])*")
