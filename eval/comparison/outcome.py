"""What comes of comparing systems."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from eval.comparison.items import ItemPolicy

Family = Literal["task", "all"]

ALPHA = 0.05
"""How often a family of tests may find a difference that is not there."""

RESAMPLES = 9_999
CORRELATION_RESAMPLES = 1_999


@dataclass(frozen=True)
class PairedComparison:
    """What the second system has over the first on a task.

    Attributes:
        task: name of the task.
        score: name of the main score.
        first: name of the one system: the baseline where there is one.
        second: name of the other.
        n: items that both were measured on.
        difference: second minus first, over these items.
        low: lower end of the 95 % bootstrap interval of the difference; None where items have no values.
        high: its upper end.
        test: what `p` comes from: "sign flips", "bootstrap"; empty where nothing could be tested.
        p: two-sided probability of such a difference by chance.
        p_adjusted: the same after Holm's correction over the family.
        p_t: the paired t-test's probability; None for correlations, and where all differences are equal.
        p_t_adjusted: the same after Holm's correction over the family.
        d_z: Cohen's effect size of paired differences: their mean in standard deviations.
        dominance: Cliff's delta within pairs: share of items won less share of items lost.
        wins: items on which the second is better.
        ties: items on which they are equal, to 1e-9.
        losses: items on which the first is better.
        note: what a reader has to know about this comparison.
    """

    task: str
    score: str
    first: str
    second: str
    n: int
    difference: float
    low: float | None = None
    high: float | None = None
    test: str = ""
    p: float | None = None
    p_adjusted: float | None = None
    p_t: float | None = None
    p_t_adjusted: float | None = None
    d_z: float | None = None
    dominance: float | None = None
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    note: str = ""

    def better(self, alpha: float = ALPHA) -> str | None:
        """Return the system that is better beyond chance after correction; None where chance may explain it."""
        if self.p_adjusted is None or self.p_adjusted >= alpha or self.difference == 0:
            return None
        return self.second if self.difference > 0 else self.first


@dataclass(frozen=True)
class Comparisons:
    """All comparisons of a set of results.

    Attributes:
        pairs: the comparisons, by task in the order of the results.
        baseline: system that the others were compared with; None where each was compared with each.
        items: what was done where systems were measured on different items.
        family: over which tests Holm's correction went.
        alpha: how often a family may find a difference that is not there.
        seed: of the resampling.
    """

    pairs: tuple[PairedComparison, ...]
    baseline: str | None = None
    items: ItemPolicy = "same"
    family: Family = "task"
    alpha: float = ALPHA
    seed: int = 0

    def worse_than(self, task: str, system: str) -> set[str]:
        """Return the systems that this one beats on the task beyond chance, after correction."""
        return {
            one.first if one.second == system else one.second
            for one in self.pairs
            if one.task == task and one.better(self.alpha) == system
        }

    def describe(self) -> dict[str, str]:
        """Return one sentence for each choice, to be shown beside the comparisons."""
        against = f"each system with {self.baseline}" if self.baseline else "each system with each other"
        family = "all tests of one task" if self.family == "task" else "all tests of all tasks"
        limit = self._limit()
        return {
            "compared": f"{against}; second minus first over the same items",
            "tests": f"means: sign flips over items ({RESAMPLES:,} draws, all of them where there are no more; seed "
            f"{self.seed}; a drawn probability counts the observed outcome, so it is never 0) and Student's paired t; "
            f"rank correlations: bootstrap over pairs ({CORRELATION_RESAMPLES:,} draws); both sides",
            "intervals": "95 %, percentiles of the bootstrap over items",
            "correction": f"Holm, over {family}; significant below {self.alpha:g}{limit}",
            "effect sizes": "d_z: mean difference in standard deviations of the differences (Cohen); dominance: share "
            "of items won less share lost (Cliff)",
            "ties between systems": "values of an item that differ by less than 1e-9 are equal",
            "items": "have to be the same for all systems of a task"
            if self.items == "same"
            else "only those that all systems of a task were measured on are compared",
        }

    def _limit(self) -> str:
        """Say so where a family has so many tests that not even the smallest probability of the draws counts."""
        families = Counter("" if self.family == "all" else one.task for one in self.pairs if one.p is not None)
        correlated = {"" if self.family == "all" else one.task for one in self.pairs if one.test == "bootstrap"}
        for name, n in families.items():
            least = n * (2 / (CORRELATION_RESAMPLES + 1) if name in correlated else 1 / (RESAMPLES + 1))
            if least >= self.alpha:
                return f"; {n:,} tests in a family are more than the draws can tell apart from chance"
        return ""
