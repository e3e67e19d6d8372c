"""What tuning found: measures, model calls and time of every setting, those worth their price, and the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from eval.errors import TuningError

if TYPE_CHECKING:
    from rich.console import Group

    from eval.latency import Latency


@dataclass(frozen=True)
class Setting:
    """One setting of a pipeline.

    Attributes:
        stages: the pipeline's text.
        measures: value by measure.
        calls: model calls a query, the mean; where a reranker routes candidates by what a first model says of them,
            at most.
        milliseconds: a query, the mean: what its first stage took, and its calls at the stages' mean time for a call.
            Taken in batches of queries; a single search takes longer, see `Check.latency`.
    """

    stages: str
    measures: Mapping[str, float]
    calls: float
    milliseconds: float


@dataclass(frozen=True)
class Check:
    """The best setting, searched with for real.

    Attributes:
        measures: value by measure.
        identical: queries whose ranking is exactly the simulated one.
        queries: how many there are.
        calls: model calls a query, the mean, as the searches report them.
        latency: times of single searches, one after another, each for as many documents as the measures look at.
    """

    measures: Mapping[str, float]
    identical: int
    queries: int
    calls: float
    latency: Latency | None


@dataclass(frozen=True)
class TuningReport:
    """All settings of a grid.

    Attributes:
        testset: its name.
        split: which judgements.
        measure: the measure that settings are compared by; larger is better.
        settings: in the order of the grid.
        pareto: those that no other setting beats: none has a value at least as high for fewer calls, or a higher one
            for as many; of equal ones the first. By calls, ascending.
        best: the highest value that the budgets allow; of equal ones that with the fewest calls, then the first. Times
            do not decide, for they differ from one measuring to the next.
        calls: model calls that it took to know all this, by stage; settings by themselves would have taken
            `calls_of_settings`.
        calls_of_settings: the sum over all settings.
        check: the best setting, searched with for real; None where that was not asked for.
    """

    testset: str
    split: str
    measure: str
    settings: tuple[Setting, ...]
    pareto: tuple[Setting, ...]
    best: Setting
    calls: Mapping[str, int]
    calls_of_settings: int
    check: Check | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return asdict(self)

    def table(self) -> Group:
        """Return the Pareto set and the best setting for people, to be printed with a `rich` console."""
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        title = f"{self.testset} ({self.split}): {len(self.settings):,} settings, those worth their price"
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("stages", no_wrap=True)
        for name in (*self.best.measures, "calls a query", "ms a query"):
            table.add_column(name, justify="right")
        rows = self.pareto if self.best in self.pareto else (*self.pareto, self.best)
        for setting in rows:
            values = [f"{value:.4f}" for value in setting.measures.values()]
            cells = [setting.stages, *values, f"{setting.calls:,.1f}", f"{setting.milliseconds:,.1f}"]
            table.add_row(*cells, style="bold" if setting == self.best else "")
        made = sum(self.calls.values())
        facts = [
            f"best: {self.best.stages}",
            f"model calls made: {made:,}; the settings one by one: {self.calls_of_settings:,}",
        ]
        if self.check:
            measured = ", ".join(f"{name} {value:.4f}" for name, value in self.check.measures.items())
            alike = f"{self.check.identical:,} of {self.check.queries:,} rankings are exactly the simulated ones"
            facts.append(f"searched for real: {measured}; {alike}")
            if self.check.latency:
                taken = self.check.latency
                facts.append(
                    f"single searches: {taken.mean:,.1f} ms in the mean, {taken.p95:,.1f} ms at the 95th percentile of "
                    f"{taken.n:,}; the table's milliseconds are those of searches in batches"
                )
        return Group(Text(title, style="italic"), table, *(Text(fact, style="dim") for fact in facts))


def pareto_set(settings: Sequence[Setting], measure: str) -> tuple[Setting, ...]:
    """Return the settings that no other one beats by value and calls, by calls ascending; see `TuningReport`."""
    ordered = sorted(settings, key=lambda one: (one.calls, -one.measures[measure]))
    kept: list[Setting] = []
    for setting in ordered:
        if not kept or setting.measures[measure] > kept[-1].measures[measure]:
            kept.append(setting)
    return tuple(kept)


def best_setting(
    settings: Sequence[Setting], measure: str, max_calls: float | None = None, max_milliseconds: float | None = None
) -> Setting:
    """Return the best setting within the budgets.

    Raises:
        TuningError: no setting is within them; the message says what the cheapest takes.
    """
    allowed = [
        one
        for one in settings
        if (max_calls is None or one.calls <= max_calls)
        and (max_milliseconds is None or one.milliseconds <= max_milliseconds)
    ]
    if not allowed:
        cheapest = min(settings, key=lambda one: one.calls)
        raise TuningError(
            f"no setting is within the budget; the cheapest, {cheapest.stages}, takes {cheapest.calls:,.1f} calls and "
            f"{cheapest.milliseconds:,.1f} ms a query"
        )
    return min(allowed, key=lambda one: (-one.measures[measure], one.calls))
