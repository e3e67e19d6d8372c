"""A pointwise reranker over the first stage and pairwise ones over it: recipes of a small size, sets, and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eval.experiments.candidates import CandidateSet, bm25_candidates, judged_candidates, run_candidates
from eval.experiments.options import Options
from eval.experiments.training import Trained, fast_precision
from eval.outcome import Outcome
from eval.significance import compare_means
from retrieval.rerankers import Candidates, load_reranker
from retrieval.rerankers.aggregation import Method, aggregate
from retrieval.rerankers.duo import DuoReranker
from retrieval.training import Recipe, builtin_recipe

DATA = "qa-train-msmarco-format"
"""What both are trained on."""

PAIRWISE = 6
"""Best candidates of mono that duo compares."""

READS = 128
"""Tokens of query and passage that mono reads."""

DEPTH = 100
"""Candidates of a query."""

_QUERIES = 150
_STEPS = {"mono": 600, "duo": 450}
_RATES = {"mono": 1e-4, "duo": 1e-4}  # for small models and few steps
_MEASURE = "nDCG@10"

Values = dict[str, list[float]]
"""The measure of each query by system."""

SETS = (
    f"qa-train-msmarco-format dev: questions that training has not seen, over the same passages, BM25's best {DEPTH} "
    "each; the other sets were not trained on: the 100 passages of the official BM25 runs of TREC DL 2019 and 2021, "
    "and of ANTIQUE, WikiQA and TREC-QA all judged passages of a question, in BM25's order"
)
"""For the notes below a table."""


def candidate_sets(options: Options, seed: int) -> list[CandidateSet]:
    """Return the held-out questions of the training set, and five sets that training has not seen."""
    n = options.scaled(_QUERIES)
    return [
        bm25_candidates(options.data / DATA, "dev", n, DEPTH, seed),
        *(
            run_candidates(options.data / name, "runs/top100.bm25.trec.gz", DEPTH)
            for name in ("msmarco-dl19", "msmarco-v2-dl21")
        ),
        judged_candidates(options.data / "antique-rerank" / "test.tsv.gz", "grade_1to4", 3, n, seed),
        judged_candidates(options.data / "wikiqa-rerank" / "test.tsv.gz", "label", 1, n, seed),
        judged_candidates(options.data / "trecqa-rerank" / "test.tsv.gz", "label", 1, n, seed),
    ]


def reranker_recipes(options: Options, seed: int) -> dict[str, Recipe]:
    """Return the recipes of both: what one reads of a passage fits both budgets."""
    common = {"seed": seed, "precision": fast_precision()}
    budgets = {
        "mono": {"query_tokens": 32, "max_tokens": READS},
        "duo": {"query_tokens": 30, "document_tokens": READS - 33},
    }
    return {
        name: builtin_recipe(name).changed(
            {
                **common,
                "max_steps": options.scaled(steps),
                "learning_rate": _RATES[name],
                "model_settings": budgets[name],
            }
        )
        for name, steps in _STEPS.items()
    }


def measured(given: CandidateSet, mono: Trained, duos: Mapping[str, Trained], methods: Sequence[Method]) -> Values:
    """Return nDCG@10 of each query: of BM25, of mono over it, and of each duo over mono by each aggregation."""
    reranker = load_reranker(mono.folder, precision=fast_precision())
    scores = given.scores(reranker)
    reranker.close()
    values = {"BM25": given.first_stage(_MEASURE), "mono": given.values(_MEASURE, scores)}
    reordered = {
        query: _first(candidates, np.argsort(-found, kind="stable"), found)
        for (query, candidates), found in zip(given.candidates.items(), scores, strict=True)
    }
    after = CandidateSet(given.name, given.queries, reordered, given.qrels)
    best = [_first(each, np.arange(len(each))[:PAIRWISE], each.scores) for each in reordered.values()]
    for name, duo in duos.items():
        pairwise = load_reranker(duo.folder, precision=fast_precision())
        assert isinstance(pairwise, DuoReranker)
        matrices = pairwise.probabilities(list(given.queries.values()), best)
        pairwise.close()
        for method in methods:
            combined = [aggregate(matrix, method) if len(matrix) > 1 else np.zeros(len(matrix)) for matrix in matrices]
            values[f"mono, {name} {method}"] = after.values(_MEASURE, combined)
    return values


def _first(candidates: Candidates, rows: np.ndarray, scores: np.ndarray) -> Candidates:
    """Return some candidates in this order, with the scores that they have."""
    chosen = rows.tolist()
    return Candidates([candidates.ids[row] for row in chosen], [candidates.texts[row] for row in chosen], scores[rows])


def reranked_outcome(sets: Sequence[CandidateSet], found: Sequence[Values], notes: list[str], seed: int) -> Outcome:
    """Return the table: mono is compared with BM25, and each duo with mono."""
    rows, numbers = [], {}
    for given, values in zip(sets, found, strict=True):
        for system, of_query in values.items():
            base = {"BM25": None, "mono": "BM25"}.get(system, "mono")
            versus = "" if base is None else f"{compare_means(values[base], of_query, seed)} over {base}"
            name = f"{given.name} ({len(given.queries)})" if base is None else ""
            rows.append([name, system, f"{np.mean(of_query):.4f}", versus])
            numbers[f"{given.name}: {system}"] = {"mean": float(np.mean(of_query)), "by query": of_query}
    columns = ["set (questions)", "system", _MEASURE, "difference"]
    return Outcome(f"{_MEASURE} of BM25's candidates reranked", columns, rows, notes, numbers)
