"""monoBERT over BM25's candidates, and duoBERT over monoBERT's best, with every aggregation.

Both are trained on the triples of the question-answering set in MS MARCO's format, and measured on its held-out
questions and on five sets that they have not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eval.benchmarks.outcome import Outcome
from eval.experiments.candidates import CandidateSet, bm25_candidates, judged_candidates, run_candidates
from eval.experiments.mined_triples import mined_triples
from eval.experiments.options import Options
from eval.experiments.training import Trained, fast_precision, trained
from eval.significance import compare_means
from retrieval.rerankers import Candidates, load_reranker
from retrieval.rerankers.aggregation import Method, aggregate
from retrieval.rerankers.duo import DuoReranker
from retrieval.training import Recipe, builtin_recipe
from retrieval.training.data.sources import Source

TITLE = "Cross-encoders: mono over BM25, duo over mono"

_DATA = "qa-train-msmarco-format"
_QUERIES = 150
_DEPTH = 100
_PAIRWISE = 6
_STEPS = {"mono": 600, "duo": 450}
_RATES = {"mono": 1e-4, "duo": 1e-4}  # for small models and few steps
_READS = 128
_MINED_QUERIES, _MINED_DEPTH, _MINED_NEGATIVES = 2000, 12, 4
_METHODS: tuple[Method, ...] = ("sum", "symmetric-sum", "binary", "min", "max")
_MEASURE = "nDCG@10"

Values = dict[str, list[float]]


def run(options: Options) -> list[Outcome]:
    """Train both, and rerank the candidates of every set."""
    (seed, *_) = options.seeds_or(0)
    n = options.scaled(_QUERIES)
    sets = [
        bm25_candidates(options.data / _DATA, "dev", n, _DEPTH, seed),
        *(
            run_candidates(options.data / name, "runs/top100.bm25.trec.gz", _DEPTH)
            for name in ("msmarco-dl19", "msmarco-v2-dl21")
        ),
        judged_candidates(options.data / "antique-rerank" / "test.tsv.gz", "grade_1to4", 3, n, seed),
        judged_candidates(options.data / "wikiqa-rerank" / "test.tsv.gz", "label", 1, n, seed),
        judged_candidates(options.data / "trecqa-rerank" / "test.tsv.gz", "label", 1, n, seed),
    ]
    recipes = reranker_recipes(options, seed)
    data = options.data / _DATA
    mono = trained(recipes["mono"], [Source(data)], options.workspace / f"mono-{seed}")
    reranker = load_reranker(mono.folder, precision=fast_precision())
    hard = mined_triples(
        data,
        reranker,
        options.workspace / f"hard-triples-{seed}.jsonl",
        n_queries=options.scaled(_MINED_QUERIES),
        depth=_MINED_DEPTH,
        window=(0, _PAIRWISE),
        negatives=_MINED_NEGATIVES,
        seed=seed,
    )
    reranker.close()
    again = recipes["duo"].changed({"model_settings": {"backbone": str(mono.folder)}})
    duos = {
        "duo": trained(again, [Source(data)], options.workspace / f"duo-{seed}"),
        "hard duo": trained(again, [Source(hard)], options.workspace / f"hard-duo-{seed}"),
    }
    found = [_measured(given, mono, duos) for given in sets]
    return [_outcome(sets, found, _notes(sets, {"mono": mono, **duos}, recipes, seed), seed)]


def reranker_recipes(options: Options, seed: int) -> dict[str, Recipe]:
    """Return the recipes of both: what one reads of a passage fits both budgets."""
    common = {"seed": seed, "precision": fast_precision()}
    budgets = {
        "mono": {"query_tokens": 32, "max_tokens": _READS},
        "duo": {"query_tokens": 30, "document_tokens": _READS - 33},
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


def _measured(given: CandidateSet, mono: Trained, duos: Mapping[str, Trained]) -> Values:
    """Return nDCG@10 of each query by system."""
    reranker = load_reranker(mono.folder, precision=fast_precision())
    scores = given.scores(reranker)
    reranker.close()
    values = {"BM25": given.first_stage(_MEASURE), "mono": given.values(_MEASURE, scores)}
    reordered = {
        query: _first(candidates, np.argsort(-found, kind="stable"), found)
        for (query, candidates), found in zip(given.candidates.items(), scores, strict=True)
    }
    after = CandidateSet(given.name, given.queries, reordered, given.qrels)
    best = [_first(each, np.arange(len(each))[:_PAIRWISE], each.scores) for each in reordered.values()]
    for name, duo in duos.items():
        pairwise = load_reranker(duo.folder, precision=fast_precision())
        assert isinstance(pairwise, DuoReranker)
        matrices = pairwise.probabilities(list(given.queries.values()), best)
        pairwise.close()
        for method in _METHODS:
            combined = [aggregate(matrix, method) if len(matrix) > 1 else np.zeros(len(matrix)) for matrix in matrices]
            values[f"mono, {name} {method}"] = after.values(_MEASURE, combined)
    return values


def _first(candidates: Candidates, rows: np.ndarray, scores: np.ndarray) -> Candidates:
    """Return some candidates in this order, with the scores that they have."""
    chosen = rows.tolist()
    return Candidates([candidates.ids[row] for row in chosen], [candidates.texts[row] for row in chosen], scores[rows])


def _outcome(sets: Sequence[CandidateSet], found: Sequence[Values], notes: list[str], seed: int) -> Outcome:
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


def _notes(
    sets: Sequence[CandidateSet], models: dict[str, Trained], recipes: dict[str, Recipe], seed: int
) -> list[str]:
    one, two = recipes["mono"], recipes["duo"]
    seconds = ", ".join(f"{name} {model.seconds:,.0f} s" for name, model in models.items())
    return [
        f"trained on triples of {_DATA} (hard negatives of BM25, unjudged) from all-MiniLM-L6-v2, {one.precision}, "
        f"seed {seed}: mono {models['mono'].steps} steps of {one.batch_size} triples, learning rate "
        f"{one.learning_rate}; each duo goes on from mono, {models['duo'].steps} steps of {two.batch_size} triples in "
        f"both orders, learning rate {two.learning_rate}; mono reads {_READS} tokens of query and passage, duo "
        f"{_READS - 33} of each passage; {seconds}",
        f"hard duo: other negatives, {_MINED_NEGATIVES} for each of {_MINED_QUERIES:,} training queries, drawn from "
        f"the best {_PAIRWISE} that mono makes of BM25's best {_MINED_DEPTH}",
        f"{sets[0].name}: questions that training has not seen, over the same passages, BM25's best {_DEPTH} each; "
        "the other sets were not trained on: the 100 passages of the official BM25 runs of TREC DL 2019 and 2021, and "
        "of ANTIQUE, WikiQA and TREC-QA all judged passages of a question, in BM25's order",
        f"duo compares mono's best {_PAIRWISE}; p is not corrected for the number of comparisons",
    ]
