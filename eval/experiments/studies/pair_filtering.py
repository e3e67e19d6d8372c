"""Ranking-consistency filtering of pairs some of which are wrong: what it keeps, and what training then is worth.

Wrong pairs are made: of a share of the pairs the positives change places, so that none of them keeps its own. The
filter (arXiv 2501.01028) sees what a reference encoder makes of the corrupted pairs only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval.experiments.measuring import dense_rankings, values_of
from eval.experiments.options import Options
from eval.experiments.training import trained
from eval.outcome import Outcome
from eval.pools import sampled_pool
from eval.significance import compare_means
from retrieval.encoders import load_encoder
from retrieval.training import Recipe, builtin_recipe
from retrieval.training.data.examples import ExampleReport
from retrieval.training.data.sources import Source, read_source

TITLE = "Filtering of pairs by ranking consistency"

_SHARES = (0.0, 0.2, 0.4)
_PAIRS = 1_600
_STEPS = 50
_RANK = 10
_POOL = 2_000
_QUERIES = 500

Pair = tuple[str, str]


def run(options: Options) -> list[Outcome]:
    """Corrupt WordNet's pairs of usage example and definition, filter them, train with and without; measure on dev."""
    (seed, *_) = options.seeds_or(0)
    source = options.data / "wordnet-senses"
    recipe = builtin_recipe("pairs").changed(
        {
            "max_tokens": 32,
            "batch_size": 32,
            "max_steps": options.scaled(_STEPS),
            "learning_rate": 5e-5,
            "seed": seed,
            "precision": "bf16",
        }
    )
    pairs = _sample(source, recipe, options.scaled(_PAIRS), seed)
    pool = sampled_pool(source, "dev", options.scaled(_POOL), seed, queries=options.scaled(_QUERIES))
    before = values_of(dense_rankings(load_encoder("embedded"), pool), pool)
    kept_rows, rows, kept_numbers, numbers = [], [], {}, {}
    baseline = np.mean(before)
    for share in _SHARES:
        corrupted, wrong = corrupt(pairs, share, seed)
        folder = options.workspace / f"pair_filtering-{share}-{seed}"
        file = write_pairs(corrupted, folder / "pairs.jsonl")
        filtering = recipe.changed({"reference": "embedded", "filter_rank": _RANK})
        kept = {(row["query"], row["positive"]) for row in read_source(Source(file), filtering, ExampleReport())}
        rates = keep_rates(corrupted, wrong, kept)
        kept_numbers[f"{share:.0%}"] = rates
        kept_rows.append([f"{share:.0%}", *(f"{rates[name]:.3f}" for name in _RATES)])
        values = {}
        for name, chosen in (("all", recipe), ("filtered", filtering)):
            model = trained(chosen, [Source(file)], folder / name)
            values[name] = values_of(dense_rankings(load_encoder(str(model.folder)), pool), pool)
            gain = compare_means(before, values[name], seed)
            versus = "" if name == "all" else str(compare_means(values["all"], values[name], seed))
            mean = float(np.mean(values[name]))
            moved = f"{baseline:.4f} → {mean:.4f}"
            rows.append([f"{share:.0%} wrong, {name}", f"{seed}", f"{model.seconds:.0f} s", moved, f"{gain}", versus])
            numbers[f"{share:.0%} {name}"] = {"seconds": model.seconds, "steps": model.steps, "nDCG@10": mean}
    n = f"{len(pairs):,} pairs of wordnet-senses train (usage example, lemmas and definition)"
    return [
        Outcome(
            f"What the filter keeps of {len(pairs):,} pairs",
            ["positives shuffled", *_RATES],
            kept_rows,
            [
                f"{n}, seed {seed}; reference all-MiniLM-L6-v2, a pair stays where its positive scores as high as rank "
                f"{_RANK} of the pool of all positives or higher",
                "precision: right pairs among those kept; recall: right pairs that are kept; removed: wrong pairs that "
                "are left out",
            ],
            kept_numbers,
        ),
        Outcome(
            f"nDCG@10 on {pool.name} after training on them",
            ["training pairs", "seed", "training", "nDCG@10", "against no training", "filtered against all"],
            rows,
            [
                f"{n}; recipe pairs from all-MiniLM-L6-v2, {recipe.max_steps} steps of {recipe.batch_size}, learning "
                f"rate {recipe.learning_rate}, {recipe.max_tokens} tokens, mixed bf16; the same steps for both",
                f"{len(pool.queries):,} dev queries, {len(pool.ids):,} definitions: the relevant ones and others at "
                "random; no query is among the training pairs",
            ],
            numbers,
        ),
    ]


_RATES = ("precision", "recall", "removed", "kept")


def corrupt(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], np.ndarray]:
    """Return the pairs with the positives of a random share exchanged in a circle, and which they are.

    Args:
        pairs: query and positive; positives that are equal may come to stand where they were.
        share: of the pairs, 0 to 1.
        seed: of the choice and the order.

    Returns:
        The pairs in their order, and (n_pairs,) bool: True where the positive is another text than before.
    """
    chosen = np.random.default_rng(seed).permutation(len(pairs))[: round(share * len(pairs))]
    changed = list(pairs)
    for row, other in zip(chosen.tolist(), np.roll(chosen, 1).tolist(), strict=True):
        changed[row] = (pairs[row][0], pairs[other][1])
    return changed, np.array([now != then for now, then in zip(changed, pairs, strict=True)], bool)


def keep_rates(pairs: Sequence[Pair], wrong: np.ndarray, kept: set[Pair]) -> dict[str, float]:
    """Return precision and recall of what is kept, taking right pairs for what is sought.

    Args:
        pairs: all of them.
        wrong: (n_pairs,) bool.
        kept: the pairs that a filter has left.

    Returns:
        "precision": right among kept; "recall": kept among right; "removed": left out among wrong; "kept": share of
        all. What has nothing to count is 1.
    """
    stays = np.array([pair in kept for pair in pairs], bool)
    return {
        "precision": float((~wrong)[stays].mean()) if stays.any() else 1.0,
        "recall": float(stays[~wrong].mean()) if (~wrong).any() else 1.0,
        "removed": float((~stays)[wrong].mean()) if wrong.any() else 1.0,
        "kept": float(stays.mean()),
    }


def write_pairs(pairs: Sequence[Pair], file: Path) -> Path:
    """Write pairs as lines of JSON, as training reads them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"query": query, "positive": positive}) for query, positive in pairs)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _sample(source: Path, recipe: Recipe, n: int, seed: int) -> list[Pair]:
    """Draw pairs with a query and a positive of their own each: equal ones could not be told apart."""
    unique: dict[str, str] = {}
    for row in read_source(Source(source), recipe, ExampleReport()):
        unique.setdefault(row["query"], row["positive"])
    once = {positive: query for query, positive in unique.items()}
    pairs = [(query, positive) for positive, query in once.items()]
    return [pairs[row] for row in np.random.default_rng(seed).permutation(len(pairs))[:n].tolist()]
