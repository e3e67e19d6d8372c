"""What a collection is set up with: one small, frozen structure per concern, saved in its manifest.

The same objects are constructor input, saved state and documentation. What the stored bytes depend on (`Fields`,
`ChunkSettings`, the analyser, the encoder) is fixed when the collection is created; what only ranking depends on
(`BM25Settings`, `Fusion`) is a default that each search may override.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import lcm
from numbers import Real
from typing import Literal

from retrieval.errors import CollectionError, QueryError

FusionMethod = Literal["rrf", "weighted"]


@dataclass(frozen=True)
class Fields:
    """What of a document counts for BM25, and how much.

    The defaults concatenate title and text, as BEIR does. A boost multiplies the field's term frequencies and its share
    of the document length (Robertson, Zaragoza & Taylor 2004, "Simple BM25 extension to multiple weighted fields").

    Texts and weights from elsewhere stand in the documents' metadata, so that they are stored, updated, exported and
    merged with them, while title and text stay as they are (`retrieval.collection.lexical_fields` says in which form).

    Attributes:
        title_boost: weight of a term in the title, 0 to 100, kept to two decimals.
        text_boost: weight of a term in the text, likewise.
        expansion: name of the metadata that hold texts which a document is found by as well, such as the queries that
            doc2query generates for it; None for none.
        expansion_boost: weight of a term in these, likewise.
        distinct_expansions: count equal ones of a document once; otherwise repetition weighs.
        term_weights: name of the metadata that hold a document's terms with their weights, which then count instead of
            the words of title and text, as term frequencies: DeepCT's, or impacts; None where words are counted.
        weight_scale: multiplies these weights before they are rounded to integers; with 1 they must be integers.
        impacts: add the frequencies up instead of scoring them by BM25, as DeepImpact does.
    """

    title_boost: float = 1.0
    text_boost: float = 1.0
    expansion: str | None = None
    expansion_boost: float = 1.0
    distinct_expansions: bool = False
    term_weights: str | None = None
    weight_scale: float = 1.0
    impacts: bool = False

    def __post_init__(self) -> None:
        self._check_types()
        for name in ("title_boost", "text_boost", "expansion_boost"):
            boost = getattr(self, name)
            if not 0 <= boost <= 100:
                raise CollectionError(f"{name} must be between 0 and 100, not {boost!r}")
        if self.title_boost == 0 and self.text_boost == 0:
            raise CollectionError("title_boost and text_boost cannot both be 0: nothing would be indexed")
        for name in ("expansion", "term_weights"):
            if getattr(self, name) == "":
                raise CollectionError(f"{name} is the name of metadata, not an empty one; use None for none")
        if not 0 < self.weight_scale <= 1e6:
            raise CollectionError(f"weight_scale must be positive and at most 1e6, not {self.weight_scale!r}")
        for name, needed in (("expansion_boost", "expansion"), ("distinct_expansions", "expansion"),
                             ("weight_scale", "term_weights"), ("impacts", "term_weights")):  # fmt: skip
            if getattr(self, needed) is None and getattr(self, name) != getattr(Fields, name):
                raise CollectionError(f"{name} is of no use without {needed}; name the metadata that hold them")
        if self.term_weights is not None and (self.title_boost, self.text_boost) != (1, 1):
            raise CollectionError("term_weights take the place of title and text; leave title_boost and text_boost out")

    def _check_types(self) -> None:
        for name in ("title_boost", "text_boost", "expansion_boost", "weight_scale"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, Real):
                raise CollectionError(f"{name} is a number, not {number!r}")
            object.__setattr__(self, name, float(number))
        for name in ("distinct_expansions", "impacts"):
            if not isinstance(getattr(self, name), bool):
                raise CollectionError(f"{name} is True or False, not {getattr(self, name)!r}")
        for name in ("expansion", "term_weights"):
            if not isinstance(getattr(self, name), str | None):
                raise CollectionError(f"{name} is the name of metadata, not {getattr(self, name)!r}")

    def weights(self) -> tuple[int, int, int]:
        """Return (title weight, text weight, unit) as integers: boost = weight / unit, exactly.

        Postings hold integer frequencies; boosts become integers in units of 1 / unit.
        """
        title, text, _, unit = _integers(self.title_boost, self.text_boost, self.expansion_boost)
        return title, text, unit

    def expansion_weight(self) -> int:
        """Return the weight of expansions in the same units."""
        return _integers(self.title_boost, self.text_boost, self.expansion_boost)[2]


@cache
def _integers(*boosts: float) -> tuple[int, ...]:
    fractions = [Fraction(boost).limit_denominator(100) for boost in boosts]
    unit = lcm(*(fraction.denominator for fraction in fractions))
    return *(int(fraction * unit) for fraction in fractions), unit


@dataclass(frozen=True)
class Fusion:
    """How the ranked lists of several retrievers become one.

    Attributes:
        method: "rrf" adds 1 / (constant + rank) over the lists (Cormack, Clarke & Büttcher 2009, "Reciprocal rank
            fusion outperforms Condorcet"); "weighted" adds the scores of each list, min-max normalised over that list
            to [0, 1], times the list's weight (absent documents get 0).
        constant: RRF's constant.
        depth: candidates taken from each retriever, whatever k is, so that the top 10 is a prefix of the top 100.
        dense_weight: weight of the dense list, 0 to 1; BM25's is 1 - dense_weight, whether there are dense vectors or
            not. With RRF weights scale the terms too, 0.5 being the plain formula.
        sparse_weight: weight of the list of sparse vectors, 0 to 1, where there is one, beside those of the others.
    """

    method: FusionMethod = "rrf"
    constant: int = 60
    depth: int = 1000
    dense_weight: float = 0.5
    sparse_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.method not in ("rrf", "weighted"):
            raise QueryError(f"unknown fusion method {self.method!r}: 'rrf' or 'weighted'")
        if self.constant < 0 or self.depth < 1:
            raise QueryError(f"fusion needs constant >= 0 and depth >= 1, not {self.constant} and {self.depth}")
        for name, weight in (("dense_weight", self.dense_weight), ("sparse_weight", self.sparse_weight)):
            if not 0 <= weight <= 1:
                raise QueryError(f"{name} must be between 0 and 1, not {weight!r}")
