"""Texts of a collection's queries and passages by their ids, from files in MS MARCO's or BEIR's layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError
from retrieval.training.data.rows import read_rows, text_lines
from retrieval.training.data.text_store import TextStore

PACKED = r"(?:\.gz|\.zst)?"
"""How the name of a file that may be packed ends, as a regular expression."""


class CollectionTexts:
    """Looks up the texts of queries and passages; ids alone are in memory.

    Args:
        passages: their file, see `find_texts`.
        queries: their file.
        report: counts lines without id or text, and ids that have no text.
    """

    def __init__(self, passages: Path, queries: Path, report: ReadReport) -> None:
        self._report = report
        with ExitStack() as stack:
            self._passages = stack.enter_context(TextStore(read_texts(passages, report)))
            self._queries = stack.enter_context(TextStore(read_texts(queries, report)))
            self._open = stack.pop_all()

    def find(self, query: str, passages: Sequence[str], place: str) -> tuple[str, list[str]] | None:
        """Return the texts of a query and of passages; None where an id has none, which is counted.

        Args:
            query: id.
            passages: ids.
            place: "file:line" of the ids.
        """
        unknown = [text_id for text_id in passages if text_id not in self._passages]
        if query in self._queries and not unknown:
            return self._queries[query], [self._passages[text_id] for text_id in passages]
        missing = f"query {query!r}" if query not in self._queries else f"passage {unknown[0]!r}"
        self._report.skip(place, "id without a text", f"{missing} is not in the collection")
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._open.close()


def is_beir(folder: Path) -> bool:
    """Tell whether a folder is in BEIR's layout, with judgements in a folder of their own."""
    return (folder / "qrels").is_dir()


def find_texts(folder: Path, split: str) -> tuple[Path, Path]:
    """Return the files of a folder's passages and of a split's queries.

    Raises:
        TrainingDataError: one of them is missing.
    """
    if is_beir(folder):
        return needed_file(folder, ["corpus.jsonl"]), needed_file(folder, ["queries.jsonl"])
    return needed_file(folder, ["collection.tsv"]), needed_file(folder, [f"queries.{split}.tsv", "queries.tsv"])


def read_texts(path: Path, report: ReadReport) -> Iterator[tuple[str, str]]:
    """Yield ids and texts of a file of queries or passages; a BEIR passage's title stands before its text."""
    if ".jsonl" in path.suffixes:
        for number, row in read_rows(path, report):
            text_id, title, text = row.get("_id", row.get("id")), row.get("title"), row.get("text")
            full = " ".join(part.strip() for part in (title, text) if isinstance(part, str) and part.strip())
            if text_id is None or not full:
                report.skip(f"{path}:{number}", "no id or no text", "an object needs _id and text")
            else:
                yield str(text_id), full
        return
    for number, line in text_lines(path, report):
        text_id, tab, text = line.partition("\t")
        if not tab or not text.strip():
            report.skip(f"{path}:{number}", "no id or no text", "a line is an id, a tab and a text")
        else:
            yield text_id.strip(), text.strip()


def first_file(folder: Path, names: list[str]) -> Path | None:
    """Return the first file of these names that is there, packed or not; None where none is."""
    places = [folder / (name + packed) for name in names for packed in ("", ".gz", ".zst")]
    return next((place for place in places if place.is_file()), None)


def needed_file(folder: Path, names: list[str]) -> Path:
    """Return the first file of these names that is there; TrainingDataError where none is."""
    found = first_file(folder, names)
    if found is None:
        raise TrainingDataError(f"no {names[0]} (or .gz, .zst) in {folder}")
    return found
