"""From a row of a file to a training example, and the count of rows from which none can be made.

| kind | columns of an example |
| --- | --- |
| sentences | text |
| pairs | query, positive |
| tuples | query, positive, negative_1 … negative_n |
| scored_tuples | query, positive, negative_1 … negative_n, scores (1 + n of them, the positive's first) |
| labelled | sentence1, sentence2, label (class number) |
| scored | sentence1, sentence2, score (0 to 1) |
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from retrieval.documents.report import ReadReport
from retrieval.training.data.row_values import (
    FIRST_NAMES,
    LABEL_NAMES,
    POSITIVE_NAMES,
    QUERY_NAMES,
    SCORE_NAMES,
    SECOND_NAMES,
    TEXT_NAMES,
    UnusableRowError,
    find,
    missing,
    negatives_of,
    scored_tuple,
    text_of,
)
from retrieval.training.recipe import Recipe

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
        "scored_tuples": ["query", "positive", *negatives, "scores"],
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
        elif recipe.data == "scored_tuples":
            yield _scored_tuple(values, place, recipe, report)
        else:
            yield _compared(values, place, recipe, report)
    except UnusableRowError as error:
        report.skip(place, error.reason, error.detail)


def _sentences(values: Mapping[str, Any], place: str) -> list[str]:
    names = [name for name in TEXT_NAMES if name in values][:1]
    names = names or [name for name in (*FIRST_NAMES, *SECOND_NAMES, *QUERY_NAMES, *POSITIVE_NAMES) if name in values]
    if not names:
        raise missing("a text", TEXT_NAMES, values, place, "sentences")
    return [text_of(values, name) for name in names]


def _tuple(values: Mapping[str, Any], place: str, recipe: Recipe) -> Example:
    query = find(values, QUERY_NAMES, "a query", place, recipe.data)
    positive = find(values, POSITIVE_NAMES, "a positive", place, recipe.data)
    passages = [text_of(values, positive)]
    if recipe.data == "tuples":
        passages += negatives_of(values, place, recipe.data)
        check_count(len(passages) - 1, recipe)
    return tuple_example(text_of(values, query), passages, recipe)


def _scored_tuple(values: Mapping[str, Any], place: str, recipe: Recipe, report: ExampleReport) -> Example:
    found, has_margins = scored_tuple(values, place)
    check_count(len(found.passages) - 1, recipe)
    if has_margins:
        report.note(place, "margin without scores", "the first negative's score is taken for 0")
    return tuple_example(found.query, found.passages, recipe, found.scores)


def check_count(n_negatives: int, recipe: Recipe) -> None:
    """Refuse a tuple with fewer negatives than the recipe wants, by an UnusableRowError."""
    if n_negatives < recipe.negatives:
        detail = f"{n_negatives} instead of {recipe.negatives}; lower `negatives` or mine more"
        raise UnusableRowError("too few negatives", detail)


def tuple_example(
    query: str, passages: Sequence[str], recipe: Recipe, scores: Sequence[float] | None = None
) -> Example:
    """Return the example of a query, its positive and its negatives, as many as the recipe wants, and their scores."""
    positive, *negatives = passages if recipe.data != "pairs" else passages[:1]
    example: Example = {"query": query, "positive": positive}
    for number, negative in enumerate(negatives[: recipe.negatives], start=1):
        example[f"negative_{number}"] = negative
    if scores is not None:
        example["scores"] = list(scores[: 1 + recipe.negatives])
    return example


def _compared(values: Mapping[str, Any], place: str, recipe: Recipe, report: ExampleReport) -> Example:
    first = find(values, FIRST_NAMES, "a first sentence", place, recipe.data)
    second = find(values, SECOND_NAMES, "a second sentence", place, recipe.data)
    example: Example = {"sentence1": text_of(values, first), "sentence2": text_of(values, second)}
    if recipe.data == "labelled":
        name = find(values, LABEL_NAMES, "a label", place, recipe.data)
        example["label"] = _class_number(values[name], report)
    else:
        name = find(values, SCORE_NAMES, "a score", place, recipe.data)
        example["score"] = _scaled(values[name], recipe.score_range)
    return example


def _class_number(value: Any, report: ExampleReport) -> int:
    """Return the number of a class; classes are numbered in the order in which they appear."""
    label = "" if value is None else str(value).strip()
    if label in {"", "-", "-1"}:  # SNLI writes "-" and numbered editions write -1 where the annotators disagreed
        raise UnusableRowError("no label", f"{value!r}")
    if label not in report.classes:
        report.classes.append(label)
    return report.classes.index(label)


def _scaled(value: Any, score_range: tuple[float, float]) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise UnusableRowError("score is no number", f"{value!r}") from None
    low, high = score_range
    if not (math.isfinite(score) and low <= score <= high):
        raise UnusableRowError("score out of range", f"{value!r} is not in {low} to {high}; set `score_range`")
    return (score - low) / (high - low)
