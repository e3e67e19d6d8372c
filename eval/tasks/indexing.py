"""The collection that a retrieval task searches: made once for each corpus and encoder, and found again.

It lies below the workspace under a name that holds the digest of the documents' file, the encoder's identity and
precision (a collection may search what another precision encoded, a measurement may not) and what is done with long
texts. Beside it a small file says that it is complete, how long that took, and what was cut or left out; without that
file the documents are added again, which costs nothing for those that are there. Neither knows which code made them:
after a change of how documents are analysed or stored, remove the workspace.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from eval.errors import TaskError
from eval.tasks.base import Surroundings
from eval.tasks.system import System
from eval.testsets import TestSet
from indexes.storage import replace_file, sha256_of
from retrieval.encoders.base import fingerprint
from retrieval.staging import staging_key

if TYPE_CHECKING:
    from retrieval.collection import Collection
    from retrieval.documents import Document


class IndexFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What making a collection took.

    Attributes:
        documents: that it holds.
        seconds: of the run that completed it.
        cut_texts: documents that the encoder did not read to their end; with the policy "chunk" there are none.
        left_out: documents and rows that were not taken, by reason.
    """

    documents: int
    seconds: float
    cut_texts: int = 0
    left_out: dict[str, int] = {}


def index_corpus(
    testset: TestSet, system: System, surroundings: Surroundings, fields: Sequence[str] = ("title", "text")
) -> tuple[Collection, IndexFacts]:
    """Return the collection of a test set's documents for a system, making or completing it where it has to be.

    Args:
        testset: with a corpus.
        system: its encoder makes the vectors; without one the collection is lexical.
        surroundings: the workspace, and whether to show progress.
        fields: of a document that are indexed.

    Raises:
        TaskError: the test set has no documents, or all of them are left out.
    """
    from retrieval.collection import Collection

    if testset.corpus is None:
        raise TaskError(f"the test set {testset.name} holds no documents; a collection needs a corpus")
    path = _place(testset, system, surroundings.workspace, fields)
    note = path.with_name(path.name + ".json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise TaskError(f"cannot make the folder {path.parent}: {fault.strerror or fault}") from None
    collection = Collection.open_or_create(
        path, encoder=system.encoder, long=system.long, progress=surroundings.progress
    )
    facts = _read(note)
    if facts is not None and facts.documents == len(collection):
        return collection, facts
    began = time.perf_counter()
    report = collection.upsert(_with_fields(testset.corpus, fields))
    if not len(collection):
        raise TaskError(f"the test set {testset.name} has no document with text; {report.summary()}")
    facts = IndexFacts(
        documents=len(collection),
        seconds=time.perf_counter() - began,
        cut_texts=report.long_documents if system.long == "truncate" else 0,
        left_out=dict(testset.corpus.report.skipped) | dict(report.skipped),
    )
    replace_file(note, msgspec.json.encode(facts))
    return collection, facts


def _place(testset: TestSet, system: System, workspace: Path, fields: Sequence[str]) -> Path:
    corpus = testset.files.corpus if testset.files is not None else None
    name = "-".join(part for part in (testset.name.replace("/", "-"), testset.language) if part)
    key = fingerprint(
        {
            # A test set that is not made of files is known by its name.
            "documents": testset.name if corpus is None else sha256_of(corpus),
            "fields": sorted(fields),
            "encoder": None if system.encoder is None else staging_key(system.encoder),
            "long": None if system.encoder is None else system.long,
        }
    )
    return workspace / "collections" / f"{name}-{key[:16]}"


def _read(note: Path) -> IndexFacts | None:
    try:
        return msgspec.json.decode(note.read_bytes(), type=IndexFacts)
    except (OSError, msgspec.DecodeError):
        return None


def _with_fields(documents: Iterable[Document], fields: Sequence[str]) -> Iterable[Document]:
    from retrieval.documents import Document

    if set(fields) == {"title", "text"}:
        return documents
    return (
        Document(each.id, each.text if "text" in fields else "", each.title if "title" in fields else "", each.metadata)
        for each in documents
    )
