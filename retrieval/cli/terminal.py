"""What the commands write: results to standard output, notes to standard error, and nothing that a terminal obeys.

Documents come from anywhere. An id or a title that holds control characters could move the cursor, change colours or
hide other lines, so everything passes through `visible` or `readable` before people see it. JSON escapes by itself.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType

# Control characters (C0, DEL, C1), line and paragraph separators, marks that reorder text (Unicode TR 9), and halves of
# surrogate pairs, by which Python carries bytes of the command line that are no text.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PIPE_WIDTH = 120
"""Columns where there is no terminal to ask."""


def visible(text: str) -> str:
    r"""Return text in one line with unsafe characters as escapes: `a\nb` for a line end, `\x1b` for Escape.

    Use it for what identifies something: ids, paths, error messages.
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def readable(text: str) -> str:
    """Return text of the same length with unsafe characters as spaces.

    Use it for prose: titles and snippets. Positions in the text stay what they are.
    """
    return _UNSAFE.sub(" ", text)


def write(text: str = "") -> None:
    """Write lines to standard output; the text must be `visible` or `readable` already."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Write a line for people to standard error."""
    sys.stderr.write(f"retrieval: {visible(text)}\n")
    sys.stderr.flush()


def write_json(content: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Write one JSON value to standard output; `indent=None` keeps it in one line, for JSON lines."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    write(json.dumps(content, ensure_ascii=encoding != "utf8", indent=indent, default=str))


def write_renderable(renderable: RenderableType) -> None:
    """Write something that `rich` renders."""
    console().print(renderable)


def console() -> Console:
    """Return a console for standard output that takes no text for markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(markup=False, emoji=False, highlight=False, width=width)


def shows_progress() -> bool:
    """Tell whether there is somebody to see a progress bar."""
    return sys.stderr.isatty()


def plural(count: int, noun: str) -> str:
    """Return "1 document", "2,000 documents"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(n_bytes: int) -> str:
    """Return a number of bytes as people read it: "12.3 MB" (powers of 1,000)."""
    amount = float(n_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def duration(seconds: float) -> str:
    """Return a time as people read it: "3.2 ms", "1.52 s", "12 min 5 s"."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
