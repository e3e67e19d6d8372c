"""Texts and scores in a row of a file, found by the names of its columns."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError

QUERY_NAMES = ("query", "anchor", "question")
POSITIVE_NAMES = ("positive", "pos", "passage", "answer", "response", "document")
NEGATIVE_NAMES = ("negative", "neg", "negatives")
FIRST_NAMES = ("sentence1", "sentence_1", "sentence_a", "text1", "premise")
SECOND_NAMES = ("sentence2", "sentence_2", "sentence_b", "text2", "hypothesis")
LABEL_NAMES = ("label", "labels", "class", "gold_label")
SCORE_NAMES = ("score", "similarity", "similarity_score", "relatedness_score", "label")
TEXT_NAMES = ("text", "sentence")
SCORES_NAMES = ("scores", "labels", "label", "score", "margin")
POSITIVE_SCORE_NAMES = ("pos_score", "s_pos", "positive_score")
NEGATIVE_SCORE_NAMES = ("neg_score", "s_neg", "negative_score")

Parsed = TypeVar("Parsed")

_NUMBERED = re.compile(r"(?:negative|neg)_(?!(?:.*_)?(?:score|id)s?$).+")
_LARGEST = 3.4028234663852886e38
"""The largest number of single precision, in which scores are trained on."""


class UnusableRowError(Exception):
    """A row from which no example can be made: `reason` in words that do not vary, `detail` with the value."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class ScoredTuple(NamedTuple):
    """A query, its passages and a teacher's scores of them.

    Attributes:
        query: its text, or its id.
        passages: the positive and the negatives: texts, or ids.
        scores: one for each passage, higher is better.
    """

    query: str
    passages: tuple[str, ...]
    scores: tuple[float, ...]


def parsed_rows(
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    path: Path,
    parse: Callable[[Mapping[str, Any], str], Parsed],
    report: ReadReport,
) -> Iterator[tuple[str, Parsed]]:
    """Yield place and content of each row of a file; rows of no use are counted.

    Args:
        rows: line numbers and values by column name.
        path: of the file.
        parse: takes the values, with names in lower case, and the place, "file:line".
        report: counts.

    Raises:
        TrainingDataError: the first row lacks a column; the others will, too.
    """
    fits = False
    for number, row in rows:
        place = f"{path}:{number}"
        try:
            found = parse({str(name).lower(): value for name, value in row.items()}, place)
        except UnusableRowError as error:
            report.skip(place, error.reason, error.detail)
        except TrainingDataError as error:
            if not fits:  # the whole file is of another kind
                raise
            report.skip(place, "missing column", str(error).removeprefix(f"{place}: "))
        else:
            fits = True
            yield place, found


def find(values: Mapping[str, Any], known: tuple[str, ...], what: str, place: str, kind: str) -> str:
    """Return the name of the first column that is known.

    Args:
        values: by column name, in lower case.
        known: names, in the order in which they count.
        what: is looked for, for the message: "a query".
        place: of the row, for the message.
        kind: of examples, for the message.

    Raises:
        TrainingDataError: there is none.
    """
    for name in known:
        if name in values:
            return name
    raise missing(what, known, values, place, kind)


def missing(what: str, known: tuple[str, ...], values: Mapping[str, Any], place: str, kind: str) -> TrainingDataError:
    """Return the error about a column that is not there."""
    found = ", ".join(values) or "none"
    return TrainingDataError(
        f"{place}: no column with {what} (columns: {found}); {kind} need one called {', '.join(known)}"
    )


def text_of(values: Mapping[str, Any], name: str) -> str:
    """Return the text in a column; UnusableRowError where there is none."""
    return checked_text(values[name], name)


def checked_text(value: Any, name: str) -> str:
    """Return a value that must be a text, without white space around it; UnusableRowError where it is none."""
    if not isinstance(value, str):
        raise UnusableRowError("not a text", f"{name} is {value!r:.80}")
    if not value.strip():
        raise UnusableRowError("empty text", f"{name} is empty")
    return value.strip()


def negatives_of(values: Mapping[str, Any], place: str, kind: str) -> list[str]:
    """Return the negatives of a row: numbered columns, of which empty ones are left out, or one, or a list.

    Raises:
        TrainingDataError: there is no such column.
        UnusableRowError: one is no text.
    """
    numbered = [name for name in values if _NUMBERED.fullmatch(name)]
    if numbered:
        numbered.sort(key=lambda name: (len(name), name))
        return [text_of(values, name) for name in numbered if values[name]]
    name = find(values, NEGATIVE_NAMES, "a negative", place, kind)
    if isinstance(values[name], list):
        return [checked_text(text, name) for text in values[name]]
    return [text_of(values, name)]


def scored_tuple(values: Mapping[str, Any], place: str) -> tuple[ScoredTuple, bool]:
    """Return the scored tuple in a row, and whether it had nothing but margins.

    Scores are in a list, one for each passage; in two columns, of the positive and of the negative; or margins alone,
    one for each negative, of which the positive leads it (sentence-transformers' `label`). A single margin m becomes
    the scores (m, 0); of several, the first negative's score is 0. Lists may be written as JSON, for separated values.

    Args:
        values: by column name, in lower case.
        place: of the row, for messages.

    Raises:
        TrainingDataError: a column is missing.
        UnusableRowError: a value is of no use, such as a score that is not finite or scores that are too few.
    """
    kind = "scored_tuples"
    query, positive = (
        text_of(values, find(values, names, what, place, kind))
        for names, what in ((QUERY_NAMES, "a query"), (POSITIVE_NAMES, "a positive"))
    )
    passages = (positive, *_aligned_negatives(values, place, kind))
    names_of_two = (POSITIVE_SCORE_NAMES, NEGATIVE_SCORE_NAMES)
    two = [values[name] for names in names_of_two for name in names if name in values]
    if len(two) == len(names_of_two):
        given: Any = two
    else:
        given = _unpacked(values[find(values, SCORES_NAMES, "scores", place, kind)])
    if isinstance(given, list):
        while given and given[-1] is None:
            given.pop()
        numbers = tuple(finite_score(value) for value in given)
    else:
        numbers = (finite_score(given),)
    if len(numbers) == len(passages):
        return ScoredTuple(query, passages, numbers), False
    if len(numbers) == len(passages) - 1:
        return ScoredTuple(query, passages, (numbers[0], *(numbers[0] - margin for margin in numbers))), True
    raise UnusableRowError("wrong number of scores", f"{len(numbers)} for {len(passages)} passages")


def finite_score(value: Any) -> float:
    """Return a value that must be a finite number of single precision; UnusableRowError where it is none."""
    try:
        if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
            raise ValueError  # noqa: TRY301 - Python would read them as numbers
        score = float(value)
    except (TypeError, ValueError):
        raise UnusableRowError("score is no number", f"{value!r:.80}") from None
    if not math.isfinite(score) or abs(score) > _LARGEST:
        raise UnusableRowError("score is not finite", f"{value!r:.80}")
    return score


def _aligned_negatives(values: Mapping[str, Any], place: str, kind: str) -> list[str]:
    """Return the negatives; empty columns may stand behind them, but not between: scores would belong to others."""
    numbered = sorted((name for name in values if _NUMBERED.fullmatch(name)), key=lambda name: (len(name), name))
    filled = [bool(values[name]) for name in numbered]
    if filled != sorted(filled, reverse=True):
        raise UnusableRowError("empty text", f"{numbered[filled.index(False)]} is empty, and one behind it is not")
    return negatives_of(values, place, kind)


def _unpacked(value: Any) -> Any:
    """Return the list that a text holds as JSON; anything else as it is, a copy of a list."""
    if isinstance(value, list):
        return list(value)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise UnusableRowError("scores are no list", f"{value!r:.80}") from None
    return value
