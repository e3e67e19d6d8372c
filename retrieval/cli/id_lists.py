"""Lists of document ids in files: JSON lines, because ids may hold spaces and line ends."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from retrieval.errors import DocumentError


def read_ids(path: str) -> list[str]:
    """Read a list of ids.

    Args:
        path: a file of JSON lines, each a string or an object with a string "id" (numbers are taken as text); "-" is
            standard input. Blank lines are skipped.

    Raises:
        DocumentError: there is no such file, or a line is none of these; file and line are named.
    """
    if path == "-":
        return _parse("standard input", sys.stdin.buffer)
    try:
        with Path(path).open("rb") as lines:
            return _parse(path, lines)
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror or error}") from None


def _parse(name: str, lines: Iterable[bytes]) -> list[str]:
    import msgspec

    ids = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            value = None
        if isinstance(value, dict):
            value = value.get("id")
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            shown = line.decode("utf-8", "backslashreplace").strip()[:80]
            raise DocumentError(f'{name}:{number}: not an id: {shown!r}; write "an id" in quotes or {{"id": "an id"}}')
        ids.append(value)
    return ids
