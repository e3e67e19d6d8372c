"""Building an inverted index: from documents' tokens to documents' lists and, transposed, to postings.

Tokens are collected in flat buffers. When the index is written, each document's tokens are collapsed into (term,
frequency) pairs, terms are numbered in the order of their bytes, and a counting sort turns document-major pairs into
term-major ones. Numbers that callers gave to terms leave no trace in the files: equal documents give equal bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexes.array_writer import save_array
from indexes.compilation import read_only
from indexes.dictionary import encode_term, write_dictionary
from indexes.documents import DocumentsWriter
from indexes.frequency_classes import PairCounts
from indexes.lists import Lists, offsets_of, transposed
from indexes.postings_writer import PostingsWriter

LENGTHS = "lengths"
"""Name of the file of document lengths, (n_documents,) int32: a document's frequencies added up."""

LARGEST = 2**31 - 1
"""Most documents and terms of an index, and longest document."""


class InvertedIndexWriter:
    """Collects documents as term ids and writes them as an index; 4 bytes of memory for each token.

    Use one for each segment; term ids index a vocabulary that the caller keeps and may use for many segments.
    """

    def __init__(self) -> None:
        self._tokens = array("i")
        self._run_ends = array("q")
        self._run_weights = array("q")
        self._run_counts = array("q")

    @property
    def n_documents(self) -> int:
        """Documents added so far."""
        return len(self._run_counts)

    @property
    def n_tokens(self) -> int:
        """Tokens added so far, those that are left out included; use it to decide when to write."""
        return len(self._tokens)

    def add(self, fields: Sequence[tuple[Sequence[int] | np.ndarray, int]]) -> int:
        """Add a document and return its row.

        Args:
            fields: for each field its term ids, in any order and repeated as often as they occur, and how much each
                occurrence counts, an integer of at least 1. Negative ids (stop words) are left out. Lists of int are
                the fastest.

        Raises:
            ValueError: a weight is below 1.
            OverflowError: an id does not fit into 32 bits.
        """
        for _, weight in fields:
            if weight < 1:
                raise ValueError(f"a field's weight must be at least 1, not {weight!r}")
        begin, runs = len(self._tokens), []
        try:
            for term_ids, weight in fields:
                if isinstance(term_ids, list):
                    self._tokens.fromlist(term_ids)
                else:
                    self._tokens.extend(array("i", term_ids))
                runs.append((len(self._tokens), weight))
        except BaseException:
            del self._tokens[begin:]
            raise
        for end, weight in runs:
            self._run_ends.append(end)
            self._run_weights.append(weight)
        self._run_counts.append(len(runs))
        return len(self._run_counts) - 1

    def write(self, directory: Path, vocabulary: Sequence[str]) -> None:
        """Write the index's files; the caller makes them durable.

        Args:
            directory: exists already; the files go directly into it.
            vocabulary: `vocabulary[i]` is the term with id i. Terms that do not occur are not written.

        Raises:
            ValueError: a term id is not in the vocabulary, a term is in it twice, or a document is longer than
                2^31 - 1.
        """
        if self.n_documents > LARGEST or len(vocabulary) > LARGEST:
            raise ValueError(f"an index holds at most {LARGEST:,} documents and terms; write smaller segments")
        forward, lengths = self._collapsed(len(vocabulary))
        # Python orders strings by code points, which is the order of their UTF-8 bytes.
        used = sorted(np.flatnonzero(np.bincount(forward.members)).tolist(), key=vocabulary.__getitem__)
        n_terms = write_dictionary(directory, (encode_term(vocabulary[number]) for number in used))
        renumbered = np.empty(len(vocabulary), np.int32)
        renumbered[np.array(used, np.int64)] = np.arange(n_terms, dtype=np.int32)
        forward = forward._replace(members=renumbered[forward.members])

        counts = np.bincount(forward.members, minlength=n_terms)
        postings = transposed(forward, offsets_of(counts))
        pairs = PairCounts(lengths)
        pairs.add(0, forward)
        classes = pairs.classes()
        classes.write(directory)
        with PostingsWriter(directory, with_values=True) as writer:
            values = classes.of(postings.members, postings.frequencies)
            writer.append(postings.offsets, postings.members, values)
        with DocumentsWriter(directory) as documents:
            documents.append(transposed(postings, forward.offsets))  # twice transposed, every list is sorted
        save_array(directory, LENGTHS, lengths)

    def _collapsed(self, n_vocabulary: int) -> tuple[Lists, np.ndarray]:
        """Return the documents' distinct terms by first occurrence, and the documents' lengths, int32."""
        from indexes import list_kernels

        tokens = _flat(self._tokens, np.int32)
        if len(tokens) and tokens.max() >= n_vocabulary:
            raise ValueError(f"term id {tokens.max()} is not in the vocabulary of {n_vocabulary:,} terms")
        terms = np.empty(len(tokens), np.int32)
        frequencies = np.empty(len(tokens), np.uint32)
        offsets = np.empty(self.n_documents + 1, np.int64)
        lengths = np.zeros(self.n_documents, np.int64)
        n_pairs = list_kernels.collapse(
            tokens,
            _flat(self._run_ends, np.int64),
            _flat(self._run_weights, np.int64),
            _flat(self._run_counts, np.int64),
            np.full(n_vocabulary, -1, np.int64),
            terms,
            frequencies,
            offsets,
            lengths,
        )
        if len(lengths) and lengths.max() > LARGEST:
            raise ValueError(
                f"row {lengths.argmax()} has a length of {lengths.max():,}, at most {LARGEST:,} is possible"
            )
        return Lists(offsets, terms[:n_pairs], frequencies[:n_pairs]), lengths.astype(np.int32)


def _flat(values: array[int], dtype: type[np.generic]) -> np.ndarray:
    """Return a read-only array over the same memory."""
    return read_only(np.frombuffer(values, dtype) if len(values) else np.empty(0, dtype))
