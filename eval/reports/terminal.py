"""The report as tables in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eval.reports import figures
from eval.reports.content import Content, highest
from eval.reports.figures import shown
from eval.reports.legend import legend, unlike

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

_COST_COLUMNS = 6


def terminal_report(content: Content) -> Group:
    """Return the report for people, to be printed with a `rich` console."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_scores(content), *_legend(content)]
    for title, table in (
        ("Published figures", _references(content)),
        ("Comparisons", _comparisons(content)),
        ("Costs", _costs(content)),
        ("Counts", _counts(content)),
        ("Not measured", _missing(content)),
    ):
        if table is not None:
            parts += [Text(f"\n{title}", style="italic"), table]
    return Group(*parts, *_policies(content))


def _table(*columns: str, numbers: int = 0) -> Table:
    """Return an empty table whose last columns hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        number = place >= len(columns) - numbers
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def _scores(content: Content) -> Table:
    from rich.text import Text

    heads = [Text.assemble((content.letters[name], "cyan"), " ", shown(name)) for name in content.systems]
    table = _table("task", "score", "items")
    table.columns[-1].justify = "right"
    for head in heads:
        table.add_column(head, justify="right", overflow="fold")
    for task, of_task in content.tasks.items():
        cells = [_cell(content, task, name) if name in of_task else Text("–", style="dim") for name in content.systems]
        n = max(result.n_items for result in of_task.values())
        table.add_row(shown(task), shown(content.score_name(task)), f"{n:,}", *cells)
    for place, mean in enumerate(content.means):
        if place == 0:
            table.add_section()
        best = highest(mean.scores)
        cells = [
            Text(figures.score(value), style="bold" if name in best else "") for name, value in mean.scores.items()
        ]
        table.add_row(f"{mean.name} ({mean.note})" if mean.note else mean.name, "", "", *cells)
    return table


def _cell(content: Content, task: str, system: str) -> Text:
    from rich.text import Text

    style = "bold" if content.is_best(task, system) else ""
    marks = figures.raised(content.marks(task, system))
    return Text.assemble((figures.score(content.tasks[task][system].score), style), (marks, "cyan"))


def _legend(content: Content) -> list[Text]:
    from rich.text import Text

    return [Text(line, style="dim") for line in (*legend(content, shown), *unlike(content, shown))]


def _references(content: Content) -> Table | None:
    if not content.references:
        return None
    table = _table("task", "system", "source", "measured", "published", "difference", "tolerance", "", numbers=5)
    for one in content.references:
        tolerance = "" if one.reference.tolerance is None else f"± {one.reference.tolerance:g}"
        table.add_row(
            shown(one.result.task),
            shown(one.result.system),
            shown(one.reference.source),
            figures.score(one.result.score),
            figures.score(one.reference.value),
            figures.signed(one.difference),
            tolerance,
            {None: "", True: "within", False: "OUTSIDE"}[one.within],
            style="bold red" if one.within is False else None,
        )
    return table


def _comparisons(content: Content) -> Table | None:
    if not content.comparisons.pairs:
        return None
    table = _table("task", "second − first", "difference", "95 % interval", "p", "Holm", "t", "d_z", "W/T/L", numbers=7)
    for one in content.comparisons.pairs:
        record = "" if one.wins is None else f"{one.wins:,}/{one.ties:,}/{one.losses:,}"
        table.add_row(
            shown(one.task),
            f"{shown(one.second)} − {shown(one.first)}",
            figures.signed(one.difference),
            figures.interval(one.low, one.high),
            figures.probability(one.p),
            figures.probability(one.p_adjusted),
            figures.probability(one.p_t),
            "" if one.d_z is None else f"{one.d_z:+.2f}",
            record,
            style="bold" if one.better(content.comparisons.alpha) else None,
        )
    return table


def _costs(content: Content) -> Table | None:
    names = content.costs[:_COST_COLUMNS]
    if not names:
        return None
    table = _table("task", "system", *map(figures.cost_label, names), numbers=len(names))
    for result in content.results:
        cells = [figures.cost(name, result.costs[name]) if name in result.costs else "" for name in names]
        table.add_row(shown(result.task), shown(result.system), *cells)
    return table


def _counts(content: Content) -> Table | None:
    rows = [(result, name, n) for result in content.results for name, n in result.counts.items()]
    if not rows:
        return None
    table = _table("task", "system", "what", "how many", numbers=1)
    for result, name, n in rows:
        table.add_row(shown(result.task), shown(result.system), shown(name.replace("_", " ")), f"{n:,}")
    return table


def _missing(content: Content) -> Table | None:
    if not content.missing:
        return None
    table = _table("task", "system", "reason")
    for one in content.missing:
        table.add_row(*map(shown, one))
    return table


def _policies(content: Content) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for said in content.policies:
        where = f" ({', '.join(map(shown, said.where))})" if said.where else ""
        facts.add_row(shown(said.policy), f"{shown(said.sentence)}{where}")
    if content.comparisons.pairs:
        for name, sentence in content.comparisons.describe().items():
            facts.add_row(name, shown(sentence))
    return [Text("\nHow it was measured", style="italic"), facts] if facts.row_count else []
