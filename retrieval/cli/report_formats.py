"""The option `--format` of the commands that write reports."""

from __future__ import annotations

from collections.abc import Iterable

ALL_FORMATS = "table,json,csv,latex,markdown,html"
"""As the help of these commands lists them, which must not import the reports."""


def parse_formats(text: str, known: Iterable[str]) -> list[str]:
    """Return the formats that a text names, with commas between them, each once.

    Raises:
        ReportError: it names none, or one that there is not.
    """
    from eval.errors import ReportError

    formats = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not formats or not set(formats) <= set(known):
        raise ReportError(f"--format {text!r}: one or more of {','.join(known)}, with commas between them")
    return formats
