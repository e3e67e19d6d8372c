"""From a row of a file to a training example, and the count of rows from which none can be made.

| kind | columns of an example |
| --- | --- |
| sentences | text |
| pairs | query, positive |
| tuples | query, positive, negative_1 … negative_n |
| labelled | sentence1, sentence2, label (class number) |
| scored | sentence1, sentence2, score (0 to 1) |
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError
from retrieval.training.recipe import DataKind, Recipe

QUERY_NAMES = ("query", "anchor", "question")
POSITIVE_NAMES = ("positive", "pos", "passage", "answer", "response", "document")
NEGATIVE_NAMES = ("negative", "neg", "negatives")
FIRST_NAMES = ("sentence1", "sentence_1", "sentence_a", "text1", "premise")
SECOND_NAMES = ("sentence2", "sentence_2", "sentence_b", "text2", "hypothesis")
LABEL_NAMES = ("label", "labels", "class", "gold_label")
SCORE_NAMES = ("score", "similarity", "similarity_score", "relatedness_score", "label")
TEXT_NAMES = ("text", "sentence")

Example = dict[str, Any]


@dataclass
class ExampleReport(ReadReport):
    """Counts of one pass over training data: `read` are examples, `skipped` are rows, by reason, with line numbers.

    Attributes:
        classes: class names of labelled pairs in the order of their numbers.
    """

    classes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Say in one line how many examples were read, what was skipped and why, with the first place of each."""
        return super().summary().replace(" document", " example", 1)


def columns_of(recipe: Recipe) -> list[str]:
    """Return the columns of a recipe's examples, in the order in which its loss gets them; the label is last."""
    negatives = [f"negative_{number}" for number in range(1, recipe.negatives + 1)]
    return {
        "sentences": ["text"],
        "pairs": ["query", "positive"],
        "tuples": ["query", "positive", *negatives],
        "labelled": ["sentence1", "sentence2", "label"],
        "scored": ["sentence1", "sentence2", "score"],
    }[recipe.data]


def examples_of(row: Mapping[str, Any], place: str, recipe: Recipe, report: ExampleReport) -> Iterator[Example]:
    """Yield the examples in a row: one, or for sentences one for each text in it.

    Args:
        row: values by column name; names are recognised, whatever their case.
        place: "file:line", for the report.
        recipe: what kind of examples.
        report: counts rows that are unusable, and learns class names.

    Raises:
        TrainingDataError: the row lacks a column that the kind needs; the others will, too.
    """
    values = {str(name).lower(): value for name, value in row.items()}
    try:
        if recipe.data == "sentences":
            for text in _sentences(values, place):
                yield {"text": text}
        elif recipe.data in ("pairs", "tuples"):
            yield _tuple(values, place, recipe)
        else:
            yield _compared(values, place, recipe, report)
    except _UnusableRowError as error:
        report.skip(place, error.reason, error.detail)


class _UnusableRowError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def _sentences(values: Mapping[str, Any], place: str) -> list[str]:
    names = [name for name in TEXT_NAMES if name in values][:1]
    names = names or [name for name in (*FIRST_NAMES, *SECOND_NAMES, *QUERY_NAMES, *POSITIVE_NAMES) if name in values]
    if not names:
        raise _missing("a text", TEXT_NAMES, values, place, "sentences")
    return [_text(values, name) for name in names]


def _tuple(values: Mapping[str, Any], place: str, recipe: Recipe) -> Example:
    query = _find(values, QUERY_NAMES, "a query", place, recipe.data)
    positive = _find(values, POSITIVE_NAMES, "a positive", place, recipe.data)
    example = {"query": _text(values, query), "positive": _text(values, positive)}
    if recipe.data == "tuples":
        negatives = _negatives(values, place)
        if len(negatives) < recipe.negatives:
            detail = f"{len(negatives)} instead of {recipe.negatives}; lower `negatives` or mine more"
            raise _UnusableRowError("too few negatives", detail)
        for number, negative in enumerate(negatives[: recipe.negatives], start=1):
            example[f"negative_{number}"] = negative
    return example


def _negatives(values: Mapping[str, Any], place: str) -> list[str]:
    numbered = [name for name in values if name.startswith(("negative_", "neg_"))]
    if numbered:
        numbered.sort(key=lambda name: (len(name), name))
        return [_text(values, name) for name in numbered if values[name]]
    name = _find(values, NEGATIVE_NAMES, "a negative", place, "tuples")
    if isinstance(values[name], list):
        return [_checked_text(text, name) for text in values[name]]
    return [_text(values, name)]


def _compared(values: Mapping[str, Any], place: str, recipe: Recipe, report: ExampleReport) -> Example:
    first = _find(values, FIRST_NAMES, "a first sentence", place, recipe.data)
    second = _find(values, SECOND_NAMES, "a second sentence", place, recipe.data)
    example: Example = {"sentence1": _text(values, first), "sentence2": _text(values, second)}
    if recipe.data == "labelled":
        name = _find(values, LABEL_NAMES, "a label", place, recipe.data)
        example["label"] = _class_number(values[name], report)
    else:
        name = _find(values, SCORE_NAMES, "a score", place, recipe.data)
        example["score"] = _scaled(values[name], recipe.score_range)
    return example


def _class_number(value: Any, report: ExampleReport) -> int:
    """Return the number of a class; classes are numbered in the order in which they appear."""
    label = "" if value is None else str(value).strip()
    if label in {"", "-", "-1"}:  # SNLI writes "-" and numbered editions write -1 where the annotators disagreed
        raise _UnusableRowError("no label", f"{value!r}")
    if label not in report.classes:
        report.classes.append(label)
    return report.classes.index(label)


def _scaled(value: Any, score_range: tuple[float, float]) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise _UnusableRowError("score is no number", f"{value!r}") from None
    low, high = score_range
    if not (math.isfinite(score) and low <= score <= high):
        raise _UnusableRowError("score out of range", f"{value!r} is not in {low} to {high}; set `score_range`")
    return (score - low) / (high - low)


def _find(values: Mapping[str, Any], known: tuple[str, ...], what: str, place: str, kind: str) -> str:
    for name in known:
        if name in values:
            return name
    raise _missing(what, known, values, place, kind)


def _missing(
    what: str, known: tuple[str, ...], values: Mapping[str, Any], place: str, kind: DataKind | str
) -> TrainingDataError:
    found = ", ".join(values) or "none"
    return TrainingDataError(
        f"{place}: no column with {what} (columns: {found}); {kind} need one called {', '.join(known)}"
    )


def _text(values: Mapping[str, Any], name: str) -> str:
    return _checked_text(values[name], name)


def _checked_text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _UnusableRowError("not a text", f"{name} is {value!r:.80}")
    if not value.strip():
        raise _UnusableRowError("empty text", f"{name} is empty")
    return value.strip()
