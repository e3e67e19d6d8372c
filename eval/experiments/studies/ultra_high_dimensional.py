"""Ultra-high-dimensional sparse vectors beside dense ones and BM25: quality, what n, k and buckets do, and costs."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eval.experiments.bucket_sweep import BATCH, MEASURE, SPARSE, Read, swept
from eval.experiments.candidates import training_queries
from eval.experiments.measuring import bm25_rankings, values_of
from eval.experiments.options import Options
from eval.experiments.training import trained
from eval.experiments.vector_values import dense_values, sparse_values
from eval.outcome import Outcome
from eval.pools import Pool, read_pool
from eval.significance import compare_means
from indexes.sparse_vectors import SparseVectors
from retrieval.training import builtin_recipe

TITLE = "Ultra-high-dimensional sparse encoders"

_DATA = "qa-train-msmarco-format"
_UNSEEN = "medquad"
"""Source of questions that the backbone has not been trained on."""
_LONGEST = 450
"""Characters of a passage, some 100 tokens: nothing is cut, for no side."""
_PASSAGES = 1_200
_STEPS = 100
_TRAINED = 64
"""Tokens of a training text."""

_TRAINING = {"max_tokens": _TRAINED, "batch_size": 32, "precision": "bf16"}
_READ = 128
_HEAD_STEPS = 30


@dataclass
class _Measured:
    """What every part of the study adds to.

    Attributes:
        pool: what is searched.
        sources: of each query's first relevant passage, by query.
        seed: of the runs.
        values: of each query, by system.
        seconds: of training, by system.
    """

    pool: Pool
    sources: dict[str, str]
    seed: int
    values: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def run(options: Options) -> list[Outcome]:
    """Train and measure; the trained models stay in the workspace."""
    (seed, *_) = options.seeds_or(0)
    measured = _Measured(*_pool(options, seed), seed)
    measured.values["BM25"] = values_of(bm25_rankings(measured.pool), measured.pool, MEASURE)
    steps = options.scaled(_HEAD_STEPS)
    pairs = _training_pairs(options, seed, steps * BATCH)
    sweep = swept(measured.pool, pairs, Read(_TRAINED, _READ), steps, seed)
    measured.values.update(sweep.values)
    dense = _trained_dense(options, measured)
    sparse, notes = _trained_sparse(options, measured)
    return [_quality(measured, sweep.untrained, notes), sweep.outcome, _costs(options, measured.pool, dense, sparse)]


def _pool(options: Options, seed: int) -> tuple[Pool, dict[str, str]]:
    """Return queries whose relevant passages are short, with these and other short ones; and where queries are from.

    The others are drawn at random, not by a ranking, which would favour or hurt the system that it comes from.
    """
    folder = options.data / _DATA
    whole = read_pool(folder, "dev")
    short = {name for name, text in zip(whole.ids, whole.texts, strict=True) if len(text) <= _LONGEST}
    learned = set(map(_plain, training_queries(folder)))
    asked = [
        query
        for query, text in whole.queries.items()
        if short.issuperset(whole.qrels[query]) and _plain(text) not in learned
    ]
    asked = asked[: options.scaled(len(asked))]
    relevant = {passage for query in asked for passage in whole.qrels[query]}
    others = sorted(short - relevant)
    drawn = np.random.default_rng(seed).permutation(len(others))[: options.scaled(_PASSAGES) - len(relevant)]
    kept = relevant | {others[number] for number in drawn.tolist()}
    chosen = [(name, text) for name, text in zip(whole.ids, whole.texts, strict=True) if name in kept]
    ids, texts = zip(*chosen, strict=True)
    pool = Pool(
        whole.name,
        list(ids),
        list(texts),
        {query: whole.queries[query] for query in asked},
        {query: whole.qrels[query] for query in asked},
    )
    with gzip.open(folder / "pid_source.tsv.gz", "rt", encoding="utf-8") as lines:
        source_of = dict(line.split("\t")[:2] for line in lines)
    return pool, {query: source_of[next(iter(pool.qrels[query]))] for query in asked}


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _training_pairs(options: Options, seed: int, n: int) -> tuple[list[str], list[str]]:
    """Return n questions and their passages of the training split, drawn at random."""
    from retrieval.training.data.examples import ExampleReport
    from retrieval.training.data.sources import Source, read_source

    pairs = list(read_source(Source(options.data / _DATA), builtin_recipe("pairs"), ExampleReport()))
    rows = np.random.default_rng(seed).permutation(len(pairs))[:n].tolist()
    return [pairs[row]["query"] for row in rows], [pairs[row]["positive"] for row in rows]


# --------------------------------------------------------------------------------------------------- trained models


def _trained_dense(options: Options, measured: _Measured) -> tuple[np.ndarray, np.ndarray]:
    from retrieval.encoders import load_encoder

    pool, seed = measured.pool, measured.seed
    recipe = builtin_recipe("pairs").changed({**_TRAINING, "max_steps": options.scaled(_STEPS), "seed": seed})
    model = trained(recipe, [options.data / _DATA], options.workspace / f"dense-seed{seed}")
    encoder = load_encoder(str(model.folder), max_tokens=_READ)
    vectors = encoder.encode_queries(list(pool.queries.values())), encoder.encode_passages(pool.texts)
    encoder.close()
    measured.values["dense, trained"] = dense_values(*vectors, pool, MEASURE)
    measured.seconds["dense, trained"] = model.seconds
    return vectors


def _trained_sparse(
    options: Options, measured: _Measured
) -> tuple[tuple[SparseVectors, SparseVectors, float], dict[str, Any]]:
    from retrieval.encoders import load_sparse_encoder

    pool, seed = measured.pool, measured.seed
    recipe = builtin_recipe("ultra-high-dimensional").changed(
        {**_TRAINING, "max_steps": options.scaled(_STEPS), "seed": seed}
    )
    model = trained(recipe, [options.data / _DATA], options.workspace / f"sparse-seed{seed}")
    encoder = load_sparse_encoder(str(model.folder), max_tokens=_READ)
    queries, passages = encoder.encode_queries(list(pool.queries.values())), encoder.encode_passages(pool.texts)
    largest = float(encoder.largest_weight or 0)
    encoder.close()
    for kind, found in sparse_values(queries, passages, largest, pool, MEASURE).items():
        side = f"{SPARSE}, trained, {kind}"
        measured.values[side] = found
        measured.seconds[side] = model.seconds
    return (queries, passages, largest), model.notes


def _quality(measured: _Measured, untrained: str, notes: dict[str, Any]) -> Outcome:
    pool, sources, seed, seconds = measured.pool, measured.sources, measured.seed, measured.seconds
    reference, lexical = measured.values["dense, trained"], measured.values["BM25"]
    kinds = sorted(set(sources.values()))
    rows, numbers = [], {}
    for side, found in measured.values.items():
        by_source = {kind: float(np.mean(_of(kind, found, measured))) for kind in kinds}
        against_dense = None if found is reference else compare_means(reference, found, seed)
        against_bm25 = None if found is lexical else compare_means(lexical, found, seed)
        fair = None
        if found is not lexical and list(sources.values()).count(_UNSEEN) > 1:  # a small share may have none
            fair = compare_means(_of(_UNSEEN, lexical, measured), _of(_UNSEEN, found, measured), seed)
        rows.append(
            [
                side,
                f"{seconds[side]:.0f} s" if side in seconds else "",
                f"{np.mean(found):.4f}",
                f"{np.mean(found) / np.mean(reference):.3f}",
                str(against_dense or ""),
                str(against_bm25 or ""),
                str(fair or ""),
                *(f"{by_source[kind]:.3f}" for kind in kinds),
            ]
        )
        numbers[side] = {
            MEASURE: float(np.mean(found)),
            "by source": by_source,
            "seconds": seconds.get(side),
            "against dense, trained": against_dense,
            "against BM25": against_bm25,
            f"against BM25, {_UNSEEN}": fair,
        }
    counts = ", ".join(f"{kind} {list(sources.values()).count(kind)}" for kind in kinds)
    recipe = builtin_recipe("ultra-high-dimensional")
    return Outcome(
        f"MRR@10 on {len(pool.queries)} held-out questions over {len(pool.ids):,} passages",
        [
            "system",
            "training",
            "MRR@10",
            "/ dense",
            "against dense, trained",
            "against BM25",
            f"{_UNSEEN} only",
            *kinds,
        ],
        rows,
        [
            f"{_DATA}: dev queries all of whose relevant passages have at most {_LONGEST} characters ({counts}); the "
            f"pool is these passages and others as short, drawn at random (seed {seed}); no side cuts a passage; "
            "questions that the training data have too are left out",
            f"trained: recipes pairs and ultra-high-dimensional from the embedded MiniLM, {_STEPS} steps of "
            f"{_TRAINING['batch_size']} training pairs at most {_TRAINING['max_tokens']} tokens long, mixed bf16, seed "
            f"{seed}; passages are shared with training, as in MS MARCO",
            f"ultra-high-dimensional: model_settings {dict(recipe.model_settings)}, loss_settings "
            f"{dict(recipe.loss_settings)}, learning rate {recipe.learning_rate}; dead dimensions in the second half "
            f"of training: {notes['dead share']:.1%}",
            untrained,
            "impacts are the index's 8 bits; binary counts shared dimensions; with idf each of the query's dimensions "
            "counts log(1 + (N - df + 0.5) / (df + 0.5))",
            "MiniLM was published after training on pairs of SQuAD and Natural Questions, perhaps these very ones: "
            f"only {_UNSEEN} compares it with BM25 fairly",
        ],
        {"seed": seed, "n": len(pool.queries), "passages": len(pool.ids), "systems": numbers, "training": notes},
    )


def _of(source: str, values: Sequence[float], measured: _Measured) -> list[float]:
    """Return the values of the queries from one source."""
    return [
        value for value, query in zip(values, measured.pool.queries, strict=True) if measured.sources[query] == source
    ]


# --------------------------------------------------------------------------------------------------------- the costs


def _costs(
    options: Options,
    pool: Pool,
    dense: tuple[np.ndarray, np.ndarray],
    sparse: tuple[SparseVectors, SparseVectors, float],
) -> Outcome:
    import tempfile
    from pathlib import Path

    from eval.experiments.search_costs import search_costs

    with tempfile.TemporaryDirectory(dir=options.workspace) as folder:
        costs = search_costs(pool, dense, sparse, Path(folder))
    unit = costs["dense, exact"]
    return Outcome(
        "Time of a query and size of the index",
        ["side", "p50", "p99", "time / dense exact", "bytes / document", "/ dense exact"],
        [
            [
                side,
                f"{cost.milliseconds:.2f} ms",
                f"{cost.p99:.2f} ms",
                f"{cost.milliseconds / unit.milliseconds:.2f}",
                f"{cost.bytes_per_document:,.0f}",
                f"{cost.bytes_per_document / unit.bytes_per_document:.2f}",
            ]
            for side, cost in costs.items()
        ],
        [
            f"`Collection.search`, top 10, {len(pool.queries)} queries one at a time over {len(pool.ids):,} passages, "
            "the shortest of 5 rounds; all sides in turn in one process, encoding in nobody's clock",
            "vectors of the trained models of the first table; bytes are those of the part of the index that the side "
            "reads, without the stored texts; HNSW's include the vectors",
            "a pool of this size is small: the index's fixed bytes of each dimension weigh more, and all sides' fixed "
            "costs of a query too",
        ],
        {side: cost.__dict__ for side, cost in costs.items()},
    )
