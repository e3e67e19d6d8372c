"""Reading a whole collection and saying what is wrong with it; nothing is ever repaired by emptying."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from indexes.errors import StorageError
from indexes.storage import check_contents
from retrieval.collection.manifest import PARTS, Manifest, read_manifest
from retrieval.collection.segment import Segment


@dataclass
class VerificationReport:
    """What `verify` found.

    Attributes:
        files: how many files were read.
        size: their bytes.
        problems: one line each, naming the file; empty when all is well.
        leftovers: parts that no manifest names; harmless, removed by the next writer.
    """

    files: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.problems


def verify(directory: Path) -> VerificationReport:
    """Read every file of a collection, compare it with its checksum, and check that the parts belong together.

    When a writer replaces the generation that is being read, the next one is read instead.

    Raises:
        CollectionError: there is no collection here.
    """
    while True:
        try:
            manifest = read_manifest(directory)
        except StorageError as error:
            return VerificationReport(problems=[str(error)])
        report = _verify_generation(directory, manifest)
        with contextlib.suppress(StorageError):
            if not report.ok and read_manifest(directory) != manifest:
                continue
        return report


def _verify_generation(directory: Path, manifest: Manifest) -> VerificationReport:
    report = VerificationReport()
    for part in manifest.parts:
        report.problems += check_contents(directory / PARTS / part.name, part.files)
        report.files += len(part.files)
        report.size += part.size
    named = {part.name for part in manifest.parts}
    if (directory / PARTS).is_dir():
        try:
            report.leftovers = sorted(path.name for path in (directory / PARTS).iterdir() if path.name not in named)
        except OSError as error:
            report.problems.append(f"{directory / PARTS}: {error.strerror or error}")
    if report.ok:
        for entry in manifest.segments:
            try:
                _check_segment(Segment(directory, entry), report)
            except StorageError as error:
                report.problems.append(str(error))
    return report


def _check_segment(segment: Segment, report: VerificationReport) -> None:
    """Check what no checksum can: that documents, postings and vectors speak of the same rows."""
    store, name = segment.documents, segment.name
    if np.any(np.diff(store.sequences) <= 0):
        report.problems.append(f"{name}: sequence numbers do not ascend")
    for row in range(store.n_documents):
        document = store.document(row)
        if store.find(document.id) != row:
            report.problems.append(f"{name}: id {document.id!r} of row {row} is not found again")
            break
    if segment.lexical.total_length != int(segment.lexical.lengths.sum(dtype=np.int64)):
        report.problems.append(f"{name}: document lengths do not add up to the recorded total")
    if segment.passages is not None:
        rows = np.asarray(segment.passages.vectors.rows)
        if len(rows) and not (rows.min() >= 0 and rows.max() < store.n_documents):
            report.problems.append(f"{name}: passages of documents that do not exist")
        report.problems += [f"{name}: {problem}" for problem in segment.passages.vectors.problems()]
