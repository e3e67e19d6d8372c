"""Scoring all tuples of a training set once with a teacher (arXiv 2010.02666, section 3.2).

Tuples are read in windows. A window's distinct pairs of query and passage go through the teacher together, in batches
across queries, without the positives whose scores are known from windows before; its lines are written as one part.
Memory holds one window and the scores of positives. A process that is killed loses the window that it was at: the same
call goes on, with what the parts say of the positives, and ends with the file that an uninterrupted one would have
written (on a CPU; GPUs have operations that are not repeatable).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from indexes import file_operations
from indexes.file_operations import remove_tree
from indexes.locks import WriterLock
from indexes.storage import confirm, make_directory, sha256_of, sync_all
from retrieval.distillation.pairs import PositiveScores, score_window
from retrieval.distillation.parts import Parts, parts_folder
from retrieval.distillation.provenance import read_provenance, write_provenance
from retrieval.distillation.scored_files import check_form, json_line, row_of
from retrieval.distillation.unscored import TupleFiles, Unscored, find_tuples
from retrieval.documents.report import ReadReport
from retrieval.errors import RerankerError, TrainingDataError, TrainingError
from retrieval.progress import progress as progress_bar
from retrieval.rerankers.base import Reranker, is_pointwise
from retrieval.staging import precision_key
from retrieval.training.data.row_values import ScoredTuple
from retrieval.training.data.teacher_lines import format_lines

WINDOW = 2048
"""Tuples that are scored together: thousands of pairs, among which each has neighbours of its length."""


@dataclass(frozen=True)
class ScoringReport:
    """What was done.

    Attributes:
        out: the file of scores.
        tuples: in the file.
        adopted: of these, how many an interrupted run had scored.
        pairs: pairs of query and passage that this run scored.
        seconds: that this run took.
        data: one line on what was read and what could not be used.
    """

    out: Path
    tuples: int
    adopted: int
    pairs: int
    seconds: float
    data: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**self.__dict__, "out": str(self.out)}


def score_tuples(
    teacher: Reranker,
    data: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    window: int = WINDOW,
    strict: bool = False,
    progress: bool = False,
) -> ScoringReport:
    """Score tuples with a teacher and write a file of scores; goes on where an interrupted call was.

    Args:
        teacher: any reranker that scores a passage by itself.
        data: folder or file of tuples, see `unscored.find_tuples`.
        out: `.tsv` for the published five columns, of data with ids; `.jsonl` for rows with texts. A record of the
            teacher goes beside it. Until it is finished, its parts are in a folder beside it.
        split: of a folder or of queries; None takes "train".
        window: tuples that are scored and written together.
        strict: an unusable row is an error instead of a count.
        progress: show a bar; the tuples are counted first.

    Raises:
        TrainingDataError: there are no tuples, or they do not fit the form of the file.
        TrainingError: the file is there already and holds something else than these scores, or it or its parts are of
            another teacher or of other data.
        LockedError: another process writes the same file.
        RerankerError: the teacher compares passages with each other, or gave something else than finite scores.
        DocumentError: a file cannot be opened, or a row is bad and `strict`.
    """
    began = time.perf_counter()
    target, files = Path(out), find_tuples(data, split)
    check_form(target, (".tsv", ".jsonl"))
    if target.suffix == ".tsv" and files.holds == "texts":
        raise TrainingDataError(f"{files.tuples} has texts and no ids, which the five columns are for; write .jsonl")
    if window < 1:
        raise TrainingError(f"window must be at least 1, not {window}")
    if not is_pointwise(teacher):
        raise RerankerError(
            f"{teacher.name!r} compares passages with each other; a teacher must score each by itself (a pointwise one)"
        )
    folder = parts_folder(target)
    settings = _settings(teacher, files, target, window)
    if target.exists():
        record = read_provenance(target)
        if all(record.get(name) == value for name, value in settings.items()):
            remove_tree(folder)  # the run before this one was killed at its very end
            n_tuples, summary = record["tuples"], record["report"]
            return ScoringReport(target, n_tuples, n_tuples, 0, time.perf_counter() - began, summary)
        if not folder.exists():
            raise TrainingError(_there_already(target))
    make_directory(folder)
    with WriterLock(folder / "writer.lock"):
        parts = Parts(folder, settings)
        if target.exists() and parts.digest() != sha256_of(target):
            # Not what a run wrote that was killed before the record: somebody else's.
            raise TrainingError(f"{_there_already(target)}, or move it away to go on with the parts in {folder}")
        report = ReadReport(strict=strict)
        with progress_bar(
            f"scoring with {teacher.name}", unit="tuples", total=files.count() if progress else None, enabled=progress
        ) as bar:
            n_parts = n_adopted = n_pairs = 0
            positives = PositiveScores()
            for tuples in _windows(files.read(report), window):
                if (content := parts.read(n_parts)) is not None:
                    n_adopted += len(tuples)
                    positives.add(tuples, [_positive_score(line) for line in content.splitlines()])
                else:
                    scores, pairs = score_window(teacher, tuples, positives)
                    n_pairs += pairs
                    lines = map(_line, repeat(target.suffix), tuples, scores)
                    parts.write(n_parts, b"".join(lines))
                n_parts += 1
                bar.advance(len(tuples))
        if not n_parts:
            parts.remove()
            raise TrainingDataError(f"no tuple in {files.tuples} can be scored: {_summary(report)}")
        _assemble(target, parts, n_parts, folder)
        record = {**settings, "name": teacher.name, "execution": teacher.execution(), "tuples": report.read}
        write_provenance(target, {**record, "report": _summary(report)})
        parts.remove()
    return ScoringReport(target, report.read, n_adopted, n_pairs, time.perf_counter() - began, _summary(report))


def _line(form: str, given: Unscored, scores: tuple[float, ...]) -> bytes:
    if form == ".tsv":
        assert given.ids is not None
        return format_lines(ScoredTuple(given.ids[0], given.ids[1:], scores)).encode()
    return json_line(row_of(ScoredTuple(given.query, given.passages, scores), "texts", column="scores"))


def _positive_score(line: bytes) -> float:
    """Return the positive's score in a line that `_line` wrote."""
    import msgspec

    if line.startswith(b"{"):
        return float(msgspec.json.decode(line)["scores"][0])
    return float(line.partition(b"\t")[0])


def _settings(teacher: Reranker, files: TupleFiles, target: Path, window: int) -> dict[str, Any]:
    settings = {
        "teacher": teacher.identity(),
        "precision": precision_key(teacher.execution()),
        "data": {name: sha256_of(path) for name, path in files.files.items()},
        "form": target.suffix,
        "window": window,
    }
    return dict(json.loads(json.dumps(settings)))  # as they are read again, to be compared


def _windows(tuples: Iterator[Unscored], size: int) -> Iterator[list[Unscored]]:
    while window := list(islice(tuples, size)):
        yield window


def _summary(report: ReadReport) -> str:
    return report.summary().replace(" document", " tuple", 1)


def _there_already(target: Path) -> str:
    return f"{target} is there already; choose another name"


def _assemble(target: Path, parts: Parts, n_parts: int, folder: Path) -> None:
    """Make the file of its parts; it is there whole, or not at all.

    Raises:
        TrainingError: another file has taken its place since the scoring began; the parts are kept.
    """
    temporary = target.with_name(target.name + ".tmp")
    file_operations.remove(temporary)  # an interrupted run's
    with file_operations.create(temporary) as file:
        for content in parts.contents(n_parts):
            file.write(content)
    sync_all([temporary])
    if target.exists() and sha256_of(target) != sha256_of(temporary):
        file_operations.remove(temporary)
        raise TrainingError(f"{target} was written while its scores were computed; move it away to go on from {folder}")
    file_operations.rename(temporary, target)
    confirm(target.parent, f"{target} is written")
