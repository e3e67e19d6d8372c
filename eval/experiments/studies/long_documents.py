"""Documents of ten thousand words: cut, split into passages, or split after they were read whole (late chunking).

Meeting transcripts of QMSum (Zhong et al. 2021), queries are summaries of what was said. Nothing is trained. The split
with 35 documents has every row; the set of MTEB (LEMBQMSumRetrieval), five times as large, has those with published
figures. Both are read from the workspace where an earlier run has encoded them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.experiments.options import Options
from eval.measures import evaluate_run
from eval.outcome import Outcome
from eval.significance import compare_means
from eval.testsets import TestSet, read_testset
from indexes.aggregation import BEST_PASSAGE, Aggregation
from retrieval import ChunkSettings, Collection

if TYPE_CHECKING:
    from retrieval.encoders import Encoder

TITLE = "Long documents: truncation, passages, late chunking, aggregates"
PUBLISHED = {"BM25": 0.83231, "truncated": 0.16322}
"""nDCG@10 of LEMBQMSumRetrieval in embeddings-benchmark/results: bm25s, and all-MiniLM-L6-v2."""

_MEASURES = ("nDCG@10", "R@10")
_DEPTH = 100
_AGGREGATES = (
    ("best passage", BEST_PASSAGE),
    ("first passage", Aggregation("first")),
    ("mean of best 3", Aggregation("mean", best=3)),
    ("mean of best 8", Aggregation("mean", best=8)),
    ("mean of all", Aggregation("mean", best=10**6)),
    ("sum, decay 0.5", Aggregation("decayed", decay=0.5)),
    ("sum, decay 0.9", Aggregation("decayed", decay=0.9)),
)


@dataclass(frozen=True)
class Way:
    """How documents become vectors.

    Attributes:
        name: of its rows.
        model: name or folder.
        settings: what happens to long documents.
        max_tokens: that the encoder reads; None for the model's own limit.
        aggregates: all of them, or the best passage only.
        plain: name of the way with which it shares its passages, to which its rows are compared as well.
    """

    name: str
    model: str
    settings: ChunkSettings
    max_tokens: int | None = None
    aggregates: bool = False
    plain: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table: a way, an aggregate, and the values of each query by measure."""

    way: str
    aggregate: str
    values: dict[str, list[float]]
    passages: int


def run(options: Options) -> list[Outcome]:
    """Measure every way on the split of 35 documents, and those with published figures on MTEB's set."""
    embedded = "embedded"
    truncated = Way("truncated at 256", embedded, ChunkSettings("truncate"))
    ways = [
        truncated,
        Way("passages of 256", embedded, ChunkSettings("chunk", 256), aggregates=True),
        Way(
            "late, passages of 128 in windows of 512",
            embedded,
            ChunkSettings("late", 128),
            512,
            aggregates=True,
            plain="passages of 128",
        ),
        Way("passages of 128", embedded, ChunkSettings("chunk", 128), aggregates=True),
    ]
    for name, folder in options.models.items():
        ways.append(Way(f"{name}, truncated at its limit", str(folder), ChunkSettings("truncate")))
        ways.append(Way(f"{name}, late", str(folder), ChunkSettings("late"), aggregates=True))
    small, whole = options.data / "qmsum-longdoc" / "extra35", options.data / "qmsum-longdoc"
    return [_ladder(small, ways, options), _published(whole, truncated, options)]


def _ladder(folder: Path, ways: Sequence[Way], options: Options) -> Outcome:
    testset = _read(folder, options)
    rows = [row for way in ways for row in _rows(testset, way, options)]
    baseline = next(row for row in rows if row.way == "passages of 256")
    lexical = _bm25(testset, ways[0], options)
    named = {(row.way, row.aggregate): row for row in rows}
    plain_of = {way.name: way.plain for way in ways}
    cells, numbers = [], {}
    for row in (lexical, *rows):
        difference = None
        if row is not baseline and row is not lexical:
            difference = compare_means(baseline.values["nDCG@10"], row.values["nDCG@10"])
        plain = named.get((plain_of.get(row.way, ""), row.aggregate))
        over_plain = None if plain is None else compare_means(plain.values["nDCG@10"], row.values["nDCG@10"])
        name = f"{row.way}, {row.aggregate}" if row.aggregate else row.way
        means = {measure: _mean(values) for measure, values in row.values.items()}
        shown = [f"{means[measure]:.4f}" for measure in _MEASURES]
        compared = ["" if each is None else str(each) for each in (difference, over_plain)]
        cells.append([name, f"{row.passages:,}", *shown, *compared])
        numbers[name] = {**means, "passages": row.passages, "nDCG@10 by query": row.values["nDCG@10"]}
    return Outcome(
        title=f"QMSum, official test split: {len(testset.qrels):,} queries",
        columns=[
            "documents as",
            "passages",
            *_MEASURES,
            "nDCG@10 over passages of 256, best passage",
            "over the same passages encoded alone",
        ],
        rows=cells,
        notes=[
            "all-MiniLM-L6-v2 unless another model is named; lengths in tokens, overlap of passages 32; exact search.",
            "Another model's late chunking: windows as long as it reads, passages of 256 (at most half a window).",
            "Windows of 512 tokens are what the model can read; it was trained on texts cut at 128.",
            *(
                f"{name} is a model given by `--model NAME=FOLDER`, such as the study of length extrapolation leaves "
                "in its `--workspace`."
                for name in options.models
            ),
        ],
        numbers=numbers,
    )


def _published(folder: Path, truncated: Way, options: Options) -> Outcome:
    testset = _read(folder, options)
    found = {"BM25": _bm25(testset, truncated, options), "truncated": next(_rows(testset, truncated, options))}
    means = {name: _mean(row.values["nDCG@10"]) for name, row in found.items()}
    return Outcome(
        title=f"QMSum, MTEB's LEMBQMSumRetrieval: {len(testset.qrels):,} queries",
        columns=["documents as", "nDCG@10", "published"],
        rows=[
            ["BM25 (k1 = 1.2, b = 0.75)", f"{means['BM25']:.4f}", f"{PUBLISHED['BM25']:.4f} (k1 = 1.5)"],
            ["all-MiniLM-L6-v2, truncated at 256", f"{means['truncated']:.4f}", f"{PUBLISHED['truncated']:.4f}"],
        ],
        notes=["Published: embeddings-benchmark/results, bm25s and all-MiniLM-L6-v2."],
        numbers={"found": means, "published": PUBLISHED},
    )


def _read(folder: Path, options: Options) -> TestSet:
    testset = read_testset(folder)
    kept = list(testset.queries)[: options.scaled(len(testset.queries))]
    return TestSet(
        name="-".join(folder.resolve().parts[-2:]),
        split=testset.split,
        queries={name: testset.queries[name] for name in kept},
        qrels={name: testset.qrels[name] for name in kept},
        corpus=testset.corpus,
    )


def _rows(testset: TestSet, way: Way, options: Options) -> Iterator[Row]:
    with _collection(testset, way, options) as collection:
        vectors = dict(zip(testset.queries, _encoder(way).encode_queries(list(testset.queries.values())), strict=True))
        passages = sum(segment["passages"] for segment in collection.stats()["segments"])
        for name, aggregate in _AGGREGATES if way.aggregates else [("", BEST_PASSAGE)]:
            yield Row(
                way.name, name, _values(collection, testset, vectors, mode="dense", aggregate=aggregate), passages
            )


def _bm25(testset: TestSet, way: Way, options: Options) -> Row:
    with _collection(testset, way, options) as collection:
        return Row("BM25", "", _values(collection, testset, mode="bm25"), 0)


def _values(
    collection: Collection, testset: TestSet, vectors: dict[str, np.ndarray] | None = None, **search: Any
) -> dict[str, list[float]]:
    """Return each query's value, by measure; `vectors` are the queries', by id, which need not be encoded anew."""
    names = list(testset.queries)
    given = None if vectors is None else np.stack([vectors[name] for name in names])
    answers = collection.search_many([testset.queries[name] for name in names], k=_DEPTH, vectors=given, **search)
    run = {name: [(hit.id, hit.score) for hit in hits] for name, hits in zip(names, answers, strict=True)}
    per_query = evaluate_run(run, testset.qrels, _MEASURES).per_query
    return {name: [per_query[query][name] for query in testset.queries] for name in _MEASURES}


def _collection(testset: TestSet, way: Way, options: Options) -> Collection:
    """Return the documents as vectors; what an earlier run has encoded in the workspace is not encoded again."""
    settings = way.settings
    model = "embedded" if way.model == "embedded" else Path(way.model).name
    parts = [testset.name, model, settings.policy, settings.passage_tokens or "limit", way.max_tokens or "own"]
    collection = Collection.open_or_create(
        options.workspace / "-".join(map(str, parts)), encoder=_encoder(way), long=settings
    )
    if testset.corpus is not None:
        collection.upsert(testset.corpus)
    return collection


def _encoder(way: Way) -> Encoder:
    from retrieval.encoders import load_encoder

    return load_encoder(way.model, **({} if way.max_tokens is None else {"max_tokens": way.max_tokens}))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
