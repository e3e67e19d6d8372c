"""From one form of scored tuples to another: published lines, and rows that sentence-transformers' losses read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from retrieval.distillation.scored_files import Placed, check_form, read_scored, write_scored
from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError
from retrieval.training.data.collection_texts import CollectionTexts, find_texts
from retrieval.training.data.row_values import ScoredTuple


def convert(
    source: str | Path,
    out: str | Path,
    *,
    margins: bool = False,
    texts: str | Path | None = None,
    split: str = "train",
    report: ReadReport | None = None,
) -> int:
    """Write scored tuples in another form; they stream.

    Rows have the column `label`, which sentence-transformers' MarginMSELoss reads: the scores of positive and
    negatives, or margins. Margins cannot be turned back: a student of Margin-MSE learns the same from them, others do
    not.

    Args:
        source: a file of scored tuples, see `scored_files`.
        out: `.tsv`, `.jsonl` or `.parquet`.
        margins: of rows: write margins instead of scores.
        texts: folder of a collection in MS MARCO's or BEIR's layout whose texts replace ids.
        split: of its queries.
        report: counts what cannot be used; by default the first bad row is an error.

    Returns:
        How many tuples there are.

    Raises:
        TrainingDataError: the forms do not go together, or nothing could be read.
        DocumentError: a row is bad, and there is no report or it is strict.
    """
    target = Path(out)
    check_form(target)
    if margins and target.suffix == ".tsv":
        raise TrainingDataError(f"{target} has the scores of both passages on a line; margins go to .jsonl or .parquet")
    if target.exists():
        raise TrainingDataError(f"{target} is there already; choose another name")
    report = ReadReport(strict=True) if report is None else report
    with ExitStack() as stack:
        holds, tuples = read_scored(Path(source), report)
        if texts is not None:
            if holds == "texts":
                raise TrainingDataError(f"{source} has texts already; leave the folder of texts out")
            collection = CollectionTexts(*find_texts(Path(texts), split), report)
            tuples, holds = _expanded(tuples, stack.enter_context(collection)), "texts"
        return write_scored(target, _counted(tuples, report), holds, column="label", margins=margins)


def _expanded(tuples: Iterator[Placed], collection: CollectionTexts) -> Iterator[Placed]:
    for place, given in tuples:
        found = collection.find(given.query, given.passages, place)
        if found is not None:
            yield place, ScoredTuple(found[0], tuple(found[1]), given.scores)


def _counted(tuples: Iterator[Placed], report: ReadReport) -> Iterator[ScoredTuple]:
    for _, given in tuples:
        report.read += 1
        yield given
