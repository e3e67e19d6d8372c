"""Poolings and heads from one plain backbone on the same data and budget, each against mean pooling."""

from __future__ import annotations

import numpy as np

from eval.experiments.options import Options
from eval.experiments.plain_sentences import plain_start
from eval.experiments.training import trained
from eval.outcome import Outcome
from eval.scored_pairs import (
    rank_correlations,
    read_scored_pairs,
    sentences_of,
    similarities,
    sts_years,
)
from eval.significance import compare_mean_rank_correlations, compare_rank_correlations
from retrieval.encoders import load_encoder
from retrieval.training import builtin_recipe
from retrieval.training.data.sources import Source

TITLE = "Poolings and heads"

POOLINGS = (
    "mean",
    "cls",
    "max",
    "lasttoken",
    "convolution",
    "convolution_stack",
    "max_cls",
    "mha",
    "max_seq_mha",
    "mean_seq_mha",
    "scalar_mix",
    "weighted_cls",
)
_STEPS = 60
_PAIRS_A_YEAR = 100


def run(options: Options) -> list[Outcome]:
    """Train every pooling on STSb's training pairs and measure pairs of which no sentence was in training."""
    (seed, *_) = options.seeds_or(0)
    start = plain_start(options)
    recipe = builtin_recipe("sbert-sts").changed(
        {
            "max_tokens": 32,
            "batch_size": 16,
            "max_steps": options.scaled(_STEPS),
            "learning_rate": 1e-4,
            "seed": seed,
            "precision": "bf16",
        }
    )
    data = options.data / "stsb"
    training = read_scored_pairs(data / "train.tsv.gz", "STSb train")
    seen = sentences_of([training])
    test = read_scored_pairs(data / "test.tsv.gz", "STSb test").without(seen)
    years = [pairs.without(seen).sampled(options.scaled(_PAIRS_A_YEAR), seed) for pairs in sts_years(options.data)]
    sets = [test, *years]
    scores: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, float] = {}
    for pooling in POOLINGS:
        chosen = recipe.changed({"model_settings": {"backbone": str(start.folder), "pooling": pooling}})
        model = trained(chosen, [Source(data, "train")], options.workspace / f"pooling-{pooling}-{seed}")
        encoder = load_encoder(str(model.folder))
        scores[pooling] = similarities(encoder, sets)
        seconds[pooling] = model.seconds
        encoder.close()
    rows, numbers = [], {}
    base = scores["mean"]
    for pooling, found in scores.items():
        on_test, *by_year = rank_correlations(sets, found)
        on_years = float(np.mean(by_year))
        against_test, against_years = "", ""
        if pooling != "mean":
            against_test = str(compare_rank_correlations(test.gold, base[0], found[0], seed))
            triples = zip((pairs.gold for pairs in years), base[1:], found[1:], strict=True)
            against_years = str(compare_mean_rank_correlations(list(triples), seed))
        rows.append(
            [pooling, f"{seconds[pooling]:.0f} s", f"{on_test:.4f}", against_test, f"{on_years:.4f}", against_years]
        )
        numbers[pooling] = {"STSb test": on_test, "STS12 to 16": by_year, "seconds": seconds[pooling]}
    return [
        Outcome(
            "Spearman's correlation after training on STSb",
            ["pooling", "training", test.name, "against mean", "mean of STS12 to 16", "against mean"],
            rows,
            [
                f"start: {start.description}",
                f"recipe sbert-sts on STSb train ({len(training):,} pairs): {recipe.max_steps} steps of "
                f"{recipe.batch_size}, learning rate {recipe.learning_rate}, {recipe.max_tokens} tokens, mixed bf16, "
                f"seed {seed}, the same for each; new weights of heads are drawn with that seed",
                f"only pairs of which no sentence is in STSb train: {len(test):,} of STSb test, and of each year of "
                f"STS {', '.join(str(len(pairs)) for pairs in years)} at random",
            ],
            {"seed": seed, "poolings": numbers, "n": [len(pairs) for pairs in sets]},
        )
    ]
