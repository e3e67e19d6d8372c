"""Segments in memory for searching postings, and what a search must find, by adding up every document's score."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from indexes.arrays import ArrayFolder
from indexes.bm25_formula import BM25Settings
from indexes.compilation import read_only
from indexes.documents import PackedDocuments
from indexes.frequency_classes import PairCounts, class_bounds, class_frequencies
from indexes.hits import Hits
from indexes.lists import Lists, offsets_of, transposed
from indexes.postings import Postings
from indexes.postings_search import Plan, PostingsSearch
from indexes.postings_writer import PostingsWriter
from indexes.segment_table import AllowedDocuments, Formula, PostingsSegment, SearchedSegments


@dataclass
class Made:
    """A segment, and what its oracle needs.

    Attributes:
        segment: as it is searched.
        lists: its documents' lists.
        norms: (n_documents,) float64, what is added to frequencies below the fraction; None where they are the worth.
    """

    segment: PostingsSegment
    lists: Lists
    norms: np.ndarray | None

    @property
    def n_documents(self) -> int:
        return len(self.lists.offsets) - 1

    @property
    def rows(self) -> np.ndarray:
        """The document of each pair."""
        return np.repeat(np.arange(self.n_documents), np.diff(self.lists.offsets))

    def scores(self, query: dict[int, float]) -> np.ndarray:
        """Return every document's score: float64, one term after the other in their order, as the promise says."""
        scores, rows = np.zeros(self.n_documents), self.rows
        for member in sorted(query):
            held = self.lists.members == member
            counts = self.lists.frequencies[held].astype(np.float64)
            worth = counts if self.norms is None else counts / (counts + self.norms[rows[held]])
            scores[rows[held]] += query[member] * worth
        return scores


def lists_of(documents: Sequence[dict[int, int]]) -> Lists:
    """Return documents, each a dictionary from member to frequency, as flat lists."""
    pairs = [pair for document in documents for pair in sorted(document.items())]
    offsets = offsets_of(np.array([len(document) for document in documents], np.int64))
    return Lists(offsets, np.array([m for m, _ in pairs], np.int32), np.array([f for _, f in pairs], np.uint32))


def lists_of_postings(n_documents: int, held: Sequence[tuple[np.ndarray, np.ndarray]]) -> Lists:
    """Return the documents' lists, given each member's rows, ascending, and frequencies."""
    counts = np.array([len(rows) for rows, _ in held], np.int64)
    rows = np.concatenate([np.empty(0, np.int32), *(rows for rows, _ in held)]).astype(np.int32)
    frequencies = np.concatenate([np.empty(0, np.uint32), *(found for _, found in held)]).astype(np.uint32)
    sizes = offsets_of(np.bincount(rows, minlength=n_documents))
    return transposed(Lists(offsets_of(counts), rows, frequencies), sizes)


def bm25(
    lists: Lists,
    n_members: int,
    settings: BM25Settings | None = None,
    *,
    average: float | None = None,
    looseness: float = 1.0,
    claimed: float = 1.0,
    sequences: np.ndarray | None = None,
) -> Made:
    """Make a segment whose postings have classes of frequency and length.

    Args:
        lists: documents' lists.
        n_members: number of terms.
        settings: k1 and b.
        average: length of the documents, where it is not theirs.
        looseness: a factor of at least 1 for the upper bounds. They stay bounds, so that nothing found may change.
        claimed: a factor of at least 1 for the lower bounds, which then promise too much: they may cost time, for what
            was hoped for by them does not come true, but no result.
        sequences: of the documents.
    """
    settings = settings or BM25Settings()
    n_documents = len(lists.offsets) - 1
    rows = np.repeat(np.arange(n_documents), np.diff(lists.offsets))
    lengths = np.bincount(rows, lists.frequencies, minlength=n_documents).astype(np.int32)
    average = (float(lengths.mean()) if lengths.any() else 1.0) if average is None else average
    pairs = PairCounts(lengths)
    pairs.add(0, lists)
    classes = pairs.classes()
    upper, lower = class_bounds(classes.boxes, settings, 1, average)
    postings = transposed(lists, offsets_of(np.bincount(lists.members, minlength=n_members)))
    values = classes.of(postings.members, postings.frequencies)
    norms = settings.k1 * (1 - settings.b + settings.b * (lengths / average))
    worth = upper * looseness, lower * claimed, class_frequencies(classes.boxes)
    formula = Formula(*worth, lengths, float(settings.k1), float(settings.b), average)
    return _made(lists, postings, values, formula, norms, sequences)


def impacts(lists: Lists, n_members: int, *, sequences: np.ndarray | None = None) -> Made:
    """Make a segment whose postings are worth their frequencies, which are at most 255."""
    postings = transposed(lists, offsets_of(np.bincount(lists.members, minlength=n_members)))
    formula = Formula.of_impacts(np.arange(256.0))
    return _made(lists, postings, postings.frequencies.astype(np.uint8), formula, None, sequences)


def columns(lists: Lists, n_members: int, *, sequences: np.ndarray | None = None) -> Made:
    """Make the segment that `impacts` makes, but with columns in the place of long chunks; it lies in files."""
    made = impacts(lists, n_members, sequences=sequences)
    postings = transposed(lists, offsets_of(np.bincount(lists.members, minlength=n_members)))
    with tempfile.TemporaryDirectory() as name:
        with PostingsWriter(Path(name), with_values=True, columns_of=made.n_documents) as writer:
            writer.append(postings.offsets, postings.members, postings.frequencies.astype(np.uint8))
        held = Postings.open(ArrayFolder(Path(name)), n_members, with_values=True, with_columns=True).whole()
    return replace(made, segment=replace(made.segment, postings=held))


def binary(lists: Lists, n_members: int, *, sequences: np.ndarray | None = None) -> Made:
    """Make a segment of documents without frequencies: postings have no values."""
    lists = lists._replace(frequencies=np.ones_like(lists.frequencies))
    postings = transposed(lists, offsets_of(np.bincount(lists.members, minlength=n_members)))
    return _made(lists, postings, np.empty(0, np.uint8), Formula.of_impacts(np.ones(256)), None, sequences)


def _made(
    lists: Lists,
    postings: Lists,
    values: np.ndarray,
    formula: Formula,
    norms: np.ndarray | None,
    sequences: np.ndarray | None,
) -> Made:
    chunked = Postings.chunked(postings.offsets, postings.members, values, "postings in memory")
    own = np.arange(len(lists.offsets) - 1) if sequences is None else sequences
    segment = PostingsSegment(chunked, PackedDocuments.packed(lists), formula, own)
    return Made(segment, lists, norms)


def plan_of(queries: Sequence[dict[int, float]], n_segments: int) -> Plan:
    """Return a plan for segments whose lists all have the members' numbers."""
    bounds = offsets_of(np.array([len(query) for query in queries], np.int64))
    members = [member for query in queries for member in sorted(query)]
    weights = [query[member] for query in queries for member in sorted(query)]
    return Plan(bounds, np.array(weights, np.float64), [np.array(members, np.int64)] * n_segments)


def search(
    segments: Sequence[Made],
    queries: Sequence[dict[int, float]],
    k: int,
    allowed: Sequence[np.ndarray] | None = None,
    *,
    threads: int = 1,
    daring: float = 1.0,
) -> list[Hits]:
    """Search as the engine does."""
    masks = [read_only(np.empty(0, bool))] * len(segments) if allowed is None else list(map(read_only, allowed))
    plan = plan_of(queries, len(segments))
    searched = SearchedSegments([made.segment for made in segments])
    return PostingsSearch(searched, AllowedDocuments(masks), plan, k, daring).run(threads)


def expected(
    segments: Sequence[Made], query: dict[int, float], k: int, allowed: Sequence[np.ndarray] | None = None
) -> list[tuple[int, int, float]]:
    """Return the best documents, (segment, row, score): by score, then by sequence number."""
    numbers, rows, scores, sequences = [], [], [], []
    for number, made in enumerate(segments):
        own = made.scores(query)
        if allowed is not None and len(allowed[number]):
            own[~allowed[number]] = 0
        matching = np.flatnonzero(own > 0)
        numbers.append(np.full(len(matching), number))
        rows.append(matching)
        scores.append(own[matching])
        sequences.append(made.segment.sequences[matching])
    every = np.concatenate(scores)
    order = np.lexsort((np.concatenate(sequences), -every))[:k]
    columns = np.concatenate(numbers)[order], np.concatenate(rows)[order], every[order]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def triples(hits: Hits) -> list[tuple[int, int, float]]:
    return list(zip(hits.segments.tolist(), hits.rows.tolist(), hits.scores.tolist(), strict=True))


def check(
    segments: Sequence[Made], query: dict[int, float], k: int, allowed: Sequence[np.ndarray] | None = None
) -> None:
    """Compare a search with the oracle, to the bit."""
    (hits,) = search(segments, [query], k, allowed)
    assert triples(hits) == expected(segments, query, k, allowed)


class Touched(NamedTuple):
    """How many postings each call of the kernel added up."""

    calls: list[int]

    def taken(self) -> int:
        """Return the sum since the last time."""
        total = sum(self.calls)
        self.calls.clear()
        return total


def watch(monkeypatch: pytest.MonkeyPatch) -> Touched:
    """Count what the search kernel adds up."""
    from indexes import kernels

    touched, searched = Touched([]), kernels.search

    def counting(*arguments):
        before = int(arguments[-1][0])
        status = searched(*arguments)
        touched.calls.append(int(arguments[-1][0]) - before)
        return status

    monkeypatch.setattr(kernels, "search", counting)
    return touched
