"""duoBERT trained on what monoBERT itself puts near the top, instead of on BM25's negatives: what it has to sort later.

`cross_encoders` trains it on the same triples as mono, most of which mono tells apart already.
"""

from __future__ import annotations

from typing import Any

from eval.experiments.mined_triples import mined_triples
from eval.experiments.options import Options
from eval.experiments.stages_of_rerankers import (
    DATA,
    PAIRWISE,
    READS,
    SETS,
    candidate_sets,
    measured,
    reranked_outcome,
    reranker_recipes,
)
from eval.experiments.training import fast_precision, trained
from eval.outcome import Outcome
from retrieval.encoders.base import fingerprint
from retrieval.rerankers import load_reranker
from retrieval.rerankers.aggregation import Method
from retrieval.training.data.sources import Source

TITLE = "duo, trained on what mono mistakes"

_QUERIES, _DEPTH, _NEGATIVES = 2000, 12, 4
_METHODS: tuple[Method, ...] = ("sum", "symmetric-sum", "binary", "min", "max")


def run(options: Options) -> list[Outcome]:
    """Train mono, mine with it, train duo on that, and rerank the candidates of every set."""
    (seed, *_) = options.seeds_or(0)
    recipes = reranker_recipes(options, seed)
    one, two = recipes["mono"], recipes["duo"]
    data = options.data / DATA
    mono = trained(one, [Source(data)], options.workspace / f"mono-{seed}")
    reranker = load_reranker(mono.folder, precision=fast_precision())
    mining: dict[str, Any] = {
        "n_queries": options.scaled(_QUERIES),
        "depth": _DEPTH,
        "window": (0, PAIRWISE),
        "negatives": _NEGATIVES,
        "seed": seed,
    }
    made_of = fingerprint({**mining, "reranker": reranker.identity()})[:8]
    triples = mined_triples(data, reranker, options.workspace / f"mined-triples-{made_of}.jsonl", **mining)
    reranker.close()
    again = two.changed({"model_settings": {"backbone": str(mono.folder)}})
    duo = trained(again, [Source(triples)], options.workspace / f"duo-of-mined-{made_of}")
    sets = candidate_sets(options, seed)
    found = [measured(given, mono, {"duo": duo}, _METHODS) for given in sets]
    notes = [
        f"trained from all-MiniLM-L6-v2, {one.precision}, seed {seed}: mono as in the study of cross-encoders, "
        f"{mono.steps} steps of {one.batch_size} triples of {DATA}, {mono.seconds:,.0f} s; duo goes on from mono, "
        f"{duo.steps} steps of {two.batch_size} triples in both orders, learning rate {two.learning_rate}, "
        f"{duo.seconds:,.0f} s; mono reads {READS} tokens of query and passage, duo {READS - 33} of each passage",
        f"duo's negatives: {_NEGATIVES} for each of {options.scaled(_QUERIES):,} training questions, drawn from the "
        f"best {PAIRWISE} that mono makes of BM25's best {_DEPTH}, unjudged; that is {duo.steps * two.batch_size:,} "
        "triples, each read once or not at all",
        SETS,
        f"duo compares mono's best {PAIRWISE}; symmetric sum counts each comparison in both orders; p is not corrected "
        "for the number of comparisons",
    ]
    return [reranked_outcome(sets, found, notes, seed)]
