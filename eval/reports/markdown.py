"""The report as Markdown with GitHub's tables, to be kept beside code: it holds no text of any data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from eval.reports import figures
from eval.reports.content import Content, highest
from eval.reports.figures import shown
from eval.reports.legend import legend, unlike
from eval.reports.origins import data_origins, run_origins, system_origins
from eval.reports.policies import Said

_MARKUP = re.compile(r"[\\`*_\[\]~$#]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"})
_COST_COLUMNS = 8


def escape(text: str) -> str:
    """Return text in one line that Markdown shows as it is, in a cell of a table as well."""
    return _MARKUP.sub(r"\\\g<0>", shown(text)).translate(_ENTITIES)


def markdown_report(content: Content) -> str:
    """Return scores, published figures, comparisons, costs, counts, policies and where all that comes from."""
    sections = [
        ("Scores", [_scores(content), *_legend(content)]),
        ("Published figures", _references(content)),
        ("Comparisons", _comparisons(content)),
        ("Costs", _costs(content)),
        ("Counts", _counts(content)),
        ("Not measured", _missing(content)),
        ("How it was measured", _policies(content)),
        ("Systems", _facts(system_origins(content))),
        ("Data", _facts(data_origins(content))),
        ("Provenance", _facts(run_origins(content))),
    ]
    parts = [f"# {escape(content.title)}"]
    for title, blocks in sections:
        if blocks:
            parts += [f"## {title}", *blocks]
    return "\n\n".join(parts) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> str:
    """Return a table of cells that are Markdown already; its last columns hold numbers."""
    rules = ["---"] * (len(columns) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rules, *rows))


def _scores(content: Content) -> str:
    heads = [f"{escape(name)} <sup>{content.letters[name]}</sup>" for name in content.systems]
    rows = []
    for task, of_task in content.tasks.items():
        n = max(result.n_items for result in of_task.values())
        cells = [_cell(content, task, name) if name in of_task else "–" for name in content.systems]
        rows.append([escape(task), escape(content.kind(task)), escape(content.score_name(task)), f"{n:,}", *cells])
    for mean in content.means:
        best = highest(mean.scores)
        cells = [_bold(figures.score(value), yes=name in best) for name, value in mean.scores.items()]
        rows.append([escape(f"{mean.name} ({mean.note})" if mean.note else mean.name), "", "", "", *cells])
    return _table(["task", "kind", "score", "items", *heads], rows, 1 + len(heads))


def _cell(content: Content, task: str, system: str) -> str:
    value = _bold(figures.score(content.tasks[task][system].score), yes=content.is_best(task, system))
    marks = content.marks(task, system)
    return f"{value} <sup>{marks}</sup>" if marks else value


def _bold(text: str, *, yes: bool) -> str:
    return f"**{text}**" if yes else text


def _legend(content: Content) -> list[str]:
    return [*legend(content, escape), *(f"**{line}**" for line in unlike(content, escape))]


def _references(content: Content) -> list[str]:
    rows = [
        [
            escape(one.result.task),
            escape(one.result.system),
            escape(one.reference.source),
            figures.score(one.result.score),
            figures.score(one.reference.value),
            figures.signed(one.difference),
            "" if one.reference.tolerance is None else f"± {one.reference.tolerance:g}",
            {None: "", True: "within", False: "**outside**"}[one.within],
        ]
        for one in content.references
    ]
    columns = ["task", "system", "source", "measured", "published", "difference", "tolerance", "verdict"]
    return [_table(columns, rows, 5)] if rows else []


def _comparisons(content: Content) -> list[str]:
    rows = []
    for one in content.comparisons.pairs:
        better = one.better(content.comparisons.alpha)
        rows.append(
            [
                escape(one.task),
                _bold(escape(one.second), yes=better == one.second),
                _bold(escape(one.first), yes=better == one.first),
                figures.signed(one.difference),
                escape(figures.interval(one.low, one.high)),
                escape(figures.probability(one.p)),
                escape(figures.probability(one.p_adjusted)),
                escape(figures.probability(one.p_t)),
                "" if one.d_z is None else f"{one.d_z:+.2f}",
                "" if one.wins is None else f"{one.wins:,}/{one.ties:,}/{one.losses:,}",
            ]
        )
    columns = ["task", "second", "first", "second − first", "95 % interval", "p", "Holm", "t", "d\\_z", "W/T/L"]
    return [_table(columns, rows, 7), "Bold: the better one, beyond chance after correction."] if rows else []


def _costs(content: Content) -> list[str]:
    names = content.costs[:_COST_COLUMNS]
    rows = [
        [escape(result.task), escape(result.system)]
        + [figures.cost(name, result.costs[name]) if name in result.costs else "" for name in names]
        for result in content.results
        if any(name in result.costs for name in names)
    ]
    labels = [escape(figures.cost_label(name)) for name in names]
    return [_table(["task", "system", *labels], rows, len(names))] if rows else []


def _counts(content: Content) -> list[str]:
    rows = [
        [escape(result.task), escape(result.system), escape(name.replace("_", " ")), f"{n:,}"]
        for result in content.results
        for name, n in result.counts.items()
    ]
    return [_table(["task", "system", "what", "how many"], rows, 1)] if rows else []


def _missing(content: Content) -> list[str]:
    rows = [[escape(one.task), escape(one.system), escape(one.reason)] for one in content.missing]
    return [_table(["task", "system", "reason"], rows, 0)] if rows else []


def _policies(content: Content) -> list[str]:
    methods = content.comparisons.describe() if content.comparisons.pairs else {}
    return _facts([*content.policies, *(Said(name, sentence, ()) for name, sentence in methods.items())])


def _facts(said: Sequence[Said]) -> list[str]:
    lines = [
        f"- **{escape(one.policy).strip()}**: {escape(one.sentence)}"
        + (f" ({escape(', '.join(one.where))})" if one.where else "")
        for one in said
    ]
    return ["\n".join(lines)] if lines else []
