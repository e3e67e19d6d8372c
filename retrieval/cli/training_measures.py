"""What `retrieval train --test` measures before and after: retrieval test sets, and scored sentence pairs (STS).

Encoders search the whole set exactly; rerankers reorder what BM25 finds in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from retrieval.errors import TrainingDataError

if TYPE_CHECKING:
    from retrieval.encoders.base import Encoder
    from retrieval.encoders.sparse import SparseEncoder
    from retrieval.training.ranking import Ranking

Measure = Callable[[Any], Mapping[str, float]]


class _Test(NamedTuple):
    """How a set is measured.

    Attributes:
        of_encoder: of an `Encoder` or `SparseEncoder`.
        of_reranker: of a `RankingNetwork`.
    """

    of_encoder: Measure
    of_reranker: Measure


_MEASURES = ("nDCG@10", "RR@10", "R@100")
_DEPTH = 100
_ANY_SCORE = (-1e4, 1e4)
"""Only the order of scores counts: whatever scale a set has, none of its pairs is left out for it."""


def measurer(
    places: Sequence[str], split: str | None, candidates: int | None = None
) -> Callable[[Any], dict[str, float]]:
    """Return a function from a model to its measures on test sets, which are read now.

    The model is of sentence-transformers, or a `RankingNetwork`.

    Args:
        places: folders; retrieval test sets (BEIR's or MS MARCO's layout), or files of scored sentence pairs.
        split: None takes "test".
        candidates: documents of each query that a reranker is given; None leaves it to the kind of reranker.

    Raises:
        EvaluationError: a retrieval test set cannot be read.
        TrainingDataError: a folder holds neither kind.
    """
    tests = [_test(Path(place), split, candidates) for place in places]

    def evaluate(model: Any) -> dict[str, float]:
        from sentence_transformers import SparseEncoder as SparseModel

        from retrieval.encoders import load_encoder, load_sparse_encoder
        from retrieval.models.rankers.base import RankingNetwork

        if isinstance(model, RankingNetwork):
            return {name: value for test in tests for name, value in test.of_reranker(model).items()}
        encoder = load_sparse_encoder(model) if isinstance(model, SparseModel) else load_encoder(model)
        return {name: value for test in tests for name, value in test.of_encoder(encoder).items()}

    return evaluate


def _test(place: Path, split: str | None, candidates: int | None) -> _Test:
    from retrieval.training.data.judged import find_judged

    judged = place.is_dir() and find_judged(place, split or "test")
    return _retrieval(place, split or "test", candidates) if judged else _similarity(place, split or "test")


def _similarity(place: Path, split: str) -> _Test:
    """Measure Spearman's rank correlation of cosines with the scores of sentence pairs."""
    from retrieval.training.data import ExampleReport, Source, read_source
    from retrieval.training.recipe import Recipe

    source = Source(place, split if place.is_dir() else None)
    label = f"{place.resolve().name} {split}" if place.is_dir() else place.resolve().name
    recipe = Recipe(name="sts", data="scored", score_range=_ANY_SCORE)
    report = ExampleReport()
    rows = list(read_source(source, recipe, report))
    if len(rows) < 2:
        raise TrainingDataError(f"{place} has too few scored sentence pairs: {report.summary()}")

    def measure(encoder: Encoder | SparseEncoder) -> dict[str, float]:
        from scipy.stats import spearmanr

        from retrieval.encoders.sparse import SparseEncoder

        if isinstance(encoder, SparseEncoder):
            raise TrainingDataError(f"{place} has sentence pairs, which are measured by dense vectors; give a test set")

        from indexes.vectors import normalise

        first, second = (
            normalise(encoder.encode_passages([row[name] for row in rows])) for name in ("sentence1", "sentence2")
        )
        cosines = np.einsum("nd,nd->n", first, second)  # (n_pairs,)
        correlation = spearmanr(cosines, [row["score"] for row in rows]).statistic
        return {f"{label} Spearman (n={len(rows)})": float(correlation)}

    def refuse(_network: Any) -> Mapping[str, float]:
        raise TrainingDataError(
            f"{place} has sentence pairs, and a reranker ranks documents; give a retrieval test set"
        )

    return _Test(measure, refuse)


def _retrieval(place: Path, split: str, candidates: int | None) -> _Test:
    """Measure exact search over whole texts, cut at the encoder's limit; by sparse vectors with and without weights."""
    from eval.measures import evaluate_run
    from eval.testsets import read_testset
    from retrieval.cli.training_reranking import RerankedTestSet

    testset = read_testset(place, split)
    if testset.corpus is None:
        raise TrainingDataError(f"{place} has judgements but no passages to search")
    label = f"{place.resolve().name} {split}"
    documents = list(testset.corpus)
    ids = [document.id for document in documents]
    texts = [f"{document.title or ''} {document.text or ''}".strip() for document in documents]
    queries = {name: text for name, text in testset.queries.items() if text.strip()}

    def measure(encoder: Encoder | SparseEncoder) -> dict[str, float]:
        found = {}
        for kind, rankings in _rankings(encoder, list(queries.values()), texts).items():
            run = {
                query_id: [
                    (ids[row], score) for row, score in zip(best.rows.tolist(), best.scores.tolist(), strict=True)
                ]
                for query_id, best in zip(queries, rankings, strict=True)
            }
            values = evaluate_run(run, testset.qrels, _MEASURES).measures
            found.update(
                {f"{label}{kind} {name} (n={len(testset.qrels)})": float(value) for name, value in values.items()}
            )
        return found

    return _Test(measure, RerankedTestSet(testset, label, candidates).measure)


def _rankings(
    encoder: Encoder | SparseEncoder, queries: Sequence[str], texts: Sequence[str]
) -> dict[str, list[Ranking]]:
    """Return the rankings of all texts for each query, by what is said of them."""
    from retrieval.collection.sparse_slot import LARGEST_WEIGHT
    from retrieval.encoders.sparse import SparseEncoder
    from retrieval.training.ranking import rank_by_encoder, rank_by_sparse_vectors

    if not isinstance(encoder, SparseEncoder):
        return {"": rank_by_encoder(encoder, queries, texts, _DEPTH)[0]}
    of_queries, of_texts = encoder.encode_queries(queries), encoder.encode_passages(texts)
    bare_queries, bare_texts = replace(of_queries, weights=None), replace(of_texts, weights=None)
    found = {", without weights": rank_by_sparse_vectors(bare_queries, bare_texts, _DEPTH, LARGEST_WEIGHT)}
    if of_texts.weights is not None:
        found[""] = rank_by_sparse_vectors(of_queries, of_texts, _DEPTH, encoder.largest_weight or LARGEST_WEIGHT)
    return found
