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
from typing import Literal

from retrieval.errors import CollectionError, QueryError

FusionMethod = Literal["rrf", "weighted"]


@dataclass(frozen=True)
class Fields:
    """How title and text count for BM25.

    The defaults concatenate them, as BEIR does. A boost multiplies the field's term frequencies and its share of the
    document length (Robertson, Zaragoza & Taylor 2004, "Simple BM25 extension to multiple weighted fields").

    Attributes:
        title_boost: weight of a term in the title, 0 to 100, kept to two decimals.
        text_boost: weight of a term in the text, likewise.
    """

    title_boost: float = 1.0
    text_boost: float = 1.0

    def __post_init__(self) -> None:
        for name, boost in (("title_boost", self.title_boost), ("text_boost", self.text_boost)):
            if not 0 <= boost <= 100:
                raise CollectionError(f"{name} must be between 0 and 100, not {boost!r}")
        if self.title_boost == 0 and self.text_boost == 0:
            raise CollectionError("title_boost and text_boost cannot both be 0: nothing would be indexed")

    def weights(self) -> tuple[int, int, int]:
        """Return (title weight, text weight, unit) as integers: boost = weight / unit, exactly.

        Postings hold integer frequencies; boosts become integers in units of 1 / unit.
        """
        return _integers(self.title_boost, self.text_boost)


@cache
def _integers(title_boost: float, text_boost: float) -> tuple[int, int, int]:
    title, text = (Fraction(boost).limit_denominator(100) for boost in (title_boost, text_boost))
    unit = lcm(title.denominator, text.denominator)
    return int(title * unit), int(text * unit), unit


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
