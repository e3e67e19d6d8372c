"""One year of STS, one system, several scores: how the subsets of a year are put together.

A year's test set has several subsets (headlines, images, ...), each rated on its own. "all" correlates over all pairs
of the year at once, "mean" averages the correlations of the subsets, "wmean" weights them by their pairs. SBERT and
most work after it report "all", earlier work "mean" or "wmean"; the two can differ by several points, so that figures
of different papers cannot be compared (Gao, Yao & Chen 2021, SimCSE, arXiv 2104.08821, appendix B, which lists who took
what; SentEval, arXiv 1803.05449, computes all three).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.errors import MeasureError
from eval.probes.estimates import RESAMPLES, Estimate, checked_scores, spearman
from eval.probes.texts import checked_texts
from eval.scored_pairs import ScoredPairs, similarities

if TYPE_CHECKING:
    from eval.outcome import Outcome
    from retrieval.encoders.base import Encoder


@dataclass(frozen=True)
class YearOfSts:
    """Spearman's correlation of one year, three ways.

    Attributes:
        name: of the year.
        all: over the pairs of all subsets at once.
        mean: mean over the subsets.
        wmean: mean over the subsets, each weighted by its pairs.
        all_less_mean: what the choice is worth.
        subsets: correlation by subset.
    """

    name: str
    all: Estimate
    mean: Estimate
    wmean: Estimate
    all_less_mean: Estimate
    subsets: dict[str, Estimate]


@dataclass(frozen=True)
class StsAggregation:
    """All years.

    Attributes:
        years: in the order they were given.
        average: "all", "mean" and "wmean", each averaged over the years, as papers print it.
        settings: seed of the resampling, identity of the encoder.
    """

    years: list[YearOfSts]
    average: dict[str, float]
    settings: dict[str, Any]

    def outcome(self) -> Outcome:
        """Return this as a table for people."""
        from eval.outcome import Outcome

        rows = []
        for year in self.years:
            ways = [str(each) for each in (year.all, year.mean, year.wmean)]
            difference = year.all_less_mean
            shown = f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
            rows.append([year.name, f"{year.all.n:,}", *ways, shown])
            rows += [[f"  {name}", f"{each.n:,}", str(each), "", "", ""] for name, each in year.subsets.items()]
        averages = [f"{self.average[way]:.4f}" for way in ("all", "mean", "wmean")]
        rows.append(["average", "", *averages, f"{self.average['all'] - self.average['mean']:+.4f}"])
        notes = [
            "Spearman's correlation of cosines with people's scores; all: over all pairs of a year, mean: over its "
            "subsets, wmean: weighted by their pairs; MTEB, SBERT and SimCSE report all",
            f"95 % intervals over pairs resampled within their subsets ({self.settings['resamples']:,} times)",
        ]
        columns = ["year", "pairs", "all", "mean", "wmean", "all - mean"]
        return Outcome("STS: all against mean", columns, rows, notes, asdict(self))


def measure_sts_aggregation(
    encoder: Encoder, years: Mapping[str, Sequence[ScoredPairs]], *, seed: int = 0, resamples: int = RESAMPLES
) -> StsAggregation:
    """Measure an encoder on the subsets of years of STS; each sentence is encoded once, as a passage.

    Args:
        encoder: any.
        years: subsets by name of the year.
        seed: of the resampling.
        resamples: how many.

    Raises:
        MeasureError: there is no year or a year has no subset, a sentence is blank, a subset has two of one name or
            fewer than two pairs, or its scores are not finite or all equal.
        EncoderError: a sentence cannot be encoded.
    """
    if not years:
        raise MeasureError("there is no year of STS to measure; give at least one")
    if resamples < 1:
        raise MeasureError(f"intervals need at least 1 resample, not {resamples}")
    subsets = [pairs for of_year in years.values() for pairs in of_year]
    for pairs in subsets:
        checked_texts([*pairs.first, *pairs.second], pairs.name)
    for name, of_year in years.items():
        _check_names(name, of_year)
    cosines = iter(similarities(encoder, subsets))
    found = [
        aggregate_year(
            name, {pairs.name: (pairs.gold, next(cosines)) for pairs in of_year}, seed=seed, resamples=resamples
        )
        for name, of_year in years.items()
    ]
    average = {way: float(np.mean([getattr(year, way).value for year in found])) for way in ("all", "mean", "wmean")}
    return StsAggregation(found, average, {"seed": seed, "resamples": resamples, "encoder": encoder.identity()})


def aggregate_year(
    name: str,
    subsets: Mapping[str, tuple[Sequence[float] | np.ndarray, np.ndarray]],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> YearOfSts:
    """Return the three correlations of one year.

    Args:
        name: of the year.
        subsets: people's scores and a system's, as many, by subset.
        seed: of the resampling: pairs are drawn within their subsets, which were chosen and not drawn.
        resamples: how many.

    Raises:
        MeasureError: there is no subset, or one has fewer than two pairs, or scores that are not finite or all equal.
    """
    if not subsets:
        raise MeasureError(f"{name} has no subsets to put together")
    checked = []
    for subset, sides in subsets.items():
        gold, scores = (checked_scores(side, f"{name}, {subset}") for side in sides)
        if len(gold) != len(scores):
            raise MeasureError(f"{name}, {subset}: {len(gold)} gold scores, but {len(scores)} of the system")
        checked.append((gold, scores))
    sizes = np.array([len(gold) for gold, _ in checked])
    generator = np.random.default_rng(seed)
    whole = _ways(checked, sizes)
    drawn = np.array([_ways([_resampled(each, generator) for each in checked], sizes) for _ in range(resamples)])
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    every = [
        Estimate(float(value), float(a), float(b), int(n))
        for value, a, b, n in zip(whole, low, high, [*[sizes.sum()] * 4, *sizes], strict=True)
    ]
    whole_year, mean, wmean, difference, *each = every
    return YearOfSts(name, whole_year, mean, wmean, difference, dict(zip(subsets, each, strict=True)))


def _ways(subsets: Sequence[tuple[np.ndarray, np.ndarray]], sizes: np.ndarray) -> np.ndarray:
    """Return all, mean, wmean, all - mean, and each subset's correlation."""
    each = np.array([spearman(gold, scores[:, None])[0] for gold, scores in subsets])
    gold, scores = (np.concatenate(side) for side in zip(*subsets, strict=True))
    whole = spearman(gold, scores[:, None])[0]
    return np.array([whole, each.mean(), each @ sizes / sizes.sum(), whole - each.mean(), *each])


def _resampled(subset: tuple[np.ndarray, np.ndarray], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    rows = generator.integers(0, len(subset[0]), len(subset[0]))
    return subset[0][rows], subset[1][rows]


def _check_names(year: str, subsets: Sequence[ScoredPairs]) -> None:
    names = [pairs.name for pairs in subsets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise MeasureError(f"{year} has two subsets named {twice!r}; give each a name of its own")
