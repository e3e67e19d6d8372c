"""What probes read: scored pairs with their subsets, texts by language, and summaries with ratings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from eval.errors import MissingDataError, TaskError
from eval.scored_pairs import ScoredPairs
from eval.tasks.tables import Table, finite_number, read_table
from eval.text_files import numbered_lines

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


def read_subsets(path: Path, column: str = "") -> list[ScoredPairs]:
    """Read pairs with scores from 0 to 5, one set for each value of a column, in the order they appear.

    Args:
        path: TSV or JSON lines with score, sentence1 and sentence2 (see `eval.tasks.tables`).
        column: which names the subsets ("source" in STS 2012 to 2016); without one all pairs are one set.

    Returns:
        The sets, their scores divided by 5.

    Raises:
        TaskError: the file cannot be read, lacks a column, holds no pair, or a score is not 0 to 5.
    """
    table = read_table(path, ("score", "sentence1", "sentence2", column))
    first, second, scores = _texts(table, "sentence1"), _texts(table, "sentence2"), table.numbers("score")
    names = [str(name) for name in table.columns[column]] if column else [path.name.partition(".")[0]] * len(table)
    rows_of: dict[str, list[int]] = {}
    for row, (name, score) in enumerate(zip(names, scores, strict=True)):
        if not 0 <= score <= LARGEST_SCORE:
            raise TaskError(f"{table.where(row)}: score {score:g} is not between 0 and {LARGEST_SCORE:g}")
        rows_of.setdefault(name, []).append(row)
    gold = np.array(scores) / LARGEST_SCORE
    return [
        ScoredPairs(name, [first[row] for row in rows], [second[row] for row in rows], gold[rows])
        for name, rows in rows_of.items()
    ]


def read_sts_years(folder: Path) -> dict[str, list[ScoredPairs]]:
    """Read every `stsYY.test.tsv.gz` (plain or compressed) of a folder by its subsets, by year ("STS12").

    Raises:
        TaskError: there is none, or one cannot be read.
    """
    files = _named_files(folder, r"sts(\d\d)\.test\.tsv")
    if not files:
        raise MissingDataError(f"no stsYY.test.tsv (or .gz, .zst) in {folder}")
    return {f"STS{year}": read_subsets(file, "source") for year, file in files.items()}


def read_languages(folder: Path, most: int | None = None) -> dict[str, list[str]]:
    """Read texts by language: `corpus.<language>.jsonl` (XQuAD), or `<language>-eng.tsv` with sentence1 (Tatoeba).

    English stands in the latter as sentence2; its texts are those beside the first language.

    Args:
        folder: with such files, plain or compressed.
        most: texts of each language that are taken, from the beginning.

    Raises:
        TaskError: there is no such file, or one cannot be read.
    """
    corpora = _named_files(folder, r"corpus\.([^.]+)\.jsonl")
    if corpora:
        return {language: _column(file, "text", most) for language, file in corpora.items()}
    pairs = _named_files(folder, r"(\w+)-eng\.tsv")
    if not pairs:
        raise MissingDataError(f"no corpus.<language>.jsonl and no <language>-eng.tsv (or .gz, .zst) in {folder}")
    first = next(iter(pairs.values()))
    return {
        "eng": _column(first, "sentence2", most),
        **{language: _column(file, "sentence1", most) for language, file in pairs.items()},
    }


def read_texts(path: Path, most: int | None = None) -> list[str]:
    """Read the texts of a file: lines of .txt, or the column or key "text" of TSV or JSON lines.

    Raises:
        TaskError: the file cannot be read, or holds no texts.
    """
    if ".txt" not in path.suffixes:
        return _column(path, "text", most)
    lines = [line for _, line in islice(numbered_lines(path, TaskError), most)]
    if not lines:
        raise TaskError(f"{path} holds no texts")
    return lines


def read_rated_summaries(path: Path, most: int | None = None) -> list[RatedSummaries]:
    """Read SummEval's layout: JSON lines with human_summaries and machine_summaries (text and ratings).

    Args:
        path: the file, plain or compressed.
        most: articles that are taken, from the beginning.

    Raises:
        TaskError: the file cannot be read, or lacks something.
    """
    table = read_table(path, ("human_summaries", "machine_summaries"))
    articles = []
    for row in range(min(len(table), most or len(table))):
        where = table.where(row)
        references, machine = table.columns["human_summaries"][row], table.columns["machine_summaries"][row]
        if not isinstance(machine, list) or not all(isinstance(each, dict) for each in machine):
            raise TaskError(f"{where}: machine_summaries must be a list of objects with text and ratings")
        if not isinstance(references, list):
            raise TaskError(f"{where}: human_summaries must be a list of texts")
        articles.append(
            RatedSummaries(
                name=where,
                references=[_text(text, "human_summaries", where) for text in references],
                candidates=[_text(each.get("text"), "machine_summaries", where) for each in machine],
                ratings={
                    rating: np.array([finite_number(each.get(rating), rating, where) for each in machine])
                    for rating in RATINGS
                },
            )
        )
    return articles


def _column(path: Path, name: str, most: int | None) -> list[str]:
    return _texts(read_table(path, (name,)), name)[:most]


def _texts(table: Table, name: str) -> list[str]:
    return [_text(value, name, table.where(row)) for row, value in enumerate(table.columns[name])]


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TaskError(f"{where}: {name} is {value!r:.80}, not a text")
    return value


def _named_files(folder: Path, pattern: str) -> dict[str, Path]:
    """Return the files whose names match (apart from .gz and .zst), by what the pattern's group holds."""
    if not folder.is_dir():
        raise MissingDataError(f"no folder {folder}")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        match = re.fullmatch(pattern + r"(?:\.gz|\.zst)?", file.name)
        if match and file.is_file():
            found.setdefault(match[1], file)
    return found
