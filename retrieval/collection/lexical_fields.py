"""What of a document goes into the inverted index: words of title and text, texts to expand it by, or given weights.

Expansions are metadata under the name that `Fields.expansion` says: a text, a list of texts, or an object from text to
how often it counts.

    {"id": "7", "text": "Swifts sleep in flight.", "expansions": ["do birds sleep", "how do swifts sleep"]}

Weights are metadata under the name that `Fields.term_weights` says: an object from term to weight, as Anserini's
JsonVectorCollection has it. A term is analysed like any text: it counts for what a query with this word asks for.

    {"id": "7", "contents": "Swifts sleep in flight.", "vector": {"swifts": 98, "sleep": 71}}

Nogueira et al. 2019, "Document expansion by query prediction"; Dai & Callan 2020, "Context-aware term weighting for
first stage passage retrieval"; Mallia et al. 2021, "Learning passage impacts for inverted indexes".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from retrieval.collection.settings import Fields
from retrieval.documents import Document
from retrieval.errors import DocumentError

_LARGEST = 1_000_000
"""Most that a weight, or the number of times that an expansion counts, may be."""

_LONGEST = 2**31 - 1
"""Longest document of an index: its frequencies added up."""


def check_fields(document: Document, fields: Fields) -> None:
    """Refuse a document whose expansions or weights cannot be indexed.

    Raises:
        DocumentError: saying what is wrong with which.
    """
    if fields.expansion is not None:
        _expansions(document, fields.expansion, distinct=fields.distinct_expansions)
    if fields.term_weights is not None:
        total = sum(_weights(document, fields.term_weights, fields.weight_scale).values())
        if total * fields.weights()[2] * 16 > _LONGEST:
            raise DocumentError(f"document {document.id!r}: its weights add up to {total:,}, which is too much")


def indexed(document: Document, fields: Fields, ids: Callable[[str], list[int]]) -> list[tuple[list[int], int]]:
    """Return a document's term ids, field by field, each with what an occurrence counts (an integer of at least 1).

    Args:
        document: one that `check_fields` accepts.
        fields: the collection's.
        ids: from a text to the ids of its terms.

    Raises:
        DocumentError: the frequencies are more than an index takes of a document.
    """
    title, text, unit = fields.weights()
    if fields.term_weights is not None:
        found = _weighted(_weights(document, fields.term_weights, fields.weight_scale), unit, ids)
    else:
        parts = ((document.title, title), (document.text, text))
        found = [(ids(part), weight) for part, weight in parts if part and weight]
    expansion = fields.expansion_weight()
    if fields.expansion is not None and expansion:
        texts = _expansions(document, fields.expansion, distinct=fields.distinct_expansions)
        found += [(ids(part), times * expansion) for part, times in texts.items()]
    length = sum(len(numbers) * weight for numbers, weight in found)
    if length > _LONGEST:
        raise DocumentError(
            f"document {document.id!r}: its terms, times what each counts, add up to {length:,}, which is too much"
        )
    return found


def _weighted(weights: Mapping[str, int], unit: int, ids: Callable[[str], list[int]]) -> list[tuple[list[int], int]]:
    """Return the terms of each weight together."""
    terms: dict[int, list[int]] = {}
    for term, weight in weights.items():
        if weight:
            terms.setdefault(weight, []).extend(ids(term))
    return [(numbers, weight * unit) for weight, numbers in sorted(terms.items())]


def _weights(document: Document, name: str, scale: float) -> dict[str, int]:
    """Return the document's terms with frequencies, some of them perhaps 0."""
    given = document.metadata.get(name)
    if not isinstance(given, Mapping):
        what = "has none" if given is None else f"has {given!r:.60}"
        raise DocumentError(
            f"document {document.id!r}: metadata {name!r} must hold the weights of its terms, an object from term to "
            f"number, and it {what}"
        )
    frequencies = {}
    for term, weight in given.items():
        if not _is_number(weight) or not 0 <= weight * scale <= _LARGEST:
            raise DocumentError(
                f"document {document.id!r}: the weight of {term!r:.60} must be a number from 0 to "
                f"{_LARGEST / scale:,.0f}, not {weight!r:.60}"
            )
        if scale == 1 and weight != int(weight):
            raise DocumentError(
                f"document {document.id!r}: the weight of {term!r:.60} is {weight!r}, and frequencies are integers; "
                "create the collection with a weight_scale, 100 as for DeepCT, or 255 / the largest weight"
            )
        frequencies[term] = round(weight * scale)
    return frequencies


def _expansions(document: Document, name: str, *, distinct: bool) -> dict[str, int]:
    """Return texts and how often each counts, at least once."""
    given = document.metadata.get(name)
    counts: dict[str, int] = {}
    for text, times in _pairs(given):
        if (
            not isinstance(text, str)
            or not isinstance(times, int)
            or isinstance(times, bool)
            or not 0 <= times <= _LARGEST
        ):
            raise DocumentError(
                f"document {document.id!r}: metadata {name!r} must hold expansions, a text, a list of texts or an "
                f"object from text to a whole number up to {_LARGEST:,}, not {given!r:.60}"
            )
        if times:
            counts[text] = 1 if distinct else counts.get(text, 0) + times
    return counts


def _pairs(given: Any) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    if isinstance(given, Mapping):
        return list(given.items())
    return [(text, 1) for text in (given if isinstance(given, list) else [given])]


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
