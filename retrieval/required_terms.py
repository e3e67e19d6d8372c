"""Conditions of the query syntax on a document's terms: required, excluded, and phrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retrieval.query_syntax import ParsedQuery, contains_phrase

if TYPE_CHECKING:
    from indexes.inverted import InvertedIndex
    from retrieval.analysis import Analyser
    from retrieval.collection.segment import Segment
    from retrieval.collection.snapshot import Snapshot


@dataclass(frozen=True)
class RequiredTerms:
    """What a document must and must not contain.

    Attributes:
        required: terms that must all occur.
        excluded: terms none of which may occur.
        phrases: sequences of terms that must occur as they stand.
        excluded_phrases: sequences of terms that must not.
    """

    required: tuple[str, ...]
    excluded: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    excluded_phrases: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, parsed: ParsedQuery) -> RequiredTerms | None:
        """Return the conditions of a parsed query; None when it has none."""
        conditions = cls(parsed.required, parsed.excluded, parsed.phrases, parsed.excluded_phrases)
        return (
            conditions
            if any((*conditions.required, *conditions.excluded, *parsed.phrases, *parsed.excluded_phrases))
            else None
        )


def restrict(
    snapshot: Snapshot, analyser: Analyser, conditions: RequiredTerms, masks: Sequence[np.ndarray | None]
) -> list[np.ndarray | None]:
    """Narrow masks to the documents that meet the conditions.

    Terms are looked up in the postings. Phrases have no positions there: the documents that hold all of a phrase's
    terms are few, and their stored texts are analysed again.

    Returns:
        One (n_documents,) bool array for each segment.
    """
    return [
        _restrict_segment(segment, analyser, conditions, mask)
        for segment, mask in zip(snapshot.segments, masks, strict=True)
    ]


def _restrict_segment(
    segment: Segment, analyser: Analyser, conditions: RequiredTerms, mask: np.ndarray | None
) -> np.ndarray:
    allowed = np.ones(segment.entry.n_documents, bool) if mask is None else mask.copy()
    needed = {*conditions.required, *(term for phrase in conditions.phrases for term in phrase)}
    for term in sorted(needed):
        allowed &= _containing(segment.lexical, term)
    for term in conditions.excluded:
        allowed &= ~_containing(segment.lexical, term)
    if conditions.phrases or conditions.excluded_phrases:
        suspects = allowed.copy()
        if not conditions.phrases:
            suspects &= _containing_any_phrase_terms(segment.lexical, conditions.excluded_phrases)
        for row in np.flatnonzero(suspects).tolist():
            terms = analyser.terms(segment.documents.full_text(row)[0])
            allowed[row] = all(contains_phrase(terms, phrase) for phrase in conditions.phrases) and not any(
                contains_phrase(terms, phrase) for phrase in conditions.excluded_phrases
            )
    return allowed


def _containing(index: InvertedIndex, term: str) -> np.ndarray:
    found = np.zeros(index.n_documents, bool)
    found[index.rows_with(int(index.term_ids([term])[0]))] = True
    return found


def _containing_any_phrase_terms(index: InvertedIndex, phrases: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the documents that hold all terms of at least one phrase."""
    found = np.zeros(index.n_documents, bool)
    for phrase in phrases:
        whole = np.ones(index.n_documents, bool)
        for term in phrase:
            whole &= _containing(index, term)
        found |= whole
    return found
