"""Corpora of mteb's tasks as collections: each in a folder of its own, found again by what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eval.errors import TaskError
from retrieval.collection import Collection
from retrieval.documents import Document
from retrieval.encoders import fingerprint, load_encoder, load_sparse_encoder
from retrieval.encoders.base import settle

ID_FIELD = "id"
"""Name of the metadata that hold a document's id, so that a search can be limited to some documents."""

_DIGITS = 16
"""Of a digest in the name of a folder."""


class CorpusCollections:
    """Makes collections with the same settings, one for each corpus.

    Args:
        folder: where they are made.
        settings: arguments of `Collection.create`, encoders among them, which are loaded once.

    Attributes:
        identity: what decides what a collection finds, beside the documents and the search: JSON values.
        encoder: the loaded encoder; None for a lexical collection.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        self._settings = dict(settings)
        self.encoder = None if self._settings["encoder"] is None else load_encoder(self._settings["encoder"])
        settle(self.encoder)
        self._settings["encoder"] = self.encoder
        if self._settings.get("sparse") is not None:
            self._settings["sparse"] = load_sparse_encoder(self._settings["sparse"])
        # An empty collection says best what one with these settings is.
        with TemporaryDirectory() as temporary, Collection.create(Path(temporary) / "empty", **self._settings) as empty:
            manifest = empty.snapshot.manifest
            self.identity: dict[str, Any] = {
                "settings": manifest.settings,
                "encoder": None if manifest.encoder is None else manifest.encoder.identity,
                "sparse": None
                if manifest.sparse is None
                else [manifest.sparse.identity, manifest.sparse.largest_weight],
                "tokens": {name: [entry.identity, entry.storage] for name, entry in manifest.tokens.items()},
            }

    def open(self, corpus: Any, progress: bool) -> Collection:
        """Return the collection of a corpus: the one that is there, or a new one, filled in one commit.

        Args:
            corpus: mteb's data set of rows with id, text and perhaps title, which is read twice.
            progress: show progress bars.

        Raises:
            TaskError: the corpus is empty, or the folder holds a collection of other documents.
            DocumentError: a document cannot be stored, or an id comes twice.
        """
        digest, n_documents = _digest(corpus)
        if not n_documents:
            raise TaskError("the corpus is empty: there is nothing to search")
        path = self._folder / f"{digest[:_DIGITS]}-{fingerprint(self._made_of())[:_DIGITS]}"
        collection = Collection.open_or_create(path, **self._settings, progress=progress)
        if not len(collection):
            collection.add(_documents(corpus))  # what an interrupted run has encoded is taken over
        elif len(collection) != n_documents:
            held = len(collection)
            collection.close()
            raise TaskError(f"{path} holds {held:,} documents, not the corpus's {n_documents:,}: remove it")
        return collection

    def _made_of(self) -> dict[str, Any]:
        """Return what a collection is made of; one of another precision may be searched, but is another system."""
        models = (self.encoder, self._settings.get("sparse"))
        return {
            **self.identity,
            "precision": [None if each is None else each.execution().get("precision") for each in models],
        }


def _documents(corpus: Any) -> Iterator[Document]:
    for row in corpus:
        yield Document(row["id"], row["text"], row.get("title") or "", {ID_FIELD: row["id"]})


def _digest(corpus: Any) -> tuple[str, int]:
    """Return a digest of ids, titles and texts in their order, and how many documents have a text."""
    digest, n_documents = hashlib.sha256(), 0
    for document in _documents(corpus):
        for part in (document.id, document.title, document.text):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        n_documents += bool(document.full_text.strip())  # a collection leaves blank ones out
    return digest.hexdigest(), n_documents
