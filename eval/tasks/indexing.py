"""The collection that a retrieval task searches: made once for each corpus and encoder, and found again.

It lies below the workspace under a name that holds the digest of the documents' file, the encoder's identity and
precision (a collection may search what another precision encoded, a measurement may not) and what is done with long
texts. Beside it a small file says that it is complete, how long that took, how many vectors were not made in that time,
and what was cut or left out; without that file the documents are added again, which encodes none that are there.
Neither knows which code made them: after a change of how documents are analysed or stored, remove the workspace.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import msgspec

from eval.embedding_cache import CachedEncoder
from eval.errors import TaskError
from eval.tasks.base import Surroundings
from eval.tasks.system import System
from eval.testsets import TestSet
from indexes.storage import replace_file, sha256_of
from retrieval.encoders.base import fingerprint
from retrieval.staging import staging_key

if TYPE_CHECKING:
    from retrieval.collection import Collection
    from retrieval.collection.reports import ChangeReport
    from retrieval.documents import Document
    from retrieval.encoders import Encoder

_TEXTS_AT_ONCE = 4096
"""Texts that are tokenised together."""


class IndexFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What making a collection took.

    Attributes:
        documents: that it holds.
        seconds: of the run that completed it.
        reused: texts whose vectors that run did not make: they were in the cache of embeddings, or an earlier run that
            was cut short had made them (of equal texts all but one are among these); None where a note of an earlier
            version does not say it.
        cut_texts: documents that the encoder did not read to their end; with the policy "chunk" there are none.
        left_out: documents and rows that were not taken, by reason.
    """

    documents: int
    seconds: float
    reused: int | None = None
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
    resumed = path.exists()
    collection = Collection.open_or_create(
        path, encoder=system.encoder, long=system.long, progress=surroundings.progress
    )
    facts = _read(note)
    if facts is not None and facts.documents == len(collection):
        return collection, facts
    encoded_before = _through_model(system.encoder)
    began = time.perf_counter()
    report = collection.upsert(_with_fields(testset.corpus, fields))
    if not len(collection):
        raise TaskError(f"the test set {testset.name} has no document with text; {report.summary()}")
    seconds = time.perf_counter() - began
    # What went through the model is known of a caching encoder; any other is asked for new texts alone.
    encoded = _through_model(system.encoder) - encoded_before if _caches(system.encoder) else report.encoded
    facts = IndexFacts(
        documents=len(collection),
        seconds=seconds,
        reused=(collection.stats()["passages"] if resumed else report.encoded) - encoded,
        cut_texts=_cut_texts(collection, report, system),
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


def _caches(encoder: Encoder | None) -> TypeGuard[CachedEncoder]:
    return isinstance(encoder, CachedEncoder)


def _through_model(encoder: Encoder | None) -> int:
    """Return how many texts a caching encoder's model has encoded so far; 0 for any other."""
    return encoder.encoded.texts if _caches(encoder) else 0


def _cut_texts(collection: Collection, report: ChangeReport, system: System) -> int:
    """Count the documents that the encoder does not read to their end."""
    encoder = system.encoder
    if encoder is None or encoder.max_tokens is None or system.long != "truncate":
        return 0
    if not report.unchanged:
        return report.long_documents
    # Documents that were there already were not looked at; so all are counted, which is as long as tokenising takes.
    texts, cut = (document.full_text for document in collection), 0
    while part := list(islice(texts, _TEXTS_AT_ONCE)):
        cut += int((encoder.count_tokens(part) > encoder.max_tokens).sum())
    return cut


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
