"""The report as files for other programs: JSON with everything, CSV in long and wide form."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from eval.provenance import package_versions
from eval.reports.content import Content
from eval.reports.policies import other_ties

FORMAT = 1


def json_report(content: Content) -> str:
    """Return everything as JSON: whole results, comparisons, means, published figures, policies, what is missing."""
    compared = content.comparisons
    report = {
        "format": FORMAT,
        "title": content.title,
        "systems": content.systems,
        "tasks": [
            {"task": task, "kind": content.kind(task), "main_score": content.score_name(task)} for task in content.tasks
        ],
        "results": [
            {"score": result.score, "other_ties": other_ties(result), **msgspec.to_builtins(result)}
            for result in content.results
        ],
        "means": [mean._asdict() for mean in content.means],
        "comparisons": {
            "baseline": compared.baseline,
            "family": compared.family,
            "items": compared.items,
            "alpha": compared.alpha,
            "seed": compared.seed,
            "methods": compared.describe(),
            "pairs": [{**msgspec.to_builtins(one), "better": one.better(compared.alpha)} for one in compared.pairs],
        },
        "references": [
            {
                "task": one.result.task,
                "system": one.result.system,
                "measured": one.result.score,
                "published": one.reference.value,
                "difference": one.difference,
                "tolerance": one.reference.tolerance,
                "within": one.within,
                "source": one.reference.source,
            }
            for one in content.references
        ],
        "policies": [said._asdict() for said in content.policies],
        "unlike_policies": content.unlike_policies,
        "unmeasured": [one._asdict() for one in content.missing],
        "versions": package_versions(),
    }
    return msgspec.json.format(msgspec.json.encode(report, enc_hook=str), indent=1).decode() + "\n"


def scores_csv(content: Content) -> str:
    """Return the long form: a line for each figure of each result, scores and costs and counts."""
    rows: list[Sequence[Any]] = []
    for result in content.results:
        for what, figures in (("score", result.scores), ("cost", result.costs), ("count", result.counts)):
            for name, value in figures.items():
                main = what == "score" and name == result.main_score
                reference = result.reference if main else None
                published = (
                    ["", "", ""] if reference is None else [reference.value, reference.tolerance, reference.source]
                )
                rows.append([result.task, result.kind, result.system, what, name, value, int(main), *published])
    head = ("task", "kind", "system", "what", "name", "value", "main", "published", "tolerance", "source")
    return _csv(head, rows)


def wide_csv(content: Content) -> str:
    """Return the main scores: a line for each task, a column for each system."""
    rows = [
        [
            task,
            content.kind(task),
            content.score_name(task),
            *(of_task[name].score if name in of_task else "" for name in content.systems),
        ]
        for task, of_task in content.tasks.items()
    ]
    return _csv(("task", "kind", "main_score", *content.systems), rows)


def comparisons_csv(content: Content) -> str:
    """Return a line for each comparison."""
    records = [msgspec.to_builtins(one) for one in content.comparisons.pairs]
    names = list(content.comparisons.pairs[0].__dataclass_fields__) if records else ["task"]
    return _csv(names, ([record[name] for name in names] for record in records))


def items_csv(content: Content) -> str:
    """Return a line for each item: its value, or what people said of a pair and what the system predicted."""
    rows: list[Sequence[Any]] = []
    for result in content.results:
        rows += [[result.task, result.system, item, value, "", ""] for item, value in result.values.items()]
        pairs = zip(result.gold, result.predicted, strict=True)
        rows += [[result.task, result.system, str(place), "", *pair] for place, pair in enumerate(pairs)]
    return _csv(("task", "system", "item", "value", "gold", "predicted"), rows)


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write lines as RFC 4180 has them, but for line ends; None is an empty cell."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return file.getvalue()
