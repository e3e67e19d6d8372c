"""Several teachers as one: the mean of their scores (arXiv 2010.02666, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from retrieval.distillation.provenance import read_provenance, write_provenance
from retrieval.distillation.scored_files import Placed, check_form, read_scored, write_scored
from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError
from retrieval.training.data.row_values import ScoredTuple


def ensemble(files: Sequence[str | Path], out: str | Path) -> int:
    """Write the arithmetic mean of several files' scores; files stream, however long they are.

    The mean of margins is the margin of means: students see the same by Margin-MSE.

    Args:
        files: of scored tuples, see `scored_files`; the same tuples in the same order.
        out: `.tsv` or `.jsonl`; a record of what it was made of goes beside it.

    Returns:
        How many tuples there are.

    Raises:
        TrainingDataError: a file cannot be read, or holds other tuples than the first file: the message names the line.
        DocumentError: a row is bad: left out of one file, it would shift the others.
    """
    places, target = [Path(file) for file in files], Path(out)
    check_form(target, (".tsv", ".jsonl"))
    if not places:
        raise TrainingDataError("an ensemble needs at least one file of scores")
    if target.exists():
        raise TrainingDataError(f"{target} is there already; choose another name")
    read = [read_scored(place, ReadReport(strict=True)) for place in places]
    holds = read[0][0]
    for place, (other, _) in zip(places, read, strict=True):
        if other != holds:
            raise TrainingDataError(f"{place} holds {other}, {places[0]} holds {holds}; all files need the same tuples")
    count = write_scored(target, _means([tuples for _, tuples in read]), holds, column="scores")
    write_provenance(target, {"ensemble": [read_provenance(place) for place in places]})
    return count


def _means(files: Sequence[Iterator[Placed]]) -> Iterator[ScoredTuple]:
    for members in zip_longest(*files):
        first_place, first = next(member for member in members if member is not None)
        for member in members:
            if member is None:
                raise TrainingDataError(f"{first_place} has a tuple, and another file ends before it")
            place, given = member
            if (given.query, given.passages) != (first.query, first.passages):
                raise TrainingDataError(
                    f"{place} holds another tuple than {first_place}: query {given.query[:80]!r} instead of "
                    f"{first.query[:80]!r}, or other passages"
                )
        columns = zip(*(given.scores for _, given in members), strict=True)
        yield ScoredTuple(first.query, first.passages, tuple(math.fsum(scores) / len(files) for scores in columns))
