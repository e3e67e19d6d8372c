"""Sentence pairs with people's scores (STS): reading them, keeping them apart from training data, and measuring."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retrieval.training import builtin_recipe
from retrieval.training.data.examples import ExampleReport
from retrieval.training.data.sources import Source, read_source

if TYPE_CHECKING:
    from retrieval.encoders.base import Encoder

YEARS = (12, 13, 14, 15, 16)


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of sentences with a similarity each.

    Attributes:
        name: of the set.
        first: sentences.
        second: sentences, as many.
        gold: (n_pairs,) what people said, 0 to 1.
    """

    name: str
    first: list[str]
    second: list[str]
    gold: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def without(self, seen: Iterable[str]) -> ScoredPairs:
        """Return the pairs of which neither sentence is among these, by `normal_form`."""
        forms = {normal_form(sentence) for sentence in seen}
        rows = [
            row
            for row, pair in enumerate(zip(self.first, self.second, strict=True))
            if not any(normal_form(sentence) in forms for sentence in pair)
        ]
        return self._of(rows)

    def sampled(self, n: int, seed: int) -> ScoredPairs:
        """Return n of the pairs at random, in their order; all where there are fewer."""
        return self._of(np.sort(np.random.default_rng(seed).permutation(len(self))[:n]).tolist())

    def _of(self, rows: list[int]) -> ScoredPairs:
        return ScoredPairs(
            self.name, [self.first[row] for row in rows], [self.second[row] for row in rows], self.gold[rows]
        )


def normal_form(sentence: str) -> str:
    """Return a sentence's words in lower case, without punctuation: equal for what only typography tells apart."""
    return " ".join(re.findall(r"\w+", sentence.lower()))


def read_scored_pairs(path: Path, name: str) -> ScoredPairs:
    """Read a file of pairs with scores from 0 to 5.

    Raises:
        TrainingDataError: it is no such file.
    """
    rows = list(read_source(Source(path), builtin_recipe("sbert-sts"), ExampleReport(strict=True)))
    return ScoredPairs(
        name,
        [row["sentence1"] for row in rows],
        [row["sentence2"] for row in rows],
        np.array([row["score"] for row in rows]),
    )


def sts_years(data: Path) -> list[ScoredPairs]:
    """Read STS 2012 to 2016, one set for each year with all its subsets together."""
    return [read_scored_pairs(data / "sts12-16" / f"sts{year}.test.tsv.gz", f"STS{year}") for year in YEARS]


def sentences_of(sets: Sequence[ScoredPairs]) -> list[str]:
    """Return every sentence of the sets once, in their order."""
    return list(dict.fromkeys(sentence for pairs in sets for side in (pairs.first, pairs.second) for sentence in side))


def similarities(encoder: Encoder, sets: Sequence[ScoredPairs]) -> list[np.ndarray]:
    """Return the cosine of each pair of each set, (n_pairs,) float64; every sentence is encoded once, as a passage."""
    from indexes.vectors import normalise

    sentences = sentences_of(sets)
    row_of = {sentence: row for row, sentence in enumerate(sentences)}
    vectors = normalise(encoder.encode_passages(sentences)).astype(np.float64)  # (n, d)
    sides = (([row_of[text] for text in pairs.first], [row_of[text] for text in pairs.second]) for pairs in sets)
    return [np.einsum("nd,nd->n", vectors[first], vectors[second]) for first, second in sides]


def rank_correlations(sets: Sequence[ScoredPairs], scores: Sequence[np.ndarray]) -> list[float]:
    """Return Spearman's correlation of the scores with what people said, for each set."""
    from scipy.stats import spearmanr

    return [float(spearmanr(pairs.gold, found).statistic) for pairs, found in zip(sets, scores, strict=True)]
