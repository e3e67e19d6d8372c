"""The tables of the web page, which are there without its script."""

from __future__ import annotations

from typing import Any

from eval.reports import figures
from eval.reports.content import AgainstReference, Content, Unmeasured, highest
from eval.reports.markup import Cell, Column, table, text
from eval.reports.policies import other_ties

_MOST_SETTINGS = 2_000  # of text in a result's settings that the page shows; JSON has all


def scores_table(content: Content) -> str:
    """Return tasks by systems: best in bold, who beats whom, the distance from published figures."""
    columns = [Column("Task")]
    columns += [Column("Kind", wide=True), Column("Score", wide=True), Column("Items", number=True, wide=True)]
    columns += [Column(name, number=True, mark=content.letters[name]) for name in content.systems]
    reasons = {(one.task, one.system): one for one in content.missing}
    rows = []
    for task, of_task in content.tasks.items():
        n = max(result.n_items for result in of_task.values())
        kind, score = content.kind(task), content.score_name(task)
        row = [Cell(task, notes=((f"{score}, {n:,}", "narrow"),)), Cell(kind), Cell(score), Cell(f"{n:,}", n)]
        row += [
            _score(content, task, name) if name in of_task else _no_score(reasons[task, name])
            for name in content.systems
        ]
        rows.append(row)
    foot = []
    for mean in content.means:
        best = highest(mean.scores)
        row = [Cell(mean.name, notes=((mean.note, ""),) if mean.note else ()), Cell(""), Cell(""), Cell("")]
        row += [
            Cell(figures.score(value), value, style="best" if name in best else "")
            for name, value in mean.scores.items()
        ]
        foot.append(row)
    return table("Scores by task and system", columns, rows, foot)


def _score(content: Content, task: str, system: str) -> Cell:
    result = content.tasks[task][system]
    marks = content.marks(task, system)
    beaten = [name for name in content.systems if name in content.comparisons.worse_than(task, system)]
    notes = []
    tied = other_ties(result)
    if tied is not None:
        notes.append((f"other ties {figures.score(tied)}", ""))
    if result.reference is not None:
        one = AgainstReference(result, result.reference)
        verdict = {None: "", True: "within", False: "outside"}[one.within]
        notes.append((f"{_signed(one.difference)} to published", verdict))
    style = "best" if content.is_best(task, system) else ""
    hint = f"Better than {', '.join(beaten)} beyond chance" if beaten else ""
    return Cell(figures.score(result.score), result.score, marks, tuple(notes), style, hint)


def _signed(value: float) -> str:
    return figures.signed(value).replace("-", "−")


def _no_score(missing: Unmeasured) -> Cell:
    return Cell("–", None, style="none", hint=missing.reason)


def references_table(content: Content) -> str:
    """Return results beside published figures."""
    columns = [
        Column("Task"),
        Column("System"),
        Column("Measured", number=True),
        Column("Published", number=True),
        Column("Difference", number=True),
        Column("Tolerance", number=True),
        Column("Verdict"),
        Column("Source"),
    ]
    rows = []
    for one in content.references:
        tolerance = one.reference.tolerance
        verdict = {None: "no tolerance stated", True: "within", False: "outside"}[one.within]
        rows.append(
            [
                Cell(one.result.task),
                Cell(one.result.system),
                Cell(figures.score(one.result.score), one.result.score),
                Cell(figures.score(one.reference.value), one.reference.value),
                Cell(_signed(one.difference), one.difference),
                Cell("" if tolerance is None else f"± {tolerance:g}", tolerance),
                Cell(verdict, style="" if one.within is None else f"verdict {verdict}"),
                Cell(one.reference.source, style="long"),
            ]
        )
    return table("Results beside published figures", columns, rows)


def comparisons_table(content: Content) -> str:
    """Return every comparison with its tests and effect sizes."""
    columns = [
        Column("Task"),
        Column("Second"),
        Column("First"),
        Column("Difference", number=True, hint="second minus first"),
        Column("95 % interval", number=True, hint="bootstrap over items"),
        Column("p", number=True, hint="sign flips; for rank correlations the bootstrap"),
        Column("p, Holm", number=True, hint="corrected over the family"),
        Column("t test", number=True, hint="Student's paired t test: p"),
        Column("t test, Holm", number=True, hint="corrected over the family"),
        Column("d_z", number=True, hint="mean difference in standard deviations of the differences"),
        Column("Dominance", number=True, hint="share of items won less share lost"),
        Column("Wins / ties / losses", number=True),
        Column("Note"),
    ]
    rows = []
    for one in content.comparisons.pairs:
        better = one.better(content.comparisons.alpha)
        record = "" if one.wins is None else f"{one.wins:,} / {one.ties:,} / {one.losses:,}"
        rows.append(
            [
                Cell(one.task),
                Cell(one.second, style="best" if better == one.second else ""),
                Cell(one.first, style="best" if better == one.first else ""),
                Cell(_signed(one.difference), one.difference),
                Cell(figures.interval(one.low, one.high).replace("-", "−"), one.low),
                Cell(figures.probability(one.p), one.p),
                Cell(figures.probability(one.p_adjusted), one.p_adjusted, style="best" if better else ""),
                Cell(figures.probability(one.p_t), one.p_t),
                Cell(figures.probability(one.p_t_adjusted), one.p_t_adjusted),
                Cell("" if one.d_z is None else f"{one.d_z:+.2f}".replace("-", "−"), one.d_z),
                Cell("" if one.dominance is None else f"{one.dominance:+.2f}".replace("-", "−"), one.dominance),
                Cell(record, one.wins),
                Cell(one.note, style="long"),
            ]
        )
    return table("Comparisons of systems in pairs", columns, rows)


def costs_table(content: Content) -> str:
    """Return what each result took."""
    columns = [Column("Task"), Column("System")]
    columns += [Column(figures.cost_label(name), number=True) for name in content.costs]
    rows = []
    for result in content.results:
        row = [Cell(result.task), Cell(result.system)]
        row += [
            Cell(figures.cost(name, result.costs[name]), result.costs[name]) if name in result.costs else Cell("")
            for name in content.costs
        ]
        rows.append(row)
    return table("What each result took", columns, rows)


def counts_table(content: Content) -> str:
    """Return what was not as it should be."""
    columns = [Column("Task"), Column("System"), Column("What"), Column("How many", number=True)]
    rows = [
        [Cell(result.task), Cell(result.system), Cell(name.replace("_", " ")), Cell(f"{n:,}", n)]
        for result in content.results
        for name, n in result.counts.items()
    ]
    return table("Counts", columns, rows)


def missing_table(content: Content) -> str:
    """Return the combinations that have no result."""
    columns = [Column("Task"), Column("System"), Column("Reason")]
    rows = [[Cell(one.task), Cell(one.system), Cell(one.reason, style="long")] for one in content.missing]
    return table("Not measured", columns, rows)


def facts(pairs: list[tuple[str, str]]) -> str:
    """Return names with what is said of them."""
    return f"<dl>{''.join(f'<dt>{text(name)}</dt><dd>{text(said)}</dd>' for name, said in pairs)}</dl>"


def policies_list(content: Content) -> str:
    """Return what was decided, and where, if not everywhere."""
    return facts(
        [
            (said.policy, said.sentence + (f" ({', '.join(said.where)})" if said.where else ""))
            for said in content.policies
        ]
    )


def provenance_list(content: Content) -> str:
    """Return each result's scores and settings, folded away."""
    parts = []
    for result in content.results:
        scores = [(name, figures.score(value)) for name, value in result.scores.items()]
        settings = [(name, value[:_MOST_SETTINGS]) for name, value in _flat("", result.settings)]
        parts.append(
            f"<details><summary>{text(result.task)} <span>{text(result.system)}</span></summary>"
            f"<h4>Scores</h4>{facts(scores)}"
            + (f"<h4>Settings</h4>{facts(settings)}" if settings else "")
            + "</details>"
        )
    return "".join(parts)


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    """Return nested settings as lines: "encoder / identity / name"."""
    if isinstance(value, dict) and value:
        return [
            line for name, each in value.items() for line in _flat(f"{prefix} / {name}" if prefix else str(name), each)
        ]
    return [(prefix, figures.plain(value))] if prefix else []
