"""Reading a whole collection and saying what is wrong with it and what to do; nothing is repaired by emptying."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from indexes.errors import CorruptIndexError, StorageError
from indexes.plain_files import check_directory
from indexes.storage import check_contents
from retrieval.collection.manifest import PARTS, EncoderEntry, Manifest, Part, SegmentEntry, SparseEntry
from retrieval.collection.manifest_file import read_manifest
from retrieval.collection.segment import Segment
from retrieval.collection.snapshot import Snapshot

_HOLDS = {
    "documents": "stored documents",
    "lexical": "postings",
    "dense": "vectors",
    "sparse": "sparse vectors",
    "tokens": "stored states",
    "tombstones": "which documents are deleted",
    "searcher": "the approximate searcher",
}
_RESTORE = "restore the index from a backup, or index the documents again"
_READ = "let this user read these files and directories, and verify again"


@dataclass
class VerificationReport:
    """What `verify` found.

    Attributes:
        files: how many files were read.
        size: their bytes.
        problems: one line each, naming the file and what it holds; empty when all is well.
        fix: what to do about them; empty when all is well.
        leftovers: parts that no manifest names; harmless, removed by the next writer.
    """

    files: int = 0
    size: int = 0
    problems: list[str] = field(default_factory=list)
    fix: str = ""
    leftovers: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.problems


def verify(directory: Path) -> VerificationReport:
    """Read every file of a collection, compare it with its checksum, and check that the parts belong together.

    This is the only check of the vectors that a search reads, and of files that were never searched. When a writer
    replaces the generation that is being read, the next one is read instead.

    Raises:
        CollectionError: there is no collection here, or a newer version wrote it.
    """
    while True:
        try:
            manifest = read_manifest(directory)
        except CorruptIndexError as error:
            return VerificationReport(problems=[str(error)], fix=_RESTORE)
        except StorageError as error:
            return VerificationReport(problems=[str(error)], fix=_READ)
        report = _verify_generation(directory, manifest)
        with contextlib.suppress(StorageError):
            if not report.ok and read_manifest(directory) != manifest:
                continue
        return report


def _verify_generation(directory: Path, manifest: Manifest) -> VerificationReport:
    report = VerificationReport()
    try:
        check_directory(directory / PARTS)
    except StorageError as error:
        if not manifest.parts and not os.path.lexists(directory / PARTS):
            return report
        return VerificationReport(problems=[str(error)], fix=_RESTORE)
    damaged = []
    for part in manifest.parts:
        problems = check_contents(directory / PARTS / part.name, part.files)
        report.problems += [f"{problem} [{_HOLDS[part.kind]}]" for problem in problems]
        report.files += len(part.files)
        report.size += part.size
        damaged += [part] * bool(problems)
    named = {part.name for part in manifest.parts}
    try:
        report.leftovers = sorted(path.name for path in (directory / PARTS).iterdir() if path.name not in named)
    except OSError as error:
        report.problems.append(f"{directory / PARTS}: {error.strerror or error}")
        report.fix = _READ
        return report
    if report.ok:
        report.problems += _problems_between(directory, manifest)
        report.fix = "" if report.ok else f"{_RESTORE}; no disk does this: the files were made by something else"
    else:
        report.fix = _fix(directory, manifest, damaged)
    return report


def _fix(directory: Path, manifest: Manifest, damaged: Sequence[Part]) -> str:
    """Say what to do about damaged parts: what can be derived again is not lost."""
    if any(_is_forbidden(directory / PARTS / part.name, part) for part in damaged):
        return _READ
    kinds = {part.kind for part in damaged}
    if kinds == {"searcher"}:
        return f"nothing is lost: `retrieval optimize {directory}` builds the searcher again from the vectors"
    if kinds in ({"sparse"}, {"tokens"}) and _open(directory, manifest.segments):
        names = {part.name for part in damaged}
        return (
            _fix_of_sparse(directory, manifest.sparse)
            if kinds == {"sparse"}
            else _fix_of_states(directory, manifest, names)
        )
    if kinds <= {"dense", "searcher"} and _open(directory, manifest.segments):
        return _fix_of_vectors(directory, manifest.encoder)
    if "documents" not in kinds and "tombstones" not in kinds and _open(directory, manifest.segments):
        return (
            f"restore the index from a backup; or write the stored documents, which are whole, to a file with "
            f"`retrieval export {directory} FILE` and index that"
        )
    return _RESTORE


def _fix_of_vectors(directory: Path, encoder: EncoderEntry | None) -> str:
    if encoder is None or encoder.source is None:
        return "restore the index from a backup, or add the documents again with their vectors; the texts are whole"
    return (
        "restore the index from a backup; or make the vectors again from the stored texts, which are whole: "
        f"`retrieval reencode {directory} {encoder.source}`"
    )


def _fix_of_sparse(directory: Path, recorded: SparseEntry | None) -> str:
    source, largest = (None, None) if recorded is None else (recorded.source, recorded.largest_weight)
    scale = "" if largest is None else f" --largest-weight {largest!r}"
    return (
        "restore the index from a backup; or make the sparse vectors again from the stored texts, which are whole: "
        f"`retrieval reencode {directory} {source or 'MODEL'} --sparse{scale}`"
    )


def _fix_of_states(directory: Path, manifest: Manifest, damaged: set[str]) -> str:
    names = {name for entry in manifest.segments for name, each in entry.tokens.items() if each.part.name in damaged}
    commands = [
        f"`retrieval reencode {directory} {manifest.tokens[name].source or 'MODEL'} --tokens {name} "
        f"--token-storage {manifest.tokens[name].storage}`"
        for name in sorted(names)
    ]
    return (
        "restore the index from a backup; or make the states again from the stored texts, which are whole: "
        f"{', '.join(commands)}"
    )


def _is_forbidden(folder: Path, part: Part) -> bool:
    with contextlib.suppress(PermissionError):  # raised where a folder above must not be looked into
        if os.access(folder, os.R_OK | os.X_OK) or not folder.exists():
            paths = (folder / name for name in part.files)
            return any(path.exists() and not os.access(path, os.R_OK) for path in paths if not path.is_symlink())
    return True


def _open(directory: Path, entries: Iterable[SegmentEntry]) -> bool:
    try:
        for entry in entries:
            Segment(directory, entry)
    except StorageError:
        return False
    return True


def _problems_between(directory: Path, manifest: Manifest) -> list[str]:
    """Find what no checksum can: that documents, postings and vectors do not speak of the same rows."""
    problems: list[str] = []
    for entry in manifest.segments:
        try:
            problems += _problems_of(Segment(directory, entry))
        except StorageError as error:
            problems.append(str(error))
    if not problems:
        try:
            Snapshot(directory, manifest)  # compares the segments with what the manifest says of their encoders
        except StorageError as error:
            problems.append(str(error))
    return problems


def _problems_of(segment: Segment) -> Iterator[str]:
    store, name = segment.documents, segment.name
    if (store.sequences[1:] <= store.sequences[:-1]).any():
        yield f"{name}: sequence numbers do not ascend"
    for row in range(store.n_documents):
        document = store.document(row)
        if store.find(document.id) != row:
            yield f"{name}: id {document.id!r} of row {row} is not found again"
            break
    if segment.lexical.total_length != segment.lexical.documents.total(segment.lexical.n_terms):
        yield f"{segment.entry.lexical.name}: document lengths are not what the frequencies add up to"
    if segment.passages is not None and segment.entry.dense is not None:
        yield from (f"{segment.entry.dense.part.name}: {problem}" for problem in segment.passages.vectors.problems())
    if segment.sparse is not None and segment.entry.sparse is not None:
        yield from (f"{segment.entry.sparse.part.name}: {problem}" for problem in segment.sparse.problems())
    for states in segment.tokens.values():
        yield from (f"{states.directory.name}: {problem}" for problem in states.problems())
