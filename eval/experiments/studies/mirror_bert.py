"""Mirror-BERT and SimCSE from a plain backbone, against its own mean-pooled vectors and tf-idf."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval.experiments.options import Options
from eval.experiments.plain_sentences import measured_free, plain_start
from eval.experiments.training import Trained, trained
from eval.outcome import Outcome
from eval.scored_pairs import (
    YEARS,
    ScoredPairs,
    rank_correlations,
    sentences_of,
    similarities,
    sts_years,
)
from eval.significance import PairedDifference, compare_mean_rank_correlations
from retrieval.encoders import load_encoder
from retrieval.training import Recipe, builtin_recipe
from retrieval.training.builders.encoder import build_model
from retrieval.training.data.sources import Source

TITLE = "Self-supervised sentence encoders"

_SENTENCES = 10_000
_LEARNING_RATE = 1e-4
_BATCH = 64
_PAIRS_A_YEAR = 1_000
_PUBLISHED = "Mirror-BERT, rate and batch as published"
_START = "plain backbone, mean-pooled"


def run(options: Options) -> list[Outcome]:
    """Train both recipes from the plain backbone with each seed and measure STS 2012 to 2016."""
    years = [pairs.sampled(options.scaled(_PAIRS_A_YEAR), seed=0) for pairs in sts_years(options.data)]
    sentences = measured_free(options.data)
    file = _write(sentences, options.workspace / "sentences.jsonl")
    start = plain_start(options)
    scores: dict[str, list[np.ndarray]] = {
        "tf-idf, fitted on the unlabelled sentences": tfidf_similarities(sentences, years),
        "tf-idf, fitted on the measured sentences": tfidf_similarities(sentences_of(years), years),
    }
    encoder = load_encoder(build_model(backbone=str(start.folder), pooling="mean"))
    scores[_START] = similarities(encoder, years)
    runs: dict[str, Trained] = {}
    for name, recipe in recipes(str(start.folder), options).items():
        seeds = options.seeds_or(0, 1, 2)
        for seed in seeds[:1] if name == _PUBLISHED else seeds:
            label = f"{name}, seed {seed}"
            place = options.workspace / f"{name}-{seed}"
            model = trained(recipe.changed({"seed": seed}), [Source(file)], place)
            encoder = load_encoder(str(model.folder))
            scores[label] = similarities(encoder, years)
            encoder.close()
            runs[label] = model
    return [_outcome(years, scores, runs, start.description, recipes(str(start.folder), options))]


def recipes(start: str, options: Options) -> dict[str, Recipe]:
    """Return the recipes that are compared, on the same sentences."""
    common = {
        "limit": options.scaled(_SENTENCES),
        "max_tokens": 32,
        "precision": "bf16",
        "model_settings": {"backbone": start, "pooling": "mean"},
    }
    chosen = {"batch_size": _BATCH, "learning_rate": _LEARNING_RATE, "schedule": "linear"}
    mirror = builtin_recipe("mirror-bert").changed(common)
    return {
        "Mirror-BERT": mirror.changed(chosen),
        _PUBLISHED: mirror,
        "SimCSE": builtin_recipe("simcse").changed(common).changed(chosen),
    }


def tfidf_similarities(fitted_on: Sequence[str], sets: Sequence[ScoredPairs]) -> list[np.ndarray]:
    """Return the cosine of scikit-learn's tf-idf vectors, default settings, for each pair of each set."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer().fit(fitted_on)  # vectors of length one
    return [
        np.asarray(vectorizer.transform(pairs.first).multiply(vectorizer.transform(pairs.second)).sum(axis=1)).ravel()
        for pairs in sets
    ]


def _outcome(
    years: Sequence[ScoredPairs],
    scores: dict[str, list[np.ndarray]],
    runs: dict[str, Trained],
    description: str,
    used: dict[str, Recipe],
) -> Outcome:
    bases = {name: found for name, found in scores.items() if name not in runs}
    rows, numbers = [], {}
    before = float(np.mean(rank_correlations(years, scores[_START])))
    for name, found in scores.items():
        by_year = rank_correlations(years, found)
        mean = float(np.mean(by_year))
        against = {base: _compared(years, scores[base], found) for base in bases} if name in runs else {}
        seconds = f"{runs[name].seconds:.0f} s" if name in runs else ""
        moved = f"{before:.4f} → {mean:.4f}" if name in runs else f"{mean:.4f}"
        rows.append(
            [name, seconds, *(f"{value:.4f}" for value in by_year), moved]
            + [
                str(against[base]) if base in against else ""
                for base in (_START, *(other for other in bases if other != _START))
            ]
        )
        numbers[name] = {"by year": by_year, "mean": mean, "seconds": runs[name].seconds if name in runs else None} | {
            f"against {base}": [each.difference, each.low, each.high] for base, each in against.items()
        }
    mirror = next(iter(used.values()))
    others = [f"against {base}" for base in bases if base != _START]
    return Outcome(
        "Spearman's correlation on STS 2012 to 2016",
        ["vectors", "training", *(f"STS{year}" for year in YEARS), "mean", "against its start", *others],
        rows,
        [
            f"start: {description}",
            f"{mirror.limit:,} unlabelled sentences of 30 to 80 characters from SNLI dev and test, squad11, nq-qed "
            f"and msmarco-dl19, other ones for each seed; none stands in STS 2012 to 2016 or STSb in any typography; "
            f"one pass, {mirror.batch_size} a batch, learning rate {mirror.learning_rate}, {mirror.max_tokens} tokens, "
            "mean pooling, mixed bf16; masked-language training takes what the tuned encoder knew away in part only; "
            "batch, rate and schedule were chosen on STSb dev",
            f"Mirror-BERT: spans of {mirror.span_characters} characters of one copy masked, and the backbone's dropout "
            "(0.1), temperature 0.04, a rate that falls to 0; as published: 200 a batch at a constant rate of 2e-05; "
            "SimCSE: dropout only, temperature 0.05, one direction, a rate that falls to 0",
            f"n = {sum(len(pairs) for pairs in years):,} pairs drawn from the 12,544, all subsets of a year "
            "together; the mean is over "
            "years; intervals over pairs resampled within their years",
        ],
        numbers,
    )


def _compared(
    years: Sequence[ScoredPairs], first: Sequence[np.ndarray], second: Sequence[np.ndarray]
) -> PairedDifference:
    triples = zip((pairs.gold for pairs in years), first, second, strict=True)
    return compare_mean_rank_correlations(list(triples))


def _write(sentences: Sequence[str], file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(json.dumps({"text": text}) for text in sentences) + "\n", encoding="utf-8")
    return file
