"""The report as one web page: tables that can be sorted, charts, policies, provenance; nothing is fetched.

The tables are HTML. The charts are drawn as SVG by the page's own script from data in the page: they answer to a
choice of task and systems, which a picture made beforehand cannot, and weigh less than pictures of all choices. A
content security policy forbids every request, and every script but the page's own, whatever the data hold.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from string import Template

import msgspec

from eval.provenance import package_versions
from eval.reports import web_tables
from eval.reports.chart_data import MOST_PAIRS, chart_data
from eval.reports.content import Content
from eval.reports.legend import unlike
from eval.reports.markup import text
from eval.reports.policies import other_ties

_MOST_NAMED = 5
_UNSAFE = re.compile("[<>&\u2028\u2029]")


def web_page(content: Content) -> str:
    """Return the page."""
    style, script = _part("page.css"), _part("page.js")
    return (
        Template(_part("page.html")).substitute(
            title=text(content.title),
            policy=f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:; "
            "base-uri 'none'; form-action 'none'",
            style=style,
            script=script,
            data=_inlined(msgspec.json.encode(chart_data(content), enc_hook=str).decode()),
            summary=_summary(content),
            notices=_notices(content),
            scores=web_tables.scores_table(content),
            legend=_legend(content),
            **_section("comparisons", content.comparisons.pairs, web_tables.comparisons_table, content),
            **_section("references", content.references, web_tables.references_table, content),
            **_section("costs", content.costs, web_tables.costs_table, content),
            **_section("missing", content.missing, web_tables.missing_table, content),
            **_section("counts", any(result.counts for result in content.results), web_tables.counts_table, content),
            policies=web_tables.policies_list(content),
            methods=web_tables.facts(list(content.comparisons.describe().items())) if content.comparisons.pairs else "",
            provenance=web_tables.provenance_list(content),
            versions=text(", ".join(f"{name} {version}" for name, version in package_versions().items())),
        )
        + "\n"
    )


def _section(name: str, present: object, table: Callable[[Content], str], content: Content) -> dict[str, str]:
    """Return a section's table, and what hides the section where there is nothing to show."""
    return {name: table(content) if present else "", f"no_{name}": "" if present else " hidden"}


@cache
def _part(name: str) -> str:
    return resources.files("eval.reports").joinpath(name).read_text(encoding="utf-8").strip()


def _digest(content: str) -> str:
    """Return what a content security policy calls a piece of the page by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _inlined(json: str) -> str:
    """Return JSON that cannot end the element it stands in, whatever its texts hold."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", json)


def _summary(content: Content) -> str:
    n_items = sum(max(result.n_items for result in of_task.values()) for of_task in content.tasks.values())
    figures = [
        (f"{len(content.systems)}", "system" if len(content.systems) == 1 else "systems"),
        (f"{len(content.tasks)}", "task" if len(content.tasks) == 1 else "tasks"),
        (f"{n_items:,}", "queries, texts and pairs"),
    ]
    judged = [one.within for one in content.references if one.within is not None]
    if judged:
        figures.append((f"{sum(judged)} of {len(judged)}", "within tolerance of published figures"))
    tested = [one for one in content.comparisons.pairs if one.p is not None]
    if tested:
        beyond = sum(one.better(content.comparisons.alpha) is not None for one in tested)
        figures.append((f"{beyond} of {len(tested)}", "differences beyond chance"))
    return "".join(f"<li><b>{text(figure)}</b> {text(words)}</li>" for figure, words in figures)


def _notices(content: Content) -> str:
    """Return what must not be overlooked."""
    notices = list(unlike(content, str))
    outside = [f"{one.result.system} on {one.result.task}" for one in content.references if one.within is False]
    if outside:
        named = ", ".join(outside[:_MOST_NAMED])
        more = f" and {len(outside) - _MOST_NAMED} more" if len(outside) > _MOST_NAMED else ""
        notices.append(f"Outside the tolerance of the published figure: {named}{more}.")
    by_item = sum(one.wins is not None for one in content.comparisons.pairs)
    if by_item > MOST_PAIRS:
        notices.append(
            f"Only the first {MOST_PAIRS} of {by_item:,} comparisons are shown by item; JSON and CSV have all."
        )
    return "".join(f'<p class="notice">{text(notice)}</p>' for notice in notices)


def _legend(content: Content) -> str:
    parts = []
    if len(content.systems) > 1:
        parts.append("Bold: best of the task.")
    if content.comparisons.pairs:
        correction = content.comparisons.describe()["correction"]
        parts.append(f"Raised letters: the systems that this one beats beyond chance ({correction}).")
    if content.references:
        parts.append("Small print: distance from the published figure.")
    if any(other_ties(result) is not None for result in content.results):
        parts.append("Other ties: the score if equal scores of documents stood in the other order (see ties, below).")
    return text(" ".join(parts))
