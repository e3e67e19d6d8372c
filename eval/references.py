"""The test sets and systems of the results table, and the figures that others published for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from eval.tasks.base import Reference
from eval.tasks.system import LongPolicy
from indexes.bm25 import BM25Settings
from retrieval.collection.settings import Fusion


@dataclass(frozen=True)
class System:
    """A row of the table.

    Attributes:
        name: as shown.
        long: what the collection does with texts longer than the encoder reads.
        options: passed on to the search.
    """

    name: str
    long: LongPolicy
    options: dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """A group of rows.

    Attributes:
        name: as shown, and as chosen on the command line.
        folder: below the data folder.
        language: of a multilingual set.
        default: whether it is measured when none is named.
        references: by name of the system.
    """

    name: str
    folder: str
    language: str | None = None
    default: bool = True
    references: dict[str, Reference] = field(default_factory=dict)


BM25_DEFAULT = "BM25"
BM25_SMALL = "BM25 k1=0.9 b=0.4"
BM25_LARGE = "BM25 k1=1.5 b=0.75"
DENSE_TRUNCATE = "dense, truncate"
DENSE_CHUNK = "dense, chunk"
HYBRID_RRF = "hybrid, reciprocal ranks"
HYBRID_WEIGHTED = "hybrid, weighted scores"

SYSTEMS = (
    System(BM25_DEFAULT, "chunk", {"mode": "bm25"}),
    System(BM25_SMALL, "chunk", {"mode": "bm25", "bm25": BM25Settings(k1=0.9, b=0.4)}),
    System(BM25_LARGE, "chunk", {"mode": "bm25", "bm25": BM25Settings(k1=1.5, b=0.75)}),
    System(DENSE_TRUNCATE, "truncate", {"mode": "dense"}),
    System(DENSE_CHUNK, "chunk", {"mode": "dense"}),
    System(HYBRID_RRF, "chunk", {"mode": "hybrid", "fusion": Fusion(method="rrf")}),
    System(HYBRID_WEIGHTED, "chunk", {"mode": "hybrid", "fusion": Fusion(method="weighted")}),
)

_MTEB = "MTEB results, all-MiniLM-L6-v2"
_MTEB_BM25 = "MTEB results, bm25s with its own tokens (k1=1.5 b=0.75)"
_BM25S = "bm25s (Lucene), Snowball English, its own tokens"
_SENTENCE_TRANSFORMERS = "sentence-transformers, all-MiniLM-L6-v2, exact search"

DATASETS = (
    Dataset(
        "scifact",
        "scifact",
        references={
            BM25_DEFAULT: Reference(0.6789, "Anserini, BM25 flat (k1=0.9 b=0.4)"),
            BM25_SMALL: Reference(0.6762, _BM25S),
            BM25_LARGE: Reference(0.6863, _BM25S),
            DENSE_TRUNCATE: Reference(0.64508, _MTEB, tolerance=0.003),
        },
    ),
    Dataset(
        "nfcorpus",
        "nfcorpus",
        references={
            BM25_DEFAULT: Reference(0.3218, "Anserini, BM25 flat (k1=0.9 b=0.4)"),
            BM25_SMALL: Reference(0.3180, _BM25S),
            BM25_LARGE: Reference(0.3213, _BM25S),
            DENSE_TRUNCATE: Reference(0.31594, _MTEB, tolerance=0.003),
        },
    ),
    Dataset(
        "vaswani",
        "vaswani",
        references={
            BM25_SMALL: Reference(0.4449, _BM25S),
            DENSE_TRUNCATE: Reference(0.4335, _SENTENCE_TRANSFORMERS, tolerance=0.003),
        },
    ),
    Dataset(
        "cranfield",
        "cranfield",
        references={
            BM25_SMALL: Reference(0.3661, _BM25S),
            DENSE_TRUNCATE: Reference(0.3995, _SENTENCE_TRANSFORMERS, tolerance=0.003),
        },
    ),
    Dataset("cacm", "cacm"),
    Dataset("lisa", "lisa", references={BM25_SMALL: Reference(0.4316, _BM25S)}),
    Dataset("adi", "adi", references={BM25_SMALL: Reference(0.4802, _BM25S)}),
    Dataset(
        "xquad-en",
        "xquad",
        language="en",
        references={
            BM25_LARGE: Reference(0.96494, _MTEB_BM25),
            DENSE_TRUNCATE: Reference(0.94357, _MTEB, tolerance=0.003),
        },
    ),
    Dataset(
        "qmsum-longdoc",
        "qmsum-longdoc",
        default=False,
        references={
            BM25_SMALL: Reference(0.7986, _BM25S),
            BM25_LARGE: Reference(0.8326, _BM25S),
            DENSE_TRUNCATE: Reference(0.16322, _MTEB, tolerance=0.003),
        },
    ),
)
