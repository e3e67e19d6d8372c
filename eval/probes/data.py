"""What probes read: scored pairs with their subsets, texts by language, and summaries with ratings."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from eval.errors import TestSetError
from eval.experiments.similarity import ScoredPairs
from retrieval.documents.report import ReadReport
from retrieval.errors import RetrievalError
from retrieval.training.data.rows import read_rows

LARGEST_SCORE = 5.0
"""Of a pair in STS: the sentences mean the same."""

RATINGS = ("coherence", "consistency", "fluency", "relevance")
"""What people rated of each summary in SummEval (Fabbri et al. 2021, arXiv 2007.12626)."""


@dataclass(frozen=True)
class RatedSummaries:
    """Summaries of one article.

    Attributes:
        name: of the article.
        references: people's summaries.
        candidates: systems' summaries.
        ratings: of each candidate, (n_candidates,), by what was rated.
    """

    name: str
    references: list[str]
    candidates: list[str]
    ratings: dict[str, np.ndarray]


def read_subsets(path: Path, column: str | None = None) -> list[ScoredPairs]:
    """Read pairs with scores from 0 to 5, one set for each value of a column, in the order they appear.

    Args:
        path: a file with the columns score, sentence1 and sentence2 (see `retrieval.training.data.rows`).
        column: which names the subsets ("source" in STS 2012 to 2016); None takes all pairs as one set.

    Returns:
        The sets, their scores divided by 5.

    Raises:
        TestSetError: the file cannot be read, lacks a column, holds no pair, or a score is not 0 to 5.
    """
    wanted = ["score", "sentence1", "sentence2", *([column] if column else [])]
    found: dict[str, tuple[list[str], list[str], list[float]]] = {}
    for where, row in _rows(path, wanted):
        score = _number(row["score"], where, "score")
        if not 0 <= score <= LARGEST_SCORE:
            raise TestSetError(f"{where}: score {score:g} is not between 0 and {LARGEST_SCORE:g}")
        name = str(row[column]) if column else path.name.partition(".")[0]
        first, second, gold = found.setdefault(name, ([], [], []))
        first.append(_text(row["sentence1"], where, "sentence1"))
        second.append(_text(row["sentence2"], where, "sentence2"))
        gold.append(score / LARGEST_SCORE)
    return [ScoredPairs(name, first, second, np.array(gold)) for name, (first, second, gold) in found.items()]


def read_sts_years(folder: Path) -> dict[str, list[ScoredPairs]]:
    """Read every `stsYY.test.tsv.gz` (plain or compressed) of a folder by its subsets, by year ("STS12").

    Raises:
        TestSetError: there is none, or one cannot be read.
    """
    files = _named_files(folder, r"sts(\d\d)\.test\.tsv")
    if not files:
        raise TestSetError(f"no stsYY.test.tsv (or .gz, .zst) in {folder}")
    return {f"STS{year}": read_subsets(file, "source") for year, file in files.items()}


def read_languages(folder: Path, most: int | None = None) -> dict[str, list[str]]:
    """Read texts by language: `corpus.<language>.jsonl` (XQuAD), or `<language>-eng.tsv` with sentence1 (Tatoeba).

    English stands in the latter as sentence2; its texts are those beside the first language.

    Args:
        folder: with such files, plain or compressed.
        most: texts of each language that are read, from the beginning.

    Raises:
        TestSetError: there is no such file, or one cannot be read.
    """
    corpora = _named_files(folder, r"corpus\.([^.]+)\.jsonl")
    if corpora:
        return {language: _column(file, "text", most) for language, file in corpora.items()}
    pairs = _named_files(folder, r"(\w+)-eng\.tsv")
    if not pairs:
        raise TestSetError(f"no corpus.<language>.jsonl and no <language>-eng.tsv (or .gz, .zst) in {folder}")
    first = next(iter(pairs.values()))
    return {
        "eng": _column(first, "sentence2", most),
        **{language: _column(file, "sentence1", most) for language, file in pairs.items()},
    }


def read_texts(path: Path, most: int | None = None) -> list[str]:
    """Read the texts of a file: lines of .txt, or the column or key "text" of .tsv, .csv, .jsonl or .parquet.

    Raises:
        TestSetError: the file cannot be read, or holds no texts.
    """
    return _column(path, "text", most)


def read_rated_summaries(path: Path, most: int | None = None) -> list[RatedSummaries]:
    """Read SummEval's layout: JSON lines with human_summaries and machine_summaries (text and ratings).

    Args:
        path: the file, plain or compressed.
        most: articles that are read, from the beginning.

    Raises:
        TestSetError: the file cannot be read, or lacks something.
    """
    articles = []
    for number, (where, row) in enumerate(_rows(path, ["human_summaries", "machine_summaries"], most)):
        machine = row["machine_summaries"]
        if not isinstance(machine, list) or not all(isinstance(each, dict) for each in machine):
            raise TestSetError(f"{where}: machine_summaries must be a list of objects with text and ratings")
        references = row["human_summaries"]
        if not isinstance(references, list):
            raise TestSetError(f"{where}: human_summaries must be a list of texts")
        articles.append(
            RatedSummaries(
                name=str(row.get("_id", number)),
                references=[_text(text, where, "human_summaries") for text in references],
                candidates=[_text(each.get("text"), where, "machine_summaries") for each in machine],
                ratings={
                    rating: np.array([_number(each.get(rating), where, rating) for each in machine])
                    for rating in RATINGS
                },
            )
        )
    return articles


def _rows(path: Path, wanted: Sequence[str], most: int | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Return ("file:line", row) of a file's rows, all of them or the first."""
    try:
        found = list(islice(read_rows(path, ReadReport(strict=True)), most))
    except RetrievalError as error:
        raise TestSetError(str(error)) from None
    if not found:
        raise TestSetError(f"{path} holds no rows")
    for number, row in found:
        missing = next((name for name in wanted if name not in row), None)
        if missing is not None:
            raise TestSetError(f"{path}:{number}: there is no {missing!r}; there are {', '.join(row)}")
    return [(f"{path}:{number}", row) for number, row in found]


def _column(path: Path, name: str, most: int | None) -> list[str]:
    return [_text(row[name], where, name) for where, row in _rows(path, [name], most)]


def _text(value: Any, where: str, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TestSetError(f"{where}: {name} is {value!r:.80}, not a text")
    return value


def _number(value: Any, where: str, name: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise TestSetError(f"{where}: {name} is {value!r:.80}, not a finite number")
    return number


def _named_files(folder: Path, pattern: str) -> dict[str, Path]:
    """Return the files whose names match (apart from .gz and .zst), by what the pattern's group holds."""
    if not folder.is_dir():
        raise TestSetError(f"no folder {folder}")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        match = re.fullmatch(pattern + r"(?:\.gz|\.zst)?", file.name)
        if match and file.is_file():
            found.setdefault(match[1], file)
    return found
