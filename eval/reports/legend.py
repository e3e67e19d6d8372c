"""What readers of a table of scores have to know: its marks, the other reading of ties, and what does not compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from eval.reports import figures
from eval.reports.content import Content
from eval.reports.policies import other_ties

Shown = Callable[[str], str]
"""From a name or sentence to what a format can show of it."""


def legend(content: Content, shown: Shown) -> Iterator[str]:
    """Yield what explains a table of scores.

    Args:
        content: of the report.
        shown: escapes names and sentences for the format.
    """
    if content.comparisons.pairs:
        correction = shown(content.comparisons.describe()["correction"])
        yield f"Bold: best. Raised letters: systems that this one beats beyond chance ({correction})."
    tied = [
        f"{shown(result.system)} on {shown(result.task)} {figures.score(value)}"
        for result in content.results
        if (value := other_ties(result)) is not None
    ]
    if tied:
        yield f"With equal scores in the other order (see ties): {', '.join(tied)}."


def unlike(content: Content, shown: Shown) -> Iterator[str]:
    """Yield a warning where systems were measured on a task under different policies; nothing elsewhere."""
    if content.unlike_policies:
        tasks = ", ".join(map(shown, content.unlike_policies))
        yield f"Systems were measured under different policies on {tasks}: these scores do not compare."
