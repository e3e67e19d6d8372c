"""The query syntax: required, excluded and quoted terms, read only where it is asked for (`syntax="query"`).

    csv file              either word counts, as in a plain query
    +csv file             csv must occur
    csv -excel            excel must not
    "dialect of csv"      these words must occur one after the other (stop words aside)
    -"excel dialect"      and these must not

An operator stands at the beginning of a word: well-known, C++ and a-b mean nothing special. A word that is several
terms (well-known, a run of Chinese) is treated as a phrase when it has an operator. What cannot be meant as written
is an error, never guessed: a quote that is not closed, an operator without a word, a required or quoted stop word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.documents.json_values import shorten
from retrieval.errors import QueryError

if TYPE_CHECKING:
    from retrieval.analysis import Analyser

_QUOTES = '"“”„‟«»'
_CLAUSE = re.compile(
    rf"""\s*(?P<operator>[+\-−](?=\S))?            # the operator
    (?: [{_QUOTES}](?P<phrase>[^{_QUOTES}]*)[{_QUOTES}]   # "a phrase"
      | (?P<word>[^\s{_QUOTES}]+) )                  # or a word""",
    re.VERBOSE,
)
_OPERATORS = "+-−"


@dataclass(frozen=True)
class ParsedQuery:
    """What a query in query syntax asks for.

    Attributes:
        weights: term -> how often it counts for BM25; terms of words, required words and phrases.
        required: terms that a document must hold.
        excluded: terms that it must not hold.
        phrases: sequences of terms that must occur one after the other.
        excluded_phrases: sequences of terms that must not.
        plain_text: the query without operators and without what is excluded, for an encoder.
    """

    weights: Mapping[str, float]
    required: tuple[str, ...]
    excluded: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    excluded_phrases: tuple[tuple[str, ...], ...]
    plain_text: str


@dataclass(frozen=True)
class _Clause:
    operator: str  # "+", "-" or ""
    text: str
    is_quoted: bool


def parse_query(text: str, analyser: Analyser) -> ParsedQuery:
    """Read a query in query syntax.

    Args:
        text: the query as typed.
        analyser: the collection's; words become terms by it.

    Raises:
        QueryError: A quote is not closed, an operator stands alone, a word or phrase with an operator or in quotes
            has no terms (it holds only stop words or punctuation), or there is nothing to search for.
    """
    weights: Counter[str] = Counter()
    conditions: dict[str, list[tuple[str, ...]]] = {"+": [], "-": []}
    plain_words: list[str] = []
    for clause in _clauses(text):
        terms = tuple(analyser.terms(clause.text))
        if clause.operator or clause.is_quoted:
            if not terms:
                raise QueryError(
                    f"{shorten(clause.text)} holds only stop words or punctuation, which are not indexed; "
                    "leave out its operator or quotes"
                )
            conditions[clause.operator or "+"].append(terms)
        if clause.operator != "-":
            weights.update(terms)
            plain_words.append(clause.text)
    if not plain_words:
        raise QueryError(f"nothing to search for in {shorten(text)}; add at least one word that is not excluded")
    return ParsedQuery(
        weights={term: float(count) for term, count in weights.items()},
        required=_single(conditions["+"]),
        excluded=_single(conditions["-"]),
        phrases=_several(conditions["+"]),
        excluded_phrases=_several(conditions["-"]),
        plain_text=" ".join(plain_words),
    )


def contains_phrase(terms: Sequence[str], phrase: Sequence[str]) -> bool:
    """Say whether a phrase's terms occur in a document's one after the other; the empty phrase always does.

    Args:
        terms: the document's terms in order, from the same analyser.
        phrase: the phrase's terms in order. Stop words are in neither, so "state of the art" is also found where a
            document says "state art".
    """
    if not phrase:
        return True
    width, first, phrase = len(phrase), phrase[0], list(phrase)
    return any(
        terms[start] == first and list(terms[start : start + width]) == phrase
        for start in range(len(terms) - width + 1)
    )


def _clauses(text: str) -> list[_Clause]:
    clauses: list[_Clause] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _CLAUSE.match(text, position)
        if match is None:
            raise QueryError(_unreadable(text, position))
        operator, phrase, word = match["operator"] or "", match["phrase"], match["word"]
        if word is not None and word[0] in _OPERATORS and (operator or len(word) == 1):
            raise QueryError(_unreadable(text, match.start("word")))
        clauses.append(_Clause("-" if operator == "−" else operator, word if phrase is None else phrase, word is None))
        position = match.end()
    return clauses


def _unreadable(text: str, position: int) -> str:
    """Say what is wrong at a place where no clause begins."""
    position += len(text[position:]) - len(text[position:].lstrip())
    if text[position] in _OPERATORS and text[position + 1 : position + 2] in tuple(_QUOTES):
        position += 1
    if text[position] in _OPERATORS:
        return (
            f"{text[position]!r} at character {position + 1} has no word; write it directly before one, as in +word, "
            "or search without syntax='query'"
        )
    shown = text[position : position + 20]
    return f"the quote at character {position + 1} is not closed: {shown!r}; add the second one, or leave this one out"


def _single(conditions: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(terms[0] for terms in conditions if len(terms) == 1))


def _several(conditions: list[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    return tuple(dict.fromkeys(terms for terms in conditions if len(terms) > 1))
