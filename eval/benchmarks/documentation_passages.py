"""Passages cut from a folder of documents, such as the documentation that Debian's packages bring: /usr/share/doc.

Plain text and HTML, also gzipped, in the order of the paths. Change logs and copyright files are passed over: they
repeat one another. `apt-get install debian-reference-en linux-doc python3-doc` and the like make more of them.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

_KINDS = {".txt", ".text", ".rst", ".md", ".html", ".htm", ".xhtml", ""}
_REPETITIVE = ("changelog", "copyright", "news")
_LARGEST = 32 << 20  # bytes of one file, unpacked


def documentation_passages(folder: Path, n_words: int = 100, shortest: int = 20) -> Iterator[str]:
    """Yield passages of consecutive words, one file after the other.

    Args:
        folder: of documents.
        n_words: length of a passage; the last one of a file is shorter.
        shortest: shorter passages than this are dropped.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        words = _text_of(path).split()
        for first in range(0, len(words), n_words):
            passage = words[first : first + n_words]
            if len(passage) >= shortest:
                yield " ".join(passage)


def _text_of(path: Path) -> str:
    """Return a file's text; empty where it is none."""
    packed = path.suffix == ".gz"
    inner = path.with_suffix("") if packed else path
    kind = inner.suffix.lower()
    if kind not in _KINDS or inner.name.lower().startswith(_REPETITIVE):
        return ""
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(_LARGEST)
    except (OSError, EOFError, zlib.error):
        return ""
    if b"\0" in data:
        return ""
    text = data.decode("utf-8", errors="replace")
    if kind in (".html", ".htm", ".xhtml"):
        from retrieval.documents.html_text import html_to_text

        return " ".join(html_to_text(text))
    return text
