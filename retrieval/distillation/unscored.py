"""What a teacher is to score: tuples with their texts, of id triples beside a collection or of rows with texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError
from retrieval.training.data.collection_texts import CollectionTexts, find_texts
from retrieval.training.data.judged import find_triples, read_triples
from retrieval.training.data.row_values import (
    POSITIVE_NAMES,
    QUERY_NAMES,
    UnusableRowError,
    find,
    negatives_of,
    parsed_rows,
    text_of,
)
from retrieval.training.data.rows import read_rows, text_lines
from retrieval.training.data.teacher_lines import Holds, lines_hold, read_lines_of

_KIND = "tuples"


class Unscored(NamedTuple):
    """A query with its positive and negatives.

    Attributes:
        query: its text.
        passages: their texts, the positive's first.
        ids: of the query and of the passages; None where there are none.
    """

    query: str
    passages: tuple[str, ...]
    ids: tuple[str, ...] | None


@dataclass(frozen=True)
class TupleFiles:
    """Files that hold tuples to be scored.

    Attributes:
        tuples: lines of three ids, lines of another teacher (whose scores are not looked at), or rows with texts.
        holds: "ids" or "texts".
        passages: of ids, the file of the passages' texts.
        queries: of ids, the file of the queries' texts.
    """

    tuples: Path
    holds: Holds
    passages: Path | None = None
    queries: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The files that decide what is scored, by what they are."""
        named = {"tuples": self.tuples, "passages": self.passages, "queries": self.queries}
        return {name: path for name, path in named.items() if path is not None}

    def read(self, report: ReadReport) -> Iterator[Unscored]:
        """Yield the tuples in their order; they stream.

        Args:
            report: counts what was read, and lines, rows and ids that cannot be used.

        Raises:
            TrainingDataError: the rows are of another kind.
            DocumentError: a file cannot be opened, or the report is strict and a row is bad.
        """
        for found in self._of_rows(report) if self.passages is None or self.queries is None else self._of_ids(report):
            report.read += 1
            yield found

    def count(self) -> int:
        """Return how many tuples there are, with those of ids that may have no text; nothing but ids is read."""
        report = ReadReport()
        return sum(1 for _ in (self._of_rows(report) if self.holds == "texts" else self._id_tuples(report)))

    def _of_ids(self, report: ReadReport) -> Iterator[Unscored]:
        assert self.passages is not None and self.queries is not None
        with CollectionTexts(self.passages, self.queries, report) as texts:
            for place, query, passages in self._id_tuples(report):
                found = texts.find(query, passages, place)
                if found is not None:
                    yield Unscored(found[0], tuple(found[1]), (query, *passages))

    def _id_tuples(self, report: ReadReport) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        if lines_hold(self.tuples):
            for place, given in read_lines_of(self.tuples, report):
                yield place, given.query, given.passages
            return
        for place, query, positive, negative in read_triples(self.tuples, report):
            yield place, query, (positive, negative)

    def _of_rows(self, report: ReadReport) -> Iterator[Unscored]:
        if lines_hold(self.tuples):
            for _, given in read_lines_of(self.tuples, report):
                yield Unscored(given.query, given.passages, None)
            return
        for _, found in parsed_rows(read_rows(self.tuples, report), self.tuples, _tuple_in, report):
            yield found


def _tuple_in(values: Mapping[str, Any], place: str) -> Unscored:
    query = text_of(values, find(values, QUERY_NAMES, "a query", place, _KIND))
    positive = text_of(values, find(values, POSITIVE_NAMES, "a positive", place, _KIND))
    negatives = negatives_of(values, place, _KIND)
    if not negatives:
        raise UnusableRowError("too few negatives", "a tuple needs one at least")
    return Unscored(query, (positive, *negatives), None)


def find_tuples(data: str | Path, split: str | None = None) -> TupleFiles:
    """Return the files of the tuples that are meant.

    Args:
        data: a folder in MS MARCO's layout with a file of id triples; such a file, or one of another teacher's lines,
            with collection and queries beside it; or a file of rows with query, positive and negatives.
        split: of triples and queries; None takes "train".

    Raises:
        TrainingDataError: there is no such thing.
    """
    path, chosen = Path(data), split or "train"
    if path.is_dir():
        triples = find_triples(path, chosen)
        if triples is None:
            raise TrainingDataError(f"{path} has no file of triples, qidpidtriples.{chosen}.tsv; name a file of tuples")
        path = triples
    if not path.is_file():
        raise TrainingDataError(f"no tuples at {path}: neither a file nor a folder")
    if lines_hold(path) != "ids" and not _has_triples(path):
        return TupleFiles(path, "texts")
    passages, queries = find_texts(path.parent, chosen)
    return TupleFiles(path, "ids", passages, queries)


def _has_triples(path: Path) -> bool:
    """Tell whether the first line of a file is three ids: words without white space that name no columns."""
    if not {".tsv", ".txt"} & set(path.suffixes):
        return False
    _, line = next(islice(text_lines(path, ReadReport()), 1), (0, ""))
    parts = line.split()
    return len(parts) == 3 and not {part.lower() for part in parts} & set(QUERY_NAMES)
