"""The report as LaTeX: tables for a paper to take in, by the packages booktabs and graphicx."""

from __future__ import annotations

import unicodedata

from eval.reports import figures
from eval.reports.content import Content, highest

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": r"{-}",  # two of them would be one dash
    "[": "{[}",  # behind a line's end it would be an option
    "]": "{]}",
    "*": "{*}",
    "−": r"\textminus{}",
    "–": "--",
    "…": r"\ldots{}",
}
_LATIN = "LATIN "


def escape(text: str) -> str:
    """Return text that LaTeX prints as it is; what a page could not show becomes a space."""
    return "".join(_ESCAPED.get(character, character) for character in figures.shown(text))


def latex_report(content: Content) -> str:
    """Return the tables of scores, published figures and comparisons."""
    tables = [_scores(content)]
    if content.references:
        tables.append(_references(content))
    if content.comparisons.pairs:
        tables.append(_comparisons(content))
    body = "\n\n".join(tables)
    head = "% \\usepackage[T1]{fontenc} \\usepackage{textcomp} \\usepackage{booktabs} \\usepackage{graphicx}\n"
    if any(ord(one) > 127 and not unicodedata.name(one, "").startswith(_LATIN) for one in body):
        head += "% There are letters of other scripts: compile with lualatex or xelatex and a font that has them.\n"
    return f"{head}\n{body}\n"


def _tabular(columns: str, lines: list[str], caption: str) -> str:
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def _row(*cells: str) -> str:
    return " & ".join(cells) + r" \\"


def _scores(content: Content) -> str:
    heads = [rf"{escape(name)} \textsuperscript{{{content.letters[name]}}}" for name in content.systems]
    lines = [_row("Task", "Score", *heads), r"\midrule"]
    for task, of_task in content.tasks.items():
        cells = [_cell(content, task, name) if name in of_task else "--" for name in content.systems]
        lines.append(_row(escape(task), escape(content.score_name(task)), *cells))
    if content.means:
        lines.append(r"\midrule")
    for mean in content.means:
        best = highest(mean.scores)
        cells = [_bold(figures.score(value), yes=name in best) for name, value in mean.scores.items()]
        lines.append(_row(escape(f"{mean.name} ({mean.note})" if mean.note else mean.name), "", *cells))
    caption = "Main scores; best in bold."
    if content.comparisons.pairs:
        correction = escape(content.comparisons.describe()["correction"])
        caption += f" Raised letters: systems that this one beats beyond chance ({correction})."
    return _tabular("ll" + "r" * len(content.systems), lines, caption)


def _cell(content: Content, task: str, system: str) -> str:
    value = _bold(figures.score(content.tasks[task][system].score), yes=content.is_best(task, system))
    marks = content.marks(task, system)
    return rf"{value}\textsuperscript{{{marks}}}" if marks else value


def _bold(text: str, *, yes: bool) -> str:
    return rf"\textbf{{{text}}}" if yes else text


def _references(content: Content) -> str:
    lines = [_row("Task", "System", "Measured", "Published", "Difference", "Tolerance", "Source"), r"\midrule"]
    for one in content.references:
        tolerance = "" if one.reference.tolerance is None else rf"$\pm${one.reference.tolerance:g}"
        lines.append(
            _row(
                escape(one.result.task),
                escape(one.result.system),
                figures.score(one.result.score),
                figures.score(one.reference.value),
                _number(figures.signed(one.difference)) + (" (outside)" if one.within is False else ""),
                tolerance,
                escape(one.reference.source),
            )
        )
    return _tabular("llrrrrl", lines, "Beside published figures.")


def _comparisons(content: Content) -> str:
    lines = [
        _row("Task", "First", "Second", "Difference", r"95\,\% interval", "$p$", "Holm", "$d_z$", "W/T/L"),
        r"\midrule",
    ]
    for one in content.comparisons.pairs:
        record = "" if one.wins is None else f"{one.wins}/{one.ties}/{one.losses}"
        lines.append(
            _row(
                escape(one.task),
                escape(one.first),
                escape(one.second),
                _number(figures.signed(one.difference)),
                "" if one.low is None or one.high is None else f"$[{one.low:+.4f}, {one.high:+.4f}]$",
                _number(figures.probability(one.p)),
                _number(figures.probability(one.p_adjusted)),
                "" if one.d_z is None else f"${one.d_z:+.2f}$",
                record,
            )
        )
    methods = " ".join(f"{escape(name)}: {escape(text)}." for name, text in content.comparisons.describe().items())
    return _tabular("lllrrrrrr", lines, f"Second minus first. {methods}")


def _number(text: str) -> str:
    return f"${text}$" if text else ""
