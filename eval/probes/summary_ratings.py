"""BERTScore against people: how it orders the summaries of an article, and how people rated them.

The data are SummEval's (Fabbri et al. 2021, arXiv 2007.12626). As MTEB does for its task of the same name, systems are
correlated within each article and the correlations averaged over articles, so that easy articles do not pass for good
systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eval.errors import MeasureError
from eval.probes.data import RatedSummaries
from eval.probes.estimates import Estimate, bootstrap_means, spearman
from eval.probes.token_matching import BertScorer

if TYPE_CHECKING:
    from eval.outcome import Outcome

MEASURES = ("precision", "recall", "f1")


@dataclass(frozen=True)
class SummaryRatings:
    """Agreement of BERTScore with people.

    Attributes:
        spearman: by measure of BERTScore, by what people rated: mean over articles.
        left_out: articles that do not count for a rating, because people or the measure gave all its summaries the
            same.
        mean: of each measure over all summaries.
        n_articles: that were read.
        n_summaries: that were scored.
        settings: of the scores, how several references became one score, seed.
    """

    spearman: dict[str, dict[str, Estimate]]
    left_out: dict[str, int]
    mean: dict[str, float]
    n_articles: int
    n_summaries: int
    settings: dict[str, Any]

    def outcome(self) -> Outcome:
        """Return this as a table for people."""
        from eval.outcome import Outcome

        ratings = list(next(iter(self.spearman.values())))
        rows = [
            [measure, f"{self.mean[measure]:.4f}", *(str(found[rating]) for rating in ratings)]
            for measure, found in self.spearman.items()
        ]
        settings = self.settings
        weights = f"idf of {settings['idf_texts']:,} references" if settings["idf_texts"] else "equal weights"
        left_out = ", ".join(f"{rating} {n}" for rating, n in self.left_out.items() if n)
        notes = [
            f"{self.n_summaries:,} summaries of {self.n_articles:,} articles; Spearman's correlation within each "
            "article, mean over articles, 95 % intervals over articles resampled",
            f"layer {settings['layer']}, {weights}, {'rescaled' if settings['baseline'] else 'not rescaled'}; "
            f"of several references the {settings['references']} counts",
        ]
        if left_out:
            notes.append(f"articles left out because all summaries are rated or scored the same: {left_out}")
        return Outcome(
            "BERTScore against ratings of summaries", ["measure", "mean", *ratings], rows, notes, asdict(self)
        )


def correlate_with_ratings(
    scorer: BertScorer,
    articles: Sequence[RatedSummaries],
    *,
    references: Literal["max", "mean"] = "max",
    seed: int = 0,
) -> SummaryRatings:
    """Score the summaries of articles and correlate the scores with people's ratings; memory holds one article.

    Args:
        scorer: with the layer, weights and baseline that are wished for.
        articles: two or more, with two or more summaries each and the same ratings.
        references: what of a summary's scores against several references counts: the largest (the authors' package),
            or the mean.
        seed: of the resampling.

    Raises:
        MeasureError: there are too few articles or summaries, a text is blank, ratings do not fit or are not finite, or
            no article tells summaries apart.
    """
    if references not in ("max", "mean"):
        raise MeasureError(f"references must be 'max' or 'mean', not {references!r}")
    if len(articles) < 2:
        raise MeasureError(f"an interval over articles needs at least two of them, not {len(articles)}")
    names = list(articles[0].ratings)
    correlations, scores = [], []
    for article in articles:
        found = _scores(scorer, article, references)  # (summaries, measures)
        scores.append(found)
        correlations.append([spearman(_ratings(article, name), found) for name in names])
    every = np.array(correlations)  # (articles, ratings, measures)
    found_by: dict[str, dict[str, Estimate]] = {measure: {} for measure in MEASURES}
    left_out = {}
    for place, name in enumerate(names):
        known = every[np.isfinite(every[:, place]).all(axis=1), place]  # (articles, measures)
        left_out[name] = len(every) - len(known)
        if len(known) < 2:
            raise MeasureError(f"{name}: {len(known)} articles have summaries that differ; two are needed")
        for measure, estimate in zip(MEASURES, bootstrap_means(known, seed), strict=True):
            found_by[measure][name] = estimate
    together = np.concatenate(scores)
    return SummaryRatings(
        spearman=found_by,
        left_out=left_out,
        mean={measure: float(value) for measure, value in zip(MEASURES, together.mean(axis=0), strict=True)},
        n_articles=len(articles),
        n_summaries=len(together),
        settings={**scorer.settings(), "references": references, "seed": seed},
    )


def _scores(scorer: BertScorer, article: RatedSummaries, references: str) -> np.ndarray:
    """Return precision, recall and F1 of each summary, (summaries, 3)."""
    n, m = len(article.candidates), len(article.references)
    if n < 2 or m < 1:
        raise MeasureError(f"article {article.name!r} has {n} summaries and {m} references; 2 and 1 are needed")
    found = scorer.score([candidate for candidate in article.candidates for _ in range(m)], article.references * n)
    each = np.array([found.precision, found.recall, found.f1]).reshape(3, n, m)
    combined: np.ndarray = (each.max(axis=2) if references == "max" else each.mean(axis=2)).T
    return combined


def _ratings(article: RatedSummaries, name: str) -> np.ndarray:
    values = np.asarray(article.ratings.get(name, ()), np.float64)
    if values.shape != (len(article.candidates),) or not np.isfinite(values).all():
        raise MeasureError(
            f"article {article.name!r}: {name} must be a finite number for each of {len(article.candidates)} summaries"
        )
    return values
