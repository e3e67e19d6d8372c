"""What `retrieval index` does to an index: open or create it, take documents in, delete what vanished."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.cli.terminal import plural, shows_progress
from retrieval.errors import DocumentError, RetrievalError

if TYPE_CHECKING:
    from retrieval.cli.index_settings import WantedSettings
    from retrieval.collection.collection import Collection
    from retrieval.collection.reports import ChangeReport
    from retrieval.documents import Document, DocumentReader, ReadReport

_EMPTY = "empty text"
"""The reason under which readers count documents that say nothing; these are rows that could be read."""


@contextlib.contextmanager
def opened(index: Path, wanted: WantedSettings) -> Iterator[tuple[Collection, bool]]:
    """Open an index, or create it, for the length of a block; says whether it was created.

    When the block fails, a new index that holds nothing is removed again, so that the next attempt is free to choose
    other settings.
    """
    from retrieval.collection.manifest_file import MANIFEST_NAME

    if (index / MANIFEST_NAME).exists():
        with wanted.open(index, progress=shows_progress()) as collection:
            yield collection, False
        return
    made_folder = not index.exists()
    with wanted.create(index, progress=shows_progress()) as collection:
        try:
            yield collection, True
        except BaseException:
            _remove_unused(index, made_folder=made_folder)
            raise


def _remove_unused(index: Path, *, made_folder: bool) -> None:
    """Remove an index without any commit, unless encoded texts wait in it for the next attempt."""
    from indexes.errors import StorageError
    from indexes.file_operations import remove, remove_tree
    from indexes.locks import WriterLock
    from retrieval.collection.manifest_file import MANIFEST_NAME, read_manifest
    from retrieval.collection.segment import PARTS
    from retrieval.collection.writing import LOCK_NAME

    with contextlib.suppress(OSError, StorageError, RetrievalError):
        with WriterLock(index / LOCK_NAME):
            if read_manifest(index).generation or any(
                path.name not in (MANIFEST_NAME, LOCK_NAME, PARTS) for path in index.iterdir()
            ):
                return
            # The manifest after the parts, which are nothing without it, and the lock while it is held.
            remove_tree(index / PARTS)
            if (index / PARTS).exists():
                return
            remove(index / MANIFEST_NAME)
            remove(index / LOCK_NAME)
        if made_folder:
            index.rmdir()


def update(
    collection: Collection, reader: DocumentReader, *, sync: bool, allow_skipped: bool, own_vectors: bool
) -> ChangeReport:
    """Take all documents of a source in, in one commit.

    Args:
        collection: what is changed.
        reader: the source.
        sync: delete what is in the collection but not in the source.
        allow_skipped: with `sync`: also when rows could not be read.
        own_vectors: the reader brings vectors.

    Raises:
        DocumentError: `sync` cannot tell what vanished; nothing is changed.
    """
    from retrieval.collection.lexical_fields import check_fields

    fields = collection.settings.fields
    if fields.expansion is not None or fields.term_weights is not None:
        reader.skip_refused(lambda document: check_fields(document, fields))
    seen: set[str] = set()
    with collection.batch() as report:
        if own_vectors:
            for documents, vectors in reader.with_vectors():
                collection.add(_noted(documents, seen, sync), on_duplicate="replace", vectors=vectors)
        else:
            collection.upsert(_counted(_noted(reader, seen, sync), shown=not collection.snapshot.has_vectors))
        if sync:
            _check_complete(reader.report, len(collection), allow_skipped=allow_skipped)
            # Before this commit the collection still shows the documents of the last one: those that may have vanished.
            collection.delete([document_id for document_id in collection.ids() if document_id not in seen])
    return report


def _noted(documents: Iterable[Document], seen: set[str], sync: bool) -> Iterator[Document]:
    for document in documents:
        if sync:
            seen.add(document.id)
        yield document


def _counted(documents: Iterable[Document], *, shown: bool) -> Iterator[Document]:
    """Show how many documents have been read; not where encoding shows how far it is."""
    from retrieval.progress import progress

    with progress("reading", enabled=shown) as bar:
        for document in documents:
            bar.advance()
            yield document


def _check_complete(report: ReadReport, n_documents: int, *, allow_skipped: bool) -> None:
    """Refuse to conclude from a source that was read in part that the rest has vanished."""
    if report.read == 0 and n_documents:
        raise DocumentError(
            f"the source holds no documents; --sync would delete all {plural(n_documents, 'document')}: "
            "nothing was changed"
        )
    unread = {reason: count for reason, count in report.skipped.items() if reason != _EMPTY}
    if unread and not allow_skipped:
        reasons = ", ".join(
            f"{reason}: {count:,}, first {report.examples[reason][0]}" for reason, count in unread.items()
        )
        raise DocumentError(
            f"--sync cannot tell what vanished, for some of the source could not be read ({reasons}): nothing was "
            "changed; mend the source, or add --allow-skipped to delete all the same"
        )
