"""Training examples of a teacher's file of scores: ids beside a collection, or texts in the lines themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError
from retrieval.training.data.collection_texts import CollectionTexts, find_texts
from retrieval.training.data.examples import Example, ExampleReport, check_count, tuple_example
from retrieval.training.data.row_values import ScoredTuple, UnusableRowError
from retrieval.training.data.rows import is_tabular
from retrieval.training.data.teacher_lines import lines_hold, read_lines_of
from retrieval.training.recipe import Recipe

_SAME = 0.01
"""Two scores of one pair differ by at most this part: half precision in batches of different lengths does less."""


def find_teacher_file(folder: Path) -> Path | None:
    """Return the file of a teacher's scores in a folder, None where there is none.

    Raises:
        TrainingDataError: there are several; the message lists them.
    """
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and is_tabular(path) and lines_hold(path)]
    if len(found) > 1:
        listed = ", ".join(path.name for path in found)
        raise TrainingDataError(f"{folder} has several files of teachers' scores: {listed}; name the one to train on")
    return found[0] if found else None


def read_taught(path: Path, recipe: Recipe, report: ExampleReport, split: str | None = None) -> Iterator[Example]:
    """Yield the scored tuples of a file of lines with a teacher's scores.

    With one negative the lines stream. With several, the ids of a query and a positive are gathered from all lines.

    Args:
        path: a file for which `lines_hold` tells ids or texts; ids have their texts in the folder's collection and
            queries, in MS MARCO's or BEIR's layout.
        recipe: says how many negatives.
        report: counts lines that are none, ids without a text and positives with too few negatives.
        split: of the queries; None takes "train", or "queries.tsv".

    Raises:
        TrainingDataError: there is no collection beside the ids, or texts shall be gathered.
    """
    if lines_hold(path) == "texts":
        if recipe.negatives != 1:
            raise TrainingDataError(f"{path} has one negative in each line; set negatives to 1, not {recipe.negatives}")
        for _, scored in read_lines_of(path, report):
            yield tuple_example(scored.query, scored.passages, recipe, scored.scores)
        return
    with CollectionTexts(*find_texts(path.parent, split or "train"), report) as texts:
        lines = read_lines_of(path, report)
        for place, scored in lines if recipe.negatives == 1 else _gathered(lines, recipe, report):
            found = texts.find(scored.query, scored.passages, place)
            if found is not None:
                yield tuple_example(*found, recipe, scored.scores)


def _gathered(
    lines: Iterator[tuple[str, ScoredTuple]], recipe: Recipe, report: ReadReport
) -> Iterator[tuple[str, ScoredTuple]]:
    """Yield one tuple for each query and positive, with their first distinct negatives."""
    gathered: dict[tuple[str, str], tuple[str, dict[str, float]]] = {}  # place, and scores with the positive's first
    for place, (query, (positive, negative), (score, of_negative)) in lines:
        _, scores = gathered.setdefault((query, positive), (place, {positive: score}))
        if not math.isclose(scores[positive], score, rel_tol=_SAME, abs_tol=_SAME):
            detail = f"query {query!r} and passage {positive!r} had {scores[positive]:g}, here {score:g}"
            report.skip(place, "another score of the same pair", detail)
        elif len(scores) <= recipe.negatives:
            scores.setdefault(negative, of_negative)
    for (query, _), (place, scores) in gathered.items():
        try:
            check_count(len(scores) - 1, recipe)
        except UnusableRowError as error:
            report.skip(place, error.reason, f"query {query!r} has {error.detail}")
        else:
            yield place, ScoredTuple(query, tuple(scores), tuple(scores.values()))
