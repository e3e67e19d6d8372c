"""Test sets: a corpus, queries and judgements in a folder, in BEIR's or MS MARCO's layout.

BEIR: `corpus.jsonl`, `queries.jsonl`, `qrels/<split>.tsv`; a multilingual set has `corpus.<language>.jsonl` and
`queries.<language>.jsonl`. MS MARCO: `collection.tsv`, `queries.<split>.tsv`, `qrels.<split>.tsv`, or the latter two
without a split. Every file may be compressed by gzip or Zstandard. "ir_datasets:NAME" instead of a folder is a data set
of the optional package ir_datasets, see `eval.ir_datasets_testset`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from eval.errors import TestSetError
from eval.qrels import read_qrels
from eval.text_files import find_file, numbered_lines
from retrieval.documents.ir_datasets_source import PREFIX

if TYPE_CHECKING:
    from retrieval.documents import DocumentReader

_WHOLE = "all"  # the split of a folder that has only one, without a name


@dataclass(frozen=True)
class TestSet:
    """What a collection is measured with.

    Attributes:
        name: of the folder.
        split: which of its judgements.
        queries: text by query id, of the judged queries only, in the order of the judgements.
        qrels: grade by document id by query id.
        corpus: the documents, read anew each time it is iterated; None where the folder holds none.
        language: of a multilingual set.
        queries_without_text: ids that are judged but not among the queries; they count, as missing.
        files: that it was read from, and that its documents are read from; empty where it is not made of files.
    """

    __test__: ClassVar[bool] = False  # pytest takes classes called Test... for tests

    name: str
    split: str
    queries: Mapping[str, str] = field(repr=False)
    qrels: Mapping[str, Mapping[str, int]] = field(repr=False)
    corpus: DocumentReader | None = field(default=None, repr=False)
    language: str | None = None
    queries_without_text: tuple[str, ...] = ()
    files: TestSetFiles | None = None


@dataclass(frozen=True)
class TestSetFiles:
    """Where a test set lies.

    Attributes:
        queries: texts by id.
        qrels: judgements of the split.
        split: which judgements these are.
        corpus: the documents; None where the folder holds none.
        corpus_format: how to read them, as `retrieval.documents.read_documents` calls it.
    """

    __test__: ClassVar[bool] = False

    queries: Path
    qrels: Path
    split: str
    corpus: Path | None
    corpus_format: str

    def __iter__(self) -> Iterator[Path]:
        """Yield the files that there are."""
        yield from (file for file in (self.qrels, self.queries, self.corpus) if file is not None)


def read_testset(path: str | Path, split: str | None = None, language: str | None = None) -> TestSet:
    """Read the queries and judgements of a test set; its documents stream later, from `TestSet.corpus`.

    Args:
        path: the folder, whose layout is recognised; or "ir_datasets:NAME".
        split: which judgements; None takes "test", or else the only one there is.
        language: of a folder with files for several languages.

    Raises:
        TestSetError: the folder, the split, the language or a file is missing (those found are listed), a line cannot
            be read (file and line are named), or no judged query has a text.
        MissingExtraError: ir_datasets is not installed.
    """
    if str(path).startswith(PREFIX):
        from eval.ir_datasets_testset import read_ir_datasets_testset

        return read_ir_datasets_testset(str(path).removeprefix(PREFIX), split, language)
    path = Path(path)
    files = find_testset(path, split, language)
    qrels = read_qrels(files.qrels)
    texts = read_queries(files.queries)
    if not any(query_id in texts for query_id in qrels):
        raise TestSetError(
            f"none of the {len(qrels):,} judged queries of {files.qrels} (the first is {next(iter(qrels))!r}) is among "
            f"the {len(texts):,} queries of {files.queries}; do these files belong together?"
        )
    return TestSet(
        name=path.resolve().name,
        split=files.split,
        queries={query_id: texts[query_id] for query_id in qrels if query_id in texts},
        qrels=qrels,
        corpus=_open_corpus(files),
        language=language,
        queries_without_text=tuple(query_id for query_id in qrels if query_id not in texts),
        files=files,
    )


def find_testset(path: str | Path, split: str | None = None, language: str | None = None) -> TestSetFiles:
    """Find the files of a test set; nothing is read yet. Arguments are those of `read_testset`.

    Raises:
        TestSetError: the folder, the split, the language or a file is missing; those found are listed.
    """
    path = Path(path)
    try:
        return _find_files(path, split, language)
    except OSError as fault:
        raise TestSetError(f"cannot read {path}: {fault.strerror or fault}") from None


def _find_files(path: Path, split: str | None, language: str | None) -> TestSetFiles:
    if not path.is_dir():
        raise TestSetError(f"no folder {path}: a test set is a folder in BEIR's or MS MARCO's layout")
    if (path / "qrels").is_dir():
        return _beir_files(path, split, language)
    if _names(path, r"qrels(?:\.(.+))?\.tsv"):
        if language is not None:
            raise TestSetError(f"{path} is in MS MARCO's layout, which has no languages; leave {language!r} out")
        return _msmarco_files(path, split)
    raise TestSetError(f"no judgements in {path}: neither qrels/<split>.tsv (BEIR) nor qrels.<split>.tsv (MS MARCO)")


def read_queries(path: str | Path) -> dict[str, str]:
    """Read query texts by id: JSON lines with `_id` (or `id`) and `text`, or two columns separated by a tab.

    Raises:
        TestSetError: the file cannot be read, a line has not what it needs, or an id has two texts.
    """
    path = Path(path)
    as_json = ".jsonl" in path.suffixes
    queries: dict[str, str] = {}
    for number, line in numbered_lines(path, TestSetError):
        query_id, text = _json_query(line) if as_json else _tab_query(line)
        if not query_id or text is None:
            needed = 'an object with "_id" and "text"' if as_json else "an id, a tab and a text"
            raise TestSetError(f"{path}:{number}: not a query ({needed}): {line[:80]!r}")
        if queries.setdefault(query_id, text) != text:
            raise TestSetError(f"{path}:{number}: query {query_id!r} had another text in an earlier line")
    return queries


def _beir_files(path: Path, split: str | None, language: str | None) -> TestSetFiles:
    splits = _names(path / "qrels", r"(.+)\.tsv")
    chosen = _choose_split(path, splits, split)
    languages = _names(path, r"queries\.([^.]+)\.jsonl")
    if language is not None and language not in languages:
        known = f"it has {', '.join(languages)}" if languages else "it is not divided by language"
        raise TestSetError(f"{path} has no queries in language {language!r}; {known}")
    stem = f".{language}" if language else ""
    queries = find_file(path / f"queries{stem}.jsonl")
    if queries is None:
        if languages:
            raise TestSetError(f"{path} has queries in several languages; name one of {', '.join(languages)}")
        raise TestSetError(f"no queries.jsonl (or .gz, .zst) in {path}")
    # A corpus for one language is a JSON lines file like any other; the folder as a whole is BEIR's.
    corpus = find_file(path / f"corpus{stem}.jsonl")
    return TestSetFiles(queries, splits[chosen], chosen, corpus, corpus_format="jsonl")


def _msmarco_files(path: Path, split: str | None) -> TestSetFiles:
    splits = _names(path, r"qrels(?:\.(.+))?\.tsv")
    chosen = _choose_split(path, splits, split)
    queries = find_file(path / f"queries.{chosen}.tsv") or find_file(path / "queries.tsv")
    if queries is None:
        raise TestSetError(f"no queries.{chosen}.tsv or queries.tsv in {path}")
    return TestSetFiles(queries, splits[chosen], chosen, find_file(path / "collection.tsv"), corpus_format="msmarco")


def _names(folder: Path, pattern: str) -> dict[str, Path]:
    """Return the files whose names match (apart from .gz and .zst), by what the pattern's group holds."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        match = re.fullmatch(pattern + r"(?:\.gz|\.zst)?", file.name)
        if match and file.is_file():
            found.setdefault(match[1] or _WHOLE, file)
    return found


def _choose_split(path: Path, splits: Mapping[str, Path], split: str | None) -> str:
    if split is None:
        if "test" in splits:
            return "test"
        if len(splits) == 1:
            return next(iter(splits))
    elif split in splits:
        return split
    fact = "has no judgements for a split 'test'" if split is None else f"has no judgements for split {split!r}"
    known = f"name one of {', '.join(splits)}" if splits else "it has none at all"
    raise TestSetError(f"{path} {fact}; {known}")


def _open_corpus(files: TestSetFiles) -> DocumentReader | None:
    if files.corpus is None:
        return None
    from retrieval.documents import read_documents

    return read_documents(files.corpus, format=files.corpus_format)


def _json_query(line: str) -> tuple[str, str | None]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return "", None
    if not isinstance(row, dict):
        return "", None
    query_id, text = row.get("_id", row.get("id", "")), row.get("text")
    known = isinstance(query_id, (str, int)) and not isinstance(query_id, bool)
    return str(query_id) if known else "", text if isinstance(text, str) else None


def _tab_query(line: str) -> tuple[str, str | None]:
    query_id, tab, text = line.partition("\t")
    return query_id.strip(), text.strip() if tab else None
