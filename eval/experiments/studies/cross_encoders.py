"""monoBERT over BM25's candidates, and duoBERT over monoBERT's best, with every aggregation.

Both are trained on the triples of the question-answering set in MS MARCO's format, and measured on its held-out
questions and on five sets that they have not seen.
"""

from __future__ import annotations

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
from eval.experiments.training import Trained, trained
from eval.outcome import Outcome
from retrieval.rerankers.aggregation import Method
from retrieval.training import Recipe
from retrieval.training.data.sources import Source

TITLE = "Cross-encoders: mono over BM25, duo over mono"

_METHODS: tuple[Method, ...] = ("sum", "binary", "min", "max")


def run(options: Options) -> list[Outcome]:
    """Train both, and rerank the candidates of every set."""
    (seed, *_) = options.seeds_or(0)
    recipes = reranker_recipes(options, seed)
    source = [Source(options.data / DATA)]
    mono = trained(recipes["mono"], source, options.workspace / f"mono-{seed}")
    again = {"model_settings": {"backbone": str(mono.folder)}}
    duo = trained(recipes["duo"].changed(again), source, options.workspace / f"duo-{seed}")
    sets = candidate_sets(options, seed)
    found = [measured(given, mono, {"duo": duo}, _METHODS) for given in sets]
    return [reranked_outcome(sets, found, _notes({"mono": mono, "duo": duo}, recipes, seed), seed)]


def _notes(models: dict[str, Trained], recipes: dict[str, Recipe], seed: int) -> list[str]:
    mono, duo = models["mono"], models["duo"]
    one, two = recipes["mono"], recipes["duo"]
    return [
        f"trained on triples of {DATA} (hard negatives of BM25, unjudged) from all-MiniLM-L6-v2, {one.precision}, seed "
        f"{seed}: mono {mono.steps} steps of {one.batch_size} triples, learning rate {one.learning_rate}, "
        f"{mono.seconds:,.0f} s; duo goes on from mono, {duo.steps} steps of {two.batch_size} triples in both "
        f"orders, {duo.seconds:,.0f} s; mono reads {READS} tokens of query and passage, duo {READS - 33} of each "
        "passage",
        SETS,
        f"duo compares mono's best {PAIRWISE}",
    ]
