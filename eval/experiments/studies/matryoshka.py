"""nDCG@10 against the dimension, trained with and without the Matryoshka loss on the same pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.experiments.measuring import values_of
from eval.experiments.options import Options
from eval.experiments.training import Trained, trained
from eval.outcome import Outcome
from eval.pools import Pool, sampled_pool
from eval.significance import compare_means
from retrieval.encoders import load_encoder
from retrieval.training import builtin_recipe
from retrieval.training.data.sources import Source
from retrieval.training.ranking import rank_by_vectors

TITLE = "Matryoshka dimensions"

DIMENSIONS = (384, 256, 128, 64, 32, 16)
_STEPS = 200
_POOL = 1_500
_QUERIES = 400
_DEPTH = 100


def run(options: Options) -> list[Outcome]:
    """Train all-MiniLM-L6-v2 on WordNet's usage examples and definitions twice; measure both at each dimension.

    The dev split asks for definitions by usage examples; those that training sees by another example are left out.
    """
    (seed, *_) = options.seeds_or(0)
    plain = builtin_recipe("pairs").changed(
        {
            "max_tokens": 32,
            "batch_size": 32,
            "max_steps": options.scaled(_STEPS),
            "learning_rate": 5e-5,
            "seed": seed,
            "precision": "bf16",
        }
    )
    nested = plain.changed({"loss": "matryoshka", "loss_settings": {"dimensions": list(DIMENSIONS)}})
    source = Source(options.data / "wordnet-senses")
    models: dict[str, Trained] = {
        name: trained(recipe, [source], options.workspace / f"matryoshka-{name}-{seed}")
        for name, recipe in (("plain", plain), ("matryoshka", nested))
    }
    n = options.scaled(_QUERIES)
    pool = sampled_pool(source.path, "dev", options.scaled(_POOL), seed, queries=n, unseen="train")
    untrained = values_by_dimension("embedded", pool, DIMENSIONS)
    without, with_loss = (values_by_dimension(str(model.folder), pool, DIMENSIONS) for model in models.values())
    rows = []
    numbers: dict[str, dict[str, Any]] = {}
    for dimension in DIMENSIONS:
        values = [untrained[dimension], without[dimension], with_loss[dimension]]
        means = [float(np.mean(each)) for each in values]
        difference = compare_means(without[dimension], with_loss[dimension], seed)
        of_full = [float(np.mean(each[dimension]) / np.mean(each[DIMENSIONS[0]])) for each in (without, with_loss)]
        shares = " / ".join(f"{share:.1%}" for share in of_full)
        rows.append([str(dimension), *(f"{mean:.4f}" for mean in means), str(difference), shares])
        numbers[str(dimension)] = dict(zip(("untrained", *models), means, strict=True)) | {
            "difference": difference.difference,
            "interval": [difference.low, difference.high],
            "p": difference.p,
        }
    seconds = ", ".join(f"{name} {model.seconds:.0f} s" for name, model in models.items())
    return [
        Outcome(
            f"nDCG@10 on {pool.name} by dimension",
            ["dimension", "untrained", "without", "with", "with against without", "of full, without / with"],
            rows,
            [
                f"trained on wordnet-senses train (usage examples and definitions) from all-MiniLM-L6-v2 by the recipe "
                f"pairs: {plain.max_steps} steps of {plain.batch_size}, learning rate {plain.learning_rate}, "
                f"{plain.max_tokens} tokens, temperature 0.05, mixed bf16, seed {seed}; with: the same pairs in the "
                f"same order and the loss at all six dimensions, weights 1; wall time {seconds}",
                f"n = {len(pool.queries):,} usage examples of definitions that the training pairs do not have, "
                f"{len(pool.ids):,} definitions (the relevant ones and others at random); vectors cut, then brought to "
                "length one, exact search",
            ],
            {"seed": seed, "by dimension": numbers, "seconds": {name: model.seconds for name, model in models.items()}},
        )
    ]


def values_by_dimension(model: str, pool: Pool, dimensions: Sequence[int]) -> dict[int, list[float]]:
    """Return nDCG@10 of each query at each dimension; every text is encoded once."""
    from indexes.vectors import normalise

    encoder = load_encoder(model)
    queries = encoder.encode_queries(list(pool.queries.values()))
    passages = encoder.encode_passages(pool.texts)
    encoder.close()
    return {
        dimension: values_of(
            rank_by_vectors(normalise(queries[:, :dimension]), normalise(passages[:, :dimension]), _DEPTH), pool
        )
        for dimension in dimensions
    }
