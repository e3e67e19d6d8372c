"""The inverted index, opened: postings of each term, list of terms of each document, lengths, dictionary.

All of it is mapped from `.npy` files (`indexes.inversion` says which) and immutable. An index knows counts and lengths,
no scores: what a term is worth depends on all segments and on which documents are alive, and is computed when searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexes.arrays import ArrayFolder
from indexes.dictionary import EncodedTerms, TermDictionary
from indexes.documents import PackedDocuments
from indexes.errors import CorruptIndexError
from indexes.format_one import is_format_one, open_format_one
from indexes.frequency_classes import load_boxes
from indexes.inversion import LENGTHS, InvertedIndexWriter
from indexes.inverted_merge import merge_inverted
from indexes.postings import Postings

__all__ = ["InvertedIndex", "InvertedIndexWriter", "merge_inverted"]


class InvertedIndex:
    """One segment's inverted index; open it with `open`. Safe to use from several threads.

    Attributes:
        directory: where its files lie.
        dictionary: the terms, sorted; a term's id is its number there.
        lengths: (n_documents,) int32, what a document's frequencies add up to.
        total_length: the lengths' sum.
        documents: the documents' lists of terms, ascending, and frequencies.
        postings: the terms' lists of documents, ascending, each posting with the class of its frequency and length.
        boxes: (n_boxes, 5) int64, what the classes hold; see `indexes.frequency_classes`.
        is_outdated: whether its files are of an older format; merging it writes the newest.
    """

    def __init__(  # noqa: PLR0917 - the order of the files
        self,
        directory: Path,
        dictionary: TermDictionary,
        lengths: np.ndarray,
        documents: PackedDocuments,
        postings: Postings,
        boxes: np.ndarray,
        *,
        is_outdated: bool = False,
    ) -> None:
        self.directory = directory
        self.dictionary = dictionary
        self.lengths = lengths
        self.total_length = int(lengths.sum(dtype=np.int64))
        self.documents = documents
        self.postings = postings
        self.boxes = boxes
        self.is_outdated = is_outdated

    @classmethod
    def open(cls, directory: Path) -> InvertedIndex:
        """Map an index's files.

        Checks types and sizes and that the files fit together; numbers, and checksums if the index is part of a
        collection, are checked where they are used. An index of format 1 is packed in memory.

        Raises:
            CorruptIndexError: a file is missing or is not what it should be; the message names it.
        """
        folder = ArrayFolder(directory)
        dictionary = TermDictionary(folder)
        lengths = folder.load(LENGTHS, np.int32, (None,))
        if len(lengths) and lengths.min() < 0:
            raise CorruptIndexError(f"file damaged: {directory / LENGTHS}.npy holds a negative length")
        if is_format_one(folder):
            packed = open_format_one(folder, lengths, len(dictionary))
            return cls(directory, dictionary, lengths, *packed, is_outdated=True)
        documents = PackedDocuments.open(folder, len(lengths))
        postings = Postings.open(folder, len(dictionary), with_values=True)
        return cls(directory, dictionary, lengths, documents, postings, load_boxes(folder))

    @property
    def n_documents(self) -> int:
        """Number of documents, those without terms included."""
        return len(self.lengths)

    @property
    def n_terms(self) -> int:
        """Number of distinct terms."""
        return len(self.dictionary)

    @property
    def n_postings(self) -> int:
        """Number of (term, document) pairs."""
        return self.postings.n_postings

    def term_ids(self, terms: Sequence[str] | EncodedTerms) -> np.ndarray:
        """Return the id of each term, int64, -1 where no document holds it."""
        return self.dictionary.find(terms)

    def term(self, term_id: int) -> str:
        """Return the term with an id; IndexError where there is none."""
        return self.dictionary[term_id]

    def rows_with(self, term_id: int) -> np.ndarray:
        """Return the documents that hold a term, (df,) int32, ascending; none for -1, the id of an unknown term.

        Raises:
            IndexError: there is no such term.
            CorruptIndexError: the list is damaged.
        """
        return self.postings.rows_of(term_id, self.n_documents) if term_id != -1 else np.empty(0, np.int32)

    def document(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a document's terms, int32 ascending, and their frequencies, uint32.

        Raises:
            IndexError: there is no such row.
            CorruptIndexError: the list is damaged.
        """
        return self.documents.one(row, self.n_terms)

    def document_frequencies(self, mask: np.ndarray | None = None) -> np.ndarray:
        """Return in how many documents each term occurs, (n_terms,) int64.

        Args:
            mask: (n_documents,) bool; only documents where it is True count. Costs what the lists of the
                smaller side cost: the documents that count or those that do not.

        Raises:
            CorruptIndexError: offsets or documents' lists are damaged.
        """
        starts, ends = self.postings.spans(np.arange(self.n_terms))
        every = ends - starts
        if mask is None:
            return every
        if mask.shape != (self.n_documents,):
            raise ValueError(f"the mask has shape {mask.shape}, the index {self.n_documents:,} documents")
        if 2 * int(np.count_nonzero(mask)) <= self.n_documents:
            return self._count(np.flatnonzero(mask))
        counts = every - self._count(np.flatnonzero(~mask))
        if len(counts) and counts.min() < 0:
            raise self.documents.damaged("points to lists that contradict the postings")
        return counts

    def spans(self, term_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the postings of terms begin and end, (n,) int64 each; empty for an id of -1.

        Raises:
            CorruptIndexError: the offsets of one are damaged.
        """
        starts, ends = np.zeros(len(term_ids), np.int64), np.zeros(len(term_ids), np.int64)
        present = term_ids >= 0
        starts[present], ends[present] = self.postings.spans(term_ids[present])
        return starts, ends

    def _count(self, rows: np.ndarray) -> np.ndarray:
        counts = np.zeros(self.n_terms, np.int64)
        self.documents.count_members(rows, counts)
        return counts
