"""Text files of one record a line, plain or compressed, read with their line numbers for error messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eval.errors import EvaluationError
from retrieval.documents.report import ReadReport
from retrieval.documents.streams import read_lines
from retrieval.errors import DocumentError

ENDINGS = ("", ".gz", ".zst")


def find_file(path: Path) -> Path | None:
    """Return `path` or, where that does not exist, `path` with .gz or .zst appended; None where no such file is."""
    candidates = (path.with_name(path.name + ending) for ending in ENDINGS)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def numbered_lines(path: Path, error: type[EvaluationError]) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a text file, skipping blank lines.

    Only a line feed (with or without a carriage return) ends a line: other separators that Unicode knows may stand
    inside a text. A byte order mark is dropped; gzip and Zstandard are recognised by content. Unlike a corpus, whose
    faulty lines are counted, judgements and runs are read whole or not at all.

    Args:
        path: the file.
        error: class of the errors to raise.

    Raises:
        EvaluationError: of the given class; the file cannot be read, is not UTF-8, or is damaged.
    """
    try:
        for number, raw in read_lines(path, ReadReport(strict=True)):
            try:
                line = raw.decode().rstrip("\r\n")
            except UnicodeDecodeError as fault:
                raise error(f"{path}:{number}: not UTF-8 ({fault.reason} at byte {fault.start} of the line)") from None
            if line.strip():
                yield number, line
    except DocumentError as fault:
        raise error(str(fault)) from None


def ascii_columns(line: str) -> list[str]:
    """Return the columns of a line that are separated by white space of ASCII.

    Other spaces that Unicode knows, such as the no-break and the ideographic one, may stand inside an id; trec_eval
    takes no notice of them either.
    """
    return [column.decode() for column in line.encode().split()]
