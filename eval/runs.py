"""TREC run files: the rankings of a run as text, one document a line, readable by every evaluation tool.

A line is `query-id Q0 document-id rank score tag`, separated by white space. trec_eval takes no notice of the rank: it
sorts by score, in 32-bit floats, and breaks ties by document id. Scores are therefore written so that they fall
strictly in that precision, and the order of the run is the order that any tool reads.

MS MARCO's own run files have a line `query-id, passage-id, rank`, separated by tabs, and no scores.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np

from eval.errors import RunError
from eval.measures import Ranking, Run
from eval.text_files import ascii_columns, numbered_lines
from indexes.file_operations import sync
from indexes.storage import replace_file
from retrieval.documents.json_values import is_encodable

_LOGGER = logging.getLogger(__name__)

_ASCII_SPACE = " \t\n\r\x0b\x0c"
"""Other spaces may stand inside an id."""


def write_run(path: str | Path, run: Run, tag: str = "retrieval", exact_scores: bool = False) -> None:
    """Write a run file, gzipped where the name ends in .gz; the file is there whole or not at all.

    Args:
        path: the file, replaced if it exists.
        run: rankings by query id, best first; an empty ranking leaves no line.
        tag: name of the run, the last column.
        exact_scores: write scores as they are (float64, ties and all) instead of moving equal ones down by the
            smallest 32-bit step; trec_eval may then see another order than the run's.

    Raises:
        RunError: an id or the tag is empty or holds white space, which the format cannot carry; a score is not finite;
            or the folder cannot be written to.
    """
    path = Path(path)
    _check_column("the tag", tag)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as raw:
            if path.suffix == ".gz":
                # Without a name and time of its own, equal runs make equal files.
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                    _write_lines(cast(IO[bytes], packed), run, tag, exact_scores)
            else:
                _write_lines(raw, run, tag, exact_scores)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as fault:
        raise RunError(f"cannot write {path}: {fault.strerror or fault}") from None
    finally:
        with contextlib.suppress(OSError):  # what could not be made cannot be removed
            temporary.unlink(missing_ok=True)


def read_run(path: str | Path) -> dict[str, Ranking]:
    """Read a run file, plain or compressed: rankings by query id, best first.

    Documents are ordered by score, highest first; equal scores by the rank column, then by line. Ranks that
    contradict the scores are not followed, as in trec_eval; a warning says of how many queries they do.

    Raises:
        RunError: the file cannot be read, or a line has not six columns, a rank or score that is no number, or a
            document that its query had already; the message names file and line.
    """
    path = Path(path)
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for number, line in numbered_lines(path, RunError):
        columns = ascii_columns(line)
        if len(columns) != 6:
            raise RunError(f"{path}:{number}: {len(columns)} columns instead of 6 (query Q0 document rank score tag)")
        query_id, _, document_id, rank, score, _ = columns
        ranking = found.setdefault(query_id, {})
        if document_id in ranking:
            raise RunError(f"{path}:{number}: document {document_id!r} is twice in the ranking of query {query_id!r}")
        try:
            ranking[document_id] = (float(score), int(rank))
        except ValueError:
            raise RunError(f"{path}:{number}: rank {rank!r} or score {score!r} is not a number") from None
        if not math.isfinite(ranking[document_id][0]):
            raise RunError(f"{path}:{number}: the score is {score}")
    run: dict[str, Ranking] = {}
    contradicted = 0
    for query_id, places in found.items():
        ordered = sorted(places.items(), key=lambda item: (-item[1][0], item[1][1]))
        ranks = [rank for _, (_, rank) in ordered]
        contradicted += any(later <= earlier for earlier, later in itertools.pairwise(ranks))
        run[query_id] = [(document_id, score) for document_id, (score, _) in ordered]
    if contradicted:
        _LOGGER.warning(
            "%s: the ranks of %d of %d queries repeat or contradict the scores; scores decide, then ranks, then lines",
            path,
            contradicted,
            len(run),
        )
    return run


def read_msmarco_run(path: str | Path) -> dict[str, Ranking]:
    """Read a run file of MS MARCO, plain or compressed: rankings by query id, best first; a score is -rank.

    Lines have a query, a passage and its rank from 1; where no line has a rank, lines are in the order of the ranks.

    Raises:
        RunError: the file cannot be read, or a line has not two or three columns or another number of them than the
            line before, a rank that is no whole number of at least 1, or a rank or passage that its query had already;
            the message names file and line.
    """
    path = Path(path)
    run: dict[str, dict[str, int]] = {}
    taken: dict[str, set[int]] = {}
    width = 0
    for number, line in numbered_lines(path, RunError):
        columns = line.split("\t")
        width = width or len(columns)
        if len(columns) not in (2, 3) or len(columns) != width:
            raise RunError(f"{path}:{number}: {len(columns)} columns instead of {width} (query, passage and rank)")
        query_id, passage_id = columns[0].strip(_ASCII_SPACE), columns[1].strip(_ASCII_SPACE)
        ranking, ranks = run.setdefault(query_id, {}), taken.setdefault(query_id, set())
        rank = _rank(columns[2]) if width == 3 else len(ranking) + 1
        if rank is None:
            raise RunError(f"{path}:{number}: the rank {columns[2]!r} is not a whole number of at least 1")
        for what, value, there in (("passage", passage_id, passage_id in ranking), ("rank", rank, rank in ranks)):
            if there:
                raise RunError(f"{path}:{number}: {what} {value!r} is twice in the ranking of query {query_id!r}")
        ranking[passage_id] = rank
        ranks.add(rank)
    return {
        query_id: [(name, float(-rank)) for name, rank in sorted(ranking.items(), key=lambda item: item[1])]
        for query_id, ranking in run.items()
    }


def write_msmarco_run(path: str | Path, run: Run) -> None:
    """Write a run file as MS MARCO's evaluation reads it; the file is there whole or not at all.

    Args:
        path: the file, replaced if it exists.
        run: rankings by query id, best first.

    Raises:
        RunError: an id is empty or holds white space, or the folder cannot be written to.
    """
    path = Path(path)
    lines: list[str] = []
    for query_id, ranking in run.items():
        _check_column("query id", query_id)
        for rank, (passage_id, _) in enumerate(ranking, start=1):
            _check_column("passage id", passage_id)
            lines.append(f"{query_id}\t{passage_id}\t{rank}\n")
    try:
        replace_file(path, "".join(lines).encode())
    except OSError as fault:
        raise RunError(f"cannot write {path}: {fault.strerror or fault}") from None


def _rank(text: str) -> int | None:
    try:
        rank = int(text)
    except ValueError:
        return None
    return rank if rank >= 1 else None


def _write_lines(file: IO[bytes], run: Run, tag: str, exact_scores: bool) -> None:
    for query_id, ranking in run.items():
        _check_column("query id", query_id)
        exact = map(repr, (float(score) for _, score in ranking))
        # str gives the shortest text that reads as this float32.
        texts = exact if exact_scores else map(str, falling_scores(query_id, ranking))
        for rank, ((document_id, score), text) in enumerate(zip(ranking, texts, strict=True), start=1):
            _check_column("document id", document_id)
            if not math.isfinite(score):
                raise RunError(f"query {query_id!r}: document {document_id!r} has the score {score}")
            file.write(f"{query_id} Q0 {document_id} {rank} {text} {tag}\n".encode())


def falling_scores(query_id: str, ranking: Ranking) -> Iterator[np.float32]:
    """Yield the scores of a ranking as 32-bit floats, equal ones moved down by the smallest step: each below the last.

    That is what trec_eval sorts by, which breaks ties in another order than the ranking's.

    Args:
        query_id: for the message.
        ranking: best first.

    Raises:
        RunError: a score does not fit a 32-bit float.
    """
    previous = np.float32(np.inf)
    for document_id, score in ranking:
        with np.errstate(over="ignore"):
            rounded = np.float32(score)
            fits = bool(np.isfinite(rounded))
            if fits and rounded >= previous:
                rounded = np.nextafter(previous, np.float32(-np.inf))
        if not fits or not np.isfinite(rounded):
            raise RunError(
                f"query {query_id!r}: the score {score!r} of document {document_id!r} does not fit a 32-bit float; "
                "write the run with exact_scores=True"
            )
        yield rounded
        previous = rounded


def _check_column(what: str, text: str) -> None:
    if not text or text.encode("utf-8", "surrogatepass").split() != [text.encode("utf-8", "surrogatepass")]:
        raise RunError(f"{what} {text!r} is empty or holds white space of ASCII, which a run file cannot carry")
    if not is_encodable(text):
        raise RunError(f"{what} {text!r} holds a lone surrogate, which a file in UTF-8 cannot carry")
    if text.startswith("\ufeff"):  # at the beginning of the file it would be taken for the mark of UTF-8
        raise RunError(f"{what} {text!r} begins with a byte order mark, which readers drop")
